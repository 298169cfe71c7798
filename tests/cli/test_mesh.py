import base64
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from privity.cli.main import main
from privity.errors import CertificateError
from privity.protocol import mesh

FILES = {"ca.pem": 0o644, "secret-service.pem": 0o600, "inference-proxy.pem": 0o600, "store.key": 0o600}


@pytest.fixture
def made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    directory = tmp_path / "deep" / "mesh"
    assert main(["mesh", str(directory)]) == 0
    out, err = capsys.readouterr()
    assert out == f"Wrote ca.pem, secret-service.pem, inference-proxy.pem, store.key to {directory}\n"
    assert err == ""
    return directory


def test_keys_are_for_their_owner_only(made: Path) -> None:
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == FILES
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_each_role_has_a_certificate_of_the_ca_with_its_name(made: Path) -> None:
    now = datetime.now(UTC)
    ca = mesh.load_ca((made / "ca.pem").read_bytes())
    for name in (mesh.SECRET_SERVICE, mesh.INFERENCE_PROXY):
        identity = mesh.Identity.from_pem((made / f"{name}.pem").read_bytes())
        mesh.verify(identity.certificate_der(), ca, now + timedelta(days=360), name)
        with pytest.raises(CertificateError):
            mesh.verify(identity.certificate_der(), ca, now, "another")


def test_the_cas_key_is_nowhere(made: Path) -> None:
    ca = mesh.load_ca((made / "ca.pem").read_bytes()).public_key()
    assert b"PRIVATE KEY" not in (made / "ca.pem").read_bytes()
    for name in ("secret-service.pem", "inference-proxy.pem"):
        content = (made / name).read_bytes()
        assert content.count(b"BEGIN PRIVATE KEY") == 1
        assert mesh.Identity.from_pem(content).key.public_key() != ca


def test_the_store_key_is_32_bytes_and_another_one_each_time(made: Path, tmp_path: Path) -> None:
    assert main(["mesh", str(tmp_path)]) == 0
    keys = {base64.b64decode((each / "store.key").read_text(), validate=False) for each in (made, tmp_path)}
    assert [len(key) for key in keys] == [32, 32]


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_overwritten(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).symlink_to("nowhere")
    assert main(["mesh", str(tmp_path)]) == 1
    problem = f"privity: {tmp_path / name} exists, and isn't overwritten. Choose another directory.\n"
    assert capsys.readouterr().err == problem
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_directory_that_can_not_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["mesh", str(tmp_path / "file" / "mesh")]) == 1
    err = capsys.readouterr().err
    assert "can't be written to (Not a directory). Check the path" in err
    assert err.count("\n") == 1
