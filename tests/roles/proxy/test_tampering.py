"""A gateway that tampers is detected, defect by defect, and `privity.testing` has the defects.

Where the deployment authenticates the end, every one of them is. Where it doesn't, as those deployed today, what the
wire protocol can't detect is listed here (docs/adr/0008-authenticated-end.md), and all else is detected as well.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.projections import full_list
from privity.errors import ApiError, ModelNotFoundError
from privity.http import header
from privity.protocol.endpoints import endpoint_of
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.routed_model import MEANS, decode_id
from privity.roles.inference_proxy.signing import LIFETIME
from privity.roles.proxy.config import UnsignedModels
from privity.testing.adversary import WHOLE, Defect, Passing, Seen
from privity.testing.adversary_models import CHAT, LISTS, MODELS, exceeds
from privity.testing.adversary_streams import stream_defects
from privity.testing.fake_deployment import CHAT_ANSWER, NOW, FakeDeployment
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest
from privity.testing.proxy_rig import Answered, Rig
from privity.testing.tampering_gateway import REQUESTS, RequestDefect, TamperingGateway

pytestmark = pytest.mark.timeout(60)

USAGE = {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 17, "model": "m"}
CHUNKS = [
    *({**CHUNK, "choices": [{"index": 0, "delta": {"content": text}}], "usage": USAGE} for text in ("Hel", "lo", "!")),
    {**CHUNK, "choices": [], "usage": USAGE},
]
MESSAGE = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "usage": {"input_tokens": 1},
}
MESSAGE_EVENTS = [
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
RESPONSE = {"id": "r1", "object": "response", "model": "m", "output": [], "usage": USAGE}
RESPONSE_EVENTS = [
    {"type": "response.created", "response": RESPONSE, "usage": USAGE, "sequence_number": 0},
    *({"type": "response.output_text.delta", "delta": text, "sequence_number": n} for n, text in ((1, "a"), (2, "b"))),
    {"type": "response.completed", "response": RESPONSE, "usage": USAGE, "sequence_number": 3},
]
EMBEDDING = {"object": "list", "data": [{"index": 0, "embedding": [0.25]}], "model": "m", "usage": USAGE}
TRANSCRIPT = {"text": "Hello", "language": "en", "duration": 1.5, "usage": {"type": "duration", "seconds": 2}}
ELEMENTS = [{"type": "Title", "text": "A"}, {"type": "Text", "text": "B"}, {"type": "Text", "text": "C"}]
FORM = ((b"content-type", b"multipart/form-data; boundary=x"),)


def form(**fields: str) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n'
    return ("".join(parts) + file).encode()


def chat(**members: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.7, "max_tokens": 5, "n": 1}
    return json.dumps(body | members).encode()


class Case(NamedTuple):
    path: str
    body: bytes
    answer: Any
    headers: tuple[tuple[bytes, bytes], ...] = ()
    streams: bool = False
    status: int = 200


STREAM = {"stream": True, "stream_options": {"include_usage": True}}
PROMPT = json.dumps({"model": "m", "prompt": "hi", "temperature": 0, "max_tokens": 5, "n": 1})
WHOLES = {
    "chat": Case("/v1/chat/completions", chat(), CHAT_ANSWER),
    "completions": Case("/v1/completions", PROMPT.encode(), CHAT_ANSWER | {"choices": [{"text": "Hello"}]}),
    "embeddings": Case("/v1/embeddings", b'{"model": "m", "input": ["a"], "dimensions": 2}', EMBEDDING),
    "messages": Case("/v1/messages", chat(), MESSAGE | {"content": [{"type": "text", "text": "Hello"}]}),
    "responses": Case("/v1/responses", b'{"model": "m", "input": "hi", "store": false}', RESPONSE),
    "transcriptions": Case("/v1/audio/transcriptions", form(model="m", chunking_strategy="auto"), TRANSCRIPT, FORM),
    "unstructured": Case("/unstructured/general/v0/general", form(strategy="fast"), ELEMENTS, FORM),
    "error": Case(
        "/v1/chat/completions", chat(), {"error": {"message": "no", "type": "server_error", "code": "x"}}, status=500
    ),
}
STREAMS = {
    "chat": Case("/v1/chat/completions", chat(**STREAM), CHUNKS, streams=True),
    "completions": Case(
        "/v1/completions", PROMPT.replace("{", json.dumps(STREAM)[:-1] + ",", 1).encode(), CHUNKS, streams=True
    ),
    "messages": Case("/v1/messages", chat(stream=True), MESSAGE_EVENTS, streams=True),
    "responses": Case("/v1/responses", b'{"model": "m", "input": "hi", "stream": true}', RESPONSE_EVENTS, streams=True),
    "transcriptions": Case("/v1/audio/transcriptions", form(model="m", stream="true"), CHUNKS, FORM, streams=True),
}


UNDETECTABLE = {
    # whole answers
    *("drop the last value", "rename the last value", "mix two answers to one request"),
    *("alter the id", "alter the usage", "drop the usage", "make an object of it"),
    # streams
    *("insert a last event", "rename a value"),
    *(f"forge the last event after event {k}" for k in range(10)),
    *(f"drop all between event {k} and the end" for k in range(10)),
    *(f"take from another answer event {k}" for k in range(10)),
}
"""What goes unnoticed where nothing authenticates the end: the wire protocol authenticates each value at its place, and
neither that it is the last one, nor its name, nor what is plain, nor that one answer is one."""

UNDETECTABLE_IN_REQUESTS = {
    *("drop the last value", "rename the last value", "send it to another endpoint"),
    *("alter the model", "alter max_tokens", "alter n", "let it mean another model"),
}
"""Of these, alterations of what is plain, of which one endpoint has more than another."""


class Attack:
    """A proxy behind a gateway that tampers."""

    def __init__(self, make_rig: Callable[..., Rig], case: Case, *, authenticates_end: bool) -> None:
        self._case = case
        self._deployment = FakeDeployment(case.answer, authenticates_end=authenticates_end)
        self._deployment.status = case.status
        self._gateway = TamperingGateway(self._deployed)
        self._rig = make_rig(self._deployment, http=FakeHttpClient(self._gateway.server))
        self._changed = False

    def _deployed(self, request: SentRequest) -> FakeResponse:
        streams = re.search(rb'"stream" *: *true|"stream"\r\n\r\ntrue', request.body) is not None
        self._deployment.answer = self._case.answer if streams == self._case.streams else CHAT_ANSWER
        return self._deployment.server(request)

    async def begin(self) -> Answered:
        """Give the gateway answers to collect, and return the one that nobody tampers with."""
        await self._rig.ask(self._case.path, self._case.body.replace(b"hi", b"ho"), *self._case.headers)
        return await self._ask()

    async def _ask(self) -> Answered:
        return await self._rig.ask(self._case.path, self._case.body, *self._case.headers)

    async def undetected(self, defects: dict[str, Defect]) -> tuple[set[str], set[str]]:
        """Return the names of the defects that go unnoticed, and of those that were tried: not all fit each answer."""
        found = {}
        for name, defect in defects.items():
            self._gateway.defect = partial(self._tamper, defect)
            found[name] = await self._outcome()
        return _sorted_out(found)

    async def undetected_in_requests(self) -> tuple[set[str], set[str]]:
        found = {}
        for name, defect in REQUESTS.items():
            self._gateway.request_defect = partial(self._tamper_request, defect)
            found[name] = await self._outcome()
        return _sorted_out(found)

    def _tamper(self, defect: Defect, seen: Seen) -> Passing:
        tampered = defect(seen)
        self._changed = tampered != seen.answer
        return tampered

    def _tamper_request(self, defect: RequestDefect, request: SentRequest, before: SentRequest) -> SentRequest:
        tampered = defect(request, before)
        self._changed = tampered != request
        return tampered

    async def _outcome(self) -> bool | None:
        """Return whether the app got an explicit error; None where the defect changed nothing."""
        try:
            answered = await self._ask()
        except ApiError as error:
            assert error.status in {502, 503}  # never a defect of ours  # noqa: PT017
            return True
        return is_explicit_error(answered) if self._changed else None


def _sorted_out(found: dict[str, bool | None]) -> tuple[set[str], set[str]]:
    return {name for name, detected in found.items() if detected is False}, {
        name for name, detected in found.items() if detected is not None
    }


def is_explicit_error(answered: Answered) -> bool:
    """Return whether no client can take an answer for a complete success."""
    if answered.status >= 400:
        return True
    if header(answered.headers, b"content-type") != b"text/event-stream":
        return False
    events = [event for event in EventStreamParser().feed(answered.body) if event.data is not None]
    if not events or events[-1].type != b"error":
        return False
    errors = [place for place, event in enumerate(events) if event.type == b"error"]
    value = json.loads(events[-1].data or b"null")
    return errors == [len(events) - 1] and bool(value["error"]["message"])


MODES = pytest.mark.parametrize("authenticates_end", [True, False], ids=["authenticated end", "as deployed"])


@MODES
@pytest.mark.parametrize("name", [*WHOLES, *(f"{name}, streamed" for name in STREAMS)])
async def test_an_answer_that_nobody_tampers_with_is_the_deployments(
    make_rig: Callable[..., Rig], name: str, *, authenticates_end: bool
) -> None:
    case = (WHOLES | {f"{each}, streamed": stream for each, stream in STREAMS.items()})[name]
    answered = await Attack(make_rig, case, authenticates_end=authenticates_end).begin()
    assert answered.status == case.status
    if case.streams:
        data = [event.data for event in EventStreamParser().feed(answered.body) if event.data not in {None, b"[DONE]"}]
        assert [json.loads(each or b"") for each in data] == case.answer
        assert not is_explicit_error(answered)
    else:
        assert json.loads(answered.body) == case.answer


@MODES
@pytest.mark.parametrize("name", WHOLES)
async def test_a_tampered_answer_is_an_error(
    make_rig: Callable[..., Rig], name: str, *, authenticates_end: bool
) -> None:
    attack = Attack(make_rig, WHOLES[name], authenticates_end=authenticates_end)
    await attack.begin()
    undetected, tried = await attack.undetected(WHOLE)
    assert undetected == (set() if authenticates_end or name == "error" else tried & UNDETECTABLE)
    assert len(tried) >= 34


@MODES
@pytest.mark.parametrize("name", STREAMS)
async def test_a_tampered_stream_ends_with_an_error(
    make_rig: Callable[..., Rig], name: str, *, authenticates_end: bool
) -> None:
    attack = Attack(make_rig, STREAMS[name], authenticates_end=authenticates_end)
    await attack.begin()
    count = len(STREAMS[name].answer) - (1 if name == "messages" else 0)
    undetected, tried = await attack.undetected(stream_defects(count))
    as_deployed = tried & (UNDETECTABLE | {f"drop event {count - 1}"})  # it holds the last values
    if name == "responses":
        as_deployed -= {"rename a value"}  # which is an event's type here
    assert undetected == (set() if authenticates_end else as_deployed)
    assert len(tried) >= 55


@MODES
@pytest.mark.parametrize("name", [name for name in WHOLES if name != "error"])
async def test_a_tampered_request_is_answered_with_an_error(
    make_rig: Callable[..., Rig], name: str, *, authenticates_end: bool
) -> None:
    attack = Attack(make_rig, WHOLES[name], authenticates_end=authenticates_end)
    await attack.begin()
    undetected, tried = await attack.undetected_in_requests()
    endpoint = endpoint_of(WHOLES[name].path)
    assert endpoint is not None
    encrypted = {f"alter {each}" for each in ("max_tokens", "n") if each not in endpoint.plain_request}
    assert undetected == (set() if authenticates_end else (tried & UNDETECTABLE_IN_REQUESTS) - encrypted)
    assert "send an old one instead" in tried


@MODES
@pytest.mark.parametrize("name", STREAMS)
async def test_a_request_for_a_stream_that_was_made_one_for_an_answer_is_answered_with_an_error(
    make_rig: Callable[..., Rig], name: str, *, authenticates_end: bool
) -> None:
    attack = Attack(make_rig, STREAMS[name], authenticates_end=authenticates_end)
    await attack.begin()
    undetected, tried = await attack.undetected_in_requests()
    assert "alter stream" in tried - undetected


async def test_each_defect_fits_some_answer(make_rig: Callable[..., Rig]) -> None:
    untried = set(WHOLE)
    for case in WHOLES.values():
        attack = Attack(make_rig, case, authenticates_end=True)
        await attack.begin()
        untried -= (await attack.undetected(WHOLE))[1]
    assert untried == set()
    untried = set(stream_defects(4))
    for case in STREAMS.values():
        attack = Attack(make_rig, case, authenticates_end=True)
        await attack.begin()
        untried -= (await attack.undetected(stream_defects(4)))[1]
    assert untried == set()


# Lists: models-api.md item 13


class Listing:
    """A proxy behind a gateway that tampers with what its deployment serves."""

    def __init__(self, make_rig: Callable[..., Rig], user: UnsignedModels | None) -> None:
        self.deployment = FakeDeployment()
        self.deployment.models = MODELS
        self.gateway = TamperingGateway(self.deployment.server)
        self.rig = make_rig(self.deployment, http=FakeHttpClient(self.gateway.server), unsigned_models=user)

    async def rows(self) -> dict[str, Any]:
        self.rig.time.move(1)
        return await self.rig.rows()


HIDDEN = {"hide a model", "hide an alias", "hide a task", "lower the context", "reverse the order", "repeat a model"}
HONEST = [(model.id, each) for model in MODELS for each in model.ids]


@pytest.mark.parametrize("user", [None, "allow", "mark", "drop"])
@pytest.mark.parametrize("name", LISTS)
async def test_what_is_verified_of_a_tampered_list_is_what_was_signed(
    make_rig: Callable[..., Rig], user: UnsignedModels | None, name: str
) -> None:
    listing = Listing(make_rig, user)
    honest = await listing.rows()
    assert [(row.get("canonical", each), each) for each, row in honest.items()] == HONEST
    listing.gateway.list_defect = LISTS[name]
    rows = await listing.rows()
    by_id = {each: model for model in MODELS for each in model.ids}
    for each, row in rows.items():
        if row.get("verified"):
            names = ("aliases", "floating_aliases")
            verified = {name: [alias for alias in row.get(name, ()) if rows[alias].get("verified")] for name in names}
            assert exceeds(row | verified, by_id[each]) == []
        else:
            assert user in ("allow", "mark")
            assert row.get("verified", None if user == "allow" else False) in (False, None)
    if name in HIDDEN:
        assert all(row["verified"] for row in rows.values())
        assert set(rows) <= set(honest)


@pytest.mark.parametrize("user", [None, "drop"])
async def test_a_list_of_before_is_none_once_its_statements_are_over(
    make_rig: Callable[..., Rig], user: UnsignedModels | None
) -> None:
    listing = Listing(make_rig, user)
    before = json.loads(full_list(Catalogue(listing.deployment.listed(), NOW).view()).body())
    listing.gateway.list_defect = lambda listed: listed.update(before)
    assert list(await listing.rows()) == [each for _, each in HONEST]
    listing.rig.time.move(LIFETIME.total_seconds())
    assert await listing.rows() == {}
    for each in CHAT.ids:
        with pytest.raises(ModelNotFoundError):
            await listing.rig.chat(model=each)


@pytest.mark.parametrize("user", [None, "allow", "mark", "drop"])
async def test_a_listed_name_is_never_sent_so_that_another_model_may_answer(
    make_rig: Callable[..., Rig], user: UnsignedModels | None
) -> None:
    """Whatever the gateway did to the list before."""
    for defect in LISTS.values():
        listing = Listing(make_rig, user)
        listing.gateway.list_defect = defect
        rows = await listing.rows()
        for each in rows:
            answered = await listing.rig.chat(model=each)
            assert answered.status == 200
            means = header(listing.deployment.asked[-1].request.headers, MEANS)
            assert means is not None
            assert decode_id(means) == rows[each].get("canonical", each)
