"""TLS of a listener for anybody: its certificate and key are files, which somebody renews while it serves."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from privity.errors import StartError

_OF_ANOTHER = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons for a key of another certificate: the second where it is of another kind."""

_Version = tuple[tuple[int, ...] | None, ...]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a listener's certificate is."""

    certificate: Path
    """PEM: its own certificate, then those of the CAs between it and a root."""
    key: Path
    """PEM, without a password."""


def renewed_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the TLS settings of a listener, which looks at its files at each new connection.

    Files that changed are taken where they can be used; else the last good ones stay, and a warning is logged once for
    each change. TLS 1.2 at least; HTTP/1.1 is all that is offered (RFC 7301).

    Raises:
        StartError: the files can't be used now.
    """
    context = _context()
    context.sni_callback = _Latest(files).show
    return context


class _Latest:
    """Keeps what was loaded of the files' last usable version."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = _version(files)
        self._loaded = _load(files)

    def show(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Give a connection its certificate: OpenSSL calls this at each ClientHello, also at one without a name."""
        version = _version(self._files)
        if version != self._seen:
            self._seen = version
            try:
                self._loaded = _load(self._files)
                _LOG.info("the listener's certificate was renewed")
            except StartError as error:
                _LOG.warning("the listener keeps its last certificate", extra={"error": error.problem})
        connection.context = self._loaded


def _version(files: TlsFiles) -> _Version:
    """Return what is another where a file was written, replaced, or made readable."""
    return tuple(_identity(path) for path in (files.certificate, files.key))


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(files: TlsFiles) -> ssl.SSLContext:
    _check(files.certificate, "certificate", x509.load_pem_x509_certificates)
    _check(files.key, "key", lambda data: load_pem_private_key(data, password=None))
    context = _context()
    try:
        context.load_cert_chain(files.certificate, files.key, password="")  # some: else OpenSSL would ask the terminal
    except OSError as error:
        why = getattr(error, "reason", None) or "they changed meanwhile"
        if why in _OF_ANOTHER:
            why = "they don't belong together"
        raise StartError(
            f"The TLS certificate in {files.certificate} and the key in {files.key} can't be used: {why}.",
            "Give both files of one certificate: in the first its own certificate comes first, then those of its CAs.",
        ) from error
    return context


def _check(path: Path, what: str, read: Callable[[bytes], object]) -> None:
    """Raise `StartError` where a file isn't what it should be: OpenSSL doesn't tell which one it is."""
    try:
        if not path.is_file():
            raise FileNotFoundError(path)  # a pipe, say, which could be read once
        read(path.read_bytes())
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else "this user may not read it"
        raise StartError(f"The TLS {what} in {path} can't be read: {why}.", "Check the path and its owner.") from error
    except TypeError as error:
        raise StartError(
            f"The TLS key in {path} is encrypted with a password, which nobody could enter.",
            "Decrypt it into another file, with openssl pkey -in OLD -out NEW, and keep that from others.",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StartError(
            f"There is no TLS {what} in PEM form in {path}.",
            f"It should hold a line -----BEGIN {'CERTIFICATE' if what == 'certificate' else 'PRIVATE KEY'}-----.",
        ) from error
