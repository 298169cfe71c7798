"""Child processes: what they import is gone from memory when they end, and they never outlive us.

A child's standard input is a pipe whose other end the parent holds. It closes with the parent, however that one dies,
and then the child ends. A child of `run_child` gets one JSON argument and answers with one JSON line. An engine's
worker gets one JSON argument, says in one word whether it serves, and lives on.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final, TextIO

_log = logging.getLogger(__name__)
_LOGGED_OUTPUT: Final = 20_000
"""Characters of a child's output that go to the debug log: its end says why it failed."""
READY: Final = "ready"
FAILED: Final = "failed"
"""The one line of an engine's worker: it has loaded its model and listens, or can't."""
UNKNOWN: Final = "unknown"
"""The kind of an error that the child did not foresee."""


class ChildError(Exception):
    """What a child could not do: `kind` is for programs, `detail` for people. Never leaves this package."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


def is_terminal() -> bool:
    """Tell whether a person watches our standard error, so that a child may draw its progress bar there."""
    return sys.stderr.isatty()


@contextlib.contextmanager
def start(
    module: str,
    arguments: list[str],
    *,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of ours; `environment` is added to our own. Leaving the context ends the child."""
    # -P: a pip.py or json.py in the user's current directory must not be imported.
    command = [sys.executable, "-P", "-m", module, *arguments]
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and module, no shell
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, env={**os.environ, **(environment or {})}
    )
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


def run_child(
    module: str, argument: Mapping[str, object], *, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a module of ours whose `main` calls `answer`, and return what its work returned.

    Its standard error goes to the terminal if there is one, else to the debug log.

    Raises:
        ChildError: the work failed, or the child died.
    """
    with tempfile.TemporaryFile() as errors:
        stderr = None if is_terminal() else errors
        with start(
            module, [json.dumps(argument)], stdout=subprocess.PIPE, stderr=stderr, environment=environment
        ) as process:
            output = process.stdout.read() if process.stdout else b""
            status = process.wait()
        errors.seek(0)
        log_output(module, errors.read())
    try:
        message = json.loads(output)
    except ValueError:
        raise ChildError(UNKNOWN, f"it ended with status {status}") from None
    if "error" in message:
        _log.debug("%s: %s", module, message.get("trace", ""))
        raise ChildError(message["error"], message["detail"])
    result: dict[str, Any] = message["result"]
    return result


def log_output(name: str, output: bytes) -> None:
    """Write the end of a child's output to the debug log."""
    if text := output.decode(errors="replace").strip():
        _log.debug("%s: %s", name, text[-_LOGGED_OUTPUT:])


def answer(work: Callable[[dict[str, Any]], Mapping[str, object]]) -> int:
    """Be the child: do the work for the JSON in the first argument, print one JSON line, return the exit status."""
    exit_with_parent()
    message: dict[str, object]
    try:
        message = {"result": work(json.loads(sys.argv[1]))}
    except KeyboardInterrupt:  # the parent got it too, and decides
        return 130
    except ChildError as error:
        message = {"error": error.kind, "detail": error.detail, "trace": traceback.format_exc()}
    except Exception as error:  # noqa: BLE001  # the program's outermost level: the parent reports it
        detail = f"{type(error).__name__}: {error}"
        message = {"error": UNKNOWN, "detail": detail, "trace": traceback.format_exc()}
    sys.stdout.write(json.dumps(message) + "\n")
    return 0 if "result" in message else 1


def exit_with_parent() -> None:
    """End this process as soon as its standard input is closed."""
    threading.Thread(target=_wait_for_end_of_input, daemon=True).start()


def silenced() -> TextIO:
    """Return our standard output, and have nothing else reach it or the standard error: logs may hold content."""
    output = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    return output


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _wait_for_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
