"""`privity models` against a real Models API, and against servers that behave badly."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Self

import pytest

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.model import Evidence, Facts, Lifecycle, Model
from privity.cli.main import main
from privity.cli.models.api import ModelsApi
from privity.cli.models.feed import Feed, Rows, Update
from privity.cli.models.output import Lines, Screen, fitted
from privity.cli.models.watch import watch
from privity.errors import ModelNotFoundError, StartError, UnauthorizedError
from privity.http import Headers
from privity.testing.programs import PRIVITY, eventually, free_port
from privity.transport.models_api.routes import models_routes
from privity.transport.models_api.source import Published, Retrieved
from privity.transport.server import listening
from privity.transport.tasks import Background
from privity.transport.web import Request
from privity.transport.web_app import WebApp

CHAT = Model("org/chat", ("generate",), 1_700_000_000, "org", ("chat",), context_length=2048, verified=True)
EMBED = Model("org/embed", ("embed",), 2, "org", verified=False)
NOW = datetime.now(UTC)
DEADLINE = 20.0  # seconds, for what takes milliseconds


@dataclass
class Source:
    """Models that a test replaces."""

    published: Published = field(default_factory=lambda: Published(Catalogue((CHAT, EMBED), NOW)))
    refuses: bool = False

    def publish(self, *models: Model) -> None:
        self.published.publish(Catalogue(models, NOW, self.published.catalogue))

    async def view(self, _request: Request) -> View:
        if self.refuses:
            raise UnauthorizedError("no")
        return self.published.catalogue.view()

    async def retrieve(self, _request: Request, asked: str) -> Retrieved:
        for model in self.published.catalogue.models:
            if asked in model.ids:
                return Retrieved(model, {"replicas": 2, "age_seconds": 0.5})
        raise ModelNotFoundError(f"The model `{asked}` does not exist. Nearest: `org/chat`.")

    def change(self, _request: Request) -> asyncio.Event:
        return self.published.change

    def remarks(self, _request: Request) -> Headers:
        return [(b"privity-models-dropped", b"altered=1")]


@contextlib.asynccontextmanager
async def serving(source: Source, port: int = 0, without: str = "") -> AsyncIterator[str]:
    """Serve the Models API, without one of its routes."""
    routes = {path: methods for path, methods in models_routes(source).items() if path != without}
    async with Background() as background, listening(WebApp(routes, background), "127.0.0.1", port, "test") as url:
        yield url


@dataclass
class Recorder:
    """An output that remembers."""

    lists: list[Rows] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def live(self, update: Update, _before: Rows) -> None:
        self.updates.append(update)
        self.lists.append(update.rows)
        self.happened.set()

    def away(self, problem: str) -> None:
        self.problems.append(problem)
        self.happened.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self.happened.clear()
                await self.happened.wait()


async def no_pause() -> None:
    await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def watching(
    url: str, *, silence: float = DEADLINE, pause: Callable[[], Awaitable[None]] = no_pause
) -> AsyncIterator[tuple[Recorder, asyncio.Task[None]]]:
    recorder = Recorder()
    async with ModelsApi(url, None, "proxy") as api, asyncio.TaskGroup() as group:
        feed = Feed(api, {}, silence=silence, poll_seconds=0.01)
        task = group.create_task(caught(watch(api, feed, recorder, pause)))
        yield recorder, task
        task.cancel()


async def caught(work: Awaitable[None]) -> None:
    with contextlib.suppress(StartError):
        await work


async def test_the_feed_brings_the_list_and_then_its_changes() -> None:
    source = Source()
    async with serving(source) as url, watching(url) as (seen, _):
        await seen.until(lambda: bool(seen.lists))
        assert list(seen.lists[0]) == ["org/chat", "chat", "org/embed"]
        assert seen.updates[0].dropped == "altered=1"
        source.publish(EMBED)
        await seen.until(lambda: list(seen.lists[-1]) == ["org/embed"])
        source.publish(EMBED, CHAT)
        await seen.until(lambda: len(seen.lists[-1]) == 3)
        assert list(seen.lists[-1]) == ["org/chat", "chat", "org/embed"]  # it came back to its place


@pytest.mark.parametrize("models", [(CHAT, EMBED), (EMBED,)], ids=["the same", "others"])
async def test_a_proxy_that_went_away_is_waited_for(models: tuple[Model, ...]) -> None:
    source, port = Source(), free_port()
    async with contextlib.AsyncExitStack() as first:
        url = await first.enter_async_context(serving(source, port))
        async with watching(url) as (seen, _):
            await seen.until(lambda: bool(seen.lists))
            await first.aclose()
            await seen.until(lambda: bool(seen.problems))
            known = len(seen.updates)
            source.publish(*models)
            async with serving(source, port):
                wanted = {each for model in models for each in model.ids}
                await seen.until(lambda: len(seen.updates) > known and {*seen.lists[-1]} == wanted)
                is_new = any(update.listed for update in seen.updates[known:])
                assert is_new == (models != (CHAT, EMBED))  # the last ID was sent back


async def test_without_a_feed_the_list_is_asked_for_again_and_again() -> None:
    source = Source()
    async with serving(source, without="/v1/models/events") as url, watching(url) as (seen, _):
        await seen.until(lambda: bool(seen.lists))
        source.publish(EMBED)
        await seen.until(lambda: list(seen.lists[-1]) == ["org/embed"])
        assert [update.listed for update in seen.updates[:2]] == [True, False]
        assert any(update.change and update.change.removed == ["org/chat", "chat"] for update in seen.updates)


async def test_a_key_that_is_not_accepted_any_more_ends_it() -> None:
    source = Source()
    async with serving(source) as url, watching(url) as (seen, task):
        await seen.until(lambda: bool(seen.lists))
        source.refuses = True
        source.publish(EMBED)
        await asyncio.wait_for(task, DEADLINE)


@contextlib.asynccontextmanager
async def talking(*answers: bytes) -> AsyncIterator[str]:
    """Answer each connection with the next bytes and close it; after the last, stay silent."""
    left, open_ones = list(answers), []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            if left:
                writer.write(left.pop(0))
                await writer.drain()
        open_ones.append(writer)
        if left:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in open_ones:
            writer.close()


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
LIST = STREAM + b'id: 1\nevent: list\ndata: {"data": [{"id": "a"}]}\n\n'


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage",
        b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 404 No\r\ncontent-length: 5\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        STREAM,
        STREAM + b"data",
        STREAM + b"event: list\ndata: {}\n\n",
        STREAM + b"event: list\ndata: \xff\n\n",
        STREAM + b'event: list\ndata: {"data": [{"id": 5}]}\n\n',
        STREAM + b'event: change\ndata: {"removed": 5}\n\n',
        STREAM + b"event: change\ndata: " + b"[" * 50_000 + b"\n\n",
    ],
)
async def test_what_a_server_sends_is_survived(answer: bytes) -> None:
    async with talking(LIST, answer, answer, LIST) as url, watching(url) as (seen, task):
        await seen.until(lambda: len(seen.lists) == 2)
        assert len(seen.problems) >= 2
        assert not task.done()


@pytest.mark.parametrize("answer", [b"garbage", STREAM, STREAM + b"event: list\ndata: {}\n\n"])
async def test_at_the_beginning_what_is_of_no_use_ends_it(answer: bytes) -> None:
    async with talking(answer, b"") as url, ModelsApi(url, None, "proxy") as api:
        with pytest.raises(StartError):
            await asyncio.wait_for(watch(api, Feed(api, {}), Recorder(), no_pause), DEADLINE)


async def test_an_event_without_an_end_is_not_waited_for() -> None:
    endless = STREAM + b"data: " + b"x" * (33 * 1024 * 1024)
    async with talking(LIST, endless, LIST) as url, watching(url) as (seen, _):
        await seen.until(lambda: len(seen.lists) == 2)


async def test_more_rows_than_any_list_has_are_none() -> None:
    rows = json.dumps({"added": [{"id": str(number)} for number in range(10_001)]}).encode()
    flood = STREAM + b"event: change\ndata: " + rows + b"\n\n"
    async with talking(LIST, flood, LIST) as url, watching(url) as (seen, _):
        await seen.until(lambda: len(seen.lists) == 2)
        assert max(map(len, seen.lists)) == 1


async def test_a_feed_that_falls_silent_is_left() -> None:
    async with talking(LIST) as url, watching(url, silence=0.05) as (seen, _):
        await seen.until(lambda: bool(seen.problems))


def test_lines_say_what_changed_and_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    before: Rows = {"a": {"id": "a", "tasks": ["embed"]}, "b": {"id": "b"}, "c": {"id": "c"}}
    now: Rows = {"a": {"id": "a", "tasks": []}, "b": {"id": "b", "created": 1}, "d\x1b[2J": {"id": "d\x1b[2J"}}
    lines.live(Update(now), before)
    lines.away("Gone\x1b.")
    lines.away("Gone again.")
    lines.live(Update(now), now)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "~ a  tasks: embed → -",
        "~ b  in what the table doesn't show",
        "+ d?[2J  -",
        "- c",
    ]
    assert err.splitlines() == ["privity: Gone?. Trying again …", "privity: Live again."]


def test_a_screen_says_since_when_it_is_live_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter(range(60))
    screen = Screen([], clock=lambda: datetime(2026, 11, 23, 10, 0, next(seconds), tzinfo=UTC))
    rows: Rows = {"a\x1b": {"id": "a\x1b"}}

    def last() -> str:
        return capsys.readouterr().out.splitlines()[-1]

    screen.redraw()
    assert capsys.readouterr().out == ""
    screen.live(Update(rows), {})
    assert last() == "live since 10:00:00 · no change yet · Ctrl-C ends"
    screen.live(Update({}), rows)
    assert last() == "live since 10:00:00 · last change 10:00:01 · Ctrl-C ends"
    screen.away("Gone\x1b.")
    assert last().startswith("not live since 10:00:02: Gone?. Trying again · last change")
    screen.live(Update({}), {})
    assert last() == "live since 10:00:03 · last change 10:00:01 · Ctrl-C ends"


@pytest.mark.parametrize(
    ("columns", "height", "shown"),
    [
        (20, 9, ["HEAD", "one", "two", "three", "", "note", "last"]),
        (20, 6, ["HEAD", "one", "two", "three", "last"]),
        (20, 4, ["HEAD", "one", "… 2 more", "last"]),
        (20, 2, ["… 4 more", "last"]),
        (20, 1, ["last"]),
        (3, 9, ["HE…", "one", "two", "th…", "", "no…", "la…"]),
    ],
)
def test_a_window_shows_what_it_has_room_for(columns: int, height: int, shown: list[str]) -> None:
    assert fitted(["HEAD", "one", "two", "three"], ["note"], "last", columns, height) == shown


class Served:
    """A Models API in a thread of its own, for programs and for `main`."""

    def __init__(self) -> None:
        self.source = Source()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    async def _serve(self) -> None:
        async with serving(self.source) as self.url:
            self._ready.set()
            await self._stop.wait()

    def publish(self, *models: Model) -> None:
        self._loop.call_soon_threadsafe(self.source.publish, *models)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as running:
        yield running


def test_a_filter_and_a_footnote(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--base-url", served.url, "--task", "embed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["org/embed", "-", "embed", "-", "not", "verified"]
    assert lines[3].startswith("The proxy left out 1 model or names")


def test_show_says_all_that_is_known_and_who_says_so(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    full = replace(
        CHAT,
        tasks=("generate", "tool_calling", "vision"),
        evidence=(Evidence("generate", "probed", 1795428060), Evidence("tool_calling", "engine")),
        floating_aliases=("chat-latest",),
        unsigned_ids=frozenset({"chat-latest"}),
        facts=Facts(size=1_234_567, licence="MIT"),
        max_output_tokens=512,
        lifecycle=Lifecycle(NOW - timedelta(days=1), datetime(2027, 3, 1, tzinfo=UTC), "org/new"),
    )
    served.publish(replace(full, evidence=(*full.evidence, Evidence("vision", "declared"))))
    assert main(["models", "show", "chat-latest", "--base-url", served.url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ID                org/chat",
        "aliases           chat",
        "floating aliases  chat-latest",
        "owner             org",
        "created           2023-11-14",
        "tasks             generate      probed 2026-11-23 10:01 UTC",
        "                  tool_calling  read from the engine",
        "                  vision        declared by the operator",
        "context           2048 tokens",
        "max output        512 tokens",
        "status            available, 2 replicas, heard of 0.5 s ago",
        f"lifecycle         deprecated since {NOW - timedelta(days=1):%Y-%m-%d}, retires 2027-03-01 → org/new",
        "verified          yes, but nobody of the deployment says that chat-latest means it",
        "size              1 234 567 bytes",
        "licence           MIT",
    ]


def test_show_as_json_is_the_apis_answer(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "org/chat", "--json", "--base-url", served.url]) == 0
    assert json.loads(capsys.readouterr().out)["health"] == {"replicas": 2, "age_seconds": 0.5}


def test_an_unknown_id_is_told_the_nearest(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "org/chad", "--base-url", served.url]) == 1
    assert "Nearest: `org/chat`." in capsys.readouterr().err


@contextlib.contextmanager
def in_a_terminal(columns: int, height: int, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run a program in a terminal of its own; yield it and the terminal's other end."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", height, columns, 0, 0))
    command = ["setsid", "--ctty", str(PRIVITY), *arguments]
    program = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"})
    os.close(its)
    try:
        yield program, ours
    finally:
        program.kill()
        program.wait()
        os.close(ours)


def read_until(terminal: int, text: str, seen: bytes = b"") -> bytes:
    """Read what a program draws until it has drawn a text."""
    while text.encode() not in seen:
        seen += os.read(terminal, 65536)
    return seen


def frames(drawn: bytes) -> list[list[str]]:
    return [each.split("\r\n") for each in drawn.decode().split("\033[H\033[J")]


def test_a_terminal_is_redrawn_until_ctrl_c(served: Served) -> None:
    with in_a_terminal(100, 20, "models", "--watch", "--base-url", served.url) as (program, terminal):
        first = frames(read_until(terminal, "Ctrl-C ends"))[-1]
        assert first[0].startswith("\033[1mID ")
        assert [line.split()[0] for line in first[1:3]] == ["org/chat", "org/embed"]
        assert first[-1].startswith("live since ")
        assert "· no change yet ·" in first[-1]
        served.publish(EMBED)
        second = frames(read_until(terminal, "last change"))[-1]
        assert "org/chat" not in "".join(second)
        os.write(terminal, b"\x03")
        rest = read_until(terminal, "^C\r\n")
        assert program.wait(DEADLINE) == 0
        assert b"Traceback" not in rest


def test_a_small_window_is_not_overrun_and_a_larger_one_is_used(served: Served) -> None:
    served.publish(*(replace(EMBED, id=f"org/{number}\x1b[31m") for number in range(50)))
    with in_a_terminal(30, 5, "models", "--watch", "--base-url", served.url) as (program, terminal):
        drawn = frames(read_until(terminal, "live since"))[-1]
        assert len(drawn) <= 5
        assert "… 48 more" in drawn[-2]
        assert all(len(line.removeprefix("\033[1m").removesuffix("\033[0m")) <= 30 for line in drawn)
        assert all("\x1b" not in line for line in drawn[1:])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 100, 0, 0))
        read_until(terminal, "org/49?[31m")
        program.send_signal(signal.SIGTERM)
        assert program.wait(DEADLINE) == 0


@pytest.mark.parametrize("is_json", [False, True])
def test_elsewhere_each_change_is_a_line(served: Served, *, is_json: bool) -> None:
    options = ["models", "--watch", "--base-url", served.url, *["--json"][: int(is_json)]]
    with subprocess.Popen([PRIVITY, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        lines = [program.stdout.readline()]
        lines += [] if is_json else [program.stdout.readline()]
        served.publish(EMBED)
        lines.append(program.stdout.readline())
        program.send_signal(signal.SIGINT)
        eventually(lambda: program.poll() is not None, "it ends")
        assert (program.returncode, program.stderr.read(), program.stdout.read()) == (0, "", "")
    if is_json:
        listed, change = map(json.loads, lines)
        assert (listed["event"], [row["id"] for row in listed["data"]]) == ("list", ["org/chat", "chat", "org/embed"])
        assert change == {"event": "change", "added": [], "changed": [], "removed": ["org/chat", "chat"]}
    else:
        assert lines == ["+ org/chat  generate\n", "+ org/embed  embed\n", "- org/chat\n"]
