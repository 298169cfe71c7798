"""Requests to an engine and its answers in JSON, with its errors turned into ours."""

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec

from privity.engines.engine import Body, Json
from privity.errors import (
    ApiError,
    ContextLengthError,
    EngineFailedError,
    EngineTimeoutError,
    InvalidRequestError,
    PayloadTooLargeError,
    UnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from privity.http import HttpClient, Response, header
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.multipart import BOUNDARY_BYTES, content_type, encode_form
from privity.streams import Stream, owning

MAX_ANSWER = 128 * 1024 * 1024
"""Bytes of a whole answer (wire-protocol.md section 9)."""

MAX_DESCRIPTION = 16 * 1024 * 1024
"""Bytes of an answer about the engine itself: vLLM's OpenAPI document, the largest known, has under 2 MB."""

DESCRIBE_TIMEOUT = 1.0
"""Seconds for a question about the engine itself: it must leave the list within 5 s when it hangs."""

T = TypeVar("T")

_JSON = (b"content-type", b"application/json")
_PROMPT_OF_ENDPOINT = {
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/responses": "input",
    "/v1/audio/transcriptions": "file",
    "/v1/audio/translations": "file",
}
_LAST_EVENTS_OF_ENDPOINT = {
    "/v1/messages": ("message_stop",),
    "/v1/responses": ("response.completed", "response.incomplete"),
}
"""The types of events that end a stream, where that is not `[DONE]`."""

_FAILURES = ("error", "response.failed")
"""The types of events that say that an engine failed, besides those with a member `error`."""


class StatusError(Exception):
    """What an engine refused with: the cause of the error that a client is told, which hides the engine's words."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The engine answers with status {status}.")
        self.status = status


class EngineConnection:
    """One engine's base URL, and how to talk to it.

    Args:
        http: who sends.
        base_url: without a trailing slash, and without `/v1`.
        answer_timeout: seconds until an answer must begin.
    """

    def __init__(self, http: HttpClient, base_url: str, answer_timeout: float) -> None:
        self._http = http
        self._base_url = base_url
        self.answer_timeout = answer_timeout

    async def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, bytes]:
        """Ask the engine about itself; return the status and the answer's bytes.

        Raises:
            UpstreamError: no answer.
        """
        sent = b"" if body is None else msgspec.json.encode(body)
        try:
            async with asyncio.timeout(DESCRIBE_TIMEOUT):
                response = await self._http.request(
                    method, self._base_url + path, headers=[_JSON], body=sent, head_timeout=DESCRIBE_TIMEOUT
                )
                async with response:
                    return response.status, await response.read(MAX_DESCRIPTION)
        except TimeoutError as error:
            raise UpstreamTimeoutError(path) from error

    async def ask_for(self, kind: type[T], method: str, path: str, body: Json | None = None) -> T:
        """Ask the engine about itself; return the answer as `kind`, a msgspec type.

        Raises:
            UpstreamError: no answer, or one of another form.
        """
        status, answer = await self.ask(method, path, body)
        if status != 200:
            raise UpstreamProtocolError(f"{path} gives status {status}")
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamProtocolError(f"{path} gives an answer that isn't understood") from error

    async def call(self, path: str, body: Body) -> Json:
        """Send a request and return the JSON object of its answer.

        Raises:
            ApiError: the engine refuses it, or fails.
        """
        response = await self._send(path, body)
        try:
            async with response:
                answer = msgspec.json.decode(await response.read(MAX_ANSWER))
        except UpstreamError as error:
            raise api_error(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise EngineFailedError("The engine's answer isn't valid.") from error
        if not isinstance(answer, dict):
            raise EngineFailedError("The engine's answer isn't valid.")
        if answer.get("error"):
            raise EngineFailedError("The engine could not carry out the request.")
        return answer

    async def events(self, path: str, body: Body) -> Stream[Json]:
        """Send a request; once its answer has begun, return the JSON objects of its events.

        Raises:
            ApiError: the engine refuses it, or fails; also out of the events.
        """
        response = await self._send(path, body)
        kind = header(response.headers, b"content-type") or b""
        if not kind.startswith(b"text/event-stream"):
            async with response:
                raise EngineFailedError("The engine doesn't stream its answer.")
        return _events(response, _LAST_EVENTS_OF_ENDPOINT.get(path, ()))

    async def _send(self, path: str, body: Body) -> Response:
        kind, sent = _encoded(body)
        try:
            response = await self._http.request(
                "POST",
                self._base_url + path,
                headers=[kind],
                body=sent,
                head_timeout=self.answer_timeout,
            )
            if response.status < 400:
                return response
            async with response:
                refusal = await response.read(MAX_ANSWER)
        except UpstreamError as error:
            raise api_error(error) from error
        refused = _refusal(response.status, refusal, _PROMPT_OF_ENDPOINT.get(path, "messages"))
        raise refused from StatusError(response.status)


def _encoded(body: Body) -> tuple[tuple[bytes, bytes], bytes]:
    """Return a request's content type and its bytes."""
    if isinstance(body, dict):
        return _JSON, msgspec.json.encode(body)
    boundary = os.urandom(BOUNDARY_BYTES).hex().encode()
    return (b"content-type", content_type(boundary)), encode_form(body, boundary)


@owning
async def _events(response: Response, last_types: tuple[str, ...]) -> AsyncGenerator[Json]:
    parser = EventStreamParser()
    try:
        async for chunk in response.chunks():
            for event in parser.feed(chunk):
                if event.data is None:
                    continue
                if event.data == b"[DONE]" and not last_types:
                    return
                value = _event_object(event.data)
                yield value
                if value.get("type") in last_types:
                    return
    except UpstreamError as error:
        raise api_error(error) from error
    raise EngineFailedError("The engine broke off its answer.")


def _event_object(data: bytes) -> Json:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EngineFailedError("The engine sent an event that isn't valid.") from error
    if not isinstance(value, dict) or "error" in value or value.get("type") in _FAILURES:
        raise EngineFailedError("The engine failed in the middle of its answer.")
    return value


class _Refusal(msgspec.Struct):
    type: str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _RefusalBody(msgspec.Struct):
    error: _Refusal


def _refusal(status: int, body: bytes, prompt: str) -> ApiError:
    """Return our error for the engine's; none of its text goes on, since it names the engine's inner parts."""
    match status:
        case 400 | 422:
            return _invalid(body, prompt)
        case 408 | 504:
            return EngineTimeoutError("The engine took too long.")
        case 413:
            return PayloadTooLargeError("The engine says that the request is too large.")
        case 429 | 503:
            return UnavailableError("The engine is busy or still loading.")
        case _:
            return EngineFailedError("The engine could not carry out the request.")


def _invalid(body: bytes, prompt: str) -> ApiError:
    try:
        refusal = msgspec.json.decode(body, type=_RefusalBody).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        refusal = _Refusal()
    if refusal.type == "exceed_context_size_error":
        numbers = f": {refusal.n_prompt_tokens} tokens, of {refusal.n_ctx}" if refusal.n_prompt_tokens else ""
        return ContextLengthError(f"The request is longer than the model's context{numbers}.", param=prompt)
    return InvalidRequestError("The engine refuses this request as invalid. Check its parameters.")


def api_error(error: UpstreamError, what: str = "model's engine") -> ApiError:
    """Return what a client is told about an engine, or `what` it is, that can't be talked to."""
    match error:
        case UpstreamUnreachableError():
            return UnavailableError(f"The {what} is not running at the moment.")
        case UpstreamTimeoutError():
            return EngineTimeoutError(f"The {what} did not begin its answer in time.")
        case _:
            return EngineFailedError(f"The {what} broke off its answer.")
