"""The whole role over real sockets, with a secret service and a tiny model of random weights."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.engines.embedded.fetch import ModelFiles
from privity.errors import StartError, UpstreamUnreachableError
from privity.http import Headers
from privity.protocol.agreement import Offer
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, MeshCa
from privity.protocol.secret import Secret
from privity.roles.inference_proxy.config import RemoteEngine, Settings
from privity.roles.inference_proxy.main import serve
from privity.roles.secret_service import config as secret_service_config
from privity.roles.secret_service import main as secret_service
from privity.testing.in_memory_app import Got
from privity.testing.sealed import SALT, SECRET, SealingClient
from privity.testing.tiny_gguf import write_tiny_gguf
from privity.transport.http_client import PooledHttpClient
from privity.transport.tls import client_context

CHAT = "/v1/chat/completions"
NOW = datetime.now(UTC)


async def ask(http: PooledHttpClient, method: str, url: str, headers: Headers = (), body: bytes = b"") -> Got:
    response = await http.request(method, url, headers=headers, body=body)
    async with response:
        return Got(response.status, response.headers, await response.read(10**6))


def gateway(ca: MeshCa) -> PooledHttpClient:
    """Return a client that trusts inference proxies of the mesh."""
    return PooledHttpClient(tls=client_context(ca.certificate), server_name=INFERENCE_PROXY)


@contextlib.asynccontextmanager
async def secrets_of(ca: MeshCa) -> AsyncIterator[secret_service.Running]:
    settings = secret_service_config.Settings(ca.issue(SECRET_SERVICE, NOW), ca.certificate)
    async with secret_service.serve(settings) as running:
        yield running


async def agree(url: str, ca: MeshCa) -> Secret:
    """Agree on a secret, as a proxy does."""
    offer = Offer(os.urandom(32))
    async with PooledHttpClient() as http:
        kind = [(b"content-type", b"application/json")]
        got = await ask(http, "POST", f"{url}/privatemode/v1/secret", kind, offer.request())
    return offer.accept(got.body, ca.certificate, datetime.now(UTC)).secret


def settings(engine: RemoteEngine | ModelFiles, ca: MeshCa, hand_out: str, gpu_status: Path | None = None) -> Settings:
    identity = ca.issue(INFERENCE_PROXY, NOW)
    return Settings(engine, identity, ca.certificate, (hand_out,), gpu_status=gpu_status)


def nowhere(tmp_path: Path) -> RemoteEngine:
    return RemoteEngine(f"http+unix://{str(tmp_path / 'none.sock').replace('/', '%2F')}")


async def test_an_embedded_engine_is_listed_and_answers_encrypted(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    files = ModelFiles(model, None, ("org/Tiny", "tiny"), 1234, "org", None, None, None)
    ca = MeshCa.create(NOW)
    async with (
        secrets_of(ca) as holder,
        serve(settings(files, ca, holder.hand_out_url)) as running,
        gateway(ca) as http,
    ):
        assert running.url.startswith("https://")
        got = await ask(http, "GET", f"{running.url}/v1/models")
        assert (got.status, [row["id"] for row in got.json()["data"]]) == (200, ["org/Tiny", "tiny"])
        client = SealingClient(await agree(holder.url, ca))
        body: Mapping[str, object] = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 3,
            "cache_salt": SALT,
        }
        sealed = client.seal(CHAT, body)
        got = await ask(http, "POST", running.url + CHAT, sealed.headers, sealed.body)
        assert got.status == 200
        answer = sealed.open_json(got.status, got.headers, got.body)
        assert answer["model"] == "tiny"
        assert 1 <= answer["usage"]["completion_tokens"] <= 3  # random weights may end early
        streamed = client.seal(CHAT, {**body, "stream": True})
        got = await ask(http, "POST", running.url + CHAT, streamed.headers, streamed.body)
        *events, done = streamed.open_events(got.status, got.headers, got.body)
        assert done.data == b"[DONE]"
        assert 1 <= events[-1].json()["usage"]["completion_tokens"] <= 3


async def test_an_engine_that_is_not_there_yet_is_waited_for_with_an_empty_list(tmp_path: Path) -> None:
    ca = MeshCa.create(NOW)
    async with (
        secrets_of(ca) as holder,
        serve(settings(nowhere(tmp_path), ca, holder.hand_out_url)) as running,
        gateway(ca) as http,
    ):
        got = await ask(http, "GET", f"{running.url}/v1/models")
        assert (got.status, got.json()) == (200, {"object": "list", "data": []})
        sealed = SealingClient(await agree(holder.url, ca)).seal("/v1/embeddings", {"model": "m", "input": "a"})
        got = await ask(http, "POST", f"{running.url}/v1/embeddings", sealed.headers, sealed.body)
        error = sealed.open_json(got.status, got.headers, got.body)["error"]
        assert (got.status, error["code"]) == (503, "model_unavailable")


async def test_a_secret_of_nobody_is_unknown(tmp_path: Path) -> None:
    ca = MeshCa.create(NOW)
    async with (
        secrets_of(ca) as holder,
        serve(settings(nowhere(tmp_path), ca, holder.hand_out_url)) as running,
        gateway(ca) as http,
    ):
        sealed = SealingClient(SECRET).seal("/v1/embeddings", {"model": "m", "input": "a"})
        got = await ask(http, "POST", f"{running.url}/v1/embeddings", sealed.headers, sealed.body)
        assert (got.status, got.json()["error"]["code"]) == (500, "unknown_secret")


async def test_its_certificate_is_the_meshs(tmp_path: Path) -> None:
    ca, other = MeshCa.create(NOW), MeshCa.create(NOW)
    async with serve(settings(nowhere(tmp_path), ca, "https://127.0.0.1:9")) as running, gateway(other) as http:
        with pytest.raises(UpstreamUnreachableError):
            await ask(http, "GET", f"{running.url}/v1/models")


async def test_a_gpu_status_that_cannot_be_read_keeps_it_from_starting(tmp_path: Path) -> None:
    given = settings(nowhere(tmp_path), MeshCa.create(NOW), "https://127.0.0.1:9", tmp_path / "none.json")
    with pytest.raises(StartError, match=r"none\.json"):
        async with serve(given):
            pass
