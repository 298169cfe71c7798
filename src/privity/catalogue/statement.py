"""What an inference proxy states about a model (models-api.md item 13).

A statement is canonical JSON (RFC 8785), so that one statement has one form. It says what the weights are and can do,
and not what is a gateway's to say: whether replicas serve now, when the model comes to its end, and who may use it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

import msgspec
import rfc8785
from msgspec import UNSET, Meta, UnsetType

from privity.catalogue.model import (
    MAX_ALIASES,
    MAX_ID_CHARACTERS,
    MAX_NUMBER,
    Evidence,
    Facts,
    Model,
    Source,
    in_order,
    without_none,
)
from privity.errors import StatementError

_Type = Literal["privity.model/1"]
TYPE: str = get_args(_Type)[0]
"""The member `type` of a statement: another meaning of any member needs another type."""

MAX_STATEMENT_BYTES = 64 * 1024
"""Bytes of a statement. One with a few aliases has under 1 KiB."""

MAX_LIFETIME = timedelta(hours=24)
"""The longest time that a statement may hold: so long can an old one be shown in place of a newer one."""

MAX_CLOCK_SKEW = timedelta(minutes=5)
"""By how much a signer's clock may be ahead of ours."""

MAX_REMEMBERED = 16_384
"""Statements that a `Reader` remembers: eight times the longest list that is expected."""

_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, rfc8785.CanonicalizationError)

_Text = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARACTERS)]
_Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]


class _Evidence(msgspec.Struct):
    source: Source
    at: _Number | UnsetType = UNSET


class _Facts(msgspec.Struct):
    architecture: _Text | UnsetType = UNSET
    parameters: _Number | UnsetType = UNSET
    quantization: _Text | UnsetType = UNSET
    size: _Number | UnsetType = UNSET
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)] | UnsetType = UNSET
    licence: _Text | UnsetType = UNSET
    embedding_length: _Number | UnsetType = UNSET


class _Payload(msgspec.Struct):
    """Members that are not known are skipped: a later version may add some that change the meaning of none of these."""

    type: _Type
    id: _Text
    aliases: tuple[_Text, ...]
    floating_aliases: tuple[_Text, ...]
    tasks: tuple[str, ...]
    created: _Number
    owned_by: _Text
    evidence: dict[str, _Evidence]
    facts: _Facts
    issued_at: _Number
    expires_at: _Number
    display_name: _Text | UnsetType = UNSET
    context_length: _Number | UnsetType = UNSET
    max_output_tokens: _Number | UnsetType = UNSET
    root: _Text | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Payload)


@dataclass(frozen=True, slots=True)
class _Stated:
    """A well-formed statement. Times in Unix seconds."""

    model: Model
    issued_at: int
    expires_at: int


def payload(model: Model, issued_at: datetime, expires_at: datetime) -> bytes:
    """Return what is signed about a model: canonical JSON, the times in whole Unix seconds.

    Not in it: `lifecycle`, `status`, `visible_to`, `statement`, `verified`, and evidence for tasks that aren't listed.

    Raises:
        StatementError: `read` would refuse it at any time (malformed).
    """
    known = {
        "type": TYPE,
        "id": model.id,
        "aliases": model.aliases,
        "floating_aliases": model.floating_aliases,
        "tasks": model.tasks,
        "created": model.created,
        "owned_by": model.owned_by,
        "display_name": model.display_name,
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "root": model.root,
        "evidence": {
            each.task: without_none({"source": each.source, "at": each.at})
            for each in model.evidence
            if each.task in model.tasks
        },
        "facts": model.facts.known(),
        "issued_at": int(issued_at.timestamp()),
        "expires_at": int(expires_at.timestamp()),
    }
    try:
        written = rfc8785.dumps(without_none(known))
    except rfc8785.CanonicalizationError as error:
        raise StatementError("malformed", "The model holds what canonical JSON can't say.") from error
    _parse(written)
    return written


