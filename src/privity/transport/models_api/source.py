"""Where a role has its models from."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.model import Model
from privity.http import Headers
from privity.transport.clock import utc_now
from privity.transport.web import Reply, Request


@dataclass(frozen=True, slots=True)
class Retrieved:
    """One model, and how fresh the knowledge of it is."""

    model: Model
    health: dict[str, Any] | None = None
    """`replicas` that serve it, and `age_seconds` since one last said so; None where nobody knows."""
    as_of: datetime = field(default_factory=utc_now)
    """The time at which it is looked at: that of the list, where there is one."""


class Source(Protocol):
    """Models that change."""

    async def view(self, request: Request) -> View | Reply:
        """Return what the request's key may call now, or another role's refusal.

        Raises:
            ApiError: the key isn't known, or nobody knows the models.
        """

    async def retrieve(self, request: Request, asked: str) -> Retrieved | Reply:
        """Return one model by one of its IDs, or another role's refusal.

        Raises:
            ModelNotFoundError: the key can call no such model.
            ApiError: as `view`.
        """

    def change(self, request: Request) -> asyncio.Event:
        """Return what is set at the next change. Taken before a view, it is set at each change that the view lacks."""

    def remarks(self, request: Request) -> Headers:
        """Return headers that say what else is to be known of a view."""


class Published:
    """A catalogue that is replaced as a whole, and tells those who wait."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._change = asyncio.Event()

    @property
    def change(self) -> asyncio.Event:
        """What is set at the next change."""
        return self._change

    def publish(self, catalogue: Catalogue) -> None:
        """Replace the catalogue."""
        self.catalogue = catalogue
        over, self._change = self._change, asyncio.Event()
        over.set()
