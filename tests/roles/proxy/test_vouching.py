"""What is believed of a list, attack by attack: models-api.md item 13."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.dialects import openai
from privity.catalogue.model import TASKS, Model, Statement, in_order
from privity.catalogue.projections import full_list
from privity.catalogue.rows import read_models
from privity.catalogue.statement import payload
from privity.errors import Reason, UpstreamError
from privity.protocol.mesh import INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa
from privity.protocol.signed import Verifier, sign
from privity.roles.inference_proxy.signing import LIFETIME, Signer
from privity.roles.proxy.config import UnsignedModels
from privity.roles.proxy.vouching import Vouched, Vouching
from privity.testing.adversary_models import CHAT, EMBED, LISTS, MODELS, Listed, exceeds

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CA = MeshCa.create(NOW)
PROXY = CA.issue(INFERENCE_PROXY, NOW)
USERS: tuple[UnsignedModels | None, ...] = (None, "allow", "mark", "drop")

users = pytest.mark.parametrize("user", USERS)
deployments = pytest.mark.parametrize("signs", [True, False], ids=["signs", "doesn't sign"])


def vouching(user: UnsignedModels | None = None, now: datetime = NOW) -> Vouching:
    return Vouching(Verifier(CA.certificate), user, lambda: now)


def signed(*models: Model, identity: Identity = PROXY, at: datetime = NOW) -> list[Model]:
    return Signer(identity, lambda: at).sign(models)


def altered(model: Model) -> Model:
    assert model.statement is not None
    return replace(model, statement=replace(model.statement, payload=model.statement.payload.replace(b"4096", b"9999")))


def written_otherwise(model: Model) -> Model:
    """Sign what isn't canonical JSON, as an inference proxy with a defect might."""
    assert model.statement is not None
    text = payload(model, NOW, NOW + LIFETIME) + b" "
    return replace(model, statement=Statement(text, sign(text, PROXY), PROXY.certificate_der()))


async def vouch(
    listed: Sequence[Model], user: UnsignedModels | None = None, *, signs: bool = True, now: datetime = NOW
) -> Vouched:
    return await vouching(user, now).vouch(listed, signs=signs)


def seen(result: Vouched) -> dict[str, tuple[str, bool | None]]:
    """Return what each ID means, and whether that is verified."""
    return {each: (model.id, model.is_verified(each)) for model in result.models for each in model.ids}


# What is signed


@users
@deployments
async def test_a_signed_record_is_verified_whatever_the_user_says(user: UnsignedModels | None, *, signs: bool) -> None:
    result = await vouch(signed(CHAT, EMBED), user, signs=signs)
    assert seen(result) == {each: (model.id, True) for model in MODELS for each in model.ids}
    assert (result.refused, result.reasons) == (set(), {})


BAD: dict[str, tuple[Callable[[], list[Model]], Reason]] = {
    "altered": (lambda: [altered(signed(CHAT)[0])], "altered"),
    "expired": (lambda: signed(CHAT, at=NOW - LIFETIME), "expired"),
    "issued in the future": (lambda: signed(CHAT, at=NOW + timedelta(hours=1)), "expired"),
    "by the secret service": (lambda: signed(CHAT, identity=CA.issue(SECRET_SERVICE, NOW)), "unknown_signer"),
    "by another mesh": (
        lambda: signed(CHAT, identity=MeshCa.create(NOW).issue(INFERENCE_PROXY, NOW)),
        "unknown_signer",
    ),
    "by a certificate that is over": (
        lambda: signed(CHAT, identity=CA.issue(INFERENCE_PROXY, NOW - timedelta(days=400))),
        "unknown_signer",
    ),
    "by no certificate": (
        lambda: [replace(CHAT, statement=Statement(b"{}", b"x", b"not a certificate"))],
        "unknown_signer",
    ),
    "without a signature": (lambda: [replace(CHAT, statement=Statement(b"{}", b"", b""))], "unsigned"),
    "about another model": (lambda: [replace(CHAT, statement=signed(EMBED)[0].statement)], "altered"),
    "about other tasks": (lambda: [replace(signed(CHAT)[0], tasks=("embed",))], "altered"),
    "not canonical": (lambda: [written_otherwise(signed(CHAT)[0])], "malformed"),
}


