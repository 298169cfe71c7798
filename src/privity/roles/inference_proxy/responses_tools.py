"""The tools of a request of OpenAI's Responses API: functions, which the app runs."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from privity.errors import InvalidRequestError
from privity.roles.inference_proxy.members import MAX_TOOLS, FunctionName, converted


class _Tool(msgspec.Struct):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Named(msgspec.Struct):
    type: Literal["function"]
    name: FunctionName


class _Allowed(msgspec.Struct):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[_Named], Meta(min_length=1, max_length=MAX_TOOLS)]


def check_tools(tools: list[dict[str, Any]], choice: str | dict[str, Any] | None) -> None:
    """Check `tools` and `tool_choice`.

    Raises:
        InvalidRequestError: one of them is no function, or is declared twice, or the choice is not among them.
    """
    declared: set[str] = set()
    for index, tool in enumerate(tools):
        name = _checked(tool, f"tools[{index}]").name
        if name in declared:
            raise InvalidRequestError("`tools` declares a function twice.", param="tools")
        declared.add(name)
    chosen = _chosen(choice)
    if choice == "required" or chosen:
        if not tools:
            raise _wrong("`tool_choice` demands a call, but `tools` declares no function")
        if missing := [name for name in chosen if name not in declared]:
            raise _wrong(f"`tool_choice` names `{missing[0]}`, which `tools` doesn't declare")


def _checked(tool: dict[str, Any], where: str) -> _Tool:
    if tool.get("type") != "function":
        raise InvalidRequestError(
            f"`{where}.type`: only functions are tools here; nothing searches, runs code or calls servers for a model. "
            "Declare a function, and run it in your app.",
            param=f"{where}.type",
            code="invalid_value",
        )
    return converted(tool, _Tool, where)


def _chosen(choice: str | dict[str, Any] | None) -> list[str]:
    """Return the functions that a choice names."""
    if not isinstance(choice, dict):
        return []
    if choice.get("type") == "function":
        return [converted(choice, _Named, "tool_choice").name]
    if choice.get("type") == "allowed_tools":
        return [tool.name for tool in converted(choice, _Allowed, "tool_choice").tools]
    raise _wrong("`tool_choice` must be `none`, `auto`, `required`, or of type `function` or `allowed_tools`")


def _wrong(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{problem}.", param="tool_choice", code="invalid_value")
