import struct
import zlib
from itertools import product

import pytest

from privity.engines.pictures import measured
from privity.engines.png import png_size

SAMPLES = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [(colour, depth) for colour, depths in SAMPLES.items() for depth in depths]
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7 (section 8.1): where each pass begins, in pixels from the left and from above, and its steps."""


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, unpacked: int, colour: int = 0, depth: int = 8, between: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = zlib.compress(bytes(unpacked))
    pieces = [chunk(b"IDAT", packed[at : at + 9]) for at in range(0, len(packed), 9)]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + between + b"".join(pieces) + chunk(b"IEND")


def lines(width: int, height: int, bits: int) -> int:
    return height * (1 + (width * bits + 7) // 8) if width and height else 0


def interlaced(width: int, height: int, bits: int) -> int:
    return sum(
        lines(max(0, -((left - width) // right)), max(0, -((above - height) // down)), bits)
        for left, above, right, down in PASSES
    )


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_one_is_measured_whatever_its_pixels_are_like(colour: int, depth: int) -> None:
    bits = CHANNELS[colour] * depth
    for width, height in product((1, 2, 3, 5, 8, 9, 17), repeat=2):
        for unpacked in (lines(width, height, bits), interlaced(width, height, bits)):
            assert png_size(png(width, height, unpacked, colour, depth)) == (width, height)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (100, 10)])
def test_one_that_unpacks_to_more_than_its_size_is_none(width: int, height: int) -> None:
    assert measured(png(width, height, height * (width + 10))) is None
    assert measured(png(width, height, 50_000_000)) is None


def test_one_that_decoders_read_in_different_ways_is_none() -> None:
    assert png_size(png(1, 1, 2, between=chunk(b"tEXt", b"a\0b"))) == (1, 1)
    assert png_size(png(1, 1, 2, between=chunk(b"CgBI", bytes(4)))) is None
    assert png_size(png(1, 1, 2).replace(b"IDAT\x78", b"IDAT\x00", 1)) is None
    assert png_size(png(1, 1, 2, colour=1)) is None
