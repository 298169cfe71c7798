"""The routes of the Models API."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

from privity.catalogue import full
from privity.catalogue.catalogue import View
from privity.catalogue.dialects import anthropic, lm_studio, ollama, openai
from privity.catalogue.encoded import Listing
from privity.catalogue.projections import (
    anthropic_list,
    full_list,
    lm_studio_list,
    ollama_list,
    openai_etag,
    openai_list,
    signers_of,
)
from privity.catalogue.query import read_query
from privity.http import header
from privity.transport.error_forms import speaks_anthropic
from privity.transport.models_api.conditional import CACHING, is_known, not_modified, with_etag
from privity.transport.models_api.feed import events, is_same, long_poll, read_timeout
from privity.transport.models_api.lifecycle import lifecycle_headers
from privity.transport.models_api.source import Retrieved, Source
from privity.transport.models_api.subscribers import Subscribers
from privity.transport.web import NO_SNIFFING, Handler, Reply, Request, StreamReply, json_reply


def models_routes(
    source: Source, collapses: Callable[[], bool] = lambda: False, subscribers: Subscribers | None = None
) -> dict[str, dict[str, Handler]]:
    """Return what answers at each path.

    Args:
        source: where the models come from.
        collapses: whether only canonical IDs have rows where a client doesn't say.
        subscribers: those who wait for changes.
    """
    api = _ModelsApi(source, collapses, subscribers or Subscribers())
    return {
        "/v1/models": {"GET": api.list},
        "/v1/models/events": {"GET": api.events},
        "/v1/models/": {"GET": api.retrieve},
        "/api/tags": {"GET": api.ollama_tags},
        "/api/show": {"POST": api.ollama_show},
        "/api/v0/models": {"GET": api.lm_studio_list},
        "/api/v0/models/": {"GET": api.lm_studio_retrieve},
    }


_Projection = Callable[[View], tuple[str, Callable[[], bytes]]]
"""A list of a view: its entity tag, and what makes its body, which is not always wanted."""


class _ModelsApi:
    def __init__(self, source: Source, collapses: Callable[[], bool], subscribers: Subscribers) -> None:
        self._source = source
        self._collapses = collapses
        self._subscribers = subscribers

    async def list(self, request: Request) -> Reply:
        parameters = request.parameters
        projection = self._projection(request, parameters)
        known = parameters.get("wait")
        if known:
            seconds = read_timeout(parameters)
            request.only_waits = True
            async with aclosing(self._subscribers.take(request.headers)):
                await long_poll(self._source, request, lambda view: projection(view)[0], known, seconds)
            request.only_waits = False
        view = await self._source.view(request)
        if isinstance(view, Reply):
            return view
        etag, body = projection(view)
        is_new = not (is_same(known, etag) if known else is_known(request, etag))
        remarks = self._source.remarks(request)
        return with_etag(body(), etag, remarks) if is_new else not_modified(etag, remarks)

    def _projection(self, request: Request, parameters: Mapping[str, str]) -> _Projection:
        """Return how a view becomes the list that a request wants. Raises `InvalidRequestError`."""
        query = read_query(parameters, collapse=self._collapses())
        if parameters.get("detail") == "full":
            return _plainly(lambda view: full_list(view, query))
        if not speaks_anthropic(request.headers):
            if not query.wants_all:
                return _plainly(lambda view: openai_list(view, query))
            return lambda view: (openai_etag(view, query), lambda: openai_list(view, query).body())
        has_pages = header(request.headers, b"anthropic-version") is not None
        paging = anthropic.read_paging(parameters, by_default=has_pages)
        return _plainly(lambda view: anthropic_list(view, query, paging))

    async def events(self, request: Request) -> Reply | StreamReply:
        query = read_query(request.parameters, collapse=self._collapses())
        return await events(self._source, request, query, self._subscribers)

    async def retrieve(self, request: Request) -> Reply:
        found = await self._source.retrieve(request, request.tail)
        if isinstance(found, Reply):
            return found
        if request.parameters.get("detail") == "full":
            return _alone(found, _record(found))
        render = anthropic.row if speaks_anthropic(request.headers) else openai.row
        return _alone(found, render(found.model, request.tail, found.as_of))

    async def ollama_tags(self, request: Request) -> Reply:
        return await self._listed(request, ollama_list)

    async def ollama_show(self, request: Request) -> Reply:
        asked = ollama.read_show_request(await request.body(ollama.MAX_SHOW_REQUEST))
        view = await self._source.view(request)
        if isinstance(view, Reply):
            return view
        found = await self._source.retrieve(request, ollama.find_name(asked, view.__contains__))
        return found if isinstance(found, Reply) else _alone(found, ollama.show(found.model, found.as_of))

    async def lm_studio_list(self, request: Request) -> Reply:
        return await self._listed(request, lm_studio_list)

    async def lm_studio_retrieve(self, request: Request) -> Reply:
        found = await self._source.retrieve(request, request.tail)
        if isinstance(found, Reply):
            return found
        return _alone(found, lm_studio.row(found.model, request.tail, found.as_of))

    async def _listed(self, request: Request, projection: Callable[[View], Listing]) -> Reply:
        view = await self._source.view(request)
        if isinstance(view, Reply):
            return view
        listing, remarks = projection(view), self._source.remarks(request)
        etag = listing.etag()
        return not_modified(etag, remarks) if is_known(request, etag) else with_etag(listing.body(), etag, remarks)


def _alone(found: Retrieved, body: Mapping[str, Any]) -> Reply:
    """Return the answer about one model."""
    headers = [NO_SNIFFING, *CACHING, *lifecycle_headers(found.model.lifecycle)]
    if found.health is not None:
        headers.append((b"privity-health", _as_header(found.health)))
    return json_reply(body, headers=headers)


def _record(found: Retrieved) -> dict[str, Any]:
    """Return all that is known of a model (`detail=full`)."""
    whole = full.row(found.model, found.model.id, found.as_of)
    if found.model.statement is not None:
        whole["signers"] = signers_of({found.model.statement.certificate})
    if found.health is not None:
        whole["health"] = found.health
    return whole


def _as_header(health: Mapping[str, float | int]) -> bytes:
    """Return members as a dictionary of RFC 9651 has them: `replicas=1, age_seconds=0.3`."""
    return ", ".join(f"{name}={value}" for name, value in health.items()).encode()


def _plainly(project: Callable[[View], Listing]) -> _Projection:
    def projection(view: View) -> tuple[str, Callable[[], bytes]]:
        listing = project(view)
        return listing.etag(), listing.body

    return projection
