"""The mesh's certificates: who a deployment's services are, by the word of its CA (attestation.md section 1.9).

In a deployment with a coordinator, that is the CA. `MeshCa` stands in for it where there is none.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from privity.errors import CertificateError

SECRET_SERVICE = "secret-service"  # noqa: S105 a name, and no secret
"""The name of the service that agrees on secrets."""

INFERENCE_PROXY = "inference-proxy"
"""The name of the service that decrypts requests."""

AUTHENTICATED_END = ObjectIdentifier("1.2.840.113556.1.8000.2554.38754.29596.31245.20272.36998.14219255.3921350")
"""The extension by which a secret service says that its deployment's inference proxies seal the end of an answer.

It is Privity's own: the UUID 9762739c-7a0d-4f30-9086-d8f7f73bd5c6 under the arc for such identifiers. One under 2.25
would do, but Go's parser, and so deployed proxies, refuse certificates with numbers of more than 31 bits in them.
"""

MAX_CERTIFICATE_BYTES = 16 * 1024
"""Bytes of a certificate in DER. Those of a mesh have under 2 KiB, attestation claims included."""

MAX_PEM_BYTES = 64 * 1024
"""Bytes of a PEM file: a certificate, a key, and remarks."""

_BACKDATED = timedelta(hours=1)
"""By how much a certificate is valid before it is made: clocks differ."""

_CA_LIFETIME = timedelta(days=3652)
_LEAF_LIFETIME = timedelta(days=365)
_DER_NULL = b"\x05\x00"
_KNOWN_EXTENSIONS = (
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.SubjectAlternativeName.oid,
)
"""Those that `verify` reads: a critical one besides means something that it doesn't know."""

_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates and keys that it can't read, at once or when asked for a part of them."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Identity:
    """A service's certificate with its private key, which no text form shows."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read a file with one certificate and its unencrypted private key, in any order.

        Not checked: who issued the certificate, and whether it is valid now.

        Raises:
            CertificateError: the file holds something else, or the key isn't the certificate's.
        """
        try:
            certificate = _only_certificate(pem)
            key = load_pem_private_key(pem, password=None)
            public_key = ec_public_key(certificate)
        except _MALFORMED as error:
            raise CertificateError("The file lacks a certificate or an unencrypted key that can be read.") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != public_key:
            raise CertificateError("The private key isn't that of the certificate.")
        return cls(certificate, key)

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the ECDSA signature (ASN.1) over a SHA-256 digest, which isn't hashed again."""
        return self.key.sign(digest, ec.ECDSA(Prehashed(SHA256())))

    def certificate_der(self) -> bytes:
        """Return the certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    def certificate_pem(self) -> bytes:
        """Return the certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the private key in PEM: PKCS #8, not encrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class MeshCa:
    """A mesh's CA, for deployments without a coordinator."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, now: datetime) -> Self:
        """Make a CA with a new key, valid for ten years."""
        key = ec.generate_private_key(ec.SECP384R1())
        name = _common_name("privity mesh CA")
        builder = (
            _builder(name, name, key.public_key(), key.public_key(), now, _CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        return cls(builder.sign(key, SHA384()), key)

    def issue(self, name: str, now: datetime, curve: ec.EllipticCurve | None = None) -> Identity:
        """Make a service's identity with a new key, valid for a year; the curve is P-384 if none is given."""
        key = ec.generate_private_key(curve or ec.SECP384R1())
        public_key, ca_public_key = key.public_key(), self._key.public_key()
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(_common_name(name), self.certificate.subject, public_key, ca_public_key, now, _LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )
        if name == SECRET_SERVICE:
            builder = builder.add_extension(x509.UnrecognizedExtension(AUTHENTICATED_END, _DER_NULL), critical=False)
        return Identity(builder.sign(self._key, SHA384()), key)

    def certificate_pem(self) -> bytes:
        """Return the CA's certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def load_ca(pem: bytes) -> x509.Certificate:
    """Read the mesh CA's certificate from a PEM file.

    Not checked: who issued it (its holder must know it from elsewhere), and whether it is valid now.

    Raises:
        CertificateError: the file doesn't hold exactly one certificate, or not a CA's.
    """
    try:
        certificate = _only_certificate(pem)
        _check_is_ca(certificate)
    except _MALFORMED as error:
        raise CertificateError("The PEM file holds no certificate that can be read.") from error
    return certificate


def verify(der: bytes, ca: x509.Certificate, now: datetime, name: str) -> x509.Certificate:
    """Verify that a certificate is the mesh CA's for the service `name`, and return it.

    1. It is a certificate in DER, of bounded length.
    2. Its issuer is the CA, whose key signed it.
    3. It and the CA's are valid now.
    4. The CA's is a CA's, and it isn't.
    5. Neither has a critical extension that isn't known here.
    6. It is for servers, and for signatures.
    7. Its key is on the curve P-256 or P-384.
    8. One of its DNS names is `name`, exactly: wildcards don't match.

    Not checked: revocation (there is none in a mesh), attestation (that is what `ca` comes from), certificates between
    it and the CA (there are none), common names, and other uses and names that it may have besides.

    Raises:
        CertificateError: one of these doesn't hold.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:  # 1.
        raise CertificateError(f"The certificate is longer than {MAX_CERTIFICATE_BYTES} bytes.")
    try:
        certificate = x509.load_der_x509_certificate(der)
        _check_signature_is_whole(certificate, der)
        _check_issuer(certificate, ca)  # 2.
        _check_validity(certificate, ca, now)  # 3.
        _check_is_ca(ca)  # 4.
        _check_is_no_ca(certificate)
        _check_critical_extensions(certificate, ca)  # 5.
        _check_usage(certificate)  # 6.
        ec_public_key(certificate)  # 7.
        _check_name(certificate, name)  # 8.
    except _MALFORMED as error:
        raise CertificateError("The certificate is malformed.") from error
    return certificate


