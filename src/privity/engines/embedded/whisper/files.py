"""Which files make a Whisper model in CTranslate2's format, and whether there is an engine for it here."""

import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import Final

from privity.errors import StartError

WEIGHTS: Final = "model.bin"
"""The one that is named where a file must stand for the model."""

_NEEDED: Final = ("config.json", "tokenizer.json")
_VOCABULARIES: Final = ("vocabulary.json", "vocabulary.txt")
_OPTIONAL: Final = ("preprocessor_config.json",)
_SPECIFICATION: Final = b"\x0c\x00WhisperSpec\x00"
"""Bytes 4 to 18 of the weights, after the format's version: the length of what kind of model it is, and the kind."""


def files_of_model(names: Collection[str]) -> tuple[str, ...]:
    """Return those files of a directory that make a model, its weights last; none where one is missing.

    Args:
        names: of all files there.
    """
    there = {name for name in (*_NEEDED, *_VOCABULARIES, *_OPTIONAL) if name in names}
    if WEIGHTS not in names or not there.issuperset(_NEEDED) or there.isdisjoint(_VOCABULARIES):
        return ()
    return (*sorted(there), WEIGHTS)


def is_whisper(weights: Path) -> bool:
    """Tell whether a file begins as Whisper's weights do. Raises OSError where it can't be read."""
    with weights.open("rb") as file:
        return file.read(4 + len(_SPECIFICATION))[4:] == _SPECIFICATION


def is_installed() -> bool:
    """Tell whether the engine is there: it comes with the extra `audio`."""
    return importlib.util.find_spec("faster_whisper") is not None


def require_engine(model: str) -> None:
    """Raise `StartError` where no engine is installed for a model."""
    if not is_installed():
        raise StartError(
            f"{model} turns speech into text, and the engine for that is not installed.",
            "Install it with: pip install 'privity[audio]'",
        )
