"""Pictures for engines that must not fetch any: each as an exact data URL, of a kind that the engine can decode."""

from collections.abc import Collection
from typing import Any

from privity.engines.engine import Json
from privity.engines.pictures import Kind, is_data_url, kind_of, payload
from privity.errors import InvalidRequestError

_NAMES: dict[Kind, str] = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "gif": "GIF"}


def with_inline_pictures(messages: list[Json], takes: Collection[Kind]) -> list[Json]:
    """Return the messages of a chat with each picture's URL written as `data:image/KIND;base64,…`.

    Args:
        messages: with pictures that are well-formed data URLs, or on the web.
        takes: the kinds that the engine can decode.

    Raises:
        InvalidRequestError: a picture is on the web, or of another kind.
    """
    return [
        message | {"content": [_inlined(part, f"messages[{index}].content", takes) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for index, message in enumerate(messages)
    ]


def _inlined(part: Any, where: str, takes: Collection[Kind]) -> Any:
    if part["type"] != "image_url":
        return part
    image = part["image_url"]
    if not is_data_url(image["url"]):
        raise InvalidRequestError(
            "This model's engine fetches no images: send the image itself, as a `data:` URL in base64.",
            param=where,
            code="unsupported_image_url",
        )
    encoded = payload(image["url"], where)
    kind = kind_of(encoded)
    if kind not in takes:
        listed = ", ".join(_NAMES[each] for each in _NAMES if each in takes)
        raise InvalidRequestError(
            f"This model's engine takes images of these kinds: {listed}.", param=where, code="unsupported_image"
        )
    return part | {"image_url": image | {"url": f"data:image/{kind};base64,{encoded}"}}
