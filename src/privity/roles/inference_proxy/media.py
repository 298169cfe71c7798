"""Which media a request may carry: pictures that it holds, or that are on the web; no sound, no film, no local file."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from privity.engines.pictures import is_data_url, payload, read_picture
from privity.errors import InvalidRequestError

PICTURES = frozenset({"image_url", "input_image", "image"})
"""The types of content parts that are pictures: of OpenAI's two APIs, and Anthropic's."""

MAX_PICTURES: Final = 100
"""Pictures of one request, as Anthropic has it."""

MAX_PIXELS: Final = 50_000_000
"""Pixels of a request's own pictures together: one photograph of 48 megapixels, or 24 screens.

llama.cpp takes 3 bytes for each, and up to 18 while it decodes: 0.9 GB.
"""

_ADDRESS: Final = re.compile(
    r"(?i:https)://(?P<host>\[[0-9a-fA-F:.]+\]|[^/?#@:\\\s\[\]]+)(:[0-9]{1,5})?([/?#][^\\\s]*)?"
)
"""A URL that every parser understands in the same way: no user, no backslash, no white space."""

_HOST_NAME: Final = re.compile(r"(?!.*\.(localhost|local|internal)$)([\w-]{1,63}\.)+[^\W\d_][\w-]{0,62}")
"""A name with a dot whose last part is no number: `localhost` has none, and resolvers take `127.1` for an address."""

_MEDIA = PICTURES | {"input_audio", "audio_url", "audio", "video_url", "video", "file"}
_REFUSED_MEMBERS = ("input_audio", "audio_url", "video_url")
_SOURCES_WITHIN = ("base64", "text", "content")
_Part = dict[str, Any]


def check_media(body: dict[str, Any]) -> None:
    """Check the content parts of a request: a chat of OpenAI's form or Anthropic's, or one of the Responses API.

    What counts is which members a part has, not which type it claims: engines differ in what they look at.

    Not checked: what a name on the web resolves to, where the engine is led to from there, and whether a picture can be
    decoded.

    Raises:
        InvalidRequestError: a part has a picture that is neither in the request nor behind `https:`, or that is none;
            there are too many pictures, or too large ones; or a part has sound or film by its address.
    """
    pictures = pixels = 0
    for where, part in _parts(body):
        _check_members(part, where)
        for encoded in _pictures_of(part, where):
            pictures += 1
            pixels += read_picture(encoded, where).pixels if encoded is not None else 0
            if pictures > MAX_PICTURES:
                raise _refused(f"A request may have {MAX_PICTURES} images", where)
            if pixels > MAX_PIXELS:
                raise _refused(f"The images of a request may have {MAX_PIXELS // 10**6} megapixels together", where)


def media_kinds(body: dict[str, Any]) -> set[str]:
    """Return the kinds of media among the content parts of a request, as `check_media` takes it."""
    kinds = {kind for _, part in _parts(body) if isinstance(kind := part.get("type"), str)}
    return kinds & _MEDIA


def _parts(body: dict[str, Any]) -> Iterator[tuple[str, _Part]]:
    """Yield each content part with the place where it stands."""
    for part in _within(body.get("system")):
        yield "system", part
    for index, message in enumerate(body.get("messages", ())):
        for part in _within(message.get("content")):
            yield f"messages[{index}].content", part
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        for name in ("content", "output"):
            for part in _within(item.get(name)):
                yield f"input[{index}].{name}", part


def _within(content: Any) -> Iterator[_Part]:
    """Yield the parts of a content, and those that they hold: results of tools, and documents, hold parts again."""
    if not isinstance(content, list):
        return
    for part in content:
        if isinstance(part, dict):
            yield part
            yield from _within(part.get("content"))
            source = part.get("source")
            if isinstance(source, dict):
                yield from _within(source.get("content"))


def _check_members(part: _Part, where: str) -> None:
    for name in _REFUSED_MEMBERS:
        if part.get(name) is not None:
            raise _refused(f"`{name}` isn't supported: content is text, and images where the model sees them", where)


def _pictures_of(part: _Part, where: str) -> Iterator[str | None]:
    """Yield the pictures that a part has: in base64, or None for one that is on the web."""
    if part.get("image_url") is not None or part.get("type") in ("image_url", "input_image"):
        bare = part.get("type") == "input_image"  # the Responses API has no object around it
        holder = {"url": part.get("image_url")} if bare else part.get("image_url")
        url = _url(holder, ("https:", "data:"), where)
        yield payload(url, where) if is_data_url(url) else None
    source = part.get("source")
    if not isinstance(source, dict):
        return
    if source.get("type") not in _SOURCES_WITHIN:
        _url(source if source.get("type") == "url" else None, ("https:",), where)
        yield None
    elif source["type"] == "base64" and part.get("type") != "document":
        yield _data(source, where)


def _url(holder: Any, schemes: tuple[str, ...], where: str) -> str:
    url = holder.get("url") if isinstance(holder, dict) else None
    if not isinstance(url, str) or not url.lower().startswith(schemes):
        raise _refused(
            f"An image must have a URL that begins with {' or '.join(f'`{each}`' for each in schemes)}", where
        )
    if not is_data_url(url) and not _is_on_the_web(url):
        raise _refused("The address of an image must be one of the public web: send the image itself otherwise", where)
    return url


def _is_on_the_web(url: str) -> bool:
    """Return whether a URL's host may be one that everybody can reach: no address of this machine or its networks."""
    address = _ADDRESS.fullmatch(url)
    if address is None:
        return False
    try:
        numbered = ip_address(address["host"].strip("[]"))
        return (getattr(numbered, "ipv4_mapped", None) or numbered).is_global
    except ValueError:
        return _HOST_NAME.fullmatch(address["host"].lower().rstrip(".")) is not None


def _data(source: _Part, where: str) -> str:
    data = source.get("data")
    if not isinstance(data, str):
        raise _refused("An image of type `base64` must have the member `data`", where)
    return data


def _refused(problem: str, where: str) -> InvalidRequestError:
    return InvalidRequestError(f"{problem}.", param=where, code="invalid_value")
