"""Server-sent events by the WHATWG rules (HTML Living Standard, section 9.2), as pure code: bytes in, events out."""

import re
from dataclasses import dataclass

from privity.errors import UpstreamProtocolError

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Bytes of one unfinished event. A long answer with log probabilities stays far below; an endless line does not."""

MAX_OTHERS_BYTES = 64 * 1024
"""Bytes of one event's lines that are kept and are no data: the longest known is a comment of some 300, and whoever
looks at each line of megabytes keeps all others waiting for seconds."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_PLAIN_EVENT = b"data: "
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEPT = re.compile(rb"(?:(?:event|id|retry)?:|(?:event|id|retry)\Z)[\t -~]*")
"""Lines without data that count and are passed on. The standard ignores most others, but who reads less strictly, or
from another start, could take them for data that nobody sealed: `Data:`, ` data:`, `data:` after a byte order mark or
after U+2028."""


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event."""

    type: bytes
    """The `event:` field, `message` where there was none."""
    data: bytes | None
    """The `data:` lines, joined by a line feed; None where there was none, so that it is no event but comments."""
    others: bytes = b""
    """The other lines that mean something, each with a line feed: `event:`, `id:`, `retry:`, comments; all in ASCII."""

    @property
    def comments(self) -> list[bytes]:
        """The lines that are comments, each with its colon."""
        return [line for line in self.others.split(b"\n") if line.startswith(b":")] if b":" in self.others else []


class EventStreamParser:
    """Cuts a stream that arrives in arbitrary pieces into events.

    Not checked: that data is UTF-8.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._unread = bytearray()
        self._type = b""
        self._data: list[bytes] = []
        self._others = bytearray()  # no list: lines of one byte would take fifty times their size
        self._size = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events, and the comments between them, that `piece` completes.

        Raises:
            UpstreamProtocolError: an event is longer than the limit.
        """
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if not piece:
            return []
        if self._is_between_events and piece.startswith(_PLAIN_EVENT) and len(piece) <= self._max_event_bytes:
            plain = _plain_events(piece)
            if plain is not None:
                return plain
        unread = self._unread
        searched = len(unread)  # what is known to hold no line end: a long line is not read anew for each piece
        unread += piece
        if self._at_start:
            if len(unread) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK[: len(unread)] == unread:
                return []
            if unread.startswith(_BYTE_ORDER_MARK):
                del unread[: len(_BYTE_ORDER_MARK)]
            self._at_start, searched = False, 0
        events: list[Event] = []
        start = 0
        for end in _LINE_END.finditer(unread, searched):
            event = self._line(bytes(unread[start : end.start()]))
            if event is not None:
                events.append(event)
            start = end.end()
        self._after_cr = start == len(unread) and unread.endswith(b"\r")
        del unread[:start]
        self._check_room(len(unread))
        return events

    @property
    def _is_between_events(self) -> bool:
        return not (self._at_start or self._unread or self._data or self._others)

    def _check_room(self, line_bytes: int) -> None:
        if self._size + line_bytes > self._max_event_bytes:
            raise UpstreamProtocolError(f"an event is longer than {self._max_event_bytes} bytes")

    def _line(self, line: bytes) -> Event | None:
        self._check_room(len(line))
        if not line:
            return self._dispatch()
        self._size += len(line)
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            return None
        if _KEPT.fullmatch(line):
            self._others += line + b"\n"
            if len(self._others) > MAX_OTHERS_BYTES:
                raise UpstreamProtocolError(f"an event has more than {MAX_OTHERS_BYTES} bytes besides its data")
            if name == b"event":
                self._type = value
        return None

    def _dispatch(self) -> Event | None:
        event = None
        if self._data or self._others:
            data = b"\n".join(self._data) if self._data else None
            event = Event(self._type or b"message", data, bytes(self._others))
        self._type, self._data, self._others, self._size = b"", [], bytearray(), 0
        return event

    def finish(self) -> Event | None:
        """Return what the stream's end cut off: the last event, where its blank line is missing.

        The standard drops it; whoever must tell a whole stream from a cut one judges it by what it holds.
        """
        rest = bytes(self._unread)
        self._unread.clear()
        if rest:
            self._line(rest)
        return self._dispatch()


def _plain_events(piece: bytes) -> list[Event] | None:
    """Return the events of a piece that consists of whole ones with one `data:` line each; None for any other.

    This is how engines and proxies write most of their streams, and it costs a third of looking at each line.
    """
    if b"\r" in piece or not piece.endswith(b"\n\n"):
        return None
    blocks = piece[len(_PLAIN_EVENT) : -2].split(b"\n\n" + _PLAIN_EVENT)
    if any(b"\n" in block for block in blocks):
        return None
    return [Event(b"message", block) for block in blocks]


def encode_event(data: bytes, event_type: bytes | None = None) -> bytes:
    """Return the bytes of one event; a line break in `data`, of any kind, becomes a line feed."""
    if b"\n" in data or b"\r" in data:  # JSON may have them between its tokens
        data = b"\ndata: ".join(_LINE_END.split(data))
    return (b"event: " + event_type + b"\n" if event_type else b"") + b"data: " + data + b"\n\n"
