"""The API key that a proxy is configured with, which may be in a file that somebody replaces."""

import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Protocol

from privity.errors import StartError

MAX_KEY_CHARACTERS = 4096
"""Characters of an API key: tokens of identity providers have a thousand or two."""

MAX_FILE_BYTES = 16 * 1024
"""Bytes that are read of a key's file: a key, and white space around it."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at the file. It is read whole: a mount's times say little."""

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")
"""What a key is: it goes into a header, where a space would end it."""

_LOG = logging.getLogger(__name__)


class ApiKey(Protocol):
    """Knows the key."""

    def value(self) -> str | None:
        """Return the key of now; None leaves it to the apps."""

    def look(self) -> None:
        """Find out now whether there is another one."""


@dataclass(frozen=True, slots=True)
class FixedKey:
    """A key that stays, or none."""

    key: str | None = field(repr=False)

    def value(self) -> str | None:
        """Return the key."""
        return self.key

    def look(self) -> None:
        """Do nothing."""


class KeyFile:
    """A key in a file. One that can't be used, since somebody is just replacing it, leaves the last good key.

    Args:
        path: the file.
        key: what is in it now.
        steady: a clock that only goes forward, in seconds.
    """

    def __init__(self, path: Path, key: str, steady: Callable[[], float]) -> None:
        self._path = path
        self._key = key
        self._steady = steady
        self._looked = steady()
        self._is_usable = True

    def value(self) -> str:
        """Return the key that the file had a second ago, or later."""
        if self._steady() - self._looked >= LOOK_SECONDS:
            self.look()
        return self._key

    def look(self) -> None:
        """Read the file."""
        self._looked = self._steady()
        try:
            key = _checked(_read(self._path, os.O_NONBLOCK)[0])  # a pipe in its place would wait for somebody to write
        except (OSError, UnicodeDecodeError, StartError):
            if self._is_usable:
                _LOG.warning("the API key's file can't be used; the last good key stays", extra=self._name())
            self._is_usable = False
            return
        if key != self._key or not self._is_usable:
            _LOG.warning("the API key's file was read again", extra=self._name())
        self._key, self._is_usable = key, True

    def _name(self) -> dict[str, str]:
        return {"file": str(self._path)}


def open_key(configured: str | Path | None, steady: Callable[[], float]) -> ApiKey:
    """Return the key that is configured: literally, or by the file that holds it.

    A file is looked at again and again, but for a pipe, whose content comes once.

    Raises:
        StartError: it can't be read, or is none.
    """
    if configured is None:
        return FixedKey(None)
    if not isinstance(configured, Path):
        return FixedKey(_checked(configured.strip()))
    try:
        text, is_regular = _read(configured)
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"The API key in {configured} can't be read.", "Check the path after @.") from error
    key = _checked(text)
    return KeyFile(configured, key, steady) if is_regular else FixedKey(key)


def _checked(text: str) -> str:
    if _KEY.fullmatch(text) is None:
        raise StartError("The API key is empty, or has characters that no key has.", "Check --api-key.")
    return text


def _read(path: Path, flags: int = 0) -> tuple[str, bool]:
    """Return what is in a key's file, and whether it is a regular one."""
    with FileIO(path, opener=lambda name, usual: os.open(name, usual | flags)) as file:
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        return (file.read(MAX_FILE_BYTES) or b"").decode().strip(), is_regular
