"""Where `privity models --watch` shows what changes: a window that is drawn anew, or lines."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from privity.cli import _ui
from privity.cli.models import text
from privity.cli.models.feed import Rows, Update
from privity.errors import printable


class Output(Protocol):
    """Where changes are shown."""

    def live(self, update: Update, before: Rows) -> None:
        """Show what came."""

    def away(self, problem: str) -> None:
        """Show that the server went away."""


def is_drawable() -> bool:
    """Return whether standard output is a terminal that can redraw."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Lines:
    """One line for each change; what is no change goes to standard error."""

    def __init__(self, *, vouched: bool = False) -> None:
        self._vouched = vouched
        self._away = False

    def live(self, update: Update, before: Rows) -> None:
        """Print what changed."""
        self._back()
        for line in text.changes(before, update.rows, vouched=self._vouched):
            _ui.say(printable(line))

    def away(self, problem: str) -> None:
        """Say once that the server went away."""
        if not self._away:
            _ui.tell(f"privity: {printable(problem)} Trying again …")
        self._away = True

    def _back(self) -> None:
        if self._away:
            _ui.tell("privity: Live again.")
        self._away = False


class JsonLines(Lines):
    """One JSON object for each event: `list` with all rows, `change` with those that changed."""

    def live(self, update: Update, before: Rows) -> None:  # noqa: ARG002  # the base's
        """Print the event; a change by nothing is none."""
        self._back()
        change = update.change
        if update.listed:
            _ui.say(json.dumps({"event": "list", "data": list(update.rows.values())}))
        elif change is not None and (change.added or change.changed or change.removed):
            found = {"added": change.added, "changed": change.changed, "removed": change.removed}
            _ui.say(json.dumps({"event": "change", **found}))


class Screen:
    """A terminal's whole window, drawn anew at each change.

    Args:
        notes: lines below the table.
        nothing: what is said where the list is empty.
        vouched: whether each line says if the deployment vouches for it.
        clock: the time of day.
    """

    def __init__(
        self,
        notes: Sequence[str],
        nothing: str = text.NOTHING,
        *,
        vouched: bool = False,
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._nothing = nothing
        self._vouched = vouched
        self._fixed = notes
        self._clock = clock
        self._rows: Rows = {}
        self._since = self._changed = ""
        self._problem = ""
        self._dropped = ""
        self._whys: list[str] = []

    def live(self, update: Update, before: Rows) -> None:
        """Draw the table."""
        now = self._now()
        if self._problem or not self._since:
            if self._since and update.rows != before:
                self._changed = now
            self._since = now
        elif update.rows != before:
            self._changed = now
        self._problem = ""
        self._rows = update.rows
        if update.dropped is not None:
            note = text.dropped_note(update.dropped)
            self._dropped = f"At {now}: {note}" if note else ""
        if update.whys is not None:
            self._whys = text.dropped_lines(update.whys)
        self.redraw()

    def away(self, problem: str) -> None:
        """Draw the last known table, and say that it may be out of date."""
        if not self._problem:
            self._problem = f"not live since {self._now()}: {problem} Trying again"
        self.redraw()

    def redraw(self) -> None:
        """Draw what is known."""
        if self._since:
            columns, height = _size()
            _ui.draw("\033[H\033[J" + "\n".join(self._lines(columns, height)))

    def end(self) -> None:
        """Leave the table, and begin a line below it."""
        if self._since:
            _ui.say()

    def _lines(self, columns: int, height: int) -> list[str]:
        head, cells = text.head(vouched=self._vouched), self._cells()
        table = _ui.table_lines(head, cells) if cells else [self._nothing]
        notes = [printable(each) for each in (*self._fixed, *self._whys, self._dropped) if each]
        last = " · ".join(
            [
                self._problem or f"live since {self._since}",
                f"last change {self._changed}" if self._changed else "no change yet",
                "Ctrl-C ends",
            ]
        )
        return fitted(table, notes, printable(last), columns, height)

    def _cells(self) -> list[tuple[str, ...]]:
        return list(text.cells(self._rows.values(), vouched=self._vouched).values())

    def _now(self) -> str:
        return self._clock().strftime("%H:%M:%S")


def fitted(table: list[str], notes: list[str], last: str, columns: int, height: int) -> list[str]:
    """Return the lines that a window has room for: first of all the last one, then the table, then notes."""
    room = max(height - 1, 0)
    body = [*table, *([""] if notes else []), *notes]
    if len(body) > room:
        body = table
    if len(body) > room:
        hidden = len(table) - max(room - 1, 0)
        body = [*table[: max(room - 1, 0)], f"… {hidden} more"][: max(room, 0)]
    lines = [_ui.clipped(each, columns) for each in (*body, last)]
    return [_ui.bold(lines[0]), *lines[1:]] if len(lines) > 1 else lines


def _size() -> tuple[int, int]:
    try:
        columns, height = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        columns = height = 0
    return columns or 80, height or 24
