"""The real llama.cpp with a tiny model of random weights that sees."""

import asyncio
import base64
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from privity.catalogue.model import Evidence
from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import fetch
from privity.engines.embedded.process import EngineProcess
from privity.engines.embedded.sources import FileSource, parse_source
from privity.engines.engine import Answer, Engine, Json
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.engines.probing import ProbedEngine
from privity.errors import ContextLengthError, InvalidRequestError, StartError
from privity.testing.pictures import GIF, JPEG, PNG, data_url, image_part
from privity.testing.sealed import SALT
from privity.testing.tiny_gguf import write_tiny_gguf
from privity.testing.tiny_vision_gguf import IMAGE_TOKENS, write_tiny_vision_gguf
from privity.transport.http_client import PooledHttpClient

CHAT = "/v1/chat/completions"
TEXT = {"type": "text", "text": "What is this?"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_vision_gguf(tmp_path_factory.mktemp("vision"))[0]


@asynccontextmanager
async def connected(model: Path, tmp_path: Path, options: str = "#mmproj") -> AsyncIterator[EngineConnection]:
    source = parse_source(f"file:{model}{options}")
    assert isinstance(source, FileSource)
    process = EngineProcess(fetch(source, tmp_path / "cache", print), tmp_path / "s.sock")
    async with process.running(), PooledHttpClient() as http:
        yield EngineConnection(http, process.url, 30)


async def asked(engine: Engine, *parts: Json, **members: Any) -> Answer:
    chat = {"model": "tiny", "messages": [{"role": "user", "content": [TEXT, *parts]}], "max_tokens": 2}
    return await engine.answer(CHAT, chat | {"cache_salt": SALT} | members)


async def prompt_tokens(engine: Engine, *parts: Json) -> int:
    answer = await asked(engine, *parts)
    assert isinstance(answer, dict)
    assert answer["choices"][0]["message"]["role"] == "assistant"
    return int(answer["usage"]["prompt_tokens"])


async def test_a_model_with_its_projector_sees(model: Path, tmp_path: Path) -> None:
    async with connected(model, tmp_path) as connection:
        engine = LlamaCppEngine(connection)
        (listed,) = await engine.describe()
        assert listed.tasks == ("generate", "tool_calling", "vision")
        assert Evidence("vision", "engine") in listed.evidence
        alone = await prompt_tokens(engine)
        one = await prompt_tokens(engine, image_part())
        assert one - alone >= IMAGE_TOKENS
        for picture, kind in ((JPEG, "jpeg"), (GIF, "gif")):
            assert await prompt_tokens(engine, image_part(data_url(picture, kind))) == one
        assert await prompt_tokens(engine, image_part(), image_part()) - one == one - alone
        chat = {"model": "tiny", "messages": [{"role": "user", "content": [TEXT, image_part()]}]}
        assert await engine.count_tokens(chat) == one
        with pytest.raises(InvalidRequestError, match="images are whole"):
            await asked(engine, image_part(data_url(PNG[:60])))
        with pytest.raises(ContextLengthError):
            await asked(engine, *[image_part()] * 40)


async def test_a_model_without_projector_is_not_said_to_see_whatever_its_file_is_called(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "llava-vision-vlm.gguf")
    async with connected(model, tmp_path, "#id=llava-vision") as connection:
        (listed,) = await LlamaCppEngine(connection).describe()
        assert (listed.name, listed.tasks) == ("llava-vision", ("generate", "tool_calling"))


@pytest.mark.parametrize("sees", [True, False])
async def test_probing_finds_out_whether_a_model_sees(model: Path, tmp_path: Path, *, sees: bool) -> None:
    async with connected(model, tmp_path, "#mmproj" if sees else "") as connection:
        plain = DetectedEngine(connection, kind="openai")
        engine = ProbedEngine(plain, budget=4, pause=0.0, now=lambda: 99.0)
        await engine.describe()
        async with asyncio.timeout(60):
            await engine.run()
        (found,) = await engine.describe()
        assert (Evidence("vision", "probed", 99) in found.evidence) is sees


async def test_what_no_decoder_knows_is_given_to_no_other_program(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    for name in ("ffprobe", "ffmpeg"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch {ran}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("ffprobe") == str(tmp_path / "bin" / "ffprobe")
    film = f"data:image/png;base64,{base64.b64encode(b'a film' * 50).decode()}"
    body = {"messages": [{"role": "user", "content": [TEXT, image_part(film)]}], "max_tokens": 1}
    async with connected(model, tmp_path) as connection:
        with pytest.raises(InvalidRequestError):
            await connection.call(CHAT, body)  # past the adapter, which lets no film through
    assert not ran.exists()


async def test_a_projector_that_cannot_be_loaded_is_named(model: Path, tmp_path: Path) -> None:
    whole = (model.parent / "mmproj-tiny.gguf").read_bytes()
    cut = tmp_path / "mmproj-cut.gguf"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StartError, match="with its projector"):
        await connected(model, tmp_path, f"#mmproj={cut}").__aenter__()
