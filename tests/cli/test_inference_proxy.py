from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.catalogue.declared import Declared
from privity.cli import inference_proxy
from privity.cli._engine import MAX_PROBES, tell_unserved
from privity.cli.inference_proxy import DRAIN_SECONDS
from privity.cli.main import main
from privity.engines.probing import PROBE_BUDGET
from privity.protocol.mesh import INFERENCE_PROXY, MeshCa
from privity.roles.inference_proxy.config import Documents, Settings

SOURCE = "openai:http://127.0.0.1:9/v1"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Write what `privity mesh` would."""
    now = datetime.now(UTC)
    ca = MeshCa.create(now)
    identity = ca.issue(INFERENCE_PROXY, now)
    own, trusted = tmp_path / "inference-proxy.pem", tmp_path / "ca.pem"
    own.touch(0o600)
    own.write_bytes(identity.certificate_pem() + identity.key_pem())
    trusted.write_bytes(ca.certificate_pem())
    return {
        "--model": SOURCE,
        "--identity": str(own),
        "--mesh-ca": str(trusted),
        "--secret-service": "https://127.0.0.1:9",
        "--port": "0",
    }


def line(options: dict[str, str]) -> list[str]:
    return ["inference-proxy", *(word for option in options.items() for word in option)]


@pytest.mark.parametrize("missing", ["--model", "--identity", "--mesh-ca", "--secret-service"])
def test_what_it_needs_is_required(files: dict[str, str], missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    del files[missing]
    with pytest.raises(SystemExit) as caught:
        main(line(files))
    assert caught.value.code == 2
    assert missing in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9", "https://h/?q"])
def test_secrets_come_over_tls_only(files: dict[str, str], url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line(files | {"--secret-service": url}))
    assert caught.value.code == 2
    assert "--secret-service" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--identity", "--mesh-ca", "--gpu-status", "--records"])
def test_a_file_that_is_not_there_is_named(
    files: dict[str, str], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(files | {option: str(tmp_path / "none")})) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err


@pytest.fixture
def settings(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Return a function that tells which settings a command line would serve with."""

    def settings_of(*further: str) -> Settings:
        served: list[Settings] = []

        def run_until_stopped(settings: Settings, *_: object) -> int:
            served.append(settings)
            return 0

        monkeypatch.setattr(inference_proxy, "serve", lambda settings, _: settings)
        monkeypatch.setattr(inference_proxy, "run_until_stopped", run_until_stopped)
        assert main([*line(files), *further]) == 0
        return served[0]

    return settings_of


def test_a_document_backend_takes_the_place_of_a_model(
    files: dict[str, str], settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    del files["--model"]
    assert settings("--documents", "http://127.0.0.1:9/").engine == Documents("http://127.0.0.1:9")
    with pytest.raises(SystemExit):
        main([*line(files), "--documents", "http://127.0.0.1:9", "--model", SOURCE])
    assert "not allowed with" in capsys.readouterr().err


def test_by_default_nothing_is_declared_or_tried_out_and_it_drains_for_a_moment(
    settings: Callable[..., Settings],
) -> None:
    found = settings()
    assert (found.declared, found.probes, found.drain_seconds) == ((), 0, DRAIN_SECONDS)


@pytest.mark.parametrize(
    ("arguments", "probes", "drain"),
    [
        (["--probe"], PROBE_BUDGET, DRAIN_SECONDS),
        (["--probe", "3"], 3, DRAIN_SECONDS),
        (["--probe", str(MAX_PROBES)], MAX_PROBES, DRAIN_SECONDS),
        (["--drain", "0"], 0, 0.0),
        (["--drain", "0.0"], 0, 0.0),
        (["--drain", "2.5"], 0, 2.5),
    ],
    ids=str,
)
def test_trying_out_and_draining_can_be_said(
    settings: Callable[..., Settings], arguments: list[str], probes: int, drain: float
) -> None:
    found = settings(*arguments)
    assert (found.probes, found.drain_seconds) == (probes, drain)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--probe", text] for text in ("0", "-1", "1.5", "many", str(MAX_PROBES + 1))),
        *(["--drain", text] for text in ("-1", "", "soon", "inf", "nan")),
    ],
    ids=" ".join,
)
def test_numbers_that_are_none_are_refused(
    settings: Callable[..., Settings], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings(*arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_what_an_operator_says_of_models_is_read_from_a_file(settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "records.toml").write_text('[[models]]\nid = "org/m"\naliases = ["m"]\nfloating_aliases = ["latest"]\n')
    found = settings("--records", str(tmp_path / "records.toml"))
    assert found.declared == (Declared("org/m", aliases=("m",), floating_aliases=("latest",)),)


def test_a_file_that_says_nothing_of_use_names_its_line(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "records.toml").write_text('[[models]]\nid = "m"\ntasks = ["fly"]\n')
    assert main([*line(files), "--records", str(tmp_path / "records.toml")]) == 1
    assert f"{tmp_path}/records.toml:3" in capsys.readouterr().err


def test_models_that_nobody_serves_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell_unserved([Declared("org/Modle"), Declared("org/Model")], ["org/Model"])
    told = "Nobody serves org/Modle, of which --records says something. Served: org/Model\n"
    assert capsys.readouterr().err == told
