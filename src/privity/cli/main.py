"""The command `privity`."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from privity import __version__
from privity.cli import _ui, config, gateway, inference_proxy, mesh, proxy, secret_service, up
from privity.cli._options import OptionParser
from privity.cli._program import INTERRUPTED_STATUS
from privity.cli.models import command as models
from privity.errors import StartError

BROKEN_PIPE_STATUS = 141
"""128 + SIGPIPE, as other programs end."""


def build_parser(environ: Mapping[str, str] = MappingProxyType({})) -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    Args:
        environ: the environment, where some commands take options from, too.
    """
    parser = argparse.ArgumentParser(prog="privity", description="Confidential AI that you can run yourself.")
    parser.add_argument("--version", action="version", version=f"privity {__version__}")
    commands = parser.add_subparsers(  # type: ignore[call-overload]  # argparse calls it, and asks for no more
        title="commands", metavar="COMMAND", required=True, parser_class=partial(OptionParser, environ=environ)
    )
    for command in (up, models, proxy, gateway, inference_proxy, secret_service, mesh, config):
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    try:
        parsed = build_parser(os.environ).parse_args(arguments)
        status: int = parsed.run(parsed)
    except StartError as error:
        _ui.tell(f"privity: {error}".rstrip())
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
    except KeyboardInterrupt:
        _ui.tell(_ui.INTERRUPTED)
        return INTERRUPTED_STATUS
    return status


if __name__ == "__main__":
    sys.exit(main())
