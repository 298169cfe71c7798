"""Keeps one worker running: starts it, starts it again when it dies, ends it."""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from privity.engines.embedded import worker
from privity.engines.embedded.children import READY
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.whisper import worker as whisper_worker
from privity.errors import StartError

LOAD_TIMEOUT = 600.0
"""Seconds that a model gets to load: tens of gigabytes from a slow disk take minutes."""

STOP_TIMEOUT = 1.5
"""Seconds between asking a worker to end and killing it; all must be over within 5."""

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 30.0
"""Seconds before a dead worker is started again, doubled each time; the first is enough for the list to show it."""

STABLE_AFTER = 60.0
"""Seconds after which a worker that dies counts as having been well."""

_LOG = logging.getLogger(__name__)


class EngineProcess:
    """One worker for one model.

    Args:
        files: the model.
        socket: where the worker listens; its directory must be the caller's alone, and its name must end in `.sock`,
            by which llama.cpp knows it from a host's.
        clock: seconds that only go forward.
    """

    def __init__(self, files: ModelFiles, socket: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._socket = socket
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The worker's base URL; the same after a restart."""
        return f"http+unix://{quote(str(self._socket), safe='')}"

    @property
    def pid(self) -> int | None:
        """The running worker's process ID."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the worker for as long as the context lasts; it has loaded its model when the context is entered.

        Raises:
            StartError: the engine can't load the model.
        """
        try:
            if not await self._start():
                projector = f" with its projector {self._files.mmproj}" if self._files.mmproj is not None else ""
                raise StartError(
                    f"The engine can't load {self._files.model}{projector}.",
                    "It may be damaged, too large for this machine's memory, or of a kind that "
                    f"{self._files.engine} doesn't know; try another model with --model.",
                )
            keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"keeper of {self._files.ids[0]}")
            try:
                yield
            finally:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)
        finally:
            await self._stop()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while self._process is not None:
            started = self._clock()
            status = await self._process.wait()
            pause = FIRST_PAUSE if self._clock() - started > STABLE_AFTER else pause
            extra = {"model": self._files.ids[0], "exit_status": status, "restart_in": pause}
            _LOG.warning("engine worker ended", extra=extra)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                serves = await self._start()
            except OSError as error:  # no memory, no more processes: perhaps there are later
                _LOG.error("engine worker can't be started", extra={"error": type(error).__name__})
                continue
            if serves:
                _LOG.warning("engine worker serves again", extra={"model": self._files.ids[0]})

    async def _start(self) -> bool:
        """Start a worker; return whether it has loaded its model."""
        self._socket.unlink(missing_ok=True)
        module, job = _worker_for(self._files, self._socket)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a json.py in the user's current directory must not be imported
            "-m",
            module,
            json.dumps(job),
            stdin=asyncio.subprocess.PIPE,  # its end tells the worker that we are gone
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; we end the worker in our order
        )
        return await self._is_ready(self._process)

    @staticmethod
    async def _is_ready(process: asyncio.subprocess.Process) -> bool:
        """Wait for a worker's one line; end a worker that doesn't get there."""
        line = b""
        if process.stdout is not None:
            try:
                async with asyncio.timeout(LOAD_TIMEOUT):
                    line = await process.stdout.readline()
            except TimeoutError:
                process.kill()
        return line.strip() == READY.encode()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._socket.unlink(missing_ok=True)


def _worker_for(files: ModelFiles, socket: Path) -> tuple[str, dict[str, Any]]:
    """Return the module of the worker that runs such a model, and its job."""
    name, model = files.ids[0], files.model
    if files.engine == "whisper":
        return whisper_worker.__name__, asdict(whisper_worker.Job(name, str(model.parent), str(socket)))
    mmproj = str(files.mmproj) if files.mmproj is not None else None
    return worker.__name__, asdict(worker.Job(name, str(model), mmproj, str(socket), files.context))
