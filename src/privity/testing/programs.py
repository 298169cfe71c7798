"""Real `privity` programs for system tests: started, watched, stopped, and looked into."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PRIVITY = Path(sys.executable).with_name("privity")
START_DEADLINE = 300.0  # seconds; the first start downloads 180 MB
DEADLINE = 30.0  # seconds, for what takes one or two


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def eventually(holds: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Wait until something holds; the deadline is far beyond what it takes."""
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str | None]:
        """The error object in OpenAI's form."""
        found: dict[str, str | None] = json.loads(self.body)["error"]
        return found


def http(method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
    """Send a request as it is; names of headers with `_` for `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, method=method, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that waits to be reaped doesn't."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(listed.strip()) and not listed.startswith("Z")


def end_of_worker(module: str, job: str) -> tuple[int, bytes, bytes]:
    """Run an engine's worker that ends by itself; return its exit status, its output and its errors.

    Args:
        module: the worker's.
        job: its argument.
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-m", module, job],
        stdin=subprocess.PIPE,  # its end would end the worker
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        status = process.wait(60)
        assert process.stdout is not None
        assert process.stderr is not None
        return status, process.stdout.read(), process.stderr.read()


class Program:
    """One `privity` process; its screen and its log are files."""

    def __init__(self, directory: Path, *arguments: str, command: Sequence[str] = (str(PRIVITY),)) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.out, self.err = directory / "out", directory / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen([*command, *arguments], stdout=out, stderr=err, stdin=subprocess.DEVNULL)

    def wait_until_it_says(self, text: str, deadline: float = START_DEADLINE) -> None:
        """Wait for a text on its screen."""

        def said() -> bool:
            assert self.process.poll() is None, self.err.read_text()
            return text in self.out.read_text()

        eventually(said, f"{text!r} on the screen", deadline)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextlib.contextmanager
def program(
    directory: Path, *arguments: str, serves: str = " serves on ", command: Sequence[str] = (str(PRIVITY),)
) -> Iterator[Program]:
    """Run a program that serves for as long as the context lasts."""
    started = Program(directory, *arguments, command=command)
    try:
        started.wait_until_it_says(serves)
        yield started
    finally:
        started.stop()


@dataclass(frozen=True)
class Up:
    """A `privity up` that serves."""

    program: Program
    url: str

    def worker(self, model: str) -> int:
        """Return the process ID of a model's engine."""
        for child in children_of(self.program.process.pid):
            command = subprocess.run(
                ["ps", "-ww", "-o", "args=", "-p", str(child)], capture_output=True, text=True, check=False
            )
            if model in command.stdout:
                return child
        raise AssertionError(f"no worker for {model}")


@contextlib.contextmanager
def up(directory: Path, *arguments: str) -> Iterator[Up]:
    """Run `privity up` on a free port for as long as the context lasts."""
    port = free_port()
    with program(directory, "up", "--port", str(port), *arguments) as started:
        yield Up(started, f"http://127.0.0.1:{port}")
