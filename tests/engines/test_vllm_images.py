"""What vLLM answers to images, as it was recorded: passed on, told in our words, and learned from by probes."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privity.catalogue.model import Evidence
from privity.engines.connection import EngineConnection
from privity.engines.probing import ProbedEngine
from privity.engines.vllm import VllmEngine
from privity.errors import EngineFailedError, InvalidRequestError
from privity.testing.fake_http import FakeHttpClient, FakeResponse, json_response
from privity.testing.pictures import image_part

Recorded = Callable[[str], Any]
Serving = Callable[[dict[str, Any]], tuple[EngineConnection, FakeHttpClient]]

BASE = "meta-llama/Llama-3.1-8B-Instruct"
CHAT = "/v1/chat/completions"
CRASH = FakeResponse(500, [], [b"Internal Server Error"])
ERRORS: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures/vllm/image_errors.json").read_text())
PICTURES = [image_part("https://example.org/a.png"), image_part()]
ASKED: dict[str, Any] = {"model": BASE, "messages": [{"role": "user", "content": PICTURES}]}


def pages_of(recorded: Recorded, answer: Any) -> dict[str, Any]:
    return {
        "/v1/models": recorded("vllm/models"),
        "/openapi.json": recorded("vllm/openapi_generate"),
        CHAT: answer,
    }


async def test_images_pass_by_url_too_and_the_answers_usage_counts_them(recorded: Recorded, serving: Serving) -> None:
    connection, http = serving(pages_of(recorded, recorded("vllm/image_answer")))
    answer = await VllmEngine(connection).answer(CHAT, ASKED)
    assert http.sent[0].json() == ASKED
    assert isinstance(answer, dict)
    assert answer["usage"]["prompt_tokens"] == 26


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
async def test_what_it_says_of_images_is_the_clients_error_in_our_words(error: Any, serving: Serving) -> None:
    connection, _ = serving({CHAT: json_response(error["body"], error["status"])})
    with pytest.raises(InvalidRequestError) as caught:
        await VllmEngine(connection).answer(CHAT, ASKED)
    told = json.dumps(caught.value.body())
    assert caught.value.status == 400
    assert not any(word in told for word in ("opt-125m", "limit-mm", "BytesIO", "404"))


async def test_a_crash_over_an_image_is_the_engines_error(serving: Serving) -> None:
    with pytest.raises(EngineFailedError):
        await VllmEngine(serving({CHAT: CRASH})[0]).answer(CHAT, ASKED)


@pytest.mark.parametrize(
    ("answer", "calls", "finding"),
    [
        (None, 3, "sees"),
        (ERRORS["text model"], 2, "does not"),
        (ERRORS["text model, until 2025"], 2, "does not"),
        (ERRORS["images switched off"], 2, "does not"),
        ({"status": 500, "body": "Internal Server Error"}, 2, "unclear"),
    ],
)
async def test_whether_a_model_sees_is_found_out_by_probing(
    answer: Any, calls: int, finding: str, recorded: Recorded, serving: Serving
) -> None:
    said = json_response(answer["body"], answer["status"]) if answer is not None else recorded("vllm/image_answer")
    pages = pages_of(recorded, said)
    pages["/v1/models"]["data"] = pages["/v1/models"]["data"][:1]
    engine = ProbedEngine(VllmEngine(serving(pages)[0]), budget=calls, now=lambda: 7.0)
    await engine.describe()
    async with asyncio.timeout(30):
        await engine.run()
    model = (await engine.describe())[0]
    assert (Evidence("vision", "probed", 7) in model.evidence) is (finding == "sees")
    assert ("vision" in model.untold) is (finding == "unclear")
