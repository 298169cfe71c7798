"""What no JSON schema can say of valid requests (SCHEMATHESIS_HOOKS)."""

from typing import Any

import schemathesis

EXAMPLE = "qwen2.5-0.5b-instruct"
"""The model of the documents' examples."""

PICTURE = "R0lGODlhAQABAAAAACw="
"""The header of a GIF with one pixel."""

SERVED = "model-1b"
"""What the fake engine serves instead."""


@schemathesis.hook
def before_load_schema(_context: schemathesis.HookContext, schema: dict[str, Any]) -> None:
    """Let the examples name a model that is there."""
    schema |= _with_served(schema)


def _with_served(value: Any) -> Any:
    match value:
        case dict():
            return {name: _with_served(each) for name, each in value.items()}
        case list():
            return [_with_served(each) for each in value]
    return SERVED if value == EXAMPLE else value


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Make valid what the document's schema takes for valid."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        case.body = _consistent(_printable(_with_whole_numbers(case.body)))
        if case.path == "/v1/chat/completions":
            case.body = _pictured(case.body)
        if case.path.startswith("/v1/messages"):
            case.body = _anthropic(case.body)
        if case.path == "/v1/responses" and isinstance(case.body, dict):
            case.body = _pictured(_response(case.body))


def _with_whole_numbers(value: Any) -> Any:
    """Write whole numbers as clients do: JSON Schema takes `5.0` for an integer, and Privity doesn't."""
    match value:
        case dict():
            return {name: _with_whole_numbers(each) for name, each in value.items()}
        case list():
            return [_with_whole_numbers(each) for each in value]
        case float() if value.is_integer():
            return int(value)
    return value


def _printable(body: Any) -> Any:
    """Name the served model instead of one with characters that Python's Unicode doesn't know."""
    match body:
        case {"model": str(model)} if not model.isprintable():
            return body | {"model": SERVED}
    return body


def _consistent(body: Any) -> Any:
    match body:
        case {"dimensions": int(), "input": _}:  # the fake engine's vectors have two
            return body | {"dimensions": min(body["dimensions"], 2)}
        case {"prompt": [*_], "n": int()}:  # their product is limited
            return body | {"n": 1}
        case {"messages": _, "tools": [{"function": {"name": name}}, *_]}:
            return body | {"tools": body["tools"][:1]} | _chosen(body.get("tool_choice"), name)
    return body


def _chosen(choice: Any, name: str) -> dict[str, Any]:
    """Return the choice of a function, if it is one, as that of the function that is declared."""
    match choice:
        case {"function": {"name": _}}:
            return {"tool_choice": choice | {"function": choice["function"] | {"name": name}}}
    return {}


def _response(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out outputs of calls that nobody made, choose the declared tool, and let there be something to answer."""
    match body:
        case {"input": [*items]}:
            kept = [item for item in items if item.get("type") != "function_call_output"]
            has_more = any(item.get("type") != "reasoning" for item in kept)
            body = body | {"input": kept if has_more else "x"}
    match body:
        case {"tools": [{"name": name}, *_], "tool_choice": {"type": kind} as choice}:
            named = {"type": "function", "name": name}
            body = body | {"tool_choice": named if kind == "function" else choice | {"tools": [named]}}
    return body | ({"tools": body["tools"][:1]} if body.get("tools") else {})


def _pictured(value: Any) -> Any:
    match value:
        case {"type": "input_image"}:
            return value | {"image_url": f"data:image/gif;base64,{PICTURE}"}
        case {"type": "image_url", "image_url": dict(image)}:
            return value | {"image_url": image | {"url": f"data:image/gif;base64,{PICTURE}"}}
        case dict():
            return {name: _pictured(each) for name, each in value.items()}
        case list():
            return [_pictured(each) for each in value]
    return value


def _anthropic(value: Any) -> Any:
    """Leave out results of calls that nobody made, choose the declared tool, and show pictures that are some."""
    match value:
        case {"tools": [{"name": name}, *_], **others}:
            choice = others.get("tool_choice")
            named = {"tool_choice": choice | {"name": name}} if isinstance(choice, dict) and "name" in choice else {}
            return _anthropic(others | named) | {"tools": value["tools"][:1]}
        case {"type": "base64", "data": _}:
            return value | {"data": PICTURE}
        case dict():
            return {name: _anthropic(each) for name, each in value.items()}
        case list():
            return [_anthropic(each) for each in value if not _is_result(each)]
    return value


def _is_result(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "tool_result"
