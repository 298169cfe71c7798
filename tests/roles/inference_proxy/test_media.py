from typing import Any

import pytest

from privity.errors import InvalidRequestError
from privity.roles.inference_proxy.media import check_media, media_kinds

HTTPS, DATA = "https://example.org/a.png", "data:image/png;base64,AAAA"


def asked(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": list(parts)}]}


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def source(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "image", "source": {"type": kind, **members}}


def in_result(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t", "content": [part]}


def in_document(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "content", "content": [part]}}


BASE64 = source("base64", media_type="image/png", data="AAAA")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "file:///etc/passwd"},
        {"type": "text", "text": "x", "image_url": None, "video_url": None},
        image(HTTPS),
        image("HTTPS://EXAMPLE.ORG/A.PNG"),
        image(DATA),
        BASE64,
        source("url", url=HTTPS),
        in_result(BASE64),
        in_document({"type": "text", "text": "x"}),
        {"type": "tool_use", "id": "t", "name": "f", "input": {"source": {"type": "x"}, "image_url": "x"}},
    ],
)
def test_pictures_in_the_request_or_behind_https_pass(part: dict[str, Any]) -> None:
    check_media(asked(part))


BAD_URLS = ["http://example.org/a.png", "file:///etc/passwd", "ftp://x/y", "/etc/passwd", "", " https://x", "//x", None]


@pytest.mark.parametrize(
    "part",
    [
        *map(image, [*BAD_URLS, 7, [HTTPS]]),
        {"type": "image_url"},
        {"type": "image_url", "image_url": HTTPS},
        {"type": "text", "text": "x", "image_url": {"url": "file:///etc/passwd"}},
        *(source("url", url=url) for url in [*BAD_URLS, DATA]),
        source("file", file_id="f"),
        source("path", path="/etc/passwd"),
        {"type": "image", "source": {"url": HTTPS}},
        in_result(source("url", url="http://x")),
        in_document(in_result(source("url", url="http://x"))),
        {"type": "video_url", "video_url": {"url": HTTPS}},
        {"type": "audio_url", "audio_url": {"url": HTTPS}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "text", "text": "x", "video_url": {"url": HTTPS}},
    ],
)
def test_all_else_is_the_clients_error_and_is_told_where(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_media(asked(part))
    assert (caught.value.param, caught.value.code) == ("messages[1].content", "invalid_value")
    with pytest.raises(InvalidRequestError) as caught:
        check_media({"system": [part], "messages": []})
    assert caught.value.param == "system"


@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        ([], set()),
        ([{"type": "text", "text": "x"}, {"type": "refusal", "refusal": "y"}], set()),
        ([{"type": "image_url"}, {"type": "input_audio"}, {"type": "image_url"}], {"image_url", "input_audio"}),
        ([in_result(BASE64)], {"image"}),
        ([in_result({"type": ["list"]}), {"type": "tool_use"}], set()),
    ],
)
def test_media_are_what_is_not_text(parts: list[Any], kinds: set[str]) -> None:
    assert media_kinds(asked(*parts)) == kinds
