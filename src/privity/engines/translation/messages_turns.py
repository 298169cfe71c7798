"""The turns of a Messages request as a chat's messages."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from privity.engines.engine import Json
from privity.engines.translation.chats import thought_before
from privity.errors import InvalidRequestError

_Placed = tuple[str, Json]
"""A content block, after its place in the request."""


def chat_messages(request: Json) -> list[Json]:
    """Return the messages of a chat that mean what a valid request does.

    Turns in a row by the same role are one, as Anthropic has it: many chat templates insist that roles alternate. What
    a model thought goes along under both of the names that engines know; what Anthropic's thought and nobody else can
    read is left out.

    Raises:
        InvalidRequestError: a block is one that chats have nothing for; `param` names it.
    """
    system = [("system", {"role": "system", "content": request["system"]})] if request.get("system") else []
    turns = [*system, *((f"messages[{index}]", turn) for index, turn in enumerate(request["messages"]))]
    messages: list[Json] = []
    for role, group in groupby(turns, key=lambda placed: placed[1]["role"]):
        blocks = [block for where, turn in group for block in _placed(turn["content"], f"{where}.content")]
        match role:
            case "assistant":
                messages.append(_assistant(blocks))
            case "user":
                messages += _user(blocks)
            case _:
                messages.append({"role": "system", "content": _content(_parts(blocks))})
    return messages


def unsupported(where: str, problem: str) -> InvalidRequestError:
    """Return the error about a member that this translation would have to leave out, and whose meaning would be lost.

    Args:
        where: the member.
        problem: a sentence without its full stop.
    """
    return InvalidRequestError(f"`{where}`: {problem}.", param=where, code="unsupported_parameter")


def _placed(content: str | list[Json] | None, where: str) -> Iterator[_Placed]:
    if isinstance(content, str):
        yield where, _text(content)
    for index, block in enumerate(content if isinstance(content, list) else ()):
        yield f"{where}[{index}]", block


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _user(blocks: list[_Placed]) -> Iterator[Json]:
    """Yield a message for each result of a tool, and one for all else.

    Messages of the role `tool` hold text alone, so pictures among the results are in the last message.
    """
    rest: list[Json] = []
    results = [placed for placed in blocks if placed[1]["type"] == "tool_result"]
    for where, result in results:
        parts = _parts(_placed(result.get("content"), f"{where}.content"))
        pictures = [part for part in parts if part["type"] != "text"]
        if pictures:
            rest += [_text(f"Images in the result of the call {result['tool_use_id']}:"), *pictures]
        said = _content([part for part in parts if part["type"] == "text"])
        content = f"Error: {said}" if result.get("is_error") else said
        yield {"role": "tool", "tool_call_id": result["tool_use_id"], "content": content}
    rest += _parts(placed for placed in blocks if placed[1]["type"] != "tool_result")
    if rest or not results:
        yield {"role": "user", "content": _content(rest)}


def _assistant(blocks: list[_Placed]) -> Json:
    said, thought, calls = [], [], []
    for where, block in blocks:
        match block["type"]:
            case "text":
                said.append(block["text"])
            case "thinking":
                thought.append(block["thinking"])
            case "redacted_thinking":
                pass
            case "tool_use":
                function = {"name": block["name"], "arguments": msgspec.json.encode(block["input"]).decode()}
                calls.append({"id": block["id"], "type": "function", "function": function})
            case kind:
                raise unsupported(where, f"blocks of type `{kind}` aren't supported in an answer")
    message: Json = {"role": "assistant", "content": "".join(said) or (None if calls else "")}
    return message | thought_before("\n".join(filter(None, thought))) | ({"tool_calls": calls} if calls else {})


def _content(parts: list[Json]) -> str | list[Json]:
    """Return the content of a message: text where it is no more, since every chat template understands that."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts if part["text"])
    return parts


def _parts(blocks: Iterable[_Placed]) -> list[Json]:
    return [part for where, block in blocks for part in _parts_of(where, block)]


def _parts_of(where: str, block: Json) -> list[Json]:
    match block["type"]:
        case "text":
            return [_text(block["text"])]
        case "image":
            return [{"type": "image_url", "image_url": {"url": _url(block["source"])}}]
        case "document":
            inside = _document(where, block["source"])
            return [*_heading(where, block, "title", "context"), *inside]
        case "search_result":
            return [
                *_heading(where, block, "title", "source"),
                *_parts(_placed(block["content"], f"{where}.content")),
            ]
        case kind:
            raise unsupported(where, f"blocks of type `{kind}` aren't supported here")


def _url(source: Json) -> str:
    url: str = source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
    return url


def _heading(where: str, block: Json, *names: str) -> list[Json]:
    if (block.get("citations") or {}).get("enabled"):
        raise unsupported(f"{where}.citations", "citations aren't supported by this model's engine")
    return [_text(block[name]) for name in names if block.get(name)]


def _document(where: str, source: Json) -> list[Json]:
    match source["type"]:
        case "text":
            return [_text(source["data"])]
        case "content":
            return _parts(_placed(source["content"], f"{where}.source.content"))
        case _:
            raise unsupported(
                f"{where}.source", "PDF documents aren't supported; send the text in a source of type `text`"
            )
