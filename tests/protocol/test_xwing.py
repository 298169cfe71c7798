import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import AgreementError
from privity.protocol.xwing import (
    ENCAPSULATION_BYTES,
    PUBLIC_KEY_BYTES,
    SEED_BYTES,
    SHARED_SECRET_BYTES,
    PrivateKey,
    encapsulate,
)

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/secret_exchange.json").read_text())
SEED = bytes(range(SEED_BYTES))
KEY = PrivateKey(SEED)
SHARED_SECRET, ENCAPSULATION = encapsulate(KEY.public_key)
SMALL_ORDER = {
    "zero": bytes(32),
    "one": b"\x01" + bytes(31),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
}


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_s_seed_makes_its_public_key(vector: dict[str, Any]) -> None:
    assert PrivateKey(bytes.fromhex(vector["private_key_hex"])).public_key.hex() == vector["public_key_hex"]


def test_both_sides_get_the_same_secret() -> None:
    key = PrivateKey(os.urandom(SEED_BYTES))
    shared_secret, encapsulation = encapsulate(key.public_key)
    assert key.decapsulate(encapsulation) == shared_secret
    lengths = (len(key.public_key), len(encapsulation), len(shared_secret))
    assert lengths == (PUBLIC_KEY_BYTES, ENCAPSULATION_BYTES, SHARED_SECRET_BYTES)


def test_every_encapsulation_is_fresh() -> None:
    assert encapsulate(KEY.public_key)[0] != SHARED_SECRET


def test_another_key_gets_another_secret() -> None:
    assert PrivateKey(bytes(SEED_BYTES)).decapsulate(ENCAPSULATION) != SHARED_SECRET


@settings(max_examples=60)
@given(st.integers(0, ENCAPSULATION_BYTES - 1), st.integers(1, 255))
def test_a_flipped_byte_of_an_encapsulation_gives_another_secret(place: int, flip: int) -> None:
    altered = bytearray(ENCAPSULATION)
    altered[place] ^= flip
    try:
        shared_secret = KEY.decapsulate(bytes(altered))
    except AgreementError:
        return
    assert shared_secret != SHARED_SECRET


def test_the_ignored_bit_of_an_x25519_part_is_bound_too() -> None:
    altered = ENCAPSULATION[:-1] + bytes([ENCAPSULATION[-1] ^ 0x80])
    assert KEY.decapsulate(altered) != SHARED_SECRET


@pytest.mark.parametrize("length", [0, ENCAPSULATION_BYTES - 1, ENCAPSULATION_BYTES + 1])
def test_an_encapsulation_of_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(AgreementError, match="1120 bytes"):
        KEY.decapsulate(bytes(length))


@pytest.mark.parametrize("length", [0, PUBLIC_KEY_BYTES - 1, PUBLIC_KEY_BYTES + 1])
def test_a_public_key_of_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(AgreementError, match="1216 bytes"):
        encapsulate(bytes(length))


@pytest.mark.parametrize("coefficient", ["010d", "ffff"])
def test_a_public_key_with_an_unreduced_coefficient_is_refused(coefficient: str) -> None:
    with pytest.raises(AgreementError, match="ML-KEM"):
        encapsulate(bytes.fromhex(coefficient) + KEY.public_key[2:])


@pytest.mark.parametrize("point", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_a_point_of_small_order_is_refused(point: bytes) -> None:
    with pytest.raises(AgreementError, match="small order"):
        encapsulate(KEY.public_key[:-32] + point)
    with pytest.raises(AgreementError, match="small order"):
        KEY.decapsulate(ENCAPSULATION[:-32] + point)


@pytest.mark.parametrize("length", [0, SEED_BYTES - 1, SEED_BYTES + 1, 96])
def test_a_seed_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PrivateKey(bytes(length))


def test_the_text_form_shows_no_key() -> None:
    assert SEED.hex() not in repr(KEY)
    assert repr(SEED) not in repr(KEY)
    assert repr(KEY).startswith("<privity.protocol.xwing.PrivateKey object")
