"""models-api.md item 10: answers that a client may have already."""

from typing import Any

import pytest

from privity.http import header
from privity.transport.models_api.conditional import is_known, not_modified, with_etag
from privity.transport.web import Request

TAG = '"0123abcd"'


def request(*tags: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {}

    return Request("GET", "/v1/models", b"", [(b"if-none-match", each) for each in tags], receive)


@pytest.mark.parametrize(
    "tags",
    [
        [b'"0123abcd"'],
        [b'W/"0123abcd"'],
        [b' "0123abcd" '],
        [b'"other", "0123abcd"'],
        [b'"other",W/"0123abcd","more"'],
        [b"*"],
        [b'"other"', b'"0123abcd"'],
    ],
    ids=str,
)
def test_a_tag_is_found_in_whatever_form_it_is_sent(tags: list[bytes]) -> None:
    assert is_known(request(*tags), TAG)


@pytest.mark.parametrize(
    "tags", [[], [b""], [b'"other"'], [b"0123abcd"], [b'"0123ABCD"'], [b'w/"0123abcd"'], [b"\xff, *x"]], ids=str
)
def test_another_tag_is_not_taken_for_it(tags: list[bytes]) -> None:
    assert not is_known(request(*tags), TAG)


def test_both_answers_have_the_tag_and_say_who_may_keep_them_and_304_has_no_body() -> None:
    remark = (b"privity-models-dropped", b"1")
    new, same = with_etag(b"body", TAG, [remark]), not_modified(TAG, [remark])
    for reply in (new, same):
        assert header(reply.headers, b"etag") == TAG.encode()
        assert header(reply.headers, b"cache-control") == b"private, no-cache"
        assert b"Authorization" in (header(reply.headers, b"vary") or b"")
        assert remark in reply.headers
    assert (new.status, new.body) == (200, b"body")
    assert (same.status, same.body) == (304, b"")
    assert header(same.headers, b"content-type") is None
