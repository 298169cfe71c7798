"""What a gateway can do to the list of models that passes through it, defect by defect. It can sign nothing.

Each defect changes the JSON of an answer with whole records (`detail=full`) of `MODELS`, in place.
"""

import base64
from collections.abc import Callable
from typing import Any

from privity.catalogue.model import Facts, Model

Listed = dict[str, Any]
"""`data`, and `signers` by their name."""

ListDefect = Callable[[Listed], object]

CHAT = Model(
    "org/chat",
    ("generate", "tool_calling"),
    1700000000,
    "org",
    aliases=("chat",),
    floating_aliases=("chat-latest",),
    context_length=4096,
    max_output_tokens=512,
    root="chat.gguf",
    facts=Facts(sha256="a" * 64),
)
EMBED = Model("org/embed", ("embed",), 1700000001, "org", aliases=("embed",), root="embed.gguf")
MODELS = (CHAT, EMBED)


def _on_chat(**members: Any) -> ListDefect:
    return lambda listed: listed["data"][0].update(members)


def _swapped(name: str) -> ListDefect:
    def defect(listed: Listed) -> None:
        chat, embed = listed["data"]
        chat[name], embed[name] = embed.get(name), chat.get(name)

    return defect


def _in_statement(name: str, change: Callable[[bytes], bytes]) -> ListDefect:
    def defect(listed: Listed) -> None:
        statement = listed["data"][0]["statement"]
        statement[name] = base64.b64encode(change(base64.b64decode(statement[name]))).decode()

    return defect


def _flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def _unsigned(row: Listed, **members: Any) -> Listed:
    return {name: value for name, value in row.items() if name != "statement"} | members


def _moved_alias(listed: Listed) -> None:
    chat, embed = listed["data"]
    chat["aliases"].remove("chat")
    embed["aliases"].append("chat")


def _strip_and_take_id(listed: Listed) -> None:
    chat, embed = listed["data"]
    embed["aliases"].append("org/chat")
    listed["data"] = [embed, _unsigned(chat, aliases=[], floating_aliases=[])]


LISTS: dict[str, ListDefect] = {
    "a made-up model": lambda listed: listed["data"].append(_unsigned(listed["data"][0], id="org/evil", aliases=[])),
    "a made-up model with another's statement": lambda listed: listed["data"].append(
        listed["data"][0] | {"id": "org/evil", "aliases": [], "floating_aliases": []}
    ),
    "a made-up model first, by another's ID": lambda listed: listed["data"].insert(
        0, _unsigned(listed["data"][0], root="evil.gguf")
    ),
    "a made-up model that has another's ID for an alias": lambda listed: listed["data"].insert(
        0, _unsigned(listed["data"][0], id="org/evil", aliases=["org/chat", "chat"])
    ),
    "a statement of a signer that isn't listed": lambda listed: listed["signers"].clear(),
    "strip a statement": lambda listed: listed["data"][0].pop("statement"),
    "strip all statements": lambda listed: [row.pop("statement") for row in listed["data"]],
    "swap two statements": _swapped("statement"),
    "swap two IDs": _swapped("id"),
    "swap the engines' names": _swapped("root"),
    "swap all names": lambda listed: [_swapped(name)(listed) for name in ("id", "aliases", "floating_aliases")],
    "make an alias the ID": _on_chat(id="chat", aliases=["org/chat"]),
    "move an alias to another model": _moved_alias,
    "give a model another's ID as an alias": lambda listed: listed["data"][1]["aliases"].append("org/chat"),
    "the same, first": lambda listed: (
        listed["data"][1]["aliases"].append("org/chat"),
        listed["data"].reverse(),
    ),
    "strip a statement and give the ID to another model": _strip_and_take_id,
    "move a floating alias": lambda listed: (
        listed["data"][0]["floating_aliases"].clear(),
        listed["data"][0]["aliases"].remove("chat-latest"),
        listed["data"][1]["aliases"].append("chat-latest"),
    ),
    "add an alias": lambda listed: listed["data"][0]["aliases"].append("gpt-9"),
    "add a floating alias": lambda listed: listed["data"][0]["floating_aliases"].append("newest"),
    "make an alias float": lambda listed: listed["data"][0]["floating_aliases"].append("chat"),
    "claim a task": lambda listed: listed["data"][0]["tasks"].append("vision"),
    "claim another task": lambda listed: listed["data"][0].update(tasks=["embed"]),
    "claim evidence": lambda listed: listed["data"][0].update(
        tasks=["generate", "vision"], evidence={"vision": {"source": "probed", "at": "2026-11-22T00:00:00Z"}}
    ),
    "raise the context": _on_chat(context_length=10**6, max_model_len=10**6),
    "raise the longest answer": _on_chat(max_output_tokens=10**6),
    "another engine's name": _on_chat(root="evil.gguf"),
    "another owner": _on_chat(owned_by="evil"),
    "another name to show": _on_chat(display_name="Evil"),
    "other weights": _on_chat(facts={"sha256": "b" * 64}),
    "claim to be verified": lambda listed: listed["data"].append(
        _unsigned(listed["data"][0], id="org/evil", aliases=[], floating_aliases=[], verified=True)
    ),
    "flip a bit of a signature": _in_statement("signature", _flipped),
    "flip a bit of a payload": _in_statement("payload", lambda payload: payload.replace(b"4096", b"4097")),
    "write a payload in another way": _in_statement("payload", lambda payload: payload.replace(b":4096", b": 4096")),
    "cut a payload": _in_statement("payload", lambda payload: payload[:-1]),
    "empty a signature": _in_statement("signature", lambda _: b""),
    "repeat a model": lambda listed: listed["data"].append(listed["data"][0]),
    "hide a model": lambda listed: listed["data"].pop(0),
    "hide an alias": lambda listed: listed["data"][0].update(aliases=["chat-latest"]),
    "hide a task": _on_chat(tasks=["generate"]),
    "lower the context": _on_chat(context_length=16),
    "reverse the order": lambda listed: listed["data"].reverse(),
}
"""The last six hide something, or nothing: that is a gateway's right."""


def exceeds(row: dict[str, Any], signed: Model) -> list[str]:
    """Return what a row of the OpenAI list says beyond what was signed of its model."""
    canonical = row.get("canonical", row["id"])
    held = {
        "id": row["id"] in signed.ids and canonical == signed.id,
        "aliases": set(row.get("aliases", ())) <= set(signed.ids),
        "floating_aliases": set(row.get("floating_aliases", ())) <= set(signed.floating_aliases),
        "tasks": set(row["tasks"]) <= set(signed.tasks),
        "context_length": _within(row.get("context_length"), signed.context_length),
        "max_output_tokens": _within(row.get("max_output_tokens"), signed.max_output_tokens),
        "root": row.get("root") == signed.root,
        "owned_by": row["owned_by"] == signed.owned_by,
        "display_name": row.get("display_name") == signed.display_name,
    }
    return [name for name, holds in held.items() if not holds]


def _within(listed: int | None, signed: int | None) -> bool:
    return listed is None if signed is None else listed is not None and listed <= signed
