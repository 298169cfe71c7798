"""The Models API of a running system, as the clients that there are use it (models-api.md, last section).

The SDKs are the real ones. What other programs ask for is in their sources, and sent here as they send it.
"""

import http.client
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import anthropic
import ollama
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from privity.testing.programs import Answer, Up, eventually, free_port, program
from privity.testing.programs import http as ask

CHAT = ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct")
EMBED = ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2")
SPEECH = ("Systran/faster-whisper-tiny.en", "whisper-tiny.en")
EVERY = (*CHAT, *EMBED, *SPEECH)
LENGTHS = dict.fromkeys(CHAT, 4096) | dict.fromkeys(EMBED, 512)
"""Tokens of each model's context; one for speech has none."""
PATIENCE = 60.0  # seconds, for what takes a few
JSON = "application/json"
HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
ORIGIN = "https://app.example"


def get(url: str, **headers: str) -> Answer:
    return ask("GET", url, None, **headers)


def rows_of(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer
    rows: list[dict[str, Any]] = json.loads(answer.body)["data"]
    return rows


def once(url: str, path: str, **headers: str) -> tuple[int, Any]:
    """Ask once: no redirect is followed."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


# openai-python and openai-node


def test_openai_lists_and_retrieves(client: OpenAI) -> None:
    assert [row.id for row in client.models.list()] == list(EVERY)
    for each in EVERY:
        found = client.models.retrieve(each)
        assert (found.id, found.object) == (each, "model")
        assert found.created > 1_500_000_000
        assert found.owned_by


def test_openai_calls_every_id_that_is_listed(client: OpenAI) -> None:
    called: set[str] = set()
    for row in client.models.list():
        tasks = row.model_dump()["tasks"]
        if "generate" in tasks:
            chat = client.chat.completions.create(model=row.id, messages=HELLO, max_tokens=1)
            whole = client.completions.create(model=row.id, prompt="Hello", max_tokens=1)
            assert (chat.model, whole.model) == (row.id, row.id)
            called.add(row.id)
        if "embed" in tasks:
            assert client.embeddings.create(model=row.id, input="x").model == row.id
            called.add(row.id)
    assert called == {*CHAT, *EMBED}


def test_openai_asks_again_only_for_what_changed(client: OpenAI) -> None:
    first = client.models.with_raw_response.list()
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    assert "Authorization" in first.headers["vary"]
    assert first.headers["content-type"] == JSON
    with pytest.raises(openai.APIStatusError) as caught:
        client.models.list(extra_headers={"If-None-Match": etag})
    assert caught.value.status_code == 304
    assert caught.value.response.headers["etag"] == etag


def test_openai_understands_that_there_is_no_such_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("all-minilm-l6")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert EMBED[1] in caught.value.message


@pytest.mark.parametrize("model", EVERY)
def test_openai_node_asks_for_an_id_with_every_slash_encoded(running: Up, model: str) -> None:
    encoded = get(f"{running.url}/v1/models/{quote(model, safe='')}")
    raw = get(f"{running.url}/v1/models/{model}")
    assert json.loads(encoded.body)["id"] == json.loads(raw.body)["id"] == model


def test_a_retrieved_model_is_its_row_which_says_where_its_tasks_come_from(running: Up) -> None:
    for row in rows_of(get(f"{running.url}/v1/models")):
        alone = get(f"{running.url}/v1/models/{row['id']}")
        assert json.loads(alone.body) == row
        assert list(row["evidence"]) == row["tasks"]
        assert {each["source"] for each in row["evidence"].values()} <= {"engine", "probed"}
        assert alone.headers["privity-health"].startswith("replicas=1, age_seconds=")


# anthropic-python and Claude Code


@pytest.fixture
def claude(running: Up) -> Iterator[Anthropic]:
    with Anthropic(base_url=running.url, api_key="unused", max_retries=0, timeout=PATIENCE) as made:
        yield made


def test_anthropic_pages_by_itself(claude: Anthropic) -> None:
    assert [row.id for row in claude.models.list()] == list(EVERY)
    one_by_one = list(claude.models.list(limit=1))
    assert [row.id for row in one_by_one] == list(EVERY)
    for row in one_by_one:
        assert (row.type, row.lifecycle) == ("model", "active")
        assert row.display_name
        assert row.created_at.year > 2015
        assert row.max_input_tokens == LENGTHS.get(row.id)


def test_anthropic_pages_both_ways(claude: Anthropic) -> None:
    after = claude.models.list(after_id=EVERY[1], limit=1)
    assert ([row.id for row in after.data], after.has_more) == ([EVERY[2]], True)
    assert (after.first_id, after.last_id) == (EVERY[2], EVERY[2])
    before = claude.models.list(before_id=EVERY[3], limit=2)
    assert ([row.id for row in before.data], before.has_more) == ([*EVERY[1:3]], True)
    assert not claude.models.list(after_id=EVERY[-2]).has_more


@pytest.mark.parametrize("model", EVERY)
def test_anthropic_retrieves(claude: Anthropic, model: str) -> None:
    found = claude.models.retrieve(model)
    assert (found.id, found.type) == (model, "model")


def test_anthropic_understands_refusals(claude: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.models.retrieve("claude-nothing-like-it")
    assert "does not exist" in unknown.value.message
    with pytest.raises(anthropic.BadRequestError):
        claude.models.list(after_id="claude-nothing-like-it")
    with pytest.raises(anthropic.BadRequestError):
        claude.models.list(limit=1001)


@pytest.mark.parametrize("key", [{"authorization": "Bearer unused"}, {"x_api_key": "unused"}], ids=["bearer", "key"])
def test_claude_code_has_all_at_once_and_without_a_redirect(running: Up, key: dict[str, str]) -> None:
    status, shown = once(running.url, "/v1/models?limit=1000", anthropic_version="2023-06-01", **key)
    assert status == 200
    assert [row["id"] for row in shown["data"]] == list(EVERY)
    assert (shown["first_id"], shown["last_id"], shown["has_more"]) == (EVERY[0], EVERY[-1], False)
    for row in shown["data"]:
        assert row["type"] == "model"
        assert isinstance(row["display_name"], str)
        assert row["created_at"].endswith("Z")


# Ollama's client, and those that ask as if for Ollama


def test_ollama_lists_and_shows(running: Up) -> None:
    with ollama.Client(host=running.url, timeout=PATIENCE) as asking:
        listed = asking.list().models
        capabilities = {each: ["completion", "tools"] for each in CHAT} | {each: ["embedding"] for each in EMBED}
        assert [each.model for each in listed] == list(EVERY)
        for each in listed:
            assert each.size is not None
            assert each.size > 1_000_000
            assert each.digest is not None
            assert int(each.digest, 16)
            assert each.details is not None
            assert each.details.quantization_level
            assert each.model is not None
            shown = asking.show(each.model)
            assert shown.modelinfo is not None
            lengths = [value for key, value in shown.modelinfo.items() if key.endswith(".context_length")]
            assert lengths == ([LENGTHS[each.model]] if each.model in LENGTHS else [])
            assert shown.capabilities == capabilities.get(each.model, [])
        assert asking.show(f"{EMBED[1]}:latest") == asking.show(EMBED[1])
        with pytest.raises(ollama.ResponseError) as caught:
            asking.show("nothing-like-it")
        assert caught.value.status_code == 404
        assert "nothing-like-it" in caught.value.error


def test_litellm_asks_ollamas_way_by_name(running: Up) -> None:
    shown = ask("POST", f"{running.url}/api/show", json.dumps({"name": CHAT[1]}).encode(), content_type=JSON)
    assert "tools" in json.loads(shown.body)["capabilities"]


# Programs whose requests are known


def test_open_webui_lists_by_both_apis(running: Up) -> None:
    bearer = {"authorization": "Bearer unused", "content_type": JSON}
    rows = rows_of(get(f"{running.url}/v1/models", **bearer))
    assert [row.get("name", row["id"]) for row in rows] == list(EVERY)
    tags = json.loads(get(f"{running.url}/api/tags", **bearer).body)["models"]
    assert [each["model"] for each in tags] == [each["name"] for each in tags] == list(EVERY)


def test_anything_llm_finds_each_model_once_though_it_hides_slashes(running: Up) -> None:
    rows = rows_of(get(f"{running.url}/v1/models", authorization="Bearer null"))
    shown = [row for row in rows if "/" not in row["id"]]
    assert [row["id"] for row in shown if "generate" in row["tasks"]] == [CHAT[1]]
    assert [row["id"] for row in shown if "embed" in row["tasks"]] == [EMBED[1]]
    assert {row["canonical"] for row in shown} == {row.get("canonical", row["id"]) for row in rows}


def test_the_vs_code_extension_finds_models_that_call_tools(running: Up) -> None:
    rows = rows_of(get(f"{running.url}/v1/models"))
    assert [row["id"] for row in rows if "tool_calling" in row["tasks"]] == list(CHAT)


def test_langchain_and_litellm_ask_like_openai(running: Up) -> None:
    rows = rows_of(get(f"{running.url}/v1/models", authorization="Bearer unused"))
    assert {row["object"] for row in rows} == {"model"}
    # LangChain counts tokens itself, and sends those instead of texts.
    asked = {"model": EMBED[1], "input": [[7592, 2088]], "encoding_format": "base64"}
    answer = ask("POST", f"{running.url}/v1/embeddings", json.dumps(asked).encode(), content_type=JSON)
    assert (answer.status, json.loads(answer.body)["model"]) == (200, EMBED[1])


def test_lm_studios_clients_list_and_retrieve(running: Up) -> None:
    rows = rows_of(get(f"{running.url}/api/v0/models"))
    assert [row["id"] for row in rows] == list(EVERY)
    assert [row.get("type") for row in rows] == ["llm", "llm", "embeddings", "embeddings", None, None]
    assert {row["state"] for row in rows} == {"loaded"}
    for row in rows:
        assert json.loads(get(f"{running.url}/api/v0/models/{row['id']}").body) == row


def test_every_row_has_what_unguarded_clients_read(running: Up) -> None:
    for row in rows_of(get(f"{running.url}/v1/models")):
        assert isinstance(row["tasks"], list)
        assert isinstance(row["created"], int)
        assert isinstance(row["owned_by"], str)
        assert None not in row.values()
        assert row["status"] == "available"
        assert row["verified"] is True
        assert row.get("max_model_len") == row.get("context_length") == LENGTHS.get(row["id"])


# HTTP


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl (CI installs it)")
def test_curl_gets_heads_and_conditions(running: Up) -> None:
    def curl(*arguments: str) -> str:
        called = ["curl", "-sS", *arguments]
        return subprocess.run(called, capture_output=True, text=True, check=True).stdout

    url = f"{running.url}/v1/models"
    head = curl("--head", url)
    body = curl("--compressed", url)
    assert head.startswith("HTTP/1.1 200 ")
    assert f"content-length: {len(body.encode())}\n" in head
    (etag,) = [line.split(": ")[1] for line in head.splitlines() if line.startswith("etag: ")]
    assert curl("-w", "%{http_code}", "-H", f"If-None-Match: {etag}", url) == "304"
    assert curl("-w", "%{http_code}", "-H", f"If-None-Match: W/{etag}", url) == "304"
    assert curl("-w", " %{http_code}", "-H", 'If-None-Match: "other"', url) == f"{body} 200"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("task=embed", EMBED),
        ("owned_by=HuggingFaceTB", CHAT),
        ("q=MINILM", EMBED),
        ("aliases=collapse", (CHAT[0], EMBED[0], SPEECH[0])),
        ("task=generate&aliases=collapse", (CHAT[0],)),
        ("task=transcribe", SPEECH),
        ("unheard_of=1&limit=nonsense&task=", EVERY),
    ],
)
def test_the_list_is_filtered(running: Up, query: str, ids: tuple[str, ...]) -> None:
    assert [row["id"] for row in rows_of(get(f"{running.url}/v1/models?{query}"))] == list(ids)


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{EMBED[0]}", "/v1/models/events", "/api/tags"])
def test_head_says_what_get_would_and_others_are_told_what_is_allowed(running: Up, path: str) -> None:
    head = ask("HEAD", running.url + path)
    assert (head.status, head.body) == (200, b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = ask(method, running.url + path)
        assert refused.status == 405
        assert {each.strip() for each in refused.headers["allow"].split(",")} == {"GET", "HEAD"}


def test_a_web_page_may_read_where_its_origin_is_listed(running: Up, tmp_path: Path) -> None:
    (line,) = [each for each in running.program.out.read_text().splitlines() if "privity proxy --gateway" in each]
    command = shlex.split(line)[1:]
    port = free_port()
    command[command.index("--port") + 1] = str(port)
    url = f"http://127.0.0.1:{port}/v1/models"
    with program(tmp_path, *command, "--allowed-origin", ORIGIN):
        asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "authorization"}
        preflight = ask("OPTIONS", url, None, Origin=ORIGIN, **asked)
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert "GET" in preflight.headers["access-control-allow-methods"]
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        answer = get(url, Origin=ORIGIN)
        assert [row["id"] for row in rows_of(answer)] == list(EVERY)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in answer.headers
        assert "etag" in answer.headers["access-control-expose-headers"]
        assert "origin" in answer.headers["vary"].lower()
        assert get(url, Origin="https://other.example").status == 403
        assert ask("OPTIONS", url, None, Origin="https://other.example", **asked).status == 403
        assert "access-control-allow-origin" not in get(url).headers
    for origin in (ORIGIN, "null"):
        assert get(f"{running.url}/v1/models", Origin=origin).status == 403


# Changes


@contextmanager
def events(url: str) -> Iterator[Callable[[], tuple[str, str, Any]]]:
    """Follow a stream; each call returns the next event's name, ID and data."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    connection.request("GET", "/v1/models/events")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"

    def follow() -> tuple[str, str, Any]:
        fields: dict[str, str] = {}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            line = answer.readline().decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and fields:
                return fields["event"], fields["id"], json.loads(fields["data"])
        raise AssertionError("no event")

    try:
        yield follow
    finally:
        answer.close()
        connection.close()


def test_an_engine_that_dies_is_told_to_those_who_follow(running: Up, client: OpenAI) -> None:
    first = get(f"{running.url}/v1/models")
    etag = first.headers["etag"]
    assert get(f"{running.url}/v1/models?wait={quote(etag)}&timeout=0").status == 304
    with events(running.url) as follow, ThreadPoolExecutor() as pool:
        assert follow() == ("list", etag.strip('"'), json.loads(first.body))
        waiting = pool.submit(get, f"{running.url}/v1/models?wait={quote(etag)}&timeout=50")
        os.kill(running.worker(EMBED[0]), signal.SIGKILL)
        removed: set[str] = set()
        while not removed:
            name, _, change = follow()
            assert name == "change"
            removed |= set(change["removed"])
        assert removed == set(EMBED)
        polled = waiting.result(PATIENCE)
        assert polled.status == 200
        assert polled.headers["etag"] != etag
        added: set[str] = set()
        while not added:
            _, _, change = follow()
            added |= {row["id"] for row in change["added"]}
        assert added == set(EMBED)
    eventually(lambda: get(f"{running.url}/v1/models").headers["etag"] == etag, "the same list as before")
    assert client.embeddings.create(model=EMBED[1], input="x").model == EMBED[1]
