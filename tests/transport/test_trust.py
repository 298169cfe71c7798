import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.errors import StartError
from privity.protocol.mesh import MeshCa
from privity.transport.trust import require_trust_files, system_context

CA = MeshCa.create(datetime.now(UTC))


def test_files_that_can_be_used_are(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.certificate_pem())
    require_trust_files({})
    require_trust_files({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""})
    require_trust_files({"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "SSL_CERT_DIR": str(tmp_path)})
    require_trust_files({"SSL_CERT_DIR": os.pathsep.join((str(tmp_path / "missing"), str(tmp_path)))})


@pytest.mark.parametrize("content", [None, b"", b"hello", b"-----BEGIN CERTIFICATE-----\nhello\n"])
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=f"SSL_CERT_FILE names {file}, which can't be read, or holds no certificates"):
        require_trust_files({"SSL_CERT_FILE": str(file)})


def test_a_directory_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"SSL_CERT_DIR names {tmp_path}/missing, which is no directory"):
        require_trust_files({"SSL_CERT_DIR": str(tmp_path / "missing")})


def test_the_file_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.certificate_pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    context = system_context()
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
