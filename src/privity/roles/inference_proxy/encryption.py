"""Requests decrypted, and answers encrypted (wire-protocol.md sections 4 and 5).

A request is decrypted as a whole before its answer can be encrypted: no value of it can come after one of the answer.
"""

import os
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from privity.engines.engine import Json
from privity.errors import ApiError, DecryptionError, EngineFailedError, InvalidRequestError, NotEncryptedError
from privity.http import Headers, header
from privity.protocol import ending as ends
from privity.protocol.bodies import seal_object, turn_fields
from privity.protocol.ending import Ending
from privity.protocol.endpoints import Endpoint, Form
from privity.protocol.event_stream import encode_event
from privity.protocol.exchange import Opener, Random, Sealer, addressed_to
from privity.protocol.fields import Fields, scan
from privity.protocol.multipart import Part, parse_form, turn_parts
from privity.protocol.routed_model import MEANS, decode_id
from privity.protocol.secret import Secret
from privity.streams import Stream, owning

_DONE = b"data: [DONE]\n\n"
_LAST_ANTHROPIC_EVENT = b"message_stop"
_EVENT_TYPE = re.compile(r"[a-z_.]{1,64}")
_MESSAGE = b"message"
"""The type of events that name none (HTML Living Standard, section 9.2)."""

MAX_QUOTES = 20_000
"""Quotation marks of an encrypted JSON body. Each member has four, and thousands of small members, unlike a few large
ones, cost many times their bytes."""

ID_BYTES = 16
"""Random bytes of an answer's ID."""

Content = bytes | list[Part]
_Form = Fields | list[Part] | bytes
"""A body as it is encrypted."""


class SecretSource(Protocol):
    """Where secrets come from."""

    async def find(self, secret_id: str) -> Secret:
        """Return the secret of an ID that a client sent.

        Raises:
            UnknownSecretError: there is none.
            UnavailableError: nobody can say.
        """


class AnswerSeal:
    """Encrypts one answer. Its `id` stays plain, so it is ours: engines put texts of the request into theirs.

    Args:
        endpoint: whose answer it is.
        sealer: of the request's secret and nonce.
        answer_id: what the answer, and each of its events, is known by.
        with_end: whether the answer carries its authenticated end: the request carried one.
    """

    def __init__(self, endpoint: Endpoint, sealer: Sealer, answer_id: str, *, with_end: bool) -> None:
        self._endpoint = endpoint
        self._sealer = sealer
        self._with_end = with_end
        self._id = answer_id
        self.names_events = endpoint.names_events

    def whole(self, status: int, answer: Json) -> tuple[Headers, bytes]:
        """Return an answer that is all there: the headers that belong to its encryption, and its body."""
        ending = Ending(str(status))
        body = self._object(answer, ending)
        return self._end_header(ending), body

    def exact(self, status: int, answer: bytes) -> tuple[Headers, bytes]:
        """Return an answer's JSON text as `whole` does an object; its values keep their bytes, and none stays plain.

        Raises:
            InvalidRequestError: it isn't valid JSON.
        """
        ending = Ending(str(status))
        body = turn_fields(scan(answer), (), self._sealer.seal_all, ending)
        return self._end_header(ending), body

    def error(self, error: ApiError, *, as_event: bool) -> tuple[Headers, bytes]:
        """Return an error as `whole` does; it may be the one event of a stream."""
        if not as_event:
            return self.whole(error.status, self._error(error))
        ending = Ending(str(error.status))
        body = self.event(self._error(error), ending, b"error")
        return self._end_header(ending), body

    def error_event(self, error: ApiError) -> bytes:
        """Return an error as the last event of a stream that has begun: it needs no other end."""
        return self.event(self._error(error), Ending(""), b"error")

    def events(self, status: int, events: Stream[Json]) -> Stream[bytes]:
        """Return a stream's events, with its end; an error among them becomes the last event."""
        ending = Ending(str(status))
        return _anthropic(events, self, ending) if self._endpoint.anthropic else _openai(events, self, ending)

    def event(self, value: Json, ending: Ending, event_type: bytes | None = None) -> bytes:
        """Return the bytes of one event."""
        ending.event(event_type or _MESSAGE)
        return encode_event(self._object(value, ending), event_type)

    def end(self, ending: Ending) -> bytes:
        """Return the end of a stream, after its last value."""
        return ends.as_comment(ending.seal(self._sealer)) if self._with_end else b""

    def _end_header(self, ending: Ending) -> Headers:
        return [(ends.HEADER, ending.seal(self._sealer))] if self._with_end else []

    def _object(self, value: Json, ending: Ending) -> bytes:
        if "id" in value and "id" in self._endpoint.plain_answer:
            value["id"] = self._id
        return seal_object(value, self._endpoint.plain_answer, self._sealer.seal_all, ending)

    def _error(self, error: ApiError) -> Json:
        return error.anthropic_body() if self._endpoint.anthropic else error.body()


def _type_of(event: Json) -> bytes:
    """Return the type that an event's data names. Raises `EngineFailedError` where that is none."""
    event_type = event.get("type")
    if not isinstance(event_type, str) or _EVENT_TYPE.fullmatch(event_type) is None:
        raise EngineFailedError("The engine sent an event of no known kind.")
    return event_type.encode()


