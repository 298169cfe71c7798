"""`/v1/messages` and `/v1/messages/count_tokens` of `privity up`, through Anthropic's own client."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from privity.testing.programs import Up, http

CHAT, EMBED = "smollm2-135m-instruct", "all-minilm-l6-v2"
HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
COUNT: list[Any] = [{"role": "user", "content": "Count from 1 to 10."}]
SHARED = {"temperature": 0, "cache_salt": "what-is-read-once-need-not-be-read-again"}
PLAIN: Any = {"model": CHAT, "max_tokens": 8, "messages": HELLO, "extra_body": SHARED}
WEATHER: Any = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
GIF = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lGODlhAQABAAAAACw="}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}


@pytest.fixture(scope="module")
def claude(running: Up) -> Iterator[Anthropic]:
    with Anthropic(base_url=running.url, api_key="unused", max_retries=0, timeout=120) as made:
        yield made


def said(message: Any) -> str:
    """Return the text of an answer that is nothing but text."""
    assert [block.type for block in message.content] == ["text"]
    return str(message.content[0].text)


def prompt_tokens(usage: Any) -> int:
    return int(usage.input_tokens + (usage.cache_read_input_tokens or 0))


def test_an_answer_has_what_anthropics_have(claude: Anthropic) -> None:
    message = claude.messages.create(**PLAIN)
    assert said(message)
    assert (message.type, message.role, message.model) == ("message", "assistant", CHAT)
    assert message.id.startswith("msg_")
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert prompt_tokens(message.usage) > 0
    assert 0 < message.usage.output_tokens <= 8


def test_a_stream_becomes_the_message_that_is_answered_whole(claude: Anthropic) -> None:
    whole = claude.messages.create(**PLAIN)
    with claude.messages.stream(**PLAIN) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(texts) > 1
    assert "".join(texts) == said(final) == said(whole)
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert prompt_tokens(final.usage) == prompt_tokens(whole.usage)
    assert (final.model, final.id[:4]) == (CHAT, "msg_")


def test_events_are_named_and_in_order(claude: Anthropic) -> None:
    kinds = [event.type for event in claude.messages.create(**PLAIN, stream=True)]
    deltas = kinds.count("content_block_delta")
    assert kinds == [
        *("message_start", "content_block_start", *["content_block_delta"] * deltas, "content_block_stop"),
        *("message_delta", "message_stop"),
    ]


def test_a_system_prompt_counts_in_either_form(claude: Anthropic) -> None:
    block = {"type": "text", "text": "You are a pirate.", "cache_control": {"type": "ephemeral"}}
    systems: list[Any] = ["You are a pirate.", [block]]
    one, other = (claude.messages.create(**PLAIN, system=each) for each in systems)
    assert said(one) == said(other)
    assert prompt_tokens(one.usage) == prompt_tokens(other.usage)
    without = claude.messages.count_tokens(model=CHAT, messages=HELLO).input_tokens
    assert prompt_tokens(one.usage) != without


def test_max_tokens_and_stop_sequences_end_an_answer_and_say_so(claude: Anthropic) -> None:
    counting = PLAIN | {"messages": COUNT, "max_tokens": 20}
    cut = claude.messages.create(**counting | {"max_tokens": 3})
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    stopped = claude.messages.create(**counting, stop_sequences=["never", "3"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "3")
    assert "3" not in said(stopped)
    with claude.messages.stream(**counting, stop_sequences=["never", "3"]) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence, said(final)) == ("stop_sequence", "3", said(stopped))


def test_a_begun_answer_is_continued_and_not_repeated(claude: Anthropic) -> None:
    begun: Any = [{"role": "user", "content": "Capital of France?"}, {"role": "assistant", "content": "The capital is"}]
    whole = claude.messages.create(**PLAIN | {"messages": begun})
    assert "The capital is" not in said(whole)
    with claude.messages.stream(**PLAIN | {"messages": begun}) as stream:
        assert said(stream.get_final_message()) == said(whole)


def test_a_call_of_any_tool_is_of_one_that_is_declared(claude: Anthropic) -> None:
    asked = PLAIN | {"max_tokens": 64, "tools": [TIME, WEATHER], "tool_choice": {"type": "any"}}
    message = claude.messages.create(**asked)
    (call,) = message.content
    assert (call.type, message.stop_reason) == ("tool_use", "tool_use")
    assert set(call.input) == {"get_weather": {"city"}, "get_time": set()}[call.name]


def test_a_forced_call_and_its_result(claude: Anthropic) -> None:
    question: Any = {"role": "user", "content": "What is the weather in Ulm?"}
    tool = {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "get_weather"}}
    asked = PLAIN | tool | {"max_tokens": 64, "messages": [question]}
    with claude.messages.stream(**asked) as stream:
        message: Any = stream.get_final_message()
    (call,) = message.content
    assert (call.type, call.name, set(call.input)) == ("tool_use", "get_weather", {"city"})
    assert message.stop_reason == "tool_use"
    (whole,) = claude.messages.create(**asked).content
    assert (whole.name, whole.input) == (call.name, call.input)
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "Rain"}]}
    answered: Any = {"role": "user", "content": [result]}
    assert said(claude.messages.create(**PLAIN | {"messages": [question, message.to_param(), answered]}))
    with pytest.raises(anthropic.BadRequestError, match="no earlier `tool_use`"):
        claude.messages.create(**PLAIN | {"messages": [question, answered]})


def test_counted_tokens_are_those_of_the_answers_usage(claude: Anthropic) -> None:
    prompts: list[Any] = [
        {"messages": COUNT},
        {"messages": COUNT, "system": "Be brief.", "tools": [WEATHER]},
        {"messages": [*COUNT, {"role": "assistant", "content": "1, 2,"}]},
    ]
    for prompt in prompts:
        counted = claude.messages.count_tokens(model=CHAT, **prompt)
        assert counted.input_tokens == prompt_tokens(claude.messages.create(**PLAIN | {"max_tokens": 1} | prompt).usage)
    long: Any = [{"role": "user", "content": "hi " * 6000}]
    assert claude.messages.count_tokens(model=CHAT, messages=long).input_tokens > 6000
    with pytest.raises(anthropic.BadRequestError, match="context"):
        claude.messages.create(model=CHAT, max_tokens=1, messages=long)


@pytest.mark.parametrize(
    ("members", "error", "kind", "said_"),
    [
        ({"model": "gpt-9"}, anthropic.NotFoundError, "not_found_error", "gpt-9"),
        ({"model": EMBED}, anthropic.BadRequestError, "invalid_request_error", "generate"),
        (
            {"messages": [{"role": "user", "content": [GIF]}]},
            anthropic.BadRequestError,
            "invalid_request_error",
            "takes no images",
        ),
        (
            {"messages": [{"role": "user", "content": [PDF]}]},
            anthropic.BadRequestError,
            "invalid_request_error",
            "PDF",
        ),
        ({"messages": []}, anthropic.BadRequestError, "invalid_request_error", "messages"),
        (
            {"extra_body": {"mcp_servers": [{"url": "https://x"}]}},
            anthropic.BadRequestError,
            "invalid_request_error",
            "`mcp_servers`",
        ),
    ],
    ids=["unknown model", "a model for embeddings", "an image", "a PDF", "no messages", "a member without a meaning"],
)
@pytest.mark.parametrize("method", ["create", "stream", "count_tokens"])
def test_what_cannot_be_is_refused_in_anthropics_form(
    claude: Anthropic, method: str, members: Any, error: type[anthropic.APIStatusError], kind: str, said_: str
) -> None:
    asked = PLAIN | members | ({"stream": True} if method == "stream" else {})
    if method == "count_tokens":
        del asked["max_tokens"]
    with pytest.raises(error) as caught:
        (claude.messages.count_tokens if method == "count_tokens" else claude.messages.create)(**asked)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert said_ in body["error"]["message"]


def test_what_is_missing_is_named(claude: Anthropic) -> None:
    for path, members, missing in (("", {"messages": HELLO}, "max_tokens"), ("/count_tokens", {"system": "x"}, "mess")):
        with pytest.raises(anthropic.BadRequestError, match=f"`{missing}"):
            claude.post(f"/v1/messages{path}", body={"model": CHAT, **members}, cast_to=object)


def test_four_at_once_get_their_own_answers(claude: Anthropic) -> None:
    prompts = [PLAIN | {"messages": [{"role": "user", "content": f"Say {word}."}]} for word in ("a", "b", "c", "d")]
    with ThreadPoolExecutor(4) as pool:
        messages = list(pool.map(lambda asked: claude.messages.create(**asked), prompts))
    assert len({message.id for message in messages}) == 4
    assert all(said(message) for message in messages)


def test_the_guards_refusals_have_anthropics_form(running: Up) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        foreign = http("POST", running.url + path, b"{}", origin="https://elsewhere.example")
        stranger = http("POST", running.url + path, b"{}", host="elsewhere.example")
        assert (foreign.status, foreign.error["type"]) == (403, "permission_error")
        assert (stranger.status, stranger.error["type"]) == (421, "invalid_request_error")
        text = http("POST", running.url + path, b"{}", content_type="text/plain")
        assert (text.status, text.error["type"]) == (415, "invalid_request_error")
