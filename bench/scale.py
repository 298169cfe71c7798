"""A large fleet, many keys, constant change, and many who wait: what they cost, beside a small fleet.

`python -m bench --scale` prints it.
"""

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import cpu_seconds, rss_mb
from bench.processes import Program, Programs
from bench.rounds import Figures, Tell
from bench.scale_load import Job
from bench.scale_setting import EVERYTHING, FEW, ONLY, ROWS, SUBSCRIBERS, Scale, key_names, set_up
from bench.scale_stub import model

CHANGES = 100
"""A second."""

RATE = 200.0
"""Requests a second, of the moderate load."""

CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds in which nothing is sent."""

    settle: float
    """Between a step and the look at memory, or until changes are under way."""
    idle: float
    """While many wait."""


EXACT = Pauses(settle=1.0, idle=5.0)
QUICK = Pauses(settle=0.1, idle=0.5)


def measure_scale(
    folder: Path, rounds: int, seconds: float, tell: Tell, *, quick: bool
) -> tuple[Figures, dict[str, list[int]]]:
    """Return the figures, and the processes that made them."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    pauses = QUICK if quick else EXACT
    with Programs(folder) as programs:
        tell("scale: starting")
        scale = set_up(programs, folder)
        _first_lists(figures, scale, pauses, tell)
        for number in range(1, rounds + 1):
            tell(f"scale: round {number} of {rounds}")
            _lists(figures, scale, seconds)
        for number in range(1, rounds + 1):
            tell(f"scale: changes, round {number} of {rounds}")
            _requests(figures, scale, seconds, 0, pauses)
            _requests(figures, scale, seconds, 1, pauses)
            _surroundings(figures, scale, seconds, number, pauses)
        figures["memory"]["churned"].append(_rss(scale.large))
        tell(f"scale: {SUBSCRIBERS} subscribers")
        _subscribers(figures, scale, "gateway", scale.small, rounds, pauses)
        _subscribers(figures, scale, "proxy", scale.proxy, rounds, pauses)
        _subscribers_of_all_views(figures, scale, pauses)
        return figures, programs.pids


def _rss(program: Program) -> float:
    return rss_mb([program.pid])


def _first_lists(figures: Figures, scale: Scale, pauses: Pauses, tell: Tell) -> None:
    """Look at memory, and at what the first list of each key takes."""
    tell("scale: first lists")
    scale.load.run(Job("list", scale.small.port, [ONLY]))
    scale.load.run(Job("list", scale.large.port, [EVERYTHING]))
    time.sleep(pauses.settle)
    memory = figures["memory"]
    memory["short"].append(_rss(scale.small))
    memory["long"].append(_rss(scale.large))
    whole = scale.load.run(Job("list", scale.large.port, [EVERYTHING]))
    cold = scale.load.run(Job("list", scale.large.port, key_names()))
    rows = ROWS["long"] * cold.size / whole.size
    figures["cold row"]["long"].append(statistics.median(cold.times["list"]) * 1e6 / rows)
    figures["start"]["long"].append(scale.large_start)
    time.sleep(pauses.settle)
    memory["views"].append(_rss(scale.large))


def _lists(figures: Figures, scale: Scale, seconds: float) -> None:
    """Ask for a short list and for a long one, known or not."""
    for name, program, key in (("short", scale.small, ONLY), ("long", scale.large, EVERYTHING)):
        for what, known in (("list", False), ("known", True)):
            outcome = scale.load.run(Job("list", program.port, [key], seconds, known=known))
            p50 = statistics.median(outcome.times["list"])
            figures[what][name].append(p50 * 1e3)
            if not known:
                figures["row"][name].append(p50 * 1e6 / ROWS[name])
    few = scale.load.run(Job("list", scale.large.port, [FEW], seconds))
    figures["few"]["long"].append(statistics.median(few.times["list"]) * 1e3)