@users
@deployments
@pytest.mark.parametrize("name", BAD)
async def test_a_record_whose_statement_does_not_hold_is_dropped_whatever_the_user_says(
    user: UnsignedModels | None, name: str, *, signs: bool
) -> None:
    make, reason = BAD[name]
    result = await vouch([*make(), *signed(EMBED)], user, signs=signs)
    assert seen(result) == dict.fromkeys(EMBED.ids, ("org/embed", True))
    assert result.refused == set(CHAT.ids)
    assert result.reasons == {reason: 1}


# What nobody signed

Fate = Literal["dropped", "marked", "like others"]
FATES: list[tuple[UnsignedModels | None, bool, Fate]] = [
    ("allow", True, "like others"),
    ("allow", False, "like others"),
    ("mark", True, "marked"),
    ("mark", False, "marked"),
    ("drop", True, "dropped"),
    ("drop", False, "dropped"),
    (None, True, "dropped"),
    (None, False, "marked"),
]


@pytest.mark.parametrize(("user", "signs", "fate"), FATES)
async def test_what_becomes_of_an_unsigned_record(user: UnsignedModels | None, fate: Fate, *, signs: bool) -> None:
    result = await vouch(MODELS, user, signs=signs)
    if fate == "dropped":
        assert (result.models, result.refused) == ([], {*CHAT.ids, *EMBED.ids})
        assert result.reasons == {"unsigned": 2}
        return
    rows = [openai.row(model, each, NOW) for model in result.models for each in model.ids]
    plain = [openai.row(model, each, NOW) for model in MODELS for each in model.ids]
    assert rows == ([row | {"verified": False} for row in plain] if fate == "marked" else plain)
    assert (result.refused, result.reasons) == (set(), {})


async def test_one_authentic_statement_shows_that_a_deployment_signs() -> None:
    result = await vouch([CHAT, *signed(EMBED)], signs=False)
    assert seen(result) == dict.fromkeys(EMBED.ids, ("org/embed", True))
    assert result.reasons == {"unsigned": 1}


async def test_one_that_does_not_hold_shows_nothing() -> None:
    result = await vouch([CHAT, *signed(EMBED, at=NOW - LIFETIME)], signs=False)
    assert seen(result) == dict.fromkeys(CHAT.ids, ("org/chat", False))


# Names that the gateway gave

ALIAS = replace(signed(CHAT)[0], aliases=("chat", "gpt-9"))
FLOATING = replace(signed(CHAT)[0], floating_aliases=("chat-latest", "gpt-9"))


@users
@pytest.mark.parametrize("listed", [ALIAS, FLOATING], ids=["alias", "floating alias"])
async def test_a_name_that_only_the_gateway_gives(user: UnsignedModels | None, listed: Model) -> None:
    result = await vouch([listed], user)
    expected: dict[str, tuple[str, bool | None]] = dict.fromkeys(CHAT.ids, ("org/chat", True))
    if user in ("allow", "mark"):
        assert seen(result) == expected | {"gpt-9": ("org/chat", False)}
        assert ("gpt-9" in result.models[0].floating_aliases) == (listed is FLOATING)
        assert (result.refused, result.reasons) == (set(), {})
    else:
        assert seen(result) == expected
        assert (result.refused, result.reasons) == ({"gpt-9"}, {"unsigned": 1})


@users
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("name", ["org/embed", "embed"])
async def test_a_name_that_is_signed_for_one_model_is_given_to_no_other(
    user: UnsignedModels | None, name: str, *, reverse: bool
) -> None:
    listed = [replace(signed(CHAT)[0], aliases=("chat", name)), *signed(EMBED)]
    result = await vouch(listed[::-1] if reverse else listed, user)
    assert seen(result) == {each: (model.id, True) for model in MODELS for each in model.ids}


@users
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("taker", [signed(EMBED)[0], replace(EMBED, id="org/evil")], ids=["signed", "unsigned"])
async def test_a_signed_name_that_is_hidden_is_given_to_no_other(
    user: UnsignedModels | None, taker: Model, *, reverse: bool
) -> None:
    listed = [replace(signed(CHAT)[0], aliases=()), replace(taker, aliases=("chat",))]
    result = await vouch(listed[::-1] if reverse else listed, user)
    assert "chat" in result.refused
    assert seen(result)["org/chat"] == ("org/chat", True)
    assert ("org/embed" in seen(result)) == (taker.statement is not None)


