import pytest

from privity.protocol.endpoints import ENDPOINTS
from privity.transport.unknown_paths import explain


@pytest.mark.parametrize(
    "path", ["/v1/moderations", "/v1/audio/speech", "/v1/images/generations", "/v1/", "/v1/responses/input_tokens"]
)
def test_what_is_not_encrypted_is_named_with_all_that_is(path: str) -> None:
    said = explain(path)
    assert path in said
    assert "nothing is sent there" in said
    assert all(endpoint.path in said for endpoint in ENDPOINTS)


@pytest.mark.parametrize("path", ["/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/v1/responses/"])
def test_a_response_cannot_be_had_later(path: str) -> None:
    assert "not stored" in explain(path)


@pytest.mark.parametrize("path", ["/chat/completions", "/messages", "/responses"])
def test_who_forgot_the_prefix_is_told(path: str) -> None:
    assert f"/v1{path}" in explain(path)


def test_who_has_the_prefix_twice_is_told() -> None:
    assert "before /v1" in explain("/v1/v1/messages")


@pytest.mark.parametrize("path", ["", "/", "/favicon.ico", "/v2/x", "/\x1b[31m" + "x" * 999])
def test_everything_else_is_shown_where_to_begin(path: str) -> None:
    said = explain(path)
    assert "GET /v1/models" in said
    assert said.isprintable()
    assert len(said) < 200
