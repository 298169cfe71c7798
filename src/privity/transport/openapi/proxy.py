"""The proxy's document: plain requests, which it encrypts, and plain answers, which it has decrypted and verified."""

from privity.errors import (
    ContextLengthError,
    EngineFailedError,
    EngineTimeoutError,
    ForbiddenOriginError,
    InvalidRequestError,
    MisdirectedError,
    ModelNotFoundError,
    NotSupportedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    RouteNotFoundError,
    TamperedAnswerError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnknownSecretError,
    UnsupportedMediaError,
    WrongTaskError,
)
from privity.transport.openapi import call_answers, call_bodies, call_messages, call_responses
from privity.transport.openapi.document import document
from privity.transport.openapi.errors import Errors, Form
from privity.transport.openapi.models import DROPPED, LIFECYCLE, models_paths
from privity.transport.openapi.parts import (
    Json,
    header,
    in_path,
    response,
    response_header,
    text,
)

_ERRORS = Errors(
    (
        InvalidRequestError,
        ContextLengthError,
        WrongTaskError,
        UnauthorizedError,
        ForbiddenOriginError,
        RouteNotFoundError,
        ModelNotFoundError,
        RequestTimeoutError,
        PayloadTooLargeError,
        UnsupportedMediaError,
        MisdirectedError,
        TooManyRequestsError,
        UnknownSecretError,
        NotSupportedError,
        EngineFailedError,
        TamperedAnswerError,
        UnavailableError,
        EngineTimeoutError,
    ),
    headers={},
    also=((429, "The gateway has had too many requests."),),
)

_GUARD = (403, 421)
"""What a web page of another origin gets, and a name that isn't the proxy's."""

_GATEWAY = (401, 429, 502, 503, 504)
"""What comes of the gateway."""

_REFUSED = (*_GUARD, *_GATEWAY)

_ABOUT = """\
An OpenAI-compatible API on your own machine. Requests are encrypted before they leave it; answers are decrypted and
verified.

* Answers only under names that it expects (421 else), and no web page of another origin (403), unless the operator
  lists them.
* Other methods get 405 with `Allow`, other paths 404.
* Errors have the form of the API that they belong to: OpenAI's, Anthropic's or Ollama's. A client that sends
  `Accept: text/event-stream` gets them as an event.
* An API key is used where the proxy was given none of its own."""

_CHUNKS = "Each `data` is a chunk of the answer, the last one is `[DONE]`. An error is the last event."
_PIECES = "Each `data` is a piece of the text, the last one is `[DONE]`. An error is the last event."
_ID: Json = {"X-Request-ID": response_header("The request's ID inside the deployment.")}


def proxy_document() -> Json:
    """Return the document."""
    models = models_paths(_ERRORS, _REFUSED, missing=(404,), remarks=DROPPED)
    schemas = {
        **call_bodies.SCHEMAS,
        **call_answers.SCHEMAS,
        **call_messages.SCHEMAS,
        **call_responses.SCHEMAS,
    }
    return document("Privity proxy", _ABOUT, {**_calls(), **models}, schemas, _ERRORS, _GUARD)


def _calls() -> Json:
    return {
        **_openais_calls(),
        **_anthropics_calls(),
        **_speech_calls(),
        "/unstructured/{path}": {"post": _document_call()},
    }


def _openais_calls() -> Json:
    return {
        "/v1/chat/completions": {
            "post": _call("chat", "Answer a conversation", call_bodies.json_body("ChatRequest"), "ChatAnswer", _CHUNKS)
        },
        "/v1/completions": {
            "post": _call(
                "complete", "Continue a text", call_bodies.json_body("CompletionRequest"), "CompletionAnswer", _CHUNKS
            )
        },
        "/v1/embeddings": {
            "post": _call("embed", "Embed texts", call_bodies.json_body("EmbeddingsRequest"), "EmbeddingsAnswer")
        },
        "/v1/responses": {
            "post": _call(
                "respond",
                "Answer a conversation, without storing it",
                call_bodies.json_body("ResponsesRequest"),
                "ResponsesAnswer",
                "Each `data` is an event, named by its `type`; the last one is `[DONE]`. An error is the last event.",
            )
        },
    }


def _anthropics_calls() -> Json:
    version = header("anthropic-version", text(), "Passed on.")
    beta = header("anthropic-beta", text(), "Passed on.")
    return {
        "/v1/messages": {
            "post": {
                **_call(
                    "message",
                    "Answer a conversation, as Anthropic does",
                    call_bodies.json_body("MessagesRequest"),
                    "MessagesAnswer",
                    "Anthropic's events, up to `message_stop`. An error is the last event.",
                    "anthropic",
                ),
                "parameters": [version, beta],
            }
        },
        "/v1/messages/count_tokens": {
            "post": {
                **_call(
                    "countTokens",
                    "Count the tokens of a conversation",
                    call_bodies.json_body("CountTokensRequest"),
                    "CountTokensAnswer",
                    form="anthropic",
                ),
                "parameters": [version, beta],
            }
        },
    }


def _speech_calls() -> Json:
    return {
        "/v1/audio/transcriptions": {
            "post": _call(
                "transcribe",
                "Write down what is said",
                call_bodies.form_body("TranscriptionRequest"),
                "TranscriptionAnswer",
                _PIECES,
            )
        },
        "/v1/audio/translations": {
            "post": _call(
                "translate",
                "Write down in English what is said",
                call_bodies.form_body("TranslationRequest"),
                "TranscriptionAnswer",
                _PIECES,
            )
        },
    }


def _call(name: str, summary: str, body: Json, answer: str, streams: str = "", form: Form = "openai") -> Json:
    answered = response("The answer.", call_answers.content(answer, streams), {**_ID, **LIFECYCLE})
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["Calls"],
        "requestBody": body,
        "responses": {"200": answered, **_ERRORS.of(form, *_REFUSED, 404, 413, 415, 501)},
    }


def _document_call() -> Json:
    content: Json = {"application/json": {"schema": {}}}
    body = {"*/*": {"schema": text("Up to 25 MiB (less 1 KiB), encrypted as a whole.")}}
    return {
        "operationId": "partition",
        "summary": "Send a document to the Unstructured API",
        "description": "404 where no document backend is configured.",
        "tags": ["Calls"],
        "parameters": [in_path("path", "Any path.", "general/v0/general")],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": response("The answer.", content, _ID),
            **_ERRORS.of("openai", *_REFUSED, 404, 413, 501),
        },
    }
