"""The programs that are compared, and how they are wired."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import pss_mb, rss_mb
from bench.nginx import nginx_command
from bench.processes import Program, Programs, free_port

SETTLE_SECONDS = 0.3
"""Between a program's listening and the look at its idle memory."""

Target = tuple[int, tuple[Program, ...]]
"""Where requests go, and the programs whose work it is."""

Command = Callable[[int], list[str]]
"""A program's command, by the port that it is to listen on."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What runs."""

    targets: dict[str, Target]
    gateway: Program

    def memory(self, unit: Callable[[list[int]], float | None]) -> dict[str, list[float]]:
        """Return the memory of each target, and of the gateway alone, as far as it is known."""
        programs = {name: list(programs) for name, (_, programs) in self.targets.items() if programs}
        programs["gateway"] = [self.gateway]
        sizes = {name: unit([each.pid for each in listed]) for name, listed in programs.items()}
        return {name: [size] for name, size in sizes.items() if size is not None}


def set_up(programs: Programs, folder: Path, starts: int) -> tuple[Setting, dict[str, dict[str, list[float]]]]:
    """Start everything; return it, and the figures of starting and idling."""
    stub = programs.start("stub", [sys.executable, "-m", "bench.stub", str(port := free_port())], port, talks=True)
    stub.wait_until_it_listens()
    upstream = _url(stub)
    nginx, nginx_times = _start(programs, "nginx", lambda port: nginx_command(folder, port, stub.port), starts)
    proxy, proxy_times = _start(programs, "proxy", lambda port: _proxy(port, upstream), starts)
    gateway, gateway_times = _start(programs, "gateway", lambda port: _gateway(port, upstream), starts)
    second = programs.start("second proxy", _proxy(port := free_port(), _url(gateway)), port)
    second.wait_until_it_listens()
    targets: dict[str, Target] = {
        "direct": (stub.port, ()),
        "nginx": (nginx.port, (nginx,)),
        "proxy": (proxy.port, (proxy,)),
        "chain": (second.port, (second, gateway)),
    }
    setting = Setting(targets, gateway)
    time.sleep(SETTLE_SECONDS)
    chain_times = [sum(pair) for pair in zip(proxy_times, gateway_times, strict=True)]
    times = {"nginx": nginx_times, "proxy": proxy_times, "gateway": gateway_times, "chain": chain_times}
    return setting, {"start": times, "idle_rss": setting.memory(rss_mb), "idle_pss": setting.memory(pss_mb)}


def _start(programs: Programs, name: str, command: Command, starts: int) -> tuple[Program, list[float]]:
    """Start a program several times; return the last one, and the seconds of each until it listened."""
    seconds: list[float] = []
    while True:
        port = free_port()
        program = programs.start(name, command(port), port)
        seconds.append(program.wait_until_it_listens())
        if len(seconds) == starts:
            return program, seconds
        programs.end(program)


def _privity(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("privity")), *arguments]


def _proxy(port: int, upstream: str) -> list[str]:
    return _privity("proxy", "--port", str(port), "--gateway", upstream)


def _gateway(port: int, upstream: str) -> list[str]:
    return _privity("gateway", "--port", str(port), "--inference-proxy", upstream)


def _url(program: Program) -> str:
    return f"http://127.0.0.1:{program.port}"
