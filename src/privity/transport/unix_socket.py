"""A Unix domain socket to listen on: only its user may connect, and nobody else's file is ever replaced by it."""

import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from privity.errors import StartError

MAX_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""Of a socket's absolute path: `sun_path` has one byte more, for the end of the text (unix(7), macOS's sys/un.h)."""

LOOK_SECONDS = 1.0
"""For which it is tried whether another program listens already: it takes microseconds."""


@contextmanager
def unix_listener(path: Path, what: str, backlog: int) -> Iterator[socket.socket]:
    """Listen at a path for as long as the context lasts. A socket there that nobody listens on is replaced.

    Args:
        path: is made, with mode 0600, and removed at the end.
        what: the listener's name in error messages.
        backlog: connections that may wait to be accepted.

    Raises:
        StartError: there is no socket to be had.
    """
    path = path.absolute()
    _check_length(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            _remove_stale(path, what)
            listener.bind(os.fsencode(path))
            path.chmod(0o600)  # before anybody can connect: nobody can until it listens
            listener.listen(backlog)
            own = path.lstat()
        except (OSError, ValueError) as error:
            raise StartError(
                f"The {what} can't listen on {path}: {getattr(error, 'strerror', None) or 'it is no path'}.",
                "Choose a path in a directory that is there and is yours with --unix-socket.",
            ) from error
        listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
        try:
            yield listener
        finally:
            _remove_same(path, own)


def unix_url(path: Path) -> str:
    """Return the URL that clients of the family of `requests-unixsocket` know a socket by."""
    return f"http+unix://{quote(os.fsencode(path.absolute()), safe='')}"


def _check_length(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise StartError(
            f"The path of the socket, {path}, has {length} bytes, and no socket's may have more than {MAX_PATH_BYTES}.",
            "Choose a shorter one with --unix-socket.",
        )


def _remove_stale(path: Path, what: str) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(
            f"There is something at {path} already that is no socket, so the {what} can't listen there.",
            "Choose another path with --unix-socket, or move it away.",
        )
    if _is_answered(path):
        raise StartError(
            f"Another program listens on {path}, so the {what} can't.",
            "Stop that program, or choose another path with --unix-socket.",
        )
    _remove_same(path, found)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(LOOK_SECONDS)
        try:
            asking.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):
            return True  # its backlog is full
    return True


def _remove_same(path: Path, known: os.stat_result) -> None:
    """Remove a file, unless another one has taken its place, perhaps with the same number."""
    with suppress(OSError):
        if _identity(path.lstat()) == _identity(known):
            path.unlink()


def _identity(file: os.stat_result) -> tuple[int, int, int]:
    return file.st_dev, file.st_ino, file.st_mtime_ns
