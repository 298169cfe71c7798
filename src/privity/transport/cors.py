"""Cross-origin resource sharing: which web pages may read our answers (models-api.md item 9; fetch.spec.whatwg.org).

Off unless origins are listed. An origin that isn't listed gets not a single header: its browser keeps the answer from
it. No page may use credentials that the browser holds: an app's key is in its own `Authorization`.

Not checked: that a request may be answered at all; `privity.roles.proxy.guard` refuses pages of other origins before.
"""

import re
from collections.abc import Collection, Iterable

from privity.errors import StartError
from privity.http import Headers, header

MAX_AGE = 600
"""Seconds for which a browser remembers a preflight's answer: Chromium's own most is 7200, Safari's 600."""

ALLOWED_HEADERS = frozenset(
    {
        b"accept",
        b"anthropic-beta",
        b"anthropic-dangerous-direct-browser-access",
        b"anthropic-version",
        b"authorization",
        b"cache-control",
        b"content-type",
        b"idempotency-key",
        b"if-none-match",
        b"last-event-id",
        b"openai-beta",
        b"openai-organization",
        b"openai-project",
        b"user-agent",
        b"x-api-key",
        b"x-request-id",
    }
)
"""What a page may send: what OpenAI's, Anthropic's and Ollama's clients send in browsers, and what our lists know."""

ALLOWED_PREFIX = b"x-stainless-"
"""The same two vendors' clients describe themselves in many headers under this."""

EXPOSED_HEADERS = (
    *(b"etag", b"retry-after", b"x-request-id", b"deprecation", b"sunset", b"link"),
    *(b"privity-health", b"privity-models-dropped"),
)
"""What a page may read besides what it always may."""

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
_DEFAULT_PORTS = {"http": 80, "https": 443}

_OURS = (b"vary", b"access-control-allow-origin")
"""What an answer has once: two values of the second are none to a browser."""

_EXPOSED = (b"access-control-expose-headers", b", ".join(EXPOSED_HEADERS))
_MAX_AGE = (b"access-control-max-age", str(MAX_AGE).encode())
_PREFLIGHT_VARY = (
    b"vary",
    b"access-control-request-method, access-control-request-headers, access-control-request-private-network",
)


class Cors:
    """Knows which origins are listed, and what their browsers want to read.

    Args:
        origins: as `https://app.example`, in any case.

    Raises:
        StartError: not an origin. `*` and `null` are none: any page can have them.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self.allow(origins)

    def allow(self, origins: Collection[str]) -> None:
        """List other origins from now on. Raises `StartError`; then those from before stay."""
        self._origins = frozenset(_checked(each) for each in origins)

    def preflight(self, headers: Headers, methods: Iterable[str]) -> Headers | None:
        """Return the headers of a preflight's answer, to which `shared` still has to be applied.

        Args:
            headers: of a request with the method OPTIONS.
            methods: what its path takes.

        Returns:
            None where it isn't a preflight, or where its origin isn't listed.
        """
        if self._origin(headers) is None or header(headers, b"access-control-request-method") is None:
            return None
        answer = [(b"access-control-allow-methods", ", ".join(methods).encode()), _MAX_AGE, _PREFLIGHT_VARY]
        if allowed := b", ".join(_allowed(header(headers, b"access-control-request-headers") or b"")):
            answer.append((b"access-control-allow-headers", allowed))
        if header(headers, b"access-control-request-private-network") == b"true":
            answer.append((b"access-control-allow-private-network", b"true"))
        return answer

    def shared(self, headers: Headers, answer: Headers) -> Headers | None:
        """Return an answer's headers with those that let the page read it.

        Args:
            headers: of the request.
            answer: the answer's headers so far.

        Returns:
            None where the request came from no page, or its origin isn't listed: then nothing is added.
        """
        origin = self._origin(headers)
        if origin is None:
            return None
        varied = [value for name, value in answer if name == b"vary"]
        others = [each for each in answer if each[0] not in _OURS]
        return [*others, (b"access-control-allow-origin", origin), _EXPOSED, (b"vary", _with_origin(varied))]

    def _origin(self, headers: Headers) -> bytes | None:
        """Return the request's origin where it is listed, letter by letter: that is how browsers compare it."""
        origin = header(headers, b"origin")
        return origin if origin is not None and origin.lower() in self._origins else None


def origin_of(text: str) -> str | None:
    """Return a web page's origin as browsers write it: in lower case, without its default port; None where it is none.

    `*` and `null` are none: any page can have them.
    """
    match = _ORIGIN.fullmatch(text.lower().rstrip("/"))
    if match is None or int(match["port"] or 0) > 65535:
        return None
    is_default = match["port"] is None or int(match["port"]) == _DEFAULT_PORTS.get(match["scheme"])
    return f"{match['scheme']}://{match['host']}" + ("" if is_default else f":{int(match['port'])}")


def _checked(text: str) -> bytes:
    origin = origin_of(text)
    if origin is None:
        raise StartError(f"{text!r} is not a web page's origin.", "Give it as https://app.example.")
    return origin.encode()


def _allowed(requested: bytes) -> list[bytes]:
    """Return those of the requested names that a page may send."""
    names = [each.strip().lower() for each in requested.split(b",")]
    return [each for each in names if each in ALLOWED_HEADERS or _is_described(each)]


def _is_described(name: bytes) -> bool:
    return name.startswith(ALLOWED_PREFIX) and re.fullmatch(rb"[a-z0-9-]+", name) is not None


def _with_origin(varied: list[bytes]) -> bytes:
    """Return the value of one `Vary` for all: what the answer said so far, and that it depends on the origin."""
    names = [name.strip() for value in varied for name in value.split(b",") if name.strip()]
    if b"*" in names:
        return b"*"
    lowered = {name.lower() for name in names}
    return b", ".join(names if b"origin" in lowered else [*names, b"origin"])
