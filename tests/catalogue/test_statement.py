import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue import statement
from privity.catalogue.model import (
    MAX_ALIASES,
    MAX_ID_CHARACTERS,
    MAX_NUMBER,
    TASKS,
    Evidence,
    Facts,
    Lifecycle,
    Model,
    Source,
    Statement,
)
from privity.catalogue.statement import (
    MAX_CLOCK_SKEW,
    MAX_LIFETIME,
    MAX_STATEMENT_BYTES,
    Reader,
    payload,
    read,
)
from privity.errors import Reason, StatementError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SECOND = timedelta(seconds=1)
MODEL = Model(
    id="org/Big",
    tasks=("generate", "vision"),
    created=7,
    owned_by="org",
    aliases=("big", "b"),
    floating_aliases=("latest",),
    display_name="Big \N{OGHAM LETTER BEITH}",
    context_length=4096,
    max_output_tokens=1024,
    root="big.gguf",
    evidence=(Evidence("generate", "probed", 6), Evidence("vision", "engine")),
    facts=Facts("llama", 10**9, "Q4_1", 10**10, "0f" * 32, "mit", 512),
)
SMALL = Model("m", (), 0, "me")
PAYLOAD = payload(MODEL, NOW, LATER)
MEMBERS = json.loads(PAYLOAD)

# Any model that can be stated.

IDS = ["m", "org/M", "\N{OGHAM LETTER BEITH} a", "\N{SLIGHTLY SMILING FACE}", "e\N{COMBINING ACUTE ACCENT}", '"\\/']
NUMBERS = st.integers(0, MAX_NUMBER)
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=9)
FACTS = st.builds(
    Facts,
    architecture=st.none() | TEXTS,
    parameters=st.none() | NUMBERS,
    quantization=st.none() | TEXTS,
    size=st.none() | NUMBERS,
    sha256=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    licence=st.none() | TEXTS,
    embedding_length=st.none() | NUMBERS,
)


@st.composite
def models(draw: st.DrawFn) -> Model:
    ids = draw(st.permutations(IDS))
    own = draw(TEXTS)
    cuts = sorted(draw(st.tuples(st.integers(0, len(IDS)), st.integers(0, len(IDS)))))
    tasks = tuple(each for each in TASKS if draw(st.booleans()))
    sources = st.sampled_from(get_args(Source))
    return Model(
        id=own,
        tasks=tasks,
        created=draw(NUMBERS),
        owned_by=draw(TEXTS),
        aliases=tuple(each for each in ids[: cuts[0]] if each != own),
        floating_aliases=tuple(each for each in ids[cuts[0] : cuts[1]] if each != own),
        display_name=draw(st.none() | TEXTS),
        context_length=draw(st.none() | NUMBERS),
        max_output_tokens=draw(st.none() | NUMBERS),
        root=draw(st.none() | TEXTS),
        evidence=tuple(
            Evidence(each, draw(sources), draw(st.none() | NUMBERS)) for each in tasks if draw(st.booleans())
        ),
        facts=draw(FACTS),
    )


@contextmanager
def refused(reason: Reason, text: str | None = None) -> Iterator[None]:
    with pytest.raises(StatementError, match=text) as caught:
        yield
    assert caught.value.reason == reason


# What is signed


def test_a_statement_has_this_form() -> None:
    assert PAYLOAD.decode() == (
        '{"aliases":["big","b"],"context_length":4096,"created":7,"display_name":"Big \N{OGHAM LETTER BEITH}",'
        '"evidence":{"generate":{"at":6,"source":"probed"},"vision":{"source":"engine"}},"expires_at":1795352400,'
        '"facts":{"architecture":"llama","embedding_length":512,"licence":"mit","parameters":1000000000,'
        '"quantization":"Q4_1","sha256":"' + 32 * "0f" + '","size":10000000000},"floating_aliases":["latest"],'
        '"id":"org/Big","issued_at":1795348800,"max_output_tokens":1024,"owned_by":"org","root":"big.gguf",'
        '"tasks":["generate","vision"],"type":"privity.model/1"}'
    )


def test_what_is_unknown_is_left_out_and_never_null() -> None:
    assert payload(SMALL, NOW, LATER) == (
        b'{"aliases":[],"created":0,"evidence":{},"expires_at":1795352400,"facts":{},"floating_aliases":[],"id":"m",'
        b'"issued_at":1795348800,"owned_by":"me","tasks":[],"type":"privity.model/1"}'
    )


def test_what_is_a_gateways_to_say_is_not_signed() -> None:
    other = replace(
        MODEL,
        lifecycle=Lifecycle(NOW, NOW, "org/Bigger"),
        status="degraded",
        visible_to=frozenset({"g"}),
        statement=Statement(b"", b"", b""),
        verified=False,
    )
    assert payload(other, NOW, LATER) == PAYLOAD


def test_evidence_for_what_is_not_listed_is_left_out() -> None:
    assert read(payload(replace(MODEL, tasks=("vision",)), NOW, LATER), NOW).evidence == (Evidence("vision", "engine"),)


