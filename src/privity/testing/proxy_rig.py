"""A proxy in front of a fake deployment, with clocks that tests move."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from privity.http import Headers, HttpClient
from privity.protocol.exchange import Random
from privity.roles.proxy.agreements import Agreements
from privity.roles.proxy.headers import HeaderPolicy
from privity.roles.proxy.service import Proxy
from privity.roles.proxy.surroundings import Surroundings
from privity.testing.fake_deployment import NOW, FakeDeployment
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, Server
from privity.transport.tasks import Background
from privity.transport.web import Reply, StreamReply

GATEWAY = "http://gateway"
CHAT = "/v1/chat/completions"
ANY_GPU = HeaderPolicy(ocsp_allow_unknown=True, ocsp_grace_seconds=3600)


@dataclass
class Time:
    """Clocks that stand until they are moved; pauses move them."""

    wall: float = NOW.timestamp() + 60
    steady: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def surroundings(self, random: Random) -> Surroundings:
        """Return what a proxy knows of this time."""
        return Surroundings(lambda: self.wall, lambda: self.steady, random, random, self.pause)

    async def pause(self, seconds: float) -> None:
        """Let that many seconds pass at once."""
        self.pauses.append(seconds)
        self.wall += seconds
        self.steady += seconds
        await asyncio.sleep(0)


@dataclass
class Answered:
    """An answer as the app gets it."""

    status: int
    headers: Headers
    body: bytes


class SlowHttpClient(FakeHttpClient):
    """Answers when it is told to."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.go_on = asyncio.Event()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        head_timeout: float | None = None,
        repeat: bool = True,
    ) -> FakeResponse:
        """Wait, then return the server's answer."""
        await self.go_on.wait()
        return await super().request(method, url, headers=headers, body=body, head_timeout=head_timeout, repeat=repeat)


class Rig:
    """A proxy in front of a fake deployment.

    Args:
        deployment: whom it trusts.
        background: holds its exchanges.
        http: its HTTP client; None leads to the deployment.
        gateway: its base URL.
        api_key: the configured key.
        policy: what it says of its user.
        random: gives random bytes.
        options: further ones of `Proxy`.
    """

    def __init__(
        self,
        deployment: FakeDeployment,
        background: Background,
        *,
        http: HttpClient | None = None,
        gateway: str = GATEWAY,
        api_key: str | None = None,
        policy: HeaderPolicy = ANY_GPU,
        random: Random = os.urandom,
        **options: Any,
    ) -> None:
        self.deployment = deployment
        self.time = Time()
        self.http = http if isinstance(http, FakeHttpClient) else FakeHttpClient(deployment.server)
        client = http or self.http
        surroundings = self.time.surroundings(random)
        self.agreements = Agreements(client, gateway, deployment.ca.certificate, api_key, background, surroundings)
        self.proxy = Proxy(client, gateway, self.agreements, policy, surroundings, **options)

    @property
    def sent(self) -> list[SentRequest]:
        """What went to the gateway, agreements left out."""
        return [each for each in self.http.sent if not each.url.endswith("/secret")]

    async def ask(self, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> Answered:
        """Send a request of an app."""
        return await read(await self.proxy.infer(path, headers, body))

    async def chat(self, **members: Any) -> Answered:
        """Send a chat request with these members."""
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | members
        return await self.ask(CHAT, msgspec.json.encode(body))


async def read(reply: Reply | StreamReply) -> Answered:
    """Read an answer to its end."""
    if isinstance(reply, Reply):
        return Answered(reply.status, reply.headers, reply.body)
    return Answered(reply.status, reply.headers, b"".join([chunk async for chunk in reply.chunks]))
