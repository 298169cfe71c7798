"""What no JSON schema can say of valid requests (SCHEMATHESIS_HOOKS)."""

from typing import Any

import schemathesis

EXAMPLE = "qwen2.5-0.5b-instruct"
"""The model of the documents' examples."""

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
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        case.body.pop("stream", None)  # the fake engine streams no transcriptions
    if case.meta is not None and case.meta.generation.mode.is_positive:
        case.body = _consistent(_printable(_with_whole_numbers(case.body)))


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
