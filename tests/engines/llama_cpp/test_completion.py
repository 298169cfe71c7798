import re

import pytest

from privity.engines.llama_cpp.called_in_text import TextCall
from privity.engines.llama_cpp.completion import Head, Usage, as_events, message_chunks, tool_call, wants_usage

HEAD = Head("id", 5, "m")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, False),
        ({"stream_options": None}, False),
        ({"stream_options": {}}, False),
        ({"stream_options": {"include_usage": None}}, False),
        ({"stream_options": {"include_usage": True}}, True),
    ],
)
def test_usage_is_sent_only_where_asked_for(body: dict[str, object], *, wanted: bool) -> None:
    assert wants_usage(body) is wanted


def test_usage_adds_up() -> None:
    details = {"cached_tokens": 2}
    expected = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "prompt_tokens_details": details}
    assert Usage(3, 4, 2).as_json() == expected


def test_every_answer_and_every_call_has_an_id_of_its_own() -> None:
    call = TextCall("f", "{}")
    ids = [Head.new("m").id, Head.new("m").id, tool_call(call)["id"], tool_call(call)["id"]]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"(chatcmpl-|call_)[\w-]{24}", each) for each in ids)


def test_a_message_becomes_chunks_that_add_up_to_it() -> None:
    calls = [tool_call(TextCall(name, '{"x":1}')) for name in ("f", "g")]
    first, *parts, last = [
        chunk["choices"][0] for chunk in message_chunks(HEAD, {"content": "Hi", "tool_calls": calls}, "tool_calls")
    ]
    assert first["delta"] == {"role": "assistant", "content": "Hi"}
    entries = [part["delta"]["tool_calls"][0] for part in parts]
    assert [entry["index"] for entry in entries] == [0, 0, 1, 1]
    opened = entries[::2]
    assert [(entry["id"], entry["type"], entry["function"]) for entry in opened] == [
        (call["id"], "function", {"name": call["function"]["name"], "arguments": ""}) for call in calls
    ]
    assert [entry["function"] for entry in entries[1::2]] == [{"arguments": '{"x":1}'}] * 2
    assert (last["delta"], last["finish_reason"]) == ({}, "tool_calls")


async def test_a_whole_answer_becomes_events_with_the_same_head() -> None:
    completion = HEAD.whole({"role": "assistant", "content": "Hi"}, "stop", Usage(1, 2))
    events = [event async for event in as_events(completion, with_usage=True)]
    assert {(event["id"], event["created"], event["model"]) for event in events} == {("id", 5, "m")}
    assert events[-1]["usage"] == completion["usage"]
    assert [event async for event in as_events(completion, with_usage=False)] == events[:-1]
