"""How much of what passes a gateway it holds at a time: its process is looked into from outside."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.catalogue import full
from privity.catalogue.model import Model
from privity.protocol.mesh import INFERENCE_PROXY, MeshCa
from privity.streams import Stream
from privity.testing.programs import Program
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.tls import server_context
from privity.transport.web import MAX_BODY, Reply, Request, Routes, StreamReply, json_reply
from privity.transport.web_app import WebApp

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(120),
]

MIB = 1 << 20
SIZE = 100 * MIB
PIECE = os.urandom(MIB)
MAY_COST = 10 * MIB
PATH = "/v1/chat/completions"
LISTED = full.row(Model("org/chat", ("generate",), 1, "org"), "org/chat", datetime.now(UTC))
HEADERS = [(b"privatemode-target-model", b"org/chat"), (b"content-type", b"application/json")]
STALLED = 0.5
"""Seconds without a byte after which everything between two ends is taken to be full: it fills in milliseconds."""


class Swallower:
    """An inference proxy that counts what it gets and sends as much as it is asked for, each when it is allowed to."""

    def __init__(self) -> None:
        self.may_read, self.may_send = asyncio.Event(), asyncio.Event()
        self.received = self.sent = 0

    @property
    def routes(self) -> Routes:
        return {"/v1/models": {"GET": self._list}, PATH: {"POST": self._swallow}}

    async def _list(self, _request: Request) -> Reply:
        return json_reply({"data": [LISTED]})

    async def _swallow(self, request: Request) -> StreamReply:
        await self.may_read.wait()
        async for piece in request.stream(MAX_BODY):
            self.received += len(piece)
        return StreamReply(200, [(b"content-type", b"text/event-stream")], Stream(self._answer()))

    async def _answer(self) -> AsyncGenerator[bytes]:
        if not self.may_send.is_set():
            yield b"a"
            return
        while self.sent < SIZE:
            yield PIECE
            self.sent += len(PIECE)


class Watched:
    """A gateway's process, and the most memory that it held since it was idle."""

    def __init__(self, pid: int) -> None:
        self._directory = Path("/proc", str(pid))
        self._idle = self._status("VmRSS")
        (self._directory / "clear_refs").write_text("5")  # the peak begins anew: proc_pid_clear_refs(5)

    @property
    def cost(self) -> int:
        """Bytes above what it held when it was idle."""
        return self._status("VmHWM") - self._idle

    def _status(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB$", (self._directory / "status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


@asynccontextmanager
async def gateway(directory: Path) -> AsyncIterator[tuple[str, Watched, Swallower]]:
    """Run a gateway's process in front of a swallower, with TLS between them."""
    now = datetime.now(UTC)
    mesh = MeshCa.create(now)
    (directory / "ca.pem").write_bytes(mesh.certificate_pem())
    swallower = Swallower()
    async with Background() as background:
        app, tls = WebApp(swallower.routes, background), server_context(mesh.issue(INFERENCE_PROXY, now))
        async with listening(app, "127.0.0.1", 0, "swallower", tls=tls) as peer:
            peers = ["--inference-proxy", peer, "--secret-service", "http://127.0.0.1:1"]
            started = Program(directory, "gateway", "--port", "0", *peers, "--mesh-ca", str(directory / "ca.pem"))
            try:
                await asyncio.to_thread(started.wait_until_it_says, " serves on ")
                url = started.out.read_text().removeprefix("privity gateway serves on ").strip()
                async with PooledHttpClient() as client, await client.request("GET", f"{url}/v1/models") as listed:
                    assert b"org/chat" in await listed.read(MIB)
                yield url, Watched(started.process.pid), swallower
            finally:
                await asyncio.to_thread(started.stop)


class Upload:
    """A body in pieces, and how much of it is gone."""

    def __init__(self) -> None:
        self.gone = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.gone < SIZE:
            yield PIECE
            self.gone += len(PIECE)


async def until_it_stands_still(count: Callable[[], int]) -> None:
    before = -1
    while count() != before:
        before = count()
        await asyncio.sleep(STALLED)


async def test_an_upload_of_known_length_costs_little_however_long_it_is(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (url, watched, swallower), PooledHttpClient() as client:
        swallower.may_read.set()
        body = PIECE * (SIZE // MIB)
        async with await client.request("POST", url + PATH, headers=HEADERS, body=body) as response:
            assert (response.status, await response.read(100)) == (200, b"a")
        assert swallower.received == SIZE
        assert watched.cost < MAY_COST


async def test_an_upload_to_a_slow_inference_proxy_costs_little_and_makes_its_client_wait(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (url, watched, swallower), PooledHttpClient() as client:
        upload = Upload()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(client.request("POST", url + PATH, headers=HEADERS, body=aiter(upload)))
            await until_it_stands_still(lambda: upload.gone)
            assert 0 < upload.gone < SIZE // 2
            swallower.may_read.set()
        async with asking.result() as response:
            assert (response.status, await response.read(100)) == (200, b"a")
        assert swallower.received == SIZE
        assert watched.cost < MAY_COST


async def test_an_answer_to_a_slow_client_costs_little_and_makes_the_inference_proxy_wait(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (url, watched, swallower), PooledHttpClient() as client:
        swallower.may_read.set()
        swallower.may_send.set()
        async with await client.request("POST", url + PATH, headers=HEADERS, body=b"{}") as response:
            assert response.status == 200
            await until_it_stands_still(lambda: swallower.sent)
            assert swallower.sent < SIZE // 2
            received = 0
            async for chunk in response.chunks():
                received += len(chunk)
        assert received == SIZE
        assert watched.cost < MAY_COST