def read(payload: bytes, now: datetime) -> Model:
    """Return the model that a statement is about.

    1. It is JSON of bounded length, with the members that are wanted, each of its type and bounds.
    2. It is canonical (RFC 8785): no name twice, and no other bytes that mean the same.
    3. All texts are printable.
    4. No ID is in it twice, and there are at most `MAX_ALIASES`.
    5. The tasks are known ones in their order, and the evidence is for them.
    6. It holds for some time, at most for `MAX_LIFETIME`.
    7. It was issued before now, give or take `MAX_CLOCK_SKEW`, and holds now.

    Not checked: who signed it (`protocol.signed.Verifier` does, and should come first), whether it is true, whether
    there is a newer one, and whether another statement claims one of the IDs.

    Raises:
        StatementError: one of these doesn't hold. Its reason: malformed (1. to 6.) or expired (7.).
    """
    return _current(_parse(payload), now)


class Reader:
    """Reads statements as `read` does, and remembers what the last ones say: reading takes longer than looking it up.

    What is remembered is `MAX_REMEMBERED` times up to `MAX_STATEMENT_BYTES`: give it verified statements only.
    """

    def __init__(self) -> None:
        self._parse = lru_cache(MAX_REMEMBERED)(_parse)

    def read(self, payload: bytes, now: datetime) -> Model:
        """See the function `read`; the time is looked at each time.

        Raises:
            StatementError: as there.
        """
        return _current(self._parse(payload), now)


def _parse(payload: bytes) -> _Stated:
    if len(payload) > MAX_STATEMENT_BYTES:  # 1.
        raise StatementError("malformed", f"The statement is longer than {MAX_STATEMENT_BYTES} bytes.")
    try:
        stated = _DECODER.decode(payload)
        is_canonical = rfc8785.dumps(msgspec.json.decode(payload)) == payload  # 2.
    except _MALFORMED as error:
        raise StatementError("malformed", "The statement isn't the JSON object that is wanted.") from error
    if not is_canonical:
        raise StatementError("malformed", "The statement isn't canonical JSON.")
    _check_texts(stated)  # 3.
    _check_ids(stated)  # 4.
    _check_tasks(stated)  # 5.
    _check_lifetime(stated)  # 6.
    return _Stated(_model(stated), stated.issued_at, stated.expires_at)


def _check_texts(stated: _Payload) -> None:
    facts = stated.facts
    texts = (
        *(stated.id, stated.owned_by, stated.display_name, stated.root, *stated.aliases, *stated.floating_aliases),
        *(facts.architecture, facts.quantization, facts.licence),
    )
    if not all(text is UNSET or text.isprintable() for text in texts):
        raise StatementError("malformed", "A text of the statement has characters that can't be printed.")


def _check_ids(stated: _Payload) -> None:
    ids = (stated.id, *stated.aliases, *stated.floating_aliases)
    if len(ids) > 1 + MAX_ALIASES:
        raise StatementError("malformed", f"The statement has more than {MAX_ALIASES} aliases.")
    if len(set(ids)) != len(ids):
        raise StatementError("malformed", "The statement has an ID twice.")


def _check_tasks(stated: _Payload) -> None:
    if in_order(stated.tasks) != stated.tasks:
        raise StatementError("malformed", "The statement's tasks aren't all known, each once, and in their order.")
    if not stated.evidence.keys() <= set(stated.tasks):
        raise StatementError("malformed", "The statement has evidence for tasks that the model doesn't have.")


def _check_lifetime(stated: _Payload) -> None:
    if not 0 < stated.expires_at - stated.issued_at <= MAX_LIFETIME.total_seconds():
        raise StatementError("malformed", f"The statement doesn't hold for between 0 and {MAX_LIFETIME} hours.")


def _model(stated: _Payload) -> Model:
    members: dict[str, Any] = msgspec.to_builtins(stated)  # without what is UNSET
    for name in ("type", "issued_at", "expires_at"):
        del members[name]
    evidence = (Evidence(task, **members["evidence"][task]) for task in in_order(members["evidence"]))
    return Model(**{**members, "evidence": tuple(evidence), "facts": Facts(**members["facts"])})


def _current(stated: _Stated, now: datetime) -> Model:
    seconds = now.timestamp()
    if stated.issued_at > seconds + MAX_CLOCK_SKEW.total_seconds():  # 7.
        raise StatementError("expired", "The statement was issued in the future.")
    if seconds >= stated.expires_at:
        raise StatementError("expired", "The statement holds no more.")
    return stated.model
