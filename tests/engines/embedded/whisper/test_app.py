import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from privity.engines.embedded.whisper.app import MAX_FORM, MAX_UNDER_WAY, SpeechApp
from privity.engines.embedded.whisper.task import TRANSCRIPTIONS, TRANSLATIONS
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.multipart import Part, content_type, encode_form
from privity.testing.fake_speech_model import FakeSpeechModel

ROW = {"id": "m"}
STREAM = Part("stream", b"true")


def form(*fields: Part, file: bytes = b"RIFF") -> bytes:
    return encode_form([*fields, Part("file", file, is_file=True)], b"x")


class Client:
    """One request. What it is answered is in `messages`; it reads no faster than `reads` says."""

    def __init__(self, app: SpeechApp, body: bytes = b"", path: str = TRANSCRIPTIONS, method: str = "POST") -> None:
        self._app = app
        self._body: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body}]
        self._scope = {"method": method, "path": path, "headers": [(b"content-type", content_type(b"x"))]}
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.messages: list[MutableMapping[str, Any]] = []

    async def ask(self) -> "Client":
        await self._app(self._scope, self._receive, self._send)
        return self

    async def _receive(self) -> MutableMapping[str, Any]:
        if self._body:
            return self._body.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self.reads.wait()
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])


@asynccontextmanager
async def asking(*clients: Client) -> AsyncIterator[list[asyncio.Task[Client]]]:
    async with asyncio.TaskGroup() as group:
        yield [group.create_task(client.ask()) for client in clients]


async def until(event: Any) -> None:
    """Wait for what a thread sets."""
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 30)


async def test_a_recording_is_answered() -> None:
    app = SpeechApp(FakeSpeechModel(("good", "morning"), ("you",)), ROW)
    client = await Client(app, form()).ask()
    assert (client.status, json.loads(client.body)["text"]) == (200, "good morning you")


async def test_a_stream_tells_each_segment_and_comes_to_its_end() -> None:
    app = SpeechApp(FakeSpeechModel(("good", "morning"), ("you",)), ROW)
    client = await Client(app, form(STREAM)).ask()
    *events, end = EventStreamParser().feed(client.body)
    assert end.data == b"[DONE]"
    values = [json.loads(event.data or b"") for event in events]
    assert [value["delta"] for value in values[:-1]] == ["good", " morning", " you"]
    assert values[-1]["text"] == "good morning you"
    assert not client.messages[-1].get("more_body")


async def test_the_model_is_listed() -> None:
    client = await Client(SpeechApp(FakeSpeechModel(), ROW), path="/v1/models", method="GET").ask()
    assert json.loads(client.body) == {"object": "list", "data": [ROW]}


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (form(file=b""), TRANSCRIPTIONS, 400),
        (form(STREAM, file=b""), TRANSCRIPTIONS, 400),
        (form(Part("language", b"fr")), TRANSLATIONS, 400),
        (b"", TRANSCRIPTIONS, 400),
        (form()[:-9], TRANSCRIPTIONS, 400),
        (bytes(MAX_FORM + 1), TRANSCRIPTIONS, 413),
        (form(), "/v1/chat/completions", 404),
    ],
)
async def test_what_can_not_be_carried_out_is_refused(body: bytes, path: str, status: int) -> None:
    client = await Client(SpeechApp(FakeSpeechModel(("a",)), ROW), body, path).ask()
    assert client.status == status
    assert json.loads(client.body)["error"]["message"]


async def test_translations_are_asked_for_as_such() -> None:
    model = FakeSpeechModel(("a",))
    await Client(SpeechApp(model, ROW), form(), TRANSLATIONS).ask()
    assert [task.translates for task in model.tasks] == [True]


async def test_one_is_heard_after_the_other_and_too_many_are_sent_away() -> None:
    model = FakeSpeechModel(("a", "b"))
    model.go_on.clear()
    app = SpeechApp(model, ROW)
    clients = [Client(app, form()) for _ in range(MAX_UNDER_WAY)]
    async with asking(*clients):
        await until(model.begun)
        late = await Client(app, form()).ask()
        assert late.status == 503
        assert len(model.tasks) == 1
        model.go_on.set()
    assert {client.status for client in clients} == {200}
    assert (await Client(app, form()).ask()).status == 200


@pytest.mark.parametrize("fields", [[], [STREAM]])
async def test_a_client_that_leaves_ends_the_work_for_it(fields: list[Part]) -> None:
    model = FakeSpeechModel(("a",) * 50, ("b",) * 50)
    model.go_on.clear()
    app = SpeechApp(model, ROW)
    leaving = Client(app, form(*fields))
    async with asking(leaving):
        await until(model.begun)
        leaving.left.set()
    assert leaving.body == b""
    model.go_on.set()
    model.parts = (("next",),)
    assert json.loads((await Client(app, form()).ask()).body)["text"] == "next"
    assert model.heard <= 2


async def test_a_client_that_leaves_before_its_turn_is_never_heard() -> None:
    model = FakeSpeechModel(("a",))
    model.go_on.clear()
    app = SpeechApp(model, ROW)
    first, second = Client(app, form()), Client(app, form())
    async with asking(first, second) as tasks:
        await until(model.begun)
        second.left.set()
        await tasks[1]
        model.go_on.set()
    assert (first.status, len(model.tasks)) == (200, 1)


async def test_a_client_that_reads_nothing_holds_up_nobody() -> None:
    app = SpeechApp(FakeSpeechModel(("a",) * 100), ROW)
    stalled = [Client(app, form(STREAM)) for _ in range(MAX_UNDER_WAY)]
    for client in stalled:
        client.reads.clear()
    async with asking(*stalled) as tasks:
        await asyncio.sleep(0)  # they come first
        statuses = [503]
        while statuses[-1] == 503:  # until they have been heard
            await asyncio.sleep(0)
            statuses.append((await Client(app, form()).ask()).status)
        assert statuses[-1] == 200
        assert not any(task.done() for task in tasks)
        for client in stalled:
            client.reads.set()
    assert {client.body.count(b"data: ") for client in stalled} == {102}
