import base64
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import AgreementError, CertificateError, InvalidRequestError
from privity.protocol.agreement import MAX_RESPONSE_BYTES, Offer, respond, secret_id, signed_digest
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa, ec_public_key, load_ca
from privity.protocol.xwing import SEED_BYTES

TESTS = Path(__file__).parents[1]
VECTORS: list[dict[str, Any]] = json.loads((TESTS / "vectors/secret_exchange.json").read_text())
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CA = MeshCa.create(NOW)
SERVICE = CA.issue(SECRET_SERVICE, NOW)
SEED = bytes(range(SEED_BYTES))
OFFER = Offer(SEED)
RESPONSE, SECRET = respond(OFFER.request(), SERVICE)
FIELDS = ("EncapsulatedKey", "Signature", "MeshCert")


def public_key_of(offer: Offer) -> bytes:
    return base64.b64decode(json.loads(offer.request())["PublicKey"])


def response_with(**fields: object) -> bytes:
    return json.dumps(json.loads(RESPONSE) | fields).encode()


def signed_by(identity: Identity, encapsulation: bytes) -> bytes:
    signature = identity.sign_digest(signed_digest(public_key_of(OFFER), encapsulation))
    parts = (encapsulation, signature, identity.certificate_der())
    return json.dumps(dict(zip(FIELDS, (base64.b64encode(part).decode() for part in parts), strict=True))).encode()


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_s_exchange_gives_its_secret(vector: dict[str, Any]) -> None:
    public_key, encapsulation = bytes.fromhex(vector["public_key_hex"]), bytes.fromhex(vector["encapsulated_key_hex"])
    assert secret_id(public_key) == vector["secret_id"]
    assert signed_digest(public_key, encapsulation).hex() == vector["signed_digest_hex"]
    offer = Offer(bytes.fromhex(vector["private_key_hex"]))
    assert (public_key_of(offer), offer.secret_id) == (public_key, vector["secret_id"])
    parts = {
        "EncapsulatedKey": encapsulation,
        "Signature": SERVICE.sign_digest(bytes.fromhex(vector["signed_digest_hex"])),
        "MeshCert": SERVICE.certificate_der(),
    }
    response = json.dumps({name: base64.b64encode(part).decode() for name, part in parts.items()}).encode()
    secret = offer.accept(response, CA.certificate, NOW).secret
    assert (secret.id, secret.key.hex()) == (vector["secret_id"], vector["exported_secret_hex"])


def capture() -> tuple[dict[str, Any], dict[str, Any], x509.Certificate]:
    attested, exchanged = json.loads((TESTS / "captures/deployed-proxy.json").read_text())["start"]
    document = json.loads(base64.b64decode(json.loads(attested["response"]["body"])["AttestationDoc"]))
    return exchanged, json.loads(exchanged["response"]["body"]), load_ca(base64.b64decode(document["mesh_ca"]))


def test_the_captured_response_is_signed_for_the_captured_request() -> None:
    exchanged, response, _ = capture()
    public_key = base64.b64decode(json.loads(exchanged["body"])["PublicKey"])
    encapsulation, signature, der = (base64.b64decode(response[name]) for name in FIELDS)
    key = ec_public_key(x509.load_der_x509_certificate(der))
    digest = signed_digest(public_key, encapsulation)
    key.verify(signature, digest, ec.ECDSA(Prehashed(SHA256())))
    assert secret_id(public_key) == exchanged["agreed"]["secret_id"]


def test_the_captured_response_is_refused_for_another_offer() -> None:
    exchanged, _, ca = capture()
    with pytest.raises(AgreementError, match="signature"):
        OFFER.accept(exchanged["response"]["body"].encode(), ca, ca.not_valid_before_utc)


def test_the_captured_request_is_answered() -> None:
    exchanged, response, _ = capture()
    answer, secret = respond(exchanged["body"].encode(), SERVICE)
    assert secret.id == exchanged["agreed"]["secret_id"]
    assert json.loads(answer).keys() == response.keys()


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_both_sides_agree_on_a_secret(curve: ec.EllipticCurve) -> None:
    offer = Offer(os.urandom(SEED_BYTES))
    response, secret = respond(offer.request(), CA.issue(SECRET_SERVICE, NOW, curve))
    agreement = offer.accept(response, CA.certificate, NOW)
    assert agreement.secret == secret
    assert agreement.secret.id == offer.secret_id
    assert agreement.authenticates_end


def test_nothing_but_ids_is_shown() -> None:
    shown = repr(OFFER) + repr(OFFER.accept(RESPONSE, CA.certificate, NOW))
    assert SECRET.id in shown
    for hidden in (SEED, SECRET.key):
        assert hidden.hex() not in shown
        assert repr(hidden) not in shown


