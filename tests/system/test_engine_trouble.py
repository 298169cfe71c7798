"""What an app sees when its engine misbehaves, and what the engine sees when the app leaves; through all roles."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from privity.testing.fake_engine import MODEL, FakeEngine, fake_engine
from privity.testing.programs import Up, eventually, http, up

HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as running:
        yield running


@pytest.fixture(scope="module")
def everything(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    source = f"openai:{engine.url}#tasks=generate"
    with up(tmp_path_factory.mktemp("up"), "--model", source, "--engine-timeout", "1") as running:
        yield running


@pytest.fixture
def app(engine: FakeEngine, everything: Up) -> Iterator[OpenAI]:
    engine.behaviour = "answer"
    engine.began.clear()
    engine.left.clear()
    with OpenAI(base_url=f"{everything.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_declared_tasks_are_listed_under_full_and_short_id(app: OpenAI) -> None:
    rows = [row.model_dump() for row in app.models.list()]
    assert [row["id"] for row in rows] == [MODEL, "model-1b"]
    assert all(row["tasks"] == ["generate"] for row in rows)


def test_the_engine_is_asked_under_its_own_name(app: OpenAI, engine: FakeEngine) -> None:
    answer = app.chat.completions.create(model="model-1b", messages=HELLO)
    assert answer.model == "model-1b"
    assert engine.requests[-1]["model"] == MODEL


def test_an_engine_that_does_not_begin_is_a_504(app: OpenAI, engine: FakeEngine) -> None:
    engine.behaviour = "say nothing"
    with pytest.raises(openai.InternalServerError) as caught:
        app.chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (504, "engine_timeout")


def test_an_engine_that_fails_is_a_502_and_its_words_stay_inside(app: OpenAI, engine: FakeEngine) -> None:
    engine.behaviour = "fail"
    with pytest.raises(openai.InternalServerError) as caught:
        app.chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (502, "engine_error")
    assert "CUDA" not in str(caught.value.body)


def test_a_stream_that_breaks_ends_in_an_error(app: OpenAI, engine: FakeEngine) -> None:
    engine.behaviour = "cut the stream"
    with pytest.raises(openai.APIError, match="broke off"):
        list(app.chat.completions.create(model=MODEL, messages=HELLO, stream=True))


def test_a_response_that_breaks_raises_after_what_was_said(app: OpenAI, engine: FakeEngine) -> None:
    engine.behaviour = "cut the stream"
    events = iter(app.responses.create(model=MODEL, input="Say hello.", stream=True))
    kinds = [next(events).type for _ in range(5)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.output_text.delta")
    with pytest.raises(openai.APIError, match="broke off"):
        list(events)


def test_a_response_of_an_engine_that_fails_is_a_502(app: OpenAI, engine: FakeEngine) -> None:
    engine.behaviour = "fail"
    with pytest.raises(openai.InternalServerError) as caught:
        app.responses.create(model=MODEL, input="Say hello.")
    assert (caught.value.status_code, caught.value.code) == (502, "engine_error")


def test_an_app_that_leaves_a_stream_ends_the_engines_work(app: OpenAI, engine: FakeEngine) -> None:
    engine.behaviour = "stream for ever"
    stream = app.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    next(iter(stream))
    stream.close()
    assert engine.left.wait(10)


def test_an_app_that_leaves_before_the_answer_ends_the_engines_work(app: OpenAI, engine: FakeEngine) -> None:
    engine.behaviour = "say nothing"
    with pytest.raises(openai.APITimeoutError):
        app.chat.completions.create(model=MODEL, messages=HELLO, timeout=0.3)
    assert engine.left.wait(10)


def test_an_error_comes_as_an_event_to_whoever_wants_events(everything: Up) -> None:
    body = json.dumps({"model": "none", "messages": HELLO}).encode()
    answer = http(
        "POST",
        f"{everything.url}/v1/chat/completions",
        body,
        content_type="application/json",
        accept="text/event-stream",
    )
    assert answer.status == 404
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body.startswith(b'event: error\ndata: {"error":')


def test_an_engine_that_is_gone_leaves_the_list_and_is_a_503(tmp_path: Path) -> None:
    with contextlib.ExitStack() as engine_context:
        engine = engine_context.enter_context(fake_engine())
        with up(tmp_path, "--model", f"openai:{engine.url}#tasks=generate") as running:
            client = OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0)
            assert [row.id for row in client.models.list()] == [MODEL, "model-1b"]
            engine_context.close()
            eventually(lambda: not list(client.models.list()), "the model leaves the list")
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (503, "model_unavailable")
    assert int(caught.value.response.headers["retry-after"]) > 0
