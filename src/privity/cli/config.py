"""`privity config`."""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from privity.catalogue.declared import Declared
from privity.catalogue.records_file import parse_records
from privity.cli import _ui
from privity.cli._mesh import read_ca
from privity.cli._options import OptionParser
from privity.cli._proxy_settings import proxy_settings, warnings_of
from privity.cli.proxy import add_options
from privity.errors import ConfigError
from privity.roles.gateway.config import Served
from privity.roles.gateway.config_file import GatewayFile, load_gateway_file
from privity.roles.proxy.api_key import open_key
from privity.toml.files import read_config_file
from privity.transport.tls_files import renewed_context


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "config",
        help="look at configuration files",
        description="Look at configuration files without starting anything.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check: argparse.ArgumentParser = actions.add_parser(
        "check",
        help="check a file, and show what it declares",
        description=(
            "Check a configuration file, and show what it declares. Each problem is one line that names the file, the "
            "line and the key; then the exit status is 1."
        ),
    )
    check.add_argument("file", type=Path, metavar="FILE", help="a TOML file")
    check.add_argument(
        "--kind",
        choices=("gateway", "records", "proxy"),
        help="whether `privity gateway --config` reads it, `privity inference-proxy --records`, or "
        "`privity proxy --config` (default: gateway)",
    )
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check one file; return the exit status."""
    path: Path = arguments.file
    try:
        if arguments.kind in (None, "gateway"):
            file = load_gateway_file(path)
            read_ca(file.mesh_ca)
            _show_gateway(path, file)
        elif arguments.kind == "proxy":
            _show_proxy(path)
        else:
            declared = parse_records(read_config_file(path), str(path))
            _show(path, [_count(len(declared), "model"), _aliases(declared)], declared)
    except ConfigError as error:
        for problem in error.problems:
            _ui.tell(problem)
        if arguments.kind is None:
            _ui.tell("It was read as a gateway's: --kind proxy or --kind records where it is none.")
        return 1
    return 0


def _show_proxy(path: Path) -> None:
    """Show what a proxy would do by this file alone. Raises `StartError` where it couldn't."""
    parser = OptionParser()
    add_options(parser)
    options = argparse.Namespace(environ={}, **parser.defaults() | parser.values_in(path))
    settings = proxy_settings(options)
    open_key(settings.api_key, time.monotonic)
    if settings.tls is not None:
        renewed_context(settings.tls)
    _ui.say(f"{path} is valid: the gateway is {settings.gateway}.")
    for warning in warnings_of(options):
        _ui.tell(f"Note: {warning}")


def _show_gateway(path: Path, file: GatewayFile) -> None:
    served = file.served
    groups = frozenset[str]().union(*(key.groups for key in served.keys))
    proxies = _count(len(served.inference_proxies), "inference proxy", "inference proxies")
    parts = [
        f"{proxies} ({len(served.draining)} draining)" if served.draining else proxies,
        *([f"{len(served.document_proxies)} for documents"] if served.document_proxies else []),
        _count(len(served.declared), "model"),
        _aliases(served.declared),
        f"{_count(len(served.keys), 'key')} in {_count(len(groups), 'group')}" if served.keys else "no keys",
    ]
    _show(path, parts, served.declared)
    for note in _notes(served, groups):
        _ui.tell(f"Note: {note}")


def _show(path: Path, parts: Iterable[str], declared: Iterable[Declared]) -> None:
    _ui.say(f"{path} is valid: {', '.join(parts)}.")
    rows = [
        (
            each.id,
            ", ".join((*each.aliases, *(f"{name} (floating)" for name in each.floating_aliases))) or "-",
            "-" if each.tasks is None else ", ".join(each.tasks),
            str(each.context_length or "-"),
            "everybody" if each.visible_to is None else ", ".join(sorted(each.visible_to)),
            _end(each),
        )
        for each in declared
    ]
    if rows:
        _ui.say("\n" + _ui.table(("ID", "ALIASES", "TASKS", "CONTEXT", "VISIBLE TO", "LIFECYCLE"), rows))


def _end(declared: Declared) -> str:
    lifecycle = declared.lifecycle
    parts = [
        f"{what} {when:%Y-%m-%d}"
        for what, when in (("deprecated", lifecycle.deprecated_at), ("retires", lifecycle.retires_at))
        if when is not None
    ]
    if lifecycle.replacement is not None:
        parts.append(f"use {lifecycle.replacement}")
    return ", ".join(parts) or "-"


def _notes(served: Served, groups: frozenset[str]) -> Iterator[str]:
    """Yield what is allowed, and may not be meant."""
    if not served.keys:
        yield "without [[keys]] the gateway is open: everybody who reaches it may use every model."
    for each in served.declared:
        for group in sorted((each.visible_to or frozenset()) - groups):
            yield f"no key is in the group {group}, which {each.id} is visible to."
        if any((each.aliases, each.floating_aliases, each.owned_by, each.display_name)):
            yield (
                f"names and the owner of {each.id} given here aren't signed: `privity proxy` leaves them out. "
                "What everybody shall see belongs into a file for `privity inference-proxy --records`."
            )
    if len(served.draining) == len(served.inference_proxies):
        yield "all inference proxies drain: nobody takes new requests."


def _aliases(declared: Iterable[Declared]) -> str:
    return _count(sum(len(each.aliases) + len(each.floating_aliases) for each in declared), "alias", "aliases")


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
