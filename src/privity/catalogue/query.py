"""What a client wants of the list: filters, and whether aliases have rows of their own (models-api.md items 3, 11)."""

from collections.abc import Mapping
from dataclasses import dataclass

from privity.catalogue.model import TASKS, Model
from privity.errors import InvalidRequestError

_ALIASES = ("list", "collapse")


@dataclass(frozen=True, slots=True)
class Query:
    """Filters: all that are given must hold. An empty one wants everything."""

    task: str | None = None
    owned_by: str | None = None
    text: str | None = None
    """A part of an ID, of the display name or of the owner, in any case."""
    collapse: bool = False
    """Whether only canonical IDs have rows."""

    @property
    def wants_all(self) -> bool:
        """Return whether every model matches."""
        return self.task is None and self.owned_by is None and self.text is None

    def matches(self, model: Model) -> bool:
        """Return whether a model is wanted."""
        return (
            (self.task is None or self.task in model.tasks)
            and (self.owned_by is None or self.owned_by == model.owned_by)
            and (self.text is None or _has(model, self.text.casefold()))
        )


def _has(model: Model, text: str) -> bool:
    ids = (model.id, *model.aliases, *model.floating_aliases)
    return any(text in each.casefold() for each in (*ids, model.owned_by, model.display_name or ""))


def read_query(parameters: Mapping[str, str], *, collapse: bool = False) -> Query:
    """Read a query's parameters: `task`, `owned_by`, `q`, `aliases`; others are not looked at.

    Args:
        parameters: by name.
        collapse: the operator's default.

    Raises:
        InvalidRequestError: no such task, or `aliases` is something else than `list` or `collapse`.
    """
    task = parameters.get("task") or None
    if task is not None and task not in TASKS:
        raise InvalidRequestError(f"There is no such task. Tasks are {', '.join(TASKS)}.", param="task")
    aliases = parameters.get("aliases") or _ALIASES[collapse]
    if aliases not in _ALIASES:
        raise InvalidRequestError("`aliases` is `list` or `collapse`.", param="aliases")
    return Query(
        task=task,
        owned_by=parameters.get("owned_by") or None,
        text=parameters.get("q") or None,
        collapse=aliases == "collapse",
    )
