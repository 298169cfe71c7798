"""`python -m bench`: Privity's proxy and gateway beside nginx, on this machine, in one table."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.accounting import rss_mb
from bench.ladder import measure_ladder
from bench.nginx import find_nginx
from bench.processes import BenchError, Programs
from bench.report import as_json, as_table
from bench.rounds import Load, load_command, measure
from bench.scale import measure_scale
from bench.scale_report import as_json as scale_as_json
from bench.scale_report import as_table as scale_as_table
from bench.setting import set_up
from bench.stages import as_text, profile
from bench.upload import MB, measure_upload

DEFAULT = (5, 1.2)
"""Rounds, and seconds of each load: under three minutes."""

QUICK = (2, 0.5)
"""The same, under 30 seconds."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less exact, in under 30 seconds")
    parser.add_argument("--rounds", type=_rounds, help=f"rounds (default: {DEFAULT[0]}, quick: {QUICK[0]})")
    parser.add_argument("--seconds", type=_seconds, help=f"of each load (default: {DEFAULT[1]}, quick: {QUICK[1]})")
    parser.add_argument("--profile", action="store_true", help="say instead what the parts of the proxy cost")
    parser.add_argument("--scale", action="store_true", help="measure instead many models, keys, changes, subscribers")
    parser.add_argument("--upload", type=_megabytes, default=50, metavar="MB", help="size of the file (default: 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parsed = parser.parse_args(arguments)
    rounds, seconds = QUICK if parsed.quick else DEFAULT
    parsed.rounds = parsed.rounds or rounds
    parsed.seconds = parsed.seconds or seconds
    return parsed


def _rounds(text: str) -> int:
    if not 1 <= (number := int(text)) <= 100:
        raise argparse.ArgumentTypeError("between 1 and 100")
    return number


def _seconds(text: str) -> float:
    if not 0.05 <= (number := float(text)) <= 30:
        raise argparse.ArgumentTypeError("between 0.05 and 30")
    return number


def _megabytes(text: str) -> int:
    if not 1 <= (number := int(text)) <= 50:
        raise argparse.ArgumentTypeError("between 1 and 50")
    return number


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(parsed: argparse.Namespace) -> None:
    """Measure and print. Raises `BenchError` where something can't be run."""
    if parsed.scale:
        run_scale(parsed)
        return
    find_nginx()
    if parsed.profile:
        with tempfile.TemporaryDirectory(prefix="privity-bench-") as name, Programs(Path(name)) as programs:
            print(measure_ladder(programs, Path(name), parsed.rounds, parsed.seconds, _tell))
        return
    with tempfile.TemporaryDirectory(prefix="privity-bench-") as name, Programs(Path(name)) as programs:
        _tell("starting")
        setting, figures = set_up(programs, Path(name), starts=1 if parsed.quick else 3)
        load = Load(programs.start("load", load_command(), talks=True))
        figures |= measure_upload(setting, load, parsed.upload * MB, _tell)
        figures |= measure(setting, load, parsed.rounds, parsed.seconds, _tell)
        figures["loaded_rss"] = setting.memory(rss_mb)
        pids = programs.pids
    settings = {"rounds": parsed.rounds, "seconds": parsed.seconds, "quick": parsed.quick}
    result = as_json(figures, settings, pids)
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(result, indent=2) + "\n")
    print(as_table(result))
    costs = {each["key"]: each["values"]["proxy"] for each in result["measures"] if each["key"].endswith("_cpu")}
    print(as_text(profile(), {"request": costs["chat_cpu"], "event": costs["paced_cpu"]}))


def run_scale(parsed: argparse.Namespace) -> None:
    """Measure and print what is large. Raises `BenchError` where something can't be run."""
    with tempfile.TemporaryDirectory(prefix="privity-bench-") as name:
        figures, pids = measure_scale(Path(name), parsed.rounds, parsed.seconds, _tell, quick=parsed.quick)
    entries = scale_as_json(figures)
    if parsed.json is not None:
        parsed.json.write_text(json.dumps({"scale": entries, "processes": pids}, indent=2) + "\n")
    print(scale_as_table(entries))


def main() -> int:
    """Return the exit status: 0 whatever the figures are."""
    try:
        run(parse())
    except BenchError as error:
        _tell(f"bench: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
