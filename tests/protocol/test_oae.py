import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import DecryptionError
from privity.protocol.oae import HEADER_BYTES, IV_BYTES, OVERHEAD_BYTES, Opener, Sealer

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/oae.json").read_text())
KEY = bytes(range(32))
REQUEST_HEADER = bytes(range(32, 64))
RESPONSE_HEADER = bytes(range(64, 96))
PLAINTEXTS = [b"", b"a", b"some more", b"last"]


def sealed(plaintexts: list[bytes], response_header: bytes | None = None) -> list[bytes]:
    sealer = Sealer(KEY, REQUEST_HEADER, response_header)
    last = len(plaintexts) - 1
    return [sealer.seal(text, final=i == last, iv=bytes([i]) * IV_BYTES) for i, text in enumerate(plaintexts)]


def opened(messages: list[bytes], response_header: bytes | None = None) -> list[bytes]:
    opener = Opener(KEY, REQUEST_HEADER, response_header)
    plaintexts = [opener.open(message) for message in messages]
    opener.finish()
    return plaintexts


MESSAGES = sealed(PLAINTEXTS)


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_s_messages_are_sealed_and_opened(vector: dict[str, Any], direction: str) -> None:
    response_header = bytes.fromhex(vector["response_header_hex"]) if direction == "response" else None
    keys = (bytes.fromhex(vector["secret_hex"]), bytes.fromhex(vector["request_header_hex"]), response_header)
    sealer, opener = Sealer(*keys), Opener(*keys)
    for message in vector[f"{direction}_messages"]:
        plaintext, expected = message["plaintext"].encode(), bytes.fromhex(message["sealed_hex"])
        assert sealer.seal(plaintext, final=message["final"], iv=expected[1 : 1 + IV_BYTES]) == expected
        assert opener.open(expected) == plaintext
        assert opener.ended == message["final"]
    opener.finish()


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=100), min_size=1, max_size=5), st.sampled_from([None, RESPONSE_HEADER]))
def test_what_was_sealed_is_opened(plaintexts: list[bytes], response_header: bytes | None) -> None:
    messages = sealed(plaintexts, response_header)
    assert opened(messages, response_header) == plaintexts
    assert [len(message) - OVERHEAD_BYTES for message in messages] == [len(text) for text in plaintexts]


@settings(max_examples=100)
@given(st.data())
def test_a_flipped_byte_is_an_error(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(MESSAGES) - 1))
    altered = bytearray(MESSAGES[which])
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecryptionError):
        opened([*MESSAGES[:which], bytes(altered), *MESSAGES[which + 1 :]])


@settings(max_examples=60)
@given(st.lists(st.sampled_from(MESSAGES), max_size=6).filter(lambda messages: messages != MESSAGES))
def test_messages_dropped_swapped_or_repeated_are_an_error(messages: list[bytes]) -> None:
    with pytest.raises(DecryptionError):
        opened(messages)


@settings(max_examples=40)
@given(st.data())
def test_a_cut_message_is_an_error(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(MESSAGES) - 1))
    cut = MESSAGES[which][: data.draw(st.integers(0, len(MESSAGES[which]) - 1))]
    with pytest.raises(DecryptionError):
        opened([*MESSAGES[:which], cut, *MESSAGES[which + 1 :]])


@pytest.mark.parametrize("count", range(len(MESSAGES)))
def test_a_stream_without_its_final_message_is_truncated(count: int) -> None:
    with pytest.raises(DecryptionError, match="before its final message"):
        opened(MESSAGES[:count])


def test_an_unknown_flag_is_an_error() -> None:
    with pytest.raises(DecryptionError, match="isn't a sealed message"):
        opened([b"\x02" + MESSAGES[0][1:]])


def test_a_message_after_the_final_one_is_an_error() -> None:
    with pytest.raises(DecryptionError, match="follows"):
        opened([*MESSAGES, MESSAGES[-1]])


def test_request_and_response_have_keys_of_their_own() -> None:
    with pytest.raises(DecryptionError):
        opened(MESSAGES, RESPONSE_HEADER)
    with pytest.raises(DecryptionError):
        opened(sealed(PLAINTEXTS, RESPONSE_HEADER), bytes(HEADER_BYTES))


def test_after_an_error_every_call_repeats_it() -> None:
    opener = Opener(KEY, REQUEST_HEADER)
    with pytest.raises(DecryptionError) as first:
        opener.open(MESSAGES[1])
    for message in MESSAGES:
        with pytest.raises(DecryptionError) as again:
            opener.open(message)
        assert str(again.value) == str(first.value)
    with pytest.raises(DecryptionError) as at_the_end:
        opener.finish()
    assert str(at_the_end.value) == str(first.value)
    assert not opener.ended


def test_nothing_is_opened_after_a_premature_end() -> None:
    opener = Opener(KEY, REQUEST_HEADER)
    with pytest.raises(DecryptionError):
        opener.finish()
    with pytest.raises(DecryptionError, match="before its final message"):
        opener.open(MESSAGES[0])


def test_a_stream_has_room_for_so_many_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privity.protocol.oae.MAX_MESSAGES", 2)
    sealer, opener = Sealer(KEY, REQUEST_HEADER), Opener(KEY, REQUEST_HEADER)
    for message in MESSAGES[:2]:
        sealer.seal(b"", final=False, iv=bytes(IV_BYTES))
        opener.open(message)
    with pytest.raises(ValueError, match="no room"):
        sealer.seal(b"", final=False, iv=bytes(IV_BYTES))
    with pytest.raises(DecryptionError, match="too many"):
        opener.open(MESSAGES[2])


def test_nothing_is_sealed_after_the_final_message() -> None:
    sealer = Sealer(KEY, REQUEST_HEADER)
    sealer.seal(b"", final=True, iv=bytes(IV_BYTES))
    with pytest.raises(ValueError, match="ended"):
        sealer.seal(b"", final=True, iv=bytes(IV_BYTES))


def test_headers_and_ivs_have_their_length() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(KEY, REQUEST_HEADER[1:])
    with pytest.raises(ValueError, match="32 bytes"):
        Opener(KEY, REQUEST_HEADER, b"")
    with pytest.raises(ValueError, match="12 bytes"):
        Sealer(KEY, REQUEST_HEADER).seal(b"", final=True, iv=bytes(IV_BYTES + 1))
