"""`privity models` against a small real server."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from privity.catalogue.model import Model
from privity.cli.main import main
from privity.testing.programs import free_port

CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",), 2048)
LIST = {"object": "list", "data": [CHAT.row("org/chat"), CHAT.row("chat")]}
TABLE = ["ID        ALIASES  TASKS     CONTEXT  STATE", "org/chat  chat     generate  2048     available"]


@dataclass
class Server:
    url: str = ""
    status: int = 200
    body: bytes = json.dumps(LIST).encode()
    heard: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that gives one answer to everything."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.heard.append((self.path, self.headers["authorization"]))
            self.send_response(state.status)
            self.send_header("content-length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            """Keep silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        serving = threading.Thread(target=listener.serve_forever, args=(0.01,))
        serving.start()
        state.url = f"http://127.0.0.1:{listener.server_port}"
        yield state
        listener.shutdown()
        serving.join()


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_list_is_a_table(server: Server, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--base-url", server.url + suffix]) == 0
    assert capsys.readouterr() == ("\n".join(TABLE) + "\n", "")
    assert server.heard == [("/v1/models", None)]


def test_json_is_the_answer_as_it_is(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.body = b'{ "data" : [ ] , "x": "\xc3\xa9" }'
    assert main(["models", "--json", "--base-url", server.url]) == 0
    assert capsys.readouterr() == ('{ "data" : [ ] , "x": "é" }\n', "")


def test_the_key_is_a_bearer_token(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--api-key", "kéy", "--base-url", server.url]) == 0
    assert server.heard == [("/v1/models", "Bearer kéy".encode().decode("latin-1"))]
    assert "kéy" not in "".join(capsys.readouterr())


def test_an_empty_list_is_said_to_be_one(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.body = b'{"object": "list", "data": []}'
    assert main(["models", "--base-url", server.url]) == 0
    assert capsys.readouterr().out == "No model is available at the moment.\n"


def test_an_id_that_could_steer_the_terminal_is_neutralised(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.body = json.dumps({"data": [{"id": "a\x1b[2Jb\nc", "tasks": ["\x07"]}]}).encode()
    assert main(["models", "--base-url", server.url]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def one_sentence_and_its_way_out(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("privity: ")
    assert err.endswith(".\n")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[]",
        b'"text"',
        b"5",
        b"{}",
        b'{"error": {"message": "no"}}',
        b'{"data": 5}',
        b'{"data": "text"}',
        b'{"data": {"id": "a"}}',
        b'{"data": ["a"]}',
        b'{"data": [null]}',
        b'{"data": [{}]}',
        b'{"data": [{"id": 5}]}',
        b'{"data": [{"id": "a", "tasks": 5}]}',
        b'{"data": [{"id": "a", "aliases": null}]}',
        b'{"data": [{"id": "a", "aliases": [5]}]}',
        b'{"data": [{"id": "a", "status": 5}]}',
    ],
)
def test_an_answer_that_is_no_list_is_one_sentence(
    server: Server, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    server.body = body
    assert main(["models", "--base-url", server.url]) == 1
    assert "isn't a model list. Check --base-url." in one_sentence_and_its_way_out(capsys)


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "Give one with --api-key."), (404, "status 404"), (500, "status 500"), (503, "status 503")],
)
def test_an_error_is_one_sentence(server: Server, status: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.status = status
    assert main(["models", "--base-url", server.url, "--api-key", "canary"]) == 1
    said = one_sentence_and_its_way_out(capsys)
    assert says in said
    assert "canary" not in said


@pytest.mark.parametrize("api_key", ["key\r", "a\nb", "\0", "\udcff"])
def test_a_key_that_no_header_can_carry_is_one_sentence(
    server: Server, api_key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--base-url", server.url, "--api-key", api_key]) == 1
    assert "Check --api-key." in one_sentence_and_its_way_out(capsys)
    assert server.heard == []


def test_without_a_proxy_it_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["models", "--base-url", url]) == 1
    said = one_sentence_and_its_way_out(capsys)
    for part in (url, "`privity up`", "--base-url"):
        assert part in said
