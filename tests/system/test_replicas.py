"""Two secret services that share a store, and two inference proxies, behind one gateway."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from privity.testing.fake_engine import MODEL, FakeEngine, fake_engine
from privity.testing.programs import PRIVITY, Program, eventually, free_port, http
from privity.testing.valkey_server import ValkeyServer, find_server, valkey_server

pytestmark = pytest.mark.skipif(find_server() is None, reason="needs redis-server or valkey-server (CI installs it)")

PORTS = ("secrets-0", "secrets-1", "hand-out-0", "hand-out-1", "inference-0", "inference-1", "gateway", "proxy")


@dataclass
class Fleet:
    """All programs, by name; each can be started anew."""

    directory: Path
    store: ValkeyServer
    engines: list[FakeEngine]
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    running: dict[str, Program] = field(default_factory=dict)

    def start(self, name: str, role: str, *arguments: str) -> None:
        mesh = ("--mesh-ca", str(self.directory / "mesh" / "ca.pem"), "--log-level", "debug")
        program = Program(self.directory / name, role, "--port", str(self.ports[name]), *mesh, *arguments)
        self.running[name] = program
        program.wait_until_it_says(" serves on ")

    def start_secrets(self, number: int) -> None:
        mesh = self.directory / "mesh"
        hand_out = ("--hand-out-port", str(self.ports[f"hand-out-{number}"]))
        shared = ("--store", self.store.url, "--store-key", str(mesh / "store.key"))
        identity = ("--identity", str(mesh / "secret-service.pem"))
        self.start(f"secrets-{number}", "secret-service", *identity, *hand_out, *shared)

    def start_inference(self, number: int) -> None:
        identity = ("--identity", str(self.directory / "mesh" / "inference-proxy.pem"))
        hand_outs = [f"--secret-service=https://127.0.0.1:{self.ports[f'hand-out-{each}']}" for each in (0, 1)]
        own = ("--model", f"openai:{self.engines[number].url}", "--drain", "0")
        self.start(f"inference-{number}", "inference-proxy", *identity, *hand_outs, *own)

    def start_what_is_missing(self) -> None:
        for number in (0, 1):
            if f"secrets-{number}" not in self.running:
                self.start_secrets(number)
        for number in (0, 1):
            if f"inference-{number}" not in self.running:
                self.start_inference(number)
        replicas = [f"--inference-proxy=https://127.0.0.1:{self.ports[f'inference-{each}']}" for each in (0, 1)]
        secrets = [f"--secret-service=http://127.0.0.1:{self.ports[f'secrets-{each}']}" for each in (0, 1)]
        self.start("gateway", "gateway", *replicas, *secrets)
        self.start("proxy", "proxy", "--gateway", f"http://127.0.0.1:{self.ports['gateway']}")

    def stop(self, *names: str) -> None:
        for name in names:
            self.running.pop(name).stop()

    def ask(self) -> int:
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}).encode()
        url = f"http://127.0.0.1:{self.ports['proxy']}/v1/chat/completions"
        return http("POST", url, body, content_type="application/json").status

    def log_of(self, name: str) -> str:
        return (self.directory / name / "err").read_text()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    subprocess.run([PRIVITY, "mesh", str(directory / "mesh")], check=True)
    with ExitStack() as stack:
        store = stack.enter_context(valkey_server(tmp_path_factory.mktemp("store")))
        engines = [stack.enter_context(fake_engine()) for _ in range(2)]
        made = Fleet(directory, store, engines)
        try:
            yield made
        finally:
            made.stop(*made.running)


@pytest.fixture
def fleet(started: Fleet) -> Iterator[Fleet]:
    """All of them, with a gateway and a proxy that know nothing yet."""
    for engine in started.engines:
        engine.requests.clear()
    try:
        started.start_what_is_missing()
        yield started
    finally:
        started.stop(*({"proxy", "gateway"} & started.running.keys()))


def test_a_secret_agreed_through_one_works_on_all(fleet: Fleet) -> None:
    assert {fleet.ask() for _ in range(4)} == {200}
    fleet.stop("inference-1")
    eventually(lambda: fleet.ask() == 200, "an answer by the other replica")
    fleet.start_inference(1)
    fleet.stop("inference-0")
    eventually(lambda: fleet.ask() == 200, "an answer by the replica that started anew")
    assert [len(engine.requests) > 0 for engine in fleet.engines] == [True, True]
    assert fleet.log_of("proxy").count("agreed on a secret") == 1
    assert fleet.log_of("secrets-1").count("route=/privatemode/v1/secret") == 0


def test_a_secret_service_that_dies_leaves_the_other_to_go_on(fleet: Fleet) -> None:
    assert fleet.ask() == 200
    fleet.stop("secrets-0")
    fleet.stop("inference-0", "inference-1")
    fleet.start_inference(0)
    eventually(lambda: fleet.ask() == 200, "an answer with the secret that the other service knows")
    assert fleet.log_of("proxy").count("agreed on a secret") == 1


def test_a_store_that_restarts_loses_secrets_and_the_clients_recover_by_themselves(fleet: Fleet) -> None:
    assert fleet.ask() == 200
    fleet.store.restart()
    for number in (0, 1):
        fleet.stop(f"inference-{number}")
        fleet.start_inference(number)
    eventually(lambda: fleet.log_of("gateway").count("models changed") >= 1, "a gateway that sees its replicas")
    eventually(lambda: fleet.ask() == 200, "an answer with a new secret")
    assert fleet.log_of("proxy").count("agreed on a secret") == 2
