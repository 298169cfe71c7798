import asyncio
import logging
import threading
from pathlib import Path

import pytest

from privity.roles.gateway import reload
from privity.roles.gateway.config import Served
from privity.roles.gateway.reload import ConfigWatch
from privity.transport.tasks import Background

HEAD = """
mesh_ca = "ca.pem"
secret_services = ["http://localhost:8083"]
[[inference_proxies]]
url = "https://localhost:8082"
"""
KEY = '[[keys]]\nname = "a"\nsha256 = "{}"\n'.format("ab" * 32)


class Taken(list[Served]):
    async def __call__(self, served: Served) -> None:
        self.append(served)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def watching(path: Path, text: str) -> ConfigWatch:
    write(path, text)
    return ConfigWatch(path, path.read_bytes())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


async def test_a_change_is_applied_once_it_was_seen_twice(path: Path) -> None:
    watch, taken = watching(path, HEAD), Taken()
    await watch.look(taken, was_told=False)
    write(path, HEAD + "drain = true\n")
    await watch.look(taken, was_told=False)
    assert taken == []
    for _ in range(3):
        await watch.look(taken, was_told=False)
    assert [served.draining for served in taken] == [frozenset({"https://localhost:8082"})]


async def test_a_file_that_is_being_written_is_waited_for(path: Path) -> None:
    watch, taken = watching(path, HEAD + KEY), Taken()
    for text in (HEAD, HEAD + "drain = true\n", HEAD + "drain = true\n" + KEY):  # a longer one each time
        write(path, text)
        await watch.look(taken, was_told=False)
    assert taken == []
    await watch.look(taken, was_told=False)
    assert [len(served.keys) for served in taken] == [1]


async def test_the_file_is_not_read_by_the_thread_that_serves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, readers = watching(path, HEAD), list[int]()

    def read(path: Path) -> bytes:
        readers.append(threading.get_ident())
        return path.read_bytes()

    monkeypatch.setattr(reload, "read_config_file", read)
    await watch.look(Taken(), was_told=False)
    assert len(readers) == 1
    assert threading.get_ident() not in readers


async def test_it_goes_on_after_a_failure_that_nobody_expected(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0)
    watch, tried = watching(path, HEAD), list[Served]()
    applied = asyncio.Event()

    async def take(served: Served) -> None:
        tried.append(served)
        if len(tried) == 1:
            watch.told.set()
            raise ValueError
        applied.set()

    async with Background() as background:
        background.start(watch(take), "watch")
        write(path, HEAD + "drain = true\n")
        watch.told.set()
        await applied.wait()
    assert tried[0] == tried[1]


async def test_who_says_so_has_it_read_at_once(path: Path) -> None:
    watch, taken = watching(path, HEAD), Taken()
    write(path, HEAD + "drain = true\n")
    await watch.look(taken, was_told=True)
    assert len(taken) == 1


async def test_a_gateway_with_keys_is_not_opened_by_a_reload(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch, taken = watching(path, HEAD + KEY), Taken()
    write(path, HEAD)
    await watch.look(taken, was_told=True)
    assert taken == []
    assert "open to everybody" in str(vars(caplog.records[-1])["problem"])
    assert watch.file.served.keys


@pytest.mark.parametrize("text", ["port = 'x'\n" + HEAD, "= nothing", None], ids=["a wrong value", "no TOML", "gone"])
async def test_a_file_that_cannot_be_used_is_logged_once_and_the_last_good_one_stays(
    path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    watch, taken = watching(path, HEAD), Taken()
    before = watch.file
    if text is None:
        remove(path)
    else:
        write(path, text)
    for _ in range(4):
        await watch.look(taken, was_told=False)
    assert (taken, watch.file) == ([], before)
    problems = [str(vars(each)["problem"]) for each in caplog.records if each.levelno == logging.ERROR]
    assert len(problems) == 1
    assert "gateway.toml" in problems[0]
    write(path, HEAD)
    await watch.look(taken, was_told=True)
    assert caplog.records[-1].message == "the configuration can be used again"
    write(path, HEAD + "drain = true\n")
    await watch.look(taken, was_told=True)
    assert len(taken) == 1


async def test_each_problem_of_a_file_has_a_line_of_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = watching(path, HEAD)
    write(path, "port = 'x'\nhots = 'y'\n" + HEAD)
    await watch.look(Taken(), was_told=True)
    problems = [str(vars(each)["problem"]) for each in caplog.records]
    assert [each.partition("gateway.toml")[2][:3] for each in problems] == [":1:", ":2:"]


async def test_what_needs_a_restart_is_logged_and_stays_as_it_is(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch, taken = watching(path, HEAD), Taken()
    write(path, "port = 9000\n" + HEAD)
    await watch.look(taken, was_told=True)
    assert taken == []
    assert watch.file.port == 8081
    assert any("needs a restart" in str(vars(each)["change"]) for each in caplog.records)


async def test_a_reload_without_a_change_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watch = watching(path, HEAD)
    await watch.look(Taken(), was_told=True)
    assert caplog.records[-1].message == "configuration reloaded; nothing changed"
