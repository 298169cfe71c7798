"""Documents through the whole stack, to a real backend that cuts the form that the app sent."""

import json

import pytest

from privity.testing.document_backend import FakeDocumentBackend
from privity.testing.programs import Answer, Up, http

CANARY = "canary-of-documents"
LIMIT = 25 * 1024 * 1024 - 1024
KIND = "multipart/form-data; boundary=b"
PATH = "/unstructured/general/v0/general"


def form(content: bytes, *fields: tuple[str, str]) -> bytes:
    head = b'--b\r\ncontent-disposition: form-data; name="files"; filename="letter.txt"\r\n\r\n'
    parts = [f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    return "".join(parts).encode() + head + content + b"\r\n--b--\r\n"


def ask(running: Up, body: bytes, path: str = PATH) -> Answer:
    return http("POST", running.url + path, body, content_type=KIND)


def test_a_document_is_read_and_nobody_on_the_way_sees_it(running: Up, documents: FakeDocumentBackend) -> None:
    answer = ask(running, form(CANARY.encode(), ("strategy", "fast")))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    (element,) = json.loads(answer.body)
    assert (element["text"], element["metadata"]["filename"]) == (CANARY, "letter.txt")
    assert [part.get_param("name", header="content-disposition") for part in documents.forms[-1]] == [
        "strategy",
        "files",
    ]
    assert CANARY not in running.program.err.read_text() + running.program.out.read_text()


@pytest.mark.parametrize(
    ("body", "path", "status", "words"),
    [
        (form(b"x", ("output_format", "text/csv")), PATH, 400, "`output_format`"),
        (b"--b--", PATH, 400, "`files` is required"),
        (form(b"x"), "/unstructured/other", 404, PATH),
        (form(b"x"), "/unstructured/../v1/models", 404, ""),
    ],
)
def test_what_the_backend_refuses_is_an_error_with_its_reason(
    running: Up, body: bytes, path: str, status: int, words: str
) -> None:
    answer = ask(running, body, path)
    assert answer.status == status
    assert words in str(answer.error["message"])


def test_a_document_has_a_limit(running: Up) -> None:
    assert ask(running, form(b"x" * LIMIT)).status == 413
