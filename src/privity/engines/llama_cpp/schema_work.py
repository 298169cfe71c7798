"""How much work a JSON Schema can make of a value, found out before it does.

A validator follows each way through a schema. Where definitions refer twice to the next one, thirty of them are a
billion ways, and nobody else is answered meanwhile. So ways are counted, not gone.
"""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

Schema = dict[str, Any]

MAX_WORK: Final = 20_000_000
"""Ways through a schema for all parts of a value together: a validator goes some 50 million a second."""

MAX_COUNTED: Final = 50_000
"""Parts of a schema that are counted, each as often as a deeper value is at it."""

_PATTERN_WORK: Final = 100
"""What a regular expression counts for."""

_SAME_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SAME: Final = ("not", "if", "then", "else")
_SAME_NAMED: Final = ("dependentSchemas", "dependencies")
_INSIDE: Final = (
    *("additionalProperties", "additionalItems", "contains", "items", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_INSIDE_NAMED: Final = ("properties", "patternProperties")
_UNEVALUATED: Final = frozenset({"unevaluatedItems", "unevaluatedProperties"})
_ELSEWHERE: Final = frozenset({"$dynamicRef", "$recursiveRef"})


class SchemaWork:
    """Counts the ways through one schema.

    Args:
        schema: a valid one.

    Raises:
        ValueError: it refers to what isn't at a place of its own, such as `#/$defs/Name`, or in a circle without a step
            into the value; or it is too much for any value.
        RecursionError: nested too deep.
    """

    def __init__(self, schema: Schema) -> None:
        self._root = schema
        self._counted: dict[tuple[int, int], int | None] = {}
        looked_into = [
            node for node in _objects(schema) if not _UNEVALUATED.isdisjoint(node)
        ]  # before there is a value
        if sum(self._of(node, 0) for node in (schema, *looked_into)) > MAX_WORK:
            raise ValueError("too many ways through a schema")

    def fits(self, value: Any) -> bool:
        """Return whether a value can be checked in reasonable time."""
        parts, depth = _measured(value)
        self._counted.clear()
        try:
            return parts * self._of(self._root, depth) <= MAX_WORK
        except (ValueError, RecursionError):
            return False

    def _of(self, node: Any, depth: int) -> int:
        """Return the ways through a part of the schema, for a value with so many levels."""
        if not isinstance(node, dict):
            return 1
        key = id(node), depth
        if key in self._counted:
            known = self._counted[key]
            if known is None:
                raise ValueError("a schema that refers to itself for the same value")
            return known
        if len(self._counted) >= MAX_COUNTED:
            raise ValueError("too many parts of a schema")
        self._counted[key] = None
        work = _own_work(node) + sum(self._of(each, depth) for each in self._same(node))
        if not _UNEVALUATED.isdisjoint(node):
            work *= work  # what was evaluated is looked for once more, at each of the ways
        if depth:
            work += sum(self._of(each, depth - 1) for each in _inside(node))
        self._counted[key] = work = min(work, MAX_WORK + 1)  # else the numbers grow beyond all bounds
        return work

    def _same(self, node: Schema) -> Iterator[Any]:
        """Yield what is to be held against the same value."""
        if not _ELSEWHERE.isdisjoint(node) or (node is not self._root and isinstance(node.get("$id"), str)):
            raise ValueError("a reference that isn't followed")
        for name in _SAME_LISTS:
            yield from node[name] if isinstance(node.get(name), list) else ()
        for name in _SAME_NAMED:
            yield from node[name].values() if isinstance(node.get(name), dict) else ()
        yield from (node[name] for name in _SAME if name in node)
        if isinstance(node.get("$ref"), str):
            yield self._referred(node["$ref"])

    def _referred(self, reference: str) -> Any:
        """Return what a JSON pointer leads to (RFC 6901 section 6)."""
        if reference != "#" and not reference.startswith("#/"):
            raise ValueError("a reference to something else than a place in the schema")
        found: Any = self._root
        for step in reference.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (LookupError, TypeError) as error:
                raise ValueError("a reference to nothing") from error
        return found


def _inside(node: Schema) -> Iterator[Any]:
    """Yield what is to be held against the parts of the value."""
    for name in _INSIDE:
        given = node.get(name)
        yield from given if isinstance(given, list) else (given,) if given is not None else ()
    yield from node["prefixItems"] if isinstance(node.get("prefixItems"), list) else ()
    for name in _INSIDE_NAMED:
        yield from node[name].values() if isinstance(node.get(name), dict) else ()


def _objects(node: Any) -> Iterator[Schema]:
    """Yield all objects within something, itself included."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _objects(each)


def _own_work(node: Schema) -> int:
    choices, patterns = node.get("enum"), node.get("patternProperties")
    count = ("pattern" in node) + (len(patterns) if isinstance(patterns, dict) else 0)
    return 1 + (len(choices) if isinstance(choices, list) else 0) + count * _PATTERN_WORK


def _measured(value: Any) -> tuple[int, int]:
    """Return how many parts a value has, itself included, and how many levels are below it."""
    parts, level, depth = 0, [value], -1
    while level:
        parts += len(level)
        depth += 1
        level = [
            part
            for each in level
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
    return parts, depth
