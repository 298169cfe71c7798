import asyncio
import io
import logging
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from privity.catalogue.model import TASKS, Evidence
from privity.engines.connection import EngineConnection
from privity.engines.engine import Answer, Body, EngineModel, evidence_for
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.engines.pictures import Picture, measured
from privity.engines.probes import CALLS, SAMPLE_RATE, SQUARE_SIDE, silence, white_square
from privity.engines.probing import ProbedEngine
from privity.errors import EngineFailedError, UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response

CHAT, EMBEDDINGS, SPEECH = "/v1/chat/completions", "/v1/embeddings", "/v1/audio/transcriptions"
ONE_OF_EACH = [CHAT, CHAT, CHAT, CHAT, EMBEDDINGS, SPEECH]
CALL = {"function": {"name": "report", "arguments": '{"ok": true}'}}


def says(**message: Any) -> Any:
    return {"choices": [{"message": {"role": "assistant", "content": "x", **message}, "finish_reason": "length"}]}


def purpose(request: SentRequest) -> str:
    """Return the task that a request tries."""
    if request.url.endswith(EMBEDDINGS):
        return "embed"
    if request.url.endswith(SPEECH):
        return "transcribe"
    body = request.json()
    if "tools" in body:
        return "forced" if isinstance(body["tool_choice"], dict) else "auto"
    return "generate" if isinstance(body["messages"][0]["content"], str) else "vision"


class Untold:
    """An engine that tells nothing of itself; it can do everything, but for what stands in `instead`."""

    def __init__(self, *names: str, **instead: Any) -> None:
        self.names = list(names) or ["m"]
        self.can: dict[str, Any] = {
            "generate": says(),
            "auto": says(),
            "forced": says(content=None, tool_calls=[CALL]),
            "vision": says(),
            "embed": {"data": [{"embedding": [0.5]}]},
            "transcribe": {"text": ""},
        } | instead

    def __call__(self, request: SentRequest) -> FakeResponse:
        match urlsplit(request.url).path:
            case "/v1/models":
                return json_response({"data": [{"id": name} for name in self.names]})
            case "/openapi.json":
                return json_response({}, 404)
            case _:
                answer = self.can[purpose(request)]
                if isinstance(answer, UpstreamError):
                    raise answer
                return json_response({"error": {}}, answer) if isinstance(answer, int) else json_response(answer)


def probed(server: Untold, budget: int = 20, pause: float = 1000.0) -> tuple[ProbedEngine, FakeHttpClient]:
    http = FakeHttpClient(server)
    engine = OpenAICompatibleEngine(EngineConnection(http, "http://engine", 7.0))
    return ProbedEngine(engine, budget, pause=pause, now=lambda: 99.5), http


@asynccontextmanager
async def running(engine: ProbedEngine) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(engine.run())
        yield task
        task.cancel()


async def settle() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(200):
        await asyncio.sleep(0)


def probes(http: FakeHttpClient) -> list[SentRequest]:
    return [sent for sent in http.sent if sent.method == "POST"]


async def after_probing(engine: ProbedEngine) -> tuple[EngineModel, ...]:
    await engine.describe()
    async with running(engine):
        await settle()
    return await engine.describe()


async def test_what_nobody_tells_is_found_out() -> None:
    engine, http = probed(Untold())
    (before,) = await engine.describe()
    assert (before.tasks, before.untold) == ((), TASKS)
    assert probes(http) == []  # describing tries nothing
    (after,) = await after_probing(engine)
    assert (after.tasks, after.untold) == (TASKS, ())
    assert after.evidence == tuple(Evidence(task, "probed", 99) for task in TASKS)
    assert [urlsplit(sent.url).path for sent in probes(http)] == ONE_OF_EACH


async def test_findings_last_and_cost_once() -> None:
    engine, http = probed(Untold())
    first = await after_probing(engine)
    assert await after_probing(engine) == first
    assert len(probes(http)) == len(ONE_OF_EACH)


