import base64
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import EngineFailedError, InvalidRequestError
from privity.roles.inference_proxy.embeddings import engine_request, shaped

NUMBERS = st.floats(-1, 1, width=32)
VECTORS = st.lists(NUMBERS, min_size=1, max_size=8)


def answer(*vectors: list[float]) -> dict[str, Any]:
    rows = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return {"object": "list", "model": "m", "data": rows, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def decoded(text: str) -> list[float]:
    """Read little-endian 32-bit floats, as the openai client does."""
    raw = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def test_the_engine_is_asked_for_full_vectors_as_numbers_in_one_piece() -> None:
    body = {"model": "m", "input": "a", "dimensions": 3, "encoding_format": "base64", "stream": True, "user": "me"}
    asked = {"model": "m", "input": "a", "encoding_format": "float", "user": "me"}
    assert engine_request(body) == asked


@pytest.mark.parametrize("wanted", [{}, {"encoding_format": None}, {"encoding_format": "float"}, {"dimensions": None}])
@pytest.mark.parametrize("vectors", [[[0.6, 0.8]], [[0.5, 0.25], [1, 0]], []])
def test_floats_come_as_the_engine_has_them(wanted: dict[str, Any], vectors: list[list[float]]) -> None:
    assert shaped(answer(*vectors), wanted) == answer(*vectors)


@given(st.lists(VECTORS, max_size=3))
def test_base64_is_the_same_vectors_as_little_endian_floats(vectors: list[list[float]]) -> None:
    rows = shaped(answer(*vectors), {"encoding_format": "base64"})["data"]
    assert [decoded(row["embedding"]) for row in rows] == vectors
    assert [row["index"] for row in rows] == list(range(len(vectors)))


@given(vector=VECTORS, data=st.data(), packed=st.booleans())
def test_fewer_dimensions_are_the_first_ones_at_length_one(
    vector: list[float], data: st.DataObject, *, packed: bool
) -> None:
    dimensions = data.draw(st.integers(1, len(vector)))
    wanted = {"dimensions": dimensions, "encoding_format": "base64" if packed else "float"}
    got = shaped(answer(vector), wanted)["data"][0]["embedding"]
    short = decoded(got) if packed else got
    assert len(short) == dimensions
    length = math.sqrt(sum(each * each for each in vector[:dimensions]))
    if length:
        assert math.isclose(math.hypot(*short), 1, rel_tol=1e-5)
        assert all(math.isclose(a * length, b, abs_tol=1e-6) for a, b in zip(short, vector, strict=False))
    else:
        assert short == [0] * dimensions


def test_more_dimensions_than_there_are_is_the_clients_error() -> None:
    with pytest.raises(InvalidRequestError, match="have 2") as caught:
        shaped(answer([0.6, 0.8]), {"dimensions": 3})
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "dimensions", "invalid_value")


@pytest.mark.parametrize(
    "data",
    [None, "x", {}, [None], [{}], [{"embedding": None}], [{"embedding": "AAAA"}], [{"embedding": ["x"]}], [[0.5]]],
)
@pytest.mark.parametrize("wanted", [{}, {"encoding_format": "base64"}, {"dimensions": 1}])
def test_an_answer_without_vectors_is_the_engines_failure(data: Any, wanted: dict[str, Any]) -> None:
    with pytest.raises(EngineFailedError):
        shaped({"data": data}, wanted)
    with pytest.raises(EngineFailedError):
        shaped({}, wanted)
