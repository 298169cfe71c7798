"""The benchmark runs, says what it measured, and leaves nothing behind. How fast anything is, is not its matter."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = [sys.executable, "-m", "bench", "--quick", "--seconds", "0.2", "--rounds", "1", "--upload", "4"]
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])

pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path=PLACES) is None, reason="nginx is missing: sudo apt-get install nginx"
)


def alive(pids: list[int]) -> list[int]:
    listed = subprocess.run(["ps", "-axo", "pid="], check=True, capture_output=True, text=True).stdout
    return sorted(set(pids) & {int(each) for each in listed.split()})


def descendants(root: int) -> list[int]:
    listed = subprocess.run(["ps", "-axo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = [(int(pid), int(parent)) for pid, parent in (each.split() for each in listed.splitlines())]
    family = [root]
    for known in family:
        family += [pid for pid, parent in parents if parent == known]
    return family[1:]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("bench")
    command = [*BENCH, "--json", str(folder / "out.json")]
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert [each.name for each in folder.iterdir()] == ["out.json"]
    return json.loads((folder / "out.json").read_text()), done.stdout


def test_every_measure_has_a_figure_for_every_target(outcome: tuple[dict[str, Any], str]) -> None:
    result, _ = outcome
    measures = {each["key"]: each for each in result["measures"]}
    assert set(measures) >= {"models_rate", "chat_rate", "chat_one_added", "paced_cpu", "saturated_rate", "start"}
    for key, measure in measures.items():
        if key in {"idle_pss", "upload", "upload_body"} and sys.platform != "linux":
            continue
        whole = "gateway" if key.startswith(("upload", "start")) else "chain"
        assert measure["values"].keys() >= {"nginx", "proxy", whole}, key
        if key != "chat_one_added":
            # A part with nothing to do, as the gateway has where the proxy knows the list, may use no time at all.
            assert all(measure["values"][name] > 0 for name in ("nginx", "proxy", whole)), key
            assert measure["ratio"] > 0, key
    assert measures["chat_cpu"]["values"].keys() >= {"gateway", "inference"}
    assert measures["upload"]["must"] == "≤ 10 MB"
    assert measures["chat_rate"]["must"] == "≥ 0.35 x"
    assert measures["idle_rss"]["stretch"] == "≤ 35 MB"
    assert measures["idle_rss"]["ok"] in {"no", "yes", "stretch"}


def test_the_table_names_every_measure_and_the_noise(outcome: tuple[dict[str, Any], str]) -> None:
    result, table = outcome
    assert all(each["title"] in table for each in result["measures"])
    assert "15 %" in table


def test_it_says_where_the_time_goes(outcome: tuple[dict[str, Any], str]) -> None:
    _, table = outcome
    for what in ("request", "event"):
        assert f"µs for one {what} go" in table
    assert "open the values" in table


def test_the_profile_says_what_each_part_adds(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [*BENCH, "--profile"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    for text in ("uvicorn", "client", "encryption", "decryption", "nginx", "open the values"):
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_nothing_remains(outcome: tuple[dict[str, Any], str]) -> None:
    processes: dict[str, list[int]] = outcome[0]["processes"]
    roles = {"proxy", "second proxy", "gateway", "inference", "secret service"}
    assert set(processes) == {"stub", "nginx", "load", *roles}
    assert len(processes["nginx"]) == 2
    assert alive([pid for pids in processes.values() for pid in pids]) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_remains_after_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(BENCH, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as bench:
        assert bench.stderr is not None
        while "round 1" not in bench.stderr.readline():
            assert bench.poll() is None
        started = descendants(bench.pid)
        assert len(started) >= 6
        bench.send_signal(number)
        assert bench.wait(30) == 128 + number
        assert bench.stderr.read().count("Traceback") == 0
    assert alive(started) == []
    assert list(tmp_path.iterdir()) == []
