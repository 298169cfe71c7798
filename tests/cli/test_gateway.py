import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from privity.cli._ui import STOPPING
from privity.cli.main import main
from privity.testing.programs import Program, eventually, http, program

NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mesh") / "files"
    assert main(["mesh", str(directory)]) == 0
    return directory


def command(mesh_ca: Path, *more: str) -> list[str]:
    peers = ["--inference-proxy", f"https://{NOBODY}", "--secret-service", f"http://{NOBODY}"]
    return ["gateway", "--port", "0", *peers, "--mesh-ca", str(mesh_ca), *more]


def url_of(started: Program) -> str:
    return started.out.read_text().removeprefix("privity gateway serves on ").strip()


@pytest.fixture(scope="module")
def alone(mesh: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run a gateway with nobody behind it."""
    logged = ("--log-level", "info", "--log-format", "json")
    with program(tmp_path_factory.mktemp("gateway"), *command(mesh / "ca.pem", *logged)) as started:
        yield started


def test_it_serves_while_nobody_is_behind_it_and_stops_when_it_is_told_to(mesh: Path, tmp_path: Path) -> None:
    with program(tmp_path, *command(mesh / "ca.pem")) as started:
        assert url_of(started).startswith("http://127.0.0.1:")
        eventually(lambda: "can't be used" in started.err.read_text(), "a warning of replicas that can't be used")
        assert started.stop() == 0
    assert started.err.read_text().splitlines()[-1] == STOPPING


def test_without_inference_proxies_it_lists_no_models(alone: Program) -> None:
    answer = http("GET", f"{url_of(alone)}/v1/models")
    assert (answer.status, json.loads(answer.body)) == (200, {"object": "list", "data": []})


def test_without_secret_services_nobody_agrees_on_secrets(alone: Program) -> None:
    answer = http("POST", f"{url_of(alone)}/privatemode/v1/secret", b"{}", content_type="application/json")
    assert (answer.status, answer.headers["privatemode-encrypted"]) == (503, "false")
    assert "secret service" in (answer.error["message"] or "")


def test_nothing_is_attested(alone: Program) -> None:
    answer = http("POST", f"{url_of(alone)}/privatemode/v1/attest", b"{}", content_type="application/json")
    assert (answer.status, answer.error["code"]) == (501, "not_supported")


def test_its_log_shows_no_key(alone: Program) -> None:
    http("POST", f"{url_of(alone)}/v1/chat/completions", b"{}", authorization="Bearer canary-5d3e", x_api_key="canary")
    assert "request" in alone.err.read_text()
    assert "canary" not in alone.err.read_text()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("missing.pem", "missing.pem can't be read (No such file or directory)."),
        ("secret-service.pem", "secret-service.pem can't be used as the mesh CA's certificate."),
        ("store.key", "store.key can't be used as the mesh CA's certificate."),
    ],
)
def test_what_is_not_the_mesh_cas_certificate_is_one_sentence(
    file: str, says: str, mesh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(mesh / file)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--inference-proxy, --secret-service, --mesh-ca must be given. Or everything in a file: --config FILE."),
        (["--mesh-ca", "ca.pem"], "--inference-proxy, --secret-service must be given."),
        (
            ["--config", "g.toml", "--port", "1"],
            "--port can't be given beside --config, nor by the environment. Say it in the file.",
        ),
        (["--config", "none.toml"], "none.toml can't be read (No such file or directory)."),
    ],
)
def test_a_gateway_is_told_what_it_lacks(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", *arguments]) == 1
    assert says in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('mesh_ca = "ca.pem"\nport = "x"\n')
    assert main(["gateway", "--config", str(file)]) == 1
    told = capsys.readouterr().err
    assert f"{file}:2: port: expected an integer from 0 to 65535" in told
    assert f"{file}:1: secret_services: missing" in told
