"""The benchmark of large fleets runs, and says what it measured. How fast anything is, is not its matter."""

import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.scale_load import Job
from bench.scale_setting import FILES
from bench.scale_stub import MODELS, REPLICAS, SHORT, Replica, large_fleet, model

from bench import scale_report

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "bench", "--scale", "--quick", "--seconds", "0.2", "--rounds", "1"]
HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.mark.skipif(
    HARD_LIMIT != resource.RLIM_INFINITY and HARD_LIMIT < FILES, reason="too few open files are allowed"
)
def test_it_measures_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [*COMMAND, "--json", str(tmp_path / "out.json")]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert [each["title"] for each in result["scale"]] == [line.title.strip() for line in scale_report.LINES]
    with_goals = [each for each in result["scale"] if "must" in each]
    assert len(with_goals) == 11
    assert all(each["value"] > 0 and each["ok"] in {"yes", "no"} for each in with_goals)
    assert all(line.title in done.stdout for line in scale_report.LINES)
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]
    pids = [pid for listed in result["processes"].values() for pid in listed]
    listed = subprocess.run(["ps", "-axo", "pid="], check=True, capture_output=True, text=True).stdout.split()
    assert len(pids) >= 8
    assert set(map(str, pids)).isdisjoint(listed)


def test_every_model_stands_in_one_replica() -> None:
    fleet = large_fleet()
    ids = [each for models in fleet for known in models for each in known.ids]
    assert len(fleet) == REPLICAS
    assert len(ids) == len(set(ids)) == MODELS * 4
    assert [fleet[number][0].id for number in range(SHORT)] == [model(number).id for number in range(SHORT)]


def test_each_change_changes_the_list_and_never_the_model_that_is_called() -> None:
    fleet = large_fleet()
    replica = Replica(fleet[0])
    etags = [replica.etag]
    for _ in range(20):
        replica.change()
        etags.append(replica.etag)
        assert model(0).id.encode() in replica.whole
    assert all(one != other for one, other in itertools.pairwise(etags))


def test_ratios_are_those_of_each_round() -> None:
    figures: Any = {place[0]: {} for line in scale_report.LINES for place in (line.of, line.against) if place}
    for line in scale_report.LINES:
        for place in (line.of, line.against):
            if place is not None:
                figures[place[0]][place[1]] = [2.0, 4.0, 60.0]
    figures["list p50"] = {"churn": [1.0, 20.0, 3.0], "calm": [1.0, 10.0, 3.0]}
    entry = next(each for each in scale_report.as_json(figures) if each["key"] == "list p50 churn")
    assert (entry["value"], entry["against"], entry["ratio"], entry["ok"]) == (3.0, 3.0, 1.0, "yes")
    assert "≤ 1.1 x" in scale_report.as_table(scale_report.as_json(figures))


def test_jobs_have_defaults_that_ask_once() -> None:
    assert Job("list").seconds == 0
