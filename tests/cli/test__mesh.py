import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.cli._mesh import read_ca, read_identity, read_private
from privity.errors import StartError
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa

NOW = datetime.now(UTC)
CA = MeshCa.create(NOW)
SERVICE = CA.issue(SECRET_SERVICE, NOW)
OTHER = CA.issue(SECRET_SERVICE, NOW)
CERTIFICATE, KEY = SERVICE.certificate_pem(), SERVICE.key_pem()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "file.pem"
    found.touch(0o600)
    return found


def own_identity(path: Path) -> Identity:
    return read_identity(path, CA.certificate, SECRET_SERVICE)


def test_an_identity_of_another_role_or_another_mesh_is_refused(path: Path) -> None:
    path.write_bytes(CERTIFICATE + KEY)
    for ca, name in ((CA.certificate, INFERENCE_PROXY), (MeshCa.create(datetime.now(UTC)).certificate, SECRET_SERVICE)):
        with pytest.raises(StartError, match="--mesh-ca"):
            read_identity(path, ca, name)


@pytest.mark.parametrize("content", [CERTIFICATE + KEY, KEY + b"\n" + CERTIFICATE])
def test_an_identity_is_certificate_and_key_in_any_order(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert own_identity(path).certificate == SERVICE.certificate


def test_a_ca_is_one_certificate(path: Path) -> None:
    path.write_bytes(CA.certificate_pem())
    path.chmod(0o644)
    assert read_ca(path) == CA.certificate


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", CERTIFICATE, KEY, CERTIFICATE + OTHER.key_pem(), CERTIFICATE * 2 + KEY, b"#" * 100_000 + KEY],
    ids=["empty", "binary", "no key", "no certificate", "another key", "two certificates", "too long"],
)
def test_what_is_no_identity_is_refused_and_not_repeated(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StartError) as caught:
        own_identity(path)
    assert str(path) in caught.value.problem
    assert "`privity mesh DIR`" in caught.value.way_out
    assert KEY.decode().splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("content", [b"", CERTIFICATE, CA.certificate_pem() * 2], ids=["empty", "a leaf", "two"])
def test_what_is_no_ca_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StartError, match="mesh CA's certificate"):
        read_ca(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_key_that_others_may_use_is_refused(path: Path, mode: int) -> None:
    path.write_bytes(CERTIFICATE + KEY)
    path.chmod(mode)
    for read in (read_private, own_identity):
        with pytest.raises(StartError, match=f"chmod 600 {path}$"):
            read(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_of_its_owner_is_read(path: Path, mode: int) -> None:
    path.write_bytes(b"key")
    path.chmod(mode)
    assert read_private(path) == b"key"


def test_a_file_that_can_not_be_read_is_named(path: Path) -> None:
    for missing in (path.with_name("missing"), path.parent):
        with pytest.raises(StartError) as caught:
            read_ca(missing)
        assert str(missing) in caught.value.problem
        assert os.strerror(2) in caught.value.problem or os.strerror(21) in caught.value.problem
