import asyncio
import resource
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from privity.errors import ApiError, StartError, TamperedAnswerError, UnauthorizedError
from privity.http import Headers
from privity.roles.proxy.app import build_app
from privity.roles.proxy.dump import BROKEN_OFF, CUT, MAX_BODY_BYTES, Dumper
from privity.roles.proxy.guard import Guard
from privity.streams import Stream
from privity.testing.fake_deployment import CHAT_ANSWER, FakeDeployment
from privity.testing.proxy_rig import CHAT, Rig
from privity.transport.cors import Cors
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import EVENTS, JSON, Handler, Reply, Request, StreamReply

NOW = datetime(2026, 11, 23, 3, 15, 0, 123_456, UTC)
NAME = "20261123T031500.123Z-000000000000"
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "a secret"}]}'
KEYS = [
    (b"authorization", b"Bearer canary"),
    (b"x-api-key", b"canary"),
    (b"api-key", b"canary"),
    (b"proxy-authorization", b"Basic canary"),
    (b"cookie", b"session=canary"),
    (b"x-auth-token", b"canary"),
]


def dumper(directory: Path) -> Dumper:
    return Dumper(directory, lambda: NOW, bytes)


def request(body: bytes = BODY, headers: Headers = (), path: str = CHAT) -> Request:
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    return Request("POST", path, b"", headers, receive)


def answering(reply: Reply | StreamReply | ApiError) -> Handler:
    """Return a handler that reads the request, and then says this."""

    async def answer(asked: Request) -> Reply | StreamReply:
        await asked.body(1 << 30)
        if isinstance(reply, ApiError):
            raise reply
        return reply

    return answer


def stream(*chunks: bytes | Exception) -> StreamReply:
    async def steps() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    return StreamReply(200, [EVENTS], Stream(steps()))


def written(directory: Path) -> dict[str, bytes]:
    """Return what is in each file, by the end of its name."""
    return {path.name.removeprefix(NAME): path.read_bytes() for path in directory.iterdir()}


# What is written


@asynccontextmanager
async def proxy(directory: Path | None, answer: Any = None) -> AsyncIterator[tuple[str, Rig]]:
    async with Background() as background:
        rig = Rig(FakeDeployment(answer), background)
        app = build_app(
            *(rig.proxy, rig.models, Guard("127.0.0.1", (), ()), background, Cors(())),
            None if directory is None else dumper(directory),
        )
        async with listening(app, "127.0.0.1", 0, "proxy") as url:
            yield url, rig


async def ask(url: str, body: bytes = BODY, *headers: tuple[bytes, bytes], path: str = CHAT) -> bytes:
    async with (
        PooledHttpClient() as client,
        await client.request("POST", url + path, headers=headers, body=body, head_timeout=20) as response,
    ):
        return await response.read(1 << 20)


async def test_a_request_and_its_answer_are_written_in_clear_and_without_keys(tmp_path: Path) -> None:
    directory = tmp_path / "workspace" / "requests"
    async with proxy(directory) as (url, _):
        answer = await ask(url, BODY, *KEYS, (b"x-app", b"my app"))
    files = written(directory)
    head, _, body = files["-request.http"].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-app: my app" in head
    assert head.count(b": [left out]") == len(KEYS)
    assert body == BODY
    head, _, body = files["-answer.http"].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200\r\ncontent-type: application/json")
    assert body == answer
    assert b'"content":"Hello"' in body.replace(b" ", b"")
    assert b"canary" not in b"".join(files.values())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (directory, directory.parent)} == {0o700}


async def test_a_stream_is_written_as_the_app_gets_it(tmp_path: Path) -> None:
    chunk = {**CHAT_ANSWER, "object": "chat.completion.chunk"}
    async with proxy(tmp_path, [chunk, chunk]) as (url, _):
        answer = await ask(url, BODY[:-1] + b', "stream": true}')
    assert written(tmp_path)["-answer.http"].partition(b"\r\n\r\n")[2] == answer
    assert answer.endswith(b"data: [DONE]\n\n")


async def test_requests_that_are_refused_are_written_too(tmp_path: Path) -> None:
    async with proxy(tmp_path) as (url, rig):
        rig.deployment.keys = set()
        answer = await ask(url)
    files = written(tmp_path)
    assert files["-request.http"].endswith(BODY)
    assert files["-answer.http"].startswith(b"HTTP/1.1 401\r\n")
    assert files["-answer.http"].endswith(answer)
    assert b"An API key is needed" in answer or b"accept this API key" in answer


async def test_lists_of_models_are_not_written(tmp_path: Path) -> None:
    async with (
        proxy(tmp_path) as (url, _),
        PooledHttpClient() as client,
        await client.request("GET", f"{url}/v1/models", head_timeout=20) as response,
    ):
        assert response.status == 200
    assert written(tmp_path) == {}


async def test_a_request_is_there_before_its_answer_and_a_stream_chunk_by_chunk(tmp_path: Path) -> None:
    async def answer(asked: Request) -> StreamReply:
        assert await asked.body(1 << 20) == BODY
        assert list(written(tmp_path)) == ["-request.http"]
        assert written(tmp_path)["-request.http"].endswith(BODY)
        return stream(b"data: 1\n\n", b"data: 2\n\n")

    reply = await dumper(tmp_path).watching(answer)(request())
    assert isinstance(reply, StreamReply)
    assert written(tmp_path)["-answer.http"] == b"HTTP/1.1 200\r\ncontent-type: text/event-stream\r\n\r\n"
    assert await anext(reply.chunks) == b"data: 1\n\n"
    assert written(tmp_path)["-answer.http"].endswith(b"\r\n\r\ndata: 1\n\n")
    assert [chunk async for chunk in reply.chunks] == [b"data: 2\n\n"]
    assert written(tmp_path)["-answer.http"].endswith(b"\r\n\r\ndata: 1\n\ndata: 2\n\n")


