"""What each part of the proxy adds under load: servers that do more and more of what it does, in turn."""

import statistics
import sys
from pathlib import Path

from bench.accounting import cpu_seconds
from bench.load import Job
from bench.nginx import nginx_command
from bench.processes import Program, Programs, free_port
from bench.rounds import CONNECTIONS, Load, Tell, load_command
from bench.setting import UNSIGNED, make_mesh, privity, start_stub
from bench.stages import as_text, profile
from bench.steps import PARTS

LOADS = {"request": "chat", "event": "paced"}


def measure_ladder(programs: Programs, folder: Path, rounds: int, seconds: float, tell: Tell) -> str:
    """Return what to print."""
    servers = _start(programs, folder)
    load = Load(programs.start("load", load_command(), talks=True))
    costs: dict[str, dict[str, list[float]]] = {what: {name: [] for name in servers} for what in LOADS}
    for number in range(1, rounds + 1):
        for what, kind in LOADS.items():
            tell(f"round {number} of {rounds}: {kind}")
            for name, program in servers.items():
                if name == "bare" and what == "event":
                    continue  # it doesn't stream
                before = cpu_seconds([program.pid])
                outcome = load.run(Job(kind, program.port, CONNECTIONS, seconds))
                costs[what][name].append((cpu_seconds([program.pid]) - before) * 1e6 / outcome.done)
    medians = {what: {name: statistics.median(each) for name, each in of.items() if each} for what, of in costs.items()}
    under_load = {what: each["proxy"] for what, each in medians.items()}
    steps = [text for what, each in medians.items() for text in _shown(what, each)]
    return "\n".join([*steps, as_text(profile(), under_load)])


def _start(programs: Programs, folder: Path) -> dict[str, Program]:
    mesh = folder / "mesh"
    make_mesh(mesh)
    stub, sealed_port = start_stub(programs, mesh)
    plain, sealed = (f"http://127.0.0.1:{port}" for port in (stub.port, sealed_port))
    ports = {name: free_port() for name in ("nginx", *PARTS, "proxy")}
    commands = {part: [sys.executable, "-m", "bench.steps", str(ports[part]), part, plain, sealed] for part in PARTS}
    commands["nginx"] = nginx_command(folder, ports["nginx"], stub.port)
    mesh_ca = ("--mesh-ca", str(mesh / "ca.pem"))
    commands["proxy"] = privity("proxy", "--port", str(ports["proxy"]), "--gateway", sealed, *mesh_ca, *UNSIGNED)
    servers = {name: programs.start(name, commands[name], port) for name, port in ports.items()}
    for server in servers.values():
        server.wait_until_it_listens()
    return servers


def _shown(what: str, costs: dict[str, float]) -> list[str]:
    lines = [f"CPU µs per {what} under load, {CONNECTIONS} connections, and what each part adds:"]
    before = 0.0
    titles = {**PARTS, "proxy": "decryption, and all that the proxy is"}
    for name, title in titles.items():
        if name in costs:
            known = title if name != "app" or "bare" in costs else f"{PARTS['bare']} and {title}"
            lines.append(f"  {known:48}{costs[name] - before:8.1f}  {costs[name]:8.1f}")
            before = costs[name]
    return [*lines, f"  nginx, for comparison{costs['nginx']:45.1f}", ""]
