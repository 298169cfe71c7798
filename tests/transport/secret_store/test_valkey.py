"""A real Valkey or Redis behind the store; these tests skip themselves where neither is installed."""

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privity.errors import StartError, UnavailableError
from privity.protocol.mesh import MeshCa
from privity.protocol.secret import LIFETIME_SECONDS, Secret
from privity.testing.valkey_server import TlsFiles, ValkeyServer, find_server, valkey_server
from privity.transport.secret_store import valkey
from privity.transport.secret_store.valkey import ValkeyStore, open_store

STORE_KEY = b"s" * 32
SECRET = Secret("A" * 43 + "=", b"k" * 32)
OTHER = Secret("B" * 43 + "=", b"o" * 32)
PASSWORD = "pass-4711-word"  # noqa: S105  # of servers that live for one test
CLOSED = "redis://127.0.0.1:1/0"

needs_server = pytest.mark.skipif(find_server() is None, reason="neither valkey-server nor redis-server is installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as started:
        yield started


@pytest.fixture
def raw(server: ValkeyServer) -> Iterator[redis.Redis]:
    """Look into the store, which is empty at first."""
    with redis.Redis(port=server.port) as client:
        client.flushall()
        yield client


@contextlib.asynccontextmanager
async def opened(url: str, store_key: bytes = STORE_KEY) -> AsyncIterator[ValkeyStore]:
    async with contextlib.aclosing(open_store(url, store_key)) as store:
        yield store


@needs_server
async def test_a_secret_is_found_with_the_time_that_is_left_to_it(server: ValkeyServer, raw: redis.Redis) -> None:
    async with opened(server.url) as store:
        await store.put(SECRET, LIFETIME_SECONDS)
        found = await store.get(SECRET.id)
        assert found is not None
        assert found[0] == SECRET
        assert LIFETIME_SECONDS - 30 < found[1] <= LIFETIME_SECONDS
    left = raw.ttl(f"privity:secret:{SECRET.id}")
    assert isinstance(left, int)
    assert LIFETIME_SECONDS - 30 < left <= LIFETIME_SECONDS


@needs_server
@pytest.mark.usefixtures("raw")
async def test_what_one_replica_put_another_finds(server: ValkeyServer) -> None:
    async with opened(server.url) as one, opened(f"unix://{server.socket}?db=0") as another:
        await one.put(SECRET, 60)
        await another.put(OTHER, 60)
        assert (await another.get(SECRET.id) or [None])[0] == SECRET
        assert (await one.get(OTHER.id) or [None])[0] == OTHER


@needs_server
@pytest.mark.usefixtures("raw")
async def test_what_was_never_put_is_absent(server: ValkeyServer) -> None:
    async with opened(server.url) as store:
        assert await store.get(SECRET.id) is None
        assert await store.get("\r\n*\x00 é") is None


@needs_server
async def test_the_last_one_under_an_id_counts(server: ValkeyServer, raw: redis.Redis) -> None:
    async with opened(server.url) as store:
        await store.put(SECRET, 60)
        await store.put(Secret(SECRET.id, OTHER.key), 90)
        assert (await store.get(SECRET.id) or [None])[0] == Secret(SECRET.id, OTHER.key)
    assert raw.dbsize() == 1


@needs_server
async def test_the_store_sees_no_key_and_nothing_that_is_the_same_twice(server: ValkeyServer, raw: redis.Redis) -> None:
    values = []
    async with opened(server.url) as store:
        for _ in range(2):
            await store.put(SECRET, 60)
            values.append(raw.get(f"privity:secret:{SECRET.id}"))
    one, two = values
    assert isinstance(one, bytes)
    assert isinstance(two, bytes)
    assert len(one) == 12 + 32 + 16
    assert SECRET.key[:4] not in one
    assert one[:12] != two[:12]
    assert one[12:] != two[12:]


def put_another_key(raw: redis.Redis, name: str) -> None:
    raw.set(name, b"\0" * 60, ex=60)


def put_another_length(raw: redis.Redis, name: str) -> None:
    raw.set(name, b"short", ex=60)


def swap(raw: redis.Redis, name: str) -> None:
    raw.rename(f"privity:secret:{OTHER.id}", name)


def change_one_bit(raw: redis.Redis, name: str) -> None:
    value = raw.get(name)
    assert isinstance(value, bytes)
    raw.set(name, value[:-1] + bytes([value[-1] ^ 1]), ex=60)


def make_immortal(raw: redis.Redis, name: str) -> None:
    raw.persist(name)


@needs_server
@pytest.mark.parametrize("tamper", [put_another_key, put_another_length, swap, change_one_bit, make_immortal])
async def test_a_value_that_was_tampered_with_is_absent(
    tamper: Callable[[redis.Redis, str], None], server: ValkeyServer, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(server.url) as store:
        await store.put(SECRET, 60)
        await store.put(OTHER, 60)
        tamper(raw, f"privity:secret:{SECRET.id}")
        assert await store.get(SECRET.id) is None
    assert [each.levelname for each in caplog.records] == ([] if tamper is make_immortal else ["ERROR"])
    assert SECRET.id not in caplog.text


@needs_server
@pytest.mark.usefixtures("raw")
async def test_under_another_store_key_a_secret_is_absent(
    server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(server.url) as one, opened(server.url, b"t" * 32) as another:
        await one.put(SECRET, 60)
        assert await another.get(SECRET.id) is None
        assert await one.get(SECRET.id) is not None
    assert [each.levelname for each in caplog.records] == ["ERROR"]


@needs_server
async def test_a_value_of_another_kind_is_a_failure_of_the_store(server: ValkeyServer, raw: redis.Redis) -> None:
    raw.lpush(f"privity:secret:{SECRET.id}", "a")
    async with opened(server.url) as store:
        with pytest.raises(UnavailableError):
            await store.get(SECRET.id)
        await store.put(OTHER, 60)
        assert await store.get(OTHER.id) is not None


# A store that fails


@needs_server
async def test_a_store_that_has_restarted_is_empty_and_used_again_at_once(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        async with opened(server.url) as store:
            await asyncio.gather(*(store.put(SECRET, 60) for _ in range(8)))  # eight connections
            server.restart()
            assert await asyncio.gather(*(store.get(SECRET.id) for _ in range(8))) == [None] * 8
            server.restart()
            await store.put(SECRET, 60)
            assert await store.get(SECRET.id) is not None


@needs_server
async def test_a_store_that_is_down_is_503_and_back_when_it_is_up(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        async with opened(server.url) as store:
            await store.put(SECRET, 60)
            server.stop()
            for call in (store.put(SECRET, 60), store.get(SECRET.id)):
                with pytest.raises(UnavailableError) as caught:
                    await call
                assert caught.value.status == 503
                assert (b"retry-after", b"2") in caught.value.headers
            server.start()
            assert await store.get(SECRET.id) is None


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(valkey, "TIMEOUT_SECONDS", 0.1)
    connected = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as listener:
        url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with opened(url) as store:
            for _ in range(3):
                with pytest.raises(UnavailableError):
                    await store.get(SECRET.id)
        assert connected >= 3


async def test_a_failure_says_nothing_of_the_store_or_its_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"redis://someone:{PASSWORD}@127.0.0.1:1/0"
    async with opened(url) as store:
        with pytest.raises(UnavailableError) as caught:
            await store.put(SECRET, 60)
        shown = [repr(store), str(store), repr(caught.value), repr(caught.value.__cause__), caplog.text]
    assert caught.value.__suppress_context__
    for text in shown:
        assert PASSWORD not in text
        assert "127.0.0.1" not in text
        assert SECRET.id not in text
    assert [each.levelname for each in caplog.records if each.name.startswith("privity")] == ["WARNING"]


# Ways to a store


@needs_server
async def test_a_password_is_used_and_a_wrong_one_is_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with valkey_server(tmp_path, password=PASSWORD) as server:
        async with opened(server.url) as store:
            await store.put(SECRET, 60)
            assert await store.get(SECRET.id) is not None
        async with opened(server.url.replace(PASSWORD, "wrong")) as store:
            with pytest.raises(UnavailableError):
                await store.get(SECRET.id)
    assert PASSWORD not in caplog.text


@pytest.fixture
def tls_files(tmp_path: Path) -> TlsFiles:
    """Return certificates for 127.0.0.1, as an operator would make them."""
    files = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         files.key, "-out", files.certificate, "-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return files


@needs_server
async def test_a_store_is_reached_over_tls_by_who_trusts_its_ca(tmp_path: Path, tls_files: TlsFiles) -> None:
    foreign = tmp_path / "foreign.pem"
    foreign.write_bytes(MeshCa.create(datetime.now(UTC)).certificate_pem())
    with valkey_server(tmp_path, tls_files) as server:
        async with opened(server.url) as store:
            await store.put(SECRET, 60)
            assert await store.get(SECRET.id) is not None
            server.restart()
            assert await store.get(SECRET.id) is None
        for url in (
            server.url.partition("?")[0],  # what the system trusts
            server.url.replace(str(tls_files.ca), str(foreign)),
            server.url.replace("127.0.0.1", "localhost"),  # a name that the certificate doesn't have
            server.url.replace("rediss", "redis").partition("?")[0],
        ):
            async with opened(url) as store:
                with pytest.raises(UnavailableError):
                    await store.get(SECRET.id)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:6379",
        "http://localhost",
        "memory://",
        "redis://localhost:port/0",
        f"redis://:{PASSWORD}/x@localhost:6379",
        f"redis://:{PASSWORD}@localhost:99999",
        f"redis://:{PASSWORD}@localhost:0",
        f"redis://:{PASSWORD}@[::1",
        "redis://localhost?db=x",
        "redis://localhost?db=-1",
        f"redis://localhost?password={PASSWORD}",
        "rediss://localhost?ssl_cert_reqs=none",
        "rediss://localhost?ssl_check_hostname=false",
        "redis://localhost?socket_timeout=600",
        "redis://localhost?db",
        "redis://localhost/name",
        "redis://",
        "redis:///0",
        "unix://host/path",
        "unix://",
        "unix:///",
    ],
)
def test_a_url_that_can_not_be_used_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StartError) as caught:
        open_store(url, STORE_KEY)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "rediss://HOST:6379/0?ssl_ca_certs=FILE" in caught.value.way_out


@given(st.builds(str.__add__, st.sampled_from(["", "redis://", "rediss://h", "unix:///", "redis://h?"]), st.text()))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_text_is_a_store_or_a_start_error(text: str) -> None:
    with contextlib.suppress(StartError):
        open_store(text, STORE_KEY)


@pytest.mark.parametrize("url", ["rediss://localhost?ssl_ca_certs=missing.pem", f"redis://h?ssl_ca_certs={__file__}"])
def test_certificates_that_are_missing_or_would_not_be_used_are_refused(url: str) -> None:
    with pytest.raises(StartError, match="ssl_ca_certs"):
        open_store(url, STORE_KEY)


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://h:6379/3", "rediss://u:p@h:1/0", "redis://[::1]:6379", "unix:///run/valkey.sock?db=1"],
)
async def test_these_urls_can_be_used(url: str) -> None:
    async with opened(url):
        pass


def test_without_redis_py_the_way_out_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(StartError) as caught:
        open_store(CLOSED, STORE_KEY)
    assert "pip install 'privity[valkey]'" in caught.value.way_out


def test_the_module_itself_needs_no_redis_py() -> None:
    code = "import sys; import privity.roles.secret_service.main; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