@pytest.mark.parametrize(
    ("instead", "missing"),
    [
        ({"generate": {"choices": []}}, {"generate", "tool_calling", "vision"}),
        ({"generate": {"choices": "x"}}, {"generate", "tool_calling", "vision"}),
        ({"auto": 400}, {"tool_calling"}),
        ({"forced": says()}, {"tool_calling"}),
        ({"forced": says(tool_calls=[])}, {"tool_calling"}),
        ({"forced": says(tool_calls=["report"])}, {"tool_calling"}),
        ({"forced": says(tool_calls=[{"function": {"name": "other", "arguments": "{}"}}])}, {"tool_calling"}),
        ({"forced": says(tool_calls=[{"function": {"name": "report", "arguments": "{"}}])}, {"tool_calling"}),
        ({"forced": says(tool_calls=[{"function": {"name": "report", "arguments": "[]"}}])}, {"tool_calling"}),
        ({"forced": says(tool_calls=[{"function": {"name": "report"}}])}, {"tool_calling"}),
        ({"forced": says(tool_calls=[{"function": None}])}, {"tool_calling"}),
        ({"vision": 400}, {"vision"}),
        ({"embed": {"data": []}}, {"embed"}),
        ({"embed": {"data": [{"embedding": []}]}}, {"embed"}),
        ({"embed": {"data": {"embedding": [1]}}}, {"embed"}),
        ({"transcribe": {"text": None}}, {"transcribe"}),
    ],
)
async def test_a_task_whose_answer_is_not_what_was_asked_for_is_none(
    instead: dict[str, Any], missing: set[str]
) -> None:
    (model,) = await after_probing(probed(Untold(**instead))[0])
    assert set(TASKS) - set(model.tasks) == missing


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422, 501])
async def test_a_refusal_is_an_answer_and_not_asked_again(status: int) -> None:
    engine, http = probed(Untold(embed=status), pause=0.0)
    (model,) = await after_probing(engine)
    assert (model.tasks, model.untold) == (tuple(task for task in TASKS if task != "embed"), ())
    assert len(probes(http)) == len(ONE_OF_EACH)


UNCLEAR: list[int | UpstreamError | dict[str, Any]] = [
    *(401, 403, 408, 425, 429, 500, 502, 503, 504),
    UpstreamTimeoutError("busy"),
    UpstreamUnreachableError("gone"),
    {"error": {"message": "no"}},
]


@pytest.mark.parametrize("failure", UNCLEAR, ids=str)
async def test_any_other_failure_says_nothing_and_is_tried_again(failure: Any) -> None:
    server = Untold(embed=failure)
    engine, http = probed(server, budget=len(ONE_OF_EACH) + 1, pause=0.0)
    await engine.describe()
    await engine.run()
    assert [purpose(sent) for sent in probes(http)].count("embed") == 2
    (model,) = await engine.describe()
    assert ("embed" in model.tasks, model.untold) == (False, ("embed",))


async def test_what_failed_may_succeed_later() -> None:
    server = Untold("m")
    failures = [500, 503]

    def recovering(request: SentRequest) -> FakeResponse:
        if request.url.endswith(EMBEDDINGS) and failures:
            return json_response({}, failures.pop())
        return server(request)

    http = FakeHttpClient(recovering)
    plain = OpenAICompatibleEngine(EngineConnection(http, "http://engine", 7.0))
    engine = ProbedEngine(plain, budget=len(ONE_OF_EACH) + 2, pause=0.0)
    await engine.describe()
    await engine.run()
    assert (await engine.describe())[0].tasks == TASKS


async def test_an_unclear_failure_waits_for_the_pause() -> None:
    engine, http = probed(Untold(embed=500))
    await after_probing(engine)
    assert len(probes(http)) == len(ONE_OF_EACH)


async def test_the_budget_ends_it() -> None:
    engine, http = probed(Untold(embed=500), budget=9, pause=0.0)
    await engine.describe()
    async with asyncio.timeout(30):
        await engine.run()
    assert len(probes(http)) == 9
    assert (await engine.describe())[0].untold == ("embed",)


async def test_no_budget_is_no_probe() -> None:
    engine, http = probed(Untold(), budget=0)
    await engine.describe()
    await engine.run()
    assert probes(http) == []


