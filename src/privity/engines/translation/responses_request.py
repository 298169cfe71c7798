"""A request of OpenAI's Responses API as a chat."""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from privity.engines.engine import Json
from privity.engines.translation.chats import thought_before

_SAME = ("model", "stream", "temperature", "top_p", "cache_salt")
"""Members that chats have under the same name, with the same meaning."""

_SYSTEM = ("system", "developer")
_FUNCTION = ("name", "description", "parameters", "strict")
_SCHEMA = ("name", "description", "schema", "strict")


def chat_of(request: Json) -> Json:
    """Return the chat that a valid, stateless request means; members that chats have no name for are left out.

    What one answer was before is one message again: its text, its calls and the thoughts that led to them. All that is
    said to the model before the conversation is one system message: most chat templates know a single one.
    """
    chat = {name: request[name] for name in _SAME if request.get(name) is not None}
    chat["messages"] = _messages(request)
    if request.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    if request.get("max_output_tokens") is not None:
        chat["max_tokens"] = request["max_output_tokens"]
    effort = (request.get("reasoning") or {}).get("effort")
    if effort is not None:
        chat["reasoning_effort"] = effort
    if wants_logprobs(request):
        chat |= {"logprobs": True, "top_logprobs": max(1, asked_alternatives(request))}  # 0 gives none at some engines
    return chat | _tools(request) | _response_format(request)


def wants_logprobs(request: Json) -> bool:
    """Return whether the answer's text comes with the probabilities of its tokens."""
    return asked_alternatives(request) > 0 or "message.output_text.logprobs" in (request.get("include") or ())


def asked_alternatives(request: Json) -> int:
    """Return with how many alternatives each of them comes."""
    return request.get("top_logprobs") or 0


def _messages(request: Json) -> list[Json]:
    items = request["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if request.get("instructions"):
        items = [{"role": "system", "content": request["instructions"]}, *items]
    preface = [_text(item["content"]) for item in takewhile(_is_system, items)]
    messages = list(_of_items(items[len(preface) :]))
    if not preface:
        return messages
    return [{"role": "system", "content": "\n\n".join(preface)}, *messages]


def _is_system(item: Json) -> bool:
    return item.get("type", "message") == "message" and item["role"] in _SYSTEM


def _of_items(items: list[Json]) -> Iterator[Json]:
    """Yield the messages of a conversation's items."""
    turn: Json = {}
    for item in items:
        added = _added(item)
        if turn and (added is None or "thought" in added or ("content" in added and "content" in turn)):
            yield from _finished(turn)
            turn = {}
        if added is None:
            yield _message(item)
        else:
            calls = turn.get("tool_calls", []) + added.get("tool_calls", [])
            turn |= added | ({"tool_calls": calls} if calls else {})
    yield from _finished(turn)


def _added(item: Json) -> Json | None:
    """Return what an item adds to the model's turn: a thought, or members of its message; None for what isn't its."""
    match item.get("type", "message"):
        case "reasoning":
            return {"thought": _text(item.get("content") or [])}
        case "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            return {"tool_calls": [{"id": item["call_id"], "type": "function", "function": function}]}
        case "message" if item["role"] == "assistant":
            return {"content": _text(item["content"])}
    return None


def _finished(turn: Json) -> Iterator[Json]:
    """Yield the model's message; none where it is nothing but a thought."""
    if "content" in turn or "tool_calls" in turn:
        yield {"role": "assistant", "content": None} | thought_before(turn.pop("thought", "")) | turn


def _message(item: Json) -> Json:
    if item.get("type", "message") == "function_call_output":
        return {"role": "tool", "tool_call_id": item["call_id"], "content": _content(item["output"])}
    return {"role": "system" if _is_system(item) else item["role"], "content": _content(item["content"])}


def _content(content: str | list[Json]) -> str | list[Json]:
    """Return text as text, and as parts only what has images."""
    if isinstance(content, str) or all(part["type"] != "input_image" for part in content):
        return _text(content)
    return [
        _image(part) if part["type"] == "input_image" else {"type": "text", "text": _said(part)} for part in content
    ]


def _image(part: Json) -> Json:
    detail = {"detail": part["detail"]} if part.get("detail") in ("low", "high", "auto") else {}
    return {"type": "image_url", "image_url": {"url": part["image_url"]} | detail}


def _text(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "\n".join(map(_said, content))


def _said(part: Json) -> str:
    return str(part["refusal"] if part.get("type") == "refusal" else part["text"])


def _tools(request: Json) -> Json:
    """Return the tools that may be called, and the choice among them; nothing where there are none."""
    tools, choice = request.get("tools"), request.get("tool_choice")
    if not tools:
        return {}
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        allowed = {tool["name"] for tool in choice["tools"]}
        tools, choice = [tool for tool in tools if tool["name"] in allowed], choice["mode"]
    elif isinstance(choice, dict):
        choice = {"type": "function", "function": {"name": choice["name"]}}
    chosen = {"tool_choice": choice, "parallel_tool_calls": request.get("parallel_tool_calls")}
    return {
        "tools": [{"type": "function", "function": _given(tool, _FUNCTION)} for tool in tools],
        **_given(chosen, tuple(chosen)),
    }


def _response_format(request: Json) -> Json:
    wanted = (request.get("text") or {}).get("format") or {"type": "text"}
    match wanted["type"]:
        case "text":
            return {}
        case "json_schema":
            return {"response_format": {"type": "json_schema", "json_schema": _given(wanted, _SCHEMA)}}
        case kind:
            return {"response_format": {"type": kind}}


def _given(members: Json, names: tuple[str, ...]) -> Json:
    found: dict[str, Any] = {name: members[name] for name in names if members.get(name) is not None}
    return found
