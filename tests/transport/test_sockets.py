"""What the kernel of this machine says of connections."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.sockets import notice_loss
from privity.transport.tasks import Background
from privity.transport.web import Reply, Request, json_reply
from privity.transport.web_app import WebApp

ESTABLISHED, KEEP_ALIVE_TIMER = "01", "02"
"""In /proc/net/tcp (proc_net_tcp.txt of Linux)."""


async def hello(_asked: Request) -> Reply:
    return json_reply("hello")


def timers(port: int) -> list[str]:
    """Return which timer runs for each end of each connection with a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    named = f":{port:04X}"
    ends = [row for row in rows if row[3] == ESTABLISHED and (row[1].endswith(named) or row[2].endswith(named))]
    return [row[5].split(":")[0] for row in ends]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's list of connections")
async def test_the_kernel_watches_both_ends_of_a_connection() -> None:
    async with (
        Background() as background,
        PooledHttpClient() as client,
        listening(WebApp({"/hello": {"GET": hello}}, background), "127.0.0.1", 0, "test") as url,
        asyncio.timeout(10),
    ):
        async with await client.request("GET", url + "/hello") as answer:
            assert await answer.read(100) == b'"hello"'
        while timers(int(url.rsplit(":", 1)[1])) != [KEEP_ALIVE_TIMER] * 2:  # noqa: ASYNC110  # once all is acknowledged
            await asyncio.sleep(0.01)


def test_what_is_no_tcp_socket_is_left_alone() -> None:
    near, far = socket.socketpair(socket.AF_UNIX)
    with near, far:
        notice_loss(near)
        assert not near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
