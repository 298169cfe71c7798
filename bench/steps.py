"""A server that does a part of what the proxy does, so that the parts' costs under load are differences.

`python -m bench.steps PORT PART UPSTREAM SEALED_UPSTREAM` serves until it is terminated. PART is `bare` (uvicorn only),
`app` (with `WebApp`, which reads the request), `relay` (which sends it on to the upstream in plain, with the proxy's
client) or `seal` (which encrypts it before, and does not decrypt the answer).
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from typing import Any

import uvloop

from bench.stages import ENDPOINT, protocol_headers, seal
from bench.traffic import CHAT_PATH, chat_answer, event, wanted_stream
from privity.protocol.ending import HEADER
from privity.roles.proxy.request import read_request
from privity.streams import Stream
from privity.transport.forward import forward
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import EVENTS, JSON, MAX_BODY, Handler, Receive, Reply, Request, Send, StreamReply
from privity.transport.web_app import WebApp

PARTS = {
    "bare": "uvicorn",
    "app": "WebApp",
    "relay": "client and upstream's bytes",
    "seal": "encryption, headers, longer messages",
}
"""What each part adds to the one before."""

_ANSWER = chat_answer()
_EVENT = event()


async def _bare(_scope: Any, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [JSON, (b"content-length", str(len(_ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})


async def _events(count: int, seconds: float) -> AsyncGenerator[bytes]:
    due = asyncio.get_running_loop().time()
    for _ in range(count):
        due += seconds
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        yield _EVENT
    yield b"data: [DONE]\n\n"


async def _answer(request: Request) -> Reply | StreamReply:
    stream = wanted_stream(await request.body(MAX_BODY))
    if stream is None:
        return Reply(200, [JSON], _ANSWER)
    return StreamReply(200, [EVENTS], Stream(_events(stream[0], stream[1] / 1000)))


def _relay(http: PooledHttpClient, upstream: str) -> Handler:
    async def relay(request: Request) -> Reply | StreamReply:
        body = await request.body(MAX_BODY)
        return await forward(http, "POST", upstream + CHAT_PATH, headers=[JSON], body=body, peer="stub")

    return relay


def _sealing(http: PooledHttpClient, upstream: str) -> Handler:
    async def relay(request: Request) -> Reply | StreamReply:
        plain = read_request(ENDPOINT, None, await request.body(MAX_BODY), None, os.urandom)
        body, end = seal(plain)
        headers = [JSON, *protocol_headers(plain), (HEADER, end)]
        return await forward(http, "POST", upstream + CHAT_PATH, headers=headers, body=body, peer="stub")

    return relay


async def _serve(port: int, part: str, upstream: str, sealed_upstream: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with PooledHttpClient() as http, Background() as background:
        handlers = {"app": _answer, "relay": _relay(http, upstream), "seal": _sealing(http, sealed_upstream)}
        app: Any = _bare if part == "bare" else WebApp({CHAT_PATH: {"POST": handlers[part]}}, background)
        async with listening(app, "127.0.0.1", port, "step"):
            await stop.wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), *sys.argv[2:5]))
