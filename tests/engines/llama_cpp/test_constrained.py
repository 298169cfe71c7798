import json
from typing import Any

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.llama_cpp.constrained import (
    MAX_SCHEMA_BYTES,
    ConstrainedGeneration,
    Piece,
    compile_schema,
    fitting_value,
)
from privity.engines.llama_cpp.narrow_schema import narrow
from privity.engines.llama_cpp.salted import SaltedCalls
from privity.engines.llama_cpp.slots import Slots
from privity.errors import ContextLengthError, EngineFailedError, InvalidRequestError
from privity.testing.fake_http import FakeHttpClient, event_response
from privity.testing.fake_llama import FakeLlama

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
PROMPT = "<user>hello<assistant>"
YES_OR_NO = {"type": "boolean"}


def generation_of(llama: FakeLlama) -> tuple[ConstrainedGeneration, FakeHttpClient]:
    http = FakeHttpClient(llama)
    connection = EngineConnection(http, "http://engine", 7.0)
    slots = Slots(lambda: 0.0)
    slots.grow(1)
    calls = SaltedCalls(connection, slots, None, HELLO | {"model": "tiny"})
    return ConstrainedGeneration(connection, calls, llama.context, "tiny"), http


async def test_the_prompt_is_the_models_own_template_and_the_beginning_of_the_answer() -> None:
    generation, http = generation_of(FakeLlama(context=100))
    body = HELLO | {
        "tools": [{"function": {"name": "f"}}],
        "chat_template_kwargs": {"thinking": False},
        "temperature": 1,
    }
    prompt = await generation.render(body, "<call>")
    assert (prompt.text, prompt.tokens, prompt.room) == (f"f\n{PROMPT}<call>", 30, 70)
    passed = {key: body[key] for key in ("messages", "tools", "chat_template_kwargs")}
    counted = {"content": prompt.text, "add_special": True, "parse_special": True}
    assert http.sent[0].json() == passed | {"model": "tiny"}  # a router finds the model by its name
    assert http.sent[1].json() == counted | {"model": "tiny"}
    assert all(answer.closed for answer in http.answers)


@pytest.mark.parametrize(
    ("limits", "room"),
    [
        ({}, 78),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5000}, 78),
        ({"max_tokens": None}, 78),
    ],
)
async def test_room_is_what_the_context_and_the_request_leave(limits: dict[str, Any], room: int) -> None:
    assert (await generation_of(FakeLlama(context=100))[0].render(HELLO | limits)).room == room


@pytest.mark.parametrize(("context", "fits"), [(len(PROMPT) + 1, True), (len(PROMPT), False), (1, False)])
async def test_a_prompt_needs_room_for_an_answer(context: int, *, fits: bool) -> None:
    generation, _ = generation_of(FakeLlama(context=context))
    if fits:
        assert (await generation.render(HELLO)).room == 1
        return
    with pytest.raises(ContextLengthError) as caught:
        await generation.render(HELLO)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "context_length_exceeded", "messages")


async def test_a_generation_sends_the_narrowed_schema_and_only_sampling_that_is_set() -> None:
    generation, http = generation_of(FakeLlama(context=100, writes=["true"]))
    body = HELLO | {"temperature": 0, "seed": 3, "top_p": None, "stop": ["x"], "n": 2, "user": "me", "max_tokens": 9}
    await generation.whole(await generation.render(body), YES_OR_NO, body)
    assert http.sent[-1].json() == {
        "model": "tiny",
        "prompt": PROMPT,
        "json_schema": narrow(YES_OR_NO, 9),
        "n_predict": 9,
        "stream": True,
        "temperature": 0,
        "seed": 3,
        "id_slot": 0,
        "cache_prompt": False,
    }


@pytest.mark.parametrize(
    ("limit", "piece"), [(100, Piece("true", 4)), (4, Piece("true", 4)), (3, Piece("tru", 3, cut=True))]
)
async def test_a_whole_answer_says_its_tokens_and_whether_it_was_cut(limit: int, piece: Piece) -> None:
    generation, http = generation_of(FakeLlama(writes=["true"]))
    prompt = await generation.render(HELLO | {"max_tokens": limit})
    assert await generation.whole(prompt, YES_OR_NO, HELLO) == piece
    assert http.answers[-1].closed


