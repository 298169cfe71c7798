"""The figures of `bench.scale`, beside their goals."""

import statistics
from dataclasses import dataclass
from typing import Any

from bench.rounds import Figures
from bench.scale_setting import KEYS, ROWS, SUBSCRIBERS
from bench.scale_stub import ALIASES, MODELS, SHORT
from bench.targets import Goal

Place = tuple[str, str]
"""A measure, and of what."""

_ROW = Goal(3, None, at_least=False)
_CHURN = Goal(1.1, None, at_least=False)
_CROWD = Goal(60, None, at_least=False, unit="MB")
_HEARD = Goal(5, None, at_least=False, unit="s")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. A goal without a unit bounds the ratio of the two figures."""

    title: str
    of: Place
    against: Place | None = None
    decimals: int = 2
    goal: Goal | None = None


LINES = (
    Line(f"list of {ROWS['long']} rows, µs per row", ("row", "long"), ("row", "short"), 3, _ROW),
    Line(f"  first list of each of {KEYS} keys, µs per row", ("cold row", "long"), ("row", "short"), 3, _ROW),
    Line(f"  {SHORT} models of {MODELS}, ms", ("few", "long"), ("list", "short"), 3),
    Line("304 instead of 200, long list, ms", ("known", "long"), ("list", "long"), 3, Goal(0.2, None, at_least=False)),
    Line("  short list, ms", ("known", "short"), ("list", "short"), 3),
    Line(f"gateway's memory, {MODELS} models, MB", ("memory", "long"), ("memory", "short"), 1),
    Line(f"  after lists by {KEYS} keys, MB", ("memory", "views"), ("memory", "short"), 1),
    Line("  after all changes, MB", ("memory", "churned"), ("memory", "short"), 1),
    Line("start to listening, s", ("start", "long"), None, 2),
    Line("100 changes/s: list p50, ms", ("list p50", "churn"), ("list p50", "calm"), 3, _CHURN),
    Line("  call p50, ms", ("call p50", "churn"), ("call p50", "calm"), 3, _CHURN),
    Line("  list p50 at the other gateway, ms", ("list elsewhere", "churn"), ("list elsewhere", "calm"), 3),
    Line("  call p50 at the other gateway, ms", ("call elsewhere", "churn"), ("call elsewhere", "calm"), 3),
    Line("  list p95, ms", ("list p95", "churn"), ("list p95", "calm")),
    Line("  call p95, ms", ("call p95", "churn"), ("call p95", "calm")),
    Line("  8 connections at full speed, requests/s", ("rate", "churn"), ("rate", "calm"), 0),
    Line("  gateway's CPU without requests, % of a core", ("own cpu", "churn"), ("own cpu", "calm"), 1),
    Line("  with 200 requests/s, % of a core", ("loaded cpu", "churn"), ("loaded cpu", "calm"), 1),
    Line(f"{SUBSCRIBERS} subscribers at the gateway, MB", ("subscribed", "gateway"), None, 1, _CROWD),
    Line("  after some changes, MB", ("subscribed later", "gateway"), None, 1, _CROWD),
    Line("  idle CPU, % of a core", ("idle cpu", "gateway"), None, 1),
    Line("  a change reaches the last one, s", ("heard", "gateway"), ("first heard", "gateway"), 3, _HEARD),
    Line(f"{SUBSCRIBERS} subscribers at the proxy, MB", ("subscribed", "proxy"), None, 1, _CROWD),
    Line("  after some changes, MB", ("subscribed later", "proxy"), None, 1, _CROWD),
    Line("  idle CPU, % of a core", ("idle cpu", "proxy"), None, 1),
    Line("  a change reaches the last one, s", ("heard", "proxy"), ("first heard", "proxy"), 3, _HEARD),
    Line(f"{SUBSCRIBERS} subscribers by {KEYS} keys, {MODELS} models, MB", ("subscribed", "large"), None, 1),
    Line("  100 changes/s, gateway's CPU, % of a core", ("churning cpu", "large"), None, 1),
)

NOTES = (
    f"One gateway with {SHORT} models and 1 key, one with {MODELS} models in 100 replicas and {KEYS} keys that each\n"
    f"see another half of them; each model has {ALIASES} aliases, so a row is a fourth of one. Medians of interleaved\n"
    "rounds; a ratio is the median, round by round, of the figure and the one beside it: the short list's, the whole\n"
    "answer's, the ones without changes, or the first subscriber's time. `the other gateway` is the one whose models\n"
    "don't change: what slows it is that all programs share this machine's cores."
)


def as_json(figures: Figures) -> list[dict[str, Any]]:
    """Return each line as plain values."""
    return [_entry(line, figures) for line in LINES]


def _entry(line: Line, figures: Figures) -> dict[str, Any]:
    values = figures[line.of[0]][line.of[1]]
    others = figures[line.against[0]][line.against[1]] if line.against is not None else []
    ratio = _ratio(values, others)
    entry: dict[str, Any] = {
        "key": " ".join(line.of),
        "title": line.title.strip(),
        "value": statistics.median(values),
        "against": statistics.median(others) if others else None,
        "ratio": ratio,
        "rounds": values,
    }
    if line.goal is not None:
        figure = entry["value"] if line.goal.unit else ratio
        verdict = None if figure is None else line.goal.reached(figure)
        entry |= {"must": line.goal.shown(line.goal.must), "ok": verdict}
    return entry


def _ratio(values: list[float], others: list[float]) -> float | None:
    """Return the ratio round by round, or that of the medians; None where there is nothing to divide by."""
    if not others or min(others) <= 0:
        return None
    if len(values) != len(others):
        return statistics.median(values) / statistics.median(others)
    return statistics.median(each / other for each, other in zip(values, others, strict=True))


def as_table(entries: list[dict[str, Any]]) -> str:
    """Return the table and what to know about it."""
    rows = [("scale", "figure", "against", "ratio", "must", "ok?")]
    for line, entry in zip(LINES, entries, strict=True):
        shown = [_shown(entry[name], line.decimals) for name in ("value", "against")]
        rows.append((line.title, *shown, _shown(entry["ratio"], 2), entry.get("must", ""), entry.get("ok") or ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", NOTES])


def _shown(figure: float | None, decimals: int) -> str:
    return "" if figure is None else f"{figure:.{decimals}f}"
