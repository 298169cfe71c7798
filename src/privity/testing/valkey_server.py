"""A real Valkey or Redis for tests: started, stopped and started again at the same address."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from privity.testing.programs import DEADLINE, eventually, free_port


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's certificate, its key, and the CA that issued it."""

    certificate: Path
    key: Path
    ca: Path


def find_server() -> str | None:
    """Return the path of the program, or None where neither is installed."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


class ValkeyServer:
    """One server on a loopback port, that writes nothing to disk. It wants a password if there is one."""

    def __init__(self, directory: Path, tls: TlsFiles | None = None, password: str = "") -> None:
        self.port = free_port()
        self.socket = directory / "valkey.sock"
        self._directory = directory
        self._tls = tls
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        user = f":{self._password}@" if self._password else ""
        if self._tls is not None:
            return f"rediss://{user}127.0.0.1:{self.port}/0?ssl_ca_certs={self._tls.ca}"
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        program = find_server()
        assert program is not None
        options = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self._directory}
        options |= {"unixsocket": self.socket, "requirepass": self._password}
        if self._tls is None:
            options["port"] = self.port
        else:
            options |= {"port": 0, "tls-port": self.port, "tls-auth-clients": "no", "tls-ca-cert-file": self._tls.ca}
            options |= {"tls-cert-file": self._tls.certificate, "tls-key-file": self._tls.key}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self._directory / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        eventually(self._listens, "the store takes connections")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "valkey.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self) -> None:
        """End it, with all that it holds."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE)
            self._process = None

    def restart(self) -> None:
        """End it and start it anew, empty, at the same address."""
        self.stop()
        self.start()


@contextlib.contextmanager
def valkey_server(directory: Path, tls: TlsFiles | None = None, password: str = "") -> Iterator[ValkeyServer]:
    """Run a server for as long as the context lasts. Tests skip themselves where `find_server` finds none."""
    server = ValkeyServer(directory, tls, password)
    try:
        server.start()
        yield server
    finally:
        server.stop()