async def test_pieces_come_one_by_one_and_the_last_one_has_the_count() -> None:
    generation, _ = generation_of(FakeLlama(writes=[("t", "rue")]))
    pieces = [piece async for piece in await generation.stream(await generation.render(HELLO), YES_OR_NO, HELLO)]
    assert pieces == [Piece("t", 0), Piece("rue", 0), Piece("", 4)]


async def test_a_generation_without_an_end_is_an_error() -> None:
    llama = FakeLlama(instead={"/completion": lambda _request: event_response([{"content": "t", "stop": False}])})
    generation, http = generation_of(llama)
    with pytest.raises(EngineFailedError):
        await generation.whole(await generation.render(HELLO), YES_OR_NO, HELLO)
    assert http.answers[-1].closed


async def test_a_schema_that_is_nested_too_deep_is_refused_before_the_engine_is_asked() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100):
        schema = {"items": schema, "type": "array"}
    generation, http = generation_of(FakeLlama())
    with pytest.raises(InvalidRequestError) as caught:
        await generation.whole(await generation.render(HELLO), schema, HELLO)
    assert (caught.value.status, caught.value.code) == (400, "invalid_schema")
    assert not any(sent.url.endswith("/completion") for sent in http.sent)


def deep(levels: int) -> Any:
    return json.loads('{"not":' * levels + "{}" + "}" * levels)


INVALID: dict[str, Any] = {
    "no object": ["x"],
    "a type that is none": {"type": "text"},
    "a keyword of the wrong kind": {"type": "object", "properties": []},
    "a bound that is none": {"minLength": -1},
    "a pattern that is none": {"pattern": "("},
    "a reference to nothing": {"$ref": "#/$defs/x"},
    "a reference to the network": {"$ref": "http://localhost:1/schema.json"},
    "a reference to a file": {"$ref": "file:///etc/passwd"},
    "an unknown dialect": {"$schema": "http://localhost:1/dialect.json"},
    "a reference to itself": {"$ref": "#"},
    "a circle": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "patterns that are none": {"patternProperties": 5, "allOf": "x", "properties": 1, "$ref": 1},
    "nested without end": deep(900),
    "too large": {"description": "x" * MAX_SCHEMA_BYTES},
}


@pytest.mark.parametrize("schema", INVALID.values(), ids=INVALID)
def test_what_is_no_schema_is_the_clients_error(schema: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        compile_schema(schema, "response_format.json_schema.schema")
    assert (caught.value.status, caught.value.code) == (400, "invalid_schema")
    assert caught.value.param == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("text", "fits", "value"),
    [
        ('{"a": 1}', True, '{"a": 1}'),
        ('{"a": 1}</tool_call>', True, '{"a": 1}'),
        ('{"a": "x"}', False, '{"a": "x"}'),
        ("{}", False, "{}"),
        ('{"a": 1', False, '{"a": 1'),
        ("", False, ""),
        ("hello", False, "hello"),
        ('{"a": NaN}', False, '{"a": NaN}'),
        ('{"a": 1e999}', False, '{"a": 1e999}'),
        ('{"a": ' + "[" * 100_000, False, '{"a": ' + "[" * 100_000),
        ('{"a": ' + "1" * 10_000 + "}", False, '{"a": ' + "1" * 10_000 + "}"),
    ],
)  # fmt: skip
def test_a_value_fits_or_does_not_and_nothing_else_happens(text: str, *, fits: bool, value: str) -> None:
    validator = compile_schema({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, "p")
    assert fitting_value(Piece(text, 1), validator) == (fits, value)


def test_a_pattern_that_backtracks_without_end_does_not_fit() -> None:
    validator = compile_schema({"type": "string", "pattern": r"^(a+)+\1$"}, "p")
    assert fitting_value(Piece(json.dumps("a" * 100 + "b"), 1), validator)[0] is False
