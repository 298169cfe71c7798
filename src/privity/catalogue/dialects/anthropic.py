"""Anthropic's `ModelInfo` as a superset of OpenAI's row, and its paging (models-api.md item 8).

Its members are those of the reference (platform.claude.com, "List Models"), as anthropic-python 1.x has them.

Not said: `capabilities`, which must name every feature of Anthropic's own API once it is there, and `line`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from privity.catalogue.dialects import openai
from privity.catalogue.dialects._shared import moment_of, rfc3339
from privity.catalogue.model import Model, without_none
from privity.errors import InvalidRequestError

MAX_LIMIT = 1000
"""Rows of a page that a client may ask for (the reference: 1 to 1000)."""

DEFAULT_LIMIT = 20
"""Rows of a page where a client of Anthropic's API, which has pages, doesn't say (the reference)."""

_CURSORS = ("after_id", "before_id")


def row(model: Model, listed_id: str, now: datetime) -> dict[str, Any]:
    """Return a model's row under one of its IDs.

    `display_name` and `created_at` are strings in every client, so they are always there: the ID stands in for a name
    that nobody gave. `max_input_tokens` is the context window. `lifecycle` goes by the same dates as `deprecated`.
    """
    return without_none(
        {
            **openai.row(model, listed_id, now),
            "type": "model",
            "display_name": listed_id if model.display_name is None else model.display_name,
            "created_at": rfc3339(moment_of(model.created)),
            "lifecycle": _stage(model, now),
            "max_input_tokens": model.context_length,
            "max_tokens": model.max_output_tokens,
        }
    )


def _stage(model: Model, now: datetime) -> Literal["active", "deprecated", "retired"]:
    if model.lifecycle.is_retired(now):
        return "retired"
    return "deprecated" if model.lifecycle.is_deprecated(now) else "active"


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a list a page has."""

    start: int
    stop: int
    """The first row after it."""
    has_more: bool
    """Whether there are more in the direction of paging: before it for `before_id`, else after it."""


@dataclass(frozen=True, slots=True)
class Paging:
    """What a client wants to see of a list."""

    limit: int | None = None
    """Rows of a page, 1 to `MAX_LIMIT`; None is all that there are."""
    after_id: str | None = None
    before_id: str | None = None

    def page(self, ids: Sequence[str]) -> Page:
        """Return the page right after `after_id`, right before `before_id`, or at the beginning.

        Args:
            ids: every row's ID, in the order of the list.

        Raises:
            InvalidRequestError: an ID that isn't in the list, or both IDs.
        """
        if self.after_id is not None and self.before_id is not None:
            raise InvalidRequestError("`after_id` and `before_id` exclude each other.", param="before_id")
        count = len(ids) if self.limit is None else self.limit
        if self.before_id is not None:
            stop = _position(ids, self.before_id, "before_id")
            start = max(stop - count, 0)
            return Page(start, stop, has_more=start > 0)
        start = 0 if self.after_id is None else _position(ids, self.after_id, "after_id") + 1
        stop = min(start + count, len(ids))
        return Page(start, stop, has_more=stop < len(ids))


def read_paging(params: Mapping[str, str], *, by_default: bool = False) -> Paging:
    """Read `limit`, `after_id` and `before_id`; other parameters are not looked at, empty ones are not there.

    Args:
        params: by name.
        by_default: whether no `limit` means `DEFAULT_LIMIT`, for clients that are known to page. For others it means
            the whole list: who doesn't know that there are pages would miss models.

    Raises:
        InvalidRequestError: `limit` is not a number from 1 to `MAX_LIMIT`.
    """
    after_id, before_id = (params.get(name) or None for name in _CURSORS)
    return Paging(_limit(params.get("limit"), by_default=by_default), after_id, before_id)


def _limit(given: str | None, *, by_default: bool) -> int | None:
    if not given:
        return DEFAULT_LIMIT if by_default else None
    is_number = given.isascii() and given.isdigit() and len(given) <= len(str(MAX_LIMIT))
    if not is_number or not 1 <= int(given) <= MAX_LIMIT:
        raise InvalidRequestError(f"`limit` is a number from 1 to {MAX_LIMIT}.", param="limit")
    return int(given)


def _position(ids: Sequence[str], wanted: str, param: str) -> int:
    try:
        return ids.index(wanted)
    except ValueError:
        raise InvalidRequestError(f"`{param}` is not the ID of a listed model.", param=param) from None
