"""`privity models` against a small real server."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from privity.catalogue.dialects import openai
from privity.catalogue.model import Model
from privity.cli.main import build_parser, main
from privity.cli.models.command import url_of
from privity.testing.programs import free_port
from privity.testing.served import served

CHAT = Model("org/chat", ("generate",), 1, "org", ("chat",), context_length=2048)
LIST = {"object": "list", "data": [openai.row(CHAT, each, datetime.now(UTC)) for each in CHAT.ids]}
TABLE = ["ID        ALIASES  TASKS     CONTEXT  STATE", "org/chat  chat     generate  2048     available"]


@dataclass
class Server:
    url: str = ""
    status: int = 200
    body: bytes = json.dumps(LIST).encode()
    headers: dict[str, str] = field(default_factory=dict)
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
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            """Keep silent."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with served(listener):
        state.url = f"http://127.0.0.1:{listener.server_port}"
        yield state


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
    assert main(["models", "--api-key", "canary", "--base-url", server.url]) == 0
    assert server.heard == [("/v1/models", "Bearer canary")]
    assert "canary" not in "".join(capsys.readouterr())


def test_the_key_may_stand_in_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary\n")
    assert main(["models", "--api-key", f"@{tmp_path}/key", "--base-url", server.url]) == 0
    assert server.heard == [("/v1/models", "Bearer canary")]


def test_filters_are_the_servers_matter(server: Server) -> None:
    given = ["--task", "embed", "--owned-by", "a b", "-q", "ü&x"]
    assert main(["models", *given, "--base-url", server.url]) == 0
    assert server.heard == [("/v1/models?task=embed&owned_by=a+b&q=%C3%BC%26x", None)]