def test_times_are_whole_seconds_of_any_zone() -> None:
    other = datetime.fromisoformat("2026-11-22T07:00:00.999-05:00")
    assert payload(MODEL, other, other + timedelta(hours=1)) == PAYLOAD


@given(models())
def test_what_is_written_is_read(model: Model) -> None:
    assert read(payload(model, NOW, LATER), NOW) == model


@given(models())
def test_a_statement_is_in_bounds(model: Model) -> None:
    assert len(payload(model, NOW, LATER)) < MAX_STATEMENT_BYTES


# What is refused, by whoever signs and by whoever reads

BAD_MODELS: dict[str, dict[str, Any]] = {
    "an empty ID": {"id": ""},
    "a long ID": {"id": "m" * (MAX_ID_CHARACTERS + 1)},
    "a control character in an ID": {"id": "m\n"},
    "a control character in an alias": {"aliases": ("\x1b[31m",)},
    "a hidden character in a floating alias": {"floating_aliases": ("big\N{ZERO WIDTH SPACE}",)},
    "a changed direction in the owner": {"owned_by": "\N{RIGHT-TO-LEFT OVERRIDE}org"},
    "a control character in the name": {"display_name": "\0"},
    "a control character in the root": {"root": "a\tb"},
    "a control character in a fact": {"facts": Facts(licence="MIT\nLicense")},
    "a long fact": {"facts": Facts(architecture="m" * (MAX_ID_CHARACTERS + 1))},
    "no hex": {"facts": Facts(sha256="0F" * 32)},
    "short hex": {"facts": Facts(sha256="0f" * 31)},
    "hex and a line break": {"facts": Facts(sha256="0f" * 32 + "\n")},
    "an alias twice": {"aliases": ("a", "a")},
    "its ID as an alias": {"aliases": ("org/Big",)},
    "an alias that also floats": {"floating_aliases": ("b",)},
    "too many aliases": {"aliases": tuple(str(each) for each in range(MAX_ALIASES))},
    "an unknown task": {"tasks": ("dance", "generate", "vision")},
    "a task twice": {"tasks": ("generate", "vision", "vision")},
    "tasks out of order": {"tasks": ("vision", "generate")},
    "an unknown source": {"evidence": (Evidence("vision", "rumour"),)},  # type: ignore[arg-type]
    "a negative number": {"created": -1},
    "a negative length": {"context_length": -1},
    "a number over what JSON can say": {"max_output_tokens": 2**53},
    "a fraction": {"context_length": 0.5},
    "a lone surrogate": {"root": "\ud800"},
    "too long altogether": {"aliases": ("\N{SLIGHTLY SMILING FACE}" * MAX_STATEMENT_BYTES,)},
}


@pytest.mark.parametrize("changes", BAD_MODELS.values(), ids=BAD_MODELS)
def test_such_a_model_is_not_stated(changes: dict[str, Any]) -> None:
    with refused("malformed"):
        payload(replace(MODEL, **changes), NOW, LATER)


