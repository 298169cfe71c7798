"""Agreement on a secret (wire-protocol.md section 3): what the proxy offers, and what the secret service responds.

The proxy sends a fresh X-Wing public key. The secret service encapsulates to it and signs both with the key of its mesh
certificate, so that nobody between them can take the place of the deployment. HPKE's export is the secret.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from privity.errors import AgreementError, InvalidRequestError
from privity.protocol import hpke, mesh, xwing
from privity.protocol.secret import SECRET_BYTES, Secret

PATH = "/privatemode/v1/secret"
"""Where a gateway takes offers, and a secret service behind it."""

MAX_REQUEST_BYTES = 16 * 1024
"""Bytes of a proxy's request: a public key of 1216 bytes in base64, and room."""

MAX_RESPONSE_BYTES = 64 * 1024
"""Bytes of a secret service's response: the longest known has under 3 KiB; a longer certificate is still welcome."""


class _Request(msgspec.Struct, rename="pascal"):
    public_key: bytes


class _Response(msgspec.Struct, rename="pascal"):
    encapsulated_key: bytes
    signature: bytes
    mesh_cert: bytes


_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a proxy knows after a successful exchange."""

    secret: Secret
    authenticates_end: bool
    """Whether the deployment says that its inference proxies seal the end of an answer."""


class Offer:
    """A proxy's side of one exchange, made from 32 random bytes that are used for nothing else."""

    def __init__(self, seed: bytes) -> None:
        self._key = xwing.PrivateKey(seed)
        self.secret_id = secret_id(self._key.public_key)

    def request(self) -> bytes:
        """Return the request's JSON body."""
        return msgspec.json.encode(_Request(self._key.public_key))

    def accept(self, response: bytes, mesh_ca: x509.Certificate, now: datetime) -> Agreement:
        """Verify the secret service's response, and return the secret.

        1. The response is JSON of bounded length, with standard base64 inside.
        2. The certificate is the mesh CA's, for the secret service (see `mesh.verify`).
        3. Its key signed this offer's public key together with the encapsulation.
        4. The encapsulation holds a shared secret; the secret is exported from it.

        Not checked: the attestation behind `mesh_ca`, and whether this offer was accepted before.

        Raises:
            AgreementError: the response is malformed, or not signed for this offer.
            CertificateError: the certificate isn't the secret service's.
        """
        # 1.
        if len(response) > MAX_RESPONSE_BYTES:
            raise AgreementError(f"The secret service's response is longer than {MAX_RESPONSE_BYTES} bytes.")
        try:
            answer = msgspec.json.decode(response, type=_Response)
        except _MALFORMED as error:
            raise AgreementError("The secret service's response isn't the JSON object that is wanted.") from error
        # 2.
        certificate = mesh.verify(answer.mesh_cert, mesh_ca, now, mesh.SECRET_SERVICE)
        # 3.
        digest = signed_digest(self._key.public_key, answer.encapsulated_key)
        try:
            mesh.ec_public_key(certificate).verify(answer.signature, digest, ec.ECDSA(Prehashed(SHA256())))
        except InvalidSignature as error:
            raise AgreementError("The secret service's signature isn't valid for this offer.") from error
        # 4.
        secret = _secret(self._key.public_key, self._key.decapsulate(answer.encapsulated_key))
        return Agreement(secret, mesh.authenticates_end(certificate))


def respond(request: bytes, identity: mesh.Identity) -> tuple[bytes, Secret]:
    """Return the secret service's response to a request, its JSON body, and the secret that was agreed on.

    Not checked: who asks. The HTTP server bounds the request's length.

    Raises:
        InvalidRequestError: not the JSON object that is wanted, or its public key is invalid.
    """
    try:
        public_key = msgspec.json.decode(request, type=_Request).public_key
    except _MALFORMED as error:
        raise InvalidRequestError(
            "The body isn't a JSON object with a `PublicKey` in base64.", code="invalid_json"
        ) from error
    try:
        shared_secret, encapsulation = xwing.encapsulate(public_key)
    except AgreementError as error:
        raise InvalidRequestError(str(error), param="PublicKey", code="invalid_public_key") from error
    signature = identity.sign_digest(signed_digest(public_key, encapsulation))
    response = _Response(encapsulation, signature, identity.certificate_der())
    return msgspec.json.encode(response), _secret(public_key, shared_secret)


def secret_id(public_key: bytes) -> str:
    """Return the ID of the secret that is agreed on with this public key: 44 characters, standard base64."""
    return base64.b64encode(hashlib.sha256(public_key).digest()).decode()


def signed_digest(public_key: bytes, encapsulation: bytes) -> bytes:
    """Return the SHA-256 digest that the secret service signs, without hashing it again."""
    return hashlib.sha256(public_key + encapsulation).digest()


def _secret(public_key: bytes, shared_secret: bytes) -> Secret:
    return Secret(secret_id(public_key), hpke.exported_secret(shared_secret, length=SECRET_BYTES))
