"""Which media a request may carry: pictures that it holds, or that are on the web; no sound, no film, no local file."""

from collections.abc import Iterator
from typing import Any

from privity.errors import InvalidRequestError

PICTURES = frozenset({"image_url", "image"})
"""The types of content parts that are pictures: OpenAI's, and Anthropic's."""

_MEDIA = PICTURES | {"input_audio", "audio_url", "audio", "video_url", "video", "file"}
_REFUSED_MEMBERS = ("input_audio", "audio_url", "video_url")
_SOURCES_WITHIN = ("base64", "text", "content")
_Part = dict[str, Any]


def check_media(body: dict[str, Any]) -> None:
    """Check the content parts of a chat request, of OpenAI's form or Anthropic's.

    What counts is which members a part has, not which type it claims: engines differ in what they look at.

    Not checked: where on the web a picture is, and what it is.

    Raises:
        InvalidRequestError: a part has a picture that is neither in the request nor behind `https:`, or has sound or
            film by its address.
    """
    for where, part in _parts(body):
        for name in _REFUSED_MEMBERS:
            if part.get(name) is not None:
                raise _refused(
                    f"`{name}` isn't supported: content is text, and images where the model sees them", where
                )
        if part.get("image_url") is not None or part.get("type") == "image_url":
            _check_url(part.get("image_url"), ("https:", "data:"), where)
        source = part.get("source")
        if isinstance(source, dict) and source.get("type") not in _SOURCES_WITHIN:
            _check_url(source if source.get("type") == "url" else None, ("https:",), where)


def media_kinds(body: dict[str, Any]) -> set[str]:
    """Return the kinds of media among the content parts of a chat request."""
    kinds = {kind for _, part in _parts(body) if isinstance(kind := part.get("type"), str)}
    return kinds & _MEDIA


def _parts(body: dict[str, Any]) -> Iterator[tuple[str, _Part]]:
    """Yield each content part with the place where it stands."""
    for part in _within(body.get("system")):
        yield "system", part
    for index, message in enumerate(body["messages"]):
        for part in _within(message.get("content")):
            yield f"messages[{index}].content", part


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


def _check_url(holder: Any, schemes: tuple[str, ...], where: str) -> None:
    url = holder.get("url") if isinstance(holder, dict) else None
    if not isinstance(url, str) or not url.lower().startswith(schemes):
        raise _refused(
            f"An image must have a URL that begins with {' or '.join(f'`{each}`' for each in schemes)}", where
        )


def _refused(problem: str, where: str) -> InvalidRequestError:
    return InvalidRequestError(f"{problem}.", param=where, code="invalid_value")
