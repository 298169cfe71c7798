"""Where the proxy's own time goes: its real functions, timed one by one in this process, without any I/O.

The stages are those of one request and of one event. Each is timed in turn, again and again, and the least of its
times counts: the others are noise. What the stages' sum leaves of the time under load is the server's, the client's,
the event loop's and the system's.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, cast

from bench.sealed import KNOWN, LAST_EVENT, StreamedAnswer, WholeAnswer
from bench.traffic import CHAT_PATH, chat_answer, chat_body, event, stream_body
from privity.http import Headers
from privity.protocol.ending import HEADER, Ending
from privity.protocol.endpoints import endpoint_of
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.exchange import NONCE_BYTES, Opener, Sealer, begin
from privity.protocol.fields import scan
from privity.protocol.request_id import RANDOM_BYTES, uuid7
from privity.roles.proxy.answer import Answer
from privity.roles.proxy.headers import HeaderPolicy
from privity.roles.proxy.request import PlainRequest, read_request
from privity.transport.http_client.request import encode_head, split_url
from privity.transport.web import StreamReply

ROUNDS = 30
EVENTS = 100
REPEATS = 100
"""Requests or events that are timed at once."""

NONCE = bytes(NONCE_BYTES)
ENDPOINT = cast("Any", endpoint_of(CHAT_PATH))
_POLICY = HeaderPolicy(ocsp_allow_unknown=True, ocsp_grace_seconds=48 * 3600)
_APP_HEADERS = [(b"host", b"127.0.0.1:8080"), (b"accept", b"*/*"), (b"authorization", b"Bearer bench")]

Stage = tuple[str, Callable[[], object], int]
"""Its title, what does it, and how many requests or events that is."""


@dataclass(frozen=True, slots=True)
class Line:
    """One stage's time; `part` where it is a part of the line above."""

    title: str
    microseconds: float
    part: bool = False
    counts: bool = True
    """Whether it belongs to the sum: one that is another line's alternative doesn't."""


class _Canned:
    """An answer that is there already."""

    def __init__(self, kind: bytes, pieces: list[bytes], end: bytes = b"") -> None:
        self.status = 200
        self.headers: Headers = [(b"content-type", kind), *([(HEADER, end)] if end else [])]
        self._pieces = pieces

    async def chunks(self) -> AsyncGenerator[bytes]:
        for piece in self._pieces:
            yield piece

    async def read(self, limit: int) -> bytes:  # noqa: ARG002  # the protocol's signature
        return b"".join(self._pieces)

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass


def profile() -> dict[str, list[Line]]:
    """Return the stages of a request and of an event."""
    return asyncio.run(_profile())


async def _profile() -> dict[str, list[Line]]:
    return {"request": _request_lines(), "event": _event_lines()}  # in a task: some of what is timed looks for it


def _request_lines() -> list[Line]:
    body = chat_body()
    request = read_request(ENDPOINT, None, body, None, os.urandom)
    head, _, sealed = WholeAnswer(CHAT_PATH, chat_answer()).seal(Sealer(KNOWN, NONCE)).partition(b"\r\n\r\n")
    answer = _Canned(b"application/json", [sealed], head.rpartition(b": ")[2])
    origin, target = split_url(f"http://127.0.0.1:8081{CHAT_PATH}")
    headers = protocol_headers(request)
    stages: list[Stage] = [
        ("scan the body", lambda: scan(body), 1),
        ("read the request, scan included", lambda: read_request(ENDPOINT, None, body, None, os.urandom), 1),
        ("seal it, with its end", lambda: seal(request), 1),
        ("its headers", lambda: protocol_headers(request), 1),
        ("the client's head", lambda: encode_head("POST", origin, target, headers, 5000), 1),
        ("scan the answer", lambda: scan(sealed), 1),
        ("open it, scan and end included", lambda: _run(_open_whole(request, answer)), 1),
    ]
    scanned, read, sealing, bear, head_line, scan_answer, opened = _times(stages)
    return [
        Line("read the request", read),
        Line("scan", scanned, part=True),
        Line("seal its values and its end", sealing),
        Line("headers of the protocol", bear),
        Line("head of the request", head_line),
        Line("open the answer's values and its end", opened),
        Line("scan", scan_answer, part=True),
    ]


