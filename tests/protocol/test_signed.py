import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import AgreementError, CertificateError, Reason, StatementError
from privity.protocol import mesh, signed, xwing
from privity.protocol.agreement import signed_digest
from privity.protocol.mesh import INFERENCE_PROXY, MAX_CERTIFICATE_BYTES, SECRET_SERVICE, Identity, MeshCa
from privity.protocol.signed import CONTEXT, MAX_PAYLOAD_BYTES, MAX_SIGNATURE_BYTES, Verifier, sign

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CA = MeshCa.create(NOW)
P256 = CA.issue(INFERENCE_PROXY, NOW, ec.SECP256R1())
P384 = CA.issue(INFERENCE_PROXY, NOW)
PAYLOAD = b'{"id":"m"}'
SIGNATURE = sign(PAYLOAD, P256)
DER = P256.certificate_der()
END = P256.certificate.not_valid_after_utc
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-4 appendix D.1.2.3
SECOND = timedelta(seconds=1)


def verify(
    payload: bytes = PAYLOAD,
    signature: bytes = SIGNATURE,
    der: bytes = DER,
    now: datetime = NOW,
    verifier: Verifier | None = None,
) -> None:
    (verifier or Verifier(CA.certificate)).verify(payload, signature, der, now)


@contextmanager
def refused(reason: Reason, text: str | None = None) -> Iterator[None]:
    with pytest.raises(StatementError, match=text) as caught:
        yield
    assert caught.value.reason == reason


