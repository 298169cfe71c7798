"""What processes have used: CPU time and memory, from `/proc` on Linux, and from `ps` elsewhere."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()
_MB = 1024 * 1024


def tree(root: int) -> list[int]:
    """Return the living processes that descend from `root`, itself first."""
    parents = _parents()
    family = [root]
    for pid in family:  # grows meanwhile
        family += [child for child, parent in parents.items() if parent == pid]
    return [pid for pid in family if pid in parents]


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the user and system time of process trees, ended children included."""
    return sum(_cpu_of(pid) for pid in _family(roots))


def rss_mb(roots: Iterable[int]) -> float:
    """Return the resident memory of process trees; pages that they share are counted for each."""
    if _HAS_PROC:
        return sum(_proc_kb(pid, "status", "VmRSS") for pid in _family(roots)) / 1024
    pids = set(_family(roots))
    return sum(int(rss) * 1024 for pid, _, _, rss in _ps() if int(pid) in pids) / _MB


def pss_mb(roots: Iterable[int]) -> float | None:
    """Return the resident memory of process trees, shared pages divided by their users; None where nobody knows."""
    try:
        return sum(_proc_kb(pid, "smaps_rollup", "Pss") for pid in _family(roots)) / 1024
    except OSError:
        return None


def forget_peak(roots: Iterable[int]) -> None:
    """Let `peak_mb` begin anew."""
    with contextlib.suppress(OSError):
        for pid in _family(roots):
            (_PROC / str(pid) / "clear_refs").write_text("5")


def peak_mb(roots: Iterable[int]) -> float | None:
    """Return the most resident memory that process trees had since `forget_peak`; None where nobody knows."""
    try:
        return sum(_proc_kb(pid, "status", "VmHWM") for pid in _family(roots)) / 1024
    except OSError:
        return None


def _family(roots: Iterable[int]) -> list[int]:
    return [pid for root in roots for pid in tree(root)]


def _parents() -> dict[int, int]:
    if not _HAS_PROC:
        return {int(pid): int(parent) for pid, parent, _, _ in _ps()}
    pids = [int(each.name) for each in _PROC.iterdir() if each.name.isdigit()]
    return {pid: int(fields[1]) for pid in pids if (fields := _stat(pid)) and fields[0] != "Z"}


def _stat(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat` from the state on, none where the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_of(pid: int) -> float:
    if not _HAS_PROC:
        return sum(_seconds(used) for each, _, used, _ in _ps() if int(each) == pid)
    fields = _stat(pid)
    if not fields:
        return 0.0
    tick = os.sysconf("SC_CLK_TCK")
    ended = (int(fields[13]) + int(fields[14])) / tick
    try:  # nanoseconds, where the kernel counts them; one tick is 10 ms
        threads = [each / "schedstat" for each in (_PROC / str(pid) / "task").iterdir()]
        own = sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    except OSError:
        own = (int(fields[11]) + int(fields[12])) / tick
    return own + ended


def _proc_kb(pid: int, file: str, name: str) -> int:
    text = (_PROC / str(pid) / file).read_text()
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) if match else 0


def _ps() -> Iterator[tuple[str, str, str, str]]:
    command = ["ps", "-axo", "pid=,ppid=,time=,rss="]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        pid, parent, used, rss = line.split()
        yield pid, parent, used, rss


def _seconds(text: str) -> float:
    """Return what `ps` means by `[[days-]hours:]minutes:seconds`."""
    days, _, rest = text.rpartition("-")
    total = 0.0
    for part in rest.split(":"):
        total = total * 60 + float(part)
    return total + 86400 * int(days or 0)
