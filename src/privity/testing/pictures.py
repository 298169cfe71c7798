"""Small pictures, one of each kind, all 48 x 32 but the square PNG, and how requests hold them."""

import base64
from typing import Any

from privity.engines.pictures import Kind
from privity.engines.probes import white_square

PNG = white_square()
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkYCZlo+AjIqgtObDoKrarYqMyP/L2u71////m8H////6/+"
    "b9//j/wAALCAAgADABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAT/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oACAEBAAA/ALgAAAAAAAf/2Q=="
)
GIF = base64.b64decode(
    "R0lGODdhMAAgAIAAAAAAAAAAACwAAAAAMAAgAEAIQQABCBxIsKDBgwgTKlzIsKHDhxAjSpxIsaLFixgzatzIsaPHjyBDihxJsqTJkyhTqlzJsqXLlz"
    "BjypxJs6bNmQEBADs="
)
WEBP = base64.b64decode("UklGRjQAAABXRUJQVlA4ICgAAADwAgCdASowACAAP83m7XA/uDIrJWgD8DmJaQAAKUNt8AD+6d0AAAAA")
WEBP_LOSSLESS = base64.b64decode("UklGRhoAAABXRUJQVlA4TA4AAAAvL8AHAAcQEf0PRET/Aw==")
WEBP_EXTENDED = base64.b64decode(
    "UklGRlgAAABXRUJQVlA4WAoAAAAIAAAALwAAHwAAVlA4ICgAAADwAgCdASowACAAP83m7XA/uDIrJWgD8DmJaQAAKUNt8AD+6d0AAAAARVhJRgoAAA"
    "BNTQAqAAAACAAA"
)
PICTURES: dict[Kind, bytes] = {"png": PNG, "jpeg": JPEG, "gif": GIF, "webp": WEBP}


def data_url(picture: bytes = PNG, kind: str = "png") -> str:
    """Return a picture as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def image_part(url: str | None = None) -> dict[str, Any]:
    """Return the content part of a chat for a picture: the one behind a URL, or one of its own."""
    return {"type": "image_url", "image_url": {"url": data_url() if url is None else url}}
