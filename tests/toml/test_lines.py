import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.toml.lines import MAX_DEPTH, Path, lines_of


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Yield the path of everything in a parsed document, as deep as lines are known."""
    if above:
        yield above
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if len(above) < MAX_DEPTH:
        for step, member in steps:
            yield from paths(member, (*above, step))


def numbered(text: str) -> dict[Path, int]:
    """Return the lines of all, having checked that these are all."""
    lines = lines_of(text)
    assert set(lines) == set(paths(tomllib.loads(text)))
    return dict(lines)


TEXT = '''\
# a = 0
a = 1 # b = 2
"b.c".d = "x] # no"  # hi
e = [
  1, # one
  [2,
   3], {f = 1, g.h = """
[not.a.table]
x""""}, 2020-01-01 00:00:00.5
  , [], {},
]
[t] # [u]
x = -1.5e3
'y z' . "w" = \'\'\'
it's \'\'\'\'
[[u]]
[[u.v]]
y = "\\""
[[u.v]]
y = """\\""""""
[u.w.z]
k = \'\'
[[u]]
v.q = true
'''

LINES: dict[Path, int] = {
    ("a",): 2,
    ("b.c",): 3,
    ("b.c", "d"): 3,
    ("e",): 4,
    ("e", 0): 5,
    ("e", 1): 6,
    ("e", 1, 0): 6,
    ("e", 1, 1): 7,
    ("e", 2): 7,
    ("e", 2, "f"): 7,
    ("e", 2, "g"): 7,
    ("e", 2, "g", "h"): 7,
    ("e", 3): 9,
    ("e", 4): 10,
    ("e", 5): 10,
    ("t",): 12,
    ("t", "x"): 13,
    ("t", "y z"): 14,
    ("t", "y z", "w"): 14,
    ("u",): 16,
    ("u", 0): 16,
    ("u", 0, "v"): 17,
    ("u", 0, "v", 0): 17,
    ("u", 0, "v", 0, "y"): 18,
    ("u", 0, "v", 1): 19,
    ("u", 0, "v", 1, "y"): 20,
    ("u", 0, "w"): 21,
    ("u", 0, "w", "z"): 21,
    ("u", 0, "w", "z", "k"): 22,
    ("u", 1): 23,
    ("u", 1, "v"): 24,
    ("u", 1, "v", "q"): 24,
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_each_value_has_the_line_on_which_it_begins(line_end: str) -> None:
    assert numbered(TEXT.replace("\n", line_end)) == LINES


def test_an_empty_text_has_no_lines() -> None:
    assert numbered("") == numbered("# nothing\n\n") == {}


def test_what_is_deeper_than_a_file_of_ours_has_no_lines_and_disturbs_none() -> None:
    deep = ".".join("abcdefghijk")
    text = f"x = {'[' * 100}1{']' * 100}\n[[{deep}]]\n[[{deep}]]\nz = 1\n[a.b.y]\n"
    lines = numbered(text)
    assert (lines["x",], lines["a", "b", "y"]) == (1, 5)
    assert max(len(path) for path in lines) == MAX_DEPTH


SCALARS = st.sampled_from(
    [
        "1",
        "1.5",
        "true",
        "2020-01-01",
        "2020-01-01 10:00:00Z",
        '"a = [1] # {"',
        "'\\'",
        '"""\n"" ] """""',
        "'''\n\n[x]'''''",
        '"\\\\"',
        '""',
        "''",
        "0x1F",
        "-inf",
    ]
)
KEYS = st.sampled_from(["a", "b", "c-1", '"d e"', "'f.g'", "1", '"\\u0041"'])
DOTTED = st.lists(KEYS, min_size=1, max_size=3).map(" . ".join)
BLANKS = st.sampled_from(["", " ", "\n", " # x = [\n", "\n\n"])
ARRAYS = st.deferred(
    lambda: st.lists(st.tuples(BLANKS, VALUES, BLANKS).map("".join), max_size=3).map(lambda each: f"[{','.join(each)}]")
)
INLINE = st.deferred(
    lambda: st.lists(st.tuples(DOTTED, VALUES).map(" = ".join), max_size=3).map(lambda each: f"{{ {', '.join(each)} }}")
)
VALUES: st.SearchStrategy[str] = st.one_of(SCALARS, ARRAYS, INLINE)
STATEMENTS = st.one_of(
    st.tuples(DOTTED, VALUES).map(" = ".join),
    DOTTED.map(lambda key: f"[{key}]"),
    DOTTED.map(lambda key: f"[[ {key} ]]"),
    st.sampled_from(["", "# [x]"]),
)


@given(st.lists(STATEMENTS, max_size=8))
def test_everything_that_tomllib_finds_has_a_line(statements: list[str]) -> None:
    """Statements are put together so that the text stays valid; each value's line is that of its statement or later."""
    text = ""
    for statement in statements:
        line = text.count("\n") + 1
        longer = f"{text}{statement}\n"
        try:
            tomllib.loads(longer)
        except tomllib.TOMLDecodeError:
            continue
        before = numbered(text)
        after = numbered(longer)
        assert {path: after[path] for path in before} == before
        assert all(line <= after[path] < line + statement.count("\n") + 1 for path in after.keys() - before.keys())
        text = longer