def _in_turn(number: int) -> tuple[tuple[float, str], ...]:
    """Return changes a second, and their name in the figures; in one round these come first, in the next one last."""
    order = ((CHANGES, "churn"), (0.0, "calm"))
    return order if number % 2 else order[::-1]


def _mixed(program: Program, key: str, seconds: float, rate: float = 0.0) -> Job:
    return Job("mixed", program.port, [key], seconds, connections=CONNECTIONS, rate=rate, model=model(0).id)


def _requests(figures: Figures, scale: Scale, seconds: float, number: int, pauses: Pauses) -> None:
    """Send the same requests while models change and while they don't."""
    for changes, name in _in_turn(number):
        scale.change_all(changes)
        time.sleep(pauses.settle / 2)
        begun, used = time.perf_counter(), cpu_seconds([scale.large.pid])
        times = scale.load.run(_mixed(scale.large, FEW, 2 * seconds, RATE)).times
        figures["loaded cpu"][name].append(_share(scale.large, begun, used))
        for kind, each in times.items():
            figures[f"{kind} p50"][name].append(statistics.median(each) * 1e3)
            figures[f"{kind} p95"][name].append(statistics.quantiles(each, n=20)[-1] * 1e3)
    scale.change_all(0)


def _surroundings(figures: Figures, scale: Scale, seconds: float, number: int, pauses: Pauses) -> None:
    """Look at what else changes cost: this gateway by itself, at full speed, and what shares its machine."""
    for changes, name in _in_turn(number):
        scale.change_all(changes)
        time.sleep(pauses.settle / 2)
        begun, used = time.perf_counter(), cpu_seconds([scale.large.pid])
        for kind, each in scale.load.run(_mixed(scale.small, ONLY, 2 * seconds, RATE)).times.items():
            figures[f"{kind} elsewhere"][name].append(statistics.median(each) * 1e3)
        figures["own cpu"][name].append(_share(scale.large, begun, used))
        figures["rate"][name].append(scale.load.run(_mixed(scale.large, FEW, seconds)).rate)
    scale.change_all(0)


def _share(program: Program, begun: float, used: float) -> float:
    """Return the share of a core that a program used since then, in percent."""
    return (cpu_seconds([program.pid]) - used) * 100 / (time.perf_counter() - begun)


def _subscribers(figures: Figures, scale: Scale, name: str, program: Program, rounds: int, pauses: Pauses) -> None:
    """Let many wait for changes at a program."""
    scale.load.run(Job("list", program.port, [ONLY]))
    time.sleep(pauses.settle)
    before = _rss(program)
    scale.crowd.run(Job("subscribe", program.port, [ONLY], count=SUBSCRIBERS))
    time.sleep(pauses.settle)
    figures["subscribed"][name].append(_rss(program) - before)
    begun, used = time.perf_counter(), cpu_seconds([program.pid])
    time.sleep(pauses.idle)
    figures["idle cpu"][name].append(_share(program, begun, used))
    for count in range(1, rounds + 1):
        changed = scale.change_one()
        heard = scale.crowd.run(Job("heard", count=count))
        figures["first heard"][name].append(heard.first - changed)
        figures["heard"][name].append(heard.last - changed)
        time.sleep(pauses.settle / 2)
    figures["subscribed later"][name].append(_rss(program) - before)
    scale.crowd.run(Job("leave"))


def _subscribers_of_all_views(figures: Figures, scale: Scale, pauses: Pauses) -> None:
    """Let as many wait at the large gateway, by all keys, while everything changes."""
    before = _rss(scale.large)
    scale.crowd.run(Job("subscribe", scale.large.port, key_names(), count=SUBSCRIBERS))
    time.sleep(pauses.settle)
    figures["subscribed"]["large"].append(_rss(scale.large) - before)
    scale.change_all(CHANGES)
    begun, used = time.perf_counter(), cpu_seconds([scale.large.pid])
    time.sleep(pauses.idle)
    figures["churning cpu"]["large"].append(_share(scale.large, begun, used))
    scale.change_all(0)
    scale.crowd.run(Job("leave"))
