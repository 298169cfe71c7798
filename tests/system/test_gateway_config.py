"""A gateway by its configuration file, between real programs: keys, names, ends, and what changes while it runs."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote, urlsplit

import anthropic
import pytest
from openai import OpenAI

from privity.testing.fake_engine import MODEL, FakeEngine, fake_engine
from privity.testing.programs import PRIVITY, Answer, Program, eventually, free_port, http, program
from privity.testing.tiny_gguf import write_tiny_gguf

SHORT = "model-1b"
OTHER = "tiny/Model-2"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
NAMES = f"""
[[models]]
id = "{MODEL}"
aliases = ["small"]
floating_aliases = ["default"]
"""
PATIENCE = 60.0  # seconds, for what takes a few
LOGGED = ("--log-level", "info")


def key(name: str, *groups: str) -> str:
    digest = sha256(f"key-of-{name}".encode()).hexdigest()
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest}"\ngroups = {json.dumps(groups)}\n'


def get(url: str, path: str, name: str | None = None, **headers: str) -> Answer:
    """Ask with the key of somebody."""
    return http(
        "GET", url + path, None, **headers, **({} if name is None else {"authorization": f"Bearer key-of-{name}"})
    )


def rows(url: str, name: str | None = None, query: str = "") -> dict[str, dict[str, Any]]:
    answer = get(url, f"/v1/models{query}", name)
    assert answer.status == 200, answer
    return {row["id"]: row for row in json.loads(answer.body)["data"]}


def message(url: str, name: str) -> Any:
    """Ask by Anthropic's client, which sends the key of somebody as `x-api-key`."""
    with anthropic.Anthropic(base_url=url, api_key=f"key-of-{name}", max_retries=0, timeout=PATIENCE) as claude:
        return claude.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Hello"}])


def chat(url: str, model: str = MODEL, name: str | None = None, **more: object) -> Answer:
    body = json.dumps({"model": model, "messages": HELLO, **more}).encode()
    headers = {} if name is None else {"authorization": f"Bearer key-of-{name}"}
    return http("POST", f"{url}/v1/chat/completions", body, content_type="application/json", **headers)


@contextmanager
def streaming(url: str) -> Iterator[Any]:
    """Follow an answer. It raises where the end of one is missing."""
    with (
        OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=PATIENCE) as client,
        client.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream,
    ):
        yield stream


