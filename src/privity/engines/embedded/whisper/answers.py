"""Transcriptions as OpenAI's API has them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from privity.engines.embedded.whisper.task import Task
from privity.engines.engine import Json


@dataclass(frozen=True, slots=True)
class Word:
    """A word, and when it is said, in seconds."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the text, some seconds long, and how sure the model is of it."""

    start: float
    """Seconds."""
    end: float
    text: str
    """With the space before it, if its language has one."""
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcription:
    """One that has begun."""

    language: str
    duration: float
    """Seconds of the recording."""
    parts: Iterator[Iterator[Segment]]
    """The segments of some minutes each. All of it is worked out when it is asked for."""


def text_of(segments: Sequence[Segment]) -> str:
    """Return the text of all segments."""
    return "".join(segment.text for segment in segments).lstrip()


def whole(task: Task, segments: Sequence[Segment], language: str, duration: float) -> Json:
    """Return an answer that is all there; `duration` in seconds."""
    text = text_of(segments)
    answer: Json = {"text": text, "usage": _usage(duration)}
    if not task.is_verbose:
        return answer
    answer |= {"task": "translate" if task.translates else "transcribe", "language": language, "duration": duration}
    if "segment" in task.times:
        answer["segments"] = [_segment(number, each) for number, each in enumerate(segments)]
    if "word" in task.times:
        words = (word for segment in segments for word in segment.words)
        answer["words"] = [{"word": each.word.strip(), "start": each.start, "end": each.end} for each in words]
    return answer


def delta(text: str) -> Json:
    """Return the event for further text."""
    return {"type": "transcript.text.delta", "delta": text}


def done(text: str, duration: float) -> Json:
    """Return the last event; `duration` in seconds."""
    return {"type": "transcript.text.done", "text": text, "usage": _usage(duration)}


def _usage(duration: float) -> Json:
    return {"type": "duration", "seconds": math.ceil(duration)}


def _segment(number: int, segment: Segment) -> Json:
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }
