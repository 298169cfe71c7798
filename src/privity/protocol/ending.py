"""The authenticated end of a request and of its answer: an extension of Privity's (docs/adr/0008-authenticated-end.md).

The protocol authenticates each value at its place, but not that the last one was the last: whoever is on the way could
drop values from the end of a body, end a stream early with a made-up `[DONE]`, change what stays plain, or send a
request twice and mix the two answers. So the end is one more value of its direction: it can be opened only where as
many values were before it, and it holds a digest of their IVs, of their names, and of all that was plain. It travels
beside the body, where clients and deployments that don't know it find nothing in their way.
"""

import hashlib
import hmac

from privity.errors import DecryptionError
from privity.protocol.exchange import NONCE_BYTES, Opener, Random, Sealer
from privity.protocol.secret import Secret

HEADER = b"privity-end"
"""The header of a request, and of an answer that is not streamed, that holds the end."""

_TAG_BYTES = 4
"""Bytes of a nonce that say that its request has an end: a nonce without that meaning has them once in four billion."""

_TAG_CONTEXT = b"privity nonce of a request with an end"

COMMENT = b": " + HEADER + b" "
"""What the end of a stream stands behind: a comment, just before the last event."""

_MARK = b"privity-end:"
"""What makes the end's text no JSON, so that no value can pass for it, nor it for a value."""


class Ending:
    """Collects what is plain in one direction, then seals or checks the end.

    Args:
        context: what is neither plain nor encrypted and belongs to the direction all the same: the path of a request,
            the status of an answer.
    """

    def __init__(self, context: str) -> None:
        self._digest = hashlib.sha256()
        self._note(b"c%d:%b" % (len(context), context.encode()))

    def plain(self, name: str, value: bytes) -> None:
        """Take in a plain member with the bytes of its value."""
        written = name.encode()
        self._note(b"p%d:%b%d:%b" % (len(written), written, len(value), value))

    def sealed(self, name: str, *, is_file: bool = False) -> None:
        """Take in the name of the next encrypted value, which its encryption does not cover."""
        written = name.encode()
        self._note(b"%b%d:%b" % (b"f" if is_file else b"s", len(written), written))

    def array(self) -> None:
        """Take in that the next values are an array's elements: an object could name its members by their indices."""
        self._note(b"a")

    def event(self, event_type: bytes) -> None:
        """Take in the type of a stream's next event."""
        self._note(b"e%d:%b" % (len(event_type), event_type))

    def _note(self, text: bytes) -> None:
        """Take in a note that begins with its kind and holds the length of each of its texts."""
        self._digest.update(text)

    def seal(self, sealer: Sealer) -> bytes:
        """Return the end, after the last value."""
        return sealer.seal(self._text(sealer))

    def check(self, opener: Opener, message: bytes | None) -> None:
        """Check the end.

        Raises:
            DecryptionError: it is missing, values before it are, or something plain was altered.
        """
        if message is None:
            raise DecryptionError("the end is missing")
        expected = self._text(opener)
        if not hmac.compare_digest(opener.open(message), expected):
            raise DecryptionError("what is plain was altered on its way, or two answers were mixed")

    def _text(self, direction: Sealer | Opener) -> bytes:
        digest = self._digest.copy()
        digest.update(direction.transcript.digest())
        return _MARK + digest.hexdigest().encode()


def announcing_nonce(secret: Secret, random: Random) -> bytes:
    """Return a nonce that says that its request has an end: all values are bound to it, so nobody can change that."""
    fresh = random(NONCE_BYTES - _TAG_BYTES)
    return fresh + _tag(secret, fresh)


def announces_end(secret: Secret, nonce: bytes) -> bool:
    """Return whether a request with this nonce must have an end."""
    fresh, tag = nonce[:-_TAG_BYTES], nonce[-_TAG_BYTES:]
    return hmac.compare_digest(tag, _tag(secret, fresh))


def _tag(secret: Secret, fresh: bytes) -> bytes:
    return hmac.digest(secret.key, _TAG_CONTEXT + fresh, "sha256")[:_TAG_BYTES]


def as_comment(end: bytes) -> bytes:
    """Return the end as it stands in an event stream: a comment."""
    return COMMENT + end + b"\n\n"


def from_comments(comments: list[bytes]) -> bytes | None:
    """Return the end among the comments of an event stream; None where it is not there."""
    for comment in comments:
        if comment.startswith(COMMENT):
            return comment.removeprefix(COMMENT)
    return None
