"""llama.cpp's server in memory, as a server of `FakeHttpClient`. A token is a character; a script says what it writes.

It answers as the real one does in engine.md section 4, errors and traps included. Each of its error messages holds
`CANARY`, which no client may ever see.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from privity.engines.connection import EngineConnection
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.testing.fake_http import (
    FakeHttpClient,
    FakeResponse,
    SentRequest,
    Server,
    event_response,
    json_response,
)

CANARY = "ggml-canary-4711"

CREATED = 1_700_000_000

CACHED = 7
"""Tokens that it had where it may reuse a prompt."""

_ID = "chatcmpl-fake"


def llama_error(status: int, kind: str = "server_error", **members: Any) -> FakeResponse:
    """Return an error as llama.cpp writes it."""
    message = f"{CANARY}: slot 0 failed at /src/server.cpp:42"
    return json_response({"error": {"code": status, "message": message, "type": kind, **members}}, status)


@dataclass
class FakeLlama:
    """The server: what it is, and what it writes."""

    name: str = "tiny"
    context: int = 4096
    tools: bool = True
    vision: bool = False
    embeds: bool = False
    slots: int = 2
    keeps_apart: bool = True
    """Whether its slots share no memory for old prompts."""
    writes: list[str | tuple[str, ...]] = field(default_factory=list)
    """The text of each generation, one after another; a tuple streams in these pieces, a text by character."""
    instead: dict[str, Server] = field(default_factory=dict)
    """By path: what answers in its place."""

    def __call__(self, request: SentRequest) -> FakeResponse:
        """Answer a request."""
        path = urlsplit(request.url).path
        answers: dict[str, Server] = {
            "/v1/models": self._models,
            "/props": self._props,
            "/v1/embeddings": self._embeddings,
            "/apply-template": self._template,
            "/tokenize": self._tokenize,
            "/completion": self._native,
            "/v1/completions": self._completion,
            "/v1/chat/completions": self._chat,
        }
        answer = self.instead.get(path) or answers.get(path)
        return answer(request) if answer is not None else llama_error(404, "not_found_error")

    def _models(self, _request: SentRequest) -> FakeResponse:
        row = {"id": self.name, "object": "model", "created": CREATED, "meta": {"n_ctx": self.context}}
        return json_response({"object": "list", "data": [row]})

    def _props(self, _request: SentRequest) -> FakeResponse:
        return json_response(
            {
                "default_generation_settings": {"n_ctx": self.context, "params": {}},
                "total_slots": self.slots,
                "chat_template_caps": {"supports_tools": self.tools},
                "modalities": {"vision": self.vision, "audio": False},
            }
        )

    def _embeddings(self, request: SentRequest) -> FakeResponse:
        if not self.embeds:
            return llama_error(501, "not_supported_error")
        given = request.json()["input"]
        inputs = [given] if isinstance(given, str) or all(isinstance(each, int) for each in given) else given
        if any(len(each) > self.context for each in inputs):
            return llama_error(500)
        rows = [{"object": "embedding", "index": at, "embedding": [0.6, 0.0, 0.8]} for at in range(len(inputs))]
        usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
        return json_response({"object": "list", "model": self.name, "data": rows, "usage": usage})

    @staticmethod
    def _template(request: SentRequest) -> FakeResponse:
        body = request.json()
        tools = "".join(tool["function"]["name"] + "\n" for tool in body.get("tools", ()))
        turns = "".join(f"<{message['role']}>{message['content']}" for message in body["messages"])
        return json_response({"prompt": f"{tools}{turns}<assistant>"})

    @staticmethod
    def _tokenize(request: SentRequest) -> FakeResponse:
        return json_response({"tokens": [ord(each) for each in request.json()["content"]]})

    def _native(self, request: SentRequest) -> FakeResponse:
        body = request.json()
        if body["n_predict"] == 0:  # a look at what its memory holds
            processed = len(body["prompt"]) if self.keeps_apart else 1
            return json_response({"content": "", "timings": {"prompt_n": processed}})
        written = _Written(self.writes.pop(0), body["n_predict"])
        last = {"content": "", "stop": True, "stop_type": written.stop_type, "tokens_predicted": written.tokens}
        last["timings"] = {"cache_n": CACHED if body["cache_prompt"] else 0}
        events = [{"content": piece, "stop": False} for piece in written.pieces]
        return event_response([*events, last], done=False)

    def _completion(self, request: SentRequest) -> FakeResponse:
        return self._openai(request, "text_completion", lambda text: {"text": text}, lambda text: {"text": text})

    def _chat(self, request: SentRequest) -> FakeResponse:
        return self._openai(
            request,
            "chat.completion",
            lambda text: {"message": {"role": "assistant", "content": text}},
            lambda text: {"delta": {"content": text} if text else {}},
        )

    def _openai(
        self,
        request: SentRequest,
        kind: str,
        whole: Callable[[str], dict[str, Any]],
        part: Callable[[str], dict[str, Any]],
    ) -> FakeResponse:
        body = request.json()
        written = _Written(self.writes.pop(0), body.get("max_tokens") or self.context)
        usage: dict[str, Any] = {"prompt_tokens": 10, "completion_tokens": written.tokens}
        usage |= {"total_tokens": 10 + written.tokens}
        usage |= {"prompt_tokens_details": {"cached_tokens": CACHED if body["cache_prompt"] else 0}}
        head = {"id": _ID, "created": CREATED, "model": self.name}
        if not body.get("stream"):
            choice = {"index": 0, "finish_reason": written.finish_reason, **whole("".join(written.pieces))}
            timings = {"predicted_ms": 1.0}
            return json_response({**head, "object": kind, "choices": [choice], "usage": usage, "timings": timings})
        deltas = [{"finish_reason": None, **part(piece)} for piece in written.pieces]
        deltas.append({"finish_reason": written.finish_reason, **part("")})
        if kind == "chat.completion":
            kind += ".chunk"
            deltas.insert(0, {"finish_reason": None, "delta": {"role": "assistant", "content": None}})
        events = [{**head, "object": kind, "choices": [{"index": 0, **delta}]} for delta in deltas]
        return event_response(_with_usage(events, kind, usage, body))


def _with_usage(
    events: list[dict[str, Any]], kind: str, usage: dict[str, Any], body: dict[str, Any]
) -> Iterable[dict[str, Any]]:
    """Return the events with their usage: text completions have it in the last event, wanted or not."""
    if kind == "text_completion":
        events[-1]["usage"] = usage
        return events
    wanted = (body.get("stream_options") or {}).get("include_usage")
    return [*events, {**events[-1], "choices": [], "usage": usage}] if wanted else events


class _Written:
    """A generation that is cut where its tokens run out."""

    def __init__(self, text: str | tuple[str, ...], limit: int) -> None:
        whole = "".join(text)
        self.tokens = min(len(whole), limit)
        self.pieces = list(text) if len(whole) <= limit else list(whole[:limit])
        self.stop_type = "eos" if len(whole) <= limit else "limit"
        self.finish_reason = "stop" if len(whole) <= limit else "length"


async def ready(llama: FakeLlama) -> tuple[LlamaCppEngine, FakeHttpClient]:
    """Return the adapter of a server that it has described, and the client, which keeps what it sends from now on."""
    http = FakeHttpClient(llama)
    engine = LlamaCppEngine(EngineConnection(http, "http://engine", 7.0))
    await engine.describe()
    http.sent.clear()
    return engine, http
