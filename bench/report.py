"""Figures into a table for people, and into JSON for programs."""

import os
import platform
import statistics
from typing import Any

from bench.rounds import HARNESS, Figures
from bench.targets import MEASURES, Measure

_COLUMNS = {
    "direct": "stub",
    "sealed": "sealed stub",
    "nginx": "nginx",
    "proxy": "proxy",
    "gateway": "gateway",
    "inference": "inference",
    "chain": "all roles",
}
_HEAD = ("measure", *_COLUMNS.values(), "ratio", "must", "stretch", "ok?")

SATURATED = 0.9
"""Of one core: a part of the harness that is busier limits what it measures."""

NOTES = (
    "Medians of interleaved rounds; a ratio is the median of proxy / nginx, round by round. Differences under 15 %\n"
    "mean nothing. nginx passes on in plain; the proxy encrypts. `stub` and `sealed stub` are the upstreams with\n"
    "nothing in between: a rate near theirs is the harness's limit, and nobody else's. `gateway` and `inference` are\n"
    "parts of `all roles`: proxy, gateway and inference proxy, with TLS between these two, on the same cores."
)


def line(measure: Measure, values: dict[str, list[float]]) -> dict[str, Any]:
    """Return all that is known about one measure."""
    known = {name: each for name, each in values.items() if each}
    ratios = {name: _ratio(known, name) for name in ("proxy", "chain")}
    entry: dict[str, Any] = {
        "key": measure.key,
        "title": measure.title.strip(),
        "values": {name: statistics.median(each) for name, each in known.items()},
        "rounds": known,
        "ratio": ratios["proxy"],
        "chain_ratio": ratios["chain"],
    }
    goal = measure.goal
    if goal is not None:
        figure = entry["values"].get(goal.target) if goal.unit else ratios["proxy"]
        verdict = None if figure is None else goal.reached(figure)
        entry |= {"must": goal.shown(goal.must), "stretch": goal.shown(goal.stretch), "ok": verdict}
    return entry


def _ratio(values: dict[str, list[float]], name: str) -> float | None:
    pairs = zip(values.get(name, ()), values.get("nginx", ()), strict=False)
    ratios = [own / nginx for own, nginx in pairs if nginx > 0]
    return statistics.median(ratios) if ratios else None


def as_json(figures: Figures, settings: dict[str, Any], pids: dict[str, list[int]]) -> dict[str, Any]:
    """Return everything, as plain values."""
    machine = {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    measures = [line(measure, figures.get(measure.key, {})) for measure in MEASURES]
    busy = {part: {where: max(each) for where, each in figures[f"{part} busy"].items()} for part in HARNESS}
    return {"settings": settings, "machine": machine, "processes": pids, "measures": measures, "busy": busy}


def as_table(result: dict[str, Any]) -> str:
    """Return the table and what to know about it."""
    entries = {entry["key"]: entry for entry in result["measures"]}
    rows = [_HEAD, *(_row(measure, entries[measure.key]) for measure in MEASURES)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", NOTES, *_limits(result["busy"])])


def _limits(busy: dict[str, dict[str, float]]) -> list[str]:
    """Say where the harness was the bottleneck."""
    found = {part: [name for name, share in each.items() if share >= SATURATED] for part, each in busy.items()}
    return [
        f"The {part} was busy at {SATURATED:.0%} of a core in: {'; '.join(at)}." for part, at in found.items() if at
    ]


def _row(measure: Measure, entry: dict[str, Any]) -> tuple[str, ...]:
    values = entry["values"]
    cells = [f"{values[name]:.{measure.decimals}f}" if name in values else "" for name in _COLUMNS]
    ratio = "" if entry["ratio"] is None else f"{entry['ratio']:.2f}"
    goal = [entry.get("must", ""), entry.get("stretch", ""), entry.get("ok") or ""]
    return (measure.title, *cells, ratio, *goal)
