import json
from typing import Any

import msgspec
import pytest

from privity.errors import EngineFailedError, InvalidRequestError, RouteNotFoundError
from privity.protocol.multipart import Part
from privity.roles.inference_proxy.engine_request import read_request
from privity.testing.sealed import SALT

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
USER = {"role": "user", "content": "x"}
NEEDED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [USER]},
    COMPLETIONS: {"prompt": "a"},
    EMBEDDINGS: {"input": "a"},
    MESSAGES: {"messages": [USER], "max_tokens": 1},
    RESPONSES: {"input": "a"},
}


def body(path: str, **members: Any) -> bytes:
    return json.dumps({"model": "m", **NEEDED[path], "cache_salt": SALT, **members}).encode()


def sent(path: str, content: bytes) -> bytes:
    return msgspec.json.encode(read_request(path, content).for_engine("inner"))


def test_what_nobody_reads_here_reaches_the_engine_as_it_was_written() -> None:
    exact = (
        b'"seed":12345678901234567890123456789,"temperature": 0.70,"x":1e5,"y":-0.0,'
        b'"messages":[ {"role":"user","content":"\\u00e9\\n"} ],"":[1.0]'
    )
    content = b'{"model":"m","cache_salt":"%b",%b}' % (SALT.encode(), exact)
    assert sent(CHAT, content) == content.replace(b'"m"', b'"inner"').replace(b": 0.70", b":0.70")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"stream": False}, None),
        ({"stream": None, "stream_options": {"include_usage": False}}, {"include_usage": False}),
        ({"stream": True}, {}),
        ({"stream": True, "stream_options": None}, {}),
        ({"stream": True, "stream_options": {"include_usage": False, "continuous_usage_stats": False}}, {}),
        ({"stream": True, "stream_options": {"new": [1]}}, {"new": [1]}),
    ],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_streamed_completion_reports_its_usage(path: str, given: dict[str, Any], expected: Any) -> None:
    if given.get("stream"):
        expected |= {"include_usage": True, "continuous_usage_stats": True}
    assert json.loads(sent(path, body(path, **given))).get("stream_options") == expected


@pytest.mark.parametrize("path", [EMBEDDINGS, MESSAGES, RESPONSES])
def test_other_streams_are_not_asked_for_it(path: str) -> None:
    assert "stream_options" not in json.loads(sent(path, body(path, stream=True)))


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, MESSAGES, RESPONSES])
@pytest.mark.parametrize("salt", [None, 7, "", SALT[:31], [SALT]])
def test_a_salt_that_is_none(path: str, salt: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_request(path, body(path, cache_salt=salt))
    assert (caught.value.status, caught.value.param) == (400, "cache_salt")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, MESSAGES, RESPONSES])
def test_a_missing_salt(path: str) -> None:
    without = json.dumps({"model": "m", **NEEDED[path]}).encode()
    with pytest.raises(InvalidRequestError) as caught:
        read_request(path, without)
    assert (caught.value.param, caught.value.code) == ("cache_salt", "missing_parameter")


@pytest.mark.parametrize("members", [{}, {"store": False}, {"store": None}])
def test_no_engine_is_to_store_a_response(members: dict[str, Any]) -> None:
    assert json.loads(sent(RESPONSES, body(RESPONSES, **members)))["store"] is False
    assert "store" not in json.loads(sent(CHAT, body(CHAT)))


def test_a_responses_pictures_and_tools_are_noticed() -> None:
    picture = {"type": "input_image", "image_url": "https://example.org/a.png"}
    items = [{"role": "user", "content": [picture]}]
    asked = read_request(RESPONSES, body(RESPONSES, input=items, tools=[{"type": "function", "name": "f"}]))
    assert (asked.prompt, set(asked.media), asked.uses_tools) == ("input", {"input_image"}, True)
    picture["image_url"] = "http://example.org/a.png"
    with pytest.raises(InvalidRequestError) as caught:
        read_request(RESPONSES, body(RESPONSES, input=items))
    assert caught.value.param == "input[0].content"


def test_embeddings_need_no_salt() -> None:
    assert read_request(EMBEDDINGS, b'{"model":"m","input":"a"}').model == "m"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b'{"model":"m"',
        b'{"model":"m","model":"n"}',
        b'{"model":"m","input":"a"}{}',
        b'{"model":"m","input":1,2}',
        b'{"model":"m","input":"\\ud800"}',
        b'{"model":"m","input":"\xff"}',
        b'{"model":"m","input":' + b"[" * 1000 + b"]" * 1000 + b"}",
    ],
)
def test_a_body_that_is_no_object_or_not_strictly_one(content: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_request(EMBEDDINGS, content)


def test_abilities_are_those_of_chats_alone() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    tools = [{"name": "f", "input_schema": {}}]
    asked = read_request(MESSAGES, body(MESSAGES, messages=[{"role": "user", "content": [picture]}], tools=tools))
    assert (set(asked.media), asked.uses_tools) == ({"image"}, True)
    stray = read_request(COMPLETIONS, body(COMPLETIONS, messages="x", tools=7))
    assert not stray.media
    assert not stray.uses_tools


@pytest.mark.parametrize("path", ["/v1/moderations", "/unstructured/general"])
def test_other_paths_have_no_endpoint_that_an_engine_answers_at(path: str) -> None:
    with pytest.raises(RouteNotFoundError):
        read_request(path, b"{}")


def test_a_form_is_a_transcriptions() -> None:
    asked = read_request("/v1/audio/transcriptions", [Part("model", b"m"), Part("file", b"x", is_file=True)])
    assert asked.model == "m"
    assert asked.for_engine("inner") == [Part("model", b"inner"), Part("file", b"x", is_file=True)]


@pytest.mark.parametrize("kind", ["canary", 7, None])
def test_the_type_of_a_whole_message_stays_plain_so_it_is_the_one_that_it_must_be(kind: object) -> None:
    asked = read_request(MESSAGES, body(MESSAGES))
    assert asked.shaped({"type": "message"}) == {"type": "message"}
    with pytest.raises(EngineFailedError):
        asked.shaped({"type": kind})
