"""A whole secret service over real sockets: agreements on one side, hand-outs on the other."""

import base64
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from cryptography import x509

from privity.errors import CertificateError, StartError, UnknownSecretError, UpstreamUnreachableError
from privity.protocol.agreement import Agreement, Offer
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa
from privity.protocol.secret import LIFETIME_SECONDS
from privity.roles.inference_proxy.secrets import Secrets
from privity.roles.secret_service.config import Settings
from privity.roles.secret_service.main import Running, serve
from privity.testing.valkey_server import ValkeyServer, find_server, valkey_server
from privity.transport.http_client import PooledHttpClient
from privity.transport.tasks import Background
from privity.transport.tls import client_context

pytestmark = pytest.mark.timeout(60)

NOW = datetime.now(UTC)
MESH, FOREIGN_MESH = MeshCa.create(NOW), MeshCa.create(NOW)
SERVICE, PROXY = MESH.issue(SECRET_SERVICE, NOW), MESH.issue(INFERENCE_PROXY, NOW)
STORE_KEY = b"s" * 32
PATH = "/privatemode/v1/secret"
UNKNOWN = "A" * 43 + "="

needs_store = pytest.mark.skipif(find_server() is None, reason="neither valkey-server nor redis-server is installed")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as started:
        yield started


def in_memory(*, tls: bool = False) -> Settings:
    return Settings(SERVICE, MESH.certificate, tls=tls)


def shared(store: ValkeyServer, store_key: bytes = STORE_KEY) -> Settings:
    return Settings(SERVICE, MESH.certificate, store_url=store.url, store_key=store_key)


def mesh_client(identity: Identity | None = PROXY, ca: x509.Certificate = MESH.certificate) -> PooledHttpClient:
    return PooledHttpClient(tls=client_context(ca, identity), server_name=SECRET_SERVICE)


async def post(http: PooledHttpClient, url: str, body: bytes) -> tuple[int, bytes]:
    response = await http.request("POST", url, headers=[(b"content-type", b"application/json")], body=body)
    async with response:
        return response.status, await response.read(1 << 16)


async def agree(url: str, http: PooledHttpClient | None = None) -> Agreement:
    """Do what a client does."""
    offer = Offer(os.urandom(32))
    async with http or PooledHttpClient() as client:
        status, answer = await post(client, url + PATH, offer.request())
    assert status == 200, answer
    agreement = offer.accept(answer, MESH.certificate, NOW)
    assert agreement.secret.id == offer.secret_id
    return agreement


async def hand_out(url: str, secret_id: str, identity: Identity | None = PROXY) -> tuple[int, bytes]:
    async with mesh_client(identity) as http:
        return await post(http, url + "/secrets", json.dumps({"id": secret_id}).encode())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    async with serve(in_memory()) as found:
        yield found


on_one_service = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def finder(*services: Running) -> AsyncIterator[Secrets]:
    """Yield the client side of the hand-out, as an inference proxy has it."""
    async with mesh_client() as http, Background() as background:
        yield Secrets(http, tuple(each.hand_out_url for each in services), background)


async def test_what_a_client_agreed_on_is_handed_to_an_inference_proxy() -> None:
    async with serve(in_memory()) as running:
        assert running.url.startswith("http://")
        assert running.hand_out_url.startswith("https://")
        secret = (await agree(running.url)).secret
        status, body = await hand_out(running.hand_out_url, secret.id)
        handed_out = json.loads(body)
        assert status == 200
        assert handed_out.keys() == {"key", "expires_in"}
        assert base64.b64decode(handed_out["key"], validate=True) == secret.key
        assert LIFETIME_SECONDS - 30 < handed_out["expires_in"] <= LIFETIME_SECONDS
        async with finder(running) as secrets:
            assert await secrets.find(secret.id) == secret


async def test_a_gateway_may_reach_it_by_tls() -> None:
    async with serve(in_memory(tls=True)) as running:
        assert running.url.startswith("https://")
        secret = (await agree(running.url, mesh_client(None))).secret
        assert (await hand_out(running.hand_out_url, secret.id))[0] == 200
        async with PooledHttpClient() as http:
            with pytest.raises(UpstreamUnreachableError):
                await post(http, running.url.replace("https", "http") + PATH, Offer(os.urandom(32)).request())


