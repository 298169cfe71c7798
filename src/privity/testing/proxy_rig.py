"""A proxy in front of a fake deployment, with clocks that tests move."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from privity.catalogue.catalogue import View
from privity.catalogue.dialects import openai
from privity.http import Headers, HttpClient
from privity.protocol.exchange import Random
from privity.protocol.signed import Verifier
from privity.roles.proxy.agreements import Agreements
from privity.roles.proxy.api_key import open_key
from privity.roles.proxy.config import LIST_SECONDS, UnsignedModels
from privity.roles.proxy.headers import HeaderPolicy
from privity.roles.proxy.link import GatewayLink
from privity.roles.proxy.models import ProxyModels
from privity.roles.proxy.service import Proxy
from privity.roles.proxy.surroundings import Surroundings
from privity.roles.proxy.vouching import Vouching
from privity.testing.fake_deployment import NOW, FakeDeployment
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, Server
from privity.transport.tasks import Background
from privity.transport.web import Reply, Request, StreamReply

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

    def utc(self) -> datetime:
        """Return the time of the one clock."""
        return datetime.fromtimestamp(self.wall, UTC)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.steady += seconds

    async def pause(self, seconds: float) -> None:
        """Let that many seconds pass at once."""
        self.pauses.append(seconds)
        self.move(seconds)
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
        api_key: the configured key, or its file.
        policy: what it says of its user.
        random: gives random bytes.
        unsigned_models: what becomes of models that nobody signed.
        list_seconds: how long a list is answered from memory.
        options: further ones of `Proxy`.
    """

    def __init__(  # noqa: PLR0913  # whatever a test wants otherwise
        self,
        deployment: FakeDeployment,
        background: Background,
        *,
        http: HttpClient | None = None,
        gateway: str = GATEWAY,
        api_key: str | Path | None = None,
        policy: HeaderPolicy = ANY_GPU,
        random: Random = os.urandom,
        unsigned_models: UnsignedModels | None = None,
        list_seconds: float = LIST_SECONDS,
        **options: Any,
    ) -> None:
        self.deployment = deployment
        self.time = Time()
        deployment.now = self.time.utc
        self.http = http if isinstance(http, FakeHttpClient) else FakeHttpClient(deployment.server)
        client = http or self.http
        surroundings = self.time.surroundings(random)
        key = open_key(api_key, surroundings.steady)
        self.agreements = Agreements(client, gateway, deployment.ca.certificate, key, background, surroundings)
        self.vouching = Vouching(Verifier(deployment.ca.certificate), unsigned_models, surroundings.utc)
        link = GatewayLink(client, gateway, self.agreements, policy, surroundings)
        self.models = ProxyModels(link, self.vouching, background, list_seconds=list_seconds)
        self.proxy = Proxy(link, meaning=self.models.meaning, **options)

    @property
    def sent(self) -> list[SentRequest]:
        """What went to the gateway, agreements left out."""
        return [each for each in self.http.sent if not each.url.endswith("/secret")]

    async def ask(self, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> Answered:
        """Send a request of an app."""
        return await read(await self.proxy.infer(path, headers, body))

    def request(self, path: str = "/v1/models", *headers: tuple[bytes, bytes], query: bytes = b"") -> Request:
        """Return an app's request for models."""

        async def nothing() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        return Request("GET", path, query, headers, nothing)

    async def view(self, *headers: tuple[bytes, bytes]) -> View | Reply:
        """Return the list as an app with these headers may have it."""
        return await self.models.view(self.request("/v1/models", *headers))

    async def rows(self, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
        """Return each listed ID, with its row."""
        view = await self.view(*headers)
        assert isinstance(view, View)
        return {each: openai.row(model, each, self.time.utc()) for model in view.models for each in model.ids}

    async def chat(self, **members: Any) -> Answered:
        """Send a chat request with these members."""
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | members
        return await self.ask(CHAT, msgspec.json.encode(body))


async def read(reply: Reply | StreamReply) -> Answered:
    """Read an answer to its end."""
    if isinstance(reply, Reply):
        return Answered(reply.status, reply.headers, reply.body)
    return Answered(reply.status, reply.headers, b"".join([chunk async for chunk in reply.chunks]))
