"""Invariant: no byte string other than the sealed one opens at its place."""

import atheris

with atheris.instrument_imports(include=["privity"]):
    from privity.errors import DecryptionError
    from privity.protocol.exchange import Opener, Sealer, addressed_to
    from privity.protocol.secret import Secret

from fuzz.harness import fuzz

SECRET = Secret("+SlaBFgCt6GIc9pC+NvbH7zo94yKQqa3Wop9nXBihvc=", bytes(range(32)))
NONCE = bytes(range(12))
VALUES = (b"", b'"a"', b'[{"role":"user","content":"hi"}]')


def _sealed() -> list[bytes]:
    sealer = Sealer(SECRET, NONCE, bytes)
    return [sealer.seal(value) for value in VALUES]


SEALED = _sealed()


def mutated(data: bytes, message: bytes) -> bytes:
    """Return a message with some bytes replaced: each instruction is a place, a length, and how many bytes follow."""
    while len(data) >= 3:
        place, dropped, size = data[0] % (len(message) + 1), data[1] % 8, data[2] % 8
        message = message[:place] + data[3 : 3 + size] + message[place + dropped :]
        data = data[3 + size :]
    return message


def one_input(data: bytes) -> None:
    """Check the invariant for one input: its first byte says at which place, and whether the rest is a mutation."""
    if not data:
        return
    place = data[0] % len(SEALED)
    message = data[1:] if data[0] & 0x80 else mutated(data[1:], SEALED[place])
    opener = Opener(SECRET, NONCE)
    for before in SEALED[:place]:
        opener.open(before)
    try:
        value = opener.open(message)
    except DecryptionError:
        if message == SEALED[place]:
            raise
    else:
        if message != SEALED[place] or value != VALUES[place]:
            raise AssertionError(f"{message!r} opens")
    try:
        secret_id, nonce = addressed_to(message)
    except DecryptionError:
        return
    if not message.startswith(b'"%b:%b:' % (secret_id.encode(), nonce.hex().encode())):
        raise AssertionError("a message is addressed to somebody else")


if __name__ == "__main__":
    whole = [bytes([0x80 + (place - 0x80) % len(SEALED)]) + message for place, message in enumerate(SEALED)]
    fuzz(one_input, [*whole, b"\0", b"\1\x60\1\1a", b"\2\0\0\1 "])