async def test_a_name_that_is_given_twice_is_the_first_ones_and_takes_no_model_with_it() -> None:
    twice = [replace(model, aliases=(*model.aliases, "gpt-9")) for model in signed(CHAT, EMBED)]
    result = await vouch(twice, "mark")
    assert seen(result)["gpt-9"] == ("org/chat", False)
    assert {model.id for model in result.models} == {"org/chat", "org/embed"}
    assert result.reasons == {"altered": 1}


@pytest.mark.parametrize("reverse", [True, False])
async def test_an_unsigned_record_can_not_take_a_verified_one_with_it_by_a_name_that_both_are_given(
    *, reverse: bool
) -> None:
    listed = [replace(EMBED, id="org/evil", aliases=("gpt-9",)), ALIAS]
    result = await vouch(listed[::-1] if reverse else listed, "mark")
    assert {each: seen(result)[each] for each in CHAT.ids} == dict.fromkeys(CHAT.ids, ("org/chat", True))
    assert seen(result)["gpt-9"] == ("org/chat" if reverse else "org/evil", False)


@users
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("claim", [{}, {"id": "org/evil"}, {"id": "chat", "aliases": ()}], ids=["ID", "alias", "short"])
async def test_a_verified_record_wins_over_an_unsigned_one(
    user: UnsignedModels | None, claim: Any, *, reverse: bool
) -> None:
    listed = [replace(CHAT, root="evil.gguf", **claim), *signed(CHAT)]
    result = await vouch(listed[::-1] if reverse else listed, user)
    assert seen(result) == dict.fromkeys(CHAT.ids, ("org/chat", True))
    assert result.models[0].root == "chat.gguf"
    assert result.reasons.total() == 1


async def test_of_two_unsigned_records_that_claim_one_id_the_first_is_listed() -> None:
    result = await vouch([CHAT, replace(EMBED, aliases=("chat",))], "mark", signs=False)
    assert seen(result) == dict.fromkeys(CHAT.ids, ("org/chat", False))
    assert (result.refused, result.reasons) == ({"org/embed"}, {"altered": 1})


async def test_the_order_is_the_gateways() -> None:
    listed = [*signed(EMBED), replace(CHAT, id="x", aliases=(), floating_aliases=()), *signed(CHAT)]
    result = await vouch(listed, "mark")
    assert [model.id for model in result.models] == ["org/embed", "x", "org/chat"]


# What a gateway claims of a model that is signed


async def test_tasks_and_lengths_are_no_more_than_what_was_signed_and_all_else_is_what_was_signed() -> None:
    (genuine,) = signed(CHAT)
    claimed = replace(
        genuine,
        tasks=TASKS,
        context_length=10**6,
        max_output_tokens=10**6,
        root="evil",
        owned_by="evil",
        display_name="Evil",
    )
    (model,) = (await vouch([claimed])).models
    assert replace(model, verified=None) == genuine
    hidden = replace(genuine, tasks=("generate",), context_length=16, aliases=(), floating_aliases=())
    (model,) = (await vouch([hidden])).models
    assert (model.tasks, model.context_length, model.ids) == (("generate",), 16, ("org/chat",))


# What is said of it


async def test_each_dropped_row_is_counted_each_time_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    judge = vouching()
    for _ in range(3):
        result = await judge.vouch([CHAT, EMBED, *signed(replace(CHAT, id="old"), at=NOW - LIFETIME)], signs=True)
        assert result.reasons == {"unsigned": 2, "expired": 1}
    warned = [(vars(each)["model"], vars(each)["reason"]) for each in caplog.records if each.levelno == logging.WARNING]
    assert sorted(warned) == [("old", "expired"), ("org/chat", "unsigned"), ("org/embed", "unsigned")]


async def test_a_statement_that_expires_meanwhile_does_not_count_any_more() -> None:
    now = NOW
    judge = Vouching(Verifier(CA.certificate), None, lambda: now)
    listed = signed(CHAT)
    assert (await judge.vouch(listed, signs=True)).models
    now += LIFETIME
    assert (await judge.vouch(listed, signs=True)).reasons == {"expired": 1}


