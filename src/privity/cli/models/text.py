"""What is said of models at a terminal. What could steer it is still in here: `_ui` takes that out where it prints."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from privity.cli.models.rows import Row, read_row

NOTHING = "No model is available at the moment."
NO_MATCH = "No model that is available at the moment matches."
UNVERIFIED = "Nothing of this was verified: it is what the gateway says. --mesh-ca FILE verifies it."
VERIFIED = "Verified with the CA of --mesh-ca. A gateway can still hide models, and says itself how they are."
HEAD = ("ID", "ALIASES", "TASKS", "CONTEXT", "STATE")
VOUCHED_HEAD = (*HEAD, "VOUCHED FOR")
"""With what was found out about each row here."""

REASONS = {
    "unsigned": "that nobody signed",
    "malformed": "whose statement can't be read",
    "expired": "whose statement is out of date",
    "altered": "that aren't what was signed, or whose name another one has",
    "unknown_signer": "whose signer isn't of the deployment",
}
"""Why a row was dropped, of several ones."""

_REASON_OF_ONE = {
    "unsigned": "nobody signed it",
    "malformed": "its statement can't be read",
    "expired": "its statement is out of date",
    "altered": "it isn't what was signed, or another one has its name",
    "unknown_signer": "its signer isn't of the deployment",
}

_DROPPED = re.compile(r"([a-z_]{1,32})=([0-9]{1,9})")
MOST = 2**63
"""No number of tokens, bytes or seconds is as large."""


def head(*, vouched: bool) -> tuple[str, ...]:
    """Return the heads of the columns that `cells` fills."""
    return VOUCHED_HEAD if vouched else HEAD


def cells(rows: Iterable[Mapping[str, Any]], *, vouched: bool = False) -> dict[str, tuple[str, ...]]:
    """Return the table's line for each model, by its ID. Raises `UpstreamProtocolError` for what is no row.

    Args:
        rows: as the API has them.
        vouched: whether `verified` was found out here, so that each line shall say it.
    """
    read = [read_row(row) for row in rows]
    known = {row.id for row in read}
    unverified = {row.id for row in read if row.verified is False}
    shown = (row for row in read if row.is_canonical or row.canonical not in known)
    return {row.id: _cells(row, unverified, vouched=vouched) for row in shown}


def _cells(row: Row, unverified: set[str], *, vouched: bool) -> tuple[str, ...]:
    verdict = () if not vouched else ("yes",) if row.verified else ("no: nobody signed it",)
    marked = unverified if row.id not in unverified else set()
    aliases = [f"{each} (not verified)" if each in marked else each for each in row.aliases]
    return (row.id, ", ".join(aliases) or "-", ", ".join(row.tasks) or "-", context(row) or "-", state(row), *verdict)


def context(row: Row) -> str | None:
    """Return how many tokens a model takes; None where nobody knows."""
    return number_of(row.context_length if row.context_length is not None else row.max_model_len)


def state(row: Row) -> str:
    """Return what is to be known of a model before it is used."""
    remarks = [row.status] if row.status not in (None, "", "available") else []
    remarks += end_of(row)
    if row.verified is False:
        remarks.append("not verified")
    return ", ".join(filter(None, remarks)) or row.status or "-"


def end_of(row: Row, since: str = "") -> list[str]:
    """Return what is known of a model's end."""
    remarks = [f"deprecated{since}"] if row.deprecated else []
    if row.retires_at is not None:
        remarks.append(f"retires {row.retires_at[:10]}")
    if row.replacement is not None:
        remarks[-1:] = [f"{remarks[-1] if remarks else 'replaced'} → {row.replacement}"]
    return remarks


def changes(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], *, vouched: bool = False
) -> Iterator[str]:
    """Yield one line for each model that came, went or became another one."""
    old, new = cells(before.values(), vouched=vouched), cells(after.values(), vouched=vouched)
    for name, line in new.items():
        if name not in old:
            yield f"+ {name}  {line[2]}"
        elif old[name] != line or before[name] != after[name]:
            differences = zip(head(vouched=vouched), old[name], line, strict=True)
            yield f"~ {name}  " + (
                "; ".join(f"{column.lower()}: {was} → {now}" for column, was, now in differences if was != now)
                or "in what the table doesn't show"
            )
    yield from (f"- {name}" for name in old if name not in new)


def dropped_note(remark: str) -> str:
    """Return in words what the header `privity-models-dropped` says, such as `unsigned=2, expired=1`."""
    found = [(reason, int(number)) for reason, number in _DROPPED.findall(remark)]
    total = sum(number for _, number in found)
    if not total:
        return ""
    kinds = ", ".join(f"{number} {REASONS.get(reason, f'({reason})')}" for reason, number in found)
    return f"The proxy left out {total} model{'s' * (total != 1)} or names of the gateway's list: {kinds}."


def dropped_lines(dropped: Mapping[str, str]) -> list[str]:
    """Return why each of some models isn't listed."""
    return [f"Dropped: {name} ({_REASON_OF_ONE.get(reason, reason)})" for name, reason in dropped.items()]


def number_of(number: int | None) -> str | None:
    """Return a number as text; None where it is none that can be."""
    return str(number) if number is not None and 0 <= number < MOST else None
