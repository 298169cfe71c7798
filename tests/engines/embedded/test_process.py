"""Real workers with a tiny model of random weights."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import jsonschema_rs
import pytest

from privity.engines.connection import EngineConnection
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.process import EngineProcess
from privity.engines.engine import EngineModel, Json
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.errors import ContextLengthError, StartError, UpstreamError, UpstreamUnreachableError
from privity.testing.tiny_gguf import CONTEXT, write_tiny_gguf
from privity.transport.http_client import PooledHttpClient

PATIENCE = 30.0
"""Seconds until something that must happen is taken for never happening."""


def files_of(model: Path, context: int | None = None) -> ModelFiles:
    return ModelFiles(model, None, ("tiny",), 1, "me", None, None, context)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for something outside of this process, which sets no event of ours."""
    async with asyncio.timeout(PATIENCE):
        while True:
            held = holds()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended but was not waited for does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def started(process: EngineProcess) -> int:
    assert process.pid is not None
    return process.pid


async def described(process: EngineProcess, http: PooledHttpClient) -> tuple[EngineModel, ...]:
    return await LlamaCppEngine(EngineConnection(http, process.url, 30)).describe()


async def test_a_worker_serves_on_its_socket_and_is_gone_afterwards(model: Path, tmp_path: Path) -> None:
    socket = tmp_path / "engine.sock"
    process = EngineProcess(files_of(model), socket)
    assert process.pid is None
    async with process.running(), PooledHttpClient() as http:
        pid = started(process)
        assert socket.is_socket()
        # The template is ours, with tools: the model's own has none.
        (model_now,) = await described(process, http)
        assert (model_now.name, model_now.tasks) == ("tiny", ("generate", "tool_calling"))
        assert model_now.context_length == CONTEXT
    assert not lives(pid)
    assert process.pid is None
    assert not socket.exists()
    async with PooledHttpClient() as http:
        with pytest.raises(UpstreamUnreachableError):
            await described(process, http)


@pytest.mark.parametrize(("context", "expected"), [(256, 256), (CONTEXT * 10, CONTEXT)])
async def test_the_context_is_what_the_user_says_and_the_model_can(
    context: int, expected: int, model: Path, tmp_path: Path
) -> None:
    process = EngineProcess(files_of(model, context), tmp_path / "s.sock")
    async with process.running(), PooledHttpClient() as http:
        assert (await described(process, http))[0].context_length == expected


async def test_a_worker_that_dies_is_started_again_at_the_same_address(model: Path, tmp_path: Path) -> None:
    process = EngineProcess(files_of(model), tmp_path / "s.sock")
    url = process.url
    async with process.running():
        first = started(process)
        os.kill(first, signal.SIGKILL)
        await until(lambda: process.pid not in (None, first))
        second = started(process)

        async def serves() -> bool:
            async with PooledHttpClient() as http:
                with suppress(UpstreamError):
                    return bool(await described(process, http))
            return False

        await until(serves)
        assert process.url == url
    assert not lives(first)
    assert not lives(second)


async def test_leaving_while_the_worker_is_dead_starts_no_other(model: Path, tmp_path: Path) -> None:
    process = EngineProcess(files_of(model), tmp_path / "s.sock")
    async with process.running():
        os.kill(started(process), signal.SIGKILL)
        await until(lambda: process.pid is None)
    assert process.pid is None


async def test_a_worker_that_hangs_is_ended_all_the_same(model: Path, tmp_path: Path) -> None:
    process = EngineProcess(files_of(model), tmp_path / "s.sock")
    async with process.running():
        pid = started(process)
        os.kill(pid, signal.SIGSTOP)
    assert not lives(pid)


async def test_an_error_inside_ends_the_worker_too(model: Path, tmp_path: Path) -> None:
    process = EngineProcess(files_of(model), tmp_path / "s.sock")
    pids = []

    async def fail() -> None:
        async with process.running():
            pids.append(started(process))
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        await fail()
    assert not lives(pids[0])


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _whole: b"",
    "no GGUF": lambda whole: b"x" * len(whole),
    "cut in its header": lambda whole: whole[:200],
    "cut in its weights": lambda whole: whole[: len(whole) // 2],
}