@owning
async def _openai(events: Stream[Json], seal: AnswerSeal, ending: Ending) -> AsyncGenerator[bytes]:
    try:
        async for value in events:
            yield seal.event(value, ending, _type_of(value) if seal.names_events else None)
    except ApiError as error:
        yield seal.error_event(error)
        return
    yield seal.end(ending) + _DONE


@owning
async def _anthropic(events: Stream[Json], seal: AnswerSeal, ending: Ending) -> AsyncGenerator[bytes]:
    try:
        async for value in events:
            event_type = _type_of(value)
            event = seal.event(value, ending, event_type)
            yield seal.end(ending) + event if event_type == _LAST_ANTHROPIC_EVENT else event
    except ApiError as error:
        yield seal.error_event(error)


@dataclass(frozen=True, slots=True)
class OpenedRequest:
    """A request that was encrypted."""

    content: Content
    """The body, or a form's parts."""
    seal: AnswerSeal
    is_sure: bool
    """Whether it carries its authenticated end: whoever sent it verifies lists, and takes nobody's word for a name."""
    means: str | None = None
    """The canonical ID that the model's name has in the sender's list."""


class SealedRequest:
    """A request whose address was read: the secret and the nonce that its first encrypted value names.

    Args:
        endpoint: an encrypted endpoint.
        path: the request's.
        headers: the request's.
        body: the request's.

    Raises:
        InvalidRequestError: it isn't a body of the endpoint's form, or (`NotEncryptedError`) holds no encrypted value.

    Attributes:
        size: the body's bytes.
        secret_id: of the secret.
    """

    def __init__(self, endpoint: Endpoint, path: str, headers: Headers, body: bytes) -> None:
        self.size = len(body)
        self._endpoint = endpoint
        self._path = path
        self._end = header(headers, ends.HEADER)
        self._means = header(headers, MEANS)
        self._kind = header(headers, b"content-type") or b""
        self._form = _read(endpoint.form, headers, body)
        try:
            self.secret_id, self._nonce = addressed_to(_first_value(self._form, endpoint))
        except DecryptionError as error:
            raise _not_encrypted() from error

    def open(self, secret: Secret, random: Random = os.urandom) -> OpenedRequest:
        """Decrypt it; `random` gives that many random bytes for what encrypts the answer.

        Raises:
            NotEncryptedError: one of its values is not encrypted, or not with this secret and this nonce, or not
                authentic at its place; or its end isn't authentic, or was taken away.
        """
        opener = Opener(secret, self._nonce)
        ending = Ending(self._path)
        if self._means is not None:
            ending.plain(MEANS.decode(), self._means)
        try:
            content = self._opened(opener, ending)
            if self._end is not None or ends.announces_end(secret, self._nonce):
                ending.check(opener, self._end)
        except DecryptionError as error:
            raise _not_encrypted() from error
        sealer = Sealer(secret, self._nonce, random)
        answer_id = self._endpoint.id_prefix + random(ID_BYTES).hex()
        seal = AnswerSeal(self._endpoint, sealer, answer_id, with_end=self._end is not None)
        if self._end is None:  # then nobody vouches for what the header says either
            return OpenedRequest(content, seal, is_sure=False)
        means = None if self._means is None else decode_id(self._means)
        return OpenedRequest(content, seal, is_sure=True, means=means)

    def _opened(self, opener: Opener, ending: Ending) -> Content:
        match self._form:
            case Fields() as fields:
                return turn_fields(fields, self._endpoint.plain_request, opener.open_all, ending)
            case bytes() as whole:
                ending.plain("content-type", self._kind)  # it says how the body is cut
                return opener.open(whole)
            case parts:
                return turn_parts(parts, self._endpoint.plain_request, opener.open_all, ending)


def _read(form: Form, headers: Headers, body: bytes) -> _Form:
    match form:
        case Form.JSON:
            _check_is_flat(body)
            return scan(body)
        case Form.MULTIPART:
            return parse_form(body, header(headers, b"content-type"))
        case Form.WHOLE:
            return body


def _check_is_flat(body: bytes) -> None:
    """Refuse what would take many times its bytes to cut apart: nobody is known to have a secret yet."""
    if not body.lstrip(b" \t\r\n").startswith(b"{"):
        raise InvalidRequestError("The body must be a JSON object.", code="invalid_json")
    if body.count(b'"') > MAX_QUOTES or body.count(b",") + body.count(b"{") + body.count(b"[") > MAX_QUOTES:
        raise InvalidRequestError("The body has too many members.", code="too_many_members")


def _first_value(form: _Form, endpoint: Endpoint) -> bytes:
    """Return the first value that must be encrypted; nothing where there is none."""
    plain = endpoint.plain_request
    match form:
        case Fields(is_array=True):
            values = iter(form.values)
        case Fields():
            values = (value for name, value in zip(form.names, form.values, strict=True) if name not in plain)
        case bytes():
            return form
        case _:
            values = (part.value for part in form if part.is_file or part.name not in plain)
    return next(values, b"")


def _not_encrypted() -> NotEncryptedError:
    return NotEncryptedError(
        "The request isn't encrypted for this deployment, or was altered on its way: send it through `privity proxy`."
    )
