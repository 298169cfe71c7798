"""What is known of one replica's health, from looks at it and from the requests that it answers (models-api.md item 4).

Two signals in a row are needed to change the verdict, so that one lost packet changes nothing. Not knowing isn't bad
news: while looks time out and requests still succeed, the replica counts as serving.
"""

from privity.catalogue.model import Status

FALL = 2
"""Looks or connections for requests in a row that fail, in whichever way, until a replica counts as down."""

RISE = 2
"""Looks in a row that must succeed until a replica that was down counts as up."""

FAILED_ANSWERS = 5
"""Answers in a row with a status that says that the engine failed, until a replica is the last choice."""

PENALTY_SECONDS = 10.0
"""Seconds for which it stays the last choice without another failure."""


class Health:
    """One replica's health. `now` is a steady clock's seconds, everywhere."""

    def __init__(self) -> None:
        self.last_heard: float | None = None
        """When it last answered a look or a request."""
        self._is_up = False
        self._was_down = False
        self._good = 0
        self._bad = 0
        self._is_unsure = False
        self._failed_answers = 0
        self._last_failed_answer = 0.0

    @property
    def is_up(self) -> bool:
        """Return whether requests may be sent to it."""
        return self._is_up

    def status(self, now: float) -> Status:
        """Return what a list says of a model that only this replica serves."""
        if self._failed_answers >= FAILED_ANSWERS and now - self._last_failed_answer < PENALTY_SECONDS:
            return "degraded"
        return "unknown" if self._is_unsure or self._bad else "available"

    def looked(self, now: float) -> None:
        """Take note of a look that succeeded."""
        self.last_heard = now
        self._bad = 0
        self._is_unsure = False
        self._good += 1
        if self._good >= (RISE if self._was_down else 1):
            self._is_up = True

    def failed(self) -> None:
        """Take note that there was no connection, or no answer that makes sense."""
        self._good = 0
        self._bad += 1
        if self._bad >= FALL:
            self._is_up = False
            self._was_down = True

    def timed_out(self) -> None:
        """Take note of a look that had no answer in time."""
        self._is_unsure = True
        self.failed()

    def answered(self, now: float) -> None:
        """Take note of the answer to a request, whatever it says."""
        self.last_heard = now
        self._bad = self._failed_answers = 0  # it serves, whatever the looks say

    def answer_failed(self, now: float) -> None:
        """Take note of a request whose answer says that the engine failed, or never came."""
        self._failed_answers += 1
        self._last_failed_answer = now