def test_where_nothing_matches_it_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.body = b'{"data": []}'
    assert main(["models", "--task", "embed", "--base-url", server.url]) == 0
    assert capsys.readouterr().out == "No model that is available at the moment matches.\n"


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({}, "available"),
        ({"status": "degraded"}, "degraded"),
        ({"verified": True}, "available"),
        ({"verified": False}, "not verified"),
        ({"deprecated": True}, "deprecated"),
        ({"retires_at": "2027-03-01T00:00:00Z"}, "retires 2027-03-01"),
        ({"replacement": "org/new"}, "replaced → org/new"),
        (
            {"deprecated": True, "retires_at": "2027-03-01T00:00:00Z", "replacement": "org/new"},
            "deprecated, retires 2027-03-01 → org/new",
        ),
        (
            {"status": "unknown", "deprecated": True, "replacement": "org/new", "verified": False},
            "unknown, deprecated → org/new, not verified",
        ),
    ],
)
def test_the_state_says_what_is_to_be_known_before_use(
    server: Server, members: dict[str, object], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "a", "aliases": ["b"], "tasks": ["embed"], "status": "available", "context_length": 8, **members}
    server.body = json.dumps({"data": [row]}).encode()
    assert main(["models", "--base-url", server.url]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"a   b        embed  8        {state}"


def test_an_alias_that_nobody_signed_is_marked(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "a", "aliases": ["b", "c"], "verified": True}, {"id": "c", "canonical": "a", "verified": False}]
    server.body = json.dumps({"data": rows}).encode()
    assert main(["models", "--base-url", server.url]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("a   b, c (not verified)  -")


def test_what_a_proxy_left_out_is_said_in_words(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.headers["privity-models-dropped"] = "expired=1, unsigned=2"
    assert main(["models", "--base-url", server.url]) == 0
    kinds = "1 whose statement is out of date, 2 that nobody signed"
    assert capsys.readouterr().out.splitlines()[2:] == [
        "",
        f"The proxy left out 3 models or names of the gateway's list: {kinds}.",
    ]


@pytest.mark.parametrize("remark", ["", "nonsense", "\x9b2J", "unsigned=0", "=", "A=1"])
def test_a_remark_that_says_nothing_is_not_shown(
    server: Server, remark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.headers["privity-models-dropped"] = remark
    assert main(["models", "--base-url", server.url]) == 0
    assert capsys.readouterr().out.splitlines() == TABLE


def test_a_gateways_word_is_said_to_be_no_more(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--at-gateway", "--base-url", server.url]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("Nothing of this was verified")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mesh-ca", "ca.pem"], "--at-gateway"),
        (["--at-gateway", "--mesh-ca", "missing.pem"], "missing.pem can't be read"),
        (["--watch", "show", "a"], "--watch and filters are for the list"),
        (["--task", "embed", "show", "a"], "--watch and filters are for the list"),
        (["show", ""], "An empty ID"),
        (["show", "\udcff"], "isn't text"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(
    server: Server, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--base-url", server.url, *options]) == 1
    assert says in one_sentence_and_its_way_out(capsys)
    assert server.heard == []


@pytest.mark.parametrize(("options", "url"), [([], "localhost:8080"), (["--at-gateway"], "localhost:8081")])
def test_each_role_has_its_own_default(options: list[str], url: str) -> None:
    parsed = build_parser().parse_args(["models", *options])
    assert parsed.base_url is None
    assert url in url_of(parsed)


def test_options_may_stand_before_and_after_show() -> None:
    parsed = build_parser().parse_args(["models", "--base-url", "http://a", "--json", "show", "x", "--api-key", "k"])
    assert (parsed.base_url, parsed.json, parsed.api_key, parsed.id) == ("http://a", True, "k", "x")


def test_help_has_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models", "--help"])
    said = capsys.readouterr().out
    options = (
        "--watch",
        "--task",
        "--owned-by",
        "-q",
        "--json",
        "--base-url",
        "--api-key",
        "--at-gateway",
        "--mesh-ca",
    )
    for part in (*options, "show ID", "@FILE"):
        assert part in said
    examples = said.partition("examples:")[2].strip().splitlines()
    assert len(examples) == 3
    for each in examples:
        build_parser().parse_args(shlex.split(each.split("   ")[0])[1:])


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


@pytest.mark.parametrize("text", ["no `x`, nearest: `y`.", "canary is wrong.", "a\x1b[2J\nb.", "long" * 10_000 + "."])
@pytest.mark.parametrize("options", [[], ["show", "x"]])
@pytest.mark.parametrize("status", [400, 404, 503])
def test_what_the_server_says_of_an_error_is_shown(
    server: Server, status: int, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.status, server.body = status, json.dumps({"error": {"message": text}}).encode()
    assert main(["models", "--base-url", server.url, "--api-key", "canary", *options]) == 1
    said = one_sentence_and_its_way_out(capsys)
    assert text.replace("canary", "…").replace("\x1b", "?").replace("\n", "?")[:1000] in said
    assert len(said) < 1200


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"5", b"{}", b'{"id": 5}', b'{"id": "a", "evidence": []}', b'{"id": "a", "health": 1}'),
        *(b'{"id": "a", "facts": {"x": []}}', b'{"id": "a", "statement": {"payload": 5}}', b"[" * 100_000),
    ],
)
def test_an_answer_that_is_no_model_is_one_sentence(
    server: Server, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    server.body = body
    assert main(["models", "--base-url", server.url, "show", "a"]) == 1
    assert "Check --base-url." in one_sentence_and_its_way_out(capsys)


def test_a_feed_in_place_of_a_model_is_one_sentence(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.headers["content-type"] = "text/event-stream"
    assert main(["models", "--base-url", server.url, "show", "events"]) == 1
    assert "Check --base-url." in one_sentence_and_its_way_out(capsys)


def test_a_record_from_outside_is_shown_whatever_is_in_it(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    record = {
        "id": "a",
        "created": 1e300,
        "context_length": -1,
        "tasks": ["fly\x1b[2J"],
        "evidence": {"fly\x1b[2J": {"source": "\x07rumour", "at": "yesterday"}},
        "facts": {"size": 10**30, "licence\n": "free\x9b"},
        "statement": {"payload": "?", "signer": "\x1b"},
        "health": {"replicas": 2, "age_seconds": 1e300},
    }
    server.body = json.dumps(record).encode()
    assert main(["models", "--base-url", server.url, "show", "a"]) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert "fly?[2J  ?rumour yesterday" in out


@pytest.mark.parametrize("api_key", ["ke\ry", "a\nb", "\0", "\udcff", "", "kéy"])
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
