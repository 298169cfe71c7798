"""Generation for one cache salt: each call in a slot of the server where nothing of another salt is reused.

Not protected from each other are clients of a server that Privity shares with others: they may use any slot, and see
what is there. Each inference proxy should have its server to itself. Nor can two salts be kept apart where the server
holds old prompts in one memory for all slots (`--cache-ram`, which is on by default): that is found out before anything
is reused, and then nothing is.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import Any

import msgspec

from privity.engines.connection import EngineConnection
from privity.engines.engine import Json
from privity.engines.llama_cpp.slots import Lease, Slots
from privity.errors import EngineFailedError, InvalidRequestError
from privity.protocol.shard_key import blocks_of, shard_key
from privity.streams import Stream, owning

MAX_COMPARED = 1024 * 1024
"""Bytes of a prompt of which it is looked for where they are already: more than most contexts hold."""

MAX_AHEAD = 4096
"""Events, some hundred bytes each, that wait for an app that reads slowly while the slot serves others already."""

_PROMPT_MEMBERS = ("tools", "chat_template_kwargs", "messages", "prompt")
_FIRST, _OTHER = [11, 12, 13, 14, 15, 16, 17, 18], [21, 22, 23, 24, 25, 26, 27, 28]
"""Two prompts of tokens that every vocabulary has, of which nothing is alike."""

_LOG = logging.getLogger(__name__)


class SaltedCalls:
    """Calls of the endpoints that generate, for one request.

    Args:
        connection: the server.
        slots: those of the model.
        salt: the request's; without one nothing is reused, now or later.
        body: the request, whose beginning is looked for in the slots.
    """

    def __init__(self, connection: EngineConnection, slots: Slots, salt: str | None, body: Json) -> None:
        self._connection = connection
        self._slots = slots
        self._owner = None if salt is None else sha256(salt.encode()).digest()
        self._prompt = "" if salt is None else _blocks(body)
        self._model: str = body["model"]

    async def call(self, path: str, body: Json) -> Json:
        """Send a request and return its whole answer; raises as `EngineConnection.call`."""
        lease = await self._lease()
        try:
            answer = await self._connection.call(path, body | _members(lease))
            lease.began()
            return answer
        finally:
            await lease.aclose()

    async def events(self, path: str, body: Json) -> Stream[Json]:
        """Send a request and return the events of its answer; raises as `EngineConnection.events`."""
        lease = await self._lease()
        try:
            events = await self._connection.events(path, body | _members(lease))
        except BaseException:
            await lease.aclose()
            raise
        return Stream(_read_ahead(events, lease), lease)

    async def _lease(self) -> Lease:
        lease = await self._slots.lease(self._owner, self._prompt, self._connection.answer_timeout)
        if self._owner is not None and self._slots.keeps_apart is None:
            try:
                self._slots.keeps_apart = await self._keeps_apart(lease.number)
            except BaseException:
                await lease.aclose()
                raise
        return lease

    async def _keeps_apart(self, slot: int) -> bool:
        """Return whether a prompt is gone when another one was in its slot."""
        asked = {"model": self._model, "n_predict": 0, "id_slot": slot, "cache_prompt": True}
        again = _FIRST + _OTHER
        try:
            for prompt in (_FIRST, _OTHER, again):
                answer = await self._connection.call("/completion", asked | {"prompt": prompt})
        except (EngineFailedError, InvalidRequestError):
            return False
        timings: Any = answer.get("timings")
        processed = timings.get("prompt_n") if isinstance(timings, dict) else None
        if processed == len(again):
            return True
        _LOG.warning(
            "llama.cpp keeps the prompts of all clients in one memory, so none is reused: start it with --cache-ram 0",
            extra={"model": self._model},
        )
        return False


def _members(lease: Lease) -> Json:
    return {"id_slot": lease.number, "cache_prompt": lease.reuses}


@owning
async def _read_ahead(events: Stream[Json], lease: Lease) -> AsyncGenerator[Json]:
    """Yield the events; the slot is given back once the server is through, however slowly they are taken."""
    read: asyncio.Queue[Json | Exception | None] = asyncio.Queue(MAX_AHEAD)

    async def read_all() -> None:
        end: Exception | None = None
        try:
            async for event in events:
                lease.began()
                await read.put(event)
        except Exception as error:  # noqa: BLE001  # raised again by who takes the events
            end = error
        await lease.aclose()
        await read.put(end)

    reader = asyncio.get_running_loop().create_task(read_all(), name="reader of an answer")
    try:
        while (event := await read.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


def _blocks(body: Json) -> str:
    """Return a request's shard key, without the part that is the salt's."""
    content = msgspec.json.encode([body.get(name) for name in _PROMPT_MEMBERS])[:MAX_COMPARED]
    return blocks_of(shard_key({"prompt": content}, ""))
