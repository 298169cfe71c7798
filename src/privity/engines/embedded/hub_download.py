"""The child process that talks to the model hub; `hub.py` starts it.

It takes `{"repo", "revision", "files": [name or null, …], "directory"}` and answers with
`{"files": [{"name", "part", "sha256"}, …], "created", "licence"}`: the parts are complete and verified, and the parent
gives them their names. A null name stands for the repository's only or its Q4_K_M file, and `projectors.ANY` for its
only or its best projector. Where it holds a Whisper model and no GGUF file, a null name stands for that model's
weights, and its other files come before all that were asked for.

`hf_hub_download` is not used: it starts over after every interruption, and it keeps a second tree of links.
What is not checked: files that the hub does not keep by SHA-256 (small ones that are in git itself).
"""

import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from huggingface_hub import (
    HfApi,
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported lazily

from privity.engines.embedded import projectors
from privity.engines.embedded.children import ChildError, answer
from privity.engines.embedded.sources import is_split_part
from privity.engines.embedded.store import flush, safe_name, sha256_of
from privity.engines.embedded.whisper.files import WEIGHTS, files_of_model, is_installed

SPACE_FACTOR: Final = 1.1
"""Free space wanted, in sizes of the file: it is written once, and a tenth to spare."""
_PREFERRED: Final = "Q4_K_M"
"""The quantisation that most people run on a CPU."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ERRORS: Final[tuple[type[Exception], ...]] = (OSError, EntryNotFoundError, *HfHubHTTPError.__bases__)
"""The last ones are the roots of the HTTP library's errors, whichever library this hub client uses."""


def download(argument: dict[str, Any]) -> dict[str, object]:
    """Do what the module's docstring says.

    Raises:
        ChildError: of a kind that `hub.py` has a text for.
    """
    repo, revision, directory = argument["repo"], argument["revision"], Path(argument["directory"])
    try:
        if constants.HF_HUB_OFFLINE:
            files = [_from_hub_cache(repo, revision, file, directory) for file in argument["files"]]
            return {"files": files, "created": None, "licence": None}
        info = HfApi().model_info(repo, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        there = [sibling.rfilename for sibling in info.siblings or ()]
        names = [chosen(file, there) for file in argument["files"]]
        beside = files_of_model(there)[:-1] if WEIGHTS in names else ()
        commit = info.sha or revision
        files = [_download(repo, commit, name, directory) for name in (*beside, *names)]
        created = int(info.created_at.timestamp()) if info.created_at else None
        return {"files": files, "created": created, "licence": _licence(info)}
    except _ERRORS as error:
        raise _classified(error) from error


def chosen(name: str | None, there: Sequence[str]) -> str:
    """Return which of the files there a name stands for; raises `ChildError` where it is none, or in doubt."""
    if name is None:
        return choose(there)
    if name != projectors.ANY:
        if name not in there:
            raise ChildError("file")
        return name
    found = projectors.best(there)
    if len(found) != 1:
        raise ChildError("projectors" if found else "no-projector", json.dumps(found))
    return found[0]


def choose(names: Sequence[str]) -> str:
    """Return the one model file that a repository's listing leaves no doubt about.

    Raises:
        ChildError: there is none, or more than one, or no engine for it here.
    """
    models = [
        name
        for name in names
        if name.lower().endswith(".gguf") and not projectors.is_projector_name(name) and not is_split_part(name)
    ]
    if not models and files_of_model(names):
        if not is_installed():
            raise ChildError("no-engine")
        return WEIGHTS
    if not models:
        raise ChildError("no-gguf")
    preferred = [name for name in models if _PREFERRED in name.upper()]
    for choice in (models, preferred):
        if len(choice) == 1:
            return choice[0]
    raise ChildError("choice", json.dumps(models))


def _download(repo: str, commit: str, name: str, directory: Path) -> dict[str, object]:
    """Download one file, going on where an earlier attempt stopped."""
    url = hf_hub_url(repo, name, revision=commit)
    metadata = get_hf_file_metadata(url)
    digest = metadata.etag if metadata.etag and _SHA256.fullmatch(metadata.etag) else None
    part = _part(directory, metadata.etag or commit, name)
    for other in directory.glob("part-*"):
        if other != part and other.name.split("-", 2)[2] == safe_name(name):
            other.unlink()  # the hub has another version now
    with part.open("ab") as file:
        # A child that has not yet noticed its parent's death may still write.
        fcntl.flock(file, fcntl.LOCK_EX)
        done = file.seek(0, os.SEEK_END)
        if metadata.size is not None:
            if done > metadata.size:
                file.truncate(done := 0)
            if shutil.disk_usage(directory).free < int(metadata.size * SPACE_FACTOR) - done:
                raise ChildError("space", str(int(metadata.size * SPACE_FACTOR)))
        http_get(
            metadata.location,
            file,
            resume_size=done,
            headers=_headers(url, metadata),
            expected_size=metadata.size,
            displayed_filename=PurePosixPath(name).name,
        )
    return _verified(part, name, digest)


def _part(directory: Path, version: str, name: str) -> Path:
    """Return where the unfinished file is kept: under its version, so that no two versions are ever joined."""
    return directory / f"part-{re.sub('[^0-9A-Za-z]', '', version)[:64]}-{safe_name(name)}"


def _verified(part: Path, name: str, digest: str | None) -> dict[str, object]:
    actual = sha256_of(part)
    if digest is not None and digest != actual:
        part.unlink()
        raise ChildError("checksum", name)
    flush(part)
    return {"name": name, "part": str(part), "sha256": actual}


def _headers(url: str, metadata: HfFileMetadata) -> dict[str, str]:
    """Return the headers for the download. The token goes to the hub's own host only, not to where it redirects."""
    headers = build_hf_headers()
    if urlsplit(metadata.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    return headers


def _from_hub_cache(repo: str, revision: str, name: str | None, directory: Path) -> dict[str, object]:
    """Offline: take the file from the cache that the hub's own tools fill."""
    cached = try_to_load_from_cache(repo, name, revision=revision) if name else None
    if name is None or not isinstance(cached, str):
        raise ChildError("offline")
    part = _part(directory, "offline", name)
    shutil.copyfile(cached, part)
    blob = Path(cached).resolve().name
    return _verified(part, name, blob if _SHA256.fullmatch(blob) else None)


def _licence(info: ModelInfo) -> str | None:
    return next((tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")), None)


def _classified(error: Exception) -> ChildError:
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (OfflineModeIsEnabled, "offline"),
        (GatedRepoError, "gated"),
        (RevisionNotFoundError, "revision"),
        (EntryNotFoundError, "file"),
        (RepositoryNotFoundError, "repo"),
    )
    for cls, kind in kinds:
        if isinstance(error, cls):
            return ChildError(kind, str(error))
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return ChildError("auth" if status in (401, 403) else "http", str(status))
    if isinstance(error, OSError) and error.errno is not None:
        return ChildError("disk", str(error.errno))
    return ChildError("network", str(error))


if __name__ == "__main__":
    sys.exit(answer(download))
