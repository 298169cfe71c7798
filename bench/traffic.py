"""What goes over the wire: requests that the load generator sends, answers that the stub gives."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import Model
from privity.catalogue.projections import openai_list
from privity.catalogue.query import Query

MODEL = "bench/stub-7b-instruct"
"""Streams at the pace of a reader."""

FAST_MODEL = "bench/stub-70b-instruct"
"""Streams as fast as it goes. The model's name, unlike most of a request, is never encrypted."""

UPLOAD_MODEL = "bench/upload"
CHAT_PATH = "/v1/chat/completions"
MODELS_PATH = "/v1/models"
UPLOAD_PATH = "/v1/audio/transcriptions"
BOUNDARY = b"bench-0123456789abcdef"

PACE_MS = 20
"""Milliseconds between two events of a paced stream: 50 tokens a second, as one reads at most."""

EVENT_BYTES = 240
"""Of one event with its field name and line ends: what engines send for one token."""

REQUEST_BYTES = 1800
ANSWER_BYTES = 1500
"""3.5 kB encrypted."""

_CREATED = 1_750_000_000


def models_body() -> bytes:
    """Return the model list of an inference proxy: five models, eight rows."""
    chat = ("generate", "tool_calling")
    models = [
        _model(MODEL, chat, ("stub", "latest"), 32768, "stub-7b-instruct-q4_k_m.gguf"),
        _model(FAST_MODEL, chat, ("large",), 131072, "stub-70b-instruct"),
        _model("bench/stub-vision", ("generate", "vision"), (), 16384, "stub-vision"),
        _model("bench/stub-embed", ("embed",), (), 8192, "stub-embed"),
        _model("bench/stub-whisper", ("transcribe",), (), None, "stub-whisper"),
    ]
    return _listed(models)


def upload_models_body() -> bytes:
    """Return the model list of an inference proxy that takes uploads, and nothing else."""
    return _listed([Model(UPLOAD_MODEL, ("transcribe",), _CREATED, "privity")])


def _model(model_id: str, tasks: tuple[str, ...], aliases: tuple[str, ...], length: int | None, root: str) -> Model:
    return Model(model_id, tasks, _CREATED, "privity", aliases, context_length=length, root=root)


def _listed(models: list[Model]) -> bytes:
    return openai_list(Catalogue(models, datetime.fromtimestamp(_CREATED, UTC)).view(), Query()).body()


def chat_body(model: str = MODEL, **members: Any) -> bytes:
    """Return a chat request of `REQUEST_BYTES`; `members` are further ones."""
    request: dict[str, Any] = {"model": model, **members, "messages": [{"role": "user", "content": ""}]}
    request["messages"][0]["content"] = _words(REQUEST_BYTES - len(_encoded(request)))
    return _encoded(request)


def stream_body(events: int, *, paced: bool) -> bytes:
    """Return a request for a stream."""
    return chat_body(MODEL if paced else FAST_MODEL, stream=True, max_tokens=events)


def wanted_stream(body: bytes) -> tuple[int, int] | None:
    """Return the events and the interval in ms that a request asks for; None where it asks for no stream."""
    if b'"stream":true' not in body:
        return None
    request = json.loads(body)
    return int(request["max_tokens"]), PACE_MS if request["model"] == MODEL else 0


def upload_body(size: int, turned: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return a form with a file of that many bytes, which hold every byte, line ends included; `turned` seals it."""
    head = b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % (BOUNDARY, UPLOAD_MODEL.encode())
    file = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n\r\n' % BOUNDARY
    noise = random.Random(0).randbytes(min(size, 1024 * 1024))  # noqa: S311  # the same in each run
    content = noise * (size // len(noise) + 1)
    return b"".join([head, file, turned(content[:size]), b"\r\n--", BOUNDARY, b"--\r\n"])


def upload_answer() -> bytes:
    """Return a transcript."""
    return _encoded({"text": _words(200), "usage": {"type": "duration", "seconds": 60}})


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


def request_bytes(method: str, path: str, port: int, body: bytes = b"", kind: str = "application/json") -> bytes:
    """Return a whole HTTP request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\nAuthorization: Bearer bench\r\n"
    if body:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _words(length: int) -> str:
    return ("All the words of this text are made up and mean little. " * (length // 50 + 1))[:length]


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
