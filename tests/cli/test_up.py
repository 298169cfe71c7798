import json
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from privity.cli._mesh import read_ca
from privity.cli.main import main
from privity.cli.up import require_distinct
from privity.engines.embedded.fetch import ModelFiles
from privity.errors import StartError
from privity.roles.inference_proxy.config import RemoteEngine
from privity.testing.fake_engine import MODEL, fake_engine
from privity.testing.programs import http, program, up


def files(path: str, *ids: str) -> ModelFiles:
    return ModelFiles(Path(path), None, ids, 0, "local", None, None, None)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mesh") / "files"
    assert main(["mesh", str(directory)]) == 0
    return directory


def command_line(command: str, mesh: Path) -> list[str]:
    """Return a command with all that it needs besides `--model`."""
    ca = ["--mesh-ca", str(mesh / "ca.pem")]
    nobody = "https://127.0.0.1:1"
    return {
        "up": ["up"],
        "proxy": ["proxy", *ca],
        "gateway": ["gateway", *ca, "--inference-proxy", nobody, "--secret-service", nobody],
        "inference-proxy": [
            *("inference-proxy", *ca, "--secret-service", nobody),
            *("--identity", str(mesh / "inference-proxy.pem")),
        ],
    }[command]


@pytest.fixture
def busy_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


def problem(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a command says before it gives up."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("privity: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("command", "model", "what"),
    [
        ("up", None, "proxy"),
        ("proxy", None, "proxy"),
        ("gateway", None, "gateway"),
        ("inference-proxy", "file:missing.gguf", "inference proxy"),
    ],
)
def test_a_busy_port_is_one_sentence_before_anything_slow_begins(
    command: str, model: str | None, what: str, mesh: Path, busy_port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [] if model is None else ["--model", model]
    assert problem([*command_line(command, mesh), *models, "--port", busy_port], capsys) == (
        f"privity: Port {busy_port} on 127.0.0.1 is taken by another program, so the {what} can't listen there. "
        "Stop that program, or choose another port with --port.\n"
    )


@pytest.mark.parametrize("options", [("--prompt-cache-salt", "s" * 32), ("--sharedPromptCache", "--promptCacheSalt=s")])
def test_a_salt_that_is_of_no_use_is_one_sentence_before_anything_slow_begins(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "salt" in problem(["up", "--port", "0", *options], capsys)


def test_requests_share_the_prompt_cache_where_its_user_says_so(tmp_path: Path) -> None:
    salt = "a salt for tests, 32 letters long"
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    with fake_engine() as engine:
        shared = ("--shared-prompt-cache", "--prompt-cache-salt", salt)
        with up(tmp_path / "up", "--model", f"openai:{engine.url}", *shared) as running:
            url = f"{running.url}/v1/chat/completions"
            assert http("POST", url, body, content_type="application/json").status == 200
        assert engine.requests[-1]["cache_salt"] == salt


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("file:missing.gguf", "missing.gguf can't be read (No such file or directory). Check the path"),
        ("missing.gguf", "missing.gguf can't be read"),
        ("nonsense", "can't be used: it has no known form. Accepted forms are"),
        ("openai:http://127.0.0.1:1/v1#tasks=fly", "can't be used: tasks are"),
    ],
)
@pytest.mark.parametrize("command", ["up", "inference-proxy"])
def test_a_source_that_is_not_there_is_one_sentence(
    command: str,
    source: str,
    says: str,
    mesh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--port", "0", "--data-dir", str(tmp_path), "--model", source]
    assert says in problem([*command_line(command, mesh), *options], capsys)


@pytest.mark.parametrize("command", ["up", "inference-proxy"])
def test_records_that_are_not_there_are_one_sentence(
    command: str, mesh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = str(tmp_path / "records.toml")
    options = ["--port", "0", "--model", "openai:http://127.0.0.1:1/v1", "--records", records]
    assert records in problem([*command_line(command, mesh), *options], capsys)


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    said = problem(["up", "--port", "0", "--model", str(tmp_path / "text.gguf")], capsys)
    assert "is not a GGUF file. Use a model in" in said


def test_two_models_with_one_id_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.gguf").write_bytes(b"GGUF")
        sources += ["--model", str(tmp_path / name / "model.gguf")]
    said = problem(["up", "--port", "0", *sources], capsys)
    assert said == (
        f"privity: {tmp_path}/a/model.gguf and {tmp_path}/b/model.gguf would both be listed as model. "
        "Give one of them another ID: --model SOURCE#id=NAME\n"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [(("x",), ("x",)), (("org/x", "x"), ("x",)), (("x",), ("org/x", "x")), (("a/x", "x"), ("b/x", "x"))],
)
def test_models_that_share_any_id_are_refused(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    with pytest.raises(StartError, match=r"first\.gguf and second\.gguf would both be listed as x"):
        require_distinct([files("first.gguf", *first), files("second.gguf", *second)])


def test_models_that_share_no_id_are_fine() -> None:
    remote = RemoteEngine("http://127.0.0.1:1")
    require_distinct([remote, files("a.gguf", "org/x", "x"), remote, files("b.gguf", "org/y", "y")])


def test_a_remote_engine_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    said = problem(["up", "--port", "0", "--model", "openai:http://127.0.0.1:1/v1"], capsys)
    assert "No engine at http://127.0.0.1:1" in said
    assert "#tasks=" in said


def test_the_screen_names_a_mesh_ca_by_which_another_proxy_reaches_the_models_until_it_stops(tmp_path: Path) -> None:
    with fake_engine() as engine:
        with up(tmp_path / "up", "--model", f"openai:{engine.url}") as running:
            screen = running.program.out.read_text()
            (command,) = re.findall(r"^ +(privity proxy .*)$", screen, re.MULTILINE)
            arguments = shlex.split(command)[1:]
            mesh_ca = Path(arguments[arguments.index("--mesh-ca") + 1])
            read_ca(mesh_ca)
            assert b"PRIVATE KEY" not in mesh_ca.read_bytes()
            assert [each.name for each in mesh_ca.parent.iterdir()] == [mesh_ca.name], "nor is it beside it"
            arguments[arguments.index("--port") + 1] = "0"
            with program(tmp_path / "proxy", *arguments) as another:
                url = another.out.read_text().removeprefix("privity proxy serves on ").strip()
                listed = json.loads(http("GET", f"{url}/v1/models").body)["data"]
                assert [row["id"] for row in listed] == [MODEL, "model-1b"]
                assert all(row["verified"] for row in listed), "models-api.md item 13"
        assert not mesh_ca.parent.exists()
