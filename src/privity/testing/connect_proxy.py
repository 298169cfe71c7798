"""An outgoing proxy as companies have them, and TLS in front of a port: on loopback, each in a thread of its own."""

import asyncio
import base64
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from privity.protocol.mesh import Identity
from privity.transport.tls_files import TlsFiles

PIECE = 65536

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ConnectProxy:
    """Connects names that it knows with ports of this machine, and refuses all else."""

    targets: Mapping[str, int]
    """`HOST:PORT` → port."""
    user: str | None = None
    """`NAME:PASSWORD` that it wants."""
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    """Of the requests that it got."""

    @property
    def url(self) -> str:
        """Its URL, with what it wants to know."""
        user = "" if self.user is None else f"{self.user}@"
        return f"http://{user}127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, then pass bytes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        method, target, *_ = head.decode("latin-1").split(" ")
        wanted = None if self.user is None else b"proxy-authorization: Basic " + base64.b64encode(self.user.encode())
        if wanted is not None and wanted not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\nno")
        elif method != "CONNECT" or target not in self.targets:
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        else:
            writer.write(b"HTTP/1.0 200 Connection established\r\n\r\n")  # as Squid's
            await _pass_on(reader, writer, self.targets[target])


@contextmanager
def connect_proxy(
    targets: Mapping[str, int], user: str | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[ConnectProxy]:
    """Run a proxy for as long as the context lasts; `tls` encrypts what is said with it."""
    proxy = ConnectProxy(targets, user)
    with _served(proxy.answer, tls) as proxy.port:
        yield proxy


@contextmanager
def tls_in_front_of(port: int, files: TlsFiles) -> Iterator[int]:
    """Run what takes TLS off and passes the rest on to a port; yield its own port."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.certificate, files.key)
    with _served(lambda reader, writer: _pass_on(reader, writer, port), tls) as own:
        yield own


def write_tls_files(identity: Identity, directory: Path) -> TlsFiles:
    """Write a certificate and its key to two files, in place where they are there."""
    files = TlsFiles(directory / "tls.crt", directory / "tls.key")
    files.certificate.write_bytes(identity.certificate_pem())
    files.key.write_bytes(identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, far_writer))
            both.create_task(_copy(far_reader, writer))
    finally:
        far_writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE):
        sink.write(piece)
        await sink.drain()
    sink.close()


@contextmanager
def _served(handler: Handler, tls: ssl.SSLContext | None) -> Iterator[int]:
    """Serve in a thread; yield the port."""
    serving = threading.Event()
    ports: list[int] = []
    ends: list[Callable[[], object]] = []

    async def serve() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        tasks: set[asyncio.Task[None] | None] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            with suppress(OSError, asyncio.IncompleteReadError, ExceptionGroup, asyncio.CancelledError):
                await handler(reader, writer)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
        ports.append(server.sockets[0].getsockname()[1])
        ends.append(lambda: loop.call_soon_threadsafe(ended.set))
        serving.set()
        await ended.wait()
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    serving.wait()
    try:
        yield ports[0]
    finally:
        ends[0]()
        thread.join()
