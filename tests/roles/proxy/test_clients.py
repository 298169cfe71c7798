"""The clients that apps use, in front of a real proxy and a gateway that tampers: none of them sees a success."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest

from privity.roles.proxy.app import build_app
from privity.roles.proxy.guard import Guard
from privity.testing.adversary import WHOLE, Defect
from privity.testing.adversary_streams import stream_defects
from privity.testing.fake_deployment import CHAT_ANSWER, FakeDeployment
from privity.testing.fake_http import FakeResponse, SentRequest
from privity.testing.proxy_rig import Rig
from privity.testing.tampering_gateway import TamperingGateway
from privity.transport.cors import Cors
from privity.transport.exchange import KEEP_ALIVE_COMMENT
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import Reply, Request, StreamReply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(60)

CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 17, "model": "m"}
CHUNKS = [{**CHUNK, "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hel", "lo", "!")]
MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 1, "output_tokens": 0}}  # fmt: skip  # noqa: E501
MESSAGE_EVENTS = [
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def commented(response: FakeResponse, comment: bytes) -> FakeResponse:
    if not comment:
        return response
    pieces = [each for piece in response.pieces for each in (comment, piece)]
    return FakeResponse(response.status, response.headers, pieces)


@asynccontextmanager
async def proxy(answer: Any, between: bytes = b"") -> AsyncIterator[tuple[str, TamperingGateway]]:
    """Run a proxy, and a gateway that tampers, each behind a listener; `between` is sent before each event."""
    deployment = FakeDeployment(answer)
    deployment.tamper = lambda _, response: commented(response, between)
    tampering = TamperingGateway(deployment.server)

    async def answer_one(request: Request) -> Reply | StreamReply:
        sent = SentRequest("POST", "http://g" + request.path, request.headers, await request.body(1 << 20), None)
        response = tampering.server(sent)
        return Reply(response.status, response.headers, b"".join([each async for each in response.chunks()]))

    routes = {path: {"POST": answer_one} for path in ("/v1/chat/completions", "/v1/messages", "/privatemode/v1/secret")}
    async with (
        Background() as background,
        listening(WebApp(routes, background), "127.0.0.1", 0, "gateway") as gateway,
        PooledHttpClient() as http,
    ):
        rig = Rig(deployment, background, http=http, gateway=gateway)
        app = build_app(rig.proxy, rig.models, Guard("127.0.0.1", (), ()), background, Cors(()))
        async with listening(app, "127.0.0.1", 0, "proxy") as url:
            path = "/v1/messages" if isinstance(answer, list) and "type" in answer[0] else "/v1/chat/completions"
            for _ in range(2):  # what the gateway collects
                await rig.ask(
                    path, json.dumps({"model": "m", "messages": [], "stream": answer is not CHAT_ANSWER}).encode()
                )
            yield url, tampering


async def openai_text(url: str) -> str:
    """Return the text of a streamed answer, as OpenAI's client has it."""
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="k", max_retries=0) as client:
        stream = await client.chat.completions.create(model="m", messages=[], stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def openai_whole(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="k", max_retries=0) as client:
        answer = await client.chat.completions.create(model="m", messages=[])
        return answer.choices[0].message.content or ""


async def anthropic_text(url: str) -> str:
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", messages=[], max_tokens=5) as stream,
    ):
        return "".join([text async for text in stream.text_stream])


async def test_the_clients_get_what_nobody_tampers_with() -> None:
    async with proxy(CHAT_ANSWER) as (url, _):
        assert await openai_whole(url) == "Hello"
    async with proxy(CHUNKS) as (url, _):
        assert await openai_text(url) == "Hello!"
    async with proxy(MESSAGE_EVENTS) as (url, _):
        assert await anthropic_text(url) == "Hello"


async def test_the_clients_take_no_notice_of_the_comments_that_keep_a_stream_alive() -> None:
    async with proxy(CHUNKS, KEEP_ALIVE_COMMENT) as (url, _):
        assert await openai_text(url) == "Hello!"
    async with proxy(MESSAGE_EVENTS, KEEP_ALIVE_COMMENT) as (url, _):
        assert await anthropic_text(url) == "Hello"


STREAMED = stream_defects(3)
ATTACKS = [
    "drop event 2",
    "forge the last event after event 1",
    "drop all between event 0 and the end",
    "cut after event 0",
    "cut in the middle of event 1",
    "drop only the last event",
    "only the last event",
    "repeat event 0",
    "alter the type of event 1",
    "insert a plain event",
    "strip the end",
    "a made-up answer that claims to be plain",
    "claim to be plain",
    "JSON instead",
    "an old answer to the same request",
    "an event whose data says error and its type does not, and cut",
    "an empty error, and cut",
    "nothing",
]


async def survivors(ask: Callable[[str], Awaitable[str]], answer: Any, defects: dict[str, Defect]) -> list[str]:
    """Return the defects after which a client has an answer."""
    survived = []
    async with proxy(answer) as (url, gateway):
        for name, defect in defects.items():
            gateway.defect = defect
            try:
                await ask(url)
            except (openai.APIError, anthropic.APIError):
                continue
            survived.append(name)
    return survived


async def test_openais_client_raises_where_a_stream_was_tampered_with() -> None:
    assert await survivors(openai_text, CHUNKS, {name: STREAMED[name] for name in ATTACKS}) == []


async def test_openais_client_raises_where_an_answer_was_tampered_with() -> None:
    defects = {name: defect for name, defect in WHOLE.items() if name != "make an object of it"}  # it is one
    assert await survivors(openai_whole, CHAT_ANSWER, defects) == []


async def test_anthropics_client_raises_where_a_stream_was_tampered_with() -> None:
    defects = {name: STREAMED[name] for name in [*ATTACKS, "drop the type of event 2"]}
    assert await survivors(anthropic_text, MESSAGE_EVENTS, defects) == []
