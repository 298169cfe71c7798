from pathlib import Path

import pytest

from privity.engines.embedded import store
from privity.engines.embedded.fetch import fetch
from privity.engines.embedded.sources import FileSource
from privity.errors import StartError


def test_a_local_file_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "My.gguf"
    model.write_bytes(b"GGUF...")
    (tmp_path / "p.gguf").write_bytes(b"GGUF")
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
