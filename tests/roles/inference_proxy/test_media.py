import base64
import struct
from typing import Any

import pytest

from privity.engines.probes import white_square
from privity.errors import InvalidRequestError
from privity.roles.inference_proxy.media import MAX_PICTURES, MAX_PIXELS, check_media, media_kinds
from privity.testing.pictures import JPEG, PNG, WEBP, data_url

HTTPS, DATA = "https://example.org/a.png", data_url()


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


def input_image(url: Any) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url}


ENCODED = base64.b64encode(PNG).decode()
BASE64 = source("base64", media_type="image/png", data=ENCODED)
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "file:///etc/passwd"},
        {"type": "text", "text": "x", "image_url": None, "video_url": None},
        image(HTTPS),
        image("HTTPS://EXAMPLE.ORG/A.PNG"),
        image("https://bücher.example.org:8443?a=b"),
        image("https://8.8.8.8/a.png"),
        image("https://[2606:4700::1111]/a.png#x"),
        image(DATA),
        image(data_url(JPEG, "jpeg")),
        image(data_url(WEBP, "png")),
        image(DATA.replace("data:image/png", "Data:Image")),
        image(DATA.replace(";base64", ";charset=utf-8;base64")),
        input_image(DATA),
        input_image(HTTPS),
        BASE64,
        PDF,
        source("url", url=HTTPS),
        in_result(BASE64),
        in_document({"type": "text", "text": "x"}),
        {"type": "tool_use", "id": "t", "name": "f", "input": {"source": {"type": "x"}, "image_url": "x"}},
    ],
)
def test_pictures_in_the_request_or_behind_https_pass(part: dict[str, Any]) -> None:
    check_media(asked(part))


BAD_URLS = [
    *("http://example.org/a.png", "file:///etc/passwd", "ftp://x/y", "/etc/passwd", "", " https://x.org", "//x", None),
    *(
        "https:x",
        "https://",
        "https:///a.png",
        "https://localhost/a.png",
        "https://a.localhost./",
        "https://host/a.png",
    ),
    *("https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://10.0.0.1:8000/"),
    *("https://169.254.169.254/latest", "https://[::1]/", "https://[fe80::1]/", "https://[::ffff:127.0.0.1]/"),
    *(
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://user@example.org/",
        "https://a.org b.org/",
    ),
    *(
        "https://127.0.0.1\\@example.org/",
        "https://example.org\\@127.0.0.1/",
        "https://127%2e0.0.1/",
        "https://a.org\n/",
    ),
]

BAD_DATA = [
    "data:",
    "data:,",
    "data:image/png",
    "data:image/png,abc",
    "data:image/png;base64",
    "data:image/png;base64,",
    "data:image/png;base64,AAAA",
    "data:image/png;base64,####",
    f"data:image/png;base64,{ENCODED[:-4]}\n{ENCODED[-4:]}",
    f"data:image/png;base64,{ENCODED[:-1]}",
    f"data:;base64,{ENCODED}",
    f"data:text/plain;base64,{ENCODED}",
    f"data:video/mp4;base64,{ENCODED}",
    f"data:imagery/png;base64,{ENCODED}",
    data_url(PNG[:20]),
    data_url(b"<svg/>", "svg+xml"),
    data_url(b"RIFF\0\0\0\0WAVEfmt "),
]


@pytest.mark.parametrize(
    "part",
    [
        *map(image, [*BAD_URLS, *BAD_DATA, 7, [HTTPS]]),
        *map(input_image, [*BAD_URLS, *BAD_DATA, {"url": DATA}]),
        {"type": "input_image", "file_id": "f"},
        source("base64", media_type="image/png", data=None),
        source("base64", media_type="image/png", data="AAAA"),
        in_result(source("base64", media_type="image/png")),
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


def test_parts_of_the_responses_api_are_told_where_too() -> None:
    for name in ("content", "output"):
        with pytest.raises(InvalidRequestError) as caught:
            check_media({"input": [{}, {name: [{"type": "input_text", "text": "x"}, input_image("http://x")]}]})
        assert caught.value.param == f"input[1].{name}"
    check_media({"input": "https is no URL here"})


@pytest.mark.parametrize("part", [image(HTTPS), image(DATA), BASE64])
def test_pictures_are_counted(part: dict[str, Any]) -> None:
    check_media(asked(*[part] * MAX_PICTURES))
    with pytest.raises(InvalidRequestError, match=f"{MAX_PICTURES} images"):
        check_media(asked(*[part] * MAX_PICTURES, in_result(part)))


def claiming(width: int, height: int) -> dict[str, Any]:
    """Return a picture of one pixel whose header claims that many."""
    picture = white_square(1)
    return image(data_url(picture[:16] + struct.pack(">II", width, height) + picture[24:]))


@pytest.mark.parametrize(
    "parts",
    [
        [claiming(2**31 - 1, 2**31 - 1)],
        [claiming(MAX_PIXELS + 1, 1)],
        [claiming(MAX_PIXELS // 2, 1), claiming(1, MAX_PIXELS // 2), image(DATA)],
    ],
)
def test_a_picture_that_would_burst_the_memory_is_refused(parts: list[Any]) -> None:
    with pytest.raises(InvalidRequestError, match="50 megapixels"):
        check_media(asked(*parts))


def test_pictures_up_to_the_limit_pass() -> None:
    check_media(asked(claiming(MAX_PIXELS // 2, 1), claiming(1, MAX_PIXELS // 2)))


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