async def test_a_client_notices_a_service_of_another_mesh() -> None:
    foreign = Settings(FOREIGN_MESH.issue(SECRET_SERVICE, NOW), FOREIGN_MESH.certificate)
    async with serve(foreign) as running:
        with pytest.raises(CertificateError):
            await agree(running.url)


async def test_every_exchange_gives_another_secret_the_same_offer_included() -> None:
    offer = Offer(os.urandom(32))
    keys = set()
    async with serve(in_memory()) as running, PooledHttpClient() as http:
        for _ in range(2):
            _, answer = await post(http, running.url + PATH, offer.request())
            keys.add(offer.accept(answer, MESH.certificate, NOW).secret.key)
        _, body = await hand_out(running.hand_out_url, offer.secret_id)
        assert base64.b64decode(json.loads(body)["key"]) in keys
    assert len(keys) == 2


@on_one_service
@pytest.mark.parametrize("secret_id", [UNKNOWN, "", "*", "é\n", "x" * 500])
async def test_an_unknown_secret_is_a_404(running: Running, secret_id: str) -> None:
    status, body = await hand_out(running.hand_out_url, secret_id)
    assert (status, json.loads(body)["error"]["code"]) == (404, "unknown_secret")


# Who and what is refused

INTRUDERS = {
    "no certificate": None,
    "another CA's certificate": FOREIGN_MESH.issue(INFERENCE_PROXY, NOW),
    "another role's certificate": SERVICE,
}


@on_one_service
@pytest.mark.parametrize("identity", INTRUDERS.values(), ids=INTRUDERS)
async def test_nobody_but_an_inference_proxy_is_handed_a_secret(running: Running, identity: Identity | None) -> None:
    secret = (await agree(running.url)).secret
    with pytest.raises(UpstreamUnreachableError):
        await hand_out(running.hand_out_url, secret.id, identity)


async def test_nobody_is_handed_a_secret_in_plain_http() -> None:
    async with serve(in_memory()) as running, PooledHttpClient() as http:
        secret = (await agree(running.url)).secret
        body = json.dumps({"id": secret.id}).encode()
        with pytest.raises(UpstreamUnreachableError):
            await post(http, running.hand_out_url.replace("https", "http") + "/secrets", body)
        assert (await post(http, running.url + "/secrets", body))[0] == 404  # and not on the other side


@on_one_service
async def test_agreements_are_no_matter_of_the_hand_out(running: Running) -> None:
    async with mesh_client() as http:
        assert (await post(http, running.hand_out_url + PATH, b"{}"))[0] == 404


GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"{}",
    b'{"PublicKey": null}',
    b'{"PublicKey": "not base64"}',
    b'{"PublicKey": ""}',
    b'{"PublicKey": "%b"}' % base64.b64encode(b"a" * 1215),
    b"[" * 5000,
]


@on_one_service
@pytest.mark.parametrize("body", GARBAGE)
async def test_a_body_that_is_no_offer_is_a_400_in_openais_form(running: Running, body: bytes) -> None:
    async with PooledHttpClient() as http:
        status, answer = await post(http, running.url + PATH, body)
    await agree(running.url)
    assert status == 400
    assert json.loads(answer)["error"]["type"] == "invalid_request_error"


@on_one_service
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"{}", b'{"id": 1}', b'{"id": null}', b'{"id": "\\ud800"}', b"[" * 1000],
)
async def test_a_body_that_asks_for_no_secret_is_a_400_in_openais_form(running: Running, body: bytes) -> None:
    async with mesh_client() as http:
        status, answer = await post(http, running.hand_out_url + "/secrets", body)
    assert (status, json.loads(answer)["error"]["code"]) == (400, "invalid_request")


@on_one_service
async def test_bodies_are_bounded(running: Running) -> None:
    async with PooledHttpClient() as http, mesh_client() as proxy:
        assert (await post(http, running.url + PATH, b" " * 16385))[0] == 413
        assert (await post(http, running.url + PATH, b" " * 16384))[0] == 400
        assert (await post(proxy, running.hand_out_url + "/secrets", b" " * 1025))[0] == 413
        assert (await post(proxy, running.hand_out_url + "/secrets", b" " * 1024))[0] == 400


