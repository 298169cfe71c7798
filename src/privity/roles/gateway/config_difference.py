"""What changed between two configuration files of a gateway, for its log. Pure code."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import datetime

from privity.catalogue.declared import Declared
from privity.catalogue.model import Lifecycle
from privity.roles.gateway.config import Served
from privity.roles.gateway.config_file import GatewayFile
from privity.roles.gateway.keys import Key

NEEDS_RESTART = ("host", "port", "mesh_ca", "secret_services", "answer_timeout")
"""What a running gateway keeps as it was when it started."""

_NAMES = {"deprecated_at": "deprecated"}
"""Keys of the file that are called otherwise here."""

_ABSENT = {"visible_to": "everybody"}
"""What it means that nothing is given, where that isn't nothing."""


def difference(old: GatewayFile, new: GatewayFile) -> list[str]:
    """Return what changed, one line each: never a key, nor its digest."""
    return [
        *(f"{line} (needs a restart)" for key in NEEDS_RESTART for line in _value(key, key, old, new)),
        *_settings(old.served, new.served),
        *_inference_proxies(old.served, new.served),
        *_models(old.served, new.served),
        *_keys(old.served, new.served),
    ]


def _settings(old: Served, new: Served) -> Iterator[str]:
    if old.collapses_aliases != new.collapses_aliases:
        shown = ["collapse" if each.collapses_aliases else "list" for each in (old, new)]
        yield f"aliases {' → '.join(shown)}"
    yield from _value("allowed_origins", "allowed_origins", old, new)
    yield from _value("document_proxies", "document_proxies", old, new)


def _inference_proxies(old: Served, new: Served) -> Iterator[str]:
    before, after = dict.fromkeys(old.inference_proxies), dict.fromkeys(new.inference_proxies)
    yield from _members("inference proxy", before, after)
    for url in after:
        drains = url in new.draining
        if drains != (url in old.draining):
            yield f"inference_proxies[{url}].drain {_text(not drains)} → {_text(drains)}"


def _models(old: Served, new: Served) -> Iterator[str]:
    before, after = ({each.id: each for each in served.declared} for served in (old, new))
    yield from _members("model", before, after)
    for model_id in (each for each in after if each in before):
        for member in fields(Declared):
            if member.name != "lifecycle":
                yield from _value(f"models[{model_id}].{member.name}", member.name, before[model_id], after[model_id])
        for member in fields(Lifecycle):
            label = f"models[{model_id}].{_NAMES.get(member.name, member.name)}"
            yield from _value(label, member.name, before[model_id].lifecycle, after[model_id].lifecycle)


def _keys(old: Served, new: Served) -> Iterator[str]:
    before, after = ({each.name: each for each in served.keys} for served in (old, new))
    yield from _members("key", before, after)
    for key_name in (each for each in after if each in before):
        if before[key_name].sha256 != after[key_name].sha256:
            yield f"keys[{key_name}].sha256 changed"
        yield from _value(f"keys[{key_name}].groups", "groups", before[key_name], after[key_name])
    if after and not before:
        yield "the gateway was open to everybody, and takes only its keys from now on"


def _members(what: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{what} removed: {each}" for each in before if each not in after)
    yield from (f"{what} added: {each}" for each in after if each not in before)


def _value(
    label: str,
    attribute: str,
    old: GatewayFile | Served | Declared | Lifecycle | Key,
    new: GatewayFile | Served | Declared | Lifecycle | Key,
) -> Iterator[str]:
    before, after = getattr(old, attribute), getattr(new, attribute)
    if before != after:
        absent = _ABSENT.get(attribute, "nothing")
        yield f"{label} {_text(before) or absent} → {_text(after) or absent}"


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(value)
        case frozenset():
            return ", ".join(sorted(value))
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
