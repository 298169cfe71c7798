"""A configuration file that is read again when it changes, or when the program is told to."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from privity.errors import StartError
from privity.roles.gateway.config import Served
from privity.roles.gateway.config_difference import difference
from privity.roles.gateway.config_file import GatewayFile, parse_gateway_file, read_config_file

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
        self._tried: bytes | None = content
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
            await self.look(take, was_told=was_told)

    async def look(self, take: Callable[[Served], Awaitable[None]], *, was_told: bool) -> None:
        """Read the file, and apply it where it changed. Who told us to look finds something in the log in any case."""
        problem, content = "", None
        try:
            content = read_config_file(self._path)
            if content == self._tried and not was_told:
                return
            file = parse_gateway_file(content, self._path)
        except StartError as error:
            problem = str(error)
        is_news = was_told or content != self._tried
        self._tried = content
        if problem:
            if is_news:
                _LOG.error("the configuration can't be used; the last good one stays", extra={"problem": problem})
            return
        changes = difference(self.file, file)
        self.file = _running(self.file, file)
        for line in changes:
            _LOG.warning("configuration changed", extra={"change": line})
        if not changes:
            _LOG.info("configuration reloaded; nothing changed")
            return
        await take(file.served)


def _running(old: GatewayFile, new: GatewayFile) -> GatewayFile:
    """Return what is in force now."""
    return GatewayFile(old.mesh_ca, old.secret_services, new.served, old.host, old.port, old.answer_timeout)
