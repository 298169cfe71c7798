from typing import Any

import pytest

from privity.engines.metadata import MAX_NUMBER, MAX_TEXT, number, text


@pytest.mark.parametrize(
    ("given", "believed"),
    [(1, 1), (MAX_NUMBER, MAX_NUMBER), (MAX_NUMBER + 1, None), (0, None), (-1, None), (True, None), (1.0, None)],
)
def test_numbers_are_positive_whole_and_safe(given: Any, believed: int | None) -> None:
    assert number(given) == believed


@pytest.mark.parametrize(
    ("given", "believed"),
    [
        ("MIT", "MIT"),
        ("  \n\n Apache License \n Version 2", "Apache License"),
        ("x" * 10**6, "x" * MAX_TEXT),
        ("a\x1b[31mb\x00", "a[31mb"),
        ("\x00", None),
        (" ", None),
        ("", None),
        (None, None),
        (["MIT"], None),
    ],
)
def test_texts_are_one_short_printable_line(given: Any, believed: str | None) -> None:
    assert text(given) == believed
