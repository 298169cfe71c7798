"""Changes of a server's list as they come: from its feed, or where it has none, by asking again and again."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from privity.catalogue.rows import MAX_LIST_BYTES, MAX_ROWS
from privity.cli.models.api import Answer, ModelsApi, whole
from privity.cli.models.rows import Change, apply, by_id, difference, parse_change, parse_list
from privity.errors import UpstreamTimeoutError
from privity.http import Headers, Response, header
from privity.protocol.event_stream import Event, EventStreamParser

SILENCE = 45.0
"""Seconds without a byte after which a feed is taken for dead: a living one says something every 15."""

POLL_SECONDS = 2.0
"""Seconds between two questions to a server without a feed."""

MAX_ID_CHARS = 256
"""Characters of an event's ID: they are sent back in a header."""

_NO_FEED = (404, 405, 501)
_ID = re.compile(rb"^id: ?(.*)$", re.MULTILINE)

Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list, and what is to be known of it."""

    rows: Rows
    notes: list[str] = field(default_factory=list)
    whys: dict[str, str] = field(default_factory=dict)
    """Why models were left out, by their IDs."""


@dataclass(frozen=True, slots=True)
class Update:
    """What came: a whole list, a change of one, or only a sign of life."""

    rows: Rows
    listed: bool = False
    change: Change | None = None
    dropped: str | None = None
    """What the server said of rows that it left out, if it said something now."""
    whys: Mapping[str, str] | None = None


Read = Callable[[Answer], Awaitable[Listing]]


async def read_plainly(answer: Answer) -> Listing:
    """Return a list as it came. Raises `UpstreamProtocolError`."""
    return Listing(by_id(parse_list(answer.body)))


class Feed:
    """Follows one list, over as many connections as it takes.

    Args:
        api: whose list.
        query: its filters.
        read: reads a list that was asked for.
        has_feed: whether to look for a feed at all.
        silence: seconds without a byte after which a feed is dead.
        poll_seconds: seconds between two questions.
    """

    def __init__(
        self,
        api: ModelsApi,
        query: Mapping[str, str],
        read: Read = read_plainly,
        *,
        has_feed: bool = True,
        silence: float = SILENCE,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._api = api
        self._query = query
        self._read = read
        self._has_feed = has_feed
        self._silence = silence
        self._poll_seconds = poll_seconds
        self._last_id = b""
        self._places: dict[str, int] = {}
        self.rows: Rows = {}

    async def follow(self) -> AsyncGenerator[Update | Answer]:
        """Yield what comes over one connection, until it ends; at last the answer of a server that refuses.

        Raises:
            UpstreamError: nobody answers, or what answers is of no use.
        """
        updates = self._streamed() if self._has_feed else self._polled()
        async with aclosing(updates):
            async for update in updates:
                if isinstance(update, Update):
                    self.rows = update.rows
                yield update

    async def _streamed(self) -> AsyncGenerator[Update | Answer]:
        known: Headers = [(b"last-event-id", self._last_id)] if self._last_id else []
        response = await self._api.open("/v1/models/events", self._query, known)
        async with response:
            kind = (header(response.headers, b"content-type") or b"").strip().lower()
            if response.status == 200 and kind.startswith(b"text/event-stream"):
                async with aclosing(self._events(response)) as events:
                    async for event in events:
                        yield event
                return
            if response.status not in (200, *_NO_FEED):
                yield await whole(response)
                return
        async with aclosing(self._polled()) as updates:
            async for update in updates:
                yield update

    async def _events(self, response: Response) -> AsyncGenerator[Update]:
        dropped = Answer(response.status, response.headers, b"").dropped
        parser = EventStreamParser(MAX_LIST_BYTES)
        pieces = response.chunks()
        while True:
            try:
                async with asyncio.timeout(self._silence):
                    piece = await anext(pieces, None)
            except TimeoutError as error:
                raise UpstreamTimeoutError("the feed is silent") from error
            if piece is None:
                return
            for event in parser.feed(piece):
                update = self._update(event, dropped)
                if update is not None:
                    yield update

    def _update(self, event: Event, dropped: str) -> Update | None:
        if event.data is None:  # a comment: where the list is known, it says that nothing has changed
            return Update(self.rows, dropped=dropped) if self._last_id else None
        if event.type == b"list":
            update = Update(by_id(parse_list(event.data)), listed=True, dropped=dropped)
        elif event.type == b"change":
            change = parse_change(event.data)
            update = Update(self._in_place(apply(change, self.rows)), change=change)
        else:
            return None
        found = _ID.findall(event.others)
        self._last_id = found[-1] if found and len(found[-1]) <= MAX_ID_CHARS else b""
        return update

    def _in_place(self, rows: Rows) -> Rows:
        """Return rows with each that comes back where it was before; a change doesn't say where it belongs."""
        if len(self._places) > 2 * MAX_ROWS:
            self._places.clear()
        for name in (*self.rows, *rows):
            self._places.setdefault(name, len(self._places))
        return dict(sorted(rows.items(), key=lambda item: self._places[item[0]]))

    async def _polled(self) -> AsyncGenerator[Update | Answer]:
        first = True
        while True:
            answer = await self._api.ask("/v1/models", self._query)
            if answer.status != 200:
                yield answer
                return
            listing = await self._read(answer)
            yield Update(
                listing.rows,
                listed=first,
                change=None if first else difference(self.rows, listing.rows),
                dropped=answer.dropped,
                whys=listing.whys,
            )
            first = False
            await asyncio.sleep(self._poll_seconds)
