import pytest

from privity.engines.documents import MAX_REASON, DocumentBackend
from privity.errors import ApiError, NotSupportedError, UpstreamError, UpstreamTimeoutError, UpstreamUnreachableError
from privity.http import Headers
from privity.testing.fake_http import FakeHttpClient, FakeResponse, json_response

FORM = b"multipart/form-data; boundary=b"


def backend(answer: FakeResponse | UpstreamError) -> tuple[DocumentBackend, FakeHttpClient]:
    def serve(_request: object) -> FakeResponse:
        if isinstance(answer, UpstreamError):
            raise answer
        return answer

    http = FakeHttpClient(serve)
    return DocumentBackend(http, "http://documents", 7.0), http


def answer(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> FakeResponse:
    kept: Headers = [(b"content-type", b"application/json"), *headers]
    return FakeResponse(status, kept, [body])


async def refusal(said: FakeResponse | UpstreamError, path: str = "/general/v0/general") -> ApiError:
    reads, _ = backend(said)
    with pytest.raises(ApiError) as caught:
        await reads.read(path, FORM, b"--b--")
    return caught.value


async def test_a_document_goes_to_the_backend_as_it_is_and_its_answer_keeps_its_bytes() -> None:
    reads, http = backend(answer(200, b'[{"text": "a", "n": 1.0}]'))
    assert await reads.read("/general/v0/general", FORM, b"\x00--b") == b'[{"text": "a", "n": 1.0}]'
    (sent,) = http.sent
    assert (sent.method, sent.url, sent.body) == ("POST", "http://documents/general/v0/general", b"\x00--b")
    assert (sent.head_timeout, dict(sent.headers)) == (7.0, {b"content-type": FORM, b"accept": b"application/json"})


@pytest.mark.parametrize(
    "path", ["", "/", "//", "/..", "/a/../b", "/.hidden", "/a?b=c", "/a b", "/a%2e", "/é", "a", "/a//b", "/a\r\nb"]
)
async def test_no_path_leads_out_of_the_backends_own(path: str) -> None:
    reads, http = backend(answer(200, b"[]"))
    with pytest.raises(ApiError) as caught:
        await reads.read(path, FORM, b"")
    assert (caught.value.status, http.sent) == (404, [])


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (json_response({"detail": "File type None is not supported."}, 400), 400, "File type None is not supported."),
        (json_response({"detail": "canary"}, 500), 502, "could not"),
        (json_response({"detail": [{"loc": "files"}]}, 422), 400, "refuses this document."),
        (answer(422, b"\xff"), 400, "refuses this document."),
        (answer(422, b"x", (b"content-length", b"99999999")), 400, "refuses this document."),
        (json_response({"detail": "x\n\x1b[31m" + "y" * 999}, 415), 400, "x ?[31myyy"),
        (json_response({}, 404), 404, "/unstructured/general/v0/general"),
        (json_response({}, 413), 413, "too large"),
        (json_response({}, 503), 503, "busy"),
        (json_response({}, 504), 504, "too long"),
        (UpstreamUnreachableError("canary"), 503, "document backend is not running"),
        (UpstreamTimeoutError("canary"), 504, "in time"),
        (FakeResponse(200, [(b"content-type", b"text/csv")], [b"a,b"]), 400, "`output_format`"),
        (FakeResponse(200, [], [b"{}"]), 400, "`output_format`"),
        (answer(200, b"[1,"), 502, "isn't valid"),
        (answer(200, b'"text"'), 502, "isn't valid"),
    ],
)
async def test_what_goes_wrong_is_said_in_our_words_and_a_refusals_reason_in_the_backends(
    said: FakeResponse | UpstreamError, status: int, words: str
) -> None:
    error = await refusal(said)
    assert error.status == status
    assert words in str(error)
    assert "canary" not in str(error)
    assert len(str(error)) < MAX_REASON + 100


async def test_it_has_no_models_to_call() -> None:
    reads, http = backend(answer(200, b"{}"))
    assert await reads.describe() == ()
    with pytest.raises(NotSupportedError, match="/v1/embeddings"):
        await reads.answer("/v1/embeddings", {})
    assert http.sent == []
