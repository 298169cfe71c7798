"""Rows of `GET /v1/models` as any server may send them: read, compared, and never trusted."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from privity.catalogue.rows import MAX_ROWS
from privity.errors import UpstreamProtocolError

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")


class Evidence(msgspec.Struct):
    """Where a task comes from."""

    source: str = ""
    at: str | None = None


class Health(msgspec.Struct):
    """What is known of a model's replicas."""

    replicas: int | None = None
    age_seconds: float | None = None


class Row(msgspec.Struct):
    """What is shown of a row; other members are skipped, and those of another type make it none."""

    id: str
    owned_by: str | None = None
    created: float | None = None
    tasks: list[str] = []
    aliases: list[str] = []
    floating_aliases: list[str] = []
    canonical: str | None = None
    display_name: str | None = None
    root: str | None = None
    context_length: int | None = None
    max_model_len: int | None = None
    max_output_tokens: int | None = None
    status: str | None = None
    deprecated: bool | None = None
    deprecated_at: str | None = None
    retires_at: str | None = None
    replacement: str | None = None
    verified: bool | None = None

    @property
    def is_canonical(self) -> bool:
        """Return whether this is the model's own row, and not that of an alias."""
        return self.canonical in (None, self.id)


class Details(Row):
    """What is shown of an answer to `GET /v1/models/{id}?detail=full`."""

    evidence: dict[str, Evidence] = {}
    health: Health | None = None
    facts: dict[str, str | int | float | None] = {}
    statement: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """By what a list became another one: rows as they came, and IDs."""

    added: list[dict[str, Any]]
    changed: list[dict[str, Any]]
    removed: list[str]


class _Change(msgspec.Struct):
    added: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    removed: list[str] = []


class _List(msgspec.Struct):
    data: list[dict[str, Any]]


def parse_list(body: bytes) -> list[dict[str, Any]]:
    """Return the rows of a list. Raises `UpstreamProtocolError`."""
    return _checked(_parse(body, _List).data)


def parse_change(data: bytes) -> Change:
    """Return what an event of the feed says that changed. Raises `UpstreamProtocolError`."""
    given = _parse(data, _Change)
    return Change(_checked(given.added), _checked(given.changed), given.removed)


def parse_details(body: bytes) -> Details:
    """Return the record of one model. Raises `UpstreamProtocolError`."""
    return _parse(body, Details)


def read_row(row: Mapping[str, Any]) -> Row:
    """Return what is shown of a row. Raises `UpstreamProtocolError`."""
    return _convert(lambda: msgspec.convert(row, Row))


def apply(change: Change, rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the rows, by ID, after a change. Raises `UpstreamProtocolError` where they get too many."""
    kept = {name: row for name, row in rows.items() if name not in set(change.removed)}
    kept |= by_id((*change.changed, *change.added))
    if len(kept) > MAX_ROWS:
        raise UpstreamProtocolError(f"a model list of more than {MAX_ROWS} rows")
    return kept


def by_id(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows under their IDs."""
    return {row["id"]: row for row in rows}


def difference(before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]) -> Change:
    """Return by what one list became the other."""
    return Change(
        added=[row for name, row in after.items() if name not in before],
        changed=[row for name, row in after.items() if name in before and before[name] != row],
        removed=[name for name in before if name not in after],
    )


def _checked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) > MAX_ROWS:
        raise UpstreamProtocolError(f"a model list of more than {MAX_ROWS} rows")
    for row in rows:
        read_row(row)
    return rows


def _parse(body: bytes, kind: type[T]) -> T:
    return _convert(lambda: msgspec.json.decode(body, type=kind))


def _convert(read: Callable[[], T]) -> T:
    try:
        return read()
    except _NOT_JSON as error:
        raise UpstreamProtocolError("not an answer about models") from error