def test_as_many_and_as_long_ids_as_can_be_are_stated() -> None:
    long = "\N{SLIGHTLY SMILING FACE}" * (MAX_ID_CHARACTERS - 2)
    aliases = tuple(f"{long}{each}" for each in range(10, 10 + MAX_ALIASES - 1))
    model = replace(MODEL, id=long + "id", aliases=aliases[: MAX_ALIASES // 2])
    assert read(payload(model, NOW, LATER), NOW) == model
    model = replace(MODEL, aliases=tuple(str(each) for each in range(MAX_ALIASES - 1)))
    assert read(payload(model, NOW, LATER), NOW) == model


@pytest.mark.parametrize(
    "lifetime", [timedelta(0), timedelta(microseconds=1), -SECOND, MAX_LIFETIME + SECOND, timedelta(days=9)]
)
def test_a_statement_holds_for_some_time_and_not_too_long(lifetime: timedelta) -> None:
    with refused("malformed", "hold"):
        payload(MODEL, NOW, NOW + lifetime)


BAD_MEMBERS: dict[str, dict[str, Any]] = {
    "another type": {"type": "privity.model/2"},
    "no type": {"type": None},
    "a type that only begins like this": {"type": "privity.model/1 "},
    "null": {"root": None},
    "null in facts": {"facts": {"size": None}},
    "null in evidence": {"evidence": {"vision": {"source": "engine", "at": None}}},
    "no facts": {"facts": []},
    "evidence without a source": {"evidence": {"vision": {}}},
    "evidence for a task that is not listed": {"evidence": {"embed": {"source": "engine"}}},
    "evidence for an unknown task": {"evidence": {"dance": {"source": "engine"}}},
    "a truth for a number": {"context_length": True},
    "a text for a number": {"created": "7"},
    "a number for a text": {"owned_by": 7},
    "a text for a list": {"tasks": "generate"},
    "no hex": {"facts": {"sha256": "0F" * 32}},
}


@pytest.mark.parametrize("changes", BAD_MEMBERS.values(), ids=BAD_MEMBERS)
def test_such_a_statement_is_malformed(changes: dict[str, Any]) -> None:
    with refused("malformed"):
        read(rfc8785.dumps({**MEMBERS, **changes}), NOW)


@pytest.mark.parametrize("name", sorted(json.loads(payload(SMALL, NOW, LATER))))
def test_each_of_these_members_must_be_there(name: str) -> None:
    with refused("malformed"):
        read(rfc8785.dumps({each: value for each, value in MEMBERS.items() if each != name}), NOW)


def test_later_versions_may_add_members() -> None:
    more: dict[str, Any] = {
        "new": [1, None, {"a": 0.5}],
        "evidence": {"vision": {"source": "engine", "by": "x"}},
        "facts": {"x": "y"},
    }
    model = read(rfc8785.dumps({**MEMBERS, **more}), NOW)
    assert model == replace(MODEL, evidence=(Evidence("vision", "engine"),), facts=Facts())


def test_a_statement_that_is_too_long_is_not_even_read() -> None:
    room = MAX_STATEMENT_BYTES - len(rfc8785.dumps({**MEMBERS, "x": ""}))
    read(rfc8785.dumps({**MEMBERS, "x": "x" * room}), NOW)
    with refused("malformed", f"longer than {MAX_STATEMENT_BYTES} bytes"):
        read(rfc8785.dumps({**MEMBERS, "x": "x" * (room + 1)}), NOW)


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(MEMBERS).encode(),
        json.dumps(MEMBERS, separators=(",", ":"), ensure_ascii=False).encode()[::-1],
        PAYLOAD + b"\n",
        b" " + PAYLOAD,
        b"\xef\xbb\xbf" + PAYLOAD,
        PAYLOAD.decode().encode("utf-16"),
        PAYLOAD.replace("\N{OGHAM LETTER BEITH}".encode(), rb"\u1681"),
        PAYLOAD.replace(b'"created":7', b'"created":7.0'),
        PAYLOAD.replace(b'"created":7', b'"created":7e0'),
        PAYLOAD.replace(b'"created":7', b'"created":07'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"created":7'),
        PAYLOAD.replace(b'"created":7', b'"created":8,"created":7'),
        PAYLOAD.replace(b'"created":7', b'"cre\\u0061ted":7'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"a":1'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":-0'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":1e400'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":' + b"9" * 5000),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":9007199254740992'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":NaN'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":"\\ud800"'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":"\xff"'),
        PAYLOAD.replace(b'"created":7', b'"created":7,"d":' + b"[" * 9999 + b"]" * 9999),
        b"",
        b"{}",
        b"[]",
        b"null",
    ],
    ids=range(26),
)
def test_what_is_not_canonical_is_malformed(written: bytes) -> None:
    assert written != PAYLOAD
    with refused("malformed"):
        read(written, NOW)


@given(st.binary())
def test_nothing_else_is_raised(written: bytes) -> None:
    with refused("malformed"):
        read(written, NOW)


@settings(max_examples=1000)
@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_says_something_else(place: int, flip: int) -> None:
    """The signature is what keeps a statement from being altered; the form keeps two from meaning the same."""
    altered = bytearray(PAYLOAD)
    altered[place] ^= flip
    try:
        model = read(bytes(altered), NOW)
    except StatementError:
        return
    times = (json.loads(altered)[each] for each in ("issued_at", "expires_at"))
    again = payload(model, *(datetime.fromtimestamp(each, UTC) for each in times))
    assert again != PAYLOAD or json.loads(altered).keys() != MEMBERS.keys()


# Times


def test_a_statement_holds_from_its_issue_give_or_take_the_clocks_to_its_end() -> None:
    for now in (NOW - MAX_CLOCK_SKEW, NOW, LATER - timedelta(microseconds=1)):
        assert read(PAYLOAD, now) == MODEL
    for now in (NOW - MAX_CLOCK_SKEW - SECOND, LATER, LATER + timedelta(days=9999)):
        with refused("expired"):
            read(PAYLOAD, now)


def test_a_statement_holds_for_a_day_at_most() -> None:
    assert read(payload(MODEL, NOW, NOW + MAX_LIFETIME), NOW) == MODEL


def test_times_beyond_all_calendars_are_only_numbers() -> None:
    with refused("expired"):
        read(rfc8785.dumps({**MEMBERS, "issued_at": 2**53 - 2, "expires_at": 2**53 - 1}), NOW)
    with refused("malformed"):
        read(rfc8785.dumps({**MEMBERS, "issued_at": -(2**53) + 1}), NOW)


# The reader that remembers


def test_a_reader_remembers_what_a_statement_says_but_not_that_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    model = reader.read(PAYLOAD, NOW)
    monkeypatch.setattr(statement, "rfc8785", None)
    assert reader.read(PAYLOAD, NOW) is model
    for now in (NOW - MAX_CLOCK_SKEW - SECOND, LATER):
        with refused("expired"):
            reader.read(PAYLOAD, now)


def test_a_reader_refuses_each_time() -> None:
    reader = Reader()
    for _ in range(2):
        with refused("malformed"):
            reader.read(PAYLOAD + b" ", NOW)
