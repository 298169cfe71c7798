import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import DecryptionError
from privity.protocol.exchange import (
    IV_BYTES,
    MAX_ID_CHARACTERS,
    MAX_VALUES,
    NONCE_BYTES,
    PIECE_BYTES,
    TAG_BYTES,
    Opener,
    Sealer,
    addressed_to,
    begin,
)
from privity.protocol.secret import SECRET_BYTES, Secret

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "field_encryption.json").read_bytes())
SECRET = Secret("+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=", bytes(range(SECRET_BYTES)))
NONCE = bytes(range(100, 100 + NONCE_BYTES))
VALUES = st.lists(st.binary(max_size=40), min_size=1, max_size=6)


def seal_all(values: list[bytes]) -> list[bytes]:
    sealer = Sealer(SECRET, NONCE)
    return [sealer.seal(value) for value in values]


def refuses(opener: Opener, message: bytes) -> bool:
    try:
        opener.open(message)
    except DecryptionError:
        return True
    return False


def at(sequence: int, end: Any) -> Any:
    """Return a sealer, or an opener, that is past that many values."""
    end._sequence = sequence  # noqa: SLF001  # 2**32 values take hours
    return end


def secret_of(vector: dict[str, Any]) -> Secret:
    return Secret(vector["secret_id"], bytes.fromhex(vector["secret_hex"]))


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_opens_to_its_plain_text(vector: dict[str, Any]) -> None:
    nonce = bytes.fromhex(vector["nonce_hex"])
    message = vector["message"].encode()
    assert addressed_to(message) == (vector["secret_id"], nonce)
    opener = at(vector["sequence_number"], Opener(secret_of(vector), nonce))
    assert opener.open(message) == vector["plaintext"].encode()


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vectors_plain_text_is_sealed_as_its_message(vector: dict[str, Any]) -> None:
    iv = bytes.fromhex(vector["message"].split(":")[2])
    sealer = Sealer(secret_of(vector), bytes.fromhex(vector["nonce_hex"]), lambda size: iv[:size])
    assert at(vector["sequence_number"], sealer).seal(vector["plaintext"].encode()) == vector["message"].encode()


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_opens_at_no_other_place(vector: dict[str, Any]) -> None:
    nonce, message = bytes.fromhex(vector["nonce_hex"]), vector["message"].encode()
    for sequence in {0, 1, 2, 7, 255, 256, 2**31, MAX_VALUES - 1} - {vector["sequence_number"]}:
        assert refuses(at(sequence, Opener(secret_of(vector), nonce)), message)


@given(VALUES)
def test_values_come_back_in_their_order(values: list[bytes]) -> None:
    sealer, opener = Sealer(SECRET, NONCE), Opener(SECRET, NONCE)
    for number, value in enumerate(values):
        assert opener.count == number
        assert opener.open(sealer.seal(value)) == value
    assert sealer.transcript.digest() == opener.transcript.digest()


@given(st.binary(max_size=40))
def test_a_sealed_value_is_written_as_the_protocol_says(value: bytes) -> None:
    (message,) = seal_all([value])
    secret_id, nonce, iv, sealed = json.loads(message).split(":")
    assert (secret_id, nonce) == (SECRET.id, NONCE.hex())
    assert len(sealed) == 2 * (len(value) + TAG_BYTES)
    assert AESGCM(SECRET.key).decrypt(bytes.fromhex(iv), bytes.fromhex(sealed), NONCE + bytes(4)) == value


def test_a_value_with_any_other_byte_is_refused() -> None:
    (message,) = seal_all([b"value"])
    for place, byte in enumerate(message):
        for other in {*range(256)} - {byte}:
            assert refuses(Opener(SECRET, NONCE), message[:place] + bytes([other]) + message[place + 1 :])


@given(VALUES, st.data())
def test_a_value_that_is_cut_or_longer_is_refused(values: list[bytes], data: st.DataObject) -> None:
    message = seal_all(values)[0]
    start = data.draw(st.integers(0, len(message)))
    end = data.draw(st.integers(start, len(message)))
    if end - start < len(message):
        assert refuses(Opener(SECRET, NONCE), message[start:end])
    if start < end:
        assert refuses(Opener(SECRET, NONCE), message[:start] + message[end:])
        assert refuses(Opener(SECRET, NONCE), message[:end] + message[start:])


