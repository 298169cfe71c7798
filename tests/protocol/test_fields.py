import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import InvalidRequestError
from privity.protocol.fields import (
    MAX_DEPTH,
    MAX_MODEL_ID_CHARACTERS,
    MAX_SHOWN_NAME,
    Fields,
    check_model,
    read_model,
    read_object,
    scan,
)

LONE_SURROGATE = re.compile("[\ud800-\udfff]")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
NAMES = st.text(st.characters(exclude_categories=()), max_size=6) | st.sampled_from(
    ["", "|", "a|b", "a.b", "a.0", "#", "@this", "\\", '"', "model", "\ud800", "é", "\U0001f642", "\x00", "\x7f", "*"]
)


@st.composite
def written(draw: st.DrawFn, top: st.SearchStrategy[Any]) -> tuple[bytes, Any]:
    """Return JSON in one of its spellings, and its value."""
    value = draw(top)
    indent = draw(st.sampled_from([None, 1, "\t", ""]))
    separators = draw(st.sampled_from([(",", ":"), (" , ", " : "), ("\r\n,\t", ":\n")]))
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=draw(st.booleans()))
    around = st.text(" \t\r\n", max_size=3)
    body = (draw(around) + text + draw(around)).encode("utf-8", "surrogatepass")
    return body, value


def as_counted(name: str) -> str:
    """Return a name as `scan` gives it."""
    return LONE_SURROGATE.sub("\ufffd", name)


def refused(read: Callable[[bytes], object], body: bytes) -> str | None:
    """Return the code with which a body is refused, None where it is taken."""
    try:
        read(body)
    except InvalidRequestError as error:
        return error.code
    return None


def same(fields: Fields, value: Any) -> bool:
    """Whether a cut body has the names and values of what the standard library read."""
    expected = (
        [(str(index), each) for index, each in enumerate(value)]
        if isinstance(value, list)
        else [(as_counted(name), each) for name, each in value.items()]
    )
    return [(name, json.loads(raw)) for name, raw in zip(fields.names, fields.values, strict=True)] == expected


NOT_FIELDS = {
    "nothing": b"",
    "white space": b" \n",
    "no JSON": b"hello",
    "cut": b'{"model": "m"',
    "cut in a text": b'{"model": "m',
    "surplus": b'{"model": "m"} x',
    "surplus object": b'{"model": "m"}{}',
    "surplus brace": b'{"model": "m"}}',
    "surplus comma": b'{"model": "m",}',
    "surplus comma in an array": b"[1,]",
    "surplus NUL": b'{"model": "m"}\0',
    "surplus in an array": b"[1] x",
    "a text": b'"model"',
    "null": b"null",
    "a number": b"7",
    "true": b"true",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "a leading zero": b'{"a": 01}',
    "no digits after the point": b'{"a": 1.}',
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "no UTF-8 in a name": b'{"\xff": 1}',
    "no UTF-8 in a value": b'{"a": "\xff"}',
    "no UTF-8 deep in a value": b'{"a": [{"b": "\xc3"}]}',
    "no UTF-8 after the end": b'{"a": 1}\xc3',
    "an overlong encoding": b'{"a": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a control character": b'{"a": "\x01"}',
    "a bad escape": rb'{"a": "\x"}',
    "a bad escape beside a lone surrogate": rb'{"a": "\ud800\x"}',
    "a cut escape": rb'{"a": "\ud80"}',
    "a form feed": b'{"a":\x0c1}',
    "a comment": b'{"a": 1 /* x */}',
}  # fmt: skip


