"""TLS between roles: version 1.3, certificates of the mesh CA and of nobody else, names of roles instead of hosts.

Not checked: revocation. A mesh CA lives as long as its deployment, and its certificates go with it.
"""

import asyncio
import secrets
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from privity.protocol.mesh import Identity


def server_context(identity: Identity, client_ca: x509.Certificate | None = None) -> ssl.SSLContext:
    """Return the TLS settings of a listener.

    Args:
        identity: what it shows.
        client_ca: who must have issued each client's certificate; None asks for none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nothing is resumed: each connection shows its certificate
    _show(context, identity)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, client_ca)
    return context


def client_context(ca: x509.Certificate, identity: Identity | None = None) -> ssl.SSLContext:
    """Return the TLS settings of a client, which says in `server_hostname` which role it wants to reach.

    Args:
        ca: who must have issued the server's certificate.
        identity: what the client shows; None shows nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False
    _trust(context, ca)
    if identity is not None:
        _show(context, identity)
    return context


def is_from(transport: asyncio.BaseTransport, name: str) -> bool:
    """Tell whether the peer has shown a certificate that was verified and holds this DNS name and no other name."""
    connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    certificate = connection.getpeercert() if connection is not None else None
    return certificate is not None and certificate.get("subjectAltName") == (("DNS", name),)


def _trust(context: ssl.SSLContext, ca: x509.Certificate) -> None:
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a mesh CA is the end of its chain, whoever signed it
    context.load_verify_locations(cadata=ca.public_bytes(Encoding.DER))


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    """Load certificate and key, which OpenSSL takes from a file only: the key goes there encrypted."""
    password = secrets.token_bytes(32)
    key = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    with tempfile.TemporaryDirectory() as directory:  # mode 0700
        path = Path(directory, "identity.pem")
        path.touch(0o600)
        path.write_bytes(identity.certificate_pem() + key)
        context.load_cert_chain(path, password=password)
