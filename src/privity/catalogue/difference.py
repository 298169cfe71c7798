"""What changed between two views, row by row."""

from dataclasses import dataclass

from privity.catalogue.catalogue import Entry, Render, View
from privity.catalogue.projections import select
from privity.catalogue.query import Query


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows by which a list became another one."""

    added: tuple[bytes, ...]
    changed: tuple[bytes, ...]
    removed: tuple[str, ...]
    """IDs."""


def difference(before: View, after: View, render: Render, query: Query) -> Difference:
    """Compare two views in a dialect. Entries that both have are not looked into."""
    kept = set(before.entries).intersection(after.entries)  # an entry equals itself alone
    old = _rows([entry for entry in select(before, query) if entry not in kept], render, query)
    new = _rows([entry for entry in select(after, query) if entry not in kept], render, query)
    return Difference(
        added=tuple(row for name, row in new.items() if name not in old),
        changed=tuple(row for name, row in new.items() if name in old and old[name] != row),
        removed=tuple(name for name in old if name not in new),
    )


def _rows(entries: list[Entry], render: Render, query: Query) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for entry in entries:
        ids = entry.listed(collapse=query.collapse)
        rows.update(zip(ids, entry.rows(render, collapse=query.collapse).rows, strict=True))
    return rows
