"""A model for speech that says what the test wants, when the test wants it."""

import threading
from collections.abc import Iterator

from privity.engines.embedded.whisper.answers import Segment, Transcription, Word
from privity.engines.embedded.whisper.task import Task, unreadable

DEADLINE = 30.0
"""Seconds until something that must happen is taken for never happening."""


class FakeSpeechModel:
    """Hears one word a second.

    Attributes:
        parts: the words of each part of a recording.
        tasks: what was asked for, in its order.
        begun: is set when a recording has been read.
        go_on: must be set for any word to be heard.
        heard: words so far, of all recordings.
    """

    def __init__(self, *parts: tuple[str, ...]) -> None:
        self.languages: tuple[str, ...] = ("en", "de")
        self.parts = parts
        self.tasks: list[Task] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.heard = 0

    def begin(self, task: Task) -> Transcription:
        """Return the words; an empty file has none."""
        self.tasks.append(task)
        if not task.file:
            raise unreadable()
        self.begun.set()
        return Transcription("en", float(sum(map(len, self.parts))), map(self._part, self.parts))

    def _part(self, words: tuple[str, ...]) -> Iterator[Segment]:
        for word in words:
            assert self.go_on.wait(DEADLINE)
            start, end = float(self.heard), self.heard + 1.0
            self.heard += 1
            yield Segment(start, end, f" {word}", (1,), 0.0, -0.5, 1.0, 0.25, (Word(f" {word}", start, end),))
