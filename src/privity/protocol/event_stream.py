"""Server-sent events by the WHATWG rules (HTML Living Standard, section 9.2), as pure code: bytes in, events out."""

import re
from dataclasses import dataclass

from privity.errors import UpstreamProtocolError

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Bytes of one unfinished event. A long answer with log probabilities stays far below; an endless line does not."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event."""

    type: bytes
    """The `event:` field, `message` where there was none."""
    data: bytes
    """The `data:` lines, joined by a line feed."""


class EventStreamParser:
    """Cuts a stream that arrives in arbitrary pieces into events.

    Not checked: that data is UTF-8. `id:` and `retry:` fields and comments are dropped.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._unread = bytearray()
        self._type = b""
        self._data: list[bytes] = []
        self._size = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that `piece` completes.

        Raises:
            UpstreamProtocolError: an event is longer than the limit.
        """
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if not piece:
            return []
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

    def _check_room(self, line_bytes: int) -> None:
        if self._size + line_bytes > self._max_event_bytes:
            raise UpstreamProtocolError(f"an event is longer than {self._max_event_bytes} bytes")

    def _line(self, line: bytes) -> Event | None:
        self._check_room(len(line))
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(line)
        elif name == b"event":
            self._type = value
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._type or b"message", b"\n".join(self._data)) if self._data else None
        self._type, self._data, self._size = b"", [], 0
        return event


def end_of_whole_events(stream: bytes) -> int:
    """Return how many bytes of a stream belong to events that are complete: all up to the last blank line."""
    return max(stream.rfind(blank) + len(blank) if blank in stream else 0 for blank in _BLANK_LINES)


def encode_event(data: bytes, event_type: bytes | None = None) -> bytes:
    """Return the bytes of one event; `data` must hold no line break, as JSON never does."""
    return (b"event: " + event_type + b"\n" if event_type else b"") + b"data: " + data + b"\n\n"
