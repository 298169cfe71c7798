from collections.abc import Callable
from typing import Any

import pytest

from privity.catalogue.model import Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.engines.whisper import WhisperEngine
from privity.errors import (
    EngineFailedError,
    InvalidRequestError,
    NotSupportedError,
    PayloadTooLargeError,
    UnavailableError,
    UpstreamProtocolError,
    WrongTaskError,
)
from privity.protocol.multipart import Part
from privity.testing.fake_http import FakeHttpClient, json_response

Serving = Callable[[dict[str, Any]], tuple[EngineConnection, FakeHttpClient]]
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
ROW = {"id": "m", "object": "model", "languages": ["en"], "size": 5, "quantization": "int8"}
LISTED = {"/v1/models": {"object": "list", "data": [ROW]}}
FORM = [Part("model", b"m"), Part("file", b"RIFF", is_file=True)]


async def described(serving: Serving, pages: dict[str, Any]) -> tuple[WhisperEngine, FakeHttpClient]:
    connection, http = serving(LISTED | pages)
    engine = WhisperEngine(connection)
    await engine.describe()
    http.sent.clear()
    return engine, http


async def test_the_model_transcribes(serving: Serving) -> None:
    facts = Facts(architecture="whisper", quantization="int8", size=5)
    expected = EngineModel("m", ("transcribe",), facts=facts, evidence=(Evidence("transcribe", "engine"),))
    assert await WhisperEngine(serving(LISTED)[0]).describe() == (expected,)


@pytest.mark.parametrize("rows", [[], [ROW, ROW], [{"id": "m"}], None])
async def test_odd_answers_are_an_upstream_error(rows: Any, serving: Serving) -> None:
    with pytest.raises(UpstreamProtocolError):
        await WhisperEngine(serving({"/v1/models": {"data": rows}})[0]).describe()


async def test_a_form_is_passed_on(serving: Serving) -> None:
    engine, http = await described(serving, {TRANSCRIPTIONS: {"text": "hello"}})
    assert await engine.answer(TRANSCRIPTIONS, FORM) == {"text": "hello"}
    assert b"RIFF" in http.sent[0].body


@pytest.mark.parametrize(
    ("path", "field", "error", "param"),
    [
        (TRANSCRIPTIONS, Part("language", b"de"), InvalidRequestError, "language"),
        (TRANSCRIPTIONS, Part("temperature", b"hot"), InvalidRequestError, "temperature"),
        (TRANSLATIONS, Part("prompt", b""), WrongTaskError, "model"),
    ],
)
async def test_what_the_worker_would_refuse_is_not_sent(
    path: str, field: Part, error: type[InvalidRequestError], param: str, serving: Serving
) -> None:
    engine, http = await described(serving, {})
    with pytest.raises(error) as caught:
        await engine.answer(path, [field, *FORM])
    assert caught.value.param == param
    assert http.sent == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, InvalidRequestError), (413, PayloadTooLargeError), (503, UnavailableError), (500, EngineFailedError)],
)
async def test_the_workers_refusals_are_told(status: int, error: type[Exception], serving: Serving) -> None:
    refusal = json_response({"error": {"message": "inner", "type": "x", "param": "file", "code": "x"}}, status)
    engine, _ = await described(serving, {TRANSCRIPTIONS: refusal})
    with pytest.raises(error) as caught:
        await engine.answer(TRANSCRIPTIONS, FORM)
    assert "inner" not in str(caught.value)
    if status < 500:
        assert getattr(caught.value, "param", None) == "file"


async def test_it_has_no_other_endpoint(serving: Serving) -> None:
    engine, _ = await described(serving, {})
    assert engine.has(TRANSCRIPTIONS)
    assert not engine.has("/v1/chat/completions")
    for path, body in (("/v1/chat/completions", {"model": "m"}), ("/v1/embeddings", FORM)):
        with pytest.raises(NotSupportedError):
            await engine.answer(path, body)
    with pytest.raises(NotSupportedError):
        await engine.count_tokens({})
