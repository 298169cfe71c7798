"""Requests of apps and their answers in files, in clear, for whoever looks for a fault. Nobody writes them unasked.

Each request that is for an engine becomes `TIME-ID-request.http` and `TIME-ID-answer.http`: a head, an empty line, and
the body, as they come. API keys are left out. Nothing deletes old files.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import stat
import tempfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import datetime
from io import FileIO
from pathlib import Path
from urllib.parse import quote

from privity.errors import ApiError, StartError
from privity.http import Headers
from privity.protocol.exchange import Random
from privity.streams import Stream
from privity.transport.web import Handler, Message, Receive, Reply, Request, StreamReply, error_reply

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Bytes of a body that are written: what an editor opens, and some pictures or minutes of speech."""

ID_BYTES = 6
"""Random bytes that tell files of the same millisecond apart."""

CUT = b"\n[privity: the rest isn't written]\n"
BROKEN_OFF = b"\n[privity: it broke off here]\n"

_SECRET = re.compile(rb"auth|key|token|secret|cookie|password|credential")
"""What the name of a header has whose value isn't written."""

_LOG = logging.getLogger(__name__)


class Dumper:
    """Writes what passes by.

    Args:
        directory: where; made if it isn't there. Nobody else may look into it.
        now: the time in UTC.
        random: gives random bytes.

    Raises:
        StartError: nothing can be written there.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime], random: Random) -> None:
        self._directory = directory
        self._now = now
        self._random = random
        self._has_failed = False
        try:
            _prepare(directory)
        except OSError as error:
            problem = f"Requests can't be written to {directory} ({error.strerror})."
            raise StartError(problem, "Choose another --workspace, or leave out --dump-requests.") from error

    def watching(self, answer: Handler) -> Handler:
        """Return a handler that does the same, and has its requests and answers written."""

        async def watched(request: Request) -> Reply | StreamReply:
            name = f"{self._now():%Y%m%dT%H%M%S.%f}"[:-3] + f"Z-{self._random(ID_BYTES).hex()}"
            asked = self._file(f"{name}-request.http")
            asked.write(f"{request.method} {quote(request.path)} HTTP/1.1\r\n".encode() + _head(request.headers))
            request.receive = _copied(request.receive, asked)
            answered = f"{name}-answer.http"
            try:
                reply = await answer(request)
            except ApiError as error:
                await asyncio.to_thread(self._save, answered, error_reply(error, request))
                raise
            finally:
                asked.close()
            if isinstance(reply, StreamReply):
                return self._streamed(answered, reply)
            await asyncio.to_thread(self._save, answered, reply)
            return reply

        return watched

    def _save(self, name: str, reply: Reply) -> None:
        file = self._file(name)
        file.write(_status(reply))
        file.write_body(reply.body)
        file.close()

    def _streamed(self, name: str, reply: StreamReply) -> StreamReply:
        file = self._file(name)
        file.write(_status(reply))
        return replace(reply, chunks=Stream(_copied_chunks(reply.chunks, file), reply.chunks, file))

    def _file(self, name: str) -> "_File":
        return _File(self._directory / name, self._failed)

    def _failed(self, error: OSError) -> None:
        if not self._has_failed:
            what = "requests can't be written any more; each one is tried, and this isn't said again"
            _LOG.warning(what, extra={"directory": str(self._directory), "error": error.strerror})
        self._has_failed = True


class _File:
    """A new file. What goes wrong with it is told to `failed`, and is never the request's problem."""

    def __init__(self, path: Path, failed: Callable[[OSError], None]) -> None:
        self._failed = failed
        self._room = MAX_BODY_BYTES
        self._file: FileIO | None = None
        try:
            self._file = FileIO(path, "x", opener=_open)
        except OSError as error:
            failed(error)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        if self._file is None:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._failed(error)
            self.close()

    def write_body(self, piece: bytes) -> None:
        """Write a piece of a body as far as there is room for it."""
        if self._room < 0:
            return
        self.write(piece[: self._room])
        if len(piece) > self._room:
            self.write(CUT)
        self._room -= len(piece)

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    async def aclose(self) -> None:
        """Close a stream's file that wasn't closed at its end."""
        self.write(BROKEN_OFF)
        self.close()


def _prepare(directory: Path) -> None:
    """Make a directory that only its owner may look into. Raises `OSError`."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if not stat.S_ISDIR(directory.lstat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    directory.chmod(0o700)
    tempfile.TemporaryFile(dir=directory).close()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _head(headers: Headers) -> bytes:
    shown = ((name, b"[left out]" if _SECRET.search(name) else value) for name, value in headers)
    return b"".join(b"%b: %b\r\n" % each for each in shown) + b"\r\n"


def _status(reply: Reply | StreamReply) -> bytes:
    return f"HTTP/1.1 {reply.status}\r\n".encode() + _head(reply.headers)


def _copied(receive: Receive, file: _File) -> Receive:
    async def copied() -> Message:
        message = await receive()
        file.write_body(message.get("body", b""))
        if not message.get("more_body", False):
            file.close()
        return message

    return copied


async def _copied_chunks(chunks: Stream[bytes], file: _File) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        file.write_body(chunk)
        yield chunk
    file.close()
