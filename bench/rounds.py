"""Interleaved rounds: every target in turn, again and again, so that a noisy moment meets all of them."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable

import msgspec

from bench.accounting import cpu_seconds
from bench.load import Job, Outcome
from bench.processes import BenchError, Program
from bench.setting import Setting

CONNECTIONS = 32
"""Concurrent requests or streams, where more than one."""

Figures = dict[str, dict[str, list[float]]]
"""Measure → target → one value per round."""

Tell = Callable[[str], None]

_STUB, _LOAD = HARNESS = ("stub", "load")
"""What is in nobody's account, and may be the bottleneck all the same."""

_JOBS = (
    ("models", CONNECTIONS),
    ("chat", CONNECTIONS),
    ("chat_one", 1),
    ("paced", CONNECTIONS),
    ("saturated", CONNECTIONS),
)


def load_command() -> list[str]:
    """Return the command of the load generator."""
    return [sys.executable, "-m", "bench.load"]


class Load:
    """The load generator's other end."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def pid(self) -> int:
        """Its process."""
        return self._program.pid

    def run(self, job: Job) -> Outcome:
        """Have a job done. Raises `BenchError` where it fails."""
        line = self._program.ask(msgspec.json.encode(job))
        outcome = msgspec.json.decode(line, type=Outcome)
        if outcome.error:
            raise BenchError(f"The load failed: {outcome.error}")
        return outcome


def measure(setting: Setting, load: Load, rounds: int, seconds: float, tell: Tell) -> Figures:
    """Return the figures of all kinds of load."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    for number in range(1, rounds + 1):
        for kind, connections in _JOBS:
            tell(f"round {number} of {rounds}: {kind}")
            _one_round(figures, setting, load, kind, connections, seconds)
    return figures


def _one_round(figures: Figures, setting: Setting, load: Load, kind: str, connections: int, seconds: float) -> None:
    p50: dict[str, float] = {}
    for name, target in setting.targets.items():
        if kind == "models" and target.sealed:
            continue
        accounts = {each: [program.pid] for each, program in setting.parts.items() if program in target.programs}
        if target.programs:
            accounts[name] = [program.pid for program in target.programs]
        accounts[_STUB], accounts[_LOAD] = [setting.stub.pid], [load.pid]
        before, begun = {each: cpu_seconds(pids) for each, pids in accounts.items()}, time.perf_counter()
        outcome = load.run(Job(kind.removesuffix("_one"), target.port, connections, seconds, target.sealed))
        elapsed = time.perf_counter() - begun
        used = {each: cpu_seconds(pids) - before[each] for each, pids in accounts.items()}
        p50[name] = outcome.p50
        if kind != "paced":
            figures[f"{kind}_rate"][name].append(outcome.rate)
        for harness in (_STUB, _LOAD):
            figures[f"{harness} busy"][f"{kind}, {name}"].append(used.pop(harness) / elapsed)
        for each, cpu in used.items():
            figures[f"{kind}_cpu"][each].append(cpu * 1e6 / outcome.done)
        time.sleep(0.02)  # until the closed connections are dealt with, in their own account
    if kind == "chat_one":
        for name, target in setting.targets.items():
            if target.programs:
                figures["chat_one_added"][name].append((p50[name] - p50[target.direct]) * 1000)
