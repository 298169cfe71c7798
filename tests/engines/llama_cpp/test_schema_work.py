from typing import Any

import pytest

from privity.engines.llama_cpp.constrained import compile_schema
from privity.engines.llama_cpp.schema_work import MAX_COUNTED, SchemaWork
from privity.errors import InvalidRequestError

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}},
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}


def doubling(count: int, applies: str = "anyOf", *, last: Any = True, **more: Any) -> dict[str, Any]:
    """A schema whose definitions each refer twice to the next one."""
    steps = {f"d{at}": {applies: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(count)}
    return {"$defs": steps | {f"d{count}": last}, "$ref": "#/$defs/d0", **more}


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("applies", ["anyOf", "allOf", "oneOf"])
def test_definitions_that_double_are_refused_from_some_number_on(applies: str) -> None:
    assert compile_schema(doubling(10, applies, last={"type": "integer"}), "p").is_valid(1) is (applies != "oneOf")
    for count in (40, 300, 2000):
        with pytest.raises(InvalidRequestError, match="reasonable time"):
            compile_schema(doubling(count, applies), "p")


@pytest.mark.parametrize("where", [{}, {"type": "object"}])
def test_they_are_fewer_where_what_was_evaluated_counts(where: Any) -> None:
    with pytest.raises(InvalidRequestError, match="reasonable time"):
        compile_schema(doubling(18, last=where, unevaluatedProperties=False), "p")
    inside = doubling(18, last=where)
    with pytest.raises(InvalidRequestError, match="reasonable time"):
        compile_schema(
            {"$defs": inside["$defs"], "properties": {"a": {"$ref": "#/$defs/d0", "unevaluatedProperties": False}}}, "p"
        )


def test_a_tree_of_any_depth_can_be_checked() -> None:
    checker = compile_schema(TREE, "p")
    value: Any = {}
    for _ in range(16):
        value = {"left": value, "right": {}}
    assert checker.is_valid(value)
    value["left"]["left"] = 1
    assert not checker.is_valid(value)


def test_a_value_at_each_level_of_which_the_ways_double_does_not_fit() -> None:
    again = {"$ref": "#/$defs/a"}
    node = {"type": "object", "required": ["a"], "properties": {"a": {"anyOf": [again, again, {"const": {}}]}}}
    checker = compile_schema({"$defs": {"a": node}, "$ref": "#/$defs/a"}, "p")
    assert checker.is_valid(nested(5))
    assert not checker.is_valid(nested(200))


@pytest.mark.parametrize(
    "schema",
    [
        {"$dynamicAnchor": "x", "$dynamicRef": "#x"},
        {"properties": {"a": {"$id": "https://x.example/a", "$ref": "#"}, "b": {"$ref": "#/properties/a"}}} | TREE,
        {"$defs": {"a": {"$anchor": "b"}}, "$ref": "#b"},
        {"$ref": "#/x/7"},
    ],
)
def test_references_that_lead_elsewhere_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a reference"):
        SchemaWork(schema | {"allOf": [{"$ref": "#/properties/a"}] if "properties" in schema else []})


def test_large_schemas_are_taken_up_to_a_limit() -> None:
    schema = {"properties": {f"p{at}": {"type": "string", "maxLength": 9} for at in range(5_000)}}
    checker = compile_schema(schema, "p")
    assert checker.is_valid({"p1": "x"})
    assert not any(checker.is_valid({"p1": 1}) for _ in range(20))
    assert all(checker.is_valid({"p1": "x"}) for _ in range(20))
    with pytest.raises(ValueError, match="too many parts"):
        SchemaWork({"allOf": [{} for _ in range(MAX_COUNTED)]})
