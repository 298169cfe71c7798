"""What a request of OpenAI's Responses API must look like here, where nothing is stored and only functions are tools.

Refused is what would need a memory or a service behind the model. An absent `store`, which means true at OpenAI, means
false; `truncation` is never done: a conversation that is too long is refused whatever it says.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from privity.errors import InvalidRequestError
from privity.roles.inference_proxy.members import (
    MAX_TOOLS,
    FunctionName,
    ModelId,
    Positive,
    check_arguments,
    converted,
)
from privity.roles.inference_proxy.responses_tools import check_functions

MAX_METADATA = 16
"""Pairs of `metadata`, as OpenAI has it."""

_INCLUDED = ("reasoning.encrypted_content", "message.output_text.logprobs")
"""What `include` may ask for. Reasoning is never encrypted on its own, so the first one adds nothing."""

_REFUSED = {
    "store": "Nothing is stored here: send `store` as false, and the whole conversation as `input`",
    "previous_response_id": "Nothing is stored here, so no response can be continued: "
    "send the whole conversation as `input`",
    "conversation": "Nothing is stored here, so there are no conversations: send the whole one as `input`",
    "background": "Nothing is stored here, so no response can be fetched later: wait for it, or stream it",
    "prompt": "Nothing is stored here, so there are no prompt templates: send the text as `instructions` and `input`",
    "context_management": "`context_management` isn't supported: shorten `input` in your app",
    "moderation": "`moderation` isn't supported: check `input` and the answer in your app",
}

_Metadata = dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]]


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _TextConfig(msgspec.Struct):
    format: _Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class _Reasoning(msgspec.Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class ResponsesRequest(msgspec.Struct):
    """The members that are checked."""

    model: ModelId
    input: str | Annotated[list[dict[str, Any]], Meta(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    background: bool | None = None
    prompt: dict[str, Any] | None = None
    context_management: list[Any] | None = None
    moderation: dict[str, Any] | None = None
    max_output_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: _TextConfig | None = None
    reasoning: _Reasoning | None = None
    include: list[str] | None = None
    metadata: Annotated[_Metadata, Meta(max_length=MAX_METADATA)] | None = None
    truncation: Literal["auto", "disabled"] | None = None


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]


class _Call(msgspec.Struct):
    call_id: str
    name: FunctionName
    arguments: str


class _Output(msgspec.Struct):
    call_id: str
    output: str | list[dict[str, Any]]


class _Text(msgspec.Struct):
    text: str


class _Refusal(msgspec.Struct):
    refusal: str


class _Image(msgspec.Struct):
    image_url: str | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None


class _Thought(msgspec.Struct):
    content: list[_Text] | None = None


_ITEMS: dict[str, type[msgspec.Struct]] = {
    "message": _Message,
    "function_call": _Call,
    "function_call_output": _Output,
    "reasoning": _Thought,
}
_TEXTS: dict[str, type[msgspec.Struct]] = {"input_text": _Text, "output_text": _Text, "refusal": _Refusal}
_PARTS = _TEXTS | {"input_image": _Image}
"""What the user says, and what functions return: only that has images."""

_INSTEAD = {
    "item_reference": "nothing is stored here, so send the item itself",
    "input_file": "send its text as `input_text`",
    "input_audio": "send what is said as `input_text`; POST /v1/audio/transcriptions writes it down",
}
"""What can be sent in the place of items and parts that aren't supported."""


def check_responses(request: ResponsesRequest) -> None:
    """Check what a request's types don't say.

    Not checked: where an image is (`check_media` does that), and whether the model takes it.

    Raises:
        InvalidRequestError: it asks for what can't be had here, or contradicts itself; `param` names the member.
    """
    for name, refusal in _REFUSED.items():
        if getattr(request, name) not in (None, False):
            raise InvalidRequestError(f"{refusal}.", param=name, code="unsupported_parameter")
    if not set(request.include or ()) <= set(_INCLUDED):
        raise InvalidRequestError(
            f"`include` can ask only for {_listed(_INCLUDED)} here.", param="include", code="invalid_value"
        )
    wanted = request.text.format if request.text is not None else None
    if wanted is not None and wanted.type == "json_schema" and (not wanted.name or wanted.schema is None):
        raise InvalidRequestError(
            "`text.format` of type `json_schema` needs the members `name` and `schema`.",
            param="text.format",
            code="missing_parameter",
        )
    check_functions(request.tools or [], request.tool_choice)
    _check_items(request.input)


def _check_items(items: str | list[dict[str, Any]]) -> None:
    called: set[str] = set()
    for index, item in enumerate(items if isinstance(items, list) else ()):
        where = f"input[{index}]"
        match converted(item, _kind(_ITEMS, item.get("type", "message"), where), where):
            case _Message(role=role, content=list(parts)):
                _check_parts(parts, f"{where}.content", _PARTS if role == "user" else _TEXTS)
            case _Call() as call:
                check_arguments(call.arguments, f"{where}.arguments")
                called.add(call.call_id)
            case _Output() as output:
                if output.call_id not in called:
                    raise InvalidRequestError(
                        "No call with this `call_id` comes before its output. Nothing is stored here: "
                        "send the whole conversation as `input`, with the model's calls.",
                        param=f"{where}.call_id",
                        code="invalid_value",
                    )
                _check_parts(output.output if isinstance(output.output, list) else [], f"{where}.output", _PARTS)
    if isinstance(items, list) and all(item.get("type") == "reasoning" for item in items):
        raise InvalidRequestError(
            "`input` has nothing but reasoning. Add the message that is to be answered.",
            param="input",
            code="invalid_value",
        )


def _check_parts(parts: list[dict[str, Any]], where: str, kinds: dict[str, type[msgspec.Struct]]) -> None:
    for index, part in enumerate(parts):
        at = f"{where}[{index}]"
        found = converted(part, _kind(kinds, part.get("type"), at), at)
        if isinstance(found, _Image) and found.image_url is None:
            raise InvalidRequestError(
                "An image needs the member `image_url`, an `https:` or `data:` URL: no files are stored here.",
                param=at,
                code="missing_parameter",
            )


def _kind(kinds: dict[str, type[msgspec.Struct]], named: Any, where: str) -> type[msgspec.Struct]:
    name = named if isinstance(named, str) else ""
    if name in kinds:
        return kinds[name]
    raise InvalidRequestError(
        f"`{where}.type`: this type isn't supported; {_INSTEAD.get(name, f'there are {_listed(kinds)}')}.",
        param=f"{where}.type",
        code="invalid_value",
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
