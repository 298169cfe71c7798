"""Directories for engines' sockets: this user's alone, named after the process that they belong to."""

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"privity-(?P<owner>[0-9]+)-\w+")


@contextlib.contextmanager
def socket_directory() -> Iterator[Path]:
    """Make a directory of mode 0700 for as long as the context lasts, and sweep those of processes that were killed."""
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"privity-{os.getpid()}-") as directory:
        yield Path(directory)


def _sweep(parent: Path) -> None:
    for path in parent.glob("privity-*"):
        match = _NAME.fullmatch(path.name)
        if match is not None and _is_ours(path) and not _is_running(int(match["owner"])):
            shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