@on_one_service
async def test_an_offer_of_another_media_type_is_a_415(running: Running) -> None:
    async with PooledHttpClient() as http:
        kind = [(b"content-type", b"text/plain")]
        async with await http.request("POST", running.url + PATH, headers=kind, body=b"{}") as answer:
            assert answer.status == 415


# Replicas


@needs_store
async def test_replicas_share_their_secrets(store: ValkeyServer) -> None:
    async with serve(shared(store)) as one, serve(shared(store)) as another:
        secret = (await agree(one.url)).secret
        for running in (one, another):
            status, body = await hand_out(running.hand_out_url, secret.id)
            assert status == 200
            assert base64.b64decode(json.loads(body)["key"]) == secret.key
            assert LIFETIME_SECONDS - 30 < json.loads(body)["expires_in"] <= LIFETIME_SECONDS


@needs_store
async def test_a_service_that_restarts_still_has_what_is_in_the_store(store: ValkeyServer) -> None:
    async with serve(shared(store)) as running:
        secret = (await agree(running.url)).secret
    async with serve(shared(store)) as running, finder(running) as secrets:
        assert await secrets.find(secret.id) == secret


@needs_store
async def test_a_replica_with_another_store_key_has_nobody_elses_secrets(store: ValkeyServer) -> None:
    async with serve(shared(store)) as one, serve(shared(store, b"t" * 32)) as another:
        secret = (await agree(one.url)).secret
        assert (await hand_out(another.hand_out_url, secret.id))[0] == 404


@needs_store
async def test_a_store_that_restarts_loses_secrets_and_nothing_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as store:
        async with serve(shared(store)) as running, PooledHttpClient() as http:
            secret = (await agree(running.url)).secret
            store.restart()
            assert (await hand_out(running.hand_out_url, secret.id))[0] == 404
            store.restart()
            secret = (await agree(running.url)).secret
            assert (await hand_out(running.hand_out_url, secret.id))[0] == 200
            store.stop()
            offer = Offer(os.urandom(32)).request()
            response = await http.request("POST", running.url + PATH, body=offer)
            async with response:
                assert response.status == 503
                assert (b"retry-after", b"2") in response.headers
            assert (await hand_out(running.hand_out_url, secret.id))[0] == 503
            store.start()
            assert (await hand_out(running.hand_out_url, secret.id))[0] == 404


async def test_an_inference_proxy_finds_secrets_of_services_that_share_nothing() -> None:
    async with serve(in_memory()) as one, serve(in_memory()) as another, finder(one, another) as secrets:
        for running in (one, another):
            secret = (await agree(running.url)).secret
            assert await secrets.find(secret.id) == secret
        with pytest.raises(UnknownSecretError):
            await secrets.find(UNKNOWN)


# What is never shown


@needs_store
async def test_secrets_are_in_no_log_and_no_text(store: ValkeyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = shared(store)
    async with serve(settings) as running, finder(running) as secrets:
        secret = (await agree(running.url)).secret
        assert await secrets.find(secret.id) == secret
        await hand_out(running.hand_out_url, UNKNOWN)
        texts = [caplog.text, *(repr(vars(each)) for each in caplog.records), repr(settings), repr(running)]
        texts += [repr(secret), repr(secrets), str(settings)]
    assert any("/secrets" in text for text in texts)
    for text in texts:
        for key in (secret.key, STORE_KEY):
            assert repr(key)[2:-1] not in text
            assert key.hex() not in text
            assert base64.b64encode(key).decode() not in text


def test_a_store_and_its_key_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        Settings(SERVICE, MESH.certificate, store_url="redis://127.0.0.1")


async def test_a_busy_hand_out_port_is_named_with_its_own_option() -> None:
    async with serve(in_memory()) as running:
        port = int(running.hand_out_url.rsplit(":", 1)[1])
        with pytest.raises(StartError, match="--hand-out-port"):
            async with serve(Settings(SERVICE, MESH.certificate, hand_out_port=port)):
                pass
