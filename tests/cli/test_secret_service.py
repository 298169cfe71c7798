import base64
import re
from pathlib import Path

import pytest

from privity.cli._ui import STOPPING
from privity.cli.main import main
from privity.testing.programs import Program, http, program
from privity.testing.valkey_server import find_server, valkey_server

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mesh") / "files"
    assert main(["mesh", str(directory)]) == 0
    return directory


def command(mesh: Path, *more: str) -> list[str]:
    files = ["--identity", str(mesh / "secret-service.pem"), "--mesh-ca", str(mesh / "ca.pem")]
    return ["secret-service", "--port", "0", "--hand-out-port", "0", *files, *more]


def urls(started: Program) -> tuple[str, ...]:
    address = r"127\.0\.0\.1:\d+"
    line = rf"privity secret-service serves on (https?://{address}), and hands out secrets on (https://{address})\n"
    said = re.fullmatch(line, started.out.read_text())
    assert said is not None
    return said.groups()


def test_it_says_where_it_serves_and_stops_when_it_is_told_to(mesh: Path, tmp_path: Path) -> None:
    with program(tmp_path, *command(mesh)) as started:
        url, _ = urls(started)
        answer = http("POST", f"{url}/privatemode/v1/secret", b"{}", content_type="application/json")
        assert (answer.status, answer.error["code"]) == (400, "invalid_json")
        assert started.stop() == 0
    assert started.err.read_text() == f"{STOPPING}\n"


def test_with_tls_it_serves_nothing_in_clear_text(mesh: Path, tmp_path: Path) -> None:
    with program(tmp_path, *command(mesh, "--tls")) as started:
        assert urls(started)[0].startswith("https://")


@pytest.mark.skipif(find_server() is None, reason="neither valkey-server nor redis-server is installed")
def test_it_takes_a_store_with_the_key_that_privity_mesh_made(mesh: Path, tmp_path: Path) -> None:
    with valkey_server(tmp_path) as store:
        more = ("--store", store.url, "--store-key", str(mesh / "store.key"))
        with program(tmp_path, *command(mesh, *more)) as started:
            urls(started)


# What keeps it from starting


def problem(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Return the one line that the command says before it gives up."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("option", ["--store", "--store-key"])
def test_a_store_and_its_key_go_together(mesh: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--store and --store-key go together." in problem(capsys, command(mesh, option, "redis://localhost"))


@pytest.mark.parametrize("content", ["", "no base64!", "é", KEY[:-8], KEY + KEY, "k" * 32, f"{KEY}\n{KEY}"])
def test_a_store_key_is_32_bytes_in_base64_and_never_repeated(
    mesh: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store.key"
    path.touch(0o600)
    path.write_text(content)
    more = ("--store", "redis://localhost", "--store-key", str(path))
    said = problem(capsys, command(mesh, *more))
    assert f"{path} doesn't hold 32 bytes in base64. Make a key:" in said
    assert not content or content not in said


def test_a_key_file_that_others_may_read_is_refused(
    mesh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store.key"
    path.write_text(KEY)
    path.chmod(0o644)
    more = ("--store", "redis://localhost", "--store-key", str(path))
    assert f"chmod 600 {path}" in problem(capsys, command(mesh, *more))


@pytest.mark.parametrize("option", ["--identity", "--mesh-ca", "--store-key"])
def test_a_missing_file_is_named(mesh: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--store", "redis://localhost", "--store-key", str(mesh / "store.key"))
    said = problem(capsys, command(mesh, *more, option, str(mesh / "missing")))
    assert f"{mesh / 'missing'} can't be read (No such file or directory). Check the path" in said


def test_a_url_with_a_password_is_never_repeated(mesh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--store", "http://:pass-4711@localhost", "--store-key", str(mesh / "store.key"))
    said = problem(capsys, command(mesh, *more))
    assert "The URL of the secret store can't be used. Its forms are redis://" in said
    assert "4711" not in said
