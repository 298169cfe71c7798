import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from privity.errors import StartError
from privity.roles.proxy.api_key import LOOK_SECONDS, MAX_KEY_CHARACTERS, ApiKey, FixedKey, KeyFile, open_key
from privity.testing.proxy_rig import Time

Files = tuple[Path, ApiKey, Time]


@pytest.fixture
def file(tmp_path: Path) -> Files:
    """Return a key's file, the key, and the time."""
    path, time = tmp_path / "key", Time()
    path.write_text("first\n")
    return path, open_key(path, lambda: time.steady), time


def test_a_literal_key_stays() -> None:
    for configured in (None, "literal", " literal\n"):
        key = open_key(configured, lambda: 0.0)
        key.look()
        assert key.value() == (configured.strip() if configured else None)
        assert "literal" not in repr(key)


@pytest.mark.parametrize("text", ["", " ", "two words", "new\nline", "käy", "k" * (MAX_KEY_CHARACTERS + 1)])
def test_what_is_no_key_is_refused_at_the_start_without_showing_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    for configured in (text, path):
        with pytest.raises(StartError, match=r"^The API key is empty, or has characters that no key has\."):
            open_key(configured, lambda: 0.0)


def test_the_file_is_looked_at_once_a_second(file: Files) -> None:
    path, key, time = file
    path.write_text("second")
    time.move(LOOK_SECONDS - 0.01)
    assert key.value() == "first"
    time.move(0.01)
    assert key.value() == "second"


def test_whoever_was_refused_looks_at_once(file: Files) -> None:
    path, key, _ = file
    path.write_text("second")
    key.look()
    assert key.value() == "second"


def replace(path: Path) -> None:
    (path.parent / "new").write_text("second")
    (path.parent / "new").rename(path)


def same_length_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text("secnd\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def link(path: Path) -> None:
    """Do as Kubernetes does with a mounted secret."""
    (path.parent / "data").mkdir()
    (path.parent / "data" / "key").write_text("second")
    path.unlink()
    path.symlink_to("data/key")


@pytest.mark.parametrize("change", [replace, same_length_and_time, link])
def test_a_change_is_seen_however_it_is_made(change: Callable[[Path], None], file: Files) -> None:
    path, key, time = file
    change(path)
    time.move(LOOK_SECONDS)
    assert key.value() in ("second", "secnd")


def emptied(path: Path) -> None:
    path.write_text("")


def half_written(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def two_lines(path: Path) -> None:
    path.write_text("one\ntwo")


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [Path.unlink, emptied, half_written, two_lines, a_directory, a_pipe])
def test_a_file_that_cannot_be_used_leaves_the_last_good_key_and_one_warning(
    spoil: Callable[[Path], None], file: Files, caplog: pytest.LogCaptureFixture
) -> None:
    path, key, time = file
    spoil(path)
    for _ in range(3):
        time.move(LOOK_SECONDS)
        assert key.value() == "first"
    (record,) = caplog.records
    assert (record.levelname, vars(record)["file"]) == ("WARNING", str(path))
    assert record.message == "the API key's file can't be used; the last good key stays"


def test_a_file_that_is_back_is_used_and_no_key_is_logged(file: Files, caplog: pytest.LogCaptureFixture) -> None:
    path, key, time = file
    path.unlink()
    time.move(LOOK_SECONDS)
    assert key.value() == "first"
    path.write_text("second")
    time.move(LOOK_SECONDS)
    assert key.value() == "second"
    assert [record.message for record in caplog.records][1:] == ["the API key's file was read again"]
    assert "first" not in caplog.text
    assert "second" not in caplog.text


def test_a_pipe_gives_its_key_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("key",))
    writer.start()
    key = open_key(path, lambda: 0.0)
    writer.join()
    assert isinstance(key, FixedKey)
    assert key.value() == "key"


def test_a_key_in_a_file_is_in_no_text_form(file: Files) -> None:
    _, key, _ = file
    assert isinstance(key, KeyFile)
    assert "first" not in repr(key)
