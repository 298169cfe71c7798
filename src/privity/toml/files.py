"""Configuration files on disk."""

from pathlib import Path

from privity.errors import StartError
from privity.toml.reader import MAX_FILE_BYTES


def read_config_file(path: Path) -> bytes:
    """Return what is in a configuration file, or a little of it where it is too large. Raises `StartError`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StartError(f"{path} can't be read ({error.strerror}).", "Check the path and its permissions.") from error
