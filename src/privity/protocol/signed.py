"""Statements that a service of the mesh signs, and their verification (models-api.md item 13).

An inference proxy signs what it says of its models with the key of its mesh certificate. Whoever passes that on, such
as a gateway, can drop it, but not alter it.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from privity.errors import CertificateError, StatementError
from privity.protocol import mesh

CONTEXT = b"privity/model-statement/1".ljust(64, b"\0")
"""What is signed before the payload, so that no signature made for another purpose is one of a statement.

A mesh key signs two other things. One is an X-Wing public key, which a stranger chooses, with what is encapsulated to
it: no ML-KEM public key begins like this, as the slash makes the fifth coefficient exceed the modulus (FIPS 203 section
7.2). The other is TLS: 1.3 begins with 64 spaces (RFC 8446 section 4.4.3), and 1.2 with 32 bytes that the peer chooses
and 32 that it doesn't (RFC 5246 section 7.4.3), which is why there are 64.
"""

MAX_PAYLOAD_BYTES = 64 * 1024
"""Bytes of a statement's payload. One about a model has under 1 KiB."""

MAX_SIGNATURE_BYTES = 256
"""Bytes of a signature: one with P-384 has at most 104."""

MAX_REMEMBERED = 16_384
"""Statements that a verifier remembers, some 200 bytes each: eight times the longest list that is expected."""

MAX_SIGNERS = 1_024
"""Certificates that a verifier remembers: far more than a deployment has inference proxies."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Signer:
    """The key of a verified certificate, and how long it and the CA's are both valid."""

    key: ec.EllipticCurvePublicKey
    begin: datetime
    end: datetime


def sign(payload: bytes, identity: mesh.Identity) -> bytes:
    """Return a signature: ECDSA (ASN.1) over `CONTEXT` and the payload, with the hash that belongs to the key's curve.

    Not checked: what the payload says, and whether the certificate is valid now.

    Raises:
        StatementError: the payload is too long for a verifier (malformed).
    """
    _check_length(payload)
    return identity.key.sign(CONTEXT + payload, _ecdsa(identity.key.curve))


class Verifier:
    """Verifies statements of one service by the word of one mesh CA, and remembers which ones it has verified.

    A verdict is remembered for the very same payload, signature and certificate only, and counts only as long as the
    certificate and the CA's are valid. Another CA needs another verifier. Not for use by several threads at once.
    """

    def __init__(self, ca: x509.Certificate, name: str = mesh.INFERENCE_PROXY) -> None:
        self._ca = ca
        self._name = name
        self._signers: OrderedDict[bytes, _Signer] = OrderedDict()
        self._verified: OrderedDict[bytes, None] = OrderedDict()

    def verify(self, payload: bytes, signature: bytes, certificate: bytes, now: datetime) -> None:
        """Verify that the service of this name signed the payload.

        1. There are a signature and a certificate (in DER); the payload and the signature are of bounded length.
        2. The certificate is the mesh CA's for the service, and valid now (see `mesh.verify`).
        3. Its key signed `CONTEXT` and the payload: ECDSA, with SHA-256 for P-256 and SHA-384 for P-384.

        Not checked: what the payload says, when it was signed and until when it holds (`catalogue.statement.read`
        does); whether the signer still runs, and whether this very one serves the model (any one of the mesh may sign);
        the attestation behind the CA. A valid signature can be turned into another one without the key, as ECDSA has
        two for each: don't tell statements apart by it.

        Raises:
            StatementError: one of these doesn't hold. Its reason: unsigned or malformed (1.), unknown_signer (2., its
                cause is the CertificateError), altered (3.).
        """
        # 1.
        if not signature or not certificate:
            raise StatementError("unsigned", "The statement has no signature or no certificate.")
        _check_length(payload)
        if len(signature) > MAX_SIGNATURE_BYTES:
            raise StatementError("malformed", f"The statement's signature is longer than {MAX_SIGNATURE_BYTES} bytes.")
        # 2. This is looked at each time, also for remembered statements.
        certificate_digest = hashlib.sha256(certificate).digest()
        signer = self._signer(certificate, certificate_digest, now)
        # 3.
        digest = hashlib.sha256(certificate_digest + hashlib.sha256(signature).digest() + payload).digest()
        if digest not in self._verified:
            _check_signature(payload, signature, signer)
        _remember(self._verified, digest, None, MAX_REMEMBERED)

    def _signer(self, der: bytes, digest: bytes, now: datetime) -> _Signer:
        signer = self._signers.get(digest)
        if signer is None or not signer.begin <= now <= signer.end:
            signer = self._verified_signer(der, now)
        _remember(self._signers, digest, signer, MAX_SIGNERS)
        return signer

    def _verified_signer(self, der: bytes, now: datetime) -> _Signer:
        try:
            certificate = mesh.verify(der, self._ca, now, self._name)
        except CertificateError as error:
            raise StatementError("unknown_signer", f"The statement's signer is unknown. {error}") from error
        return _Signer(
            mesh.ec_public_key(certificate),
            max(certificate.not_valid_before_utc, self._ca.not_valid_before_utc),
            min(certificate.not_valid_after_utc, self._ca.not_valid_after_utc),
        )


def _check_length(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise StatementError("malformed", f"The statement is longer than {MAX_PAYLOAD_BYTES} bytes.")


def _check_signature(payload: bytes, signature: bytes, signer: _Signer) -> None:
    try:
        signer.key.verify(signature, CONTEXT + payload, _ecdsa(signer.key.curve))
    except InvalidSignature as error:
        raise StatementError("altered", "The statement's signature isn't valid for it.") from error


def _ecdsa(curve: ec.EllipticCurve) -> ec.ECDSA:
    return ec.ECDSA(SHA384() if isinstance(curve, ec.SECP384R1) else SHA256())


def _remember(recent: OrderedDict[bytes, _Value], key: bytes, value: _Value, most: int) -> None:
    recent[key] = value
    recent.move_to_end(key)
    if len(recent) > most:
        recent.popitem(last=False)
