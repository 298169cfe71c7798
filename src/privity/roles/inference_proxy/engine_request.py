"""A decrypted request, checked, and what the engine gets of it."""

from dataclasses import dataclass, field

import msgspec

from privity.engines.engine import METERED, Body, Json
from privity.errors import EngineFailedError, InvalidRequestError, RouteNotFoundError
from privity.protocol.cache_salt import check_salt
from privity.protocol.endpoints import Endpoint, Form, endpoint_of
from privity.protocol.fields import Fields, read_object, scan
from privity.protocol.multipart import Part
from privity.roles.inference_proxy import embeddings
from privity.roles.inference_proxy.media import media_kinds
from privity.roles.inference_proxy.requests import check_request
from privity.roles.inference_proxy.transcription import check_form, engine_form

MAX_TOKENS = 2_000_000
"""Commas and opening brackets of a JSON request, each of which costs some fifty bytes: thousands of token arrays."""

_RESPONSES = "/v1/responses"
_CHATS = ("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", _RESPONSES)
_READ = ("model", "stream", "stream_options", "dimensions", "encoding_format")
"""Members that Privity or an engine's adapter reads; all others reach the engine as the client wrote them."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A valid request."""

    model: str
    """The ID that the client asks for."""
    endpoint: Endpoint
    body: Body
    media: frozenset[str] = frozenset()
    """The kinds of its content parts that are no text."""
    uses_tools: bool = False
    values: Json = field(default_factory=dict)
    """The members of a JSON request."""

    @property
    def prompt(self) -> str:
        """The member that has its content parts."""
        return "input" if self.endpoint.path == _RESPONSES else "messages"

    @property
    def turns(self) -> int:
        """How many messages or other items its prompt has."""
        turns = self.values.get(self.prompt)
        return len(turns) if isinstance(turns, list) else 0

    def for_engine(self, name: str) -> Body:
        """Return what the engine gets that calls the model `name`."""
        if not isinstance(self.body, dict):
            return engine_form(self.body, name)
        sent = self.body | {"model": name}
        if self.endpoint.path == embeddings.PATH:
            return embeddings.engine_request(sent)
        if self.endpoint.path == _RESPONSES:
            sent["store"] = False  # absent means true to an engine that can store
        if self.endpoint.reports_usage and self.values.get("stream"):  # plain, for the gateway (wire-protocol.md 6)
            sent["stream_options"] = (self.values.get("stream_options") or {}) | METERED
        return sent

    def shaped(self, answer: Json) -> Json:
        """Return the engine's whole answer as the request wants it. Raises `ApiError` where that can't be."""
        if "type" in self.endpoint.plain_answer and answer.get("type") != "message":  # it stays plain
            raise EngineFailedError("The engine's answer isn't a message.")
        return embeddings.shaped(answer, self.values) if self.endpoint.path == embeddings.PATH else answer


def read_request(path: str, content: bytes | list[Part]) -> EngineRequest:
    """Check a decrypted request.

    Args:
        path: an encrypted endpoint's.
        content: the body; a form's parts.

    Raises:
        InvalidRequestError: it isn't one that an engine may see; `param` names the member.
        RouteNotFoundError: no such endpoint.
    """
    endpoint = endpoint_of(path)
    if endpoint is None or endpoint.form is Form.WHOLE:
        raise RouteNotFoundError("There is no such endpoint here.")
    if not isinstance(content, bytes):
        return EngineRequest(check_form(content), endpoint, content)
    if content.count(b",") + content.count(b"{") + content.count(b"[") > MAX_TOKENS:
        raise InvalidRequestError("The body has too many members and elements.", code="too_many_members")
    fields = scan(content)
    values = read_object(content)
    check_request(path, values)
    if endpoint.salted:
        _check_salt(fields)
    exact: Json = {name: msgspec.Raw(value) for name, value in zip(fields.names, fields.values, strict=True)}
    exact |= {name: values[name] for name in _READ if name in values}
    is_chat = path in _CHATS
    return EngineRequest(
        values["model"],
        endpoint,
        exact,
        media=frozenset(media_kinds(values) if is_chat else ()),
        uses_tools=is_chat and bool(values.get("tools")),
        values=values,
    )


def _check_salt(fields: Fields) -> None:
    salt = fields.get("cache_salt")
    if salt is None:
        raise InvalidRequestError(
            "The member `cache_salt` is missing: a proxy adds it where an app doesn't.",
            param="cache_salt",
            code="missing_parameter",
        )
    check_salt(salt)