@settings(max_examples=150)
@given(st.sampled_from(FIELDS), st.data())
@pytest.mark.filterwarnings("default")
def test_a_flipped_byte_of_a_response_is_refused(name: str, data: st.DataObject) -> None:
    part = bytearray(base64.b64decode(json.loads(RESPONSE)[name]))
    part[data.draw(st.integers(0, len(part) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((AgreementError, CertificateError)):
        OFFER.accept(response_with(**{name: base64.b64encode(part).decode()}), CA.certificate, NOW)


@settings(max_examples=50)
@given(st.integers(0, len(RESPONSE) - 1))
def test_a_cut_response_is_refused(length: int) -> None:
    with pytest.raises(AgreementError, match="JSON"):
        OFFER.accept(RESPONSE[:length], CA.certificate, NOW)


@settings(max_examples=50)
@given(st.binary(max_size=50))
def test_any_other_bytes_are_refused(response: bytes) -> None:
    with pytest.raises(AgreementError):
        OFFER.accept(response, CA.certificate, NOW)


@pytest.mark.parametrize("value", [None, 1, "", "AA", "AA=", "AA==\n", "__==", "AA==AA==", "Ä", ["AA=="]])
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_no_padded_base64_or_empty_is_refused(name: str, value: object) -> None:
    with pytest.raises((AgreementError, CertificateError)):
        OFFER.accept(response_with(**{name: value}), CA.certificate, NOW)


def test_a_response_for_another_offer_is_refused() -> None:
    with pytest.raises(AgreementError, match="signature"):
        Offer(bytes(SEED_BYTES)).accept(RESPONSE, CA.certificate, NOW)


def test_another_service_s_response_is_refused() -> None:
    response, _ = respond(OFFER.request(), CA.issue(INFERENCE_PROXY, NOW))
    with pytest.raises(CertificateError, match="secret-service"):
        OFFER.accept(response, CA.certificate, NOW)


def test_another_mesh_s_response_is_refused() -> None:
    response, _ = respond(OFFER.request(), MeshCa.create(NOW).issue(SECRET_SERVICE, NOW))
    with pytest.raises(CertificateError):
        OFFER.accept(response, CA.certificate, NOW)


def test_an_expired_service_s_response_is_refused() -> None:
    with pytest.raises(CertificateError, match="any more"):
        OFFER.accept(RESPONSE, CA.certificate, NOW + timedelta(days=366))


def test_another_key_s_signature_is_refused() -> None:
    other = CA.issue(SECRET_SERVICE, NOW).certificate_der()
    with pytest.raises(AgreementError, match="signature"):
        OFFER.accept(response_with(MeshCert=base64.b64encode(other).decode()), CA.certificate, NOW)


@pytest.mark.parametrize("length", [0, 1119, 1121])
def test_a_signed_encapsulation_of_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(AgreementError, match="1120 bytes"):
        OFFER.accept(signed_by(SERVICE, bytes(length)), CA.certificate, NOW)


def test_a_signed_encapsulation_with_a_point_of_small_order_is_refused() -> None:
    with pytest.raises(AgreementError, match="small order"):
        OFFER.accept(signed_by(SERVICE, bytes(1120)), CA.certificate, NOW)


def test_a_response_that_is_too_long_is_not_even_read() -> None:
    with pytest.raises(AgreementError, match=f"longer than {MAX_RESPONSE_BYTES} bytes"):
        OFFER.accept(RESPONSE + b" " * MAX_RESPONSE_BYTES, CA.certificate, NOW)


def test_a_response_may_hold_more_than_is_read() -> None:
    assert OFFER.accept(response_with(More=[1]), CA.certificate, NOW).secret == SECRET


@pytest.mark.parametrize(
    "request_body",
    [b"", b"{}", b"[]", b"[" * 100_000, b'{"PublicKey": null}', b'{"PublicKey": "A"}', b'{"PublicKey": "\xff"}'],
)
def test_a_request_that_is_not_as_it_should_be_is_invalid_json(request_body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        respond(request_body, SERVICE)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    "public_key",
    [
        b"",
        public_key_of(OFFER)[1:],
        public_key_of(OFFER) + b"\0",
        b"\xff\xff" + public_key_of(OFFER)[2:],
        public_key_of(OFFER)[:-32] + bytes(32),
    ],
    ids=["empty", "too short", "too long", "unreduced", "of small order"],
)
def test_a_public_key_that_is_none_is_refused(public_key: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        respond(json.dumps({"PublicKey": base64.b64encode(public_key).decode()}).encode(), SERVICE)
    assert (caught.value.param, caught.value.code) == ("PublicKey", "invalid_public_key")
