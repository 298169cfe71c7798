"""Models out of another role's `GET /v1/models`."""

from collections.abc import Iterator

import msgspec

from privity.catalogue.model import Model, in_order
from privity.errors import UpstreamProtocolError

MAX_ROWS = 10_000
"""Rows of one list: far more than any replica serves, little enough to hold."""


class _Row(msgspec.Struct):
    id: str
    created: int = 0
    owned_by: str = "unknown"
    tasks: list[str] = []
    aliases: list[str] = []
    canonical: str | None = None
    context_length: int | None = None
    root: str | None = None


class _List(msgspec.Struct):
    data: list[_Row]


_DECODER = msgspec.json.Decoder(_List)


def read_models(body: bytes) -> tuple[Model, ...]:
    """Return the models of a list; rows that point at a canonical row are part of that one.

    Raises:
        UpstreamProtocolError: not such a list, or one of more than `MAX_ROWS` rows.
    """
    try:
        rows = _DECODER.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamProtocolError("not a model list") from error
    if len(rows) > MAX_ROWS:
        raise UpstreamProtocolError(f"a model list of more than {MAX_ROWS} rows")
    return tuple(_models(rows))


def _models(rows: list[_Row]) -> Iterator[Model]:
    for row in rows:
        if row.canonical is None or row.canonical == row.id:
            yield Model(
                id=row.id,
                tasks=in_order(row.tasks),
                created=row.created,
                owned_by=row.owned_by,
                aliases=tuple(row.aliases),
                context_length=row.context_length,
                root=row.root,
            )
