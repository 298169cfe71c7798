"""What an app's plain request becomes before it leaves (wire-protocol.md sections 4 to 7)."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

import msgspec

from privity.errors import InvalidRequestError, PayloadTooLargeError
from privity.protocol.bodies import turn_fields
from privity.protocol.cache_salt import RANDOM_BYTES, check_salt, random_salt
from privity.protocol.ending import Ending
from privity.protocol.endpoints import Endpoint, Form
from privity.protocol.exchange import Random, Sealer
from privity.protocol.fields import Fields, check_model, read_model, scan
from privity.protocol.multipart import (
    BOUNDARY_BYTES,
    Part,
    as_boolean,
    content_type,
    in_order,
    parse_form,
    seal_form,
)
from privity.protocol.shard_key import CONTENT_MEMBERS, shard_key
from privity.roles.proxy.captions import RENDERINGS, Rendering

_TRUE = b"true"
_BOOLEANS = (None, b"null", b"false", _TRUE)
_FORMAT, _TIMES = "response_format", "timestamp_granularities[]"

MAX_FILE = 50 * 1024 * 1024
"""Bytes of a file in a form (wire-protocol.md section 9)."""

LARGE_FORM = 1024 * 1024
"""Bytes of a form from which on it is sent in pieces as they are written: encrypted it is more than twice as long."""

Body = bytes | AsyncIterator[bytes]
Seal = Callable[[Sealer, Ending, Random], tuple[bytes, Body]]
"""Returns the content type and the body with its values encrypted, and tells the ending what stays plain."""


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """An app's request, checked as far as the proxy checks it."""

    endpoint: Endpoint
    seal: Seal
    """May be called more than once, each time with another nonce."""
    model: str | None = None
    """The ID that it names; None where the endpoint knows no models."""
    streams: bool = False
    """Whether the answer must be an event stream."""
    wants_usage: bool = True
    """Whether a streamed answer may have an event for usage alone."""
    shard_key: str | None = None
    """What a gateway may know of the prompt's beginning; None where no cache salt is known."""
    rendering: Rendering | None = None
    """What is made of the answer for the app; None leaves it as it is."""


def read_request(
    endpoint: Endpoint, kind: bytes | None, body: bytes, shared_salt: str | None, random: Random
) -> PlainRequest:
    """Read and check an app's request.

    Args:
        endpoint: where it goes.
        kind: its content type.
        body: as the app sent it.
        shared_salt: the cache salt of requests that bring none of their own; None gives each one of its own.
        random: gives that many random bytes.

    Raises:
        InvalidRequestError: not what the endpoint takes, a repeated name, no model, or a cache salt that is too short.
        PayloadTooLargeError: a form's file is over `MAX_FILE`.
        ContextLengthError: the prompt is too large.
    """
    match endpoint.form:
        case Form.JSON:
            return _read_json(endpoint, body, shared_salt, random)
        case Form.MULTIPART:
            return _read_form(endpoint, kind, body)
        case Form.WHOLE:
            return _read_whole(endpoint, kind or b"application/octet-stream", body)


def _read_whole(endpoint: Endpoint, kind: bytes, body: bytes) -> PlainRequest:
    def seal(sealer: Sealer, ending: Ending, _random: Random) -> tuple[bytes, Body]:
        ending.plain("content-type", kind)  # it says how the body is cut
        return kind, sealer.seal(body)

    return PlainRequest(endpoint, seal)


def _read_json(endpoint: Endpoint, body: bytes, shared_salt: str | None, random: Random) -> PlainRequest:
    fields = scan(body)
    if fields.is_array:
        raise InvalidRequestError("The body must be a JSON object.", code="invalid_json")
    model = read_model(fields)
    if fields.get("stream") not in _BOOLEANS:
        raise InvalidRequestError("`stream` must be true or false.", param="stream", code="invalid_value")
    if endpoint.plain_request.issuperset(fields.names):
        raise InvalidRequestError(
            f"The body holds only {', '.join(fields.names)}: what the model is to work on is missing.",
            code="missing_parameter",
        )
    salt, key = _salted(fields, shared_salt, random) if endpoint.salted else (None, None)
    added = {} if salt is None else {"cache_salt": msgspec.json.encode(salt)}

    def seal(sealer: Sealer, ending: Ending, _random: Random) -> tuple[bytes, Body]:
        return b"application/json", turn_fields(fields, endpoint.plain_request, sealer.seal_all, ending, **added)

    return PlainRequest(endpoint, seal, model, fields.get("stream") == _TRUE, _wants_usage(fields), key)


def _salted(fields: Fields, shared_salt: str | None, random: Random) -> tuple[str | None, str | None]:
    """Return the salt that has to be added, if any, and the shard key, where a salt is known."""
    own = fields.get("cache_salt")
    known = check_salt(own) if own is not None else shared_salt
    if known is None:
        return random_salt(random(RANDOM_BYTES)), None
    content = {name: value for name, value in zip(fields.names, fields.values, strict=True) if name in CONTENT_MEMBERS}
    return known if own is None else None, shard_key(content, known)


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


def _wants_usage(fields: Fields) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    try:
        return bool(msgspec.json.decode(options, type=_StreamOptions).include_usage)
    except msgspec.DecodeError:
        return False  # null, or wrong: the inference proxy says what is wrong with it


def _read_form(endpoint: Endpoint, kind: bytes | None, body: bytes) -> PlainRequest:
    rendering, parts = _to_render(parse_form(body, kind))
    plain = {part.name: part.value for part in parts if not part.is_file and part.name in endpoint.plain_request}
    if "model" not in plain:
        raise InvalidRequestError(
            "The field `model` is missing: GET /v1/models lists the models.", param="model", code="missing_model"
        )
    model = check_model(plain["model"].decode(errors="replace"))
    if not any(part.is_file for part in parts):
        raise InvalidRequestError("The form has no file under `file`.", param="file", code="missing_parameter")
    if any(len(part.value) > MAX_FILE for part in parts if part.is_file):
        raise PayloadTooLargeError(f"The file is over the limit of {MAX_FILE} bytes.", param="file")
    streams = bool(as_boolean(plain.get("stream", b"")))
    if rendering is not None and streams:
        raise InvalidRequestError("Only `json` and `verbose_json` can be streamed.", param=_FORMAT)
    is_large = len(body) >= LARGE_FORM

    def seal(sealer: Sealer, ending: Ending, random: Random) -> tuple[bytes, Body]:
        boundary = random(BOUNDARY_BYTES).hex().encode()
        pieces = seal_form(parts, endpoint.plain_request, sealer, ending, boundary)
        return content_type(boundary), _each(pieces) if is_large else b"".join(pieces)

    return PlainRequest(endpoint, seal, model, streams, rendering=rendering)


def _to_render(parts: list[Part]) -> tuple[Rendering | None, list[Part]]:
    """Return what is to be made of the answer, and the form that asks for what that takes."""
    asked = [part.value.decode(errors="replace") for part in parts if part.name == _FORMAT and not part.is_file]
    rendering = RENDERINGS.get(asked[0]) if len(asked) == 1 else None
    if rendering is None:
        return None, parts
    kept = [part for part in parts if part.name not in (_FORMAT, _TIMES)]
    return rendering, in_order([*kept, Part(_FORMAT, rendering.asks_for), Part(_TIMES, b"segment")])


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
