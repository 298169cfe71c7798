"""OpenAI's transcription API for one model, on bare ASGI. Its only client is the inference proxy that started it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import msgspec

from privity.engines.embedded.whisper.answers import Segment, Transcription, delta, done, text_of, whole
from privity.engines.embedded.whisper.task import ENDPOINTS, Task, read_task
from privity.engines.engine import Json
from privity.errors import ApiError, ClientGoneError, PayloadTooLargeError, RouteNotFoundError, UnavailableError
from privity.protocol.event_stream import encode_event
from privity.protocol.multipart import parse_form

MAX_FORM: Final = 64 * 1024 * 1024
"""Bytes of a form: half of what a request has on the wire, where files are written in hex."""

MAX_UNDER_WAY: Final = 8
"""Requests that are worked on or wait, each with its form in memory."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream")


class Model(Protocol):
    """What hears. It is called on one thread, which is not the event loop's."""

    languages: tuple[str, ...]
    """That it knows."""

    def begin(self, task: Task, /) -> Transcription:
        """Read a recording. Raises `ApiError` where it is none."""


class SpeechApp:
    """An ASGI application (ASGI 3.0, scope `http`) that carries out one request after the other.

    Args:
        model: the model.
        row: what `GET /v1/models` says of it.
    """

    def __init__(self, model: Model, row: Json) -> None:
        self._model = model
        self._row = row
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="whisper")
        self._turn = asyncio.Lock()
        self._under_way = 0

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._answer(scope, receive, send)
        except ApiError as error:
            for message in _json(error.status, error.body()):
                await send(message)
        except ClientGoneError:
            pass

    async def _answer(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"]:
            case "GET", "/v1/models":
                for message in _json(200, {"object": "list", "data": [self._row]}):
                    await send(message)
            case "POST", path if path in ENDPOINTS:
                with contextlib.ExitStack() as place:
                    place.enter_context(self._counted())
                    form = parse_form(await _body(receive), dict(scope["headers"]).get(b"content-type"))
                    task = read_task(path, form, self._model.languages)
                    outbox = asyncio.Queue[Message | None]()
                    await _deliver(self._transcribe(task, outbox, place), outbox, receive, send)
            case _:
                raise RouteNotFoundError("There is no such endpoint here.")

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        if self._under_way >= MAX_UNDER_WAY:
            raise UnavailableError("Too many recordings wait already.")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _transcribe(self, task: Task, outbox: asyncio.Queue[Message | None], place: contextlib.ExitStack) -> None:
        """Put the answer's messages into `outbox`, and None behind the last: whoever reads slowly holds up nobody."""
        try:
            async with self._turn:
                transcription = await self._run(self._model.begin, task)
                write = _events if task.streams else _whole
                async for message in write(task, transcription, self._segments(transcription)):
                    outbox.put_nowait(message)
        finally:
            place.close()
            outbox.put_nowait(None)

    async def _segments(self, transcription: Transcription) -> AsyncIterator[Segment]:
        """Yield the segments. Between any two of them, and between parts, the work can be given up."""
        while (part := await self._run(next, transcription.parts, None)) is not None:
            while (segment := await self._run(next, part, None)) is not None:
                yield segment

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _json(status: int, value: Json | dict[str, object]) -> tuple[Message, Message]:
    body = msgspec.json.encode(value)
    headers = [_JSON, (b"content-length", str(len(body)).encode())]
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


async def _whole(task: Task, begun: Transcription, segments: AsyncIterator[Segment]) -> AsyncIterator[Message]:
    said = [segment async for segment in segments]
    for message in _json(200, whole(task, said, begun.language, begun.duration)):
        yield message


async def _events(_task: Task, begun: Transcription, segments: AsyncIterator[Segment]) -> AsyncIterator[Message]:
    yield {"type": "http.response.start", "status": 200, "headers": [_EVENTS]}
    said: list[Segment] = []
    async for segment in segments:
        text = segment.text if said else segment.text.lstrip()
        said.append(segment)
        yield _event(delta(text))
    yield _event(done(text_of(said), begun.duration))
    yield {"type": "http.response.body", "body": encode_event(b"[DONE]")}


def _event(event: Json) -> Message:
    return {"type": "http.response.body", "body": encode_event(msgspec.json.encode(event)), "more_body": True}


async def _body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MAX_FORM:
            raise PayloadTooLargeError(f"The body is over the limit of {MAX_FORM} bytes.")
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _deliver(
    work: Coroutine[Any, Any, None], outbox: asyncio.Queue[Message | None], receive: Receive, send: Send
) -> None:
    """Do the work and send what comes of it; give it up where the client leaves. Raises what the work raises."""
    loop = asyncio.get_running_loop()
    working, sending, leaving = tasks = [
        loop.create_task(each) for each in (work, _send_all(outbox, send), _departure(receive))
    ]
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await working
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send_all(outbox: asyncio.Queue[Message | None], send: Send) -> None:
    while (message := await outbox.get()) is not None:
        await send(message)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
