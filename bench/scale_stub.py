"""Many replicas in one process: each serves some models below a path of its own, and some of them change all the time.

`python -m bench.scale_stub PORT FIRST LAST` serves these replicas of the large fleet, and the small fleet, until its
standard input ends. A line of that is `rate NUMBER`, changes a second of the whole large fleet from now on, or
`change`, one change of the small one; each is answered by a steady clock's seconds.
"""

import asyncio
import itertools
import random
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import uvloop

from bench.traffic import CHAT_PATH, chat_answer
from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import Model, Statement
from privity.catalogue.projections import full_list
from privity.catalogue.query import Query

MODELS = 2000
REPLICAS = 100
SHORT = 10
"""Models of the small fleet's one replica, and of the short view of the large one."""

ALIASES = 3
CREATED = 1_750_000_000

_STATEMENT_BYTES, _SIGNATURE_BYTES, _CERTIFICATE_BYTES = 900, 71, 500
"""As inference proxies sign: nobody verifies it here, but a gateway holds it."""

_LENGTH = b"\r\ncontent-length: "
_KNOWN = b"\r\nif-none-match: "


def model(number: int) -> Model:
    """Return one model of a fleet."""
    name = f"stub-{number:04}-instruct"
    aliases = (name, f"bench/{name}-fp8")
    return Model(
        f"bench/{name}",
        ("generate", "tool_calling"),
        CREATED + number,
        "privity",
        aliases,
        (f"{name}-latest",),
        display_name=f"Stub {number} Instruct",
        context_length=32768,
        root=f"{name}-q4_k_m.gguf",
    )


def large_fleet() -> list[list[Model]]:
    """Return the models of each replica; the first ones of the short view are the first ones of their replicas."""
    noise = random.Random(0)  # noqa: S311  # the same in each run
    fleet: list[list[Model]] = [[] for _ in range(REPLICAS)]
    certificates = [noise.randbytes(_CERTIFICATE_BYTES) for _ in fleet]
    for number in range(MODELS):
        at = number % REPLICAS
        signed = Statement(noise.randbytes(_STATEMENT_BYTES), noise.randbytes(_SIGNATURE_BYTES), certificates[at])
        fleet[at].append(replace(model(number), statement=signed))
    return fleet


class Replica:
    """One inference proxy's list.

    Args:
        models: what it serves.
    """

    def __init__(self, models: list[Model]) -> None:
        self._models = models
        self._last: Model | None = None
        self._changes = 0
        self._catalogue = Catalogue((), datetime.now(UTC))
        self._encode()

    def change(self) -> None:
        """Change one model: by turns a length, and, each fourth time, whether the last model is there."""
        self._changes += 1
        if self._last is not None:
            self._models, self._last = [*self._models, self._last], None
        elif self._changes % 4 == 0 and len(self._models) > SHORT:
            self._last = self._models.pop()
        else:
            at = self._changes % (len(self._models) - 1)
            length = (self._models[at].context_length or 0) + 1
            self._models[at] = replace(self._models[at], context_length=length)
        self._encode()

    def _encode(self) -> None:
        self._catalogue = Catalogue(self._models, self._catalogue.as_of, self._catalogue)
        listing = full_list(self._catalogue.view(), Query(collapse=True))
        self.etag = listing.etag().encode()
        self.whole = _whole(listing.body(), b"ETag: %b\r\n" % self.etag)
        self.known = b"HTTP/1.1 304 Not Modified\r\nETag: %b\r\n\r\n" % self.etag


def _whole(body: bytes, more: bytes = b"", status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body


_ANSWER = _whole(chat_answer())
_UNKNOWN = _whole(b"{}", status=b"404 Not Found")


class Stub(asyncio.Protocol):
    """One connection: one request after the other.

    Args:
        replicas: by the path that they are below.
    """

    def __init__(self, replicas: dict[bytes, Replica]) -> None:
        self._replicas = replicas
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the request that is complete."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        lowered = head.lower() + b"\r\n"
        at = lowered.find(_LENGTH)
        length = int(lowered[at + len(_LENGTH) :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = b""
        at = lowered.find(_KNOWN)
        known = head[at + len(_KNOWN) :].split(b"\r", 1)[0] if at >= 0 else b""
        self._transport.write(self._answer(head.split(b" ", 2)[1], known))

    def _answer(self, target: bytes, known: bytes) -> bytes:
        below, _, path = target.partition(b"/v1")
        replica = self._replicas.get(below)
        if replica is None:
            return _UNKNOWN
        if path.startswith(b"/models"):
            return replica.known if known == replica.etag else replica.whole
        return _ANSWER if b"/v1" + path == CHAT_PATH.encode() else _UNKNOWN


class _Fleet:
    """All replicas of a process, and who changes them."""

    def __init__(self, numbers: range) -> None:
        fleet = large_fleet()
        large = {number: Replica(fleet[number]) for number in numbers}
        self._small = Replica([model(number) for number in range(SHORT)])
        self.replicas = {f"/large/{number}".encode(): each for number, each in large.items()}
        self.replicas[b"/small/0"] = self._small
        self._share = len(large) / REPLICAS
        self._turns = itertools.cycle(large.values())
        self._interval = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def obey(self, line: str) -> None:
        """Do what a line says."""
        command, _, number = line.partition(" ")
        if command == "change":
            self._small.change()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if float(number):
            self._interval, self._due = 1 / (float(number) * self._share), time.monotonic()
            self._tick()

    def _tick(self) -> None:
        """Make the changes that are due."""
        while self._due <= time.monotonic():
            next(self._turns).change()
            self._due += self._interval
        self._timer = asyncio.get_running_loop().call_later(self._due - time.monotonic(), self._tick)


async def _serve(port: int, first: int, last: int) -> None:
    loop = asyncio.get_running_loop()
    fleet = _Fleet(range(first, last + 1))
    async with await loop.create_server(lambda: Stub(fleet.replicas), "127.0.0.1", port, backlog=1024):
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            fleet.obey(line.strip())
            print(time.monotonic(), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(*map(int, sys.argv[1:])))
