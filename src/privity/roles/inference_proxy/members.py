"""What members of several APIs' requests must look like, and what a client is told of one that doesn't."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from privity.errors import InvalidRequestError
from privity.protocol.fields import MAX_MODEL_ID_CHARACTERS

MAX_TOOLS = 128
"""Declared functions, as OpenAI has it."""

Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
ModelId = Annotated[str, Meta(min_length=1, max_length=MAX_MODEL_ID_CHARACTERS)]
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

T = TypeVar("T")


def converted(value: Any, kind: type[T], where: str = "") -> T:
    """Return a JSON value as `kind`, a msgspec type.

    Args:
        value: the request, or a member of it.
        kind: what it must be.
        where: the member's place in the request.

    Raises:
        InvalidRequestError: it is something else; `param` names the member that is to blame.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _invalid(error, where) from error


def check_tools(declared: Sequence[str], chosen: Sequence[str], *, demanded: bool, where: str = "tool_choice") -> None:
    """Check that each function is declared once, and that a choice among them can be followed.

    Args:
        declared: the functions' names.
        chosen: those that the choice names.
        demanded: whether it demands a call.
        where: the place in the request of the names that the choice has.

    Raises:
        InvalidRequestError: `param` names the member.
    """
    if len(set(declared)) != len(declared):
        raise InvalidRequestError("`tools` declares a function twice.", param="tools", code="invalid_value")
    if demanded and not declared:
        raise InvalidRequestError(
            "`tool_choice` demands a call, but `tools` declares no function.", param="tool_choice", code="invalid_value"
        )
    if missing := [name for name in chosen if name not in declared]:
        raise InvalidRequestError(
            f"`tool_choice` names `{missing[0]}`, which `tools` doesn't declare.", param=where, code="invalid_value"
        )


def check_arguments(arguments: str, where: str) -> None:
    """Check the arguments of an earlier call, which some clients leave empty where there are none.

    Raises:
        InvalidRequestError: they are no JSON object; `param` is `where`.
    """
    if not arguments:
        return
    try:
        msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequestError(
            "The arguments of a call must be a JSON object, as text.", param=where, code="invalid_value"
        ) from error


def _invalid(error: msgspec.ValidationError, outside: str) -> InvalidRequestError:
    text, _, path = str(error).partition(" - at `")
    where = (outside + path.rstrip("`").removeprefix("$")).removeprefix(".")
    if not where and "required field" in text:
        where = text.rsplit("`", 2)[1]
        return InvalidRequestError(f"The member `{where}` is missing.", param=where, code="missing_parameter")
    problem = "it has a value that is not among the allowed ones" if text.startswith("Invalid enum") else text
    return InvalidRequestError(f"`{where}`: {problem}.", param=where or None, code="invalid_value")
