"""Documents put together, and served."""

from collections.abc import Iterable

import msgspec

from privity import __version__
from privity.transport.openapi import errors, rows
from privity.transport.openapi.errors import Errors, Form
from privity.transport.openapi.parts import Json, answered, response, without
from privity.transport.web import JSON, NO_SNIFFING, Handler, Reply, Request

PATH = "/openapi.json"
FORMS: tuple[Form, ...] = ("openai", "anthropic", "ollama", "models")

_KEYS: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API key, as OpenAI's clients send it."},
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The API key, as Anthropic's clients send it.",
    },
}
_ANY_KEY: list[Json] = [{"bearer": []}, {"api_key": []}, {}]
"""Which of them, if any, is the operator's choice."""


def document(title: str, description: str, paths: Json, schemas: Json, role: Errors, refused: Iterable[int]) -> Json:
    """Return a whole document.

    Args:
        title: what is described.
        description: what holds for all of it.
        paths: without HEAD, and without the document's own.
        schemas: those of the role; models and errors are here already.
        role: the errors of the role.
        refused: statuses by which every request may be refused.
    """
    own = _own(role, refused)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": _ANY_KEY,
        "tags": [
            {"name": "Models", "description": "What can be called."},
            {"name": "Calls", "description": "Requests to models."},
            {"name": "Service", "description": "The rest."},
        ],
        "paths": {path: _with_head(item) for path, item in ({**paths, PATH: {"get": own}}).items()},
        "components": {
            "schemas": {**errors.SCHEMAS, **rows.SCHEMAS, **schemas},
            "responses": role.components(FORMS),
            "securitySchemes": _KEYS,
        },
    }


def document_route(described: Json) -> dict[str, dict[str, Handler]]:
    """Return the route that serves a document; it is encoded once."""
    reply = Reply(200, [JSON, NO_SNIFFING, (b"cache-control", b"no-cache")], msgspec.json.encode(described))

    async def serve(_request: Request) -> Reply:
        return reply

    return {PATH: {"GET": serve}}


def _own(role: Errors, refused: Iterable[int]) -> Json:
    content = answered({"type": "object", "required": ["openapi", "info", "paths"]})
    return {
        "operationId": "openapi",
        "summary": "This document",
        "tags": ["Service"],
        "security": [],
        "responses": {"200": response("OpenAPI 3.1.", content), **role.of("openai", *refused)},
    }


def _with_head(item: Json) -> Json:
    """Return a path's operations with HEAD, which has GET's answers without their bodies."""
    if "get" not in item:
        return item
    get = item["get"]
    answers = {status: _head_answer(status, answer) for status, answer in get["responses"].items()}
    head = {
        **get,
        "operationId": f"{get['operationId']}Head",
        "summary": f"{get['summary']}: only the head",
        "responses": answers,
    }
    return {**item, "head": head}


def _head_answer(status: str, answer: Json) -> Json:
    return without(answer, "content") if "$ref" not in answer else {"description": f"As {status} of GET."}
