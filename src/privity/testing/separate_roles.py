"""All roles as programs of their own, with every wire between them listened to."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from privity.testing.programs import PRIVITY, free_port, program
from privity.testing.wiretap import Wiretap, wiretap

COMMAND = (str(PRIVITY),)


@dataclass(frozen=True)
class SeparateRoles:
    """A deployment that serves, and its proxy."""

    url: str
    """The proxy's."""
    wires: dict[str, Wiretap]
    """By what they connect."""


@contextmanager
def separate_roles(
    directory: Path, engine: str, *, command: Sequence[str] = COMMAND, api_key: str | None = None
) -> Iterator[SeparateRoles]:
    """Run secret service, inference proxy, gateway and proxy for as long as the context lasts.

    Args:
        directory: for certificates, and for the screens and logs (at level debug) of all of them.
        engine: the model's SOURCE.
        command: what runs `privity`.
        api_key: the proxy's; None takes that of the app.
    """
    mesh = directory / "mesh"
    subprocess.run([PRIVITY, "mesh", str(mesh)], check=True, stdout=subprocess.DEVNULL)
    ports = {name: free_port() for name in ("secret-service", "hand-out", "inference-proxy", "gateway", "proxy")}
    with ExitStack() as stack:
        wires = {name: stack.enter_context(wiretap(port)) for name, port in ports.items() if name != "proxy"}

        def run(role: str, *arguments: str) -> None:
            own = ("--port", str(ports[role]), "--mesh-ca", str(mesh / "ca.pem"), "--log-level", "debug")
            stack.enter_context(program(directory / role, role, *own, *arguments, command=command))

        def identity(role: str) -> tuple[str, str]:
            return "--identity", str(mesh / f"{role}.pem")

        run("secret-service", *identity("secret-service"), "--hand-out-port", str(ports["hand-out"]))
        hand_out = f"https://127.0.0.1:{wires['hand-out'].port}"
        own = (*identity("inference-proxy"), "--model", engine, "--secret-service", hand_out, "--drain", "0")
        run("inference-proxy", *own)
        behind = f"https://127.0.0.1:{wires['inference-proxy'].port}"
        secrets = f"http://127.0.0.1:{wires['secret-service'].port}"
        run("gateway", "--inference-proxy", behind, "--secret-service", secrets)
        key = () if api_key is None else ("--api-key", api_key)
        run("proxy", "--gateway", f"http://127.0.0.1:{wires['gateway'].port}", *key)
        yield SeparateRoles(f"http://127.0.0.1:{ports['proxy']}", wires)
