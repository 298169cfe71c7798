"""A request of Anthropic's Messages API as a chat."""

from dataclasses import dataclass

from privity.engines.engine import METERED, Json
from privity.engines.translation.messages_turns import chat_messages, unsupported

_SAME = {
    **{name: name for name in ("model", "max_tokens", "temperature", "top_p", "top_k", "cache_salt")},
    "stop_sequences": "stop",
}
"""Members that have the same meaning in a chat, with the names that they have there."""

_READ = frozenset({*_SAME, "messages", "stream", "system", "tools", "tool_choice", "thinking", "output_config"})

_WITHOUT_MEANING = frozenset({"cache_control", "metadata", "service_tier", "speed"})
"""Members about accounts, prices and speed: an answer is as good without them."""

_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""The efforts of chats, which have none above `high`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request its answer depends on."""

    model: str
    """What the answer names as its model."""
    stop_sequences: frozenset[str]
    shows_thinking: bool
    """Whether what the model thought is in the answer."""


def asked_of(request: Json) -> Asked:
    """Return what of a valid request its answer depends on."""
    thinking = request.get("thinking") or {}
    is_hidden = thinking.get("type") == "disabled" or thinking.get("display") == "omitted"
    return Asked(request["model"], frozenset(request.get("stop_sequences") or ()), shows_thinking=not is_hidden)


def chat_of(request: Json) -> Json:
    """Return the chat that means what a valid request does.

    A last turn of the assistant is continued. A budget for thinking counts only as the wish to think: what limits the
    answer is `max_tokens`.

    Raises:
        InvalidRequestError: something of it has no meaning in a chat, and can't be left out; `param` names it.
    """
    for name, value in request.items():
        if name not in _READ | _WITHOUT_MEANING and value is not None:
            raise unsupported(name, "this model's engine doesn't support it")
    chat = {new: request[name] for name, new in _SAME.items() if request.get(name) not in (None, [])}
    chat["messages"] = chat_messages(request)
    chat |= _tools(request) | _thinking(request) | _output(request)
    last = chat["messages"][-1]
    if last["role"] == "assistant" and "tool_calls" not in last:
        chat |= {"continue_final_message": True, "add_generation_prompt": False}
    return chat | ({"stream": True, "stream_options": METERED} if request.get("stream") else {})


def _tools(request: Json) -> Json:
    declared = request.get("tools")
    if not declared:
        return {}
    members: Json = {"tools": [_tool(tool, f"tools[{index}]") for index, tool in enumerate(declared)]}
    choice = request.get("tool_choice") or {}
    match choice.get("type"):
        case "any":
            members["tool_choice"] = "required"
        case "tool":
            members["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
        case "auto" | "none" as same:
            members["tool_choice"] = same
    return members | ({"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {})


def _tool(tool: Json, where: str) -> Json:
    if tool.get("defer_loading") or tool.get("allowed_callers") not in (None, ["direct"]):
        raise unsupported(where, "tools are declared to the model, which calls them itself")
    if tool.get("input_examples"):
        raise unsupported(f"{where}.input_examples", "write the examples into the tool's `description`")
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    same = {name: tool[name] for name in ("description", "strict") if tool.get(name) is not None}
    return {"type": "function", "function": function | same}


def _thinking(request: Json) -> Json:
    """Return the switches of chat templates, which have two names, where the request says whether to think."""
    kind = (request.get("thinking") or {}).get("type")
    if kind is None:
        return {}
    return {"chat_template_kwargs": dict.fromkeys(("enable_thinking", "thinking"), kind != "disabled")}


def _output(request: Json) -> Json:
    config = request.get("output_config") or {}
    members: Json = {}
    if config.get("effort") is not None:
        members["reasoning_effort"] = _EFFORTS[config["effort"]]
    if config.get("format") is not None:
        schema = {"name": "answer", "schema": config["format"]["schema"], "strict": True}
        members["response_format"] = {"type": "json_schema", "json_schema": schema}
    return members
