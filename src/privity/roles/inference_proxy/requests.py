"""What a request must look like before an engine sees it: engines answer strangely to what they do not expect."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from privity.errors import InvalidRequestError, RouteNotFoundError
from privity.roles.inference_proxy.anthropic_requests import CountRequest, MessagesRequest, check_anthropic
from privity.roles.inference_proxy.media import check_media
from privity.roles.inference_proxy.members import (
    MAX_TOOLS,
    FunctionName,
    ModelId,
    Positive,
    check_arguments,
    check_tools,
    converted,
)
from privity.roles.inference_proxy.responses_requests import ResponsesRequest, check_responses

MAX_CHOICES = 16
"""Choices of one request (`n`): each costs a generation."""

MAX_COMPLETIONS = 128
"""Choices times prompts of one request."""

MAX_INPUTS = 2048
"""Inputs of one embeddings request, as OpenAI has it."""

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Text = Annotated[str, Meta(min_length=1)]


class _Part(msgspec.Struct):
    type: Literal["text", "image_url", "input_audio", "file", "refusal", "video_url", "audio_url"]
    text: str | None = None
    refusal: str | None = None


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    function: _CalledFunction
    type: Literal["function"] = "function"


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[_Part], Meta(min_length=1)] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Function(msgspec.Struct):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    type: Literal["function"]
    function: _Function


class _NamedFunction(msgspec.Struct):
    name: FunctionName


class _NamedTool(msgspec.Struct):
    type: Literal["function"]
    function: _NamedFunction


class _JsonSchema(msgspec.Struct):
    name: str
    schema: dict[str, Any] | None = None


class _ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Generation(msgspec.Struct):
    model: ModelId
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Positive | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    seed: int | None = None
    stop: _Text | Annotated[list[_Text], Meta(max_length=16)] | None = None
    logit_bias: dict[str, float] | None = None


class _Chat(_Generation, kw_only=True):
    messages: Annotated[list[_Message], Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    tools: Annotated[list[_Tool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedTool | None = None
    response_format: _ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class _Completion(_Generation, kw_only=True):
    prompt: str | Annotated[list[Any], Meta(min_length=1)]


class _Embeddings(msgspec.Struct):
    model: ModelId
    input: str | Annotated[list[Any], Meta(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None


_REQUESTS: dict[str, type[msgspec.Struct]] = {
    "/v1/chat/completions": _Chat,
    "/v1/completions": _Completion,
    "/v1/embeddings": _Embeddings,
    "/v1/messages": MessagesRequest,
    "/v1/messages/count_tokens": CountRequest,
    "/v1/responses": ResponsesRequest,
}


def check_request(endpoint: str, body: dict[str, Any]) -> None:
    """Check a request's members; ones that are not known here are left to the engine.

    Raises:
        InvalidRequestError: a member is missing, or has a value that it must not have; `param` names it.
        RouteNotFoundError: no such endpoint.
    """
    if endpoint not in _REQUESTS:
        raise RouteNotFoundError(f"There is no {endpoint} here.")
    request = converted(body, _REQUESTS[endpoint])
    match request:
        case _Chat():
            _check_chat(request)
        case CountRequest():
            check_anthropic(request)
        case ResponsesRequest():
            check_responses(request)
        case _Completion():
            _check_items(request.prompt, "prompt")
            _check_prompts(request)
        case _Embeddings():
            _check_items(request.input, "input")
    if isinstance(request, _Chat | CountRequest | ResponsesRequest):
        check_media(body)


def _check_chat(request: _Chat) -> None:
    for index, message in enumerate(request.messages):
        _check_message(message, f"messages[{index}]")
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is None:
        raise InvalidRequestError(
            "`response_format` of type `json_schema` needs the member `json_schema`.",
            param="response_format",
            code="missing_parameter",
        )
    chosen = [request.tool_choice.function.name] if isinstance(request.tool_choice, _NamedTool) else []
    declared = [tool.function.name for tool in request.tools or ()]
    check_tools(declared, chosen, demanded=request.tool_choice == "required" or bool(chosen))


def _check_message(message: _Message, where: str) -> None:
    if message.content is None and not (message.role == "assistant" and message.tool_calls):
        raise InvalidRequestError(f"`{where}` has no `content`.", param=f"{where}.content", code="missing_parameter")
    parts = message.content if isinstance(message.content, list) else ()
    if any(part.type == "text" and part.text is None for part in parts):
        raise InvalidRequestError(
            "A content part of type `text` needs the member `text`.",
            param=f"{where}.content",
            code="missing_parameter",
        )
    for number, call in enumerate(message.tool_calls or ()):
        check_arguments(call.function.arguments, f"{where}.tool_calls[{number}].function.arguments")


def _check_items(given: str | list[Any], param: str) -> None:
    """Check a text, several texts, a list of token numbers, or several of those."""
    texts: list[Any] = []
    lists: list[Any] = []
    if isinstance(given, str):
        texts = [given]
    elif all(isinstance(each, str) for each in given):
        texts = given
    else:
        lists = [given] if all(_is_token(each) for each in given) else given
    if any(not text for text in texts):
        raise InvalidRequestError(f"`{param}` must not hold an empty text.", param=param, code="invalid_value")
    if any(not isinstance(each, list) or not each or not all(map(_is_token, each)) for each in lists):
        raise InvalidRequestError(
            f"`{param}` must be a text, a list of texts, a list of token numbers, or a list of such lists.",
            param=param,
            code="invalid_value",
        )


def _check_prompts(request: _Completion) -> None:
    several = isinstance(request.prompt, list) and not _is_token(request.prompt[0])
    choices = (len(request.prompt) if several else 1) * (request.n or 1)
    if choices > MAX_COMPLETIONS:
        raise InvalidRequestError(
            f"`prompt` and `n` ask for {choices} completions; {MAX_COMPLETIONS} are the limit.",
            param="prompt",
            code="invalid_value",
        )


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