@given(st.lists(st.binary(max_size=9), min_size=2, max_size=6), st.data())
def test_values_that_are_moved_repeated_or_dropped_are_refused(values: list[bytes], data: st.DataObject) -> None:
    messages = seal_all(values)
    order = data.draw(st.lists(st.integers(0, len(messages) - 1), min_size=1, max_size=8))
    opener = Opener(SECRET, NONCE)
    for place, number in enumerate(order):
        if place == number:
            assert opener.open(messages[number]) == values[number]
        else:
            assert refuses(opener, messages[number])
            break


@given(VALUES, st.data())
def test_after_an_error_every_call_repeats_it(values: list[bytes], data: st.DataObject) -> None:
    messages = seal_all(values)
    wrong = data.draw(st.sampled_from([b"", b'""', b'"x:y:z"', b"null", messages[-1][:-2] + b'"', messages[0].upper()]))
    sealer, opener = Sealer(SECRET, NONCE), Opener(SECRET, NONCE)
    assert opener.open(sealer.seal(b"first")) == b"first"
    assert refuses(opener, wrong)
    assert refuses(opener, sealer.seal(b"second"))
    assert opener.count == 1


@pytest.mark.parametrize(
    "opener",
    [
        Opener(SECRET, bytes(NONCE_BYTES)),
        Opener(Secret(SECRET.id, bytes(SECRET_BYTES)), NONCE),
        Opener(Secret("another", SECRET.key), NONCE),
        Opener(Secret(SECRET.id[:-1], SECRET.key), NONCE),
        at(1, Opener(SECRET, NONCE)),
    ],
    ids=["nonce", "key", "ID", "cut ID", "place"],
)
def test_a_value_of_another_exchange_is_refused(opener: Opener) -> None:
    assert refuses(opener, seal_all([b"value"])[0])


def test_what_the_message_names_is_what_it_was_sealed_with() -> None:
    other = bytes(NONCE_BYTES)
    renamed = seal_all([b"value"])[0].replace(NONCE.hex().encode(), other.hex().encode())
    assert refuses(Opener(SECRET, other), renamed)


@given(VALUES, st.data())
def test_a_value_that_comes_back_to_its_sender_is_refused(values: list[bytes], data: st.DataObject) -> None:
    sealer, opener = begin(SECRET, NONCE)
    request = [sealer.seal(value) for value in values]
    answer = Sealer(SECRET, NONCE)
    authentic = data.draw(st.integers(0, len(request) - 1))
    for _ in range(authentic):
        assert opener.open(answer.seal(b"answer")) == b"answer"
    with pytest.raises(DecryptionError, match="came back to its sender"):
        opener.open(request[authentic])


def test_an_answer_opens_with_the_requests_exchange() -> None:
    sealer, opener = begin(SECRET, NONCE)
    server = Opener(SECRET, NONCE)
    assert [server.open(sealer.seal(value)) for value in (b"1", b"2")] == [b"1", b"2"]
    answer = Sealer(SECRET, NONCE)
    assert [opener.open(answer.seal(value)) for value in (b"3", b"4", b"5")] == [b"3", b"4", b"5"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b'"',
        b"7",
        b'"plain"',
        b'"a:b:c"',
        b'"+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=:6465666768696a6b6c6d6e6f:"',
        b'"+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=:6465666768696a6b6c6d6e6f:000102030405060708090a0b"',
        b'"+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=:6465666768696a6b6c6d6e6f:000102030405060708090a0b:"',
        b'"+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=:6465666768696a6b6c6d6e6f:000102030405060708090a0b:00"',
        b'"+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=:6465666768696a6b6c6d6e6f:000102030405060708090a0b:0"',
        b'"+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=:6465666768696a6b6c6d6e6f:000102030405060708090a0b:0g"',
        b'"+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=:6465666768696a6b6c6d6e6f:00010203040506070809\xc3\xa90b:00"',
    ],
)
def test_what_is_no_sealed_value_is_refused(message: bytes) -> None:
    assert refuses(Opener(SECRET, NONCE), message)


def test_a_value_has_one_spelling() -> None:
    message = seal_all([b"\xab" * 99])[0]
    prefix, iv, sealed = message.rsplit(b":", 2)
    for other in (
        b":".join([prefix, iv, sealed.upper()]),
        b":".join([prefix, b"AB" * IV_BYTES, sealed]),
        message.replace(b"+", b"\\u002b", 1),
        b" " + message,
    ):
        assert refuses(Opener(SECRET, NONCE), other)


def test_ivs_are_random_and_never_the_same() -> None:
    ivs = {message.split(b":")[2] for message in seal_all([b""] * 1000)}
    assert len(ivs) == 1000


