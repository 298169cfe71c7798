import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from privity.cli.main import main
from privity.cli.up import require_distinct
from privity.engines.embedded.fetch import ModelFiles
from privity.errors import StartError
from privity.roles.inference_proxy.config import RemoteEngine


def files(path: str, *ids: str) -> ModelFiles:
    return ModelFiles(Path(path), None, ids, 0, "local", None, None, None)


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
    ("command", "what"),
    [
        (["up"], "proxy"),
        (["proxy"], "proxy"),
        (["gateway", "--inference-proxy", "http://127.0.0.1:1"], "gateway"),
        (["inference-proxy", "--model", "file:missing.gguf"], "inference proxy"),
    ],
)
def test_a_busy_port_is_one_sentence_before_anything_slow_begins(
    command: list[str], what: str, busy_port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem([*command, "--port", busy_port], capsys) == (
        f"privity: Port {busy_port} on 127.0.0.1 is taken by another program, so the {what} can't listen there. "
        "Stop that program, or choose another port with --port.\n"
    )


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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in problem([command, "--port", "0", "--data-dir", str(tmp_path), "--model", source], capsys)


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
