"""PNG pictures that unpack to no more than their header says (PNG, third edition).

A thousand times their bytes can come out of packed ones, and llama.cpp's decoder makes memory for all that come, up to
4 GB, whatever size the header claims.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

_SIGNATURE_BYTES: Final = 8
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by colour type (section 11.2.1)."""

_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
"""The chunks that every decoder has to know. Apple's `CgBI`, which changes how the others are read, is none of them."""

_PIECE: Final = 16 * 1024
"""Packed bytes that are unpacked at once: at most 17 MB come out."""


def png_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and the height of a PNG in pixels; None where it is none that is as large as it says.

    Not checked: that it is whole, and what its pixels are.

    Raises:
        struct.error: it ends within its header.
    """
    if data[12:16] != b"IHDR":
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if colour not in _CHANNELS or depth > 16:
        return None
    line = width * _CHANNELS[colour] * depth // 8 + 1
    room = height * (line + 8)  # an interlaced one has up to four for each, with a byte before and one that isn't full
    try:
        for piece in _unpacked(data):
            room -= piece
            if room < 0:
                return None
    except (ValueError, zlib.error):
        return None
    return width, height


def _unpacked(data: bytes) -> Iterator[int]:
    """Yield how many bytes come out of piece by piece of the packed ones."""
    unpacking = zlib.decompressobj()
    at = _SIGNATURE_BYTES
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return
        if kind not in _CRITICAL and kind[:1].isupper():
            raise ValueError("an unknown chunk that has to be known")
        end = min(at + 8 + length, len(data))
        if kind == b"IDAT":
            for start in range(at + 8, end, _PIECE):
                yield len(unpacking.decompress(data[start : min(start + _PIECE, end)]))
        at = end + 4
