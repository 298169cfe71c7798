"""Narrow a JSON Schema to what the engine's grammar can enforce and a weak model can finish.

The grammar (LLGuidance) refuses a schema with one keyword that it does not know, and the engine then generates *without
any constraint*, silently. It also leaves strings, numbers and lists open-ended, which a weak model never closes. So
every value that fits the narrowed schema fits the original in all that the grammar can express; the rest is for the
caller to check.
"""

from typing import Any

import msgspec

MIN_STRING_CHARACTERS = 16
"""Characters that an open string keeps even where the budget is small."""

MAX_LIST_ITEMS = 64
"""Items of an open list: more is rarely meant, and a weak model repeats itself for ever."""

MAX_LOWER_BOUND = 4096
"""Characters or items that a schema may demand; a grammar that counts further costs too much."""

TOKENS_PER_ITEM = 32
"""Tokens of the budget for each item of an open list."""

FREE_LEVELS = 1
"""Levels of lists and objects in a value that the schema leaves open."""

FREE_ITEMS = 8
FREE_STRING_CHARACTERS = 200
"""Bounds in such a value: the client expects nothing in particular, and a weak model would go on for ever."""

MAX_DEPTH = 64
"""Levels of a schema; LLGuidance and people stay far below."""

_MAX_INTEGER = 2**53 - 1
_MAX_NUMBER = 10**15
_DECIMALS = 1e-6
_LIMITS = ("exclusiveMinimum", "exclusiveMaximum", "minimum", "maximum")

_OPEN = ("additionalProperties", "patternProperties")
_COMBINERS = ("anyOf", "allOf")
_DEFINITIONS = ("$defs", "definitions")
_COPIED = ("$ref", "const", "enum", "required", "pattern")
_BOUNDED_FORMATS = frozenset({"date", "date-time", "ipv4", "ipv6", "time", "uuid"})
_PATTERN_OF_FORMAT = {
    "email": r"^[A-Za-z0-9._-]{1,32}@[A-Za-z0-9-]{1,32}\.[a-z]{2,8}$",
    "hostname": r"^[a-z0-9-]{1,32}(\.[a-z0-9-]{1,32}){0,3}$",
    "uri": r"^https?://[a-z0-9-]{1,32}(\.[a-z0-9-]{1,32}){1,3}(/[A-Za-z0-9._-]{1,32}){0,4}$",
}
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

Schema = dict[str, Any]


def narrow(schema: Schema, budget: int) -> Schema:
    """Return a schema for the engine's grammar.

    Args:
        schema: a valid JSON Schema of draft 7 or newer.
        budget: tokens that the whole value may take; open strings and lists are bounded so that it fits.

    Raises:
        RecursionError: nested deeper than `MAX_DEPTH`.
    """
    strings = max(1, _count_strings(schema))
    # A definition may be one part of an `allOf`, whose other parts name further members.
    close_definitions = b'"allOf"' not in msgspec.json.encode(schema)
    string_characters = max(MIN_STRING_CHARACTERS, budget // (2 * strings))
    narrowed = _Narrower(string_characters, budget, close_definitions=close_definitions).walk(schema, 0)
    return narrowed | {"x-guidance": {"whitespace_flexible": False}}


def is_open_ended(schema: Schema) -> bool:
    """Return whether a narrowed schema has values without an end: objects of any members, circles of definitions."""
    text = msgspec.json.encode(schema).decode()
    return any(f'"{key}":{{"' in text for key in _OPEN) or _is_recursive(schema)


def _is_recursive(schema: Schema) -> bool:
    definitions: Schema = schema.get("$defs", {}) | schema.get("definitions", {})
    reached = {name: _references(definition) for name, definition in definitions.items()}
    for _ in definitions:  # each round follows the references one step further
        for name, names in reached.items():
            reached[name] = names.union(*(reached.get(each, set()) for each in names))
    return any(name in names for name, names in reached.items()) or "#" in _references(schema)


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*(_references(each) for each in node))
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"].rsplit("/", 1)[-1]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*(_references(each) for each in node.values()))


def _count_strings(node: Any) -> int:
    if isinstance(node, list):
        return sum(_count_strings(each) for each in node)
    if not isinstance(node, dict):
        return 0
    own = 1 if "string" in str(node.get("type")) and "enum" not in node else 0
    return own + sum(_count_strings(each) for each in node.values())


