"""The programs of `bench.scale`: a gateway with a small fleet, one with a large fleet and many keys, and a proxy."""

import random
import resource
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from bench.processes import BenchError, Program, Programs, free_port
from bench.scale_load import Job, Outcome
from bench.scale_stub import ALIASES, MODELS, REPLICAS, SHORT, model
from bench.setting import UNSIGNED, make_mesh, privity

KEYS = 500
GROUPS = 32
GROUPS_OF_A_KEY = 16

SUBSCRIBERS = 1000
FILES = 4 * SUBSCRIBERS
"""Open files that each program may have."""

EVERYTHING = "everything"
"""The key that sees all models."""

FEW = "few"
"""The key that sees as many as the small fleet has."""

ONLY = "only"
"""The small fleet's key."""

ROWS = {"short": SHORT * (1 + ALIASES), "long": MODELS * (1 + ALIASES)}


@dataclass(frozen=True, slots=True)
class Talk:
    """A load generator's other end."""

    program: Program

    def run(self, job: Job) -> Outcome:
        """Have a job done. Raises `BenchError` where it fails."""
        outcome = msgspec.json.decode(self.program.ask(msgspec.json.encode(job)), type=Outcome)
        if outcome.error:
            raise BenchError(f"The load failed: {outcome.error}")
        return outcome


@dataclass(frozen=True, slots=True)
class Scale:
    """What runs."""

    stubs: list[Program]
    """The first has the models of the short view, which are called: it has little else to do."""
    small: Program
    """A gateway before one replica with ten models, with one key."""
    large: Program
    """A gateway before a hundred replicas with two thousand models, with five hundred keys."""
    large_start: float
    """Seconds until it listened: it has read its file, and asked every replica."""
    proxy: Program
    """Before the small one."""
    load: Talk
    crowd: Talk

    def change_one(self) -> float:
        """Have a model of the small fleet changed; return when it was."""
        return float(self.stubs[0].ask(b"change"))

    def change_all(self, rate: float) -> None:
        """Have models of the large fleet changed so many times a second from now on."""
        for stub in self.stubs:
            stub.ask(f"rate {rate}".encode())


def key_names() -> list[str]:
    """Return the keys of which each has a view of its own."""
    return [f"key-{number}" for number in range(KEYS)]


def raise_file_limit() -> None:
    """Let programs that are started from now on have enough connections. Raises `BenchError` where they may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        raise BenchError(f"{FILES} open files are needed, and {hard} are allowed: ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))


def set_up(programs: Programs, folder: Path) -> Scale:
    """Start everything."""
    raise_file_limit()
    mesh = folder / "mesh"
    make_mesh(mesh)
    stubs = [_replicas(programs, 0, SHORT - 1), _replicas(programs, SHORT, REPLICAS - 1)]
    secret_port, hand_out = free_port(), free_port()
    ca, identity = ("--mesh-ca", str(mesh / "ca.pem")), ("--identity", str(mesh / "secret-service.pem"))
    listeners = ("--port", str(secret_port), "--hand-out-port", str(hand_out))
    secrets = programs.start("secret service", privity("secret-service", *listeners, *ca, *identity), secret_port)
    secrets.wait_until_it_listens()
    head = f'mesh_ca = "{mesh}/ca.pem"\nsecret_services = ["http://127.0.0.1:{secret_port}"]\n'
    small, _ = _gateway(programs, folder, "small gateway", head + _small_file(stubs))
    large, seconds = _gateway(programs, folder, "large gateway", head + _large_file(stubs))
    port = free_port()
    whose = ("--gateway", f"http://127.0.0.1:{small.port}", "--api-key", ONLY)
    command = privity("proxy", "--port", str(port), *ca, *whose, *UNSIGNED)
    proxy = programs.start("proxy", command, port)
    proxy.wait_until_it_listens()
    loads = [programs.start(name, [sys.executable, "-m", "bench.scale_load"], talks=True) for name in ("load", "crowd")]
    return Scale(stubs, small, large, seconds, proxy, *map(Talk, loads))


def _replicas(programs: Programs, first: int, last: int) -> Program:
    port = free_port()
    command = [sys.executable, "-m", "bench.scale_stub", str(port), str(first), str(last)]
    stub = programs.start(f"replicas from {first}", command, port, talks=True)
    stub.wait_until_it_listens()
    return stub


def _gateway(programs: Programs, folder: Path, name: str, content: str) -> tuple[Program, float]:
    port = free_port()
    file = folder / f"{name.replace(' ', '-')}.toml"
    file.write_text(f"port = {port}\n{content}")
    gateway = programs.start(name, privity("gateway", "--config", str(file)), port)
    return gateway, gateway.wait_until_it_listens()


def _small_file(stubs: list[Program]) -> str:
    return _replica(stubs[0], "small/0") + _key(ONLY, ["all"])


def _large_file(stubs: list[Program]) -> str:
    noise = random.Random(0)  # noqa: S311  # the same in each run
    groups = [f"group-{number}" for number in range(GROUPS)]
    models = []
    for number in range(MODELS):
        visible_to = [groups[number % GROUPS], *([FEW] if number < SHORT else [])]
        models.append(f'[[models]]\nid = "{model(number).id}"\nvisible_to = {_list(visible_to)}\n')
    keys = [_key(EVERYTHING, groups), _key(FEW, [FEW])]
    keys += [_key(name, sorted(noise.sample(groups, GROUPS_OF_A_KEY))) for name in key_names()]
    replicas = [_replica(stubs[number >= SHORT], f"large/{number}") for number in range(REPLICAS)]
    return "".join([*replicas, *models, *keys])


def _replica(stub: Program, path: str) -> str:
    return f'[[inference_proxies]]\nurl = "http://127.0.0.1:{stub.port}/{path}"\n'


def _key(name: str, groups: list[str]) -> str:
    return f'[[keys]]\nname = "{name}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\ngroups = {_list(groups)}\n'


def _list(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
