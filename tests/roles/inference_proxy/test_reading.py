"""Documents: the whole body is one value, and each member of the answer (wire-protocol.md section 5)."""

import json

import pytest

from privity.engines.documents import DocumentBackend
from privity.errors import DecryptionError
from privity.roles.inference_proxy.app import build_app
from privity.testing.document_backend import PATH, document_backend
from privity.testing.in_memory_app import Got, ask_app
from privity.testing.inference_rig import inference_proxy
from privity.testing.sealed import SECRET, FixedSecrets, SealedExchange, SealingClient
from privity.transport.http_client import PooledHttpClient
from privity.transport.tasks import Background

FORM = (
    b'--b\r\ncontent-disposition: form-data; name="files"; filename="secret.txt"\r\n'
    b"content-type: text/plain\r\n\r\ncanary\r\n--b--\r\n"
)
KIND = b"multipart/form-data; boundary=b"


async def ask(sealed: SealedExchange, url: str | None, kind: bytes = KIND) -> Got:
    async with PooledHttpClient() as http, Background() as background:
        documents = None if url is None else DocumentBackend(http, url, 7.0)
        proxy = await inference_proxy(DocumentBackend(http, "http://unused", 7.0))
        app = build_app(proxy, FixedSecrets(SECRET), background, documents=documents)
        headers = [(b"content-type", kind), *(each for each in sealed.headers if each[0] != b"content-type")]
        return await ask_app(app, "POST", sealed.path, headers, sealed.body)


def sealed(path: str = PATH, content: bytes = FORM, kind: bytes = KIND) -> SealedExchange:
    return SealingClient().seal(f"/unstructured{path}", content, kind)


async def test_a_real_backend_cuts_the_form_that_the_app_sent() -> None:
    with document_backend() as backend:
        exchange = sealed()
        got = await ask(exchange, backend.url)
        (element,) = exchange.open_json(got.status, got.headers, got.body)
        assert (element["text"], element["metadata"]) == ("canary", {"filename": "secret.txt"})
        assert b"canary" not in got.body
        assert len(backend.forms) == 1


@pytest.mark.parametrize(
    ("path", "content", "status", "words"),
    [
        (PATH, b"--b--", 400, "`files` is required"),
        ("/other", FORM, 404, "/unstructured/general/v0/general"),
        (
            PATH,
            b'--b\r\ncontent-disposition: form-data; name="output_format"\r\n\r\ntext/csv\r\n' + FORM,
            400,
            "`output_format`",
        ),
    ],
)
async def test_what_it_refuses_is_an_encrypted_error_with_its_reason(
    path: str, content: bytes, status: int, words: str
) -> None:
    with document_backend() as backend:
        exchange = sealed(path, content)
        got = await ask(exchange, backend.url)
        error = exchange.open_json(got.status, got.headers, got.body)["error"]
        assert got.status == status
        assert words in error["message"]
        assert words.encode() not in got.body


async def test_without_a_backend_the_error_says_so() -> None:
    exchange = sealed()
    got = await ask(exchange, None)
    assert got.status == 501
    assert "No document backend" in exchange.open_json(501, got.headers, got.body)["error"]["message"]


async def test_how_the_body_is_cut_is_authentic() -> None:
    with document_backend() as backend:
        got = await ask(sealed(), backend.url, b"multipart/form-data; boundary=c")
        assert (got.status, backend.forms) == (400, [])


async def test_the_model_list_is_empty_and_nothing_can_be_called() -> None:
    async with PooledHttpClient() as http, Background() as background:
        proxy = await inference_proxy(DocumentBackend(http, "http://unused", 7.0))
        app = build_app(proxy, FixedSecrets(SECRET), background)
        assert (await ask_app(app, "GET", "/v1/models", [], b"")).json() == {"object": "list", "data": []}
        exchange = SealingClient().seal("/v1/embeddings", {"model": "m", "input": "x"})
        got = await ask_app(app, "POST", exchange.path, exchange.headers, exchange.body)
        assert got.status == 503


async def test_an_answer_to_another_document_is_not_authentic() -> None:
    with document_backend() as backend:
        first, second = sealed(), sealed()
        got = await ask(first, backend.url)
        await ask(second, backend.url)
        with pytest.raises(DecryptionError):
            second.open_json(got.status, got.headers, got.body)
        assert json.loads(json.dumps(first.open_json(got.status, got.headers, got.body)))
