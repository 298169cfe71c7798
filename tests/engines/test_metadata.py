from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from privity.catalogue.model import MAX_NUMBER, Facts, Model
from privity.catalogue.statement import payload
from privity.engines.connection import EngineConnection
from privity.engines.metadata import MAX_TEXT, Routes, number, text
from privity.errors import UpstreamProtocolError
from privity.testing.fake_http import FakeHttpClient, FakeResponse, json_response


@pytest.mark.parametrize(
    ("given", "believed"),
    [(1, 1), (MAX_NUMBER, MAX_NUMBER), (2**53, None), (0, None), (-1, None), (True, None), (1.0, None)],
)
def test_numbers_are_positive_whole_and_safe(given: Any, believed: int | None) -> None:
    assert number(given) == believed


@pytest.mark.parametrize(
    ("given", "believed"),
    [
        ("MIT", "MIT"),
        ("  \n\n Apache License \n Version 2", "Apache License"),
        ("x" * 10**6, "x" * MAX_TEXT),
        ("a\x1b[31mb\x00", "a[31mb"),
        ("\x00", None),
        (" ", None),
        ("", None),
        (None, None),
        (["MIT"], None),
    ],
)
def test_texts_are_one_short_printable_line(given: Any, believed: str | None) -> None:
    assert text(given) == believed


def test_the_largest_number_that_is_believed_can_be_stated() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    largest = number(MAX_NUMBER)
    model = Model("m", (), 0, "me", context_length=largest, facts=Facts(size=largest))
    assert b"9007199254740991" in payload(model, now, now + timedelta(hours=1))


def engine_with(openapi: FakeResponse) -> EngineConnection:
    return EngineConnection(FakeHttpClient(lambda _request: openapi), "http://engine", 7.0)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_a_page_that_is_not_there_or_not_shown_tells_nothing(status: int) -> None:
    assert await Routes(engine_with(json_response({}, status))).ask() is None


@pytest.mark.parametrize("page", [json_response({"error": "Unexpected endpoint"}), FakeResponse(200, [], [b"<html>"])])
async def test_another_page_in_its_place_tells_nothing(page: FakeResponse) -> None:
    assert await Routes(engine_with(page)).ask() is None


@pytest.mark.parametrize("status", [302, 400, 408, 429, 500, 502, 503, 504])
async def test_any_other_failure_may_pass(status: int) -> None:
    with pytest.raises(UpstreamProtocolError):
        await Routes(engine_with(json_response({"paths": {}}, status))).ask()


CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"


def requests_with(*members: str) -> dict[str, Any]:
    """Return a document whose messages have these members, as FastAPI writes it."""
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Messages"}}}}
    schema = {"properties": {member: {"type": "string"} for member in members}}
    return {"paths": {MESSAGES: {"post": {"requestBody": body}}}, "components": {"schemas": {"Messages": schema}}}


@pytest.mark.parametrize(
    ("document", "path", "has"),
    [
        ({"paths": {COUNT: {}}}, COUNT, True),
        ({"paths": {COUNT: {}}}, CHAT, True),
        ({"paths": {CHAT: {}}}, COUNT, False),
        ({"paths": {"/tokenize": {}}}, "/tokenize", True),
        ({"paths": {MESSAGES: {}}}, MESSAGES, False),
        (requests_with("model", "cache_salt"), MESSAGES, True),
        (requests_with("model"), MESSAGES, False),
        (requests_with("cache_salt") | {"components": {}}, MESSAGES, False),
        (requests_with("cache_salt") | {"components": [7]}, MESSAGES, False),
        ({"paths": {MESSAGES: {"post": {"requestBody": {"content": []}}}}}, MESSAGES, False),
    ],
)
async def test_an_engine_has_what_it_has_routes_for_if_they_keep_caches_apart(
    document: dict[str, Any], path: str, *, has: bool
) -> None:
    routes = Routes(engine_with(json_response(document)))
    assert routes.has(path) == (path == CHAT)
    await routes.ask()
    assert routes.has(path) == has


async def test_an_inline_schema_counts_as_well() -> None:
    content: Any = {"application/json": {"schema": {"properties": {"cache_salt": {}}}}}
    routes = Routes(engine_with(json_response({"paths": {MESSAGES: {"post": {"requestBody": {"content": content}}}}})))
    await routes.ask()
    assert routes.has(MESSAGES)