async def test_half_a_probe_finds_nothing() -> None:
    engine, _ = probed(Untold(), budget=2)  # one for `generate`, one for the first of two for `tool_calling`
    await engine.describe()
    await engine.run()
    (model,) = await engine.describe()
    assert (model.tasks, model.untold) == (("generate",), TASKS[1:])


async def test_a_model_that_joins_is_tried() -> None:
    server = Untold("a")
    engine, http = probed(server)
    await engine.describe()
    async with running(engine):
        await settle()
        server.names.append("b")
        await engine.describe()
        await settle()
    assert [model.tasks for model in await engine.describe()] == [TASKS, TASKS]
    assert len(probes(http)) == 2 * len(ONE_OF_EACH)


class Told:
    """An engine that tells something of itself, and takes its time."""

    def __init__(self, *models: EngineModel) -> None:
        self.models = models
        self.under_way = self.most = 0
        self.go_on = asyncio.Event()

    async def describe(self) -> tuple[EngineModel, ...]:
        return self.models

    async def answer(self, endpoint: str, _body: Body) -> Answer:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.go_on.wait()
        finally:
            self.under_way -= 1
        if endpoint != EMBEDDINGS:
            raise EngineFailedError("x")
        return {"data": [{"embedding": [1]}]}


async def test_what_is_told_is_not_tried() -> None:
    told = Told(EngineModel("a", ("generate",), evidence=evidence_for(("generate",), "declared")), EngineModel("b", ()))
    engine = ProbedEngine(told)
    assert await after_probing(engine) == told.models
    assert told.most == 0


async def test_what_is_found_joins_what_is_told_in_order() -> None:
    told = Told(EngineModel("m", ("transcribe",), evidence=evidence_for(("transcribe",), "engine"), untold=("embed",)))
    told.go_on.set()
    (model,) = await after_probing(ProbedEngine(told, now=lambda: 7.0))
    assert model.tasks == ("embed", "transcribe")
    assert model.evidence == (Evidence("embed", "probed", 7), Evidence("transcribe", "engine"))


async def test_one_probe_at_a_time_and_nobody_waits_for_it() -> None:
    told = Told(*(EngineModel(name, (), untold=("embed", "transcribe")) for name in "ab"))
    engine = ProbedEngine(told)
    await engine.describe()
    async with running(engine):
        await settle()
        assert told.under_way == 1
        assert await engine.describe() == told.models
    assert (told.most, told.under_way) == (1, 0)


async def test_a_probe_that_takes_too_long_says_nothing() -> None:
    told = Told(EngineModel("m", (), untold=("embed",)))
    engine = ProbedEngine(told, 1, timeout=0.0)
    await engine.describe()
    await engine.run()
    assert await engine.describe() == told.models


async def test_requests_pass() -> None:
    told = Told()
    told.go_on.set()
    assert await ProbedEngine(told).answer(EMBEDDINGS, {}) == {"data": [{"embedding": [1]}]}
    with suppress(EngineFailedError):
        await ProbedEngine(told).answer(CHAT, {})


async def test_what_was_found_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await after_probing(probed(Untold(vision=400, embed=500))[0])
    noted = [(getattr(each, "task", ""), getattr(each, "works", "")) for each in caplog.records]
    assert noted == [
        ("generate", True),
        ("tool_calling", True),
        ("vision", False),
        ("embed", "unclear"),
        ("transcribe", True),
    ]


def test_every_task_has_its_calls() -> None:
    assert tuple(CALLS) == TASKS


def test_the_sound_is_half_a_second() -> None:
    with wave.open(io.BytesIO(silence())) as sound:
        assert (sound.getframerate(), sound.getnframes(), sound.getnchannels()) == (SAMPLE_RATE, SAMPLE_RATE // 2, 1)


def test_the_picture_is_a_png_of_a_size_that_every_model_takes() -> None:
    assert measured(white_square()) == Picture("png", SQUARE_SIDE, SQUARE_SIDE)
    assert white_square().endswith(b"IEND\xaeB`\x82")
