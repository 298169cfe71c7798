"""The tools of a request of OpenAI's Responses API: functions, which the app runs."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from privity.errors import InvalidRequestError
from privity.roles.inference_proxy.members import MAX_TOOLS, FunctionName, check_tools, converted


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


def check_functions(tools: list[dict[str, Any]], choice: str | dict[str, Any] | None) -> None:
    """Check `tools` and `tool_choice`.

    Raises:
        InvalidRequestError: one of them is no function, or is declared twice, or the choice is not among them.
    """
    declared = [_checked(tool, f"tools[{index}]").name for index, tool in enumerate(tools)]
    chosen = _chosen(choice)
    check_tools(declared, chosen, demanded=choice == "required" or bool(chosen))


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
    raise InvalidRequestError(
        "`tool_choice` must be `none`, `auto`, `required`, or of type `function` or `allowed_tools`.",
        param="tool_choice",
        code="invalid_value",
    )
