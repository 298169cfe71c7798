"""What goes over the wire: requests that the load generator sends, answers that the stub gives."""

import json
from typing import Any

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import Model

MODEL = "bench/stub-7b-instruct"
CHAT_PATH = "/v1/chat/completions"
MODELS_PATH = "/v1/models"

EVENT_BYTES = 240
"""Of one event with its field name and line ends: what engines send for one token."""

REQUEST_BYTES = 2000
ANSWER_BYTES = 1000

_CREATED = 1_750_000_000


def models_body() -> bytes:
    """Return the model list of an inference proxy: five models, eight rows."""
    chat = ("generate", "tool_calling")
    models = [
        Model(MODEL, chat, _CREATED, "privity", ("stub", "latest"), 32768, "stub-7b-instruct-q4_k_m.gguf"),
        Model("bench/stub-70b-instruct", chat, _CREATED, "privity", ("large",), 131072, "stub-70b-instruct"),
        Model("bench/stub-vision", ("generate", "vision"), _CREATED, "privity", (), 16384, "stub-vision"),
        Model("bench/stub-embed", ("embed",), _CREATED, "privity", (), 8192, "stub-embed"),
        Model("bench/stub-whisper", ("transcribe",), _CREATED, "privity", (), None, "stub-whisper"),
    ]
    return _encoded({"object": "list", "data": Catalogue(models).rows})


def chat_body(**members: Any) -> bytes:
    """Return a chat request of `REQUEST_BYTES`; `members` are further ones."""
    request: dict[str, Any] = {"model": MODEL, **members, "messages": [{"role": "user", "content": ""}]}
    request["messages"][0]["content"] = _words(REQUEST_BYTES - len(_encoded(request)))
    return _encoded(request)


def stream_body(events: int, interval_ms: int) -> bytes:
    """Return a request for a stream; an interval of 0 asks for it as fast as it goes."""
    return chat_body(stream=True, max_tokens=events, metadata={"interval_ms": str(interval_ms)})


def wanted_stream(body: bytes) -> tuple[int, int] | None:
    """Return the events and the interval that a request asks for, or None where it asks for no stream."""
    if b'"stream":true' not in body:
        return None
    request = json.loads(body)
    return int(request["max_tokens"]), int(request["metadata"]["interval_ms"])


def chat_answer() -> bytes:
    """Return an answer of `ANSWER_BYTES`."""
    message = {"role": "assistant", "content": ""}
    answer = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": _CREATED,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 400, "completion_tokens": 120, "total_tokens": 520},
    }
    message["content"] = _words(ANSWER_BYTES - len(_encoded(answer)))
    return _encoded(answer)


def event() -> bytes:
    """Return one event of `EVENT_BYTES`."""
    delta = {"content": " tokens"}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    value = {"id": "", "object": "chat.completion.chunk", "created": _CREATED, "model": MODEL, "choices": [choice]}
    value["id"] = "chatcmpl-".ljust(EVENT_BYTES - len(b"data: \n\n" + _encoded(value)), "0")
    return b"data: " + _encoded(value) + b"\n\n"


def request_bytes(method: str, path: str, port: int, body: bytes = b"") -> bytes:
    """Return a whole HTTP request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\nAuthorization: Bearer bench\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _words(length: int) -> str:
    return ("All the words of this text are made up and mean little. " * (length // 50 + 1))[:length]


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
