"""Models out of another role's answers: `GET /v1/models` and `GET /v1/models/{id}`, whole records or plain rows."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from privity.catalogue.model import (
    MAX_ALIASES,
    MAX_ID_CHARACTERS,
    MAX_NUMBER,
    RESERVED_ID,
    Evidence,
    Facts,
    Lifecycle,
    Model,
    Source,
    Statement,
    Status,
    in_order,
)
from privity.errors import UpstreamProtocolError

MAX_LIST_BYTES = 32 * 1024 * 1024
"""Bytes of a list: `MAX_ROWS` records with their statements."""

MAX_ROWS = 10_000
"""Rows of one list: far more than any replica serves, little enough to hold."""

MAX_MEMBERS = 600_000
"""Members and elements of an answer: some 60 for each of `MAX_ROWS` rows."""

MAX_TEXT_CHARACTERS = 256
"""Characters of a name, an owner or a licence's title."""

T = TypeVar("T")

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Evidence(msgspec.Struct):
    source: Source
    at: _Moment | None = None


class _Statement(msgspec.Struct):
    payload: str
    signature: str
    signer: str


class _Health(msgspec.Struct, omit_defaults=True):
    replicas: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
    age_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)] | None = None


class _Row(msgspec.Struct):
    id: str
    created: Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)] | None = None
    owned_by: str | None = None
    tasks: list[str] = []
    aliases: list[str] = []
    floating_aliases: list[str] = []
    canonical: str | None = None
    display_name: str | None = None
    context_length: int | None = None
    max_output_tokens: int | None = None
    root: str | None = None
    status: Status = "available"
    deprecated_at: _Moment | None = None
    retires_at: _Moment | None = None
    replacement: str | None = None
    evidence: dict[str, _Evidence] = {}
    facts: Facts = msgspec.field(default_factory=Facts)
    statement: _Statement | None = None


class _List(msgspec.Struct):
    data: list[msgspec.Raw]
    signers: dict[str, str] = {}


class _Retrieved(msgspec.Struct):
    signers: dict[str, str] = {}
    health: _Health | None = None


def read_models(body: bytes) -> tuple[Model, ...]:
    """Return the models of a list.

    Rows that point at a canonical row are part of that one. A row that can't be read is left out: it shall not take the
    others with it.

    Raises:
        UpstreamProtocolError: not such a list, or one of more than `MAX_ROWS` rows.
    """
    given = _decode(body, _List)
    if len(given.data) > MAX_ROWS:
        raise UpstreamProtocolError(f"a model list of more than {MAX_ROWS} rows")
    return tuple(_models(given.data, _certificates(given.signers)))


def read_model(body: bytes) -> tuple[Model, dict[str, Any] | None]:
    """Return the model of an answer to `GET /v1/models/{id}`, and what it says of the replicas' health.

    Raises:
        UpstreamProtocolError: it holds no model.
    """
    given = _decode(body, _Retrieved)
    model = next(_models([msgspec.Raw(body)], _certificates(given.signers)), None)
    if model is None:
        raise UpstreamProtocolError("not a model")
    return model, None if given.health is None else msgspec.to_builtins(given.health)


def _decode(body: bytes, kind: type[T]) -> T:
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_MEMBERS:  # each costs far more memory than its bytes
        raise UpstreamProtocolError("an answer about models with too many members")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamProtocolError("not an answer about models") from error


def _certificates(signers: dict[str, str]) -> dict[str, bytes]:
    return {name: der for name, text in signers.items() if (der := _bytes(text)) is not None}


def _models(rows: list[msgspec.Raw], certificates: Mapping[str, bytes]) -> Iterator[Model]:
    for raw in rows:
        try:
            row = msgspec.json.decode(raw, type=_Row)
            if row.canonical in (None, row.id) and _has_fit_ids(row):
                yield _model(row, certificates)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):  # the last: no date of UTC
            continue


def _has_fit_ids(row: _Row) -> bool:
    ids = {row.id, *row.aliases, *row.floating_aliases}  # floating aliases stand among the aliases too
    return len(ids) <= 1 + MAX_ALIASES and all(_is_fit(each) for each in ids)


def _is_fit(name: str) -> bool:
    """Return whether an ID can be asked for: it stands in URLs and in headers, which lose spaces at their ends."""
    return 0 < len(name) <= MAX_ID_CHARACTERS and name.isprintable() and name == name.strip() and name != RESERVED_ID


def _model(row: _Row, certificates: Mapping[str, bytes]) -> Model:
    floating = tuple(dict.fromkeys(each for each in row.floating_aliases if each != row.id))
    aliases = tuple(dict.fromkeys(each for each in row.aliases if each != row.id and each not in floating))
    tasks = in_order(row.tasks)
    return Model(
        id=row.id,
        tasks=tasks,
        created=int(row.created or 0),
        owned_by=_text(row.owned_by) or "unknown",
        aliases=aliases,
        floating_aliases=floating,
        display_name=_text(row.display_name),
        context_length=_positive(row.context_length),
        max_output_tokens=_positive(row.max_output_tokens),
        root=_text(row.root),
        evidence=tuple(_evidence(task, row.evidence[task]) for task in tasks if task in row.evidence),
        facts=_facts(row.facts),
        lifecycle=Lifecycle(_utc(row.deprecated_at), _utc(row.retires_at), _id(row.replacement)),
        status=row.status,
        statement=_statement(row.statement, certificates),
    )


def _id(name: str | None) -> str | None:
    return name if name is not None and _is_fit(name) else None


def _text(given: str | None) -> str | None:
    """Return a text that people are shown, if it can be."""
    return given if given is not None and len(given) <= MAX_TEXT_CHARACTERS and given.isprintable() else None


def _positive(number: int | None) -> int | None:
    return number if number is not None and 0 < number <= MAX_NUMBER else None


def _facts(given: Facts) -> Facts:
    return replace(
        given,
        architecture=_text(given.architecture),
        quantization=_text(given.quantization),
        licence=_text(given.licence),
        sha256=_text(given.sha256),
        parameters=_positive(given.parameters),
        size=_positive(given.size),
        embedding_length=_positive(given.embedding_length),
    )


def _utc(moment: datetime | None) -> datetime | None:
    """Return a moment in UTC; raises `OverflowError` where no calendar has it."""
    return None if moment is None else moment.astimezone(UTC)


def _evidence(task: str, given: _Evidence) -> Evidence:
    return Evidence(task, given.source, None if given.at is None else int(given.at.timestamp()))


def _statement(given: _Statement | None, certificates: Mapping[str, bytes]) -> Statement | None:
    if given is None:
        return None
    payload, signature = _bytes(given.payload), _bytes(given.signature)
    certificate = certificates.get(given.signer)
    if payload is None or signature is None or certificate is None:
        return None
    return Statement(payload, signature, certificate)


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
