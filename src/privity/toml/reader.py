"""A TOML file read table by table. Problems are noted with line and key, and raised together. Pure code."""

import codecs
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any, TypeVar

from privity.errors import ConfigError
from privity.toml.kinds import MAX_SHOWN, Kind, quoted, shown
from privity.toml.lines import Path, lines_of

MAX_FILE_BYTES = 1024 * 1024
"""Bytes of a configuration file: thousands of models, and a wrong file is noticed before it is read."""

MAX_PROBLEMS = 20
"""Problems that are told at once: a screen."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLACE = re.compile(r" \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)$")
_TOO_MANY_DIGITS = re.compile(r"[0-9_]{4000}")

T = TypeVar("T")


class Document:
    """A file's content.

    Args:
        content: the file's bytes.
        name: the file's name in messages.

    Raises:
        ConfigError: it isn't TOML, or too large.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._name = name
        self._problems: list[tuple[int, str]] = []
        self._text = self._decoded(content)
        self.root = Table(self, (), self._parsed())

    @cached_property
    def _lines(self) -> Mapping[Path, int]:
        return lines_of(self._text)

    @property
    def has_enough(self) -> bool:
        """Whether there are as many problems as are told."""
        return len(self._problems) >= MAX_PROBLEMS

    def report(self, path: Path, text: str) -> None:
        """Note a problem with the value at a path, or with what is missing there."""
        begins = path
        while begins and begins not in self._lines:
            begins = begins[:-1]
        self._problems.append((self._lines.get(begins, 1), f"{path_text(path)}: {text}" if path else text))

    def check(self) -> None:
        """Raise `ConfigError` with the problems that were noted, in the file's order."""
        if not self._problems:
            return
        told = sorted(self._problems, key=lambda each: each[0])
        lines = [f"{self._name}:{line}: {text}" for line, text in told[:MAX_PROBLEMS]]
        if len(told) > MAX_PROBLEMS:
            lines.append(f"{self._name}: {len(told) - MAX_PROBLEMS} more.")
        raise ConfigError(tuple(lines))

    def _decoded(self, content: bytes) -> str:
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError((f"{self._name}:1: the file is larger than {MAX_FILE_BYTES} bytes.",))
        try:
            return content.removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise ConfigError((f"{self._name}:{line}: not UTF-8 text.",)) from error

    def _parsed(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except RecursionError as error:
            raise ConfigError((f"{self._name}:1: lists or tables are nested too deeply.",)) from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError((self._syntax_problem(str(error)),)) from error
        except ValueError as error:  # a decimal number that Python doesn't read
            number = _TOO_MANY_DIGITS.search(self._text)
            line = self._text.count("\n", 0, number.start() if number else 0) + 1
            raise ConfigError((f"{self._name}:{line}: a number has too many digits.",)) from error

    def _syntax_problem(self, text: str) -> str:
        """Return a problem as tomllib tells it: until Python 3.14, the text alone has the place."""
        place = _PLACE.search(text)
        what = text[: place.start()] if place else text
        what = what[:1].lower() + what[1:]
        if place is None or place["line"] is None:
            return f"{self._name}:{self._text.rstrip().count(chr(10)) + 1}: not TOML: {what} (at the end)."
        return f"{self._name}:{place['line']}: not TOML: {what} (column {place['column']})."


class Table:
    """One table of a document. A value of a wrong kind is noted, and then is as if it weren't there."""

    def __init__(self, document: Document, path: Path, members: Mapping[str, Any]) -> None:
        self._document = document
        self._path = path
        self._members = members
        self._known: list[str] = []
        self.is_sound = True
        """Whether no problem was found in it so far, those of the tables under it aside."""

    def report(self, path: Path, text: str) -> None:
        """Note a problem with what is at a path in this table."""
        self.is_sound = False
        self._document.report((*self._path, *path), text)

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def take(self, key: str, kind: Kind[T]) -> T | None:
        """Return a value, or None where there is none."""
        self._known.append(key)
        return self._read((key,), self._members[key], kind) if key in self._members else None

    def require(self, key: str, kind: Kind[T]) -> T | None:
        """Return a value that has to be there; None only where that was noted as a problem."""
        if key not in self._members:
            self.report((key,), f"missing; expected {kind.expected}.")
        return self.take(key, kind)

    def take_list(self, key: str, kind: Kind[T], *, least: int = 0) -> tuple[T, ...] | None:
        """Return the values of a list, or None where there is none. Each value may stand in it once."""
        self._known.append(key)
        if key not in self._members:
            return None
        members = self._members[key]
        if not isinstance(members, list) or len(members) < least:
            got = "" if kind.is_secret else f", got {shown(members)}"
            self.report((key,), f"expected {_list_of(kind, least)}{got}.")
            return None
        seen: dict[T, None] = {}
        for place, member in enumerate(members):
            value = self._read((key, place), member, kind)
            if value is not None and value in seen:
                self.report((key, place), f"{shown(member)} is listed twice.")
            elif value is not None:
                seen[value] = None
        return tuple(seen)

    def require_list(self, key: str, kind: Kind[T]) -> tuple[T, ...] | None:
        """Return the values of a list that has to be there, and not to be empty."""
        if key not in self._members:
            self.report((key,), f"missing; expected {_list_of(kind, 1)}.")
        return self.take_list(key, kind, least=1)

    def tables(self, key: str) -> list["Table"]:
        """Return the tables under `[[key]]`."""
        self._known.append(key)
        members = self._members.get(key)
        if members is None:
            return []
        if not isinstance(members, list) or not members:
            self.report((key,), f"expected tables, each under [[{key}]], or nothing of this name.")
            return []
        found = []
        for place, member in enumerate(members):
            if isinstance(member, dict):
                found.append(Table(self._document, (*self._path, key, place), member))
            else:
                self.report((key, place), f"expected a table, under [[{key}]].")
        return found

    def require_tables(self, key: str) -> list["Table"]:
        """Return the tables under `[[key]]`, of which there has to be one."""
        if key not in self._members:
            self.report((key,), f"missing; expected at least one table under [[{key}]].")
        return self.tables(key)

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Note each of these keys that is there, and then be as if it weren't."""
        for key in reasons.keys() & self._members.keys():
            self.report((key,), reasons[key])
        self._members = {key: value for key, value in self._members.items() if key not in reasons}

    def close(self) -> None:
        """Note every key that was never asked for."""
        for key in self._members:
            if key not in self._known:
                self.report((key,), self._unknown(key))

    def _unknown(self, key: str) -> str:
        near = [] if self._document.has_enough else get_close_matches(key, self._known, 1)
        return f"unknown; did you mean {near[0]}?" if near else f"unknown; known here: {', '.join(self._known)}."

    def _read(self, path: Path, value: Any, kind: Kind[T]) -> T | None:
        read = kind.read(value)
        if read is None:
            got = "" if kind.is_secret else f", got {shown(value)}"
            self.report(path, f"expected {kind.expected}{got}.")
        return read


def path_text(path: Path) -> str:
    """Return a path as people write it: `models[1].tasks`."""
    parts = [f"[{step}]" if isinstance(step, int) else f".{_key_text(step)}" for step in path]
    return "".join(parts).removeprefix(".")


def _key_text(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) and len(key) <= MAX_SHOWN else quoted(key)


def _list_of(kind: Kind[T], least: int) -> str:
    return f"a list{' of at least one' if least else ''}, each {kind.expected}"
