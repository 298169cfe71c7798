"""Transcriptions as text and as captions: the deployment answers in JSON, and the proxy makes the rest of it.

SRT has no specification; what players agree on is written. WebVTT is W3C's (section 4.1 for times and cues).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from privity.errors import EngineFailedError

MAX_SECONDS = 1e7
"""Seconds after which no caption stands: some months, which no recording lasts."""

_ARROW = re.compile("--+>")
"""What stands between a cue's times, and so nowhere in its text."""

T = TypeVar("T")


class _Segment(msgspec.Struct):
    start: float
    end: float
    text: str


class _Text(msgspec.Struct):
    text: str


class _Transcription(msgspec.Struct):
    segments: list[_Segment]


@dataclass(frozen=True, slots=True)
class Rendering:
    """A format that is made of a JSON answer."""

    asks_for: bytes
    """The `response_format` that the deployment is asked for."""
    content_type: bytes
    render: Callable[[bytes], bytes]
    """Gets the JSON answer; raises `EngineFailedError` where that lacks what is needed."""


def _as_text(answer: bytes) -> bytes:
    return _decoded(answer, _Text).text.encode(errors="replace") + b"\n"


def _as_srt(answer: bytes) -> bytes:
    cues = (
        f"{number}\n{_time(start, ',')} --> {_time(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(answer), 1)
    )
    return "\n".join(cues).encode(errors="replace")


def _as_vtt(answer: bytes) -> bytes:
    cues = (f"{_time(start, '.')} --> {_time(end, '.')}\n{_escaped(text)}\n" for start, end, text in _cues(answer))
    return "\n".join(("WEBVTT\n", *cues)).encode(errors="replace")


def _cues(answer: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield what is said, without blank lines and arrows, and the milliseconds at which it begins and ends."""
    for segment in _decoded(answer, _Transcription).segments:
        lines = (_ARROW.sub("->", line).replace("\0", "").strip() for line in segment.text.splitlines())
        if text := "\n".join(line for line in lines if line):
            start = _milliseconds(segment.start)
            yield start, max(_milliseconds(segment.end), start + 1), text


def _milliseconds(seconds: float) -> int:
    return round(min(max(seconds, 0), MAX_SECONDS) * 1000)


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _decoded(answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EngineFailedError("The engine's answer has no captions.") from error


RENDERINGS: Mapping[str, Rendering] = {
    "text": Rendering(b"json", b"text/plain; charset=utf-8", _as_text),
    "srt": Rendering(b"verbose_json", b"text/plain; charset=utf-8", _as_srt),
    "vtt": Rendering(b"verbose_json", b"text/vtt", _as_vtt),
}
"""By `response_format`."""
