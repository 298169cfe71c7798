"""Tool calls that a model wrote as plain text, where the engine did not see them as calls."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

_WRAPPINGS = (
    re.compile(r"^<tool_call>\s*(?P<call>\{.*\})\s*(?:</tool_call>)?$", re.DOTALL),
    re.compile(r"^```(?:json)?\s*(?P<call>\{.*\})\s*```$", re.DOTALL),
    re.compile(r"^(?P<call>\{.*\})$", re.DOTALL),
)
_OPENINGS = ("<tool_call>", "```", "{")


@dataclass(frozen=True, slots=True)
class TextCall:
    """A call found in text."""

    name: str
    arguments: str
    """A JSON object, as text."""


def may_become_call(text: str) -> bool:
    """Return whether what has come so far may still turn out to be nothing but a call."""
    begun = text.lstrip()
    return any(opening.startswith(begun[: len(opening)]) for opening in _OPENINGS)


def find_call(text: str, declared: Collection[str]) -> TextCall | None:
    """Return the call where the whole of `text` is one `{"name", "arguments"}` object that names a declared tool."""
    stripped = text.strip()
    for wrapping in _WRAPPINGS:
        match = wrapping.match(stripped)
        if match is None:
            continue
        try:
            call = msgspec.json.decode(match["call"], type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        name, arguments = call.get("name"), call.get("arguments", call.get("parameters"))
        if isinstance(name, str) and name in declared and isinstance(arguments, dict):
            return TextCall(name, msgspec.json.encode(arguments).decode())
        return None
    return None
