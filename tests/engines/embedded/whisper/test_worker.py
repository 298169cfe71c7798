"""Real workers with a tiny multilingual model of random weights: its words are noise, and everything else is not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import ModelFiles, fetch
from privity.engines.embedded.process import EngineProcess
from privity.engines.embedded.sources import DirectorySource
from privity.engines.embedded.whisper import worker
from privity.engines.embedded.whisper.task import TRANSCRIPTIONS, TRANSLATIONS
from privity.engines.embedded.whisper.worker import Job
from privity.engines.engine import Json
from privity.engines.probes import silence
from privity.errors import InvalidRequestError, StartError
from privity.protocol.multipart import Part
from privity.testing.programs import end_of_worker
from privity.testing.tiny_whisper import LANGUAGES, write_tiny_whisper
from privity.transport.http_client import PooledHttpClient


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("model") / "tiny")


def files_of(model: Path) -> ModelFiles:
    return fetch(DirectorySource(str(model)), model, print)


async def test_a_worker_hears_translates_and_streams(model: Path, tmp_path: Path) -> None:
    process = EngineProcess(files_of(model), tmp_path / "s.sock")
    async with process.running(), PooledHttpClient() as http:
        engine = DetectedEngine(EngineConnection(http, process.url, 60), (), "whisper")
        (described,) = await engine.describe()
        assert (described.name, described.tasks) == ("tiny", ("transcribe",))
        assert described.facts.size == (model / "model.bin").stat().st_size

        async def ask(path: str, **fields: bytes) -> Json:
            form = [Part("file", silence(), is_file=True), Part("temperature", b"0.5")]
            answer = await engine.answer(path, [*form, *(Part(name, value) for name, value in fields.items())])
            assert isinstance(answer, dict)
            return answer

        verbose = {"response_format": b"verbose_json", "timestamp_granularities[]": b"word"}
        heard = await ask(TRANSCRIPTIONS, **verbose)
        assert heard["language"] in LANGUAGES
        assert heard["duration"] == 0.5
        assert isinstance(heard["words"], list)
        assert (await ask(TRANSCRIPTIONS, **verbose, language=b"fr"))["language"] == "fr"
        assert (await ask(TRANSLATIONS, **verbose))["task"] == "translate"
        with pytest.raises(InvalidRequestError) as caught:
            await ask(TRANSCRIPTIONS, language=b"es")
        assert caught.value.param == "language"
        events = await engine.answer(TRANSLATIONS, [Part("file", silence(), is_file=True), Part("stream", b"true")])
        assert not isinstance(events, dict)
        assert [event async for event in events][-1]["type"] == "transcript.text.done"
    assert process.pid is None


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "altered": lambda whole: whole[:18] + bytes(200) + whole[218:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_damaged_weights_say_what_is_wrong_and_the_way_out(
    damage: Callable[[bytes], bytes], model: Path, tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(model, tmp_path / "damaged"))
    (damaged / "model.bin").write_bytes(damage((model / "model.bin").read_bytes()))
    with pytest.raises(StartError) as caught:
        await EngineProcess(files_of(damaged), tmp_path / "s.sock").running().__aenter__()
    assert str(damaged) in caught.value.problem
    assert "whisper" in caught.value.way_out


def test_a_worker_that_can_not_load_its_model_says_so_in_one_word(tmp_path: Path) -> None:
    job = Job("m", str(tmp_path), str(tmp_path / "sock"))
    assert end_of_worker(worker.__name__, json.dumps(asdict(job))) == (1, b"failed\n", b"")