class _Narrower:
    def __init__(self, string_characters: int, budget: int, *, close_definitions: bool) -> None:
        self._close_definitions = close_definitions
        self._string_characters = string_characters
        self._items = max(1, min(MAX_LIST_ITEMS, budget // TOKENS_PER_ITEM))

    def part(self, node: Any, depth: int, *, closed: bool = True) -> Schema | bool:
        """Narrow a schema that may be `true` or `false`."""
        if node is False:
            return False
        return self.walk(node, depth, closed=closed) if isinstance(node, dict) else self._anything()

    def walk(self, node: Schema, depth: int, *, closed: bool = True) -> Schema:
        """Narrow one schema; `closed` refuses members that it does not name."""
        if depth > MAX_DEPTH:
            raise RecursionError
        closed = closed and "allOf" not in node  # members that another part of it names must get through
        out: Schema = {key: node[key] for key in _COPIED if key in node}
        self._combine(node, out, depth)
        types = self._types(node)
        if types:
            out["type"] = types[0] if len(types) == 1 else types
        if "enum" in node or "const" in node:
            return out
        if "object" in types:
            self._object(node, out, depth, closed=closed)
        if "array" in types:
            self._array(node, out, depth)
        if "string" in types:
            self._string(node, out)
        if "number" in types or "integer" in types:
            self._number(node, out, whole="number" not in types)
        return out or self._anything()

    def _combine(self, node: Schema, out: Schema, depth: int) -> None:
        for key in _DEFINITIONS:
            if isinstance(node.get(key), dict):
                parts = node[key].items()
                out[key] = {name: self.part(each, depth + 1, closed=self._close_definitions) for name, each in parts}
        for key in _COMBINERS:
            if isinstance(node.get(key), list):
                out[key] = [self.part(each, depth + 1, closed=key != "allOf") for each in node[key]]
        if isinstance(node.get("oneOf"), list) and "anyOf" not in out:
            out["anyOf"] = [self.part(each, depth + 1) for each in node["oneOf"]]

    @staticmethod
    def _types(node: Schema) -> list[str]:
        declared = node.get("type")
        types = declared if isinstance(declared, list) else [declared]
        known = [each for each in types if each in _TYPES]
        if not known and "properties" in node:
            return ["object"]
        return known

    def _object(self, node: Schema, out: Schema, depth: int, *, closed: bool) -> None:
        properties = node.get("properties")
        additional = node.get("additionalProperties")
        if isinstance(properties, dict):
            out["properties"] = {name: self.part(each, depth + 1) for name, each in properties.items()}
        if isinstance(node.get("patternProperties"), dict):
            patterns = node["patternProperties"].items()
            out["patternProperties"] = {pattern: self.part(each, depth + 1) for pattern, each in patterns}
        if isinstance(additional, dict):
            out["additionalProperties"] = self.walk(additional, depth + 1)
        elif additional is False:
            out["additionalProperties"] = False
        elif closed and isinstance(properties, dict):
            out["additionalProperties"] = False
            for name in node.get("required", ()):
                out["properties"].setdefault(name, self._anything())
        elif closed:
            out["additionalProperties"] = self._anything()

    def _array(self, node: Schema, out: Schema, depth: int) -> None:
        items, leading = node.get("items", True), node.get("prefixItems")
        if isinstance(items, list):  # how draft 7 writes a tuple
            items, leading = node.get("additionalItems", True), items
        longest = self._items
        if isinstance(leading, list):
            out["prefixItems"] = [self.part(each, depth + 1) for each in leading]
            longest = len(leading) if items is False else max(longest, len(leading))  # some grammars refuse the `false`
        if items is not False or leading is None:
            out["items"] = self.part(items, depth + 1)
        out["minItems"], out["maxItems"] = _bounds(node.get("minItems", 0), node.get("maxItems"), longest)

    def _string(self, node: Schema, out: Schema) -> None:
        wanted = node.get("format")
        if wanted in _BOUNDED_FORMATS:
            out["format"] = wanted
            return
        if wanted in _PATTERN_OF_FORMAT:
            out.setdefault("pattern", _PATTERN_OF_FORMAT[wanted])
        low, high = _bounds(node.get("minLength", 0), node.get("maxLength"), self._string_characters)
        out["minLength"], out["maxLength"] = low, high

    @staticmethod
    def _number(node: Schema, out: Schema, *, whole: bool) -> None:
        given = [abs(node[key]) for key in _LIMITS if isinstance(node.get(key), int | float)]
        limit = max(_MAX_INTEGER if whole else _MAX_NUMBER, *(2 * each for each in given), 0)
        for key in (*_LIMITS, "multipleOf"):
            if isinstance(node.get(key), int | float) and not isinstance(node[key], bool):
                out[key] = node[key]
        if "exclusiveMinimum" not in out:
            out.setdefault("minimum", -limit)
        if "exclusiveMaximum" not in out:
            out.setdefault("maximum", limit)
        if not whole:
            out.setdefault("multipleOf", _DECIMALS)

    def _anything(self, levels: int = FREE_LEVELS) -> Schema:
        """Return a schema for a value that nothing is said about, with lists and objects `levels` deep."""
        number: Schema = {"type": "number"}
        self._number({}, number, whole=False)
        text = {"type": "string", "maxLength": min(FREE_STRING_CHARACTERS, self._string_characters)}
        choices: list[Schema] = [text, number, {"type": "boolean"}, {"type": "null"}]
        if levels:
            inner = self._anything(levels - 1)
            choices.append({"type": "array", "items": inner, "maxItems": min(FREE_ITEMS, self._items)})
            choices.append({"type": "object", "additionalProperties": inner})
        return {"anyOf": choices}


def _bounds(lower: int, upper: int | None, ours: int) -> tuple[int, int]:
    """Return bounds that are no wider than the schema's, and as tight as ours where the schema allows it."""
    lower = min(int(lower), MAX_LOWER_BOUND)
    return lower, max(lower, ours if upper is None else min(int(upper), ours))
