"""A model that sees, from its two files to the official clients. Its weights are random: only its counts are sure."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from privity.testing.pictures import GIF, JPEG, PNG, WEBP, data_url, image_part
from privity.testing.programs import Up, http, up
from privity.testing.tiny_vision_gguf import IMAGE_TOKENS, write_tiny_vision_gguf

TEXT: Any = {"type": "text", "text": "What is this?"}


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    model, _ = write_tiny_vision_gguf(tmp_path_factory.mktemp("model"))
    with up(tmp_path_factory.mktemp("vision"), "--model", f"file:{model}#mmproj") as everything:
        yield everything


@pytest.fixture(scope="module")
def vision(seeing: Up) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{seeing.url}/v1", api_key="unused", max_retries=0, timeout=120) as made:
        yield made


def asked(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": [TEXT, *parts]}]


def prompt_tokens(client: OpenAI, *parts: Any) -> int:
    answer = client.chat.completions.create(model="tiny", messages=asked(*parts), max_tokens=2)
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage is not None
    return answer.usage.prompt_tokens


def test_every_list_says_that_it_sees(seeing: Up, vision: OpenAI) -> None:
    assert vision.models.retrieve("tiny").model_dump()["tasks"] == ["generate", "tool_calling", "vision"]
    shown = http("POST", f"{seeing.url}/api/show", b'{"model": "tiny"}', content_type="application/json")
    assert "vision" in json.loads(shown.body)["capabilities"]
    (row,) = json.loads(http("GET", f"{seeing.url}/api/v0/models").body)["data"]
    assert row["type"] == "vlm"


def test_images_count_as_much_as_the_engine_makes_of_them(vision: OpenAI) -> None:
    alone = prompt_tokens(vision)
    one = prompt_tokens(vision, image_part())
    assert one - alone >= IMAGE_TOKENS
    assert (
        prompt_tokens(vision, image_part(data_url(JPEG, "jpeg")), image_part(data_url(GIF, "gif"))) - one == one - alone
    )
    stream = vision.chat.completions.create(
        model="tiny", messages=asked(image_part()), max_tokens=3, stream=True, stream_options={"include_usage": True}
    )
    events = list(stream)
    assert any(choice.finish_reason for event in events for choice in event.choices)
    assert events[-1].usage is not None
    assert events[-1].usage.prompt_tokens == one


@pytest.mark.parametrize(
    ("url", "param", "code"),
    [
        ("https://example.org/a.png", "messages[0].content", "unsupported_image_url"),
        ("https://127.0.0.1/a.png", "messages[0].content", "invalid_value"),
        ("http://example.org/a.png", "messages[0].content", "invalid_value"),
        ("file:///etc/passwd", "messages[0].content", "invalid_value"),
        ("data:image/png,abc", "messages[0].content", "invalid_value"),
        ("data:image/png;base64,####", "messages[0].content", "invalid_value"),
        (data_url(b"a film"), "messages[0].content", "invalid_value"),
        (data_url(PNG[:16] + b"\x7f" * 8 + PNG[24:]), "messages[0].content", "invalid_value"),
        (data_url(WEBP, "webp"), "messages[0].content", "unsupported_image"),
        (data_url(PNG[:60]), "messages", "invalid_request"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_images_that_cannot_be_had_or_read_are_the_apps_error(
    url: str, param: str, code: str, vision: OpenAI, *, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        vision.chat.completions.create(model="tiny", messages=asked(image_part(), image_part(url)), stream=stream)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_model_for_text_refuses_images(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="smollm2-135m-instruct", messages=asked(image_part()))
    assert (caught.value.param, caught.value.code) == ("messages", "task_not_supported")


def test_images_come_as_anthropics_blocks_too(seeing: Up, vision: OpenAI) -> None:
    encoded = base64.b64encode(PNG).decode()
    block: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded}}
    with Anthropic(base_url=seeing.url, api_key="unused", max_retries=0, timeout=120) as client:
        one = client.messages.create(model="tiny", max_tokens=2, messages=asked(block))
        assert one.usage.input_tokens + (one.usage.cache_read_input_tokens or 0) == prompt_tokens(vision, image_part())
        on_the_web: Any = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
        with pytest.raises(anthropic.BadRequestError, match="fetches no images"):
            client.messages.create(model="tiny", max_tokens=2, messages=asked(on_the_web))


def test_images_come_in_responses_too(vision: OpenAI) -> None:
    def respond(url: str) -> Any:
        parts = [{"type": "input_text", "text": TEXT["text"]}, {"type": "input_image", "image_url": url}]
        message: Any = {"role": "user", "content": parts}
        return vision.responses.create(model="tiny", input=[message], max_output_tokens=16, store=False)

    one = respond(data_url())
    assert one.usage is not None
    assert one.usage.input_tokens == prompt_tokens(vision, image_part())
    for url in ("https://example.org/a.png", "http://example.org/a.png", data_url(b"a film")):
        with pytest.raises(openai.BadRequestError):
            respond(url)
