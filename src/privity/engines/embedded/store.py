"""The model cache on disk.

    <cache>/models/<directory>/lock           held (flock) while one of the directory's files is fetched
                               tmp-…/         work in progress; its owner holds the lock: who gets that may remove it
                               part-…         a hub download that can be resumed
                               <file>         complete and verified, or not there at all
                               <file>.json    its record, written last: a file without one is fetched again

A file gets its name by an atomic rename, after its bytes were verified and flushed.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import platformdirs

from privity.errors import StartError

Progress = Callable[[str], None]
"""Takes one line of text for people, without a newline."""

OTHER_MODEL: Final = "or use --model file:/path/model.gguf."
HASH_CHUNK: Final = 1 << 20
"""Bytes read at a time: large enough for the disk, small enough not to be noticed in memory."""

_GGUF: Final = b"GGUF"
_MAX_NAME: Final = 120
"""Characters: names are limited to 255 bytes, and suffixes such as `.json` and `part-<sha256>-` are added."""
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


@dataclass(frozen=True)
class Record:
    """What is known of a complete file."""

    name: str  # as its source calls it
    sha256: str
    size: int  # bytes
    created: int | None = None  # the model's release, Unix seconds
    licence: str | None = None


def default_cache_dir() -> Path:
    """Return the user's cache directory for Privity. It need not exist yet."""
    return platformdirs.user_cache_path("privity")


def safe_name(text: str) -> str:
    """Return a file name for the text: the text itself where it can be one, else one with a hash in front."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._=@+-]*", text) and len(text) <= _MAX_NAME:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{digest}-{re.sub(r'[^A-Za-z0-9._=@+-]+', '--', text)[-100:]}"


def model_directory(cache_dir: Path, name: str) -> Path:
    """Return the directory for the files of one package or repository, which may not exist yet."""
    return cache_dir / "models" / safe_name(name)


def find(directory: Path, name: str) -> tuple[Path, Record] | None:
    """Return a complete file and its record, or None. No lock is needed: both appear by atomic renames."""
    path = directory / safe_name(name)
    try:
        record = Record(**json.loads(_record_path(path).read_bytes()))
        complete = record.name == name and path.stat().st_size == record.size
    except (OSError, ValueError, TypeError):  # not there, or damaged: both are cured by fetching it
        return None
    return (path, record) if complete else None


def is_gguf(path: Path) -> bool:
    """Tell whether the file begins as a GGUF file does. Raises OSError where it can't be read."""
    with path.open("rb") as file:
        return file.read(len(_GGUF)) == _GGUF


def keep(temporary: Path, directory: Path, record: Record) -> Path:
    """Give a verified file its name and write its record. The caller holds the directory's lock."""
    path = directory / safe_name(record.name)
    _record_path(path).unlink(missing_ok=True)
    flush(temporary)
    temporary.replace(path)
    draft = directory / f"tmp-{os.getpid()}.json"
    draft.write_text(json.dumps(asdict(record)))
    flush(draft)
    draft.replace(_record_path(path))
    flush(directory)
    return path


def flush(path: Path) -> None:
    """Have the system write a file, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path, progress: Progress) -> Iterator[None]:
    """Hold the directory's lock, and remove what a dead owner left. The system drops the lock when we die."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Another privity fetches this model; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_leftovers(directory)
        yield


@contextlib.contextmanager
def work_directory(directory: Path) -> Iterator[Path]:
    """Provide a directory on the cache's own disk that is gone afterwards. The caller holds the lock."""
    path = Path(tempfile.mkdtemp(prefix="tmp-", dir=directory))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(cache_dir: Path) -> None:
    """Remove what dead owners left in any model's directory; directories in use are not touched."""
    for directory in (cache_dir / "models").glob("*/"):
        if not any(directory.glob("tmp-*")):
            continue
        with contextlib.suppress(OSError), (directory / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_leftovers(directory)


@contextlib.contextmanager
def disk_errors(cache_dir: Path) -> Iterator[None]:
    """Turn the disk's errors into a StartError that names the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(cache_dir) from error
        if error.errno in _NOT_ALLOWED:
            raise StartError(
                f"The model cache {cache_dir} can't be written to ({error.strerror}).",
                f"Make it writable, choose another cache directory, {OTHER_MODEL}",
            ) from error
        raise StartError(
            f"The model cache {cache_dir} failed: {error.strerror or error}.",
            f"Check the disk, choose another cache directory, {OTHER_MODEL}",
        ) from error


def check_space(directory: Path, needed: int, cache_dir: Path) -> None:
    """Raise StartError unless the directory's disk has that many bytes free."""
    if shutil.disk_usage(directory).free < needed:
        raise no_space(cache_dir, needed)


def no_space(cache_dir: Path, needed: int | None = None) -> StartError:
    """Return the error for a full disk; `needed` is in bytes."""
    amount = "" if needed is None else f" ({-(-needed // 1_000_000)} MB are needed)"
    return StartError(
        f"There is not enough disk space for the model in {cache_dir}{amount}.",
        f"Free some space, choose another cache directory, {OTHER_MODEL}",
    )


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _remove_leftovers(directory: Path) -> None:
    for path in directory.glob("tmp-*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
