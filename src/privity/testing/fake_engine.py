"""An OpenAI-compatible engine on loopback that misbehaves as told. Its texts are noise: never list it to a user."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from privity.testing.served import served

MODEL = "fake/Model-1B"

Behaviour = Literal["answer", "stream for ever", "say nothing", "cut the stream", "fail"]


@dataclass
class FakeEngine:
    """What a test sees of the engine."""

    url: str
    """Its base URL with `/v1`, as the SOURCE `openai:URL` has it."""
    behaviour: Behaviour = "answer"
    says: str = "Hello."
    """The text of its answers."""
    last_body: bytes = b""
    """The body of the request that came last."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    began: threading.Event = field(default_factory=threading.Event)
    """Set when an answer has begun."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the client left in the middle of one."""


@contextmanager
def fake_engine() -> Iterator[FakeEngine]:
    """Run an engine for as long as the context lasts."""
    engine = FakeEngine("")
    server = _Server(engine)
    engine.url = f"http://127.0.0.1:{server.server_port}/v1"
    with served(server):
        yield engine


def _chat(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "reasoning": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice]}


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": "stop"}
    return {"id": "c", "object": "text_completion", "created": 1, "choices": [choice]}


def _embeddings(text: str) -> dict[str, Any]:
    row = {"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}
    return {"object": "list", "data": [row], "note": text, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _message(text: str) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    usage = {"input_tokens": 1, "output_tokens": 1}
    stopped = {"stop_reason": "end_turn", "stop_sequence": None}
    return {"id": "m", "type": "message", "role": "assistant", "content": content, **stopped, "usage": usage}


def _count(_text: str) -> dict[str, Any]:
    return {"input_tokens": 1}


def _transcription(text: str) -> dict[str, Any]:
    segment = {"id": 0, "start": 0.0, "end": 0.5, "text": text}
    return {"text": text, "segments": [segment], "duration": 0.5, "usage": {"type": "duration", "seconds": 1}}


_ANSWERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/embeddings": _embeddings,
    "/v1/messages": _message,
    "/v1/messages/count_tokens": _count,
    "/v1/audio/transcriptions": _transcription,
    "/v1/audio/translations": _transcription,
}


_SALTED = {"application/json": {"schema": {"properties": {"cache_salt": {"type": "string"}}}}}
_ROUTE = {"post": {"requestBody": {"content": _SALTED}}}

_FORM_STREAMS = b'name="stream"\r\n\r\ntrue\r\n'


def _chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.engine = engine


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": 2048}]})
        elif self.path == "/openapi.json":
            self._json(200, {"openapi": "3.1.0", "paths": dict.fromkeys(_ANSWERS, _ROUTE)})
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        engine = self.server.engine
        engine.last_body = self.rfile.read(int(self.headers["content-length"]))
        is_json = (self.headers["content-type"] or "").startswith("application/json")
        request = json.loads(engine.last_body) if is_json else {"stream": _FORM_STREAMS in engine.last_body}
        engine.requests.append(request)
        match engine.behaviour:
            case "say nothing":
                self._wait_for_departure()
            case "fail":
                self._json(500, {"error": {"message": f"CUDA out of memory at /opt/engine.cu:17 {engine.says}"}})
            case "stream for ever" | "cut the stream":
                self._stream()
            case "answer" if request.get("stream"):
                self._stream_answer()
            case "answer":
                self._json(200, _ANSWERS[self.path](engine.says))

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            self.wfile.write(_chunk("word "))
            self.server.engine.began.set()
            while self.server.engine.behaviour == "stream for ever":
                self.wfile.write(_chunk("word "))
                time.sleep(0.02)
            if self.server.engine.behaviour == "answer":  # the test let it come to its end
                self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.server.engine.left.set()

    def _stream_answer(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        says = self.server.engine.says
        if self.path == "/v1/messages":
            delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": says}}
            for event in (delta, {"type": "message_stop"}):
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        elif self.path.startswith("/v1/audio/"):
            delta = {"type": "transcript.text.delta", "delta": says}
            for event in (delta, {"type": "transcript.text.done", "text": says}):
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")
        else:
            self.wfile.write(_chunk(says) + b"data: [DONE]\n\n")

    def _wait_for_departure(self) -> None:
        self.server.engine.began.set()
        if not self.connection.recv(1):
            self.server.engine.left.set()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