async def fails(reply: StreamReply) -> None:
    with pytest.raises(TamperedAnswerError):
        [chunk async for chunk in reply.chunks]


async def is_left(reply: StreamReply) -> None:
    await anext(reply.chunks)
    await reply.chunks.aclose()


async def is_never_begun(reply: StreamReply) -> None:
    await reply.chunks.aclose()


@pytest.mark.parametrize("end", [fails, is_left, is_never_begun])
async def test_a_stream_that_breaks_off_says_so(end: Callable[[StreamReply], Awaitable[None]], tmp_path: Path) -> None:
    reply = stream(b"data: 1\n\n", TamperedAnswerError("cut"))
    copied = await dumper(tmp_path).watching(answering(reply))(request())
    assert isinstance(copied, StreamReply)
    await end(copied)
    assert written(tmp_path)["-answer.http"].endswith(BROKEN_OFF)
    with pytest.raises(StopAsyncIteration):
        await anext(reply.chunks)  # it was closed, too


async def test_a_body_is_cut_where_it_is_too_long(tmp_path: Path) -> None:
    whole = b"a" * (MAX_BODY_BYTES + 1)
    reply = await dumper(tmp_path).watching(answering(Reply(200, [JSON], whole)))(request(whole))
    assert reply == Reply(200, [JSON], whole)
    for content in written(tmp_path).values():
        assert content.partition(b"\r\n\r\n")[2] == whole[:-1] + CUT


async def test_a_body_that_just_fits_and_a_stream_that_goes_on_are_not_marked_twice(tmp_path: Path) -> None:
    fits = b"a" * MAX_BODY_BYTES
    copied = await dumper(tmp_path).watching(answering(stream(fits, b"b", b"c")))(request(fits))
    assert isinstance(copied, StreamReply)
    assert len([chunk async for chunk in copied.chunks]) == 3
    files = written(tmp_path)
    assert files["-request.http"].endswith(b"a")
    assert files["-answer.http"].endswith(b"a" + CUT)


async def test_a_path_cannot_make_up_lines(tmp_path: Path) -> None:
    await dumper(tmp_path).watching(answering(Reply(200, [], b"")))(request(path="/unstructured/\r\nx: y"))
    first = written(tmp_path)["-request.http"].split(b"\r\n")[0]
    assert first == b"POST /unstructured/%0D%0Ax%3A%20y HTTP/1.1"


# What goes wrong


async def test_files_that_cannot_be_written_are_no_problem_of_the_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "requests"
    async with proxy(directory) as (url, _):
        await asyncio.to_thread(directory.rmdir)
        answers = {await ask(url) for _ in range(3)}
    assert all(b'"Hello"' in each for each in answers)
    said = [record for record in caplog.records if record.name == "privity.roles.proxy.dump"]
    assert [(each.levelname, vars(each)["error"]) for each in said] == [("WARNING", "No such file or directory")]
    assert "a secret" not in caplog.text


async def test_a_disk_that_is_full_is_no_problem_of_the_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = dumper(tmp_path).watching(answering(stream(b"a" * 60_000, b"b" * 60_000, b"c")))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        copied = await watched(request())
        assert isinstance(copied, StreamReply)
        assert len(b"".join([chunk async for chunk in copied.chunks])) == 120_001
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(written(tmp_path)["-answer.http"]) == 100_000
    assert [vars(each)["error"] for each in caplog.records] == ["File too large"]


@pytest.mark.parametrize("kind", ["link", "file"])
async def test_what_is_in_the_way_is_neither_followed_nor_overwritten(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory, precious = tmp_path / "requests", tmp_path / "precious"
    watched = dumper(directory).watching(answering(Reply(200, [], b"answer")))
    for name in ("request", "answer"):
        path = directory / f"{NAME}-{name}.http"
        if kind == "link":
            path.symlink_to(precious)
        else:
            path.write_bytes(b"precious")
    assert (await watched(request())).status == 200
    assert not precious.exists()
    assert {path.read_bytes() for path in directory.iterdir() if not path.is_symlink()} <= {b"precious"}
    assert [vars(each)["error"] for each in caplog.records] == ["File exists"]


async def test_an_app_that_leaves_while_it_waits_leaves_a_request_without_answer(tmp_path: Path) -> None:
    async def forever(asked: Request) -> Reply:
        await asked.body(1 << 20)
        await asyncio.Event().wait()
        raise UnauthorizedError("never")

    async def asks() -> None:
        await dumper(tmp_path).watching(forever)(request())

    async with asyncio.TaskGroup() as group:
        task = group.create_task(asks())
        while "-request.http" not in written(tmp_path):  # noqa: ASYNC110  # files have no event
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    assert list(written(tmp_path)) == ["-request.http"]


@pytest.mark.parametrize("kind", ["a file", "a link", "under a file"])
def test_a_directory_that_cannot_be_had_is_told_at_the_start(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "requests"
    match kind:
        case "a file":
            path.touch()
        case "a link":
            (tmp_path / "elsewhere").mkdir()
            path.symlink_to("elsewhere")
        case _:
            path.touch()
            path = path / "requests"
    with pytest.raises(StartError, match=r"can't be written to .*/requests \(.*\)\. Choose another --workspace, or"):
        dumper(path)


def test_a_directory_of_before_is_kept_and_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    tmp_path.chmod(0o755)
    dumper(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
