"""Answers that a client may have already (RFC 9110 section 13)."""

from privity.http import Headers
from privity.transport.web import JSON, NO_SNIFFING, Reply, Request

CACHING = [
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Authorization, X-Api-Key, Anthropic-Version"),
]
"""The list depends on the key, and its form on who asks."""


def is_known(request: Request, etag: str) -> bool:
    """Return whether the request's `If-None-Match` names an entity tag. Tags are compared weakly, as it wants."""
    given = b",".join(value for name, value in request.headers if name == b"if-none-match")
    return any(_names(each, etag) for each in given.decode("latin-1").split(","))


def _names(given: str, etag: str) -> bool:
    tag = given.strip().removeprefix("W/")
    return tag in ("*", etag)


def with_etag(body: bytes, etag: str, remarks: Headers = ()) -> Reply:
    """Return an answer that can be asked for again under a condition."""
    return Reply(200, [JSON, NO_SNIFFING, (b"etag", etag.encode()), *CACHING, *remarks], body)


def not_modified(etag: str, remarks: Headers = ()) -> Reply:
    """Return the answer to a client that has it already."""
    return Reply(304, [(b"etag", etag.encode()), *CACHING, *remarks], b"")
