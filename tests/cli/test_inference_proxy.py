from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.cli.main import main
from privity.protocol.mesh import INFERENCE_PROXY, MeshCa

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


@pytest.mark.parametrize("option", ["--identity", "--mesh-ca", "--gpu-status"])
def test_a_file_that_is_not_there_is_named(
    files: dict[str, str], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(files | {option: str(tmp_path / "none")})) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
