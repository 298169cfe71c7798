"""Errors in the form of the API that was asked: OpenAI's, Anthropic's or Ollama's."""

import msgspec

from privity.errors import ApiError
from privity.http import Headers, header
from privity.protocol.event_stream import encode_event


def encode_error(error: ApiError, path: str, headers: Headers = ()) -> bytes:
    """Return an error's JSON in the form of the API that a path, and where several share it, the headers belong to."""
    is_anthropics = f"{path}/".startswith("/v1/messages/")
    is_shared = f"{path}/".startswith("/v1/models/")
    if is_anthropics or (is_shared and speaks_anthropic(headers)):
        return msgspec.json.encode(error.anthropic_body())
    if path.startswith("/api/") and not path.startswith("/api/v0/"):
        return msgspec.json.encode(error.ollama_body())
    return msgspec.json.encode(error.body())


def speaks_anthropic(headers: Headers) -> bool:
    """Return whether a client is one of Anthropic's API (models-api.md item 8)."""
    return any(name in (b"anthropic-version", b"x-api-key") for name, _ in headers)


def error_event(error: ApiError, path: str) -> bytes:
    """Return an error as the last event of a stream."""
    return encode_event(encode_error(error, path), b"error")


def wants_events(headers: Headers) -> bool:
    """Return whether a client asks for an event stream."""
    return (header(headers, b"accept") or b"").strip().lower().startswith(b"text/event-stream")
