"""What a request of Anthropic's API must look like before an engine sees it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from privity.errors import InvalidRequestError
from privity.roles.inference_proxy.members import MAX_TOOLS, ModelId, Positive, check_tools

MAX_STOP_SEQUENCES = 16
"""Stop sequences of one request, as many as a chat may have."""

_ToolName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
_Id = Annotated[str, Meta(min_length=1)]


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _OnlyText(msgspec.Struct):
    """A block where nothing else may be: of one kind alone, msgspec would also take blocks without a type."""

    type: Literal["text"]
    text: str


class _Base64(msgspec.Struct, tag_field="type", tag="base64"):
    media_type: str
    data: str


class _Url(msgspec.Struct, tag_field="type", tag="url"):
    url: str


class _Image(msgspec.Struct, tag_field="type", tag="image"):
    source: _Base64 | _Url


class _PlainText(msgspec.Struct, tag_field="type", tag="text"):
    data: str


class _Parts(msgspec.Struct, tag_field="type", tag="content"):
    content: str | list[_Text | _Image]


class _Citations(msgspec.Struct):
    enabled: bool | None = None


class _Document(msgspec.Struct, tag_field="type", tag="document"):
    source: _Base64 | _Url | _PlainText | _Parts
    title: str | None = None
    context: str | None = None
    citations: _Citations | None = None


class _SearchResult(msgspec.Struct, tag_field="type", tag="search_result"):
    source: str
    title: str
    content: list[_OnlyText]
    citations: _Citations | None = None


class _Result(msgspec.Struct, tag_field="type", tag="tool_result"):
    tool_use_id: _Id
    content: str | list[_Text | _Image | _Document | _SearchResult] | None = None
    is_error: bool | None = None


class _Use(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: _Id
    name: _ToolName
    input: dict[str, Any]


class _Thinking(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str


class _RedactedThinking(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    data: str


class _User(msgspec.Struct, tag_field="role", tag="user"):
    content: str | list[_Text | _Image | _Document | _SearchResult | _Result]


class _Assistant(msgspec.Struct, tag_field="role", tag="assistant"):
    content: str | list[_Text | _Thinking | _RedactedThinking | _Use]


class _System(msgspec.Struct, tag_field="role", tag="system"):
    content: str | list[_OnlyText]


class _Tool(msgspec.Struct):
    name: _ToolName
    input_schema: dict[str, Any]
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None


class _Choice(msgspec.Struct):
    type: Literal["auto", "any", "none", "tool"]
    name: _ToolName | None = None
    disable_parallel_tool_use: bool | None = None


class _ThinkingConfig(msgspec.Struct):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Positive | None = None
    display: Literal["summarized", "omitted"] | None = None


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _OutputConfig(msgspec.Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class CountRequest(msgspec.Struct, kw_only=True):
    """A request of `/v1/messages/count_tokens`."""

    model: ModelId
    messages: Annotated[list[_User | _Assistant | _System], Meta(min_length=1)]
    system: str | list[_OnlyText] | None = None
    tools: Annotated[list[_Tool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: _Choice | None = None
    thinking: _ThinkingConfig | None = None
    output_config: _OutputConfig | None = None


class MessagesRequest(CountRequest, kw_only=True):
    """A request of `/v1/messages`."""

    max_tokens: Positive
    stream: bool | None = None
    stop_sequences: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=MAX_STOP_SEQUENCES)] | None = (
        None
    )
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


def check_anthropic(request: CountRequest) -> None:
    """Check what types can't say of a request: that what it refers to is there.

    Raises:
        InvalidRequestError: it isn't; `param` names the member.
    """
    _check_tools(request)
    called: set[str] = set()
    for index, turn in enumerate(request.messages):
        where = f"messages[{index}].content"
        match turn:
            case _Assistant(content=list(blocks)):
                called |= {block.id for block in blocks if isinstance(block, _Use)}
            case _User(content=list(blocks)):
                for place, result in _results(blocks, where):
                    if result.tool_use_id not in called:
                        raise _refused(f"{place}.tool_use_id", "no earlier `tool_use` has this ID")


def _results(blocks: list[Any], where: str) -> Iterator[tuple[str, _Result]]:
    """Yield the results of tools among a user's blocks, which must begin with them, each with its place."""
    others = False
    for number, block in enumerate(blocks):
        if not isinstance(block, _Result):
            others = True
        elif others:
            raise _refused(f"{where}[{number}]", "results of tools come before all else of a message")
        else:
            yield f"{where}[{number}]", block


def _check_tools(request: CountRequest) -> None:
    choice = request.tool_choice
    chosen: list[str] = []
    if choice is not None and choice.type == "tool":
        if choice.name is None:
            raise _refused("tool_choice.name", "it must be the name of one of `tools`")
        chosen = [choice.name]
    demanded = choice is not None and choice.type in ("any", "tool")
    check_tools([tool.name for tool in request.tools or ()], chosen, demanded=demanded, where="tool_choice.name")


def _refused(where: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{where}`: {problem}.", param=where, code="invalid_value")
