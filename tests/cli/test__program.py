import argparse
import re
import signal
import socket
from pathlib import Path

import pytest

from privity.cli._program import INTERRUPTED_STATUS, base_url, port_number, seconds
from privity.cli._ui import INTERRUPTED, STOPPING
from privity.cli.main import main
from privity.testing.programs import Program, program

NOBODY = "https://127.0.0.1:1"
COMMANDS = {
    "proxy": ["--gateway", NOBODY],
    "gateway": ["--inference-proxy", NOBODY, "--secret-service", NOBODY],
}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mesh") / "files"
    assert main(["mesh", str(directory)]) == 0
    return directory


def command_line(command: str, mesh: Path, *options: str) -> list[str]:
    return [command, "--port", "0", "--mesh-ca", str(mesh / "ca.pem"), *options]


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("1", 1), ("8080", 8080), ("65535", 65535)])
def test_a_port_is_a_number_of_sixteen_bits(text: str, number: int) -> None:
    assert port_number(text) == number


@pytest.mark.parametrize("text", ["", "-1", "65536", "80.0", "http", "0x50"])
def test_another_port_is_refused(text: str) -> None:
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        port_number(text)


@pytest.mark.parametrize(("text", "number"), [("1", 1.0), ("0.5", 0.5), ("600", 600.0), ("1e3", 1000.0)])
def test_seconds_are_a_number(text: str, number: float) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "-inf", "1e6", "1 s", "soon"])
def test_other_seconds_are_refused(text: str) -> None:
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:8081", "http://localhost:8081"),
        ("http://localhost:8081/", "http://localhost:8081"),
        ("https://gateway.example/base/", "https://gateway.example/base"),
        ("http://[::1]:8081", "http://[::1]:8081"),
    ],
)
def test_a_base_url_has_no_slash_at_its_end(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "localhost:8081",
        "ftp://localhost",
        "http://",
        "http://localhost:0",
        "http://localhost:99999",
        "http://user:secret@localhost",
        "http://a b",
        "http://localhost/a b",
        "http://localhost/?a=b",
        "http://localhost/#a",
        "http://[::1",
        "http://localhost\r\nx: y",
    ],
)
def test_what_is_no_base_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        base_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_says_where_it_serves_and_stops_when_it_is_told_to(
    command: str, number: signal.Signals, mesh: Path, tmp_path: Path
) -> None:
    with program(tmp_path, *command_line(command, mesh, *COMMANDS[command])) as started:
        assert re.fullmatch(rf"privity {command} serves on http://127\.0\.0\.1:\d+\n", started.out.read_text())
        assert started.stop(number) == 0
    assert started.err.read_text().splitlines()[-1] == STOPPING


def test_a_program_that_is_stopped_before_it_serves_says_so(mesh: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        engine = f"openai:http://127.0.0.1:{silent.getsockname()[1]}/v1"
        options = ["--secret-service", NOBODY, "--identity", str(mesh / "inference-proxy.pem"), "--model", engine]
        started = Program(tmp_path, *command_line("inference-proxy", mesh, *options))
        try:
            asking, _ = silent.accept()  # now it waits for the engine to say what it can do
        finally:
            status = started.stop()
        asking.close()
    assert (status, started.err.read_text()) == (INTERRUPTED_STATUS, f"{INTERRUPTED}\n")
    assert started.out.read_text() == ""
