"""Shard keys (wire-protocol.md section 7): they show a gateway which prompts begin alike, and nothing else of them.

A key is a hash of the salt, then one character for each block of the prompt, each depending on all blocks before it:
prompts with the same salt that begin alike have keys that begin alike.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from privity.errors import ContextLengthError, InvalidRequestError

HEADER = b"privatemode-shard-key"

CONTENT_MEMBERS = ("system", "instructions", "tools", "messages", "input", "prompt", "suffix")
"""The members that count, in their order: that of the prompt that an engine makes of them. The deployed service knows
nothing of `instructions` and `input`, which are those of the Responses API."""

MAX_TOKENS = 1_000_000
"""Tokens of a prompt, as counted here: 4 bytes each."""

_TOKEN_BYTES = 4
_SALT_HASH_CHARACTERS = 16
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLOCKS = ((1024, 16), (100_096, 128), (MAX_TOKENS, 512))
"""Up to which token, blocks have how many tokens."""

MAX_BLOCKS = 2595
"""Blocks of the longest prompt."""

_KEY = re.compile(rb"[0-9a-f]{%d}(-[A-Za-z0-9+/]{1,%d})?" % (_SALT_HASH_CHARACTERS, MAX_BLOCKS))

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def shard_key(members: Mapping[str, bytes], salt: str) -> str:
    """Return the shard key of a request.

    Args:
        members: the request's top-level members, each with the JSON text of its value.
        salt: the request's cache salt, or the proxy's shared one.

    Raises:
        ContextLengthError: the prompt is too large.
        InvalidRequestError: a string among the members isn't valid JSON.
    """
    parts = [_content(name, members[name]) for name in CONTENT_MEMBERS if name in members]
    tokens = sum(map(len, parts)) // _TOKEN_BYTES
    if tokens > MAX_TOKENS:
        raise ContextLengthError(f"context too large: more than {MAX_TOKENS} tokens of {_TOKEN_BYTES} bytes")
    content = memoryview(b"".join(parts))
    link = hashlib.sha256(salt.encode()).digest()
    key = [link.hex()[:_SALT_HASH_CHARACTERS]]
    for start, end in _block_bounds(tokens):
        link = hashlib.sha256(link + content[start:end]).digest()
        key.append(_ALPHABET[link[-1] & 0x3F])
    return key[0] + ("-" + "".join(key[1:]) if key[1:] else "")


def read_shard_key(header: bytes | None) -> str | None:
    """Return the key that a header holds, None where it holds none of the right form."""
    return header.decode() if header is not None and _KEY.fullmatch(header) else None


def blocks_of(key: str) -> str:
    """Return a key without the part that is the salt's."""
    return key[_SALT_HASH_CHARACTERS + 1 :]


def common_length(one: str, other: str) -> int:
    """Return how many characters two keys have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _content(name: str, raw: bytes) -> bytes:
    text = bytes(raw)
    if not text.startswith(b'"'):
        return text
    try:
        string = json.loads(text.decode())
    except ValueError as error:
        raise InvalidRequestError(f"`{name}` isn't valid JSON.", param=name, code="invalid_json") from error
    try:
        return bytes(string.encode())
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", string).encode()


def _block_bounds(tokens: int) -> Iterator[tuple[int, int]]:
    """Return where each full block of a prompt with so many tokens starts and ends, in bytes."""
    start = 0
    for until, size in _BLOCKS:
        while (end := start + size) <= min(until, tokens):
            yield start * _TOKEN_BYTES, end * _TOKEN_BYTES
            start = end
