from typing import Any

import pytest

from privity.engines.connection import StatusError
from privity.engines.engine import Json
from privity.errors import ApiError, ContextLengthError, EngineFailedError, InvalidRequestError
from privity.testing.fake_http import FakeResponse, json_response
from privity.testing.fake_llama import CANARY, FakeLlama, llama_error, ready
from privity.testing.pictures import GIF, JPEG, WEBP, data_url, image_part
from privity.testing.sealed import SALT

CHAT = "/v1/chat/completions"
COUNT = "/v1/chat/completions/input_tokens"


def chat(*urls: str, **members: Any) -> Json:
    parts = [{"type": "text", "text": "?"}, *map(image_part, urls)]
    return {"model": "tiny", "messages": [{"role": "user", "content": parts}], "cache_salt": SALT} | members


def failing(answer: FakeResponse) -> FakeLlama:
    return FakeLlama(vision=True, instead={CHAT: lambda _request: answer, COUNT: lambda _request: answer})


async def test_images_reach_the_server_as_data_urls() -> None:
    engine, http = await ready(FakeLlama(vision=True, writes=["hello"]))
    await engine.answer(CHAT, chat(data_url(GIF, "png"), data_url(JPEG, "jpeg")))
    urls = [part["image_url"]["url"] for part in http.sent[-1].json()["messages"][0]["content"][1:]]
    assert urls == [data_url(GIF, "gif"), data_url(JPEG, "jpeg")]


@pytest.mark.parametrize(
    ("url", "code"),
    [("https://example.org/a.png", "unsupported_image_url"), (data_url(WEBP, "webp"), "unsupported_image")],
)
async def test_what_the_server_would_fetch_or_hand_on_never_reaches_it(url: str, code: str) -> None:
    engine, http = await ready(FakeLlama(vision=True))
    for stream in (False, True):
        with pytest.raises(InvalidRequestError) as caught:
            await engine.answer(CHAT, chat(data_url(), url, stream=stream))
        assert (caught.value.status, caught.value.param, caught.value.code) == (400, "messages[0].content", code)
    with pytest.raises(InvalidRequestError):
        await engine.count_tokens(chat(url))
    assert http.sent == []


@pytest.mark.parametrize("stream", [False, True])
async def test_where_the_server_refuses_images_the_error_says_to_look_at_them(*, stream: bool) -> None:
    engine, _ = await ready(failing(llama_error(400, "invalid_request_error")))
    with pytest.raises(InvalidRequestError, match="images are whole") as caught:
        await engine.answer(CHAT, chat(data_url(), stream=stream))
    assert caught.value.param == "messages"
    assert CANARY not in caught.value.message
    assert isinstance(caught.value.__cause__, StatusError)  # a probe learns from it
    with pytest.raises(InvalidRequestError) as caught:
        await engine.answer(CHAT, chat(stream=stream))
    assert "image" not in caught.value.message


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (llama_error(400, "exceed_context_size_error", n_prompt_tokens=9, n_ctx=8), ContextLengthError),
        (llama_error(500), EngineFailedError),
    ],
)
async def test_other_errors_stay_what_they_are(answer: FakeResponse, error: type[ApiError]) -> None:
    engine, _ = await ready(failing(answer))
    with pytest.raises(ApiError) as caught:
        await engine.answer(CHAT, chat(data_url()))
    assert type(caught.value) is error


async def test_the_server_counts_the_tokens_of_images_itself() -> None:
    llama = FakeLlama(vision=True, instead={COUNT: lambda _request: json_response({"input_tokens": 56})})
    engine, http = await ready(llama)
    assert await engine.count_tokens(chat(data_url(JPEG, "png"))) == 56
    assert http.sent[0].json()["messages"] == chat(data_url(JPEG, "jpeg"))["messages"]
    llama.instead[COUNT] = lambda _request: llama_error(400, "invalid_request_error")
    with pytest.raises(InvalidRequestError, match="images are whole"):
        await engine.count_tokens(chat(data_url()))


async def test_one_that_is_too_old_to_count_them_says_so() -> None:
    engine, _ = await ready(FakeLlama(vision=True))
    with pytest.raises(InvalidRequestError, match="doesn't count the tokens of images"):
        await engine.count_tokens(chat(data_url()))
