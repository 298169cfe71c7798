import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from privity.engines.connection import EngineConnection
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, json_response

FIXTURES = Path(__file__).parent / "fixtures"
Pages = dict[str, Any]


@pytest.fixture
def recorded() -> Callable[[str], Any]:
    """Return a reader of the answers in `fixtures`."""

    def read(name: str) -> Any:
        return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))

    return read


@pytest.fixture
def serving() -> Callable[[Pages], tuple[EngineConnection, FakeHttpClient]]:
    """Return a maker of engines that have these pages, by path with or without its query, and no others.

    A page is its JSON value, a whole answer, or an error that is raised in its place.
    """

    def serve(pages: Pages) -> tuple[EngineConnection, FakeHttpClient]:
        def server(request: SentRequest) -> FakeResponse:
            path = request.url.removeprefix("http://engine")
            found = pages.get(path, pages.get(urlsplit(path).path))
            if isinstance(found, Exception):
                raise found
            if isinstance(found, FakeResponse):
                return found
            return json_response({"detail": "Not Found"}, 404) if found is None else json_response(found)

        http = FakeHttpClient(server)
        return EngineConnection(http, "http://engine", 7.0), http

    return serve
