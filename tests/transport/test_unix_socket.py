"""Listeners on real Unix domain sockets."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from privity.errors import StartError
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening_at
from privity.transport.tasks import Background
from privity.transport.unix_socket import MAX_PATH_BYTES, unix_listener, unix_url
from privity.transport.web import Reply, Request, Routes, json_reply
from privity.transport.web_app import WebApp

pytestmark = pytest.mark.timeout(30)  # each takes milliseconds

BACKLOG = 5


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory() as directory:  # pytest's own are too long for a socket on macOS
        yield Path(directory, "Privity's socket é.sock")


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with unix_listener(path, "test", BACKLOG) as listener:
        yield listener


def is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
    return True


def leave_behind(path: Path) -> None:
    """Leave a socket as a killed program does."""
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_only_its_user_may_connect(path: Path) -> None:
    with listening(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_socket_is_gone_at_the_end(path: Path) -> None:
    with listening(path):
        assert is_answered(path)
    assert not path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(path: Path) -> None:
    leave_behind(path)
    assert path.exists()
    with listening(path):
        assert is_answered(path)


def test_a_socket_that_another_program_listens_on_is_left_to_it(path: Path) -> None:
    with listening(path):
        with pytest.raises(StartError, match="Another program listens on") as caught, listening(path):
            pass
        assert "--unix-socket" in caught.value.way_out
        assert is_answered(path)


def test_a_program_that_is_too_busy_to_answer_counts_as_listening(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        busy, *waiting = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(5))
        busy.bind(str(path))
        busy.listen(0)
        for each in waiting:
            each.settimeout(0)
            with contextlib.suppress(BlockingIOError):  # its queue is full
                each.connect(str(path))
        with pytest.raises(StartError, match="Another program listens on"):
            stack.enter_context(listening(path))


def test_the_end_does_not_remove_what_another_program_put_there(path: Path) -> None:
    with listening(path):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_the_end_does_not_remove_the_socket_of_a_successor(path: Path) -> None:
    with contextlib.ExitStack() as successor:
        with listening(path) as first:
            first.close()  # as one that takes no more, and lets its last answers finish
            successor.enter_context(listening(path))
        assert is_answered(path)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link to a socket", "dangling link"])
def test_what_is_no_socket_is_never_replaced(path: Path, kind: str) -> None:
    target = path.with_name("target")
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "link to a socket":
            leave_behind(target)
            path.symlink_to(target)
        case _:
            path.symlink_to(target)
    before = path.lstat()
    with pytest.raises(StartError, match="that is no socket, so the test can't listen there"), listening(path):
        pass
    assert path.lstat() == before


def test_a_path_that_is_too_long_is_an_error_that_says_the_limit(path: Path) -> None:
    longest = path.with_name("x" * (MAX_PATH_BYTES - len(os.fsencode(path.parent)) - 1))
    with listening(longest):
        assert is_answered(longest)
    with (
        pytest.raises(StartError, match=rf"has {MAX_PATH_BYTES + 1} bytes, and no socket's may have more than"),
        listening(longest.with_name(longest.name + "x")),
    ):
        pass


@pytest.mark.parametrize("name", ["missing/x.sock", "a\0b"])
def test_a_path_that_cannot_be_is_an_error_that_names_the_option(path: Path, name: str) -> None:
    with pytest.raises(StartError, match=r"The test can't listen on .*--unix-socket"), listening(path.parent / name):
        pass


def test_a_relative_path_is_of_the_directory_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with listening(Path("x.sock")):
        assert unix_url(Path("x.sock")).endswith("%2Fx.sock")
        monkeypatch.chdir("/")
        assert is_answered(path.with_name("x.sock"))
    assert not path.with_name("x.sock").exists()


# With what answers behind it


async def host(asked: Request) -> Reply:
    return json_reply([value.decode() for name, value in asked.headers if name == b"host"])


@contextlib.asynccontextmanager
async def serving(path: Path, routes: Routes) -> AsyncIterator[str]:
    async with Background() as background, listening_at(WebApp(routes, background), path, "test") as url:
        yield url


async def test_requests_are_answered_whatever_their_host(path: Path) -> None:
    client = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)))
    async with serving(path, {"/host": {"GET": host}}), client:
        for _ in range(2):
            assert (await client.get("http://any.example/host")).json() == ["any.example"]


async def test_the_url_is_one_that_our_own_client_understands(path: Path) -> None:
    async with serving(path, {"/host": {"GET": host}}) as url, PooledHttpClient() as client:
        assert url.startswith("http+unix://%2F")
        async with await client.request("GET", url + "/host") as response:
            assert await response.read(100) == b'["localhost"]'


async def test_an_answer_under_way_is_finished_at_the_end(path: Path) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_asked: Request) -> Reply:
        asked.set()
        await go_on.wait()
        return json_reply("finished")

    async with serving(path, {"/slow": {"GET": slow}}):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asked.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)  # it is stopping by then
    assert (await reader.read()).endswith(b'"finished"')
    writer.close()
