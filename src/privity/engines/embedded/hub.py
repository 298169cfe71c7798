"""Files of a repository on a model hub: the parent's side. The hub's client runs in a child process."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from privity.engines.embedded import children, projectors, store
from privity.engines.embedded.sources import HubSource
from privity.engines.embedded.whisper.files import WEIGHTS, is_whisper
from privity.errors import StartError

_MODULE: Final = "privity.engines.embedded.hub_download"
_ANY: Final[Mapping[str, str | None]] = {"choice": None, "choice-mmproj": projectors.ANY}
"""For the model and its projector: the file that remembers which one a source that names none stands for, so that the
next start needs no hub, and how the hub's client is asked to choose."""
_LISTS: Final = ("choice", "projectors")
"""The kinds of errors whose detail is a list of files, as JSON."""
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
    "projectors": ("{repo} holds several projectors: {detail}.", "Choose one with #mmproj=FILE."),
    "no-projector": (
        f"{{repo}} holds no projector (a file called {projectors.ANY}).",
        "Leave #mmproj out to use the model for text, or look for a repository with one.",
    ),
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
        "{repo} holds no model in one GGUF file, and no Whisper model of CTranslate2's.",
        "Look for a repository whose name ends in -GGUF, {other}",
    ),
    "no-engine": (
        "{repo} turns speech into text, and the engine for that is not installed.",
        "Install it with: pip install 'privity[audio]'",
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
    """Return the model and, if the source wants one, its projector, fetched if they are not in the cache.

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
        wanted = _names(source, directory)
        missing = [choice for choice, name in wanted.items() if name is None or store.find(directory, name) is None]
        asked = [wanted[choice] or _ANY[choice] for choice in missing]
        progress(f"Downloading {', '.join(name or 'the model' for name in asked)} of {source.repo} …")
        for choice, name in zip(missing, _download(source, asked, directory, cache_dir), strict=True):
            if wanted[choice] is None:
                draft = directory / f"tmp-{choice}"
                draft.write_text(json.dumps(name))
                draft.replace(directory / choice)
        found = _cached(source, directory)
        if found is None:
            raise _error(source, children.ChildError(children.UNKNOWN), cache_dir)
        return found


def _cached(source: HubSource, directory: Path) -> list[tuple[Path, store.Record]] | None:
    names = _names(source, directory).values()
    found = [store.find(directory, name) for name in names if name is not None]
    complete = [file for file in found if file is not None]
    return complete if len(complete) == len(names) else None


def _names(source: HubSource, directory: Path) -> dict[str, str | None]:
    """Return the files that are wanted, by where a choice is kept; None for one that has yet to be chosen."""
    named = {"choice": source.file} | ({"choice-mmproj": source.mmproj} if source.mmproj is not None else {})
    return {
        choice: _chosen_before(directory / choice) if name == _ANY[choice] else name for choice, name in named.items()
    }


def _chosen_before(choice: Path) -> str | None:
    try:
        return str(json.loads(choice.read_bytes()))
    except (OSError, ValueError):
        return None


def _download(source: HubSource, names: Sequence[str | None], directory: Path, cache_dir: Path) -> list[str]:
    """Download the files, and what belongs to them, into the directory; return their names."""
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
        _check(part, source, file["name"])
        record = store.Record(file["name"], file["sha256"], part.stat().st_size, result["created"], result["licence"])
        store.keep(part, directory, record)
    return [file["name"] for file in result["files"][-len(names) :]]


def _check(part: Path, source: HubSource, name: str) -> None:
    is_gguf = name.lower().endswith(".gguf")
    if (is_gguf and not store.is_gguf(part)) or (name == WEIGHTS and not is_whisper(part)):
        part.unlink()
        raise StartError(
            f"{name} of {source.repo} is not a {'GGUF file' if is_gguf else 'Whisper model'}; nothing was kept.",
            "Choose another file, or check that HF_ENDPOINT is a model hub.",
        )


def _error(source: HubSource, error: children.ChildError, cache_dir: Path) -> Exception:
    """Say what went wrong, and the way out."""
    if error.kind == "space":
        return store.no_space(cache_dir, int(error.detail))
    if error.kind == "disk":
        return OSError(int(error.detail), os.strerror(int(error.detail)), str(cache_dir))
    detail = error.detail
    if error.kind in _LISTS:
        candidates = json.loads(detail)
        detail = ", ".join(candidates[:_MAX_CANDIDATES]) + (", …" if len(candidates) > _MAX_CANDIDATES else "")
    problem, way_out = (
        text.format(
            repo=source.repo,
            revision=source.revision,
            file=" or ".join(name for name in (source.file, source.mmproj) if name not in (None, projectors.ANY)),
            detail=detail,
            other=store.OTHER_MODEL,
        )
        for text in _TEXTS.get(error.kind, _TEXTS[children.UNKNOWN])
    )
    return StartError(problem, way_out)
