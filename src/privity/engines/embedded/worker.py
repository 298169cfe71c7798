"""The child process that runs one model: llama.cpp's server on a Unix socket. Started by `process.py`, by no one else.

Argument: one JSON object, the fields of `Job`. Output: one line, `ready` or `failed`. It ends on SIGTERM, and when its
parent is gone.
"""

import json
import os
import signal
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from privity.engines.embedded.children import FAILED, READY, cores, exit_with_parent, silenced
from privity.engines.embedded.gguf_header import BadHeaderError, GgufHeader, read_header

CONTEXT = 4096
"""Tokens of one request where the user names no number: what a laptop's memory takes for any small model."""

PARALLEL = 2
"""Requests that are generated at the same time."""

PROMPT_CACHE_MEBIBYTES = 0
"""Memory for prompts that may come again, besides the slots: one for all of them would mix up cache salts."""

_EMBEDDING_ARCHITECTURES = frozenset(
    {"bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert"}
)
_POOLS_TO_VECTOR = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do."""

    name: str
    model: str
    mmproj: str | None
    socket: str
    context: int | None


def embeds(header: GgufHeader) -> bool:
    """Return whether a model is there to make vectors, not text."""
    return header.architecture in _EMBEDDING_ARCHITECTURES or header.pooling in _POOLS_TO_VECTOR


def tool_template(header: GgufHeader) -> str | None:
    """Return our ChatML template with tools where the model's own is ChatML without, else None (engine.md, trap 2)."""
    own = header.chat_template or ""
    if "<|im_start|>" not in own or "tools" in own:
        return None
    return (resources.files(__package__) / "chatml_tools.jinja").read_text(encoding="utf-8")


def _parameters(job: Job, header: GgufHeader) -> Any:
    import xllamacpp  # noqa: PLC0415  # loads 100 MB of native code: only the worker's process needs it

    parameters = xllamacpp.CommonParams()
    parameters.model.path = job.model
    parameters.model_alias = {job.name}
    parameters.hostnames = [job.socket]
    parameters.port = 0
    parameters.verbosity = -1
    parameters.ui = False
    parameters.endpoint_slots = False  # it would show prompts
    parameters.use_jinja = True
    parameters.n_parallel = PARALLEL
    parameters.cache_ram_mib = PROMPT_CACHE_MEBIBYTES
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = cores()
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0  # waiting threads would spin, and slow others down
    context = min(job.context or CONTEXT, header.context_length or CONTEXT)
    parameters.n_ctx = context * PARALLEL
    if embeds(header):
        parameters.embedding = True
        parameters.n_batch = parameters.n_ubatch = context
        if header.pooling is None:
            parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    template = tool_template(header)
    if template is not None:
        parameters.chat_template = template
    if job.mmproj is not None:
        parameters.mmproj.path = job.mmproj
        parameters.video_ffmpeg_bin_dir = os.devnull  # no other program ever gets what an image claims to be
    return parameters


def main() -> int:
    """Serve until told to stop; return the exit status."""
    job = Job(**json.loads(sys.argv[1]))
    exit_with_parent()
    output = silenced()
    try:
        server = _start(job)
    except (OSError, RuntimeError, BadHeaderError):
        output.write(FAILED + "\n")
        return 1
    output.write(READY + "\n")
    output.flush()
    signal.sigwait({signal.SIGTERM})
    del server
    os._exit(0)


def _start(job: Job) -> Any:
    import xllamacpp  # noqa: PLC0415  # see _parameters

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    return xllamacpp.Server(_parameters(job, read_header(Path(job.model))))


if __name__ == "__main__":
    sys.exit(main())
