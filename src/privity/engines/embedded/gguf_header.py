"""The few facts of a GGUF file's header that decide how it is served.

The `gguf` package's reader takes 3 s and 190 MB for a small model, because it makes an object of every token of the
vocabulary; a worker must not wait for that at every start. This reads the same header and steps over the lists.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_PAIRS = 10_000
"""Key-value pairs of a header: real files have under 100."""

MAX_STRING_BYTES = 16 * 1024 * 1024
"""Bytes of one string; the longest are chat templates of some 20 kB."""

_FIXED = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


class BadHeaderError(Exception):
    """Not a GGUF header, or a damaged one."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header says."""

    architecture: str
    context_length: int | None
    """Tokens that the model was trained for."""
    pooling: int | None
    """llama.cpp's pooling type: 0 none, 1 mean, 2 CLS, 3 last token, 4 rank; None where the file does not pool."""
    chat_template: str | None


def read_header(path: Path) -> GgufHeader:
    """Return the facts.

    Raises:
        BadHeaderError: the file is not GGUF version 2 or 3, or is damaged.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                pairs = _Scanner(view).pairs()
        except (struct.error, KeyError, OverflowError, ValueError) as error:  # ValueError: empty, or not UTF-8
            raise BadHeaderError(str(path)) from error
    template = pairs.get("tokenizer.chat_template")
    architecture = str(pairs.get("general.architecture", ""))
    return GgufHeader(
        architecture=architecture,
        context_length=_whole(pairs.get(f"{architecture}.context_length")),
        pooling=_whole(pairs.get(f"{architecture}.pooling_type")),
        chat_template=template if isinstance(template, str) else None,
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


class _Scanner:
    """Reads a header from its beginning."""

    def __init__(self, view: mmap.mmap) -> None:
        self._view = view
        self._at = 0

    def pairs(self) -> dict[str, Any]:
        magic, version, _tensors, count = self._unpack("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3) or count > MAX_PAIRS:
            raise BadHeaderError("no GGUF header of version 2 or 3")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._string()
            found[key] = self._value(self._unpack("<I")[0])
        return found

    def _unpack(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._view, self._at)
        self._at += struct.calcsize(form)
        return values

    def _string(self) -> str:
        (length,) = self._unpack("<Q")
        if length > MAX_STRING_BYTES:
            raise BadHeaderError("a string is too long")
        start, self._at = self._at, self._at + length
        if self._at > len(self._view):
            raise BadHeaderError("the file is cut")
        return self._view[start : self._at].decode()

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, count = self._unpack("<IQ")
            self._step_over(inner, count)
            return None
        return self._unpack(_FIXED[kind])[0]

    def _step_over(self, kind: int, count: int) -> None:
        if kind != _STRING:
            self._at += struct.calcsize(_FIXED[kind]) * count
            return
        lengths = struct.Struct("<Q")
        at = self._at
        for _ in range(count):
            at += 8 + lengths.unpack_from(self._view, at)[0]
        self._at = at
