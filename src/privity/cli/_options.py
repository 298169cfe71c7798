"""Options that come from the command line, from the environment, and from a TOML file, in this order of precedence.

An option `--some-name` is `PRIVITY_SOME_NAME` in the environment and `some_name` in a file. What it may be and what it
means is the same everywhere, but that a path in a file is relative to the file's directory.
"""

import argparse
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from privity.cli._help import HelpFormatter
from privity.toml.files import read_config_file
from privity.toml.kinds import Kind
from privity.toml.reader import Document

PREFIX = "PRIVITY_"

MAX_TOLD = 10
"""Unknown variables that are told of: a screen's part."""

_OF_KUBERNETES = ("tcp://", "udp://", "sctp://")
"""How `PRIVITY_PORT` begins in every container of a namespace that has a service named `privity`."""

_ENVIRONMENT_HELP = (
    "Each option can also be said in the environment: --some-name is PRIVITY_SOME_NAME. Several values are separated "
    "by spaces, and an empty variable says nothing. The command line comes before the environment."
)

_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_NOWHERE_ELSE = ("help", "version")
_ANYTHING: Kind[Any] = Kind("a value", lambda value: value)


class OptionParser(argparse.ArgumentParser):
    """A parser of options, wherever they come from. Unless it is told to read elsewhere it is argparse's own.

    Defaults have to be of their options' types: they aren't converted.

    Args:
        arguments: argparse's.
        environ: the environment.
        options: argparse's.
    """

    def __init__(self, *arguments: Any, environ: Mapping[str, str] = MappingProxyType({}), **options: Any) -> None:
        super().__init__(*arguments, **{"formatter_class": HelpFormatter, **options})
        self._environ = environ
        self._reads_environment = False
        self._reads_file = False

    def read_environment(self) -> None:
        """Take options from the environment, too, and say so in the help."""
        self._reads_environment = True
        self.epilog = f"{self.epilog or ''}\n\n{_ENVIRONMENT_HELP}".lstrip()

    def read_file(self, help_text: str) -> None:
        """Add `--config`, and take options from the file that it names, too."""
        self.add_argument("--config", type=Path, metavar="FILE", help=help_text)
        self._reads_file = True

    def add_flag(self, *names: str, help_text: str, default: bool = False) -> None:
        """Add an option that is true or false: `--flag`, `--flag=true` or `--flag=false`, as Go's flags are."""
        self.add_argument(*names, type=boolean, nargs="?", const=True, default=default, metavar="BOOL", help=help_text)

    def parse_known_args(  # type: ignore[override]  # argparse's has a type for each kind of namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse a command line, and return what nobody knows of it without its values.

        The result has each option, `environ`, and `unknown_variables`: those with our prefix that are no option's.

        Raises:
            ConfigError: the file can't be used.
            StartError: the file can't be read.
        """
        if not self._reads_environment:
            return super().parse_known_args(args, namespace)
        given = self._from_environment()
        self._require_no_more(given)
        unset = argparse.Namespace(**dict.fromkeys(self._options()))  # so that what is given is told from a default
        parsed, rest = super().parse_known_args(args, unset)
        given = self._together(given, {key: value for key, value in vars(parsed).items() if value is not None})
        file: Path | None = given.get("config")
        from_file = self.values_in(file) if self._reads_file and file is not None else {}
        for key, value in (self.defaults() | from_file | given).items():
            setattr(parsed, key, value)
        parsed.environ, parsed.unknown_variables = self._environ, self._unknown_variables()
        return parsed, [each.partition("=")[0] if each.startswith("-") else "…" for each in rest]  # one may be a key

    def defaults(self) -> dict[str, Any]:
        """Return what holds where nobody says anything, by options' names."""
        return {key: action.default for key, action in self._options().items()}

    def values_in(self, path: Path) -> dict[str, Any]:
        """Return what a file says, by options' names. Raises `ConfigError`, and `StartError` if it can't be read."""
        document = Document(read_config_file(path), str(path))
        values: dict[str, Any] = {}
        for key, action in self._options().items():
            if key == "config" or (said := document.root.take(key, _ANYTHING)) is None:
                continue
            try:
                value = _from_toml(action, said)
            except argparse.ArgumentTypeError as error:
                document.root.report((key,), f"{error}.")
            else:
                values[key] = path.parent / value if isinstance(value, Path) else value
        document.root.close()
        document.check()
        return values

    def _from_environment(self) -> dict[str, Any]:
        """Return what the environment says; a variable that is empty says nothing."""
        values: dict[str, Any] = {}
        for key, action in self._options().items():
            text = self._environ.get(variable(key), "")
            if not text or (key == "port" and text.startswith(_OF_KUBERNETES)):
                continue
            try:
                values[key] = (
                    [_read(action, each) for each in text.split()] if _is_list(action) else _read(action, text)
                )
            except argparse.ArgumentTypeError as error:
                self.error(f"environment variable {variable(key)}: {error}")
        return values

    def _require_no_more(self, given: Collection[str]) -> None:
        """Let what is given already be left out on the command line."""
        for action in self._actions:
            action.required = action.required and action.dest not in given
        for group, keys in self._exclusive():
            group.required = group.required and keys.isdisjoint(given)

    def _together(self, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        """Return what two sources say, the later one with precedence, also over what excludes what it says."""
        for _, keys in self._exclusive():
            if keys.isdisjoint(after):
                several = [variable(key) for key in before if key in keys]
                if len(several) > 1:
                    self.error(f"environment variables {' and '.join(several)} exclude each other")
            else:
                before = {key: value for key, value in before.items() if key not in keys}
        return before | after

    def _exclusive(self) -> Iterator[tuple[Any, set[str]]]:
        """Yield the groups of options that exclude each other, with their names."""
        for group in self._mutually_exclusive_groups:
            yield group, {action.dest for action in group._group_actions}  # noqa: SLF001  # argparse has no other way

    def _unknown_variables(self) -> list[str]:
        known = {key.upper() for key in self._options()}
        names = (name.removeprefix(PREFIX) for name in sorted(self._environ) if name.startswith(PREFIX))
        unknown = [name for name in names if name not in known][:MAX_TOLD]
        nearest = {name: get_close_matches(name, known, 1) for name in unknown}
        return [
            f"{PREFIX}{name}" + (f" (did you mean {PREFIX}{near[0]}?)" if near else "")
            for name, near in nearest.items()
        ]

    def _options(self) -> dict[str, argparse.Action]:
        """Return what can be said elsewhere, by its name in a file."""
        return {each.dest: each for each in self._actions if each.option_strings and each.dest not in _NOWHERE_ELSE}


def variable(key: str) -> str:
    """Return the environment variable of an option, by its name in a file."""
    return PREFIX + key.upper()


def boolean(text: str) -> bool:
    """Return a truth value for argparse, as Go's flags have it."""
    if text.lower() not in _TRUTH:
        raise argparse.ArgumentTypeError("expected true or false")
    return _TRUTH[text.lower()]


def _is_list(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction)  # noqa: SLF001  # argparse has no other way


def _reader(action: argparse.Action) -> Callable[[str], Any]:
    if action.nargs == 0:  # a flag that takes no value on the command line
        return boolean
    return action.type if callable(action.type) else str


def _read(action: argparse.Action, text: str) -> Any:
    """Return what a text means for an option. Raises `ArgumentTypeError`, which doesn't repeat it: it may be a key."""
    try:
        value = _reader(action)(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("this option doesn't take such a value") from error
    if action.choices is not None and value not in action.choices:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(action.choices)}")
    return value


def _from_toml(action: argparse.Action, said: object) -> Any:
    """Return what a value of TOML means for an option. Raises `ArgumentTypeError`."""
    if _is_list(action):
        if not isinstance(said, list):
            raise argparse.ArgumentTypeError("expected a list")
        return [_read(action, _typed(each, str, "each a text in quotes")) for each in said]
    if _reader(action) is boolean:
        return _typed(said, bool, "true or false, without quotes")
    if isinstance(action.default, int | float):
        return _read(action, str(_typed(said, int | float, "a number, without quotes")))
    return _read(action, _typed(said, str, "a text in quotes"))


def _typed(said: object, wanted: Any, name: str) -> Any:
    if not isinstance(said, wanted) or (isinstance(said, bool) and wanted is not bool):
        raise argparse.ArgumentTypeError(f"expected {name}")
    if isinstance(said, str) and not said.isprintable():
        raise argparse.ArgumentTypeError("expected printable characters")
    return said