@contextmanager
def no_public_key_operation(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing verify a certificate or a signature: only what is remembered is left."""

    def fail(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(mesh, "verify", fail)
        patch.setattr(signed, "_check_signature", fail)
        yield


@pytest.mark.parametrize("identity", [P256, P384], ids=["P-256", "P-384"])
@pytest.mark.parametrize("payload", [b"", PAYLOAD, bytes(MAX_PAYLOAD_BYTES)], ids=len)
def test_what_is_signed_is_verified(identity: Identity, payload: bytes) -> None:
    signature = sign(payload, identity)
    assert len(signature) <= 104
    verify(payload, signature, identity.certificate_der())


@pytest.mark.parametrize(("identity", "algorithm"), [(P256, SHA256()), (P384, SHA384())], ids=["P-256", "P-384"])
def test_a_signature_is_ecdsa_with_the_curve_s_hash(identity: Identity, algorithm: HashAlgorithm) -> None:
    signed_bytes = b"privity/model-statement/1" + bytes(39) + PAYLOAD
    public_key = identity.key.public_key()
    public_key.verify(sign(PAYLOAD, identity), signed_bytes, ec.ECDSA(algorithm))
    verify(PAYLOAD, identity.key.sign(signed_bytes, ec.ECDSA(algorithm)), identity.certificate_der())


def test_another_hash_is_refused() -> None:
    with refused("altered"):
        verify(signature=P256.key.sign(CONTEXT + PAYLOAD, ec.ECDSA(SHA384())))
    with refused("altered"):
        verify(signature=P384.key.sign(CONTEXT + PAYLOAD, ec.ECDSA(SHA256())), der=P384.certificate_der())


# For nothing else


def test_a_signature_for_something_else_is_none_of_a_statement() -> None:
    for signature in (P256.key.sign(PAYLOAD, ec.ECDSA(SHA256())), P256.sign_digest(hashlib.sha256(PAYLOAD).digest())):
        with refused("altered"):
            verify(signature=signature)


def test_an_agreement_s_signature_would_be_a_statement_s_but_for_the_context() -> None:
    """Were it not for ML-KEM's check, a proxy could choose a public key that begins as a statement does."""
    key = CONTEXT + PAYLOAD
    verify(PAYLOAD + b"rest", P256.sign_digest(signed_digest(key, b"rest")))


def test_no_public_key_begins_with_the_context() -> None:
    rest = xwing.PrivateKey(bytes(32)).public_key[len(CONTEXT) :]
    assert CONTEXT[6] + 256 * (CONTEXT[7] % 16) > 3328  # the fifth coefficient, FIPS 203 algorithm 5
    xwing.encapsulate(b"privity model".ljust(len(CONTEXT), b"\0") + rest)
    for length in (8, len(CONTEXT)):
        with pytest.raises(AgreementError, match="ML-KEM part is invalid"):
            xwing.encapsulate(CONTEXT[:length].ljust(len(CONTEXT), b"\0") + rest)


def test_a_tls_peer_chooses_only_half_of_what_would_be_the_context() -> None:
    assert len(CONTEXT) == 64
    assert CONTEXT[32:] == bytes(32)
    assert not CONTEXT.startswith(b" ")


# 1. Lengths


@pytest.mark.parametrize(("signature", "der"), [(b"", DER), (SIGNATURE, b""), (b"", b"")], ids=range(3))
def test_what_lacks_a_signature_or_a_certificate_is_unsigned(signature: bytes, der: bytes) -> None:
    with refused("unsigned"):
        verify(signature=signature, der=der)


def test_what_is_too_long_is_malformed() -> None:
    with refused("malformed", f"longer than {MAX_PAYLOAD_BYTES} bytes"):
        verify(payload=bytes(MAX_PAYLOAD_BYTES + 1))
    with refused("malformed", f"longer than {MAX_PAYLOAD_BYTES} bytes"):
        sign(bytes(MAX_PAYLOAD_BYTES + 1), P256)
    with refused("malformed", f"longer than {MAX_SIGNATURE_BYTES} bytes"):
        verify(signature=bytes(MAX_SIGNATURE_BYTES + 1))
    with refused("altered"):
        verify(signature=bytes(MAX_SIGNATURE_BYTES))
    with refused("unknown_signer", f"longer than {MAX_CERTIFICATE_BYTES} bytes"):
        verify(der=bytes(MAX_CERTIFICATE_BYTES + 1))


# 2. The certificate


@pytest.mark.parametrize(
    ("identity", "problem"),
    [
        (MeshCa.create(NOW).issue(INFERENCE_PROXY, NOW), "isn't signed by the mesh CA"),
        (CA.issue(SECRET_SERVICE, NOW), "isn't for the service inference-proxy"),
        (CA.issue(INFERENCE_PROXY, NOW + timedelta(days=1)), "isn't valid yet"),
        (CA.issue(INFERENCE_PROXY, NOW - timedelta(days=366)), "isn't valid any more"),
    ],
    ids=["another CA", "another service", "not yet valid", "no more valid"],
)
def test_another_signer_is_unknown(identity: Identity, problem: str) -> None:
    with pytest.raises(StatementError, match=problem) as caught:
        verify(signature=sign(PAYLOAD, identity), der=identity.certificate_der())
    assert caught.value.reason == "unknown_signer"
    assert isinstance(caught.value.__cause__, CertificateError)


def test_a_verifier_may_be_one_for_another_service() -> None:
    identity = CA.issue(SECRET_SERVICE, NOW)
    verifier = Verifier(CA.certificate, SECRET_SERVICE)
    verify(signature=sign(PAYLOAD, identity), der=identity.certificate_der(), verifier=verifier)
    with refused("unknown_signer"):
        verify(verifier=verifier)


@settings(max_examples=60)
@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
@pytest.mark.filterwarnings("default")
def test_a_flipped_byte_of_the_certificate_is_refused(place: int, flip: int) -> None:
    with refused("unknown_signer"):
        verify(der=flipped(DER, place, flip))


# 3. The signature


def flipped(value: bytes, place: int, flip: int) -> bytes:
    return value[:place] + bytes([value[place] ^ flip]) + value[place + 1 :]


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_a_flipped_byte_of_the_payload_is_refused(place: int, flip: int) -> None:
    with refused("altered"):
        verify(payload=flipped(PAYLOAD, place, flip))


@settings(max_examples=300)
@given(st.integers(0, len(SIGNATURE) - 1), st.integers(1, 255))
def test_a_flipped_byte_of_the_signature_is_refused(place: int, flip: int) -> None:
    with refused("altered"):
        verify(signature=flipped(SIGNATURE, place, flip))


@pytest.mark.parametrize("signature", [SIGNATURE[:-1], SIGNATURE + b"\0", b"\0", bytes(64)], ids=range(4))
def test_another_form_of_a_signature_is_refused(signature: bytes) -> None:
    with refused("altered"):
        verify(signature=signature)


@pytest.mark.parametrize("payload", [PAYLOAD[:-1], PAYLOAD + b" ", b"", b"\0" + PAYLOAD], ids=range(4))
def test_a_cut_or_longer_payload_is_refused(payload: bytes) -> None:
    with refused("altered"):
        verify(payload=payload)


def test_another_known_signer_s_signature_is_refused() -> None:
    with refused("altered"):
        verify(signature=sign(PAYLOAD, CA.issue(INFERENCE_PROXY, NOW, ec.SECP256R1())))


def test_each_signature_has_a_twin_that_says_the_same() -> None:
    """As the docstring warns."""
    r, s = decode_dss_signature(SIGNATURE)
    verify(signature=encode_dss_signature(r, ORDER_OF_P256 - s))


# What is remembered


def test_a_remembered_statement_costs_no_public_key_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier(CA.certificate)
    verify(verifier=verifier)
    with no_public_key_operation(monkeypatch):
        verify(verifier=verifier)
        verify(now=END, verifier=verifier)
        with pytest.raises(AssertionError):
            verify()


@given(st.sampled_from(["payload", "signature", "der"]), st.data())
def test_what_is_remembered_says_nothing_of_anything_else(which: str, data: st.DataObject) -> None:
    verifier = Verifier(CA.certificate)
    verify(verifier=verifier)
    parts = {"payload": PAYLOAD, "signature": SIGNATURE, "der": DER}
    parts[which] = parts[which][: data.draw(st.integers(0, len(parts[which]) - 1))]
    with pytest.raises(StatementError):
        verify(parts["payload"], parts["signature"], parts["der"], verifier=verifier)


def test_bytes_moved_from_one_part_to_another_are_something_else() -> None:
    verifier = Verifier(CA.certificate)
    verify(verifier=verifier)
    with refused("altered"):
        verify(PAYLOAD[1:], SIGNATURE + PAYLOAD[:1], verifier=verifier)
    with refused("altered"):
        verify(SIGNATURE[-1:] + PAYLOAD, SIGNATURE[:-1], verifier=verifier)


def test_another_certificate_of_the_same_signer_is_verified_for_itself() -> None:
    verifier = Verifier(CA.certificate)
    verify(verifier=verifier)
    with refused("altered"):
        verify(der=P384.certificate_der(), verifier=verifier)


def test_a_remembered_verdict_does_not_outlive_the_certificate() -> None:
    verifier = Verifier(CA.certificate)
    verify(now=END, verifier=verifier)
    with refused("unknown_signer", "The certificate isn't valid any more"):
        verify(now=END + SECOND, verifier=verifier)
    with refused("unknown_signer", "The certificate isn't valid yet"):
        verify(now=P256.certificate.not_valid_before_utc - SECOND, verifier=verifier)
    verify(verifier=verifier)


def test_a_remembered_verdict_does_not_outlive_the_ca_s_certificate() -> None:
    end = CA.certificate.not_valid_after_utc
    identity = CA.issue(INFERENCE_PROXY, end)
    signature, der = sign(PAYLOAD, identity), identity.certificate_der()
    verifier = Verifier(CA.certificate)
    verify(PAYLOAD, signature, der, end, verifier)
    with refused("unknown_signer", "The mesh CA's certificate isn't valid any more"):
        verify(PAYLOAD, signature, der, end + SECOND, verifier)


def test_what_is_refused_is_not_remembered() -> None:
    verifier = Verifier(CA.certificate)
    for _ in range(2):
        with refused("altered"):
            verify(payload=b"", verifier=verifier)


def test_the_oldest_is_forgotten_and_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed, "MAX_REMEMBERED", 2)
    monkeypatch.setattr(signed, "MAX_SIGNERS", 1)
    verifier = Verifier(CA.certificate)
    statements = [(payload, sign(payload, P256)) for payload in (b"0", b"1", b"2")]
    for each in (0, 1, 0, 2):
        verify(*statements[each], verifier=verifier)
    with no_public_key_operation(monkeypatch):
        for each in (0, 2):
            verify(*statements[each], verifier=verifier)
        with pytest.raises(AssertionError):
            verify(*statements[1], verifier=verifier)
    verify(*statements[1], verifier=verifier)
    verify(b"3", sign(b"3", P384), P384.certificate_der(), verifier=verifier)
    with no_public_key_operation(monkeypatch), pytest.raises(AssertionError):
        verify(*statements[1], verifier=verifier)


def test_an_altered_statement_s_error_holds_nothing_of_it() -> None:
    with pytest.raises(StatementError) as caught:
        verify(payload=b"content")
    assert "content" not in str(caught.value)
    assert isinstance(caught.value.__cause__, InvalidSignature)