def follow(url: str, began: Event) -> bool:
    """Follow what bob is told of changes until nothing more comes; return whether that has a proper end."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        connection.request("GET", "/v1/models/events", headers={"authorization": "Bearer key-of-bob"})
        answer = connection.getresponse()
        while answer.readline() != b"event: list\n":
            assert answer.status == 200
        began.set()
        answer.read()
    except IncompleteRead:
        return False
    else:
        return True
    finally:
        connection.close()


def replicas(url: str) -> int:
    """Return how many inference proxies serve the model."""
    number: int = json.loads(get(url, f"/v1/models/{MODEL}?detail=full").body)["health"]["replicas"]
    return number


def url_of(started: Program) -> str:
    return started.out.read_text().split(" serves on ")[1].strip()


@dataclass(frozen=True)
class Deployment:
    """What is behind gateways: a secret service, and two inference proxies with an engine each."""

    mesh: Path
    hand_out: str
    secret_service: str
    engines: tuple[FakeEngine, FakeEngine]
    inference_proxies: tuple[str, str]

    def inference_proxy(self, source: str, *more: str) -> tuple[str, ...]:
        identity = ("--identity", str(self.mesh / "inference-proxy.pem"), "--mesh-ca", str(self.mesh / "ca.pem"))
        own = ("--port", "0", *identity, "--secret-service", self.hand_out, "--drain", "0", *LOGGED)
        return ("inference-proxy", "--model", source, *own, *more)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    mesh = directory / "mesh"
    subprocess.run([PRIVITY, "mesh", str(mesh)], check=True, stdout=subprocess.DEVNULL)
    public, hand_out = free_port(), free_port()
    with ExitStack() as stack:
        engines = (stack.enter_context(fake_engine()), stack.enter_context(fake_engine()))
        identity = ("--identity", str(mesh / "secret-service.pem"), "--mesh-ca", str(mesh / "ca.pem"))
        ports = ("--port", str(public), "--hand-out-port", str(hand_out))
        stack.enter_context(program(directory / "secrets", "secret-service", *identity, *ports))
        made = Deployment(mesh, f"https://127.0.0.1:{hand_out}", f"http://127.0.0.1:{public}", engines, ("", ""))
        urls = []
        for number, engine in enumerate(engines):
            own = made.inference_proxy(f"openai:{engine.url}")
            urls.append(url_of(stack.enter_context(program(directory / f"inference-{number}", *own))))
        yield Deployment(mesh, made.hand_out, made.secret_service, engines, (urls[0], urls[1]))


@pytest.fixture(autouse=True)
def answering(deployment: Deployment) -> None:
    for engine in deployment.engines:
        engine.behaviour = "answer"
        engine.requests.clear()


class Front:
    """A gateway with a configuration file, and proxies in front of it."""

    def __init__(self, deployment: Deployment, directory: Path) -> None:
        shutil.copytree(deployment.mesh, directory / "mesh")
        self._deployment = deployment
        self._directory = directory
        self.file = directory / "gateway.toml"
        self._stack = ExitStack()

    def write(
        self,
        more: str = "",
        *,
        first: str = "",
        inference_proxies: tuple[str, ...] | None = None,
        draining: tuple[str, ...] = (),
    ) -> None:
        """Write the file, as editors do: another one takes its place."""
        behind = self._deployment.inference_proxies if inference_proxies is None else inference_proxies
        lines = [
            'mesh_ca = "mesh/ca.pem"',
            f'secret_services = ["{self._deployment.secret_service}"]',
            "port = 0",
            first,
        ]
        lines += [f'[[inference_proxies]]\nurl = "{url}"' for url in behind]
        lines += [f'[[inference_proxies]]\nurl = "{url}"\ndrain = true' for url in draining]
        draft = self.file.with_suffix(".new")
        draft.write_text("\n".join([*lines, more]))
        draft.replace(self.file)

    def change(self, more: str = "", **kinds: Any) -> None:
        """Write the file, and tell the gateway to look at once."""
        self.write(more, **kinds)
        self.look()

    def look(self) -> None:
        self.gateway.process.send_signal(signal.SIGHUP)

    def start(self, more: str = "", **kinds: Any) -> str:
        """Start the gateway; return its URL."""
        self.write(more, **kinds)
        command = ("gateway", "--config", str(self.file), *LOGGED)
        self.gateway = self._stack.enter_context(program(self._directory / "gateway", *command))
        self.url = url_of(self.gateway)
        return self.url

    def proxy(self, *more: str) -> str:
        """Start a proxy; return its URL."""
        own = ("--gateway", self.url, "--mesh-ca", str(self._directory / "mesh" / "ca.pem"), "--port", "0", *LOGGED)
        directory = self._directory / f"proxy-{len(list(self._directory.iterdir()))}"
        self.last_proxy = self._stack.enter_context(program(directory, "proxy", *own, *more))
        return url_of(self.last_proxy)

    def log(self) -> str:
        return self.gateway.err.read_text()

    def eventually_logs(self, text: str) -> None:
        eventually(lambda: text in self.log(), f"{text!r} in the gateway's log")

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def front(deployment: Deployment, tmp_path: Path) -> Iterator[Front]:
    made = Front(deployment, tmp_path)
    try:
        yield made
    finally:
        made.close()


# Keys


def test_each_key_lists_retrieves_and_calls_what_its_groups_may_use(front: Front) -> None:
    gateway = front.start(
        f'[[models]]\nid = "{MODEL}"\nvisible_to = ["research"]\n' + key("alice", "research") + key("bob")
    )
    proxy = front.proxy()
    assert [chat(proxy, name=each).status for each in ("mallory", None)] == [401, 401]
    for url in (gateway, proxy):
        for name in ("mallory", None):
            refused = get(url, "/v1/models", name)
            assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        assert set(rows(url, "alice")) == {MODEL, SHORT}
        assert rows(url, "bob") == {}
        assert [get(url, f"/v1/models/{MODEL}", each).status for each in ("alice", "bob")] == [200, 404]
        etags = [get(url, "/v1/models", each).headers["etag"] for each in ("alice", "bob")]
        assert etags[0] != etags[1]
        claudes = get(url, "/v1/models", None, x_api_key="key-of-alice", anthropic_version="2023-06-01")
        assert [row["id"] for row in json.loads(claudes.body)["data"]] == [MODEL, SHORT]
    assert chat(proxy, name="alice").status == 200
    bobs = chat(proxy, name="bob")
    assert (bobs.status, bobs.error["code"]) == (404, "model_not_found")
    assert chat(proxy, name="mallory").status == 401
    assert message(proxy, "alice").content[0].text == "Hello."
    for name, status, kind in (("bob", 404, "not_found_error"), ("mallory", 401, "authentication_error")):
        with pytest.raises(anthropic.APIStatusError) as caught:
            message(proxy, name)
        body: Any = caught.value.body
        assert (caught.value.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert "key-of-" not in front.log()


def test_the_proxys_own_key_speaks_for_its_apps(front: Front, tmp_path: Path) -> None:
    front.start(key("alice"))
    (tmp_path / "key.txt").write_text("key-of-alice\n")
    proxy = front.proxy("--api-key", f"@{tmp_path}/key.txt")
    assert set(rows(proxy)) == {MODEL, SHORT}
    assert chat(proxy).status == 200


# Names


def test_names_that_only_a_gateway_gives_are_listed_there_and_dropped_by_the_proxy(front: Front) -> None:
    gateway = front.start(NAMES)
    listed = rows(gateway)
    assert list(listed) == [MODEL, SHORT, "small", "default"]
    assert listed[MODEL]["aliases"] == [SHORT, "small", "default"]
    assert listed[MODEL]["floating_aliases"] == ["default"]
    assert {listed[each]["canonical"] for each in (SHORT, "small", "default")} == {MODEL}
    assert list(rows(gateway, query="?aliases=collapse")) == [MODEL]
    proxy = front.proxy()
    answer = get(proxy, "/v1/models")
    assert answer.headers["privity-models-dropped"] == "unsigned=2"
    assert {each: row["verified"] for each, row in rows(proxy).items()} == {MODEL: True, SHORT: True}
    log = front.last_proxy.err.read_text()
    for name in ("small", "default"):
        assert f"doesn't vouch for; it is left out model={name} reason=unsigned" in log
        assert get(proxy, f"/v1/models/{name}").status == 404
        refused = chat(proxy, name)
        assert refused.status == 404
        assert "--unsigned-models" in (refused.error["message"] or "")
    assert chat(proxy, SHORT).status == 200


@pytest.mark.parametrize("unsigned", ["mark", "allow"])
def test_names_that_only_a_gateway_gives_work_for_those_who_want_them(front: Front, unsigned: str) -> None:
    front.start(NAMES)
    proxy = front.proxy("--unsigned-models", unsigned)
    verified = {each: row.get("verified") is True for each, row in rows(proxy).items()}
    assert verified == {MODEL: True, SHORT: True, "small": False, "default": False}
    assert "privity-models-dropped" not in get(proxy, "/v1/models").headers
    for asked, answered in ((MODEL, MODEL), (SHORT, SHORT), ("small", "small"), ("default", MODEL)):
        assert json.loads(get(proxy, f"/v1/models/{asked}").body)["id"] == asked
        with OpenAI(base_url=f"{proxy}/v1", api_key="unused", max_retries=0) as client:
            assert client.chat.completions.create(model=asked, messages=HELLO).model == answered
            stream = client.chat.completions.create(model=asked, messages=HELLO, stream=True)
            assert {chunk.model for chunk in stream} == {answered}


def test_names_that_an_inference_proxy_signs_are_verified(deployment: Deployment, front: Front, tmp_path: Path) -> None:
    records = tmp_path / "records.toml"
    records.write_text(NAMES + 'display_name = "Small"\nmax_output_tokens = 99\n')
    other = tmp_path / "other.toml"
    other.write_text(f'[[models]]\nid = "{OTHER}"\nfloating_aliases = ["default"]\n')
    write_tiny_gguf(tmp_path / "tiny.gguf")
    signs = deployment.inference_proxy(f"openai:{deployment.engines[0].url}#tasks=generate", "--records", str(records))
    next_one = deployment.inference_proxy(f"file:{tmp_path}/tiny.gguf#id={OTHER}", "--records", str(other))
    with program(tmp_path / "first", *signs) as first, program(tmp_path / "next", *next_one) as second:
        front.start(inference_proxies=(url_of(first),))
        proxy = front.proxy()
        assert {each: row["verified"] for each, row in rows(proxy).items()} == dict.fromkeys(
            (MODEL, SHORT, "small", "default"), True
        )
        assert "privity-models-dropped" not in get(proxy, "/v1/models").headers
        assert {row["display_name"] for row in rows(proxy).values()} == {"Small"}
        assert {row["max_output_tokens"] for row in rows(proxy).values()} == {99}
        assert json.loads(get(proxy, f"/v1/models/{SHORT}").body)["evidence"]["generate"] == {"source": "declared"}
        for asked, answered in ((MODEL, MODEL), (SHORT, SHORT), ("small", "small"), ("default", MODEL)):
            assert json.loads(chat(proxy, asked).body)["model"] == answered
        front.change(inference_proxies=(url_of(second),))
        eventually(lambda: rows(proxy).get("default", {}).get("canonical") == OTHER, "the name means the other model")
        assert json.loads(chat(proxy, "default", max_tokens=1).body)["model"] == OTHER


# The end of a model


def test_answers_say_that_their_model_comes_to_its_end(front: Front) -> None:
    ends = f'[[models]]\nid = "{MODEL}"\ndeprecated = 2020-01-01\nretires_at = {{}}\nreplacement = "{OTHER}"\n'
    front.start(ends.format("2199-01-01T01:00:00+01:00"))
    proxy = front.proxy()
    row = rows(proxy)[MODEL]
    assert (row["deprecated"], row["deprecated_at"]) == (True, "2020-01-01T00:00:00Z")
    assert (row["retires_at"], row["replacement"]) == ("2199-01-01T00:00:00Z", OTHER)
    embeddings = json.dumps({"model": MODEL, "input": "x"}).encode()
    for answer in (
        get(proxy, f"/v1/models/{MODEL}"),
        chat(proxy),
        chat(proxy, SHORT, stream=True),
        http("POST", f"{proxy}/v1/embeddings", embeddings, content_type="application/json"),
    ):
        assert answer.status == 200
        assert answer.headers["deprecation"] == "@1577836800"
        assert answer.headers["sunset"] == "Tue, 01 Jan 2199 00:00:00 GMT"
        assert answer.headers["link"] == '</v1/models/tiny%2FModel-2>; rel="successor-version"'
    front.change(ends.format("2021-01-01"))
    eventually(lambda: rows(proxy) == {}, "a retired model leaves the list")
    assert chat(proxy).status == 404
    assert get(proxy, f"/v1/models/{MODEL}").status == 404


# What changes while it runs


def test_a_file_that_changes_is_applied(front: Front) -> None:
    gateway = front.start()
    assert list(rows(gateway)) == [MODEL, SHORT]
    assert "access-control-allow-origin" not in get(gateway, "/v1/models", Origin="https://app.example").headers
    front.write(NAMES, first='aliases = "collapse"\nallowed_origins = ["https://app.example"]')
    eventually(lambda: list(rows(gateway)) == [MODEL], "the list is collapsed")
    assert list(rows(gateway, query="?aliases=list")) == [MODEL, SHORT, "small", "default"]
    answer = get(gateway, "/v1/models", Origin="https://app.example")
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    front.eventually_logs("change=aliases list → collapse")
    front.eventually_logs(f"change=model added: {MODEL}")
    front.change(key("alice"))
    eventually(lambda: get(gateway, "/v1/models").status == 401, "a key is needed")
    assert list(rows(gateway, "alice")) == [MODEL, SHORT]
    front.eventually_logs("takes only its keys from now on")


def test_a_signal_makes_it_look(front: Front) -> None:
    gateway = front.start()
    front.look()
    front.eventually_logs("configuration reloaded; nothing changed")
    front.change(NAMES)
    eventually(lambda: "small" in rows(gateway), "the new names are listed")
    assert front.gateway.process.poll() is None


def test_a_file_that_is_broken_changes_nothing_and_is_told_of(front: Front) -> None:
    gateway = front.start(NAMES)
    whole = front.file.read_text()
    front.file.write_text(whole.replace('aliases = ["small"]', 'aliases = ["small"]\ntaks = ["generate"]'))
    line = front.file.read_text().splitlines().index('taks = ["generate"]') + 1
    front.eventually_logs(f"{front.file}:{line}: models[0].taks: unknown; did you mean tasks?")
    front.look()
    eventually(lambda: front.log().count("the last good one stays") == 2, "it is told of again")
    assert list(rows(gateway)) == [MODEL, SHORT, "small", "default"]
    front.file.unlink()
    front.look()
    front.eventually_logs("can't be read")
    assert list(rows(gateway)) == [MODEL, SHORT, "small", "default"]
    front.change()
    eventually(lambda: list(rows(gateway)) == [MODEL, SHORT], "the file that is whole again counts")


def test_what_needs_a_restart_is_said(front: Front) -> None:
    gateway = front.start()
    front.change(first="answer_timeout = 5")
    front.eventually_logs("answer_timeout 630.0 → 5.0 (needs a restart)")
    assert list(rows(gateway)) == [MODEL, SHORT]


def test_inference_proxies_join_drain_and_leave(deployment: Deployment, front: Front) -> None:
    first, second = deployment.inference_proxies
    engines = deployment.engines
    front.start(inference_proxies=(first,))
    proxy = front.proxy()

    def served_by() -> list[bool]:
        for engine in engines:
            engine.requests.clear()
        assert {chat(proxy).status for _ in range(4)} == {200}
        return [bool(engine.requests) for engine in engines]

    assert (served_by(), replicas(proxy)) == ([True, False], 1)
    front.change(inference_proxies=(first, second))
    eventually(lambda: replicas(proxy) == 2, "another inference proxy joins")
    front.change(inference_proxies=(second,), draining=(first,))
    eventually(lambda: replicas(proxy) == 1, "one drains")
    assert served_by() == [False, True]
    front.change(inference_proxies=(first,))
    eventually(lambda: replicas(proxy) == 1 and served_by() == [True, False], "the other one left")
    front.change(inference_proxies=(), draining=(first,))
    eventually(lambda: rows(proxy) == {}, "all drain")
    refused = chat(proxy)
    assert (refused.status, refused.error["code"]) == (503, "model_unavailable")
    front.eventually_logs(f"inference proxy removed: {second}")


def test_a_stream_goes_on_though_its_inference_proxy_leaves_the_file(deployment: Deployment, front: Front) -> None:
    first, second = deployment.inference_proxies
    engine = deployment.engines[0]
    engine.behaviour = "stream for ever"
    front.start(inference_proxies=(first,))
    proxy = front.proxy()
    with streaming(proxy) as stream:
        assert next(stream).choices[0].delta.content
        front.change(inference_proxies=(first, second))
        eventually(lambda: replicas(proxy) == 2, "another inference proxy joins")
        front.change(inference_proxies=(second,))
        eventually(lambda: replicas(proxy) == 1, "the one that streams left")
        assert chat(proxy).status == 200
        assert next(stream).choices[0].delta.content
        engine.behaviour = "answer"
        assert {chunk.model for chunk in stream} == {MODEL}


def test_a_key_that_is_taken_away_ends_what_it_follows(front: Front) -> None:
    gateway = front.start(key("alice") + key("bob"))
    proxy = front.proxy()
    with ThreadPoolExecutor() as pool:
        for url in (gateway, proxy):
            front.change(key("alice") + key("bob"))
            eventually(lambda at=url: get(at, "/v1/models", "bob").status == 200, "the key is known")  # type: ignore[misc]
            etag = quote(get(url, "/v1/models", "bob").headers["etag"])
            began = Event()
            followed = pool.submit(follow, url, began)
            waiting = pool.submit(get, url, f"/v1/models?wait={etag}&timeout=100", "bob")
            assert began.wait(PATIENCE)
            front.change(key("alice"))
            assert waiting.result(PATIENCE).status == 401
            assert followed.result(PATIENCE)
            assert get(url, "/v1/models", "alice").status == 200


def test_an_inference_proxy_that_stops_leaves_the_list_first_and_finishes_what_runs(
    deployment: Deployment, front: Front, tmp_path: Path
) -> None:
    engine = deployment.engines[0]
    engine.behaviour = "stream for ever"
    own = deployment.inference_proxy(f"openai:{engine.url}", "--drain", "60")
    stops = Program(tmp_path / "stops", *own)
    try:
        stops.wait_until_it_says(" serves on ")
        front.start(inference_proxies=(url_of(stops),))
        proxy = front.proxy()
        with streaming(proxy) as stream:
            assert next(stream).choices[0].delta.content
            stops.process.send_signal(signal.SIGTERM)
            eventually(lambda: rows(proxy) == {}, "the model leaves the list")
            assert stops.process.poll() is None
            assert chat(proxy).status == 503
            engine.behaviour = "answer"
            assert {chunk.model for chunk in stream} == {MODEL}
    finally:
        stops.process.kill()
        stops.process.wait()
