"""Streams through all roles: long ones, many, and what becomes of them when somebody stalls, leaves, dies or stops."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, MeshCa
from privity.roles.inference_proxy import config as inference_proxy_config
from privity.roles.inference_proxy import main as inference_proxy
from privity.roles.inference_proxy.config import RemoteEngine
from privity.roles.proxy import config as proxy_config
from privity.roles.proxy import main as proxy
from privity.roles.secret_service import config as secret_service_config
from privity.roles.secret_service import main as secret_service
from privity.testing.counting_engine import MODEL, CountingEngine, counting_engine
from privity.testing.programs import Program, Up, eventually, program, up

FAST, SLOW = "0", "0.02"
"""What is said to the engine: seconds between its events."""
ENDLESS = 1_000_000
"""Events that no test waits for."""
MAX_BUFFERED = 48 * 1024 * 1024
"""Bytes that lie between an engine and an app that takes nothing, the kernel's buffers of all hops included."""
EVENT_BYTES = 130


@pytest.fixture(scope="module")
def engine() -> Iterator[CountingEngine]:
    with counting_engine() as running:
        yield running


@pytest.fixture(scope="module")
def everything(engine: CountingEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("up"), "--model", f"openai:{engine.url}#tasks=generate") as running:
        yield running


@pytest.fixture
def app(everything: Up) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{everything.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def asked(events: int, pause: str = FAST) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": pause}], "max_tokens": events, "stream": True}


def numbers(events: int) -> str:
    return "".join(f"{number} " for number in range(events))


def count(app: OpenAI, events: int, pause: str = FAST) -> Iterator[str]:
    for chunk in app.chat.completions.create(**asked(events, pause)):
        if chunk.choices:
            yield chunk.choices[0].delta.content or ""


def test_ten_thousand_events_arrive_whole_and_in_order(app: OpenAI) -> None:
    assert "".join(count(app, 10_000)) == numbers(10_000)


async def streams_of(url: str, streams: int, events: int, pause: str) -> list[str]:
    async def text(client: AsyncOpenAI) -> str:
        chunks = await client.chat.completions.create(**asked(events, pause))
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        return list(await asyncio.gather(*(text(client) for _ in range(streams))))


async def test_two_hundred_streams_go_on_at_the_same_time(everything: Up, engine: CountingEngine) -> None:
    engine.together = 200
    assert await streams_of(everything.url, 200, 20, FAST) == [numbers(20)] * 200


async def test_an_app_that_takes_nothing_holds_up_nobody_and_little_is_kept_for_it(
    everything: Up, engine: CountingEngine
) -> None:
    eventually(lambda: engine.open == 0, "what others began has ended")
    before = engine.sent
    body = json.dumps(asked(ENDLESS)).encode()
    with socket.create_connection(("127.0.0.1", int(everything.url.rsplit(":", 1)[1]))) as stalled:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        stalled.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        settle(lambda: engine.sent)
        assert 0 < (engine.sent - before) * EVENT_BYTES < MAX_BUFFERED
        assert await streams_of(everything.url, 20, 50, "0.01") == [numbers(50)] * 20
        assert engine.open == 1
    eventually(lambda: engine.open == 0, "the engine works for nobody")


def settle(value: Callable[[], int]) -> None:
    """Wait until a number has grown and doesn't grow any more."""
    before, now = value(), -1
    while now != before or not now:
        before, now = now, value()
        time.sleep(0.3)


@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
def test_an_app_that_leaves_ends_the_engines_work(
    api: str, app: OpenAI, everything: Up, engine: CountingEngine
) -> None:
    eventually(lambda: engine.open == 0, "what others began has ended")
    claude = anthropic.Anthropic(base_url=everything.url, api_key="unused", max_retries=0)
    stream: Any
    match api:
        case "chat":
            stream = app.chat.completions.create(**asked(ENDLESS, SLOW))
        case "responses":
            given: Any = {"model": MODEL, "input": SLOW, "max_output_tokens": ENDLESS, "stream": True, "store": False}
            stream = app.responses.create(**given)
        case _:
            stream = claude.messages.create(**asked(ENDLESS, SLOW))
    with claude:
        for _ in zip(range(5), stream, strict=False):
            assert engine.open == 1
        stream.close()
    eventually(lambda: engine.open == 0, "the engine works for nobody", 10)


def test_a_program_that_shall_stop_lets_streams_finish_until_it_is_told_again(
    engine: CountingEngine, tmp_path: Path
) -> None:
    with up(tmp_path, "--model", f"openai:{engine.url}#tasks=generate") as running:
        with OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
            finite, endless = count(client, 60, SLOW), count(client, ENDLESS, SLOW)
            first = next(finite) + next(finite)
            next(endless)
            process = running.program.process
            process.send_signal(signal.SIGTERM)
            said = "Stopping: 2 answers under way; Ctrl-C again to stop now"
            eventually(lambda: said in running.program.err.read_text(), "it says what it waits for")
            assert first + "".join(finite) == numbers(60)
            next(endless)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(openai.APIError, match="stopped"):
                list(endless)
        assert process.wait(10) == 0
    eventually(lambda: engine.open == 0, "the engine works for nobody")


async def test_a_gateway_that_is_killed_is_an_error_at_the_end_of_the_stream(
    engine: CountingEngine, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    ca = MeshCa.create(now)
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem())
    async with AsyncExitStack() as stack:
        holder = secret_service_config.Settings(ca.issue(SECRET_SERVICE, now), ca.certificate)
        secrets = await stack.enter_async_context(secret_service.serve(holder))
        behind = inference_proxy_config.Settings(
            RemoteEngine(engine.url.removesuffix("/v1"), ("generate",)),
            ca.issue(INFERENCE_PROXY, now),
            ca.certificate,
            (secrets.hand_out_url,),
        )
        last = await stack.enter_async_context(inference_proxy.serve(behind))
        options = ("--inference-proxy", last.url, "--secret-service", secrets.url, "--mesh-ca", f"{tmp_path}/ca.pem")
        middle = await asyncio.to_thread(
            stack.enter_context, program(tmp_path / "gateway", "gateway", "--port", "0", *options)
        )
        facing = proxy_config.Settings(url_of(middle), ca.certificate, port=0)
        url = await stack.enter_async_context(proxy.serve(facing))
        client = await stack.enter_async_context(AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0))
        stream = await client.chat.completions.create(**asked(ENDLESS, SLOW))
        await anext(stream)
        middle.process.kill()
        with pytest.raises(openai.APIError, match="gateway broke off"):
            async for _ in stream:
                pass
    eventually(lambda: engine.open == 0, "the engine works for nobody")


def url_of(gateway: Program) -> str:
    return gateway.out.read_text().split()[-1]
