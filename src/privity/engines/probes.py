"""Canary calls: the smallest requests that show whether a model can do something.

None holds anything of anybody's: a greeting, a white square, half a second of silence.
"""

import base64
import io
import struct
import wave
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from privity.engines.engine import Answer, Body, Engine, Json
from privity.protocol.multipart import Part

CALL_TOKENS = 256
"""Tokens that a model may take to write its call: one with a short argument takes some 30, thoughts before it more."""

SQUARE_SIDE = 64
"""Pixels: vision models that make tokens of 28 or 32 pixels a side refuse smaller pictures."""

SAMPLE_RATE = 16_000
"""Samples a second, which every known speech model takes."""

_CHAT = "/v1/chat/completions"
_GREETING = "Hi"
_FUNCTION = "report"
_TOOL = {
    "type": "function",
    "function": {
        "name": _FUNCTION,
        "description": "Report the result.",
        "parameters": {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}},
            "required": ["ok"],
            "additionalProperties": False,
        },
    },
}


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def white_square(side: int = SQUARE_SIDE) -> bytes:
    """Return a PNG of that many white pixels a side (PNG specification, third edition, section 11)."""
    size = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)  # width, height, 8 bits, grey
    lines = zlib.compress((b"\x00" + b"\xff" * side) * side)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size) + _chunk(b"IDAT", lines) + _chunk(b"IEND", b"")


def silence() -> bytes:
    """Return a WAV file of half a second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes(bytes(SAMPLE_RATE))  # two bytes a sample
    return file.getvalue()


async def _generates(engine: Engine, model: str) -> bool:
    return _choice(await engine.answer(_CHAT, _chat(model, _GREETING, 1))) is not None


async def _sees(engine: Engine, model: str) -> bool:
    url = "data:image/png;base64," + base64.b64encode(white_square()).decode()
    content = [{"type": "text", "text": _GREETING}, {"type": "image_url", "image_url": {"url": url}}]
    return _choice(await engine.answer(_CHAT, _chat(model, content, 1))) is not None


async def _may_call(engine: Engine, model: str) -> bool:
    """Return whether tools are taken at all: vLLM forces calls without a parser, and refuses free ones."""
    body = _chat(model, _GREETING, 1) | {"tools": [_TOOL], "tool_choice": "auto"}
    return _choice(await engine.answer(_CHAT, body)) is not None


async def _calls(engine: Engine, model: str) -> bool:
    forced = {"type": "function", "function": {"name": _FUNCTION}}
    body = _chat(model, "Report that all is well.", CALL_TOKENS) | {"tools": [_TOOL], "tool_choice": forced}
    return _is_call(_choice(await engine.answer(_CHAT, body)))


async def _embeds(engine: Engine, model: str) -> bool:
    answer = await engine.answer("/v1/embeddings", {"model": model, "input": _GREETING})
    row = _first(answer.get("data")) if isinstance(answer, dict) else None
    return row is not None and isinstance(row.get("embedding"), list) and bool(row["embedding"])


async def _transcribes(engine: Engine, model: str) -> bool:
    form: Body = [Part("model", model.encode()), Part("file", silence(), is_file=True)]
    answer = await engine.answer("/v1/audio/transcriptions", form)
    return isinstance(answer, dict) and isinstance(answer.get("text"), str)


Call = Callable[[Engine, str], Awaitable[bool]]
"""Sends one request for a model to an engine; returns whether the answer is what the task's is. Raises `ApiError`."""

CALLS: dict[str, tuple[Call, ...]] = {
    "generate": (_generates,),
    "tool_calling": (_may_call, _calls),
    "vision": (_sees,),
    "embed": (_embeds,),
    "transcribe": (_transcribes,),
}
"""By task: calls that must all succeed."""


def _chat(model: str, content: Any, tokens: int) -> Json:
    message = {"role": "user", "content": content}
    return {"model": model, "messages": [message], "max_tokens": tokens, "temperature": 0}


def _choice(answer: Answer) -> Json | None:
    return _first(answer.get("choices")) if isinstance(answer, dict) else None


def _first(rows: Any) -> Json | None:
    return rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None


def _is_call(choice: Json | None) -> bool:
    """Return whether a choice is a call of our function whose arguments are a JSON object."""
    message = choice.get("message") if choice is not None else None
    call = _first(message.get("tool_calls")) if isinstance(message, dict) else None
    function = call.get("function") if call is not None else None
    if not isinstance(function, dict) or function.get("name") != _FUNCTION:
        return False
    try:
        msgspec.json.decode(str(function.get("arguments")), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
