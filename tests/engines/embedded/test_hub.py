import hashlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from privity.engines.embedded import store
from privity.engines.embedded.fetch import fetch
from privity.engines.embedded.projectors import ANY
from privity.engines.embedded.sources import HubSource
from privity.errors import StartError
from privity.testing.fake_hub import COMMIT, FakeHub

BIG = b"GGUF" + bytes(48 << 20)  # the hub's client writes pieces of 10 MiB
MODEL = b"GGUF" + bytes(range(256)) * 4000
PROJECTOR = b"GGUF" + struct.pack("<IQQQ20sIQ4s", 3, 0, 1, 20, b"general.architecture", 8, 4, b"clip")
SOURCE = HubSource("org/Some-GGUF", "sub/some-q8.gguf")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    for name in [name for name in os.environ if name.startswith("HF_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    with FakeHub() as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        fake.add(SOURCE.repo, "sub/some-q8.gguf", MODEL)
        yield fake


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def refused(source: HubSource, cache: Path) -> str:
    with pytest.raises(StartError) as caught:
        fetch(source, cache, print)
    assert "\n" not in str(caught.value)
    assert kept(cache) == []
    return str(caught.value)


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("models/*/*") if path.name != "lock")


def test_a_file_is_fetched_once(hub: FakeHub, cache: Path) -> None:
    first = fetch(SOURCE, cache, print)
    asked = len(hub.requests)
    assert fetch(SOURCE, cache, print) == first
    assert len(hub.requests) == asked
    assert first.model.read_bytes() == MODEL
    assert first.sha256 == hashlib.sha256(MODEL).hexdigest()
    assert first.ids == ("org/Some-GGUF", "some-gguf")
    assert (first.created, first.owned_by, first.licence) == (1_704_164_645, "org", "apache-2.0")
    assert kept(cache) == [first.model.name, f"{first.model.name}.json"]


def test_only_what_the_download_needs_is_asked_for(hub: FakeHub, cache: Path) -> None:
    fetch(SOURCE, cache, print)
    assert [request.method for request in hub.requests] == ["GET", "HEAD", "GET"]


def test_the_mmproj_file_comes_along_and_the_model_is_not_fetched_again(hub: FakeHub, cache: Path) -> None:
    hub.add(SOURCE.repo, "mmproj.gguf", PROJECTOR)
    plain = fetch(SOURCE, cache, print)
    both = fetch(HubSource(SOURCE.repo, SOURCE.file, mmproj="mmproj.gguf", id="seeing"), cache, print)
    assert both.model == plain.model
    assert both.mmproj is not None
    assert both.mmproj.read_bytes() == PROJECTOR
    assert both.ids == ("seeing",)
    assert len(hub.downloads) == 2


def test_a_revision_is_asked_for_and_kept_apart(hub: FakeHub, cache: Path) -> None:
    main = fetch(SOURCE, cache, print)
    pinned = fetch(HubSource(SOURCE.repo, SOURCE.file, COMMIT), cache, print)
    assert pinned.model != main.model
    assert f"/revision/{COMMIT}" in hub.requests[3].path


def test_a_cut_connection_is_resumed(hub: FakeHub, cache: Path) -> None:
    hub.add("org/big", "b.gguf", BIG)
    hub.cuts = 1
    assert fetch(HubSource("org/big", "b.gguf"), cache, print).model.read_bytes() == BIG
    assert [request.range for request in hub.downloads] == [None, "bytes=20971520-"]


def test_a_killed_download_is_resumed_by_the_next_start(hub: FakeHub, cache: Path) -> None:
    hub.add("org/big", "b.gguf", BIG)
    hub.stall = True
    program = (
        "import sys, pathlib; from privity.engines.embedded.fetch import fetch; "
        "from privity.engines.embedded.sources import HubSource; "
        "fetch(HubSource('org/big', 'b.gguf'), pathlib.Path(sys.argv[1]), print)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(cache)]) as process:
        assert hub.stalled.wait(20)
        process.send_signal(signal.SIGKILL)
    hub.stall = False
    assert [name[:5] for name in kept(cache)] == ["part-"]
    assert fetch(HubSource("org/big", "b.gguf"), cache, print).model.read_bytes() == BIG
    resumed = hub.downloads[1].range
    assert resumed is not None
    assert int(resumed.removeprefix("bytes=").removesuffix("-")) >= 10 << 20


def test_no_file_named_and_one_there(hub: FakeHub, cache: Path) -> None:
    hub.add(SOURCE.repo, "mmproj-x.gguf", b"GGUF")
    hub.add(SOURCE.repo, "README.md", b"")
    first = fetch(HubSource(SOURCE.repo), cache, print)
    asked = len(hub.requests)
    assert fetch(HubSource(SOURCE.repo), cache, print) == first
    assert first.model.read_bytes() == MODEL
    assert len(hub.requests) == asked


def test_the_model_that_was_chosen_is_not_fetched_again_with_an_mmproj_file(hub: FakeHub, cache: Path) -> None:
    hub.add(SOURCE.repo, "mmproj-x.gguf", PROJECTOR)
    fetch(HubSource(SOURCE.repo), cache, print)
    fetch(HubSource(SOURCE.repo, mmproj="mmproj-x.gguf"), cache, print)
    assert len(hub.downloads) == 2


def test_neither_file_is_named(hub: FakeHub, cache: Path) -> None:
    for name in ("mmproj-BF16.gguf", "sub/mmproj-F16.gguf", "mmproj-F32.gguf"):
        hub.add(SOURCE.repo, name, PROJECTOR + name.encode())
    first = fetch(HubSource(SOURCE.repo, mmproj=ANY), cache, print)
    assert first.mmproj is not None
    assert (first.model.read_bytes(), first.mmproj.read_bytes()) == (MODEL, PROJECTOR + b"sub/mmproj-F16.gguf")
    asked = len(hub.requests)
    assert fetch(HubSource(SOURCE.repo, mmproj=ANY), cache, print) == first
    assert (len(hub.requests), len(hub.downloads)) == (asked, 2)


def test_which_projector_is_meant_is_in_doubt(hub: FakeHub, cache: Path) -> None:
    source = HubSource(SOURCE.repo, SOURCE.file, mmproj=ANY)
    hub.add(SOURCE.repo, "some-mmproj.gguf", PROJECTOR)
    assert "holds no projector (a file called mmproj*.gguf)" in refused(source, cache)
    hub.add(SOURCE.repo, "mmproj-a-f16.gguf", PROJECTOR)
    hub.add(SOURCE.repo, "mmproj-b-f16.gguf", PROJECTOR)
    assert "several projectors: mmproj-a-f16.gguf, mmproj-b-f16.gguf. Choose one" in refused(source, cache)
    assert hub.downloads == []


def test_a_file_that_is_no_projector(hub: FakeHub, cache: Path) -> None:
    hub.add(SOURCE.repo, "mmproj.gguf", MODEL)
    for _ in range(2):  # from the hub, and from the cache
        with pytest.raises(StartError, match="is not a projector"):
            fetch(HubSource(SOURCE.repo, SOURCE.file, mmproj=ANY), cache, print)


def test_a_named_projector_that_is_not_there(hub: FakeHub, cache: Path) -> None:
    refusal = refused(HubSource(SOURCE.repo, mmproj="mmproj-x.gguf"), cache)
    assert "has no file mmproj-x.gguf" in refusal
    assert hub.downloads == []


def test_no_file_named_and_several_there(hub: FakeHub, cache: Path) -> None:
    hub.add(SOURCE.repo, "b.gguf", MODEL)
    refusal = refused(HubSource(SOURCE.repo), cache)
    assert "sub/some-q8.gguf, b.gguf" in refusal
    hub.add(SOURCE.repo, "x-q4_k_m.gguf", b"GGUF four bits")
    assert fetch(HubSource(SOURCE.repo), cache, print).model.read_bytes() == b"GGUF four bits"


def test_no_file_named_and_none_there(hub: FakeHub, cache: Path) -> None:
    hub.add("org/text", "README.md", b"")
    assert "no model in one GGUF file" in refused(HubSource("org/text"), cache)


SPEECH = {
    "README.md": b"",
    "config.json": b"{}",
    "model.bin": b"\x06\0\0\0\x0c\0WhisperSpec\0" + bytes(1000),
    "tokenizer.json": b"{}",
    "vocabulary.txt": b"a",
}


def test_a_repository_with_a_model_for_speech_comes_as_a_directory(hub: FakeHub, cache: Path) -> None:
    for name, content in SPEECH.items():
        hub.add("org/faster-whisper-x", name, content)
    first = fetch(HubSource("org/faster-whisper-x"), cache, print)
    asked = len(hub.requests)
    assert fetch(HubSource("org/faster-whisper-x"), cache, print) == first
    assert len(hub.requests) == asked
    assert (first.engine, first.ids) == ("whisper", ("org/faster-whisper-x", "faster-whisper-x"))
    there = {path.name for path in first.model.parent.iterdir()}
    assert set(SPEECH) - {"README.md"} <= there
    assert "README.md" not in there
    with pytest.raises(StartError, match="turns speech into text"):
        fetch(HubSource("org/faster-whisper-x", context=512), cache, print)


def test_weights_of_another_kind_are_not_kept(hub: FakeHub, cache: Path) -> None:
    for name, content in (SPEECH | {"model.bin": b"translates"}).items():
        hub.add("org/opus", name, content)
    with pytest.raises(StartError, match="not a Whisper model"):
        fetch(HubSource("org/opus"), cache, print)


def test_other_bytes_than_announced(hub: FakeHub, cache: Path) -> None:
    hub.wrong_digest = True
    assert "SHA-256 is wrong); nothing was kept" in refused(SOURCE, cache)


def test_a_file_that_is_no_model(hub: FakeHub, cache: Path) -> None:
    hub.add(SOURCE.repo, "page.gguf", b"<html>")
    assert "is not a GGUF file" in refused(HubSource(SOURCE.repo, "page.gguf"), cache)


@pytest.mark.usefixtures("hub")
def test_missing_repository_revision_and_file(cache: Path) -> None:
    assert "no model org/none" in refused(HubSource("org/none", "f.gguf"), cache)
    assert "no revision v9" in refused(HubSource(SOURCE.repo, "f.gguf", "v9"), cache)
    assert "no file f.gguf" in refused(HubSource(SOURCE.repo, "f.gguf"), cache)


def test_token_for_a_private_model(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"  # noqa: S105  # the fake hub's
    assert "HF_TOKEN" in refused(SOURCE, cache)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert fetch(SOURCE, cache, print).model.read_bytes() == MODEL


def test_gated_model(hub: FakeHub, cache: Path) -> None:
    hub.gated = True
    refusal = refused(SOURCE, cache)
    assert "gated" in refusal
    assert "HF_TOKEN" in refusal


def test_unreachable_hub(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "does not answer" in refused(SOURCE, cache)
    assert hub.requests == []


def test_offline(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in refused(SOURCE, cache)
    assert hub.requests == []


def test_offline_takes_what_the_hubs_own_tools_have_cached(
    cache: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "hf-home" / "hub" / "models--org--Some-GGUF"
    blob = repo / "blobs" / hashlib.sha256(MODEL).hexdigest()
    link = repo / "snapshots" / COMMIT / "sub" / "some-q8.gguf"
    for path in (blob, link, repo / "refs" / "main"):
        path.parent.mkdir(parents=True)
    blob.write_bytes(MODEL)
    link.symlink_to(blob)
    (repo / "refs" / "main").write_text(COMMIT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch(SOURCE, cache, print).model.read_bytes() == MODEL
    assert hub.requests == []


def test_full_disk_is_noticed_before_the_download(hub: FakeHub, cache: Path) -> None:
    program = (
        "import shutil, sys; usage = shutil.disk_usage('/'); "
        "shutil.disk_usage = lambda _: usage._replace(free=1000); "
        "from privity.engines.embedded import children, hub_download; "
        "sys.exit(children.answer(hub_download.download))"
    )
    argument = f'{{"repo":"{SOURCE.repo}","revision":"main","files":["{SOURCE.file}"],"directory":"{cache}"}}'
    cache.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", program, argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        output = child.stdout.read()
    assert b'"error": "space"' in output
    assert hub.downloads == []


@pytest.mark.usefixtures("hub")
def test_unfinished_bytes_of_another_version_are_removed_not_joined(cache: Path) -> None:
    directory = store.model_directory(cache, f"hf-{SOURCE.repo}@main")
    directory.mkdir(parents=True)
    name = store.safe_name(str(SOURCE.file))
    old, foreign = directory / f"part-{'1' * 64}-{name}", directory / f"part-{'1' * 64}-other-{name}"
    unfinished = directory / f"part-{hashlib.sha256(MODEL).hexdigest()}-{name}"
    old.write_bytes(b"old")
    foreign.write_bytes(b"of another file")
    unfinished.write_bytes(MODEL[:1000])
    assert fetch(SOURCE, cache, print).model.read_bytes() == MODEL
    assert [path.name for path in directory.glob("part-*")] == [foreign.name]


def test_damaged_unfinished_bytes_are_noticed_and_the_next_start_begins_anew(hub: FakeHub, cache: Path) -> None:
    directory = store.model_directory(cache, f"hf-{SOURCE.repo}@main")
    directory.mkdir(parents=True)
    name = store.safe_name(str(SOURCE.file))
    (directory / f"part-{hashlib.sha256(MODEL).hexdigest()}-{name}").write_bytes(b"x" * 1000)
    assert "SHA-256 is wrong" in refused(SOURCE, cache)
    assert fetch(SOURCE, cache, print).model.read_bytes() == MODEL
    assert hub.downloads[0].range == "bytes=1000-"
