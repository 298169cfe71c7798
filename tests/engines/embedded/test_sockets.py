import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from privity.engines.embedded.sockets import socket_directory


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_directory_is_its_users_alone_and_goes_with_its_context() -> None:
    with socket_directory() as directory:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not directory.exists()


def test_what_a_killed_process_left_is_swept(temporary: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = temporary / f"privity-{dead.pid}-abc"
    left.mkdir()
    (left / "engine.sock").touch()
    with socket_directory():
        assert not left.exists()


@pytest.mark.parametrize("name", [f"privity-{os.getpid()}-abc", "privity-notes", "privity-1-abc"])
def test_what_is_in_use_or_nobodys_is_not(temporary: Path, name: str) -> None:
    (temporary / name).mkdir()
    with socket_directory():
        assert (temporary / name).exists()
