"""models-api.md item 4: when a replica counts as serving."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.roles.gateway.health import FAILED_ANSWERS, FALL, PENALTY_SECONDS, RISE, Health


def up() -> Health:
    health = Health()
    health.looked(0)
    return health


def down() -> Health:
    health = up()
    for _ in range(FALL):
        health.failed()
    return health


def test_a_replica_that_was_never_heard_is_not_up_and_one_look_brings_it_up() -> None:
    health = Health()
    assert (health.is_up, health.last_heard) == (False, None)
    health.failed()
    health.looked(3)
    assert health.is_up
    assert (health.last_heard, health.status(3)) == (3, "available")


@pytest.mark.parametrize("signal", [Health.failed, Health.timed_out])
def test_it_takes_several_signals_in_a_row_to_bring_it_down(signal: Callable[[Health], None]) -> None:
    health = up()
    for _ in range(3):
        for _ in range(FALL - 1):
            signal(health)
            assert (health.is_up, health.status(0)) == (True, "unknown")
        health.looked(0)
        assert (health.is_up, health.status(0)) == (True, "available")
    health = up()
    for _ in range(FALL):
        signal(health)
    assert not health.is_up


def test_signals_of_both_kinds_count_together() -> None:
    for signals in [(Health.failed, Health.timed_out), (Health.timed_out, Health.failed)]:
        health = up()
        for signal in signals:
            assert health.is_up
            signal(health)
        assert not health.is_up


def test_it_takes_several_looks_in_a_row_to_bring_it_up_again() -> None:
    health = down()
    for _ in range(3):
        for _ in range(RISE - 1):
            health.looked(1)
            assert not health.is_up
        health.timed_out()
    for _ in range(RISE):
        health.looked(1)
    assert health.is_up


@pytest.mark.parametrize("signals", [1, 2, 100])
def test_it_stays_up_while_looks_time_out_and_requests_succeed(signals: int) -> None:
    health = up()
    for _ in range(signals):
        health.timed_out()
        health.answered(5)
        assert health.is_up
        assert (health.status(5), health.last_heard) == ("unknown", 5)
    health.looked(6)
    assert health.status(6) == "available"


def test_connections_that_fail_now_and_then_do_not_bring_it_down() -> None:
    health = up()
    for _ in range(10):
        health.failed()
        health.answered(0)
    assert health.is_up
    assert health.status(0) == "available"


def test_answers_alone_do_not_bring_it_up() -> None:
    health = down()
    for _ in range(10):
        health.answered(0)
    assert not health.is_up


def test_failed_answers_make_it_the_last_choice_for_a_time() -> None:
    health = up()
    for _ in range(FAILED_ANSWERS - 1):
        health.answer_failed(0)
    assert health.status(0) == "available"
    health.answer_failed(1)
    assert health.status(1) == "degraded"
    assert health.is_up, "there may be no other"
    health.looked(2)
    assert health.status(2) == "degraded", "a look says nothing of the engine"
    assert health.status(1 + PENALTY_SECONDS) == "available"
    health.answer_failed(20)
    assert health.status(20) == "degraded"
    health.answered(21)
    assert health.status(21) == "available"


SIGNALS = ["looked", "failed", "timed_out", "answered", "answer_failed"]


@given(st.lists(st.sampled_from(SIGNALS), max_size=30))
def test_the_verdict_changes_after_signals_in_a_row_only(signals: list[str]) -> None:
    health = Health()
    was_up = ever_up = False
    for place, signal in enumerate(signals):
        method = getattr(health, signal)
        method(*([float(place)] if signal in ("looked", "answered", "answer_failed") else []))
        if was_up and not health.is_up:
            assert signal in ("failed", "timed_out")
            before = [each for each in signals[: place + 1] if each != "answer_failed"]
            assert set(before[-FALL:]) <= {"failed", "timed_out"}
        if health.is_up and not was_up:
            looks = [each for each in signals[: place + 1] if each in ("looked", "failed", "timed_out")]
            assert looks[-1] == "looked"
            assert not ever_up or looks[-RISE:] == ["looked"] * RISE
        was_up = health.is_up
        ever_up |= was_up
