"""The models that can be called now, by every ID, and what of them each class of keys may see."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from heapq import nlargest
from itertools import islice
from types import MappingProxyType
from typing import Any

from privity.catalogue.encoded import Encoded
from privity.catalogue.model import TASK_OF_ENDPOINT, Model
from privity.errors import ModelNotFoundError, PrivityError, WrongTaskError, printable

MAX_SUGGESTIONS = 3
"""IDs named in the message about an unknown model: as many as one reads."""

MAX_LOOKED_AT = 2000
"""IDs that are looked at for the message about an unknown one: anybody can ask for it, and each costs a microsecond."""

MAX_COMPARED = 50
"""IDs that are compared with an unknown one letter by letter: the comparison is slow, and anybody can ask for it."""

MAX_SHOWN_ID = 128
"""Characters of an unknown ID that are looked at, and repeated in the message about it."""

Render = Callable[[Model, str, datetime], dict[str, Any]]
"""A dialect: a model's row under one of its IDs, at a time."""


class IdCollisionError(PrivityError):
    """Two models claim one ID."""

    def __init__(self, claimed: str, first: str, second: str) -> None:
        super().__init__(f"The models {first} and {second} both claim the ID {claimed}.")
        self.claimed = claimed
        self.first = first
        self.second = second


class Entry:
    """One model of a catalogue, with its rows as they were encoded first."""

    __slots__ = ("_as_of", "_encoded", "deprecated", "ids", "model")

    def __init__(self, model: Model, as_of: datetime) -> None:
        self.model = model
        self.ids = model.ids
        self.deprecated = model.lifecycle.is_deprecated(as_of)
        self._as_of = as_of
        self._encoded: dict[tuple[Render, bool], Encoded] = {}

    def is_still(self, model: Model, as_of: datetime) -> bool:
        """Return whether this entry has the rows of that model at that time, too."""
        if self.deprecated != model.lifecycle.is_deprecated(as_of):
            return False
        return self.model is model or self.model == model

    def rows(self, render: Render, *, collapse: bool) -> Encoded:
        """Return its rows in a dialect: one for each ID, or the canonical one alone."""
        key = (render, collapse)
        encoded = self._encoded.get(key)
        if encoded is None:
            rows = (render(self.model, each, self._as_of) for each in self.listed(collapse=collapse))
            encoded = self._encoded[key] = Encoded.of(rows)
        return encoded

    def listed(self, *, collapse: bool) -> tuple[str, ...]:
        """Return the IDs that have rows: each, or the canonical one alone."""
        return (self.model.id,) if collapse else self.ids


class _Content:
    """What a catalogue's views know of it.

    They don't know the catalogue, which knows them: one that is replaced is gone at once, and need not wait for the
    collector of cycles, which hardly ever looks in a server.
    """

    def __init__(self, entries: tuple[Entry, ...], by_id: Mapping[str, Entry], as_of: datetime) -> None:
        self.entries = entries
        self.by_id = by_id
        self.as_of = as_of

    @cached_property
    def places(self) -> dict[str | None, list[int]]:
        """Where in the list the models are that each group sees; None's are those that everybody sees."""
        places: dict[str | None, list[int]] = {}
        for place, entry in enumerate(self.entries):
            groups = entry.model.visible_to
            for group in (None,) if groups is None else groups:
                places.setdefault(group, []).append(place)
        return places

    def entries_for(self, groups: frozenset[str] | None) -> tuple[Entry, ...]:
        """Return the entries of the models that `Model.is_visible_to` shows to these groups; None is all."""
        if groups is None:
            return self.entries
        places = {place for group in (None, *groups) for place in self.places.get(group, ())}
        return tuple([self.entries[place] for place in sorted(places)])


