"""All that is known of one model, for a terminal. What could steer it is still in here, as in `text`."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from privity.cli.models.rows import Details, Evidence, Health
from privity.cli.models.text import MOST, context, end_of, number_of

_SOURCES = {"engine": "read from the engine", "declared": "declared by the operator", "probed": "probed"}


def block(whole: Details, asked: str, *, asked_verified: bool | None) -> list[tuple[str, str]]:
    """Return everything known of a model, as names and values.

    Args:
        whole: its record.
        asked: by which of its IDs it was asked for.
        asked_verified: whether this ID was signed; None where nobody looked.
    """
    firm = [each for each in whole.aliases if each not in whole.floating_aliases]
    pairs = [
        ("ID", whole.id if whole.is_canonical else f"{whole.id}, which means {whole.canonical}"),
        ("name", whole.display_name),
        ("aliases", ", ".join(firm)),
        ("floating aliases", ", ".join(whole.floating_aliases)),
        ("owner", whole.owned_by),
        ("created", moment(whole.created, "%Y-%m-%d") if whole.created else None),
        ("engine's name", whole.root),
        *_tasks(whole),
        ("context", _counted(context(whole), "tokens")),
        ("max output", _counted(number_of(whole.max_output_tokens), "tokens")),
        ("status", _status(whole.status, whole.health)),
        ("lifecycle", _lifecycle(whole)),
        ("verified", _verified(whole, asked, asked_verified=asked_verified)),
        ("statement", _statement(whole.statement)),
        *((name.replace("_", " "), _fact(name, value)) for name, value in whole.facts.items()),
    ]
    return [(name, value) for name, value in pairs if value]


def _tasks(whole: Details) -> Iterator[tuple[str, str]]:
    width = max(map(len, whole.tasks), default=0)
    lines = [f"{task.ljust(width)}  {_evidence(whole.evidence.get(task))}".rstrip() for task in whole.tasks] or ["none"]
    yield from (("tasks" if number == 0 else "", line) for number, line in enumerate(lines))


def _evidence(known: Evidence | None) -> str:
    if known is None:
        return ""
    return f"{_SOURCES.get(known.source, known.source)} {_moment_of(known.at) if known.at else ''}".rstrip()


def _status(status: str | None, health: Health | None) -> str | None:
    known: list[str | None] = [status]
    if health is not None and health.replicas is not None:
        known.append(f"{number_of(health.replicas)} replica{'s' * (health.replicas != 1)}")
    if health is not None and health.age_seconds is not None:
        known.append(f"heard of {health.age_seconds:.1f} s ago")
    return ", ".join(filter(None, known))


def _lifecycle(whole: Details) -> str:
    return ", ".join(end_of(whole, f" since {whole.deprecated_at[:10]}" if whole.deprecated_at else ""))


def _verified(whole: Details, asked: str, *, asked_verified: bool | None) -> str:
    if whole.verified is None:
        return "not said"
    if not whole.verified:
        return "no: nobody of the deployment vouches for it"
    if not asked_verified:
        return f"yes, but nobody of the deployment says that {asked} means it"
    return "yes: an inference proxy of the deployment signed it"


def _statement(given: Mapping[str, str] | None) -> str | None:
    if given is None:
        return None
    signer = f"signer {given.get('signer', '')[:16]}…"
    try:
        stated = msgspec.json.decode(base64.b64decode(given.get("payload", ""), validate=True), type=_Times)
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return signer
    return f"issued {moment(stated.issued_at)}, holds until {moment(stated.expires_at)}, {signer}"


class _Times(msgspec.Struct):
    issued_at: float
    expires_at: float


def moment(seconds: float, form: str = "%Y-%m-%d %H:%M UTC") -> str:
    """Return Unix seconds as a date."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (OverflowError, OSError, ValueError):
        return "?"


def _moment_of(text: str) -> str:
    try:
        return moment(datetime.fromisoformat(text).timestamp())
    except (OverflowError, OSError, ValueError):
        return text


def _counted(number: str | None, what: str) -> str | None:
    return None if number is None else f"{number} {what}"


def _fact(name: str, value: object) -> str | None:
    if isinstance(value, int):
        number = f"{value:,}".replace(",", " ") if 0 <= value < MOST else None
        return _counted(number, "bytes") if name == "size" else number
    return None if value is None else str(value)
