"""A gateway in memory: its inference proxies say what they are told to, and its clocks stand still."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from privity.catalogue import full
from privity.catalogue.declared import Declared
from privity.catalogue.model import Model
from privity.catalogue.projections import signers_of
from privity.errors import UpstreamError
from privity.http import Headers, header
from privity.roles.gateway.app import build_app
from privity.roles.gateway.documents import DocumentForwarder, DocumentReplicas
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.gateway.keys import Key, Keys
from privity.roles.gateway.models import GatewayModels
from privity.roles.gateway.secret_services import SecretServices
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response
from privity.testing.in_memory_app import Got, ask_app
from privity.transport.tasks import Background
from privity.transport.web_app import WebApp

START = datetime(2026, 5, 1, tzinfo=UTC)
"""The time at which a gateway in memory begins."""

Says = Sequence[Model] | UpstreamError | FakeResponse
"""What an inference proxy says when it is asked what it serves."""


def _answers(_request: SentRequest) -> FakeResponse:
    return json_response({"answer": 42})


class FakeReplicas:
    """Inference proxies.

    Args:
        says: what each lists, by base URL.
        infer: answers what they are called for.
    """

    def __init__(self, says: Mapping[str, Says], infer: Callable[[SentRequest], FakeResponse] = _answers) -> None:
        self.says = dict(says)
        self.infer = infer
        self.http = FakeHttpClient(self._answer)

    def _answer(self, request: SentRequest) -> FakeResponse:
        if request.method != "GET":
            return self.infer(request)
        said = self.says[request.url.partition("/v1/")[0]]
        if isinstance(said, UpstreamError):
            raise said
        return said if isinstance(said, FakeResponse) else full_answer(said, header(request.headers, b"if-none-match"))


def full_answer(models: Iterable[Model], known: bytes | None = None) -> FakeResponse:
    """Return an inference proxy's list of whole records, or 304 where that is what is known."""
    listed = list(models)
    rows = [full.row(each, each.id, START) for each in listed]
    signers = signers_of({each.statement.certificate for each in listed if each.statement is not None})
    body = json.dumps({"object": "list", "data": rows, "signers": signers}).encode()
    etag = f'"{sha256(body).hexdigest()}"'.encode()
    return FakeResponse(304, [(b"etag", etag)], []) if known == etag else FakeResponse(200, [(b"etag", etag)], [body])


class GatewayRig:
    """A gateway, and what is around it."""

    def __init__(self, replicas: FakeReplicas, background: Background) -> None:
        self.seconds = 0.0
        """Of its steady clock."""
        self.now = START
        self.replicas = replicas
        self.secret_services = FakeHttpClient(lambda _: json_response({"Signature": "x"}))
        self.fleet = Fleet(replicas.http, lambda: self.seconds, lambda: self.now)
        self.models = GatewayModels(self.fleet, Keys())
        self.collapses = False
        self.documents = DocumentReplicas(replicas.http, lambda: self.seconds)
        forwarder = Forwarder(self.fleet, self.models, replicas.http)
        self.app: WebApp = build_app(
            self.models,
            forwarder,
            DocumentForwarder(self.documents, self.models, forwarder),
            SecretServices(self.secret_services, ("http://secret-service",)),
            background,
            collapses=lambda: self.collapses,
        )

    def configure(
        self, declared: Sequence[Declared] = (), keys: Iterable[Key] = (), draining: Iterable[str] = ()
    ) -> None:
        """Take another configuration; the inference proxies are those that say something now."""
        self.models.keys = Keys(keys)
        self.fleet.configure(self.replicas.says, frozenset(draining), declared)
        self.fleet.publish()

    async def poll(self, times: int = 1) -> None:
        """Let time pass, and look at each inference proxy, so many times; what changed is published."""
        for _ in range(times):
            self.pass_time(1)
            for replica in self.fleet.replicas:
                await self.fleet.poll(replica)
        self.fleet.publish()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and nothing else."""
        self.seconds += seconds
        self.now += timedelta(seconds=seconds)

    async def ask(self, method: str, path: str, headers: Headers = (), body: bytes = b"", query: str = "") -> Got:
        """Send one request and return its answer."""
        return await ask_app(self.app, method, path, headers, body, query.encode())

    async def call(self, model: str, path: str = "/v1/chat/completions", headers: Headers = ()) -> Got:
        """Call a model."""
        return await self.ask("POST", path, [(b"privatemode-target-model", model.encode()), *headers], b"{}")

    async def ids(self, headers: Headers = (), query: str = "") -> list[str]:
        """Return the IDs that are listed."""
        return [row["id"] for row in (await self.ask("GET", "/v1/models", headers, query=query)).json()["data"]]


@asynccontextmanager
async def gateway_rig(
    says: Mapping[str, Says], infer: Callable[[SentRequest], FakeResponse] = _answers
) -> AsyncIterator[GatewayRig]:
    """Run a gateway in front of inference proxies that were each asked once."""
    async with Background() as background:
        rig = GatewayRig(FakeReplicas(says, infer), background)
        rig.configure()
        await rig.poll()
        try:
            yield rig
        finally:
            rig.fleet.close()


def key_for(secret: str, *groups: str) -> Key:
    """Return a key as a configuration has it."""
    return Key(f"key of {','.join(groups) or 'nobody'}", sha256(secret.encode()).hexdigest(), frozenset(groups))


def bearer(secret: str) -> Headers:
    """Return the headers of a request with a key."""
    return [(b"authorization", f"Bearer {secret}".encode())]