def ec_public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """Return a verified certificate's public key.

    Raises:
        CertificateError: it isn't on the curve P-256 or P-384.
    """
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise CertificateError("The certificate's key isn't on the curve P-256 or P-384.")
    return key


def authenticates_end(certificate: x509.Certificate) -> bool:
    """Whether a verified certificate has the extension AUTHENTICATED_END."""
    return any(extension.oid == AUTHENTICATED_END for extension in certificate.extensions)


def _only_certificate(pem: bytes) -> x509.Certificate:
    if len(pem) > MAX_PEM_BYTES:
        raise CertificateError(f"The PEM file is longer than {MAX_PEM_BYTES} bytes.")
    certificates = x509.load_pem_x509_certificates(pem)
    if len(certificates) != 1:
        raise CertificateError("The PEM file holds more than one certificate.")
    return certificates[0]


def _check_signature_is_whole(certificate: x509.Certificate, der: bytes) -> None:
    if not der.endswith(b"\x00" + certificate.signature):  # the library lets it have unused bits, if they are zero
        raise CertificateError("The certificate is malformed.")


def _check_issuer(certificate: x509.Certificate, ca: x509.Certificate) -> None:
    if certificate.issuer != ca.subject:
        raise CertificateError("The certificate's issuer isn't the mesh CA.")
    try:
        certificate.verify_directly_issued_by(ca)
    except InvalidSignature as error:
        raise CertificateError("The certificate isn't signed by the mesh CA.") from error


def _check_validity(certificate: x509.Certificate, ca: x509.Certificate, now: datetime) -> None:
    for each, whose in ((certificate, "The certificate"), (ca, "The mesh CA's certificate")):
        if now < each.not_valid_before_utc:
            raise CertificateError(f"{whose} isn't valid yet.")
        if now > each.not_valid_after_utc:
            raise CertificateError(f"{whose} isn't valid any more.")


def _check_is_ca(certificate: x509.Certificate) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    key_usage = _extension(certificate, x509.KeyUsage)
    if not (constraints and constraints.ca) or (key_usage and not key_usage.key_cert_sign):
        raise CertificateError("The mesh CA's certificate isn't a CA's.")


def _check_is_no_ca(certificate: x509.Certificate) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints and constraints.ca:
        raise CertificateError("The certificate is a CA's, not a service's.")


def _check_critical_extensions(certificate: x509.Certificate, ca: x509.Certificate) -> None:
    for extension in (*certificate.extensions, *ca.extensions):
        if extension.critical and extension.oid not in _KNOWN_EXTENSIONS:
            raise CertificateError("The certificate or the mesh CA's has an unknown critical extension.")


def _check_usage(certificate: x509.Certificate) -> None:
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    if usages is None or ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        raise CertificateError("The certificate isn't for servers.")
    key_usage = _extension(certificate, x509.KeyUsage)
    if key_usage and not key_usage.digital_signature:
        raise CertificateError("The certificate's key isn't for signatures.")


def _check_name(certificate: x509.Certificate, name: str) -> None:
    names = _extension(certificate, x509.SubjectAlternativeName)
    if names is None or name not in names.get_values_for_type(x509.DNSName):
        raise CertificateError(f"The certificate isn't for the service {name}.")


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
