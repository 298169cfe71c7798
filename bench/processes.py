"""Programs that are started, waited for, and ended by their PIDs, whatever happens."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self

from bench.accounting import tree

START_SECONDS = 20.0
"""Until a program must listen: ten times what the slowest one needs on a busy machine."""

END_SECONDS = 5.0
"""Until a program that was asked to end must have ended."""

ANSWER_SECONDS = 60.0
"""Until a program that talks must have answered: it bounds every job itself."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class BenchError(Exception):
    """Something could not be run; its text is for the user."""


@dataclass(frozen=True, slots=True)
class Program:
    """One that runs; `port` is where it is to listen, 0 where it listens nowhere."""

    name: str
    child: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float

    @property
    def pid(self) -> int:
        """Its process's ID."""
        return self.child.pid

    def wait_until_it_listens(self) -> float:
        """Return the seconds from its start until it accepts connections. Raises `BenchError` where it never does."""
        while time.perf_counter() < self.started + START_SECONDS and self.child.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return time.perf_counter() - self.started
            time.sleep(0.002)
        raise BenchError(f"{self.name} does not listen. {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it wrote to standard error."""
        return self.log.read_text(errors="replace")[-1000:].strip()

    def ask(self, line: bytes) -> bytes:
        """Return its answer to a line, for one that talks. Raises `BenchError` where there is none."""
        if self.child.stdin is None or self.child.stdout is None:
            raise BenchError(f"The {self.name} was started without pipes.")
        try:
            self.child.stdin.write(line + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError as error:
            raise BenchError(f"The {self.name} has ended. {self.last_words()}") from error
        ready, _, _ = select.select([self.child.stdout], [], [], ANSWER_SECONDS)
        answer = self.child.stdout.readline() if ready else b""
        if not answer:
            raise BenchError(f"The {self.name} does not answer. {self.last_words()}")
        return answer

    def end(self) -> None:
        """End it and its children, and wait until they are gone."""
        family = tree(self.pid)
        self.child.terminate()
        if self.child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.child.stdin.close()
        try:
            self.child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.child.wait()
        if self.child.stdout is not None:
            self.child.stdout.close()


class Programs:
    """All that run, in a context that ends them: on errors, Ctrl-C, SIGTERM and a closed terminal too.

    Args:
        folder: for their standard error.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Program] = []
        self._signal = 0
        self._busy = False
        self._handlers: dict[signal.Signals, Any] = {}

    def start(self, name: str, command: Sequence[str], port: int = 0, *, talks: bool = False) -> Program:
        """Start one; `talks` gives it pipes for standard input and output."""
        pipe: int | IO[bytes] = subprocess.PIPE if talks else subprocess.DEVNULL
        log = self._folder / f"{name.replace(' ', '-')}.log"
        self._busy = True  # a signal that comes now must not lose the child
        try:
            with log.open("wb") as errors:
                started = time.perf_counter()
                # In a session of its own, Ctrl-C reaches this process alone, which ends the others in order.
                child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True)
            program = Program(name, child, port, log, started)
            self._running.append(program)
        except OSError as error:
            raise BenchError(f"{name} can't be started: {error}") from error
        finally:
            self._busy = False
        if self._signal:
            raise SystemExit(128 + self._signal)
        return program

    def end(self, program: Program) -> None:
        """End one before the others."""
        program.end()
        self._running.remove(program)

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes of every program."""
        return {program.name: tree(program.pid) for program in self._running}

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        if not self._busy:
            raise SystemExit(128 + number)

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._busy = True  # a second Ctrl-C must not cut this short
        while self._running:
            self._running.pop().end()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
