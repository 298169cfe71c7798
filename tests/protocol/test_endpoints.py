import pytest

from privity.protocol.endpoints import ENDPOINTS, Endpoint, Form, endpoint_of

GENERATION = {"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"}
TRANSCRIPTION = {"model", "stream", "stream_include_usage", "stream_continuous_usage_stats"}


@pytest.mark.parametrize(
    ("path", "plain_request", "plain_answer"),
    [
        ("/v1/chat/completions", GENERATION, {"id", "usage"}),
        ("/v1/completions", GENERATION, {"id", "usage"}),
        ("/v1/embeddings", {"model"}, {"id", "usage"}),
        ("/v1/messages", {"model", "stream"}, {"id", "type", "usage"}),
        ("/v1/audio/transcriptions", TRANSCRIPTION, {"duration", "usage"}),
        ("/unstructured/general/v0/general", set[str](), set[str]()),
        ("/v1/responses", {"model", "stream"}, {"id", "usage"}),
        ("/v1/messages/count_tokens", {"model"}, set[str]()),
        ("/v1/audio/translations", TRANSCRIPTION, {"duration", "usage"}),
    ],
)
def test_what_stays_plain_is_the_protocols_table(path: str, plain_request: set[str], plain_answer: set[str]) -> None:
    endpoint = endpoint_of(path)
    assert endpoint is not None
    assert (set(endpoint.plain_request), set(endpoint.plain_answer)) == (plain_request, plain_answer)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/models",
        "/v1/models/m",
        "/v1/chat/completions/",
        "/v1/chat/completions?x=y",
        "/v1/chat/completionsx",
        "/v1/chat",
        "/V1/chat/completions",
        "//v1/chat/completions",
        "/v1/messages/batches",
        "/unstructured",
        "/unstructuredx/",
        "/x/unstructured/",
        "/privatemode/v1/secret",
    ],
)
def test_no_other_path_is_encrypted(path: str) -> None:
    assert endpoint_of(path) is None


def of(form: Form) -> set[str]:
    return {endpoint.path for endpoint in ENDPOINTS if endpoint.form is form}


def test_each_form_has_its_endpoints() -> None:
    assert of(Form.MULTIPART) == {"/v1/audio/transcriptions", "/v1/audio/translations"}
    assert of(Form.WHOLE) == {"/unstructured/"}
    assert len(of(Form.JSON)) == len(ENDPOINTS) - 3


def test_generation_is_salted_and_reports_usage() -> None:
    generation = {"/v1/chat/completions", "/v1/completions"}
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.salted} == {
        *generation,
        "/v1/messages",
        "/v1/responses",
    }
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.reports_usage} == generation
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.anthropic} == {
        "/v1/messages",
        "/v1/messages/count_tokens",
    }
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.names_events} == {"/v1/messages", "/v1/responses"}


def test_an_endpoint_of_which_nothing_is_said_shows_little() -> None:
    endpoint = Endpoint("/v1/new")
    assert endpoint == Endpoint("/v1/new", Form.JSON, frozenset({"model"}), frozenset({"id", "usage"}))