@pytest.fixture(params=list(DAMAGES.values()), ids=list(DAMAGES))
def damaged(request: pytest.FixtureRequest, model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(request.param(model.read_bytes()))
    return path


async def test_a_damaged_file_says_what_is_wrong_and_the_way_out(damaged: Path, tmp_path: Path) -> None:
    process = EngineProcess(files_of(damaged), tmp_path / "s.sock")
    with pytest.raises(StartError) as caught:
        await process.running().__aenter__()
    assert str(damaged) in caught.value.problem
    assert "--model" in caught.value.way_out
    assert process.pid is None


PARENT = """
import asyncio, sys
from pathlib import Path
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.process import EngineProcess

async def main():
    files = ModelFiles(Path(sys.argv[1]), None, ("tiny",), 1, "me", None, None, None)
    process = EngineProcess(files, Path(sys.argv[2]))
    async with process.running():
        print(process.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_worker_ends_when_its_parent_is_killed(model: Path, tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, model, tmp_path / "s.sock", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        assert lives(pid)
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: not lives(pid))


# What the adapter makes of a real engine. The weights are noise, so only what grammar and limits enforce can hold.

PROPERTIES: Json = {
    "city": {"type": "string", "maxLength": 20},
    "mail": {"type": "string", "format": "email", "maxLength": 20},
    "days": {"type": "integer", "minimum": 1, "maximum": 9},
    "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
}
SCHEMA: Json = {"type": "object", "properties": PROPERTIES, "required": ["city", "days", "more"]}
NAMES = ("weather", "time")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in NAMES]
ASK: Json = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


async def test_forced_calls_and_json_answers_of_a_real_engine_fit_their_schema(tmp_path: Path) -> None:
    fits = jsonschema_rs.validator_for(SCHEMA).is_valid
    process = EngineProcess(files_of(write_tiny_gguf(tmp_path / "tiny.gguf", context=8192)), tmp_path / "s.sock")
    async with process.running(), PooledHttpClient() as http:
        engine = LlamaCppEngine(EngineConnection(http, process.url, 60))
        await engine.describe()
        for choice in ("required", {"type": "function", "function": {"name": "time"}}):
            answer = await engine.answer("/v1/chat/completions", ASK | {"tools": TOOLS, "tool_choice": choice})
            assert isinstance(answer, dict)
            function = answer["choices"][0]["message"]["tool_calls"][0]["function"]
            assert fits(json.loads(function["arguments"]))
            assert function["name"] in (NAMES if choice == "required" else ("time",))
        schema = SCHEMA | {"properties": {**PROPERTIES, "never": False}}
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        events = await engine.answer("/v1/chat/completions", ASK | {"response_format": wanted, "stream": True})
        assert not isinstance(events, dict)
        text = "".join([event["choices"][0]["delta"].get("content", "") async for event in events])
        assert fits(json.loads(text))


async def test_several_prompts_of_a_real_engine_stream(model: Path, tmp_path: Path) -> None:
    process = EngineProcess(files_of(model), tmp_path / "s.sock")
    async with process.running(), PooledHttpClient() as http:
        engine = LlamaCppEngine(EngineConnection(http, process.url, 60))
        await engine.describe()
        body = {"model": "tiny", "prompt": ["a", "b"], "max_tokens": 2, "stream": True}
        events = await engine.answer("/v1/completions", body)
        assert not isinstance(events, dict)
        indexes = {choice["index"] async for event in events for choice in event["choices"]}
        assert indexes == {0, 1}


async def test_an_embedding_model_embeds_and_refuses_what_is_too_long(tmp_path: Path) -> None:
    embedding = write_tiny_gguf(tmp_path / "tiny.gguf", pooling=1)
    process = EngineProcess(files_of(embedding, 256), tmp_path / "s.sock")
    async with process.running(), PooledHttpClient() as http:
        engine = LlamaCppEngine(EngineConnection(http, process.url, 60))
        (described_model,) = await engine.describe()
        assert (described_model.tasks, described_model.context_length) == (("embed",), 256)
        answer = await engine.answer("/v1/embeddings", {"input": ["a", "b"]})
        assert isinstance(answer, dict)
        assert len(answer["data"]) == 2
        with pytest.raises(ContextLengthError):
            await engine.answer("/v1/embeddings", {"input": "x" * 300})
