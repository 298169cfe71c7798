"""The models that can be called now, by every ID."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property
from types import MappingProxyType
from typing import Any

from privity.catalogue.model import TASK_OF_ENDPOINT, Model
from privity.errors import ModelNotFoundError, PrivityError, WrongTaskError

MAX_SUGGESTIONS = 3
"""IDs named in the message about an unknown model: as many as one reads."""


class IdCollisionError(PrivityError):
    """Two models claim one ID."""

    def __init__(self, claimed: str, first: Model, second: Model) -> None:
        super().__init__(f"The models {first.id} and {second.id} both claim the ID {claimed}.")
        self.claimed = claimed
        self.first = first
        self.second = second


class Catalogue:
    """An immutable set of models; listed, retrievable and callable are the same set.

    Raises:
        IdCollisionError: two of the models claim one ID.
    """

    def __init__(self, models: Iterable[Model] = ()) -> None:
        by_id: dict[str, Model] = {}
        for model in models:
            for each in model.ids:
                if each in by_id:
                    raise IdCollisionError(each, by_id[each], model)
                by_id[each] = model
        self._by_id = by_id

    @property
    def by_id(self) -> Mapping[str, Model]:
        """Every ID, in the order of the list: each canonical ID right before its aliases."""
        return MappingProxyType(self._by_id)

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The rows of `GET /v1/models`."""
        return tuple(model.row(each) for each, model in self._by_id.items())

    def find(self, wanted: str) -> Model:
        """Return the model under one of its IDs.

        Raises:
            ModelNotFoundError: nobody has this ID; its message names the nearest ones.
        """
        model = self._by_id.get(wanted)
        if model is None:
            raise ModelNotFoundError(self._not_found(wanted))
        return model

    def _not_found(self, wanted: str) -> str:
        if not self._by_id:
            return f"The model `{wanted}` does not exist; no model is available at the moment."
        lowered = {each.lower(): each for each in self._by_id}
        near = [lowered[each] for each in get_close_matches(wanted.lower(), lowered, MAX_SUGGESTIONS, 0.4)]
        hint = f"Nearest: {', '.join(f'`{each}`' for each in near)}." if near else "GET /v1/models lists what does."
        return f"The model `{wanted}` does not exist. {hint}"


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
