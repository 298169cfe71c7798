"""`privity mesh`."""

import argparse
import base64
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from privity.cli import _ui
from privity.errors import StartError
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, MeshCa
from privity.transport.secret_store.valkey import STORE_KEY_BYTES

_PUBLIC, _PRIVATE = 0o644, 0o600


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "mesh",
        help="make the certificates by which the roles of a deployment know each other",
        description=(
            "Make a mesh CA, and write its certificate (ca.pem), a certificate with its key for each of the roles "
            "that hold secrets (secret-service.pem, inference-proxy.pem), and the key under which secret services "
            "keep secrets in a shared store (store.key). The CA's key is not kept: nobody can issue more "
            "certificates, and a year later all of them are made anew."
        ),
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write them; nothing is overwritten")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files; return the exit status."""
    directory: Path = arguments.directory
    now = datetime.now(UTC)
    ca = MeshCa.create(now)
    files = {"ca.pem": (ca.certificate_pem(), _PUBLIC)}
    for name in (SECRET_SERVICE, INFERENCE_PROXY):
        identity = ca.issue(name, now)
        files[f"{name}.pem"] = (identity.certificate_pem() + identity.key_pem(), _PRIVATE)
    files["store.key"] = (base64.b64encode(secrets.token_bytes(STORE_KEY_BYTES)) + b"\n", _PRIVATE)
    for name in files:
        if os.path.lexists(directory / name):
            raise StartError(f"{directory / name} exists, and isn't overwritten.", "Choose another directory.")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, (content, mode) in files.items():
            _write(directory / name, content, mode)
    except OSError as error:
        problem = f"{directory} can't be written to ({error.strerror})."
        raise StartError(problem, "Check the path and its permissions.") from error
    _ui.say(f"Wrote {', '.join(files)} to {directory}")
    return 0


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a new file that nobody but its owner could ever read, if that is its mode."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # whatever the umask
        file.write(content)
