import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import ContextLengthError, InvalidRequestError
from privity.protocol.shard_key import MAX_BLOCKS, MAX_TOKENS, common_length, read_shard_key, shard_key
from privity.protocol.shard_key import blocks_of as our_blocks_of

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/shard_key.json").read_text())
SALT = "s" * 32


def members_of(vector: dict[str, Any]) -> dict[str, msgspec.Raw]:
    body = vector.get("body") or json.dumps({"model": "m", "prompt": "a" * vector["prompt_of_repeated_a"]})
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_a_vector_s_request_has_its_shard_key(number: int) -> None:
    vector = VECTORS[number]
    members = members_of(vector)
    salt = msgspec.json.decode(members["cache_salt"]) if "cache_salt" in members else vector["default_cache_salt"]
    if vector["error"]:
        with pytest.raises(ContextLengthError, match=vector["error"]):
            shard_key(members, salt)
    else:
        assert (shard_key(members, salt) if salt else "") == vector["shard_key"]


def blocks_of(key: str) -> str:
    return key.partition("-")[2]


@settings(max_examples=40)
@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_prompts_that_begin_alike_have_keys_that_begin_alike(start: str, one: str, other: str) -> None:
    keys = [shard_key({"prompt": json.dumps(start + rest).encode()}, SALT) for rest in ("", one, other)]
    common = len(start.encode()) // 64
    assert len({(key[:16], blocks_of(key)[:common]) for key in keys}) == 1


@settings(max_examples=40)
@given(st.text(max_size=200), st.booleans())
def test_a_string_counts_as_what_it_says_however_it_is_escaped(prompt: str, ascii_only: bool) -> None:  # noqa: FBT001
    content = prompt.encode()
    link = hashlib.sha256(SALT.encode()).digest()
    expected = link.hex()[:16] + ("-" if len(content) >= 64 else "")
    for start in range(0, len(content) - 63, 64):
        link = hashlib.sha256(link + content[start : start + 64]).digest()
        expected += base64.b64encode(bytes([link[-1] << 2 & 0xFF])).decode()[0]
    assert shard_key({"prompt": json.dumps(prompt, ensure_ascii=ascii_only).encode()}, SALT) == expected


def test_members_count_in_the_order_of_the_prompt_and_others_do_not_count() -> None:
    parts = {
        "system": b'"' + b"s" * 60 + b'"',
        "instructions": b'"i"',
        "tools": b"[1]",
        "messages": b"[2, 3]",
        "input": b"[5]",
        "prompt": b'"p"',
        "suffix": b"4",
    }
    shuffled = {name: parts[name] for name in sorted(parts, reverse=True)} | {"model": b'"m"', "cache_salt": b'"x"'}
    joined = {"prompt": b'"' + b"s" * 60 + b'i[1][2, 3][5]p4"'}
    assert shard_key(shuffled, SALT) == shard_key(joined, SALT)


def test_no_prompt_at_all_has_the_key_of_the_salt() -> None:
    assert shard_key({}, SALT) == hashlib.sha256(SALT.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("escaped", "meant"),
    [
        ("\\ud800", "\ufffd"),
        ("\\udc00x", "\ufffdx"),
        ("\\ud800\\ud83d\\ude00", "\ufffd😀"),
        ("\\ud83d\\ude00", "😀"),
        ("\\udc00\\ud800", "\ufffd\ufffd"),
    ],
)
def test_lone_surrogates_count_as_replacement_characters(escaped: str, meant: str) -> None:
    padding = "a" * 60
    raw = {"prompt": f'"{padding}{escaped}{padding}"'.encode()}
    assert shard_key(raw, SALT) == shard_key({"prompt": json.dumps(padding + meant + padding).encode()}, SALT)


@pytest.mark.parametrize("raw", [b'"', b'"cut', b'"\xff"', b'"\xed\xa0\x80"', b'"\\x"', b'"\n"', b'"a" "b"'])
def test_a_string_that_is_no_json_is_an_invalid_request(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        shard_key({"suffix": raw}, SALT)
    assert (caught.value.param, caught.value.code) == ("suffix", "invalid_json")


def test_the_largest_prompt_has_a_key_and_one_more_token_has_none() -> None:
    content = b"1" * (4 * MAX_TOKENS + 3)
    assert len(blocks_of(shard_key({"messages": content}, SALT))) == 64 + 774 + 1757
    with pytest.raises(ContextLengthError) as caught:
        shard_key({"messages": content + b"1"}, SALT)
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


def test_the_largest_prompt_is_fast() -> None:
    raw = json.dumps("é" * (2 * MAX_TOKENS)).encode()
    began = time.perf_counter()
    shard_key({"prompt": raw}, SALT)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("blocks", ["", "-A", "-" + "Aa0+/" * (MAX_BLOCKS // 5)])
def test_a_key_is_read_as_it_was_sent(blocks: str) -> None:
    key = "0123456789abcdef" + blocks
    assert read_shard_key(key.encode()) == key
    assert our_blocks_of(key) == blocks_of(key)


def test_the_key_of_the_longest_prompt_is_read() -> None:
    key = shard_key({"prompt": b"[" + b"a" * (4 * MAX_TOKENS - 1)}, SALT)
    assert len(blocks_of(key)) == MAX_BLOCKS
    assert read_shard_key(key.encode()) == key


HASH = b"0123456789abcdef"


@pytest.mark.parametrize(
    "header",
    [
        *(None, b"", HASH[:-1], HASH + b"0", HASH.upper(), b" " + HASH, HASH + b"\n", HASH + b"-", b"-A"),
        *(HASH + b"A", HASH + b"-A-A", HASH + b"-A=", HASH + b"-\xc3\xa4", HASH + b"-A\x00"),
        HASH + b"-" + b"A" * (MAX_BLOCKS + 1),
    ],
)
def test_what_is_no_key_is_ignored(header: bytes | None) -> None:
    assert read_shard_key(header) is None


@given(st.text("AB", max_size=12), st.text("AB", max_size=12))
def test_the_common_beginning_is_measured(one: str, other: str) -> None:
    common = common_length(one, other)
    assert one[:common] == other[:common]
    assert one[common : common + 1] != other[common : common + 1] or common == min(len(one), len(other))
