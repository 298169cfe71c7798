"""Where in a TOML text each value begins: `tomllib` doesn't say. Pure code."""

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""Keys and places in lists that lead to a value, such as `("models", 1, "tasks", 0)`."""

MAX_DEPTH = 8
"""Steps of a path that are told apart: twice as many as our files have, and deep nests take no memory."""

_TOKEN = re.compile(
    r'''
    (?P<space>[ \t\r]+|\#[^\n]*)
  | (?P<line>\n)
  | (?P<text>"""(?:\\.|[^\\])*?"""{1,3}|\'\'\'.*?\'\'\'{1,3}|"(?:\\.|[^"\\])*"|'[^']*')
  | (?P<mark>[\[\]{},=.])
  | (?P<bare>[^\s\[\]{},=.#"']+)
    ''',
    re.VERBOSE | re.DOTALL,
)


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line, from 1, on which each table, key and member of a list begins, down to `MAX_DEPTH`.

    Args:
        text: what `tomllib` parses without an error. Of another text the answer is of no use.
    """
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.lines


class _Scanner:
    """Reads a valid text once, from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._tokens = _TOKEN.finditer(text)
        self._lengths: dict[Path, int] = {}  # of lists of tables
        self._line = 1
        self._kind = self._current = ""
        self._next()

    def _next(self) -> None:
        """Go on to the next token that isn't space."""
        self._line += self._current.count("\n")
        for match in self._tokens:
            if match.lastgroup != "space":
                self._kind, self._current = match.lastgroup or "", match[0]
                return
        self._kind, self._current = "end", ""

    def _skip_lines(self) -> None:
        while self._kind == "line":
            self._next()

    def scan(self) -> None:
        table: Path = ()
        while True:
            self._skip_lines()
            if self._kind == "end":
                return
            if self._current == "[":
                table = self._header()
            else:
                self._member(table)

    def _header(self) -> Path:
        """Read `[key]` or `[[key]]`; return where its members belong."""
        self._next()
        is_list = self._current == "["
        if is_list:
            self._next()
        *before, last = self._key()
        path = self._resolve((), before)
        if is_list:
            path = self._at(path, last)
            place = self._lengths.get(path, 0)
            self._lengths[path] = place + 1
            path = self._at(path, place)
            self._next()
        else:
            path = self._resolve(path, [last])
        self._next()
        return path

    def _resolve(self, path: Path, keys: list[str]) -> Path:
        """Follow keys; one that is a list of tables means its last table."""
        for key in keys:
            path = self._at(path, key)
            if path in self._lengths:
                path = self._at(path, self._lengths[path] - 1)
        return path

    def _at(self, path: Path, step: str | int) -> Path:
        """Return the path of what begins here."""
        if len(path) == MAX_DEPTH:
            return path
        path = (*path, step)
        self.lines.setdefault(path, self._line)
        return path

    def _key(self) -> list[str]:
        """Read a key up to what follows it: `]` or `=`."""
        parts: list[str] = []
        while self._current not in ("]", "=") and self._kind != "end":
            if self._current != ".":
                parts.append(next(iter(tomllib.loads(f"{self._current}=0"))))
            self._next()
        return parts

    def _member(self, table: Path) -> None:
        """Read `key = value`."""
        path = table
        for key in self._key():
            path = self._at(path, key)
        self._next()
        self._value(path)

    def _value(self, path: Path) -> None:
        """Read a value up to what follows it."""
        if self._current == "[":
            self._next()
            place = 0
            while self._beyond("]"):
                self._value(self._at(path, place))
                place += 1
        elif self._current == "{":
            self._next()
            while self._beyond("}"):
                self._member(path)
        else:
            while self._current not in (",", "]", "}") and self._kind not in ("line", "end"):
                self._next()

    def _beyond(self, end: str) -> bool:
        """Skip what separates members; return whether there is another one, else go on beyond the end."""
        while self._kind == "line" or self._current == ",":
            self._next()
        if self._current == end or self._kind == "end":
            self._next()
            return False
        return True
