"""Projectors: the files that let a text model see, one for each model, called `mmproj…gguf` by everyone."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from privity.engines.embedded.gguf_header import BadHeaderError, read_header
from privity.errors import StartError

ANY: Final = "mmproj*.gguf"
"""What a source has as its projector that wants one, but names none."""

_ARCHITECTURE: Final = "clip"
"""What llama.cpp calls every projector."""

_PREFERRED: Final = (re.compile(r"(?<![A-Z])F16", re.IGNORECASE), re.compile(r"Q8_0", re.IGNORECASE))
"""As precise as the originals are, or nearly; BF16 is slow on CPUs."""


def is_projector_name(name: str) -> bool:
    """Return whether a file's path is called as projectors are."""
    last = PurePosixPath(name).name.lower()
    return last.startswith("mmproj") and last.endswith(".gguf")


def best(names: Sequence[str]) -> list[str]:
    """Return the projectors among files' names: the only one, else those of the best type that there is."""
    found = [name for name in names if is_projector_name(name)]
    fitting = ([name for name in found if pattern.search(name)] for pattern in _PREFERRED)
    return found if len(found) == 1 else next(filter(None, fitting), found)


def beside(model: Path) -> Path:
    """Return the projector in a model's directory.

    Raises:
        StartError: there is none, or it is not clear which.
        OSError: the directory can't be read.
    """
    found = sorted(best([path.name for path in model.parent.iterdir()]))
    if len(found) == 1:
        return model.parent / found[0]
    problem = f"There are several: {', '.join(found)}." if found else f"No file there is called {ANY}."
    raise StartError(
        f"The projector of {model} can't be found beside it. {problem}", "Name it: --model file:MODEL#mmproj=FILE."
    )


def check(path: Path) -> None:
    """Raise `StartError` where a GGUF file is no projector, and OSError where it can't be read."""
    try:
        is_one = read_header(path).architecture == _ARCHITECTURE
    except BadHeaderError:
        is_one = False
    if not is_one:
        raise StartError(
            f"{path} is not a projector.",
            f"Name the file that lets the model see with #mmproj=FILE; it is mostly called {ANY}.",
        )
