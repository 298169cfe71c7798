"""Files of a repository on a model hub: the parent's side. The hub's client runs in a child process."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from privity.engines.embedded import children, store
from privity.engines.embedded.sources import HubSource
from privity.errors import StartError

_MODULE: Final = "privity.engines.embedded.hub_download"
_CHOICE: Final = "choice"
"""The file that remembers which file a source without one stands for, so that the next start needs no hub."""
_MAX_CANDIDATES: Final = 12
"""Names in a message: more than a screenful helps nobody."""
_ENVIRONMENT: Final = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_XET": "1",  # plain HTTP: what a proxy, a mirror and the checks below expect
    "HF_HUB_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",  # a terminal sees the progress bar, and nothing else of the child
}


_TEXTS: Final = {
    "choice": ("{repo} holds several models: {detail}.", "Choose one with --model hf:{repo}:FILE."),
    "offline": (
        "The model {repo} is not in the cache, and HF_HUB_OFFLINE forbids to download it.",
        "Unset HF_HUB_OFFLINE for the first start, {other}",
    ),
    "network": (
        "The model {repo} can't be downloaded: the model hub does not answer.",
        "Connect to the network for the first start (a download goes on where it stopped), {other}",
    ),
    "repo": (
        "The model hub has no model {repo}, or it is private.",
        "Check the name; for a private model, set HF_TOKEN to a token that may read it.",
    ),
    "revision": ("{repo} has no revision {revision}.", "Check what follows the @."),
    "file": ("{repo} has no file {file}.", "Leave the name out to see what there is: --model hf:{repo}."),
    "no-gguf": (
        "{repo} holds no model in one GGUF file.",
        "Look for a repository whose name ends in -GGUF, {other}",
    ),
    "gated": (
        "The model {repo} is gated: its owner wants its terms to be accepted.",
        "Accept them on the model's page, then set HF_TOKEN to a token of that account.",
    ),
    "auth": ("The model hub does not let you read {repo}.", "Set HF_TOKEN to a token that may read it."),
    "http": ("The model hub answered with status {detail} for {repo}.", "Try again later, {other}"),
    "checksum": (
        "What the model hub sent for {repo} is not what it should be (its SHA-256 is wrong); nothing was kept.",
        "Try again, check HF_ENDPOINT and proxies, {other}",
    ),
    children.UNKNOWN: ("The model {repo} could not be downloaded.", "See the debug log, try again, {other}"),
}
"""Problem and way out for each kind of error that `hub_download` reports."""


def fetch_files(source: HubSource, cache_dir: Path, progress: store.Progress) -> list[tuple[Path, store.Record]]:
    """Return the model and, if the source names one, its mmproj file, fetched if they are not in the cache.

    Raises:
        StartError: they can't be had.
        OSError: the cache's disk failed.
    """
    directory = store.model_directory(cache_dir, f"hf-{source.repo}@{source.revision}")
    if found := _cached(source, directory):
        return found
    with store.locked(directory, progress):
        if found := _cached(source, directory):
            return found
        wanted = (_model_name(source, directory), *((source.mmproj,) if source.mmproj else ()))
        missing = [name for name in wanted if name is None or store.find(directory, name) is None]
        progress(f"Downloading {', '.join(name or 'the model' for name in missing)} of {source.repo} …")
        names = _download(source, missing, directory, cache_dir)
        if wanted[0] is None:
            draft = directory / f"tmp-{_CHOICE}"
            draft.write_text(json.dumps(names[0]))
            draft.replace(directory / _CHOICE)
        found = _cached(source, directory)
        if found is None:
            raise _error(source, children.ChildError(children.UNKNOWN), cache_dir)
        return found


def _cached(source: HubSource, directory: Path) -> list[tuple[Path, store.Record]] | None:
    model = _model_name(source, directory)
    if model is None:
        return None
    found = [store.find(directory, name) for name in (model, source.mmproj) if name is not None]
    complete = [file for file in found if file is not None]
    return complete if len(complete) == len(found) else None


def _model_name(source: HubSource, directory: Path) -> str | None:
    """Return the model's file: the one that the source names, else the one that was chosen before, if one was."""
    if source.file is not None:
        return source.file
    try:
        return str(json.loads((directory / _CHOICE).read_bytes()))
    except (OSError, ValueError):
        return None


def _download(source: HubSource, names: Sequence[str | None], directory: Path, cache_dir: Path) -> list[str]:
    """Download the files into the directory, and return their names."""
    argument = {
        "repo": source.repo,
        "revision": source.revision,
        "files": names,
        "directory": str(directory),
    }
    try:
        result = children.run_child(_MODULE, argument, environment=_ENVIRONMENT)
    except children.ChildError as error:
        raise _error(source, error, cache_dir) from error
    for file in result["files"]:
        part = Path(file["part"])
        _check_gguf(part, source, file["name"])
        record = store.Record(file["name"], file["sha256"], part.stat().st_size, result["created"], result["licence"])
        store.keep(part, directory, record)
    return [file["name"] for file in result["files"]]


def _check_gguf(part: Path, source: HubSource, name: str) -> None:
    if not store.is_gguf(part):
        part.unlink()
        raise StartError(
            f"{name} of {source.repo} is not a GGUF file; nothing was kept.",
            "Choose another file, or check that HF_ENDPOINT is a model hub.",
        )


def _error(source: HubSource, error: children.ChildError, cache_dir: Path) -> Exception:
    """Say what went wrong, and the way out."""
    if error.kind == "space":
        return store.no_space(cache_dir, int(error.detail))
    if error.kind == "disk":
        return OSError(int(error.detail), os.strerror(int(error.detail)), str(cache_dir))
    detail = error.detail
    if error.kind == "choice":
        candidates = json.loads(detail)
        detail = ", ".join(candidates[:_MAX_CANDIDATES]) + (", …" if len(candidates) > _MAX_CANDIDATES else "")
    problem, way_out = (
        text.format(
            repo=source.repo,
            revision=source.revision,
            file=f"{source.file} or {source.mmproj}" if source.mmproj else source.file,
            detail=detail,
            other=store.OTHER_MODEL,
        )
        for text in _TEXTS.get(error.kind, _TEXTS[children.UNKNOWN])
    )
    return StartError(problem, way_out)
