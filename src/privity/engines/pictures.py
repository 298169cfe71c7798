"""Pictures in requests: told by their first bytes, and measured, before any decoder sees them.

A decoder makes memory out of what a header claims, and llama.cpp hands what it takes for a film to other programs; so
a picture is one of four kinds, has a header that can be read, and no more pixels than are allowed.
"""

import binascii
import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

from privity.engines.png import png_size
from privity.errors import InvalidRequestError

Kind = Literal["png", "jpeg", "webp", "gif"]
"""The kinds that OpenAI's API takes; each is also the subtype of its media type."""

MAX_PICTURE_BYTES: Final = 20 * 1024 * 1024
"""Bytes of one picture: a photograph of the largest cameras."""

MAX_SEGMENTS: Final = 1000
"""Segments in front of a JPEG's size: a colour profile has up to 255, and other metadata a few."""

_DATA_URL: Final = re.compile(
    r"data:image(?:/[\w.+-]{1,32})?(?:;[\w.+-]{1,32}=[\w.+-]{1,64}){0,4};base64,", re.IGNORECASE | re.ASCII
)
"""How the data URL of a picture begins (RFC 2397). `data:image;base64,` is how some models' guides write it."""

_FIRST: Final = 64
"""Characters of base64 that tell the kind."""
_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_ENDS: Final = frozenset({0xD9, 0xDA})


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture's header says."""

    kind: Kind
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.width * self.height


def is_data_url(url: str) -> bool:
    """Return whether a URL holds its picture in itself, well or badly."""
    return url[:5].lower() == "data:"


def payload(url: str, where: str) -> str:
    """Return the base64 text of a picture's data URL; raises as `read_picture`."""
    beginning = _DATA_URL.match(url)
    if beginning is None:
        raise _refused(
            "An image's data URL must begin with its type and be in base64, such as `data:image/png;base64,`", where
        )
    return url[beginning.end() :]


def read_picture(encoded: str, where: str) -> Picture:
    """Return what a picture in base64 (RFC 4648 section 4) is.

    Not checked: anything behind the header, so whether it can be decoded.

    Args:
        encoded: the picture.
        where: its place in the request, for the error.

    Raises:
        InvalidRequestError: it isn't base64, is too large, or is none of the kinds.
    """
    if len(encoded) > MAX_PICTURE_BYTES * 4 // 3 + 4:
        raise _refused(f"An image may have {MAX_PICTURE_BYTES // 1024**2} MiB", where)
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise _refused("An image isn't valid base64", where) from error
    picture = measured(data)
    if picture is None:
        raise _refused("An image must be a whole PNG, JPEG, WebP or GIF", where)
    return picture


def kind_of(encoded: str) -> Kind | None:
    """Return the kind of a picture in base64, by its first bytes."""
    try:
        return _kind(binascii.a2b_base64(encoded[:_FIRST]))
    except ValueError:
        return None


def measured(data: bytes) -> Picture | None:
    """Return what a picture's header says; None where there is no header that can be read.

    Sources: PNG (third edition) section 11.2.1, JPEG (ITU-T T.81) annex B, the WebP container (RFC 9649), GIF89a
    section 18.
    """
    kind = _kind(data)
    try:
        match kind:
            case None:
                return None
            case "png":
                size = png_size(data)
            case "gif":
                size = struct.unpack_from("<HH", data, 6)
            case "jpeg":
                size = _jpeg_size(data)
            case "webp":
                size = _webp_size(data)
    except (struct.error, IndexError):  # it ends within its header
        return None
    return Picture(kind, *size) if size and all(size) else None


def _kind(data: bytes) -> Kind | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(MAX_SEGMENTS):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker in _JPEG_ENDS:
            return None
        if marker == 0xFF:  # one that fills
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L" if data[20] == 0x2F:
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            (wide,), (high,) = struct.unpack_from("<I", data, 24), struct.unpack_from("<I", data, 26)
            return (wide & 0xFFFFFF) + 1, (high >> 8) + 1
        case _:
            return None


def _refused(problem: str, where: str) -> InvalidRequestError:
    return InvalidRequestError(f"{problem}.", param=where, code="invalid_value")
