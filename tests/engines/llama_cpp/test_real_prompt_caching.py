"""The real llama.cpp with a tiny model of random weights: what it reuses by its own account, and what it never does."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.process import EngineProcess
from privity.engines.engine import Json
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.testing.tiny_gguf import write_tiny_gguf
from privity.transport.http_client import PooledHttpClient

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ANN, BOB = "a" * 32, "b" * 32
TOLD = "Once upon a time there was a server that remembered all that it was ever told. " * 3
MESSAGES = [{"role": "user", "content": TOLD}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
YES = {"type": "json_schema", "json_schema": {"name": "yes", "schema": {"type": "boolean"}}}
REQUESTS: dict[str, Json] = {
    "chat": {"messages": MESSAGES},
    "streamed chat": {"messages": MESSAGES, **STREAM},
    "completion": {"prompt": TOLD},
    "streamed completion": {"prompt": TOLD, **STREAM},
    "JSON": {"messages": MESSAGES, "response_format": YES},
    "forced call": {"messages": MESSAGES, "tools": [WEATHER], "tool_choice": "required"},
}


async def usage_of(engine: LlamaCppEngine, salt: str, **body: Any) -> tuple[int, int]:
    """Return a prompt's tokens, and how many of them llama.cpp had."""
    endpoint = COMPLETIONS if "prompt" in body else CHAT
    answer = await engine.answer(endpoint, {"model": "tiny", "max_tokens": 2, "cache_salt": salt, **body})
    if not isinstance(answer, dict):
        answer = [event async for event in answer][-1]
    usage, timings = answer["usage"], answer.get("timings")
    counted = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
    assert timings is None or timings["prompt_n"] == counted[0] - counted[1]
    return counted


def process_of(tmp_path: Path) -> EngineProcess:
    model = write_tiny_gguf(tmp_path / "tiny.gguf", context=2048)
    return EngineProcess(ModelFiles(model, None, ("tiny",), 1, "me", None, None, None), tmp_path / "engine.sock")


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[LlamaCppEngine]:
    process = process_of(tmp_path)
    async with process.running(), PooledHttpClient() as http:
        engine = LlamaCppEngine(EngineConnection(http, process.url, 30))
        await engine.describe()
        yield engine


async def test_a_salt_reuses_its_own_prompts_only_whatever_is_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        for request in REQUESTS.values():
            salts = [secrets.token_hex(16), secrets.token_hex(16), ANN, ANN, secrets.token_hex(16)]  # slots are fewer
            counted = [await usage_of(engine, salt, **request) for salt in salts]
            tokens, cached = counted[3]
            assert [each for _, each in counted] == [0, 0, 0, cached, 0]
            assert len(TOLD) - 64 < cached <= tokens


async def test_a_second_turn_reuses_the_first(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        first, cached = await usage_of(engine, ANN, messages=MESSAGES)
        assert cached == 0
        turns = [*MESSAGES, {"role": "assistant", "content": "I do."}, {"role": "user", "content": "And then?"}]
        await usage_of(engine, secrets.token_hex(16), messages=turns)  # takes the other slot
        tokens, cached = await usage_of(engine, ANN, messages=turns)
        assert first - 32 < cached < tokens


async def test_random_salts_share_nothing_however_many_come_and_leave_at_once(tmp_path: Path) -> None:
    async def leave(engine: LlamaCppEngine, number: int) -> None:
        body: Json = {"model": "tiny", "messages": MESSAGES, "cache_salt": secrets.token_hex(16), "max_tokens": 30}
        async with asyncio.timeout(0.01 * number):
            answer = await engine.answer(CHAT, body | {"stream": True})
            assert not isinstance(answer, dict)
            async with aclosing(answer):
                for _ in range(number % 4):
                    await anext(answer)

    async with running(tmp_path) as engine:
        await usage_of(engine, ANN, messages=MESSAGES)
        kept = [usage_of(engine, secrets.token_hex(16), messages=MESSAGES) for _ in range(6)]
        left = [leave(engine, number) for number in range(8)]
        results = await asyncio.gather(*left, *kept, return_exceptions=True)
        assert all(isinstance(each, TimeoutError | None) for each in results[: len(left)])
        assert {each[1] for each in results[len(left) :] if isinstance(each, tuple)} == {0}
        assert len([each for each in results if isinstance(each, tuple)]) == len(kept)
        assert (await usage_of(engine, BOB, messages=MESSAGES))[1] == 0


async def test_an_engine_that_starts_anew_begins_with_nothing(tmp_path: Path) -> None:
    process = process_of(tmp_path)
    async with PooledHttpClient() as http:
        engine = LlamaCppEngine(EngineConnection(http, process.url, 30))
        for _ in range(2):
            async with process.running():
                await engine.describe()
                reused = [(await usage_of(engine, salt, messages=MESSAGES))[1] > 0 for salt in (BOB, ANN, ANN, BOB)]
                assert reused == [False, False, True, True]


SERVER = """
import sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.model_alias = sys.argv[1], {"tiny"}
parameters.hostnames, parameters.port, parameters.verbosity = ["127.0.0.1"], 0, -1
parameters.n_parallel, parameters.n_ctx, parameters.cache_ram_mib = 1, 1024, int(sys.argv[2])
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def server_of_somebody_else(tmp_path: Path, memory: int) -> Iterator[str]:
    """Run one with so many MiB for old prompts of all its slots; return its URL."""
    command = [sys.executable, "-c", SERVER, str(write_tiny_gguf(tmp_path / "tiny.gguf")), str(memory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


@pytest.mark.parametrize(("memory", "reuses"), [(0, True), (64, False)])
async def test_a_server_of_somebody_else_is_reused_only_without_its_common_memory(
    memory: int, tmp_path: Path, *, reuses: bool
) -> None:
    with server_of_somebody_else(tmp_path, memory) as url:
        async with PooledHttpClient() as http:
            engine = LlamaCppEngine(EngineConnection(http, url, 30))
            await engine.describe()
            cached = [(await usage_of(engine, salt, messages=MESSAGES))[1] for salt in (ANN, ANN, BOB, ANN)]
        assert [each > 0 for each in cached] == [False, reuses, False, False]
