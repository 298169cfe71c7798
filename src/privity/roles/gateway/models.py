"""A fleet's models, as each key may see them."""

import asyncio

from privity.catalogue.catalogue import View
from privity.http import Headers
from privity.roles.gateway.fleet import Fleet
from privity.roles.gateway.keys import Keys
from privity.transport.models_api.source import Retrieved
from privity.transport.web import Request


class GatewayModels:
    """The source of a gateway's Models API, and of its decision about calls: they are the same.

    Args:
        fleet: who serves what.
        keys: who may ask.
    """

    def __init__(self, fleet: Fleet, keys: Keys) -> None:
        self._fleet = fleet
        self.keys = keys

    def view_for(self, headers: Headers) -> View:
        """Return what a request's key may use. Raises `UnauthorizedError`."""
        return self._fleet.catalogue.view(self.keys.groups(headers))

    async def view(self, request: Request) -> View:
        """Return what a request's key may use. Raises `UnauthorizedError`."""
        return self.view_for(request.headers)

    async def retrieve(self, request: Request, asked: str) -> Retrieved:
        """Return one model; raises as `Fleet.find`, or `UnauthorizedError`."""
        view = self.view_for(request.headers)
        model = self._fleet.find(asked, view)
        return Retrieved(model, self._fleet.health_of(model), view.as_of)

    def remarks(self, _request: Request) -> Headers:
        """Return nothing."""
        return ()

    def change(self, _request: Request) -> asyncio.Event:
        """Return what is set at the next change."""
        return self._fleet.published.change
