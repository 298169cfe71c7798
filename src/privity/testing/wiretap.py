"""A wire that is listened to: passes TCP on to another port of this machine, and keeps all bytes of both directions."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ACCEPT_SECONDS = 0.1
"""Between two looks whether the wire is still wanted."""

PIECE = 65536


class Wiretap:
    """What passed so far."""

    def __init__(self, port: int, listener: socket.socket) -> None:
        self.port = int(listener.getsockname()[1])
        self._target = port
        self._listener = listener
        self._heard: list[bytes] = []
        self._ended = threading.Event()
        self._sockets: list[socket.socket] = []

    def heard(self) -> bytes:
        """Return all bytes, the pieces of both directions in the order of their arrival."""
        return b"".join(self._heard)

    def accept_until_ended(self) -> None:
        """Pass connections on, each in threads of its own."""
        self._listener.settimeout(ACCEPT_SECONDS)
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._sockets += (near, far)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def end(self) -> None:
        """Cut all connections."""
        self._ended.set()
        for each in self._sockets:
            each.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(PIECE):
                self._heard.append(piece)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for each in (source, sink):
                each.close()


@contextmanager
def wiretap(port: int) -> Iterator[Wiretap]:
    """Listen on a wire to a port for as long as the context lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tap = Wiretap(port, listener)
        thread = threading.Thread(target=tap.accept_until_ended)
        thread.start()
        try:
            yield tap
        finally:
            tap.end()
            thread.join()
