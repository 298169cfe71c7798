"""The documents are valid, describe what is answered and nothing else, and agree with what is checked."""

from typing import Any, cast

import jsonschema_rs
import msgspec
import pytest

from privity.errors import ApiError, MethodNotAllowedError
from privity.protocol.endpoints import ENDPOINTS, Form
from privity.roles.gateway.app import build_app as build_gateway
from privity.roles.gateway.documents import DocumentForwarder
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.inference_proxy import members, requests
from privity.roles.proxy.app import build_app as build_proxy
from privity.roles.proxy.guard import Guard
from privity.testing.in_memory_app import ask_app
from privity.transport.cors import Cors
from privity.transport.openapi import call_bodies
from privity.transport.openapi.document import PATH
from privity.transport.openapi.gateway import gateway_document
from privity.transport.openapi.proxy import proxy_document
from privity.transport.tasks import Background
from privity.transport.web_app import WebApp

DOCUMENTS = {"proxy": proxy_document(), "gateway": gateway_document()}
NOBODY: Any = None  # nothing behind a route is asked here

each_document = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)


def apps(background: Background) -> dict[str, WebApp]:
    guard = Guard("127.0.0.1", (), ())
    forwarder = Forwarder(NOBODY, NOBODY, NOBODY)
    return {
        "proxy": build_proxy(NOBODY, NOBODY, guard, background, Cors(())),
        "gateway": build_gateway(NOBODY, forwarder, DocumentForwarder(NOBODY, NOBODY, forwarder), NOBODY, background),
    }


def references(value: Any) -> set[str]:
    match value:
        case {"$ref": str(found), **rest}:
            return {found} | references(rest)
        case dict():
            return set().union(*map(references, value.values()))
        case list():
            return set().union(*map(references, value))
    return set()


@pytest.mark.parametrize("role", DOCUMENTS)
async def test_each_route_is_described_and_nothing_else_is(role: str) -> None:
    async with Background() as background:
        routes = apps(background)[role].routes
    answered = {
        (path, method.lower())
        for path, methods in routes.items()
        for method in (*methods, *(["HEAD"] if "GET" in methods else []))
    }
    described = {(path.partition("{")[0], method) for path, item in DOCUMENTS[role]["paths"].items() for method in item}
    assert described == answered


@pytest.mark.parametrize("role", DOCUMENTS)
async def test_the_document_is_served(role: str) -> None:
    async with Background() as background:
        app = apps(background)[role]
        got, again = [await ask_app(app, "GET", PATH, [(b"host", b"localhost")]) for _ in range(2)]
    assert (got.status, got.header(b"content-type")) == (200, b"application/json")
    assert got.json() == DOCUMENTS[role]
    assert got.pieces[0] is again.pieces[0], "it is encoded once"


@each_document
def test_documents_are_valid_openapi(document: dict[str, Any]) -> None:
    import schemathesis  # noqa: PLC0415  # takes longer than all of these tests

    schemathesis.openapi.from_dict(document).validate()


@each_document
def test_schemas_are_valid(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


@each_document
def test_references_lead_to_components(document: dict[str, Any]) -> None:
    there = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert references(document) <= there
    unused = there - references(document)
    assert not {each for each in unused if "/schemas/" in each}


@each_document
def test_operations_have_names_of_their_own_and_say_what_they_are(document: dict[str, Any]) -> None:
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and operation["tags"] for operation in operations)
    for operation in operations:
        assert all(each.get("description") for each in operation.get("parameters", ()))


def test_each_error_is_in_a_document() -> None:
    def all_below(cls: type[ApiError]) -> set[type[ApiError]]:
        return {cls}.union(*map(all_below, cls.__subclasses__()))

    wanted = {cls for cls in all_below(ApiError) if cls.__module__ == "privity.errors"} - {
        ApiError,  # a defect: it has no code
        MethodNotAllowedError,  # of methods that no document has
    }
    answers = [DOCUMENTS[role]["components"]["responses"] for role in DOCUMENTS]
    for cls in wanted:
        said = [each[f"openai_{cls.status}"]["description"] for each in answers if f"openai_{cls.status}" in each]
        assert any(f"`{cls.code}`" in each for each in said), cls


@pytest.mark.parametrize(
    ("schema", "form"),
    [("OpenAIError", "body"), ("AnthropicError", "anthropic_body"), ("OllamaError", "ollama_body")],
)
def test_errors_have_the_form_that_is_described(schema: str, form: str) -> None:
    described = DOCUMENTS["proxy"]["components"]["schemas"][schema]
    body = getattr(ApiError("No.", param="model", code="none"), form)()
    assert jsonschema_rs.is_valid(described, body)
    assert not jsonschema_rs.is_valid(described, {"error": None})


def test_limits_are_those_that_are_checked() -> None:
    assert call_bodies.MAX_CHOICES == requests.MAX_CHOICES
    assert call_bodies.MAX_INPUTS == requests.MAX_INPUTS
    assert call_bodies.MAX_TOOLS == members.MAX_TOOLS


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.form is Form.JSON], ids=lambda each: each.path)
def test_what_is_checked_is_described(endpoint: Any) -> None:
    checked = msgspec.json.schema(requests._REQUESTS[endpoint.path])  # noqa: SLF001  # what it is to agree with
    struct = checked["$defs"][checked["$ref"].rpartition("/")[2]]
    body = DOCUMENTS["proxy"]["paths"][endpoint.path]["post"]["requestBody"]
    name = references(body).pop().rpartition("/")[2]
    described = cast("dict[str, Any]", DOCUMENTS["proxy"]["components"]["schemas"][name])
    assert set(struct["properties"]) | ({"cache_salt"} if endpoint.salted else set()) == set(described["properties"])
    assert set(struct["required"]) == set(described["required"])