def test_the_transcript_is_of_the_ivs_that_were_authentic() -> None:
    ivs = [os.urandom(IV_BYTES) for _ in range(3)]
    unused = iter(ivs)
    sealer, opener = Sealer(SECRET, NONCE, lambda _: next(unused)), Opener(SECRET, NONCE)
    messages = [sealer.seal(b"value") for _ in ivs]
    assert sealer.transcript.digest() == hashlib.sha256(b"".join(ivs)).digest()
    opener.open(messages[0])
    assert refuses(opener, messages[2])
    assert opener.transcript.digest() == hashlib.sha256(ivs[0]).digest()


def test_the_sequence_number_never_starts_again() -> None:
    sealer, opener = at(MAX_VALUES - 1, Sealer(SECRET, NONCE)), at(MAX_VALUES - 1, Opener(SECRET, NONCE))
    last = sealer.seal(b"last")
    assert opener.open(last) == b"last"
    with pytest.raises(OverflowError):
        sealer.seal(b"one too many")
    assert refuses(opener, last)


@pytest.mark.parametrize("size", [0, NONCE_BYTES - 1, NONCE_BYTES + 1])
def test_a_nonce_has_its_size(size: int) -> None:
    for end in (Sealer, Opener):
        with pytest.raises(ValueError, match="nonce"):
            end(SECRET, bytes(size))


@pytest.mark.parametrize("size", [0, SECRET_BYTES - 1, SECRET_BYTES + 1])
def test_a_secret_has_its_size(size: int) -> None:
    with pytest.raises(ValueError, match="key"):
        Secret("id", bytes(size))


def test_a_secrets_text_does_not_hold_its_key() -> None:
    assert repr(SECRET) == f"Secret(id='{SECRET.id}')"
    assert Secret("id", SECRET.key) == Secret("id", SECRET.key) != Secret("id", bytes(SECRET_BYTES))


HEX_NONCE = NONCE.hex().encode()


def test_a_value_says_whom_it_is_addressed_to() -> None:
    assert addressed_to(seal_all([b"value"])[0]) == (SECRET.id, NONCE)
    longest = b"i" * MAX_ID_CHARACTERS
    assert addressed_to(b'"' + longest + b":" + HEX_NONCE + b":") == (longest.decode(), NONCE)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b'"',
        b'""',
        b"7",
        b"[1]",
        b'"plain"',
        b'"id:' + HEX_NONCE,
        b'"id:' + HEX_NONCE + b'"',
        b"id:" + HEX_NONCE + b":",
        b'":' + HEX_NONCE + b":",
        b'"id:' + HEX_NONCE[:-2] + b":",
        b'"id:' + HEX_NONCE + b"00:",
        b'"id:' + b"zz" * NONCE_BYTES + b":",
        b'"id:' + HEX_NONCE.upper() + b":",
        b'"' + b"i" * (MAX_ID_CHARACTERS + 1) + b":" + HEX_NONCE + b":",
        '"é:'.encode() + HEX_NONCE + b":",
    ],
)
def test_what_is_not_encrypted_is_addressed_to_nobody(message: bytes) -> None:
    with pytest.raises(DecryptionError):
        addressed_to(message)


@given(st.binary(max_size=120) | st.binary(max_size=50).map(lambda rest: b'"id:' + HEX_NONCE + b":" + rest))
def test_any_bytes_are_addressed_or_refused(message: bytes) -> None:
    try:
        secret_id, nonce = addressed_to(message)
    except DecryptionError:
        return
    assert message.startswith(b'"%b:%b:' % (secret_id.encode(), nonce.hex().encode()))


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - TAG_BYTES, PIECE_BYTES, 3 * PIECE_BYTES + 1])
def test_a_value_in_pieces_is_the_value_at_its_place(size: int) -> None:
    (sealer, opener), value = begin(SECRET, NONCE), os.urandom(size)
    theirs = Opener(SECRET, NONCE)
    first = sealer.seal(b"first")
    pieces = sealer.seal_in_pieces(value)
    last = sealer.seal(b"last")
    assert [theirs.open(first), theirs.open(b"".join(pieces)), theirs.open(last)] == [b"first", value, b"last"]
    assert theirs.transcript.digest() == sealer.transcript.digest()
    assert refuses(opener, last)


def test_a_value_in_pieces_that_comes_back_to_its_sender_is_refused() -> None:
    sealer, opener = begin(SECRET, NONCE)
    message = b"".join(sealer.seal_in_pieces(b"value"))
    with pytest.raises(DecryptionError, match="came back"):
        opener.open(message)
