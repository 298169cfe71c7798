import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from privity.engines.llama_cpp.narrow_schema import MAX_DEPTH, MAX_LIST_ITEMS, MIN_STRING_CHARACTERS, Schema, narrow

WORDS = (
    "$ref const enum required pattern type properties additionalProperties items prefixItems minItems maxItems "
    "minLength maxLength format exclusiveMinimum exclusiveMaximum minimum maximum multipleOf anyOf allOf $defs "
    "definitions x-guidance"
)
UNDERSTOOD = set(WORDS.split())
"""Keywords that LLGuidance knows and that bound what it generates."""

BUDGETS = st.integers(1, 4096)


def strict(schema: Schema, budget: int = 1000) -> Schema:
    """Return the narrowed schema without the member that is for the engine alone."""
    narrowed = narrow(schema, budget)
    assert narrowed.pop("x-guidance") == {"whitespace_flexible": False}
    return narrowed


# Simple schemas: what people declare tools with.

NAMES = st.sampled_from(["a", "b", "city", "type", "enum"])
JUNK = st.dictionaries(st.sampled_from(["title", "description", "default", "$comment", "x-new"]), st.text(), max_size=2)


@st.composite
def leaves(draw: st.DrawFn) -> Schema:
    match draw(st.sampled_from(["string", "integer", "number", "boolean", "null", "enum", "const", "email"])):
        case "string":
            low = draw(st.integers(0, 3))
            high = draw(st.sampled_from([{}, {"maxLength": low}, {"maxLength": 100}]))
            return {"type": "string", **draw(st.sampled_from([{}, {"minLength": low}])), **high}
        case "integer" | "number" as kind:
            low = draw(st.integers(-5, 5))
            bounds = [{}, {"minimum": low}, {"exclusiveMaximum": low}, {"minimum": low, "maximum": low + 3}]
            return {"type": kind, **draw(st.sampled_from(bounds))}
        case "enum":
            return {"enum": draw(st.lists(st.integers() | st.text(), min_size=1, max_size=3))}
        case "const":
            return {"const": draw(st.none() | st.booleans() | st.text())}
        case "email":
            return {"type": "string", "format": "email", **draw(st.sampled_from([{}, {"maxLength": 12}]))}
        case kind:
            return {"type": kind}


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    additional = inner | st.booleans()
    objects = st.builds(
        lambda members, required, more: {"type": "object", "properties": members, "required": required, **more},
        st.dictionaries(NAMES, inner, max_size=3),
        st.lists(NAMES, unique=True, max_size=2),
        st.fixed_dictionaries({}, optional={"additionalProperties": additional, "minProperties": st.just(0)}),
    )
    lists = st.builds(
        lambda items, bounds: {"type": "array", "items": items, **bounds},
        inner,
        st.sampled_from([{}, {"minItems": 1}, {"maxItems": 2}, {"minItems": 2, "maxItems": 3}]),
    )
    return objects | lists | st.lists(inner, min_size=1, max_size=3).map(lambda each: {"anyOf": each})


