"""Statements are made anew when they must be, and only then: models-api.md item 13."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest

from privity.catalogue.declared import Declared
from privity.catalogue.model import Model, Statement
from privity.catalogue.statement import MAX_CLOCK_SKEW, read
from privity.catalogue.vouched import vouched
from privity.engines.engine import Answer, Body, EngineModel
from privity.errors import StatementError
from privity.protocol.mesh import INFERENCE_PROXY
from privity.protocol.signed import Verifier
from privity.roles.inference_proxy import main
from privity.roles.inference_proxy.signing import BACKDATED, LIFETIME, MAX_RENEWED, RENEWAL, Signer
from privity.testing.adversary_models import CHAT, EMBED, MODELS
from privity.testing.inference_rig import CA, IDENTITY, NOW, Clock, inference_proxy
from privity.transport.tasks import Background

SECOND = timedelta(seconds=1)


class Engine:
    """An engine that serves what it is told."""

    def __init__(self, *now: EngineModel) -> None:
        self.now = now

    async def describe(self) -> tuple[EngineModel, ...]:
        return self.now

    async def answer(self, _endpoint: str, _body: Body) -> Answer:
        return {}


def signer(clock: Clock) -> Signer:
    return Signer(IDENTITY, clock)


def is_due(signing: Signer) -> bool:
    return signing.is_due


def statements(models: Sequence[Model]) -> list[Statement]:
    found = [model.statement for model in models if model.statement is not None]
    assert len(found) == len(models)
    return found


def holds(statement: Statement, now: datetime) -> Model:
    Verifier(CA.certificate).verify(statement.payload, statement.signature, statement.certificate, now)
    return read(statement.payload, now)


def test_a_statement_is_verified_and_says_what_the_record_says() -> None:
    listed = signer(Clock()).sign(MODELS)
    assert [replace(each, statement=None) for each in listed] == list(MODELS)
    for model, statement in zip(listed, statements(listed), strict=True):
        assert replace(vouched(model, holds(statement, NOW)), verified=None) == model


def test_it_holds_for_an_hour_and_for_those_whose_clock_is_a_little_behind() -> None:
    assert (timedelta(hours=1), timedelta(minutes=30)) == (LIFETIME, RENEWAL)
    (statement,) = statements(signer(Clock()).sign([CHAT]))
    holds(statement, NOW + LIFETIME - SECOND)
    holds(statement, NOW - BACKDATED - MAX_CLOCK_SKEW)
    for now in (NOW + LIFETIME, NOW - BACKDATED - MAX_CLOCK_SKEW - SECOND):
        with pytest.raises(StatementError) as caught:
            holds(statement, now)
        assert caught.value.reason == "expired"


def test_it_is_made_anew_at_half_its_time_and_stays_the_same_in_between() -> None:
    clock = Clock()
    signing = signer(clock)
    first = statements(signing.sign(MODELS))
    clock.move(RENEWAL - SECOND)
    assert not is_due(signing)
    assert statements(signing.sign(MODELS)) == first
    clock.move(SECOND)
    assert is_due(signing)
    second = statements(signing.sign(MODELS))
    assert not {each.signature for each in first} & {each.signature for each in second}
    assert not is_due(signing)
    assert [holds(each, NOW + LIFETIME).id for each in second] == ["org/chat", "org/embed"]


@pytest.mark.parametrize("by", [SECOND, 5 * LIFETIME], ids=str)
def test_a_clock_that_is_set_back_has_it_made_anew(by: timedelta) -> None:
    clock = Clock(NOW + by)
    signing = signer(clock)
    signing.sign(MODELS)
    clock.move(-by)
    assert is_due(signing)
    for statement in statements(signing.sign(MODELS)):
        holds(statement, clock())
        holds(statement, clock() + LIFETIME - SECOND)
    assert not is_due(signing)


def test_of_many_that_are_merely_old_a_few_are_made_anew_at_each_look() -> None:
    clock = Clock()
    signing = signer(clock)
    many = [replace(CHAT, id=f"org/{number}", aliases=()) for number in range(2 * MAX_RENEWED + 1)]
    before = statements(signing.sign(many))
    clock.move(RENEWAL)
    made = []
    while is_due(signing):
        after = statements(signing.sign(many))
        made.append(sum(new != old for new, old in zip(after, before, strict=True)))
        before = after
    assert made == [MAX_RENEWED, MAX_RENEWED, 1]
    for statement in before:
        holds(statement, clock() + LIFETIME - SECOND)


def test_what_is_new_or_changed_is_stated_at_once_however_much_is_old() -> None:
    clock = Clock()
    signing = signer(clock)
    many = [replace(CHAT, id=f"org/{number}", aliases=()) for number in range(MAX_RENEWED + 1)]
    signing.sign(many)
    clock.move(RENEWAL)
    changed = [replace(each, context_length=8192) for each in many]
    for model, statement in zip(changed, statements(signing.sign([*changed, EMBED])), strict=False):
        assert holds(statement, clock()).context_length == model.context_length
    assert not is_due(signing)


def test_a_change_makes_the_statement_of_the_changed_one_anew() -> None:
    signing = signer(Clock())
    chat, embed = statements(signing.sign(MODELS))
    changed = replace(CHAT, context_length=8192)
    chat_after, embed_after = statements(signing.sign([changed, EMBED]))
    assert chat_after != chat
    assert embed_after == embed
    assert holds(chat_after, NOW).context_length == 8192


def test_what_left_and_came_back_is_signed_again_and_not_due_meanwhile() -> None:
    clock = Clock()
    signing = signer(clock)
    (first,) = statements(signing.sign([CHAT]))
    assert signing.sign([]) == []
    clock.move(RENEWAL)
    assert not is_due(signing)
    assert statements(signing.sign([CHAT])) != [first]


def test_draining_is_not_signed_and_needs_no_new_signature() -> None:
    signing = signer(Clock())
    (before,) = signing.sign([CHAT])
    (after,) = signing.sign([replace(CHAT, status="draining")])
    assert after.statement == before.statement
    assert (before.status, after.status) == ("available", "draining")
    assert after.statement is not None
    assert "status" not in msgspec.json.decode(after.statement.payload)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "a\nb"},
        {"id": ""},
        {"id": "x" * 257},
        {"aliases": ("org/chat",)},
        {"aliases": tuple(str(n) for n in range(65))},
        {"owned_by": ""},
        {"created": -1},
        {"root": "a\x1b[2J"},
        {"display_name": "\ud800"},
    ],
    ids=str,
)
def test_one_that_can_not_be_stated_is_left_out_with_a_warning_and_takes_no_other_with_it(
    change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    bad = replace(CHAT, **change)  # type: ignore[arg-type]  # that is the point
    signing = signer(Clock())
    assert [each.id for each in signing.sign([bad, EMBED])] == ["org/embed"]
    (warning,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert vars(warning)["model"] == bad.id
    assert not is_due(signing)


async def test_an_inference_proxy_renews_its_statements_with_the_look_after_half_their_time() -> None:
    clock = Clock()
    proxy = await inference_proxy(Engine(EngineModel("a", ("generate",))), clock=clock)
    first, changed = statements(proxy.catalogue.models), proxy.published.change
    clock.move(RENEWAL - SECOND)
    await proxy.refresh()
    assert not changed.is_set()
    clock.move(SECOND)
    await proxy.refresh()
    assert changed.is_set()
    assert statements(proxy.catalogue.models) != first
    holds(statements(proxy.catalogue.models)[0], clock() + LIFETIME - SECOND)


async def test_an_inference_proxy_looks_again_after_a_failure_that_nobody_expected() -> None:
    looked = asyncio.Event()

    class Failing(Engine):
        async def describe(self) -> tuple[EngineModel, ...]:
            if self.now:
                self.now = ()
                raise ValueError
            looked.set()
            return ()

    engine = Failing()
    proxy = await inference_proxy(engine)
    engine.now = (EngineModel("a", ("generate",)),)
    looked.clear()
    async with Background() as background:
        background.start(main._refresh_for_ever(proxy, 0), "looks")  # noqa: SLF001  # else it takes real engines
        await looked.wait()


async def test_draining_keeps_an_inference_proxys_statements() -> None:
    proxy = await inference_proxy(Engine(EngineModel("a", ("generate",))))
    first = statements(proxy.catalogue.models)
    proxy.drain()
    assert statements(proxy.catalogue.models) == first
    assert [each.status for each in proxy.catalogue.models] == ["draining"]


async def test_what_an_operator_declares_is_signed() -> None:
    declared = Declared("a", aliases=("x",), floating_aliases=("newest",), tasks=("generate", "vision"))
    proxy = await inference_proxy(Engine(EngineModel("a", ("generate",))), None, declared)
    model = holds(statements(proxy.catalogue.models)[0], NOW)
    assert (model.aliases, model.floating_aliases, model.tasks) == (("x",), ("newest",), ("generate", "vision"))


def test_the_signer_shows_its_certificate() -> None:
    other = CA.issue(INFERENCE_PROXY, NOW)
    (statement,) = statements(Signer(other, Clock()).sign([CHAT]))
    assert statement.certificate == other.certificate_der()
