"""IDs of requests (wire-protocol.md section 2; RFC 9562 section 5.7)."""

import re
import uuid

RANDOM_BYTES = 10
"""Bytes of randomness that a UUID of version 7 is made from; 74 of their bits are used."""

MAX_CHARACTERS = 64
"""Characters of an ID from outside that are logged."""

_UNEXPECTED = re.compile(r"[^A-Za-z0-9._-]")


def uuid7(milliseconds: int, random: bytes) -> str:
    """Return a UUID of version 7, which sorts by time.

    Args:
        milliseconds: Unix time.
        random: `RANDOM_BYTES` bytes.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a UUID is made from {RANDOM_BYTES} random bytes")
    bits = int.from_bytes(random, "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | bits
    value = value & ~(0xF << 76) | 0x7 << 76  # the version
    value = value & ~(0x3 << 62) | 0x2 << 62  # the variant
    return str(uuid.UUID(int=value))


def loggable(text: str) -> str:
    """Return an ID that came from outside as it may be logged: short, and of harmless characters."""
    return _UNEXPECTED.sub("?", text[:MAX_CHARACTERS])
