"""The programs that are compared, and how they are wired."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import pss_mb, rss_mb
from bench.nginx import nginx_command
from bench.processes import BenchError, Program, Programs, free_port
from bench.stub import UPLOADS

SETTLE_SECONDS = 0.5
"""Between a program's listening and the look at its idle memory: until the proxy has agreed on a secret, too."""

UNSIGNED = ("--unsigned-models", "mark")
"""For a proxy before the stub, which signs nothing in a mesh that could."""

Command = Callable[[int], list[str]]
"""A program's command, by the port that it is to listen on."""

Unit = Callable[[list[int]], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the programs whose work it is."""

    port: int
    programs: tuple[Program, ...] = ()
    sealed: bool = False
    """Whether requests must be encrypted before they are sent there."""
    direct: str = "direct"
    """The target that shows how long the upstream takes by itself."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What runs."""

    targets: dict[str, Target]
    parts: dict[str, Program]
    """Those of a target's programs that have a column of their own."""
    stub: Program

    def memory(self, unit: Unit) -> dict[str, list[float]]:
        """Return the memory of each target, and of the parts, as far as it is known."""
        programs = {name: list(target.programs) for name, target in self.targets.items() if target.programs}
        programs |= {name: [program] for name, program in self.parts.items()}
        sizes = {name: unit([each.pid for each in listed]) for name, listed in programs.items()}
        return {name: [size] for name, size in sizes.items() if size is not None}


@dataclass(slots=True)
class _Starter:
    """Starts programs of one mesh, each several times, and notes how long that took."""

    programs: Programs
    folder: Path
    starts: int
    times: dict[str, list[float]]

    def start(self, name: str, command: Command, times: int | None = None) -> Program:
        """Return the last one."""
        seconds: list[float] = []
        while True:
            port = free_port()
            program = self.programs.start(name, command(port), port)
            seconds.append(program.wait_until_it_listens())
            if len(seconds) == (times or self.starts):
                self.times[name] = seconds
                return program
            self.programs.end(program)

    def privity(self, name: str, role: str, *arguments: str, times: int | None = None) -> Program:
        """Start a role."""
        mesh = ("--mesh-ca", str(self.folder / "ca.pem"))
        return self.start(name, lambda port: privity(role, "--port", str(port), *mesh, *arguments), times)

    def identity(self, role: str) -> tuple[str, str]:
        """Return the option that names a role's certificate and key."""
        return "--identity", str(self.folder / f"{role}.pem")


def set_up(programs: Programs, folder: Path, starts: int) -> tuple[Setting, dict[str, dict[str, list[float]]]]:
    """Start everything; return it, and the figures of starting and idling."""
    mesh = folder / "mesh"
    make_mesh(mesh)
    starter = _Starter(programs, mesh, starts, {})
    stub, sealed_port = start_stub(programs, mesh)
    plain, sealed = _url(stub.port), _url(sealed_port)
    nginx = starter.start("nginx", lambda port: nginx_command(folder, port, stub.port))
    proxy = starter.privity("proxy", "proxy", "--gateway", sealed, *UNSIGNED)
    inference, gateway = _deployment(starter, plain, sealed)
    second = starter.privity("second proxy", "proxy", "--gateway", _url(gateway.port), times=1)
    targets = {
        "direct": Target(stub.port),
        "sealed": Target(sealed_port, sealed=True),
        "nginx": Target(nginx.port, (nginx,)),
        "proxy": Target(proxy.port, (proxy,), direct="sealed"),
        "chain": Target(second.port, (second, gateway, inference)),
    }
    setting = Setting(targets, {"gateway": gateway, "inference": inference}, stub)
    time.sleep(SETTLE_SECONDS)
    times = {name: seconds for name, seconds in starter.times.items() if name in (*targets, *setting.parts)}
    return setting, {"start": times, "idle_rss": setting.memory(rss_mb), "idle_pss": setting.memory(pss_mb)}


def make_mesh(mesh: Path) -> None:
    """Write a mesh's files. Raises `BenchError`."""
    made = subprocess.run(privity("mesh", str(mesh)), capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise BenchError(f"`privity mesh` fails. {made.stderr}")


def start_stub(programs: Programs, mesh: Path) -> tuple[Program, int]:
    """Return the upstream, and its second port."""
    plain, sealed = free_port(), free_port()
    ports = (str(plain), str(sealed))
    command = [sys.executable, "-m", "bench.stub", *ports, str(mesh / "secret-service.pem")]
    stub = programs.start("stub", command, plain, talks=True)
    stub.wait_until_it_listens()
    return stub, sealed


def _deployment(starter: _Starter, plain: str, sealed: str) -> tuple[Program, Program]:
    """Return a real inference proxy before an engine, and the gateway before it, with TLS between them."""
    hand_out = free_port()
    identity = starter.identity("secret-service")
    secrets = starter.privity("secret service", "secret-service", *identity, "--hand-out-port", str(hand_out), times=1)
    engine = ("--model", f"openai:{plain}/v1#tasks=generate", "--secret-service", f"https://127.0.0.1:{hand_out}")
    inference = starter.privity(
        "inference", "inference-proxy", *starter.identity("inference-proxy"), *engine, "--drain", "0"
    )
    behind = ("--inference-proxy", f"https://127.0.0.1:{inference.port}", "--inference-proxy", sealed + UPLOADS)
    gateway = starter.privity("gateway", "gateway", *behind, "--secret-service", _url(secrets.port))
    return inference, gateway


def privity(*arguments: str) -> list[str]:
    """Return the command of a role."""
    return [str(Path(sys.executable).with_name("privity")), *arguments]


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
