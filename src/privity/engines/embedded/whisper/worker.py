"""The child process that runs one Whisper model, on a Unix socket. Started by `process.py`, by no one else.

Argument: one JSON object, the fields of `Job`. Output: one line, `ready` or `failed`. It ends on SIGTERM, which it
leaves to the system, and when its parent is gone.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from privity.engines.embedded.children import FAILED, READY, cores, exit_with_parent, silenced
from privity.engines.embedded.whisper.files import WEIGHTS
from privity.engines.engine import Json

BACKLOG: Final = 64
"""Connections that wait to be accepted: more than one inference proxy opens."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do."""

    name: str
    directory: str
    socket: str


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the system: SIGTERM ends the process even in the midst of a window."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> int:
    """Serve until told to stop; return the exit status where that fails."""
    job = Job(**json.loads(sys.argv[1]))
    exit_with_parent()
    output = silenced()
    os.environ["HF_HUB_OFFLINE"] = "1"  # all files are there; nobody is asked for others
    try:
        config = _config(job)
        listener = _listener(job.socket)
    except (OSError, RuntimeError, ValueError, ImportError):
        output.write(FAILED + "\n")
        return 1
    output.write(READY + "\n")
    output.flush()
    asyncio.run(_Server(config).serve(sockets=[listener]))
    return 0


def _config(job: Job) -> uvicorn.Config:
    # These load 250 MB of native code, which may fail, and may print.
    from privity.engines.embedded.whisper.app import SpeechApp  # noqa: PLC0415
    from privity.engines.embedded.whisper.transcriber import COMPUTE_TYPE, Transcriber  # noqa: PLC0415

    directory = Path(job.directory)
    transcriber = Transcriber(directory, cores())
    row: Json = {
        "id": job.name,
        "object": "model",
        "languages": transcriber.languages,
        "size": (directory / WEIGHTS).stat().st_size,
        "quantization": COMPUTE_TYPE,
    }
    app = SpeechApp(transcriber, row)
    return uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False)


def _listener(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(BACKLOG)
    listener.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return listener


if __name__ == "__main__":
    sys.exit(main())
