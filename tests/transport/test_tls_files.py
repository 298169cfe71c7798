"""A listener whose certificate is renewed while it serves, over real loopback sockets."""

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from privity.errors import StartError
from privity.protocol.mesh import MeshCa
from privity.testing.connect_proxy import write_tls_files
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.tls_files import TlsFiles, renewed_context
from privity.transport.web import Reply, Request, json_reply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(30)  # each takes milliseconds

NOW = datetime.now(UTC)
CA = MeshCa.create(NOW)
FIRST, SECOND = CA.issue("localhost", NOW), CA.issue("localhost", NOW)
KEPT = "the listener keeps its last certificate"


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return write_tls_files(FIRST, tmp_path)


async def hello(_asked: Request) -> Reply:
    return json_reply("hello")


@contextlib.asynccontextmanager
async def serving(files: TlsFiles) -> AsyncIterator[int]:
    async with Background() as background:
        app = WebApp({"/hello": {"GET": hello}}, background)
        async with listening(app, "127.0.0.1", 0, "test", renewed_context(files)) as url:
            assert url.startswith("https://127.0.0.1:")
            yield int(url.rsplit(":", 1)[1])


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.certificate_pem().decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def shown(port: int, context: ssl.SSLContext | None = None, name: str = "localhost") -> x509.Certificate:
    """Ask over a new connection, and return the certificate that was shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context or trusting(), server_hostname=name)
    writer.write(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b'"hello"')
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    assert tls.selected_alpn_protocol() == "http/1.1"
    certificate = tls.getpeercert(binary_form=True)
    writer.close()
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate)


# Renewal


async def test_a_renewed_certificate_is_shown_to_the_next_connection(files: TlsFiles) -> None:
    async with serving(files) as port:
        assert await shown(port) == FIRST.certificate
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="localhost")
        write_tls_files(SECOND, files.key.parent)
        assert await shown(port) == SECOND.certificate
        writer.write(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")  # an old one goes on
        assert (await reader.read()).endswith(b'"hello"')
        writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_see_it(files: TlsFiles, version: ssl.TLSVersion) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    async with serving(files) as port:
        assert await shown(port, context) == FIRST.certificate
        write_tls_files(SECOND, files.key.parent)
        assert await shown(port, context) == SECOND.certificate


async def test_a_client_that_names_no_host_sees_it_too(files: TlsFiles) -> None:
    context = trusting()
    context.check_hostname = False
    async with serving(files) as port:
        for identity in (FIRST, SECOND):
            write_tls_files(identity, files.key.parent)
            assert await shown(port, context, name="127.0.0.1") == identity.certificate  # addresses aren't sent


async def test_files_that_are_replaced_by_links_are_followed(files: TlsFiles, tmp_path: Path) -> None:
    for each in ("first", "second"):
        (tmp_path / each).mkdir()
        write_tls_files(FIRST if each == "first" else SECOND, tmp_path / each)
    (tmp_path / "live").symlink_to("first")
    linked = TlsFiles(tmp_path / "live" / files.certificate.name, tmp_path / "live" / files.key.name)
    async with serving(linked) as port:
        assert await shown(port) == FIRST.certificate
        (tmp_path / "next").symlink_to("second")
        (tmp_path / "next").replace(tmp_path / "live")
        assert await shown(port) == SECOND.certificate


async def test_a_renewal_that_keeps_size_and_time_is_noticed(files: TlsFiles) -> None:
    padded = max(len(each.certificate_pem()) for each in (FIRST, SECOND)) + 1
    files.certificate.write_bytes(FIRST.certificate_pem().ljust(padded, b"\n"))
    os.utime(files.certificate, ns=(1, 1))
    async with serving(files) as port:
        assert await shown(port) == FIRST.certificate
        write_tls_files(SECOND, files.key.parent)
        files.certificate.write_bytes(SECOND.certificate_pem().ljust(padded, b"\n"))
        os.utime(files.certificate, ns=(1, 1))
        assert await shown(port) == SECOND.certificate


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("part", ["key", "certificate"])
@pytest.mark.parametrize("change", [half, Path.unlink, lambda path: path.write_bytes(b"")])
async def test_while_files_cannot_be_used_the_last_certificate_stays(
    files: TlsFiles, caplog: pytest.LogCaptureFixture, part: str, change: object
) -> None:
    caplog.set_level(logging.INFO, "privity")
    path: Path = getattr(files, part)
    async with serving(files) as port:
        assert callable(change)
        change(path)
        for _ in range(3):
            assert await shown(port) == FIRST.certificate
        assert [each.message for each in caplog.records].count(KEPT) == 1
        write_tls_files(SECOND, files.key.parent)
        assert await shown(port) == SECOND.certificate


async def test_a_key_that_is_not_written_yet_is_waited_for(files: TlsFiles, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(files) as port:
        files.certificate.write_bytes(SECOND.certificate_pem())
        assert await shown(port) == FIRST.certificate
        assert "don't belong together" in str(caplog.records[-1].__dict__["error"])
        write_tls_files(SECOND, files.key.parent)
        assert await shown(port) == SECOND.certificate


# What is offered


async def test_old_versions_of_tls_are_refused(files: TlsFiles) -> None:
    context = trusting()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(files) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await shown(port, context)


async def test_a_chain_is_shown_whole(files: TlsFiles) -> None:
    files.certificate.write_bytes(FIRST.certificate_pem() + CA.certificate_pem())
    async with serving(files) as port:
        assert await shown(port) == FIRST.certificate


# Files that can't be used at the start


def problem(files: TlsFiles) -> str:
    with pytest.raises(StartError) as caught:
        renewed_context(files)
    return str(caught.value)


def test_files_that_are_not_there_are_named(files: TlsFiles, tmp_path: Path) -> None:
    assert f"certificate in {tmp_path}/x can't be read: there is no such file" in problem(
        TlsFiles(tmp_path / "x", files.key)
    )
    assert f"key in {tmp_path}/x can't be read: there is no such file" in problem(
        TlsFiles(files.certificate, tmp_path / "x")
    )


def test_what_is_no_file_is_not_read(files: TlsFiles, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert f"{path} can't be read" in problem(TlsFiles(path, files.key))


@pytest.fixture
def unreadable(files: TlsFiles) -> TlsFiles:
    files.key.chmod(0)
    return files


@pytest.mark.usefixtures("unreadable", "without_privilege")
def test_files_that_may_not_be_read_are_named(files: TlsFiles) -> None:
    assert "this user may not read it" in problem(files)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_refused_without_a_question(files: TlsFiles, form: PrivateFormat) -> None:
    files.key.write_bytes(FIRST.key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")))
    assert "is encrypted with a password" in problem(files)


def test_a_key_of_another_certificate_is_refused(files: TlsFiles, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_tls_files(SECOND, tmp_path / "other")
    assert "don't belong together" in problem(TlsFiles(files.certificate, other.key))
    rsa_key = rsa.generate_private_key(65537, 2048)
    other.key.write_bytes(rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "don't belong together" in problem(TlsFiles(files.certificate, other.key))


def test_files_in_each_others_place_are_refused(files: TlsFiles) -> None:
    text = problem(TlsFiles(files.key, files.certificate))
    assert f"There is no TLS certificate in PEM form in {files.key}." in text


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_refused(files: TlsFiles, content: bytes) -> None:
    files.key.write_bytes(content)
    assert f"There is no TLS key in PEM form in {files.key}." in problem(files)


def test_a_key_that_openssl_finds_too_weak_is_refused(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505  # that is the point
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW.replace(year=NOW.year + 1))
    files = TlsFiles(tmp_path / "c", tmp_path / "k")
    files.certificate.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "can't be used: EE_KEY_TOO_SMALL" in problem(files)