async def test_a_long_list_lets_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(other())
        await vouch([replace(EMBED, id=str(n), aliases=()) for n in range(320)], "mark")
        task.cancel()
    assert turns >= 10


# Whatever a gateway does


def verified_rows(result: Vouched) -> list[dict[str, Any]]:
    rows = [openai.row(model, each, NOW) for model in result.models for each in model.ids]
    return [row for row in rows if row.get("verified")]


def genuine_list() -> Listed:
    body = full_list(Catalogue(signed(*MODELS), NOW).view()).body()
    listed: Listed = msgspec.json.decode(body)
    return listed


async def check(listed: Listed, user: UnsignedModels | None) -> Vouched:
    """Check that what is verified after an attack is what was signed."""
    result = await vouch(read_models(msgspec.json.encode(listed)), user, signs=True)
    by_id = {model.id: model for model in MODELS}
    for model in result.models:
        if model.verified:
            assert model.facts == by_id[model.id].facts
    for row in verified_rows(result):
        canonical = by_id[row.get("canonical", row["id"])]
        unsigned = {each for each in row.get("aliases", ()) if each not in canonical.ids}
        assert unsigned == set() or user in ("allow", "mark")
        honest = row | {
            name: [each for each in row[name] if each not in unsigned]
            for name in ("aliases", "floating_aliases")
            if name in row
        }
        assert exceeds(honest, canonical) == []
    return result


@users
@pytest.mark.parametrize("name", LISTS)
async def test_nothing_beyond_what_was_signed_is_verified_after_an_attack(
    user: UnsignedModels | None, name: str
) -> None:
    listed = genuine_list()
    LISTS[name](listed)
    result = await check(listed, user)
    if user in (None, "drop"):
        assert all(model.verified and not model.unsigned_ids for model in result.models)


_VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-1, 10**7)
    | st.sampled_from(["org/chat", "chat", "org/embed", "embed", "org/evil", "", "\n"])
    | st.lists(st.sampled_from([*TASKS, "org/chat", "chat", "embed", "org/embed", "org/evil"]), max_size=4)
)


@st.composite
def tampered(draw: st.DrawFn) -> Listed:
    """The genuine list after some steps of a gateway."""
    listed = genuine_list()
    rows = listed["data"]
    for _ in range(draw(st.integers(1, 6))):
        if not rows:
            break
        row = draw(st.sampled_from(rows))
        match draw(st.sampled_from(["drop", "repeat", "alter", "swap", "reverse", "strip", "add a name"])):
            case "drop":
                rows.remove(row)
            case "repeat":
                rows.insert(draw(st.integers(0, len(rows))), dict(row))
            case "alter":
                row[draw(st.sampled_from([*sorted(row), "display_name", "retires_at", "verified"]))] = draw(_VALUES)
            case "swap":
                other = draw(st.sampled_from(rows))
                name = draw(st.sampled_from(["statement", "id", "aliases", "tasks", "root"]))
                row[name], other[name] = other.get(name), row.get(name)
            case "reverse":
                rows.reverse()
            case "strip":
                row.pop("statement", None)
            case _:
                name = draw(st.sampled_from(["aliases", "floating_aliases"]))
                given = row.get(name) if isinstance(row.get(name), list) else []
                row[name] = [*(given or []), draw(st.sampled_from(["gpt-9", "org/chat", "chat", "embed"]))]
    return listed


@given(tampered(), st.sampled_from(USERS))
async def test_whatever_a_gateway_does_what_is_verified_is_what_was_signed(
    listed: Listed, user: UnsignedModels | None
) -> None:
    try:
        result = await check(listed, user)
    except UpstreamError:
        return
    ids = [each for model in result.models for each in model.ids]
    assert len(ids) == len(set(ids))
    assert result.refused.isdisjoint(ids)
    owners = {each: model.id for model in MODELS for each in model.ids}
    for each, (canonical, is_verified) in seen(result).items():
        if is_verified:
            assert canonical == owners[each]
    Catalogue(result.models, NOW)
    assert all(model.tasks == in_order(model.tasks) for model in result.models)
