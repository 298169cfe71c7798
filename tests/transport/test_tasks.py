import asyncio
import logging

import pytest

from privity.transport.tasks import Background, survive

CANARY = "canary-5b1e"
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


async def test_failed_work_is_logged_by_its_name_and_its_siblings_go_on(caplog: pytest.LogCaptureFixture) -> None:
    go_on = asyncio.Event()

    async def fails() -> None:
        raise ValueError(CANARY)

    async with Background() as background:
        sibling = background.start(go_on.wait(), "sibling")
        failed = background.start(fails(), "failing work")
        await asyncio.wait([failed])
        assert not sibling.done()
        go_on.set()
        assert await sibling
    (record,) = (each for each in caplog.records if each.name == "privity.transport.tasks")
    assert (record.levelno, vars(record)["work"], vars(record)["error"]) == (
        logging.ERROR,
        "failing work",
        "ValueError",
    )
    assert CANARY not in str(vars(record))


async def test_leaving_the_context_cancels_what_runs_and_waits_for_its_cleaning_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []
    started = asyncio.Semaphore(0)

    async def works(name: str) -> None:
        try:
            started.release()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append(name)

    async with Background() as background:
        tasks = [background.start(works(name), name) for name in ("a", "b")]
        for _ in tasks:
            await started.acquire()
    assert sorted(done) == ["a", "b"]
    assert all(task.cancelled() for task in tasks)
    assert [each for each in caplog.records if each.name == "privity.transport.tasks"] == []


async def test_what_ended_is_no_longer_held() -> None:
    async with Background() as background:
        task = background.start(asyncio.sleep(0, "result"), "short")
        assert await task == "result"
        await asyncio.sleep(0)
        assert not background._tasks  # noqa: SLF001  # a leak has no other sign


async def test_an_error_inside_the_context_leaves_it_and_ends_the_work() -> None:
    background = Background()
    tasks: list[asyncio.Task[bool]] = []

    async def work() -> None:
        async with background:
            tasks.append(background.start(asyncio.Event().wait(), "endless"))
            raise KeyError(CANARY)

    with pytest.raises(KeyError, match=CANARY):
        await work()
    assert tasks[0].cancelled()


async def test_a_step_that_fails_is_logged_each_time_by_its_kind_alone_and_the_loop_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors: list[Exception] = [ValueError(CANARY), TimeoutError(CANARY)]
    went_on = asyncio.Event()

    async def step() -> None:
        if errors:
            raise errors.pop(0)
        went_on.set()
        await asyncio.Event().wait()

    async def for_ever() -> None:
        while True:
            await survive(step(), "looking", 0)

    async with Background() as background:
        task = background.start(for_ever(), "loop")
        await went_on.wait()
        assert not task.done()
    assert task.cancelled(), "its end is no failure"
    logged = [vars(each) for each in caplog.records if each.name == "privity.transport.tasks"]
    assert [(each["work"], each["error"]) for each in logged] == [
        ("looking", "ValueError"),
        ("looking", "TimeoutError"),
    ]
    assert all(each["exc_info"] is None for each in logged)
    assert CANARY not in str(logged)


async def test_after_a_step_that_fails_there_is_a_pause() -> None:
    async def step() -> None:
        raise ValueError

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await survive(step(), "looking", 3600)
