"""Files of a mesh, as `privity mesh` writes them, read for the subcommands that serve."""

import argparse
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from privity.errors import CertificateError, StartError
from privity.protocol import mesh

_MAKE = "`privity mesh DIR` makes such files."


def add_mesh_options(parser: argparse.ArgumentParser) -> None:
    """Add `--mesh-ca` and `--identity`."""
    ca = "the certificate of the CA that all certificates of the deployment must come from"
    parser.add_argument("--mesh-ca", type=Path, required=True, metavar="FILE", help=ca)
    own = "its own certificate and key, in one PEM file"
    parser.add_argument("--identity", type=Path, required=True, metavar="FILE", help=own)


def read_identity(path: Path, ca: x509.Certificate, name: str) -> mesh.Identity:
    """Return the certificate and the key in a file. Raises `StartError`, where they aren't that role's, too."""
    try:
        identity = mesh.Identity.from_pem(read_private(path))
        mesh.verify(identity.certificate_der(), ca, datetime.now(UTC), name)
    except CertificateError as error:
        problem = f"{path} can't be used as a certificate with its key. {error}"
        raise StartError(problem, f"Name the PEM file of the {name}, of the same mesh as --mesh-ca. {_MAKE}") from error
    return identity


def read_ca(path: Path) -> x509.Certificate:
    """Return the mesh CA's certificate in a file. Raises `StartError`."""
    try:
        return mesh.load_ca(_read(path))
    except CertificateError as error:
        problem = f"{path} can't be used as the mesh CA's certificate. {error}"
        raise StartError(problem, f"Name the PEM file of the mesh CA. {_MAKE}") from error


def read_private(path: Path) -> bytes:
    """Return what is in a file that only its owner may read. Raises `StartError`."""
    return _read(path, private=True)


def _read(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(mesh.MAX_PEM_BYTES + 1)  # one more than mesh takes
    except OSError as error:
        raise StartError(f"{path} can't be read ({error.strerror}).", "Check the path and its permissions.") from error
    if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
        problem = f"{path} holds a key, and other users of this machine may use it."
        raise StartError(problem, f"Keep it to its owner: chmod 600 {path}")
    return content