class Catalogue:
    """An immutable set of models; listed, retrievable and callable are the same set.

    Args:
        models: at most one record each; retired ones are left out.
        as_of: the time at which they are looked at.
        before: an earlier catalogue, whose encoded rows are taken over where a model didn't change.

    Raises:
        IdCollisionError: two of the models claim one ID.
    """

    def __init__(self, models: Iterable[Model], as_of: datetime, before: "Catalogue | None" = None) -> None:
        known = {} if before is None else {entry.model.id: entry for entry in before.entries}
        self.as_of = as_of
        self._by_canonical_id: dict[str, Entry] = {}
        self._by_id: dict[str, Entry] = {}
        for model in models:
            if model.lifecycle.is_retired(as_of):
                continue
            old = known.get(model.id)
            entry = old if old is not None and old.is_still(model, as_of) else Entry(model, as_of)
            for each in entry.ids:
                if each in self._by_id:
                    raise IdCollisionError(each, self._by_id[each].model.id, model.id)
                self._by_id[each] = entry
            self._by_canonical_id[model.id] = entry
        self._content = _Content(tuple(self._by_canonical_id.values()), self._by_id, as_of)
        self._views: dict[frozenset[str] | None, View] = {}

    @property
    def ids(self) -> Iterable[str]:
        """Every ID, in the order of the list."""
        return self._by_id.keys()

    @property
    def entries(self) -> Collection[Entry]:
        """Every entry, in the order of the list."""
        return self._by_canonical_id.values()

    @property
    def models(self) -> list[Model]:
        """Every model, in the order of the list."""
        return [entry.model for entry in self.entries]

    @property
    def by_id(self) -> Mapping[str, Entry]:
        """Every ID with its entry."""
        return MappingProxyType(self._by_id)

    @cached_property
    def next_change(self) -> datetime | None:
        """When a model will be deprecated or retired next."""
        lifecycles = [model.lifecycle for model in self.models]
        moments = [moment for each in lifecycles for moment in (each.deprecated_at, each.retires_at)]
        return min((moment for moment in moments if moment is not None and moment > self.as_of), default=None)

    def view(self, groups: frozenset[str] | None = None) -> "View":
        """Return what keys of these groups may list, retrieve and call; None is whoever may see everything."""
        decisive = None if groups is None else frozenset(group for group in groups if group in self._content.places)
        view = self._views.get(decisive)
        if view is None:
            view = self._views[decisive] = View(self._content, decisive)
        return view


class View:
    """What one class of keys may list, retrieve and call: one predicate decides all of it (models-api.md item 7)."""

    def __init__(self, content: _Content, groups: frozenset[str] | None) -> None:
        self._content = content
        self._groups = groups
        self.etags: dict[object, str] = {}
        """Those of its listings that were asked for, by what was asked."""
        self.changes: dict[object, bytes] = {}
        """Events that tell how another view became this one, by what makes them differ."""

    @cached_property
    def entries(self) -> Sequence[Entry]:
        """Every entry, in the order of the list. Who calls a model never needs them."""
        return self._content.entries_for(self._groups)

    @property
    def as_of(self) -> datetime:
        """The time at which its models are looked at."""
        return self._content.as_of

    def may_see(self, model: Model) -> bool:
        """Return whether these keys may use a model, if it is there."""
        return self._groups is None or model.is_visible_to(self._groups)

    @property
    def models(self) -> list[Model]:
        """Every model, in the order of the list."""
        return [entry.model for entry in self.entries]

    def __contains__(self, asked: object) -> bool:
        return isinstance(asked, str) and self.get(asked) is not None

    def get(self, asked: str) -> Entry | None:
        """Return the entry under one of a model's IDs, if there is one."""
        entry = self._content.by_id.get(asked)
        return entry if entry is not None and self.may_see(entry.model) else None

    def find(self, asked: str) -> Model:
        """Return the model under one of its IDs.

        Raises:
            ModelNotFoundError: nobody has this ID; its message names the nearest ones.
        """
        entry = self.get(asked)
        if entry is None:
            raise ModelNotFoundError(self.not_found(asked))
        return entry.model

    def not_found(self, asked: str) -> str:
        """Return the message about an ID that nobody has; it names the nearest ones."""
        shown = printable(asked, MAX_SHOWN_ID)
        if not self.entries:
            return f"The model `{shown}` does not exist; no model is available at the moment."
        near = nearest(shown, (each for entry in self.entries for each in entry.model.ids))
        hint = f"Nearest: {', '.join(f'`{each}`' for each in near)}." if near else "GET /v1/models lists what does."
        return f"The model `{shown}` does not exist. {hint}"


def nearest(asked: str, ids: Iterable[str]) -> list[str]:
    """Return the IDs that somebody who asked for an unknown one may have meant."""
    wanted = asked.lower()
    pairs = {wanted[start : start + 2] for start in range(len(wanted) - 1)}
    lowered = {each.lower(): each for each in islice(ids, MAX_LOOKED_AT)}
    candidates = nlargest(MAX_COMPARED, lowered, key=lambda each: sum(pair in each for pair in pairs))
    return [lowered[each] for each in get_close_matches(wanted, candidates, MAX_SUGGESTIONS, 0.4)]


def require_task(model: Model, asked_id: str, endpoint: str) -> None:
    """Check that `model` can be called at `endpoint`.

    Raises:
        WrongTaskError: it can't; the message says what it can do, and where.
    """
    task = TASK_OF_ENDPOINT[endpoint]
    if task in model.tasks:
        return
    has = ", ".join(f"`{each}`" for each in model.tasks) or "none"
    raise WrongTaskError(
        f"The model `{asked_id}` does not support the task `{task}` that {endpoint} needs. Its tasks: {has}."
    )
