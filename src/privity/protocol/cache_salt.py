"""Cache salts (wire-protocol.md section 6): only requests with the same salt share an engine's prefix cache."""

import base64

import msgspec

from privity.errors import InvalidRequestError

MIN_CHARACTERS = 32
"""Characters of a salt: who can't guess it can't probe another's prompts by how fast an answer begins."""

RANDOM_BYTES = 32
"""Bytes of randomness in a salt of our own: 44 characters in base64."""


def random_salt(random: bytes) -> str:
    """Return the salt that 32 random bytes make, in standard base64."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a salt is made from {RANDOM_BYTES} bytes")
    return base64.b64encode(random).decode()


def check_salt(raw: bytes) -> str:
    """Return the salt that a request's `cache_salt` holds, given as the JSON text of its value.

    Not checked: that it is hard to guess.

    Raises:
        InvalidRequestError: not a string of at least 32 characters, all of them valid Unicode.
    """
    try:
        salt = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError("`cache_salt` must be a string.", param="cache_salt", code="invalid_value") from error
    if len(salt) < MIN_CHARACTERS:
        raise InvalidRequestError(
            f"`cache_salt` must have at least {MIN_CHARACTERS} characters.", param="cache_salt", code="invalid_value"
        )
    return salt
