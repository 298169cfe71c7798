"""A Whisper model that is loaded. Everything here takes its time: none of it belongs on an event loop."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from faster_whisper import WhisperModel

from privity.engines.embedded.whisper.answers import Segment, Transcription, Word
from privity.engines.embedded.whisper.sound import SAMPLE_RATE, Samples, decode, pieces, sound
from privity.engines.embedded.whisper.task import Task

COMPUTE_TYPE: Final = "int8"
"""How weights are held in memory: the fastest that every CPU can."""

TEMPERATURES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""What is tried one after the other until a text is neither unlikely nor full of repetitions, as OpenAI has it."""

HEARD_SECONDS: Final = 30
"""Seconds from which the language is told: one window of the model."""


class Transcriber:
    """A model.

    Args:
        directory: of its files.
        cores: that it may use.

    Raises:
        RuntimeError, OSError, ValueError: it can't be loaded.
    """

    def __init__(self, directory: Path, cores: int) -> None:
        self._model: Any = WhisperModel(
            str(directory), device="cpu", compute_type=COMPUTE_TYPE, cpu_threads=cores, local_files_only=True
        )
        token = self._model.hf_tokenizer.token_to_id
        supported = self._model.supported_languages
        self.languages: tuple[str, ...] = tuple(
            code for code in supported if len(supported) == 1 or token(f"<|{code}|>") is not None
        )

    def begin(self, task: Task) -> Transcription:
        """Read a recording. Raises as `decode` does."""
        samples = decode(task.file)
        language = task.language or self._spoken(samples)
        return Transcription(language, len(samples) / SAMPLE_RATE, self._parts(samples, language, task))

    def _spoken(self, samples: Samples) -> str:
        if len(self.languages) == 1:
            return self.languages[0]
        return str(self._model.detect_language(sound(samples[: HEARD_SECONDS * SAMPLE_RATE]))[0])

    def _parts(self, samples: Samples, language: str, task: Task) -> Iterator[Iterator[Segment]]:
        for start, piece in pieces(samples):
            found, _ = self._model.transcribe(
                piece,
                language=language,
                task="translate" if task.translates else "transcribe",
                initial_prompt=task.prompt,
                temperature=task.temperature or TEMPERATURES,
                word_timestamps=task.is_verbose and "word" in task.times,
            )
            yield _placed(found, start, round(start + len(piece) / SAMPLE_RATE, 3))


def _placed(found: Iterable[Any], start: float, end: float) -> Iterator[Segment]:
    """Yield faster-whisper's segments of what lies between two seconds; none of their words is before another's end."""
    said_until = start
    for each in found:
        words = []
        for word in each.words or ():
            begun = _within(start + word.start, said_until, end)
            said_until = _within(start + word.end, begun, end)
            words.append(Word(word.word, begun, said_until))
        begun = _within(start + each.start, start, end)
        yield Segment(
            start=begun,
            end=_within(start + each.end, begun, end),
            text=each.text,
            tokens=tuple(each.tokens),
            temperature=float(each.temperature),
            avg_logprob=float(each.avg_logprob),
            compression_ratio=float(each.compression_ratio),
            no_speech_prob=float(each.no_speech_prob),
            words=tuple(words),
        )


def _within(seconds: Any, first: float, last: float) -> float:
    """Return a time, which may be one of NumPy's numbers, to the millisecond."""
    return min(max(round(float(seconds), 3), first), last)
