import base64
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import CertificateError
from privity.protocol.mesh import (
    AUTHENTICATED_END,
    INFERENCE_PROXY,
    MAX_CERTIFICATE_BYTES,
    MAX_PEM_BYTES,
    SECRET_SERVICE,
    Identity,
    MeshCa,
    authenticates_end,
    ec_public_key,
    load_ca,
    verify,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CA = MeshCa.create(NOW)
LEAF = CA.issue(SECRET_SERVICE, NOW)
DER = LEAF.certificate_der()
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
CA_KEY = ec.generate_private_key(ec.SECP256R1())
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
IS_CA = x509.BasicConstraints(ca=True, path_length=None)
SOMETHING = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), b"\x05\x00")
Extensions = list[tuple[x509.ExtensionType, bool]]


def names(*dns: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in dns])


def key_usage(*, signature: bool, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=True,
        key_cert_sign=certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificate(extensions: Extensions, key: CertificatePublicKeyTypes | None = None) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key or CA_KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(CA_KEY, SHA256())


PLAIN_CA = certificate([(IS_CA, True)])
GOOD_LEAF: Extensions = [(SERVER, False), (names("a", "*", "b"), False)]


def check(leaf: x509.Certificate, ca: x509.Certificate = PLAIN_CA, now: datetime = NOW, name: str = "a") -> None:
    verify(leaf.public_bytes(Encoding.DER), ca, now, name)


def captured() -> tuple[bytes, bytes]:
    """Return the mesh CA in PEM and the secret service's certificate in DER."""
    capture = json.loads((Path(__file__).parents[1] / "captures/deployed-proxy.json").read_text())
    attested, exchanged = (json.loads(call["response"]["body"]) for call in capture["start"])
    document = json.loads(base64.b64decode(attested["AttestationDoc"]))
    return base64.b64decode(document["mesh_ca"]), base64.b64decode(exchanged["MeshCert"])


def test_the_captured_certificate_is_verified() -> None:
    pem, der = captured()
    ca = load_ca(pem)
    assert not authenticates_end(verify(der, ca, ca.not_valid_before_utc, SECRET_SERVICE))
    with pytest.raises(CertificateError):
        verify(der, ca, ca.not_valid_before_utc, INFERENCE_PROXY)


@pytest.mark.parametrize("curve", [None, ec.SECP256R1(), ec.SECP384R1()])
@pytest.mark.parametrize("name", [SECRET_SERVICE, INFERENCE_PROXY])
def test_what_the_ca_issues_is_verified(name: str, curve: ec.EllipticCurve | None) -> None:
    identity = CA.issue(name, NOW, curve)
    verified = verify(identity.certificate_der(), load_ca(CA.certificate_pem()), NOW, name)
    assert verified == identity.certificate
    assert ec_public_key(verified).curve.name == (curve or ec.SECP384R1()).name
    assert authenticates_end(verified) == (name == SECRET_SERVICE)


def test_the_extension_is_not_critical_and_small_enough_for_go() -> None:
    extension = LEAF.certificate.extensions.get_extension_for_oid(AUTHENTICATED_END)
    assert not extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == b"\x05\x00"
    assert all(int(arc) < 2**31 for arc in AUTHENTICATED_END.dotted_string.split("."))


def test_a_ca_has_the_form_of_a_coordinator_s() -> None:
    own = CA.certificate
    assert own.subject == own.issuer
    own.verify_directly_issued_by(own)
    assert isinstance(own.signature_hash_algorithm, type(LEAF.certificate.signature_hash_algorithm))
    assert own.not_valid_before_utc == NOW - timedelta(hours=1)
    assert (own.not_valid_after_utc.year, LEAF.certificate.not_valid_after_utc.year) == (2036, 2027)


def test_mutual_tls_works_in_openssl_s_strict_mode(tmp_path: Path) -> None:
    def context(protocol: int, name: str) -> ssl.SSLContext:
        identity = CA.issue(name, datetime.now(UTC))
        (tmp_path / name).write_bytes(identity.key_pem() + identity.certificate_pem())
        context = ssl.SSLContext(protocol)
        context.load_cert_chain(tmp_path / name)
        context.load_verify_locations(cadata=CA.certificate_pem().decode())
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context(ssl.PROTOCOL_TLS_SERVER, SECRET_SERVICE).wrap_bio(up, down, server_side=True)
    client = context(ssl.PROTOCOL_TLS_CLIENT, INFERENCE_PROXY).wrap_bio(down, up, server_hostname=SECRET_SERVICE)

    def step(handshake: Callable[[], None]) -> bool:
        try:
            handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    assert any([step(client.do_handshake), step(server.do_handshake)] == [True, True] for _ in range(5))
    assert (client.getpeercert() or {})["subjectAltName"] == (("DNS", SECRET_SERVICE),)
    assert (server.getpeercert() or {})["subjectAltName"] == (("DNS", INFERENCE_PROXY),)


def test_an_identity_signs_a_digest_without_hashing_it_again() -> None:
    signature = LEAF.sign_digest(bytes(32))
    ec_public_key(LEAF.certificate).verify(signature, bytes(32), ec.ECDSA(Prehashed(SHA256())))


def test_no_text_form_shows_a_key() -> None:
    for holder in (CA, LEAF):
        assert "Key" not in repr(holder)
        assert "key" not in repr(holder)


@settings(max_examples=150)
@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
@pytest.mark.filterwarnings("default")
def test_a_flipped_byte_of_a_certificate_is_refused(place: int, flip: int) -> None:
    altered = bytearray(DER)
    altered[place] ^= flip
    with pytest.raises(CertificateError):
        verify(bytes(altered), CA.certificate, NOW, SECRET_SERVICE)


def test_a_signature_with_unused_bits_is_malformed() -> None:
    while (der := certificate(GOOD_LEAF).public_bytes(Encoding.DER))[-1] & 1:
        pass
    signature = x509.load_der_x509_certificate(der).signature
    altered = der[: -len(signature) - 1] + b"\x01" + signature
    with pytest.raises(CertificateError, match="malformed"):
        verify(altered, PLAIN_CA, NOW, "a")
    verify(der, PLAIN_CA, NOW, "a")


@pytest.mark.parametrize("der", [b"", b"0", DER[:-1], DER + b"\0", LEAF.certificate_pem()], ids=range(5))
def test_what_is_no_certificate_is_malformed(der: bytes) -> None:
    with pytest.raises(CertificateError, match="malformed"):
        verify(der, CA.certificate, NOW, SECRET_SERVICE)


def test_a_certificate_that_is_too_long_is_not_even_read() -> None:
    with pytest.raises(CertificateError, match=f"longer than {MAX_CERTIFICATE_BYTES} bytes"):
        verify(bytes(MAX_CERTIFICATE_BYTES + 1), CA.certificate, NOW, SECRET_SERVICE)


def test_a_certificate_of_another_ca_of_the_same_name_is_refused() -> None:
    with pytest.raises(CertificateError, match="isn't signed by the mesh CA"):
        verify(DER, MeshCa.create(NOW).certificate, NOW, SECRET_SERVICE)


def test_a_certificate_of_another_issuer_is_refused() -> None:
    with pytest.raises(CertificateError, match="issuer"):
        verify(DER, PLAIN_CA, NOW, SECRET_SERVICE)


def test_a_certificate_is_valid_from_an_hour_before_it_is_made_for_a_year() -> None:
    begin, end = NOW - timedelta(hours=1), NOW + timedelta(days=365)
    for now in (begin, end):
        verify(DER, CA.certificate, now, SECRET_SERVICE)
    with pytest.raises(CertificateError, match="The certificate isn't valid yet"):
        verify(DER, CA.certificate, begin - timedelta(seconds=1), SECRET_SERVICE)
    with pytest.raises(CertificateError, match="The certificate isn't valid any more"):
        verify(DER, CA.certificate, end + timedelta(seconds=1), SECRET_SERVICE)


def test_the_ca_must_be_valid_too() -> None:
    late = CA.issue(SECRET_SERVICE, NOW + timedelta(days=3652))
    verify(late.certificate_der(), CA.certificate, NOW + timedelta(days=3652), SECRET_SERVICE)
    with pytest.raises(CertificateError, match="The mesh CA's certificate isn't valid any more"):
        verify(late.certificate_der(), CA.certificate, NOW + timedelta(days=3653), SECRET_SERVICE)
    early = CA.issue(SECRET_SERVICE, NOW - timedelta(days=1))
    with pytest.raises(CertificateError, match="The mesh CA's certificate isn't valid yet"):
        verify(early.certificate_der(), CA.certificate, NOW - timedelta(days=1), SECRET_SERVICE)


def test_a_plain_certificate_is_verified() -> None:
    check(certificate(GOOD_LEAF))
    check(certificate([*GOOD_LEAF, (key_usage(signature=True, certificates=False), True), (SOMETHING, False)]))
    check(certificate(GOOD_LEAF), certificate([(IS_CA, True), (key_usage(signature=False, certificates=True), True)]))


@pytest.mark.parametrize(
    ("extensions", "problem"),
    [
        ([], "isn't a CA's"),
        ([(x509.BasicConstraints(ca=False, path_length=None), True)], "isn't a CA's"),
        ([(IS_CA, True), (key_usage(signature=True, certificates=False), True)], "isn't a CA's"),
    ],
)
def test_a_ca_that_is_none_is_refused(extensions: Extensions, problem: str) -> None:
    ca = certificate(extensions)
    with pytest.raises(CertificateError, match=problem):
        check(certificate(GOOD_LEAF), ca)
    with pytest.raises(CertificateError, match=problem):
        load_ca(ca.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    ("extensions", "problem"),
    [
        ([], "isn't for servers"),
        ([(names("a"), False)], "isn't for servers"),
        ([(CLIENT, False), (names("a"), False)], "isn't for servers"),
        ([(SERVER, False)], "isn't for the service a"),
        ([(SERVER, False), (names(), False)], "isn't for the service a"),
        ([(SERVER, False), (names("*", "a.b", "A", "aa"), False)], "isn't for the service a"),
        ([(SERVER, False), (x509.SubjectAlternativeName([x509.RFC822Name("a")]), False)], "isn't for the service a"),
        ([*GOOD_LEAF, (IS_CA, True)], "is a CA's"),
        ([*GOOD_LEAF, (SOMETHING, True)], "unknown critical extension"),
        ([*GOOD_LEAF, (key_usage(signature=False, certificates=False), True)], "isn't for signatures"),
        ([*GOOD_LEAF[1:], (x509.UnrecognizedExtension(SERVER.oid, b"\0"), False)], "malformed"),
        ([(SERVER, False), (x509.UnrecognizedExtension(names().oid, b"\x30\x02\xa5\x00"), False)], "malformed"),
    ],
)
def test_a_certificate_for_something_else_is_refused(extensions: Extensions, problem: str) -> None:
    with pytest.raises(CertificateError, match=problem):
        check(certificate(extensions))


def test_an_unknown_critical_extension_of_the_ca_is_refused() -> None:
    with pytest.raises(CertificateError, match="unknown critical extension"):
        check(certificate(GOOD_LEAF), certificate([(IS_CA, True), (SOMETHING, True)]))


@pytest.mark.parametrize(
    "key", [ed25519.Ed25519PrivateKey.generate().public_key(), ec.generate_private_key(ec.SECP521R1()).public_key()]
)
def test_a_key_of_another_kind_is_refused(key: CertificatePublicKeyTypes) -> None:
    with pytest.raises(CertificateError, match="curve P-256 or P-384"):
        check(certificate(GOOD_LEAF, key))


def test_a_ca_s_file_holds_one_certificate() -> None:
    pem = CA.certificate_pem()
    assert load_ca(b"remarks\n" + pem + LEAF.key_pem()) == CA.certificate
    with pytest.raises(CertificateError, match="more than one"):
        load_ca(pem + pem)
    with pytest.raises(CertificateError, match=f"longer than {MAX_PEM_BYTES} bytes"):
        load_ca(pem + bytes(MAX_PEM_BYTES))
    for nothing in (b"", b"no PEM", LEAF.key_pem(), pem.replace(b"MII", b"AAA")):
        with pytest.raises(CertificateError, match="no certificate that can be read"):
            load_ca(nothing)


def test_an_identity_survives_its_file_in_any_order() -> None:
    for pem in (LEAF.certificate_pem() + LEAF.key_pem(), LEAF.key_pem() + LEAF.certificate_pem()):
        read = Identity.from_pem(pem)
        assert read.certificate == LEAF.certificate
        assert read.key_pem() == LEAF.key_pem()


def test_openssl_s_form_of_a_key_is_read_too() -> None:
    key = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert Identity.from_pem(LEAF.certificate_pem() + key).certificate == LEAF.certificate


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        LEAF.certificate_pem(),
        LEAF.key_pem(),
        LEAF.certificate_pem() + LEAF.key_pem()[:-40],
        LEAF.certificate_pem()
        + LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")),
    ],
    ids=["nothing", "no key", "no certificate", "a cut key", "an encrypted key"],
)
def test_a_file_without_a_certificate_and_a_key_is_no_identity(pem: bytes) -> None:
    with pytest.raises(CertificateError, match="lacks"):
        Identity.from_pem(pem)


def test_a_key_of_another_certificate_is_no_identity() -> None:
    other = CA.issue(SECRET_SERVICE, NOW)
    with pytest.raises(CertificateError, match="isn't that of the certificate"):
        Identity.from_pem(LEAF.certificate_pem() + other.key_pem())
