"""A configuration file that is read again when it changes, or when the program is told to."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from privity.errors import ConfigError, StartError
from privity.roles.gateway.config import Served
from privity.roles.gateway.config_difference import difference
from privity.roles.gateway.config_file import GatewayFile, parse_gateway_file
from privity.toml.files import read_config_file
from privity.transport.tasks import survive

LOOK_SECONDS = 1.0
"""Seconds between two looks at the file. It is read whole: editors replace it, and a mount's times say little."""

_LOG = logging.getLogger(__name__)


class ConfigWatch:
    """Applies what changes in a gateway's file. A file that can't be used changes nothing: its problems are logged.

    Args:
        path: the file.
        content: what it held when it was read first.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._seen: bytes | None = content
        self._tried: bytes | None = content
        self._is_broken = False
        self.file = parse_gateway_file(content, path)
        self.told = asyncio.Event()
        """Set to look now."""

    async def __call__(self, take: Callable[[Served], Awaitable[None]]) -> None:
        """Watch for ever; `take` gets each new configuration."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self.told.wait()
            was_told = self.told.is_set()
            self.told.clear()
            await survive(self.look(take, was_told=was_told), "configuration watch", LOOK_SECONDS)

    async def look(self, take: Callable[[Served], Awaitable[None]], *, was_told: bool) -> None:
        """Read the file, and apply it where it changed. Who told us to look finds something in the log in any case.

        A file that somebody is still writing may be valid up to there, without the keys at its end, say: so it must be
        the same at two looks, unless somebody says that it is there.
        """
        seen, self._seen = self._seen, await asyncio.to_thread(_content, self._path)
        if not was_told and (self._seen != seen or self._seen == self._tried):
            return
        self._tried = self._seen
        try:
            file = await asyncio.to_thread(self._read)
        except StartError as error:
            problems = error.problems if isinstance(error, ConfigError) else (str(error),)
            for problem in problems:
                _LOG.error("the configuration can't be used; the last good one stays", extra={"problem": problem})
            self._is_broken = True
            return
        changes = difference(self.file, file)
        is_new = file.served != self.file.served
        if is_new:
            await take(file.served)
        self.file = replace(self.file, served=file.served)  # if that failed, it isn't so
        for line in changes:
            _LOG.warning("configuration changed", extra={"change": line})
        if self._is_broken:
            self._is_broken = False
            _LOG.warning("the configuration can be used again")
        elif not changes and not is_new:
            _LOG.info("configuration reloaded; nothing changed")

    def _read(self) -> GatewayFile:
        """Return what the file says now. Raises `StartError`."""
        file = parse_gateway_file(read_config_file(self._path) if self._seen is None else self._seen, self._path)
        if self.file.served.keys and not file.served.keys:
            raise StartError(
                "Without [[keys]] the gateway would be open to everybody.", "Restart it if that is what you want."
            )
        return file


def _content(path: Path) -> bytes | None:
    """Return what is in the file; None where it can't be read."""
    try:
        return read_config_file(path)
    except StartError:
        return None
