import pytest

from privity.engines.engine import Json
from privity.engines.inline_pictures import with_inline_pictures
from privity.engines.pictures import Kind
from privity.errors import InvalidRequestError
from privity.testing.pictures import GIF, JPEG, PNG, WEBP, data_url, image_part

TAKES: tuple[Kind, ...] = ("png", "jpeg", "webp")
TEXT = {"type": "text", "text": "https://x"}


def test_pictures_get_the_exact_url_of_their_kind_and_all_else_stays() -> None:
    exact = image_part(data_url(JPEG, "jpeg"))
    given = image_part("DATA:Image;a=b;base64," + exact["image_url"]["url"].partition(",")[2])
    given["image_url"]["detail"] = "low"
    messages: list[Json] = [
        {"role": "system", "content": "https://x"},
        {"role": "user", "content": [TEXT, given]},
        {"role": "tool"},
    ]
    (system, user, tool) = with_inline_pictures(messages, TAKES)
    assert (system, tool) == (messages[0], messages[2])
    assert user == {"role": "user", "content": [TEXT, exact | {"image_url": exact["image_url"] | {"detail": "low"}}]}


@pytest.mark.parametrize("url", ["https://example.org/a.png", "HTTPS://[::1]/a", "http://x", "file:///x", ""])
def test_what_would_have_to_be_fetched_is_refused(url: str) -> None:
    messages = [{"role": "user", "content": [TEXT]}, {"role": "user", "content": [image_part(), image_part(url)]}]
    with pytest.raises(InvalidRequestError, match="fetches no images: send the image itself") as caught:
        with_inline_pictures(messages, TAKES)
    assert (caught.value.param, caught.value.code) == ("messages[1].content", "unsupported_image_url")


@pytest.mark.parametrize("picture", [GIF, b"", b"\0\0\0\x20ftypisom"])
def test_what_the_engine_cannot_decode_is_refused(picture: bytes) -> None:
    messages = [{"role": "user", "content": [image_part(data_url(picture))]}]
    with pytest.raises(InvalidRequestError, match="these kinds: PNG, JPEG, WebP") as caught:
        with_inline_pictures(messages, TAKES)
    assert caught.value.code == "unsupported_image"


@pytest.mark.parametrize("picture", [PNG, JPEG, WEBP])
def test_what_it_can_decode_passes(picture: bytes) -> None:
    with_inline_pictures([{"role": "user", "content": [image_part(data_url(picture, "gif"))]}], TAKES)
