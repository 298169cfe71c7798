"""Which endpoints are encrypted, and what of them stays plain (wire-protocol.md section 5)."""

from dataclasses import dataclass
from enum import Enum

MAX_DOCUMENT = 50 * 1024 * 1024
"""Bytes of an encrypted document's request (wire-protocol.md section 9)."""


class Form(Enum):
    """How a request's body is cut into values."""

    JSON = "application/json"
    """Each member of an object."""
    MULTIPART = "multipart/form-data"
    """Each field of a form, and each file."""
    WHOLE = "whole"
    """The body as it is, one value."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An encrypted endpoint."""

    path: str
    """One that ends in a slash stands for all below it."""
    form: Form = Form.JSON
    plain_request: frozenset[str] = frozenset({"model"})
    plain_answer: frozenset[str] = frozenset({"id", "usage"})
    salted: bool = False
    """Whether a request carries a `cache_salt`."""
    reports_usage: bool = False
    """Whether a streamed answer reports usage when `stream_options` asks for it."""
    id_prefix: str = ""
    """How the IDs of its answers begin."""
    anthropic: bool = False
    """Whether it is of Anthropic's API: streams end with `message_stop`, and errors have that form."""
    names_events: bool = False
    """Whether each event of a stream names the type that its data has."""


_GENERATION = frozenset({"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"})
_SPEECH = frozenset({"model", "stream", "stream_include_usage", "stream_continuous_usage_stats"})
_SAID = frozenset({"duration", "usage"})

ENDPOINTS = (
    Endpoint("/v1/chat/completions", plain_request=_GENERATION, salted=True, reports_usage=True, id_prefix="chatcmpl-"),
    Endpoint("/v1/completions", plain_request=_GENERATION, salted=True, reports_usage=True, id_prefix="cmpl-"),
    Endpoint("/v1/embeddings", id_prefix="embd-"),
    Endpoint(
        "/v1/messages",
        plain_request=frozenset({"model", "stream"}),
        plain_answer=frozenset({"id", "type", "usage"}),
        salted=True,
        id_prefix="msg_",
        anthropic=True,
        names_events=True,
    ),
    Endpoint("/v1/audio/transcriptions", Form.MULTIPART, plain_request=_SPEECH, plain_answer=_SAID),
    Endpoint("/unstructured/", Form.WHOLE, plain_request=frozenset(), plain_answer=frozenset()),
    # The deployed service knows nothing of those from here on: they are encrypted like their relatives.
    Endpoint(
        "/v1/responses",
        plain_request=frozenset({"model", "stream"}),
        salted=True,
        id_prefix="resp_",
        names_events=True,
    ),
    Endpoint("/v1/messages/count_tokens", plain_answer=frozenset(), anthropic=True),
    Endpoint("/v1/audio/translations", Form.MULTIPART, plain_request=_SPEECH, plain_answer=_SAID),
)


def endpoint_of(path: str) -> Endpoint | None:
    """Return the encrypted endpoint of a request's path; None where there is none."""
    for endpoint in ENDPOINTS:
        if path == endpoint.path or (endpoint.path.endswith("/") and path.startswith(endpoint.path)):
            return endpoint
    return None