DESCRIBED = st.builds(lambda leaf, junk: {**leaf, **junk}, leaves(), JUNK)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(DESCRIBED | st.booleans(), containers, max_leaves=6).filter(
    lambda schema: isinstance(schema, dict)
)


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Return what a grammar for a narrowed schema could write, without a look at the original."""
    if schema is False:
        return st.nothing()
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    return OF_TYPE[schema["type"]](schema)


def texts(schema: Schema) -> st.SearchStrategy[Any]:
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if "pattern" not in schema:
        return st.text(min_size=low, max_size=min(high, low + 5))
    ascii_texts = st.from_regex(schema["pattern"], fullmatch=True, alphabet=st.characters(codec="ascii"))
    return ascii_texts.filter(lambda text: low <= len(text) <= high)


def integers(schema: Schema) -> st.SearchStrategy[Any]:
    return st.integers(schema["minimum"], schema.get("maximum", schema.get("exclusiveMaximum", 0) - 1))


def numbers(schema: Schema) -> st.SearchStrategy[Any]:
    if "exclusiveMaximum" not in schema:
        return st.floats(schema["minimum"], schema["maximum"]).map(lambda each: round(each, 3))
    high = schema["exclusiveMaximum"]
    return st.floats(schema["minimum"], high).map(lambda each: round(each, 3)).filter(lambda each: each < high)


def lists(schema: Schema) -> st.SearchStrategy[Any]:
    items, low = values(schema["items"]), schema.get("minItems", 0)
    if items.is_empty:
        return st.nothing() if low else st.just([])
    return st.lists(items, min_size=low, max_size=min(3, schema["maxItems"]))


@st.composite
def objects(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    properties, more = schema.get("properties", {}), values(schema.get("additionalProperties", False))
    required = {name: values(properties[name]) if name in properties else more for name in schema.get("required", ())}
    optional = {name: values(each) for name, each in properties.items() if name not in required and each is not False}
    assume(not any(each.is_empty for each in required.values()))
    value: dict[str, Any] = draw(
        st.fixed_dictionaries(required, optional={name: each for name, each in optional.items() if not each.is_empty})
    )
    others = st.text().filter(lambda name: name not in properties)
    return value if more.is_empty else value | draw(st.dictionaries(others, more, max_size=1))


OF_TYPE: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "string": texts,
    "integer": integers,
    "number": numbers,
    "array": lists,
    "object": objects,
    "boolean": lambda _schema: st.booleans(),
    "null": lambda _schema: st.none(),
}


@given(SCHEMAS, BUDGETS, st.data())
def test_what_fits_a_narrowed_schema_fits_the_original(schema: Schema, budget: int, data: st.DataObject) -> None:
    fitting = values(strict(schema, budget))
    assume(not fitting.is_empty)
    assert jsonschema_rs.validator_for(schema).is_valid(data.draw(fitting))


def keywords(node: Any) -> set[str]:
    """Return every keyword of a narrowed schema."""
    if not isinstance(node, dict):
        return set()
    found = set(node)
    for key in ("properties", "$defs", "definitions"):
        for each in node.get(key, {}).values():
            found |= keywords(each)
    for key in ("anyOf", "allOf", "prefixItems"):
        for each in node.get(key, ()):
            found |= keywords(each)
    return found | keywords(node.get("items")) | keywords(node.get("additionalProperties"))


@given(SCHEMAS, BUDGETS)
def test_only_keywords_that_the_grammar_knows_are_left(schema: Schema, budget: int) -> None:
    assert keywords(narrow(schema, budget)) <= UNDERSTOOD


@given(SCHEMAS, BUDGETS)
def test_a_narrowed_schema_is_a_schema_and_the_original_is_untouched(schema: Schema, budget: int) -> None:
    before = json.dumps(schema)
    jsonschema_rs.validator_for(strict(schema, budget))
    assert json.dumps(schema) == before


def is_schema(candidate: Any) -> bool:
    try:
        jsonschema_rs.validator_for(candidate, offline=True)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return False
    return True


OTHER_WORDS = "oneOf not if then else minProperties uniqueItems contains patternProperties propertyNames title"
KEYWORDS = sorted({*UNDERSTOOD, *OTHER_WORDS.split()} - {"x-guidance"})
SCALARS = (
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["string", "object", "#", "email", "^a$", 0.5])
)
ANY_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYWORDS), ANY_VALUES, max_size=4), BUDGETS)
def test_narrowing_a_valid_schema_never_fails(schema: Schema, budget: int) -> None:
    assume(is_schema(schema))
    assert is_schema(strict(schema, budget))


def nested(levels: int) -> Schema:
    return {"type": "array", "items": nested(levels - 1)} if levels else {"type": "null"}


def test_nesting_is_bounded() -> None:
    assert strict(nested(MAX_DEPTH))
    with pytest.raises(RecursionError):
        narrow(nested(MAX_DEPTH + 1), 100)


A, B = {"type": "boolean"}, {"type": "null"}
OBJECT = {"type": "object", "properties": {"a": A}}
CLOSED = OBJECT | {"additionalProperties": False}
TEXT = {"type": "string", "minLength": 0, "maxLength": 500}
EMAIL = strict({"type": "string", "format": "email"})["pattern"]
PREFIXED = {"type": "array", "prefixItems": [A, B], "items": False}
KEPT: list[Schema] = [
    A,
    {"type": ["boolean", "null"]},
    {"type": "string", "format": "date"},
    {"type": "integer", "minimum": 0, "exclusiveMaximum": 9},
    {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 1},
    {"type": "integer", "enum": [1, 2]},
    {"const": {"a": ["b"]}},
    OBJECT | {"additionalProperties": B},
    CLOSED | {"required": ["a", "b"]},
    CLOSED | {"properties": {"a": False}},
    {"type": "array", "items": A, "minItems": 2, "maxItems": 3},
    {"anyOf": [False, A]},
    {"$ref": "#/$defs/x", "$defs": {"x": A, "y": False}},
]


@pytest.mark.parametrize("schema", KEPT)
def test_what_is_narrow_already_stays_as_it_is(schema: Schema) -> None:
    assert strict(schema) == schema


@pytest.mark.parametrize(
    ("schema", "narrowed"),
    [
        (A | {"title": "T", "$schema": "https://json-schema.org/draft/2020-12/schema"}, A),
        ({"type": "string"}, TEXT),
        ({"type": "string", "maxLength": 9}, TEXT | {"maxLength": 9}),
        ({"type": "string", "minLength": 3.0, "maxLength": 9.0}, TEXT | {"minLength": 3, "maxLength": 9}),
        ({"type": "string", "maxLength": 10**9}, TEXT),
        ({"type": "string", "minLength": 700}, TEXT | {"minLength": 700, "maxLength": 700}),
        ({"type": "string", "minLength": 10**9}, TEXT | {"minLength": 4096, "maxLength": 4096}),
        ({"type": "string", "pattern": "^a+$"}, TEXT | {"pattern": "^a+$"}),
        ({"type": "string", "format": "regex"}, TEXT),
        ({"type": "string", "format": "email", "pattern": "^a"}, TEXT | {"pattern": "^a"}),
        ({"type": "string", "format": "email", "maxLength": 9}, TEXT | {"pattern": EMAIL, "maxLength": 9}),
        ({"type": "integer"}, {"type": "integer", "minimum": -(2**53 - 1), "maximum": 2**53 - 1}),
        (OBJECT, CLOSED),
        ({"properties": {"a": A}}, CLOSED),
        ({"type": "array", "items": A}, {"type": "array", "items": A, "minItems": 0, "maxItems": 31}),
        (PREFIXED, {"type": "array", "prefixItems": [A, B], "minItems": 0, "maxItems": 2}),
        ({"oneOf": [A, B]}, {"anyOf": [A, B]}),
        ({"anyOf": [A, B], "not": {}}, {"anyOf": [A, B]}),
        ({"allOf": [OBJECT, {"properties": {"a": B}}]}, {"allOf": [OBJECT, OBJECT | {"properties": {"a": B}}]}),
        (OBJECT | {"allOf": [{"required": ["b"]}]}, OBJECT | {"allOf": [{"required": ["b"]}]}),
        ({"$ref": "#/$defs/x", "$defs": {"x": OBJECT}}, {"$ref": "#/$defs/x", "$defs": {"x": CLOSED}}),
    ],
)
def test_keywords_are_narrowed_one_by_one(schema: Schema, narrowed: Schema) -> None:
    assert strict(schema) == narrowed


def test_a_member_that_is_required_but_not_described_can_be_written() -> None:
    narrowed = strict(OBJECT | {"required": ["b"]})
    assert narrowed["additionalProperties"] is False
    assert jsonschema_rs.validator_for(narrowed).is_valid({"b": 1})


@pytest.mark.parametrize(
    "schema", [{}, {"title": "T"}, {"type": "object"}, {"type": "array"}, {"type": "array", "items": True}]
)
def test_where_a_schema_says_nothing_every_string_and_list_is_bounded(schema: Schema) -> None:
    validator = jsonschema_rs.validator_for(strict(schema, 100))
    too_much: list[Any] = ["x" * 51, ["x"] * 4, [["x" * 51]], {"a": ["x" * 51]}, {"a": {"b": {"c": {}}}}, 10**16]
    assert not any(validator.is_valid(value) for value in too_much)
    fitting: list[Any] = [{"a": "x"}, {"a": {"b": 1.5}}] if schema.get("type") == "object" else [["x", 1, None]]
    assert all(validator.is_valid(value) for value in fitting)


@pytest.mark.parametrize("budget", [1, 10, 100, 4096])
def test_bounds_share_the_budget(budget: int) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in "abcd"} | {"l": {"type": "array"}}}
    properties = strict(schema, budget)["properties"]
    assert properties["a"]["maxLength"] == max(MIN_STRING_CHARACTERS, budget // 8)
    assert 1 <= properties["l"]["maxItems"] <= min(MAX_LIST_ITEMS, max(1, budget // 32))