def _event_lines() -> list[Line]:
    request = read_request(ENDPOINT, None, stream_body(EVENTS, paced=False), None, os.urandom)
    pieces = list(StreamedAnswer(CHAT_PATH, event()[6:-2]).seal(Sealer(KNOWN, NONCE), EVENTS))
    events = pieces[:-1]
    data = [each.data or b"" for each in EventStreamParser().feed(b"".join(events))]
    values = [[value for value in scan(each).values if value.startswith(b'"' + KNOWN.id.encode())] for each in data]
    in_order = [[each[3], each[1], each[2], each[0]] for each in values]  # by name: choices, created, model, object
    stages: list[Stage] = [
        ("parse", lambda: _parse(events), EVENTS),
        ("scan", lambda: [scan(each) for each in data], EVENTS),
        ("open", lambda: _open_values(in_order), EVENTS),
        ("end", lambda: _digest(len(data)), EVENTS),
        ("all, one by one", lambda: _run(_open_events(request, pieces)), EVENTS),
        ("all, in one piece", lambda: _run(_open_events(request, [b"".join(pieces)])), EVENTS),
    ]
    parse, scanned, opened, ended, one_by_one, in_one = _times(stages)
    return [
        Line("an event that comes alone", one_by_one),
        Line("parse the stream", parse, part=True),
        Line("scan", scanned, part=True),
        Line("open the values", opened, part=True),
        Line("digest for the end", ended, part=True),
        Line("the rest: rules, put together, generators", one_by_one - parse - scanned - opened - ended, part=True),
        Line("instead, an event among others in one piece", in_one, counts=False),
    ]


def seal(request: PlainRequest) -> tuple[bytes, bytes]:
    """Return a request's encrypted body, and its end."""
    sealer, _ = begin(KNOWN, os.urandom(NONCE_BYTES))
    ending = Ending(CHAT_PATH)
    _, sealed = request.seal(sealer, ending, os.urandom)
    if not isinstance(sealed, bytes):
        raise TypeError("a small request is not sent in pieces")
    return sealed, ending.seal(sealer)


def protocol_headers(request: PlainRequest) -> list[tuple[bytes, bytes]]:
    """Return what a request bears."""
    now = time.time()
    name = f"proxy_{uuid7(int(now * 1000), os.urandom(RANDOM_BYTES))}_0".encode()
    common = _POLICY.common(_APP_HEADERS, b"Bearer bench")
    return [*common, (b"privatemode-user-request-id", name), *_POLICY.encrypted(request, KNOWN, now)]


async def _open_whole(request: PlainRequest, answer: _Canned) -> None:
    opener = Opener(KNOWN, NONCE, set())
    await Answer(request, opener, authenticates_end=True).open(answer)


async def _open_events(request: PlainRequest, pieces: list[bytes]) -> None:
    opener = Opener(KNOWN, NONCE, set())
    canned = _Canned(b"text/event-stream", pieces)
    reply = await Answer(request, opener, authenticates_end=True).open(canned)
    if not isinstance(reply, StreamReply):
        raise TypeError("the answer is no stream")
    opened = [piece async for piece in reply.chunks]
    if not opened[-1].endswith(LAST_EVENT):
        raise ValueError("the stream was refused")


def _parse(pieces: list[bytes]) -> None:
    parser = EventStreamParser()
    for piece in pieces:
        parser.feed(piece)


def _open_values(events: list[list[bytes]]) -> None:
    opener = Opener(KNOWN, NONCE, set())
    for values in events:
        for value in values:
            opener.open(value)


def _digest(events: int) -> None:
    ending = Ending("200")
    for _ in range(events):
        ending.event(b"message")
        ending.sealed("choices")
        ending.sealed("created")
        ending.plain("id", b'"chatcmpl-00000000000000000000000000000000"')
        ending.sealed("model")
        ending.sealed("object")


def _run(work: Coroutine[object, object, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("it waits")


def _times(stages: list[Stage]) -> list[float]:
    """Return each stage's least time in µs; they take turns."""
    least = [float("inf")] * len(stages)
    for _ in range(ROUNDS):
        for index, (_, stage, count) in enumerate(stages):
            repeats = max(1, REPEATS // count)
            begun = time.perf_counter()
            for _ in range(repeats):
                stage()
            least[index] = min(least[index], (time.perf_counter() - begun) * 1e6 / repeats / count)
    return least


def as_text(profiled: dict[str, list[Line]], under_load: dict[str, float]) -> str:
    """Return the stages as a table: µs, and the share of what one costs under load."""
    text: list[str] = []
    for what, lines in profiled.items():
        total = under_load[what]
        text += ["", f"Where the proxy's {total:.0f} µs for one {what} go, as far as they are its own code's:"]
        rest = total - sum(each.microseconds for each in lines if not each.part and each.counts)
        shown = [*lines, Line("server, client, system; all that is slower under load", rest)]
        for each in shown:
            share = f"{each.microseconds / total:5.0%}" if each.counts else ""
            indent = "    " if each.part else "  "
            text.append(f"{indent + each.title:56}{each.microseconds:8.1f} {share}")
    return "\n".join(text)
