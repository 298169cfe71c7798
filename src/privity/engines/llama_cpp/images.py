"""Images for llama.cpp's server.

It would fetch any URL from anywhere, this machine's own services and what they redirect to included; so it gets none.
What its decoder doesn't know it hands to ffprobe as a film; so it gets only what the decoder knows, which is no WebP.
"""

from collections.abc import Awaitable
from typing import Final, TypeVar

from privity.engines.engine import Json
from privity.engines.inline_pictures import with_inline_pictures
from privity.errors import ContextLengthError, InvalidRequestError

_TAKES: Final = ("png", "jpeg", "gif")
T = TypeVar("T")


def checked(messages: list[Json]) -> list[Json]:
    """Return a chat's messages with images that the server may have; raises as `with_inline_pictures`."""
    return with_inline_pictures(messages, _TAKES)


def has_images(body: Json) -> bool:
    """Return whether a chat has anything but text."""
    contents = [message["content"] for message in body["messages"] if isinstance(message.get("content"), list)]
    return any(part["type"] != "text" for content in contents for part in content)


async def with_likely_cause(answer: Awaitable[T]) -> T:
    """Return what the server answers to a chat with images; where it refuses that, say that an image may be why.

    Raises:
        ApiError: as the answer does.
    """
    try:
        return await answer
    except ContextLengthError:
        raise
    except InvalidRequestError as error:
        raise InvalidRequestError(
            "The engine refuses this request as invalid. Check whether its images are whole.", param="messages"
        ) from (error.__cause__ or error)
