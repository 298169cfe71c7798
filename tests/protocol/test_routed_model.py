"""models-api.md item 3: names that a gateway gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.protocol.routed_model import HEADER, MAX_BYTES, RoutedModel, decode_id, encode_id, routed_model

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)


@given(IDS, IDS)
def test_what_is_said_is_read_again(model_id: str, answer_id: str) -> None:
    said = RoutedModel(model_id, answer_id)
    value = said.encode()
    assert RoutedModel.decode(value) == said
    assert routed_model([(b"x", b"y"), (HEADER, value), (HEADER, b"forged;forged")]) == said
    assert set(value) <= set(range(0x21, 0x7F)), "it fits into a header"


def test_the_longest_ids_fit() -> None:
    longest = "\U0001f600" * 256
    assert len(RoutedModel(longest, longest).encode()) <= MAX_BYTES


def test_ids_are_readable_on_the_wire() -> None:
    assert RoutedModel("org/Big-7B", "a;b c").encode() == b"org/Big-7B;a%3Bb%20c"


@pytest.mark.parametrize("value", [b"", b";", b"a", b"a;", b";a", b"a;b;c", b"a;" + b"b" * MAX_BYTES], ids=range(7))
def test_what_is_not_such_a_value_says_nothing(value: bytes) -> None:
    assert RoutedModel.decode(value) is None
    assert routed_model([(HEADER, value)]) is None


def test_without_the_header_nothing_is_said() -> None:
    assert routed_model([(b"privatemode-target-model", b"a;b")]) is None


@given(st.binary(max_size=50))
def test_any_bytes_are_a_routed_model_or_none(value: bytes) -> None:
    found = RoutedModel.decode(value)
    assert found is None or (found.id and found.answer_id)


@given(IDS)
def test_an_id_survives_its_way_through_a_header(model_id: str) -> None:
    written = encode_id(model_id)
    assert decode_id(written) == model_id
    assert all(0x21 <= byte <= 0x7E and byte not in b";," for byte in written)
