import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.engines.pictures import (
    MAX_PICTURE_BYTES,
    MAX_SEGMENTS,
    Kind,
    Picture,
    kind_of,
    measured,
    read_picture,
)
from privity.engines.probes import white_square
from privity.errors import InvalidRequestError
from privity.testing.pictures import GIF, JPEG, PICTURES, PNG, WEBP, WEBP_EXTENDED, WEBP_LOSSLESS

EVERY = [*PICTURES.values(), WEBP_LOSSLESS, WEBP_EXTENDED]
START, SIZE = b"\xff\xd8", b"\xff\xc0\x00\x11\x08\x00\x20\x00\x30"
SEGMENT = b"\xff\xe1\x00\x02"


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


@pytest.mark.parametrize(
    ("picture", "kind", "size"),
    [
        (PNG, "png", (64, 64)),
        (JPEG, "jpeg", (48, 32)),
        (GIF, "gif", (48, 32)),
        (WEBP, "webp", (48, 32)),
        (WEBP_LOSSLESS, "webp", (48, 32)),
        (WEBP_EXTENDED, "webp", (48, 32)),
        (START + SEGMENT * (MAX_SEGMENTS - 1) + SIZE, "jpeg", (48, 32)),
        (START + b"\xff\x01\xff\xd0\xff" + SEGMENT + SIZE, "jpeg", (48, 32)),
    ],
)
def test_a_picture_is_known_by_its_header(picture: bytes, kind: Kind, size: tuple[int, int]) -> None:
    assert read_picture(encoded(picture), "x") == measured(picture) == Picture(kind, *size)
    assert kind_of(encoded(picture)) == kind


@pytest.mark.parametrize("picture", EVERY)
def test_one_that_ends_within_its_header_is_none(picture: bytes) -> None:
    found = [measured(picture[:end]) for end in range(len(picture))]
    first = next(at for at, each in enumerate(found) if each is not None)
    assert first >= 10
    assert set(found[:first]) == {None}
    assert set(found[first:]) == {measured(picture)}


NONE = {
    "nothing": b"",
    "text": b"hello",
    "a bitmap": b"BM" + bytes(60),
    "a film": b"\0\0\0\x20ftypisom" + bytes(60),
    "a sound": b"RIFF\0\0\0\0WAVE" + bytes(60),
    "a drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a PNG without size": PNG[:12] + b"IDAT" + PNG[16:],
    "a PNG of no width": PNG[:16] + bytes(4) + PNG[20:],
    "a JPEG that begins with its pixels": START + b"\xff\xda\x00\x02" + SIZE,
    "a JPEG that ends at once": START + b"\xff\xd9" + SIZE,
    "a JPEG with something between": START + SEGMENT + b"\0" + SIZE,
    "a JPEG with endless segments": START + SEGMENT * MAX_SEGMENTS + SIZE,
    "a JPEG that only fills": START + b"\xff" * 5000,
    "a WebP of another kind": WEBP[:12] + b"VP9 " + WEBP[16:],
    "a WebP without start code": WEBP[:23] + bytes(3) + WEBP[26:],
}


@pytest.mark.parametrize("picture", NONE.values(), ids=NONE)
def test_what_is_no_picture_is_refused_and_told_where(picture: bytes) -> None:
    assert measured(picture) is None
    with pytest.raises(InvalidRequestError) as caught:
        read_picture(encoded(picture), "messages[3].content")
    assert (caught.value.param, caught.value.code) == ("messages[3].content", "invalid_value")


@pytest.mark.parametrize("text", ["A", "AAA", "AA=A", "A A=", "AAAA\n", "ÄÄÄÄ", "\ud800AAA", "_-__"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="base64"):
        read_picture(text, "x")


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    largest = encoded(PNG + bytes(MAX_PICTURE_BYTES - len(PNG)))
    assert read_picture(largest, "x").kind == "png"
    with pytest.raises(InvalidRequestError, match="20 MiB"):
        read_picture("!" * (len(largest) + 4), "x")


@given(st.sampled_from([b"", *(each[:12] for each in EVERY), *(each[:24] for each in EVERY)]), st.binary(max_size=300))
def test_no_bytes_raise(beginning: bytes, rest: bytes) -> None:
    found = measured(beginning + rest)
    assert found is None or found.pixels > 0


def test_a_square_has_its_side() -> None:
    assert measured(white_square(5)) == Picture("png", 5, 5)
