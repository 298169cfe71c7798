"""Pieces that documents are made of. Schemas are JSON Schema, draft 2020-12."""

from collections.abc import Mapping
from typing import Any, TypeVar

Json = dict[str, Any]

V = TypeVar("V")


def schema_ref(name: str) -> Json:
    """Return a reference to a schema among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str = "", **more: Any) -> Json:
    """Return the schema of a string."""
    return _described("string", description, more)


def integer(description: str = "", **more: Any) -> Json:
    """Return the schema of a whole number."""
    return _described("integer", description, more)


def number(description: str = "", **more: Any) -> Json:
    """Return the schema of a number."""
    return _described("number", description, more)


def flag(description: str = "", **more: Any) -> Json:
    """Return the schema of true or false."""
    return _described("boolean", description, more)


def array(items: Json, description: str = "", **more: Any) -> Json:
    """Return the schema of a list."""
    return _described("array", description, {"items": items, **more})


def record(properties: Json, required: tuple[str, ...] = (), description: str = "", **more: Any) -> Json:
    """Return the schema of an object. Further members are allowed unless `more` says otherwise."""
    wanted = {"required": list(required)} if required else {}
    return _described("object", description, {"properties": properties, **wanted, **more})


def one_of_type(*schemas: Json, description: str = "") -> Json:
    """Return the schema of what fits at least one of several."""
    return {**({"description": description} if description else {}), "anyOf": list(schemas)}


def or_null(schema: Json) -> Json:
    """Return the schema of the same, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema and "const" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def moment(description: str) -> Json:
    """Return the schema of a time in RFC 3339."""
    return text(description, format="date-time")


def query(name: str, schema: Json, description: str) -> Json:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def header(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    """Return a header of a request."""
    wanted = {"required": True} if required else {}
    return {"name": name, "in": "header", "description": description, **wanted, "schema": schema}


def in_path(name: str, description: str, example: str) -> Json:
    """Return a parameter of the path."""
    schema = text(minLength=1)
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema} | {
        "example": example
    }


def answered(schema: Json, kind: str = "application/json") -> Json:
    """Return the content of an answer of one kind."""
    return {kind: {"schema": schema}}


def event(description: str, data: Json | None = None, **more: Any) -> Json:
    """Return the schema of each event of a stream.

    OpenAPI 3.1 doesn't say what a stream's schema describes; tools take it for that of one event, as 3.2 has it.
    """
    inside = {} if data is None else {"contentMediaType": "application/json", "contentSchema": data}
    members = {"event": text(**more), "data": {"type": "string", **inside}, "id": text()}
    return record(members, ("data",), description)


def response(description: str, content: Json | None = None, headers: Json | None = None) -> Json:
    """Return an answer."""
    parts = {"headers": headers, "content": content}
    return {"description": description, **{name: part for name, part in parts.items() if part}}


def response_header(description: str, schema: Json | None = None, *, required: bool = False) -> Json:
    """Return a header of an answer."""
    return {"description": description, "required": required, "schema": schema or {"type": "string"}}


def without(members: Mapping[str, V], *names: str) -> dict[str, V]:
    """Return members without some."""
    return {name: value for name, value in members.items() if name not in names}


def _described(kind: str, description: str, more: Mapping[str, Any]) -> Json:
    return {"type": kind, **({"description": description} if description else {}), **more}
