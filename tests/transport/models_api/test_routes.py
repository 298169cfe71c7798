"""The routes of the Models API, as a gateway serves them."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.catalogue.declared import Declared
from privity.catalogue.model import Evidence, Facts, Lifecycle, Model, Statement
from privity.http import Headers
from privity.testing.gateway_rig import START, bearer, gateway_rig, key_for
from privity.testing.in_memory_app import Got

BIG = Model(
    "org/Big-7B",
    ("generate", "tool_calling"),
    1_700_000_000,
    "org",
    aliases=("big",),
    floating_aliases=("newest",),
    context_length=4096,
    max_output_tokens=1024,
    root="big.gguf",
    display_name="Big",
    evidence=(Evidence("generate", "engine"), Evidence("tool_calling", "probed", 1_777_593_600)),
    facts=Facts(architecture="llama", sha256="ab" * 32),
)
EMBED = Model("org/embed", ("embed",), 1_600_000_000, "else")
SIGNED = Model("signed", ("generate",), 1, "org", statement=Statement(b"p", b"s", b"certificate"))
SAYS = {"http://a": [BIG, EMBED]}
ANTHROPIC = [(b"anthropic-version", b"2023-06-01")]
LISTS = ["/v1/models", "/api/tags", "/api/v0/models"]
ALL = [*LISTS, "/v1/models/big", "/v1/models/org/Big-7B", "/api/v0/models/big", "/v1/models/none", "/v1/models/events"]


# models-api.md item 1, models-api.md item 2, models-api.md item 3, models-api.md item 6


async def test_items_1_3_and_6_the_list_is_whole() -> None:
    async with gateway_rig(SAYS) as rig:
        got = await rig.ask("GET", "/v1/models")
        assert (got.status, got.header(b"content-type")) == (200, b"application/json")
        known = {
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "org",
            "tasks": ["generate", "tool_calling"],
            "status": "available",
            "max_model_len": 4096,
            "context_length": 4096,
            "max_output_tokens": 1024,
            "display_name": "Big",
            "root": "big.gguf",
            "evidence": {
                "generate": {"source": "engine"},
                "tool_calling": {"source": "probed", "at": "2026-05-01T00:00:00Z"},
            },
        }
        assert got.json() == {
            "object": "list",
            "data": [
                {"id": "org/Big-7B", **known, "aliases": ["big", "newest"], "floating_aliases": ["newest"]},
                {"id": "big", **known, "canonical": "org/Big-7B"},
                {"id": "newest", **known, "canonical": "org/Big-7B"},
                {
                    "id": "org/embed",
                    "object": "model",
                    "created": 1_600_000_000,
                    "owned_by": "else",
                    "tasks": ["embed"],
                    "status": "available",
                },
            ],
        }


@pytest.mark.parametrize("query", ["", "new=1", "limit=x", "after_id=nobody&new=", "timeout=x", "=&&x", "%ff=%ff"])
async def test_item_1_unknown_parameters_are_ignored(query: str) -> None:
    async with gateway_rig(SAYS) as rig:
        assert await rig.ids(query=query) == ["org/Big-7B", "big", "newest", "org/embed"]
        for path in LISTS:
            assert (await rig.ask("GET", path, query=query)).status == 200


async def test_item_3_the_operator_sets_the_default_and_a_client_may_differ() -> None:
    async with gateway_rig(SAYS) as rig:
        every, canonical = ["org/Big-7B", "big", "newest", "org/embed"], ["org/Big-7B", "org/embed"]
        assert (await rig.ids(), await rig.ids(query="aliases=collapse")) == (every, canonical)
        rig.collapses = True
        assert (await rig.ids(), await rig.ids(query="aliases=list")) == (canonical, every)
        assert (await rig.ask("GET", "/v1/models/big")).status == 200


# models-api.md item 5


async def test_item_5_each_row_can_be_retrieved() -> None:
    async with gateway_rig(SAYS) as rig:
        for headers in ([], ANTHROPIC):
            for row in (await rig.ask("GET", "/v1/models", headers)).json()["data"]:
                got = await rig.ask("GET", f"/v1/models/{row['id']}", headers)
                assert got.json() == row
                assert (got.header(b"privity-health") or b"").startswith(b"replicas=1, age_seconds=")
                assert got.header(b"cache-control") == b"private, no-cache"
                assert got.header(b"vary")
        for row in (await rig.ask("GET", "/api/v0/models")).json()["data"]:
            assert (await rig.ask("GET", f"/api/v0/models/{row['id']}")).json() == row


async def test_item_12_evidence_is_shown() -> None:
    async with gateway_rig(SAYS) as rig:
        assert (await rig.ask("GET", "/v1/models/big")).json()["evidence"] == {
            "generate": {"source": "engine"},
            "tool_calling": {"source": "probed", "at": "2026-05-01T00:00:00Z"},
        }


async def test_whole_records_have_the_same_as_lists_and_alone() -> None:
    async with gateway_rig({"http://a": [BIG, SIGNED]}) as rig:
        whole = (await rig.ask("GET", "/v1/models", query="detail=full")).json()
        assert [row["id"] for row in whole["data"]] == ["org/Big-7B", "signed"]
        assert whole["data"][0]["facts"] == {"architecture": "llama", "sha256": "ab" * 32}
        for row, signers in zip(whole["data"], ({}, whole["signers"]), strict=True):
            alone = (await rig.ask("GET", f"/v1/models/{row['id']}", query="detail=full")).json()
            assert alone.pop("health")["replicas"] == 1
            assert alone.pop("signers", {}) == signers
            assert alone == row


@pytest.mark.parametrize(
    ("path", "headers", "keys"),
    [
        ("/v1/models/none", [], {"message", "type", "param", "code"}),
        ("/api/v0/models/none", [], {"message", "type", "param", "code"}),
        ("/v1/models/none", ANTHROPIC, {"type", "message"}),
    ],
)
async def test_item_5_an_unknown_model_is_a_404_in_the_form_of_who_asks(
    path: str, headers: Headers, keys: set[str]
) -> None:
    async with gateway_rig(SAYS) as rig:
        got = await rig.ask("GET", path, headers)
        assert (got.status, got.json()["error"].keys()) == (404, keys)
        assert "`none` does not exist" in got.json()["error"]["message"]


# models-api.md item 8


async def test_item_8_clients_of_anthropic_get_a_superset_in_pages() -> None:
    async with gateway_rig(SAYS) as rig:
        for headers in (ANTHROPIC, [(b"x-api-key", b"key")]):
            plain = (await rig.ask("GET", "/v1/models")).json()["data"]
            got = (await rig.ask("GET", "/v1/models", headers, query="limit=1000")).json()
            assert (got["first_id"], got["last_id"], got["has_more"]) == ("org/Big-7B", "org/embed", False)
            for row, other in zip(plain, got["data"], strict=True):
                assert row.items() <= other.items()
                assert other["type"] == "model"
                assert isinstance(other["display_name"], str)
                assert other["created_at"].endswith("Z")
            page = (await rig.ask("GET", "/v1/models", headers, query="limit=2&after_id=big")).json()
            assert [row["id"] for row in page["data"]] == ["newest", "org/embed"]
            page = (await rig.ask("GET", "/v1/models", headers, query="limit=1&before_id=newest")).json()
            assert ([row["id"] for row in page["data"]], page["has_more"]) == (["big"], True)


# models-api.md item 9


@pytest.mark.parametrize("path", ALL)
async def test_item_9_head_has_the_headers_of_get(path: str) -> None:
    async with gateway_rig(SAYS) as rig:
        head = await rig.ask("HEAD", path)
        if path.endswith("events"):
            assert (head.status, head.body) == (200, b"")
            return
        got = await rig.ask("GET", path)
        assert (head.status, head.headers) == (got.status, got.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GET"])
@pytest.mark.parametrize("path", [*ALL, "/api/show"])
async def test_item_9_a_wrong_method_is_a_405_that_says_what_is_right(path: str, method: str) -> None:
    right = "POST" if path == "/api/show" else "GET"
    if method == right:
        return
    async with gateway_rig(SAYS) as rig:
        got = await rig.ask(method, path, body=b"{}")
        assert got.status == 405
        assert got.header(b"allow") == (b"POST" if right == "POST" else b"GET, HEAD")
        error = got.json()["error"]
        ollama = path in ("/api/tags", "/api/show")
        assert isinstance(error, str) if ollama else error["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("/v1/models", "task=dance", "task"),
        ("/v1/models", "aliases=some", "aliases"),
        ("/v1/models", "wait=x&timeout=-1", "timeout"),
        ("/v1/models", "wait=x&timeout=soon", "timeout"),
        ("/v1/models/events", "task=dance", "task"),
    ],
)
async def test_what_can_not_be_meant_is_a_400_in_the_form_of_who_asks(path: str, query: str, param: str) -> None:
    async with gateway_rig(SAYS) as rig:
        got = await rig.ask("GET", path, query=query)
        assert (got.status, got.json()["error"]["param"]) == (400, param)
        assert got.json()["error"]["type"] == "invalid_request_error"
        got = await rig.ask("GET", path, ANTHROPIC, query=query)
        assert (got.status, got.json()["type"]) == (400, "error")
        assert got.json()["error"].keys() == {"type", "message"}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=none", "after_id=big&before_id=big"])
async def test_item_8_a_page_that_can_not_be_is_a_400_in_anthropics_form(query: str) -> None:
    async with gateway_rig(SAYS) as rig:
        got = await rig.ask("GET", "/v1/models", ANTHROPIC, query=query)
        assert (got.status, got.json()["type"], got.json()["error"]["type"]) == (400, "error", "invalid_request_error")


# models-api.md item 10


def cached(got: Got) -> tuple[int, bytes, bytes | None]:
    return got.status, got.body, got.header(b"content-length")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("headers", [[], ANTHROPIC], ids=["", "anthropic"])
async def test_item_10_who_has_a_list_is_told_so_until_it_changes(path: str, headers: Headers) -> None:
    async with gateway_rig(SAYS) as rig:
        tag = (await rig.ask("GET", path, headers)).header(b"etag") or b""
        assert not tag.startswith(b"W/")
        for known in (tag, b"W/" + tag, b'"x", ' + tag, b"*"):
            for method in ("GET", "HEAD"):
                got = await rig.ask(method, path, [*headers, (b"if-none-match", known)])
                assert cached(got) == (304, b"", None)
                assert got.header(b"etag") == tag
                assert got.header(b"cache-control") == b"private, no-cache"
                assert b"Authorization" in (got.header(b"vary") or b"")
        assert (await rig.ask("GET", path, [*headers, (b"if-none-match", b'"x"')])).status == 200
        rig.configure()
        assert (await rig.ask("GET", path, [*headers, (b"if-none-match", tag)])).status == 304
        rig.replicas.says = {"http://a": [BIG]}
        await rig.poll()
        assert (await rig.ask("GET", path, [*headers, (b"if-none-match", tag)])).status == 200


@settings(max_examples=30)
@given(
    visible=st.lists(st.none() | st.frozensets(st.sampled_from(["red", "blue"])), min_size=2, max_size=2),
    queries=st.lists(st.sampled_from(["", "aliases=collapse", "task=embed", "q=big", "detail=full"]), min_size=1),
)
def test_item_10_tags_differ_exactly_where_bodies_do_whoever_asks_for_whatever(
    visible: list[frozenset[str] | None], queries: list[str]
) -> None:

    async def run() -> None:
        async with gateway_rig(SAYS) as rig:
            keys = [key_for("red", "red"), key_for("both", "red", "blue"), key_for("nobody")]
            rig.configure(
                [Declared(each, visible_to=of) for each, of in zip(("big", EMBED.id), visible, strict=True)], keys
            )
            every = [
                await rig.ask("GET", path, [*bearer(key), *headers], query=query)
                for key in ("red", "both", "nobody")
                for headers in ([], ANTHROPIC)
                for path in LISTS
                for query in queries
            ]
            tags, bodies = {got.header(b"etag") for got in every}, {got.body for got in every}
            assert len(tags) == len(bodies) == len({(got.header(b"etag"), got.body) for got in every})

    asyncio.run(run())


# models-api.md item 11


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("task=embed", ["org/embed"]),
        ("owned_by=org", ["org/Big-7B", "big", "newest"]),
        ("q=BIG&aliases=collapse", ["org/Big-7B"]),
        ("q=emb&owned_by=org", []),
        ("task=embed&task=generate", ["org/embed"]),
    ],
)
async def test_item_11_filters(query: str, ids: list[str]) -> None:
    async with gateway_rig(SAYS) as rig:
        assert await rig.ids(query=query) == ids
        assert await rig.ids(ANTHROPIC, query) == ids


# models-api.md item 14


async def show(rig: Any, body: bytes) -> Got:
    got: Got = await rig.ask("POST", "/api/show", body=body)
    return got


async def test_item_14_clients_of_ollama_find_every_model() -> None:
    async with gateway_rig(SAYS) as rig:
        tags = (await rig.ask("GET", "/api/tags")).json()["models"]
        assert [row["name"] for row in tags] == await rig.ids()
        for row in tags:
            for name in (row["name"], row["name"] + ":latest"):
                got = await show(rig, json.dumps({"model": name}).encode())
                assert (got.status, got.json()["details"]) == (200, row["details"])
        assert (await show(rig, b'{"name": "big"}')).json()["capabilities"] == ["completion", "tools"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"model": "none"}', 404), (b"{}", 400), (b"[]", 400), (b"", 400), (b"a" * 100_000, 413)],
    ids=["unknown", "no name", "no object", "nothing", "long"],
)
async def test_item_14_errors_for_clients_of_ollama_have_ollamas_form(body: bytes, status: int) -> None:
    async with gateway_rig(SAYS) as rig:
        got = await show(rig, body)
        assert got.status == status
        assert got.json().keys() == {"error"}
        assert isinstance(got.json()["error"], str)


async def test_item_14_all_dialects_list_the_same() -> None:
    async with gateway_rig(SAYS) as rig:
        ids = await rig.ids()
        assert [row["id"] for row in (await rig.ask("GET", "/api/v0/models")).json()["data"]] == ids
        assert await rig.ids(ANTHROPIC) == ids
        embed = (await rig.ask("GET", "/api/v0/models/org/embed")).json()
        assert (embed["type"], embed["state"]) == ("embeddings", "loaded")


async def test_a_row_and_its_model_agree_on_the_time() -> None:
    ending = Model("ending", ("generate",), 1, "org", lifecycle=Lifecycle(deprecated_at=START.replace(year=2000)))
    later = Model("later", ("generate",), 1, "org", lifecycle=Lifecycle(deprecated_at=START.replace(year=2999)))
    async with gateway_rig({"http://a": [ending, later]}) as rig:
        rig.now = START.replace(year=2990)
        for at in (START, START.replace(year=2999)):
            rig.now = at
            rig.configure()
            rows = (await rig.ask("GET", "/v1/models")).json()["data"]
            for row in rows:
                assert (await rig.ask("GET", f"/v1/models/{row['id']}")).json().items() >= row.items()
        assert [row["deprecated"] for row in rows] == [True, True]