@pytest.mark.parametrize("body", NOT_FIELDS.values(), ids=NOT_FIELDS)
def test_what_is_no_object_or_array_is_invalid_json(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        scan(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[1]", b'"a"', b"null", b'{"a": 1', b'{"\xff": 1}', b'{"a":' * 100_000], ids=str
)
def test_what_is_no_object_is_not_read_as_one(body: bytes) -> None:
    assert refused(read_object, body) == "invalid_json"


@given(written(st.dictionaries(st.text(), JSON)))
def test_a_whole_object_is_read_as_python_values(body_and_value: tuple[bytes, dict[str, Any]]) -> None:
    body, value = body_and_value
    assert read_object(body) == value


@given(written(st.dictionaries(NAMES, JSON) | st.lists(JSON, max_size=12)))
def test_a_body_is_cut_into_its_names_and_the_exact_bytes_of_its_values(body_and_value: tuple[bytes, Any]) -> None:
    assert_agrees_with_json(body_and_value[0])


@given(
    written(st.dictionaries(st.text(max_size=4), JSON) | st.lists(JSON, max_size=4)),
    st.lists(st.tuples(st.integers(0), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_a_mutated_body_is_accepted_and_read_as_the_standard_library_does(
    body_and_value: tuple[bytes, Any], mutations: list[tuple[int, bytes, int]]
) -> None:
    body = body_and_value[0]
    for place, inserted, dropped in mutations:
        at = place % (len(body) + 1)
        body = body[:at] + inserted + body[at + dropped :]
    assert_agrees_with_json(body)


TOKENS = [*'{}[],:"\\10-.e \n', '"a"', '"\\u0061"', '"b"', "true", "nul", "\\ud800", "é"]


@given(st.lists(st.sampled_from(TOKENS), max_size=24).map("".join), st.booleans())
def test_any_tokens_are_accepted_and_read_as_the_standard_library_does(tokens: str, closed: bool) -> None:  # noqa: FBT001
    assert_agrees_with_json(('{"a":' + tokens + "}" if closed else tokens).encode())


class _NotTakenError(ValueError):
    """What the standard library takes beyond the standard."""


def _no_constant(name: str) -> None:
    raise _NotTakenError(name)


def assert_agrees_with_json(body: bytes) -> None:
    repeated = False

    def first_level(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        names = [as_counted(name) for name, _ in pairs]
        repeated = len(set(names)) < len(names)  # the top level is the last one that is read
        return dict(pairs)

    try:
        value = json.loads(body.decode(), object_pairs_hook=first_level, parse_constant=_no_constant)
    except ValueError:
        value = None
    if not isinstance(value, dict | list):
        assert refused(scan, body) is not None
    elif isinstance(value, dict) and repeated:
        assert refused(scan, body) == "repeated_member"
    else:
        fields = scan(body)
        assert same(fields, value)
        assert fields.with_values(fields.values) == body


@pytest.mark.parametrize(
    "number",
    ["0.70", "1e5", "1E+2", "12345678901234567890123456789", "-0", "-0.0", "1.0000000000000000000001e0", "1e999999"],
)
def test_numbers_keep_their_spelling(number: str) -> None:
    fields = scan(f'{{"a": {number}, "b":[{number} ,{number}]}}'.encode())
    assert fields.values == [number.encode(), f"[{number} ,{number}]".encode()]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a":1,"a":2}', "a"),
        (b'{"a":1,"a":1}', "a"),
        (b'{"a":1,"b":2,"a":3}', "a"),
        (b'{"b":0,"a":1,"a":1,"c":2}', "a"),
        (b'{"a":12,"a":1}', "a"),
        (b'{"a":1,"a":12}', "a"),
        (b'{"a":12,"a":1,"b":3}', "a"),
        (b'{"b":1,"a":12,"a":1,"c":3}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"\\u0061":1,"b":2,"a":1}', "a"),
        (b'{"b":2,"a":1,"c":4,"\\u0061":3}', "a"),
        (b'{"":1,"":2}', None),
        (b'{"model":"m","model":"m"}', "model"),
        (b'{"\\ud800":1,"\\udfff":2}', "\ufffd"),
        (b'{"\\ud800":1,"\xef\xbf\xbd":2}', "\ufffd"),
        ('{"\U0001f642":1,"\\ud83d\\ude42":2}'.encode(), "\U0001f642"),
        (b'{"a\\n":1,"a\\u000a":2}', "a?"),
        (b'{ "a" : [1] , "b" : {} , "a" : [1] }', "a"),
        (b'{"a":[1],"b":{},"c":"","a":[1],"b":{}}', "a"),
        (b'{"%b":1,"%b":1}' % (b"n" * 99, b"n" * 99), "n" * MAX_SHOWN_NAME),
    ],
)  # fmt: skip
def test_a_repeated_name_is_refused_and_shown(body: bytes, name: str | None) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        scan(body)
    assert (caught.value.code, caught.value.param) == ("repeated_member", name)
    assert f"`{name or ''}`" in caught.value.message


VALUES = st.sampled_from(["1", "12", "123", '"1"', "[1]", "-1"])


@given(st.permutations(["a", "b", "c", "d", "a"]), st.lists(VALUES, min_size=5, max_size=5))
def test_a_repeated_name_is_refused_wherever_it_stands(names: list[str], values: list[str]) -> None:
    body = "{" + ",".join(f'"{name}":{value}' for name, value in zip(names, values, strict=True)) + "}"
    assert refused(scan, body.encode()) == "repeated_member"


def test_a_name_that_is_repeated_below_the_top_is_the_engines_matter() -> None:
    assert scan(b'{"a":{"x":1,"x":2}}').values == [b'{"x":1,"x":2}']


def nested(opening: str, levels: int) -> bytes:
    """Return that many levels, objects for `{`, arrays for `[`."""
    kinds = [opening[level % len(opening)] for level in range(levels)]
    inner = "".join("[" if kind == "[" else '{"a":' for kind in kinds[:-1]) + ("[" if kinds[-1] == "[" else "{")
    return (inner + "".join("]" if kind == "[" else "}" for kind in reversed(kinds))).encode()


@pytest.mark.parametrize("opening", ["{", "[", "[{", "{[["])
def test_400_levels_are_taken_and_401_are_not(opening: str) -> None:
    assert scan(nested(opening, MAX_DEPTH)).values
    assert refused(scan, nested(opening, MAX_DEPTH + 1)) == "nested_too_deep"
    assert refused(scan, nested(opening, 100_000)) == "nested_too_deep"
    assert scan(b"[[],{}," + nested(opening, MAX_DEPTH - 1) + b"]").values
    assert refused(scan, b"[[],{}," + nested(opening, MAX_DEPTH) + b"]") == "nested_too_deep"


def test_brackets_side_by_side_are_not_nested() -> None:
    assert len(scan(b"[" + b",".join([b"[{}]"] * 1000) + b"]").values) == 1000


@pytest.mark.parametrize("text", ["[" * 1000, "{" * 1000, '\\"[' * 1000, "\\\\", "]" * 1000, '\\"' + "{[" * 500])
def test_brackets_in_texts_are_not_nested(text: str) -> None:
    body = f'{{"{text}": "{text}", "b": ["{text}"]}}'.encode()
    assert scan(body).values[1] == f'["{text}"]'.encode()


@pytest.mark.parametrize("end", [b"", b"\\", b'"'])
def test_a_text_that_never_ends_is_refused_at_once(end: bytes) -> None:
    body = b'{"a":"' + b"[" * (MAX_DEPTH + 1) + b'","b":"' + b'\\"' * 500_000 + end
    before = time.process_time()
    assert refused(scan, body) == "invalid_json"
    assert time.process_time() - before < 5  # hours, if each quotation mark began a text


@pytest.mark.parametrize(
    "text",
    [r"\ud800", r"\udc00", r"\udc00\ud800", r"\ud800\ud800\udc00", r"\uD83Dx", r"\\\ud800", r"\ud83d\ude42\udfff"],
)
def test_lone_surrogates_in_values_are_kept(text: str) -> None:
    body = f'{{"a": "{text}", "b": [{{"{text}": 1}}], "\\\\ud800": "\\ud83d\\ude42"}}'.encode()
    fields = scan(body)
    assert fields.names == ["a", "b", "\\ud800"]
    assert fields.values == [f'"{text}"'.encode(), f'[{{"{text}": 1}}]'.encode(), rb'"\ud83d\ude42"']
    assert fields.with_values(fields.values) == body


def test_a_lone_surrogate_in_a_name_is_kept_and_counts_as_the_replacement_character() -> None:
    fields = scan(rb'{"x\udc00y": 1}')
    assert fields.names == ["x\ufffdy"]
    assert fields.with_values([b"2"]) == rb'{"x\udc00y": 2}'


def test_a_character_is_whole_wherever_the_body_is_cut_for_its_check() -> None:
    for shift in range(4):
        body = b'{"a":"' + b"x" * (1024 * 1024 - 8 + shift) + "\U0001f642".encode() + b'"}'
        assert scan(body).names == ["a"]
    assert refused(scan, b'{"a":"' + b"x" * 1024 * 1024 + b'\xf0\x9f\x99"}') == "invalid_json"


@pytest.mark.parametrize(
    ("body", "values", "added", "result"),
    [
        (b'{"a":1}', [b"2"], [b'"b":3'], b'{"a":2,"b":3}'),
        (b' { "a" : 1 } ', [b"22"], [b'"b":3', b'"c":4'], b' { "a" : 22,"b":3,"c":4 } '),
        (b"{}", [], [b'"b":3'], b'{"b":3}'),
        (b" { } ", [], [b'"b":3'], b' {"b":3 } '),
        (b" { } ", [], [], b" { } "),
        (b" [ ] ", [], [], b" [ ] "),
        (b" [ 1 , 22,3] ", [b"x", b"", b"zzz"], [], b" [ x , ,zzz] "),
    ],
)
def test_other_values_stand_where_the_old_ones_stood(
    body: bytes, values: list[bytes], added: list[bytes], result: bytes
) -> None:
    assert scan(body).with_values(values, added) == result


def test_there_is_one_new_value_for_each_old_one() -> None:
    with pytest.raises(ValueError, match="zip"):
        scan(b'{"a":1}').with_values([])


def test_a_member_is_found_by_its_name() -> None:
    fields = scan(b'{"": 1, "\\u0061": null}')
    assert (fields.get(""), fields.get("a"), fields.get("b")) == (b"1", b"null", None)


@pytest.mark.parametrize(
    ("value", "model"), [('"m"', "m"), ('"org/M-1.5_x:free"', "org/M-1.5_x:free"), ('"\\u00e9"', "é")]
)
def test_the_model_is_a_text(value: str, model: str) -> None:
    assert read_model(scan(f'{{"model": {value}}}'.encode())) == model


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{}", "missing_model"),
        ('{"Model": "m"}', "missing_model"),
        ('["model"]', "missing_model"),
        ('{"model": null}', "invalid_model"),
        ('{"model": 7}', "invalid_model"),
        ('{"model": ["m"]}', "invalid_model"),
        ('{"model": ""}', "invalid_model"),
        ('{"model": "a\\nb"}', "invalid_model"),
        ('{"model": "\\u0000"}', "invalid_model"),
        ('{"model": "\\ud800"}', "invalid_model"),
        (f'{{"model": "{"m" * (MAX_MODEL_ID_CHARACTERS + 1)}"}}', "invalid_model"),
    ],
)
def test_a_model_that_no_list_could_hold_is_refused(body: str, code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_model(scan(body.encode()))
    assert (caught.value.param, caught.value.code) == ("model", code)


def test_the_longest_model_id_is_taken() -> None:
    longest = "m" * MAX_MODEL_ID_CHARACTERS
    assert read_model(scan(json.dumps({"model": longest}).encode())) == check_model(longest) == longest


def test_a_text_among_hundreds_of_brackets_is_no_bracket() -> None:
    body = b'{"a": [' + b'[], "[{", {}, ' * MAX_DEPTH + b"1]}"
    assert scan(body).names == ["a"]
