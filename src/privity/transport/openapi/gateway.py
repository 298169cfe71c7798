"""The gateway's document: encrypted requests, which it sends on by their headers."""

from privity.errors import (
    EngineFailedError,
    EngineTimeoutError,
    InvalidRequestError,
    ModelNotFoundError,
    NotEncryptedError,
    NotSupportedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    RouteNotFoundError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnknownSecretError,
    UnsupportedMediaError,
    WrongTaskError,
)
from privity.protocol.endpoints import ENDPOINTS, Endpoint, Form
from privity.protocol.fields import MAX_MODEL_ID_CHARACTERS
from privity.transport.openapi.call_bodies import MODEL
from privity.transport.openapi.document import document
from privity.transport.openapi.errors import Errors
from privity.transport.openapi.models import EXAMPLE, LIFECYCLE, models_paths
from privity.transport.openapi.parts import (
    Json,
    array,
    event,
    header,
    in_path,
    one_of_type,
    record,
    response,
    response_header,
    schema_ref,
    text,
)

_PLAIN: Json = {
    "Privatemode-Encrypted": response_header(
        "`false`: this error is plain. Not there where it is encrypted.", text(const="false")
    )
}

_ERRORS = Errors(
    (
        InvalidRequestError,
        NotEncryptedError,
        WrongTaskError,
        UnauthorizedError,
        RouteNotFoundError,
        ModelNotFoundError,
        RequestTimeoutError,
        PayloadTooLargeError,
        UnsupportedMediaError,
        TooManyRequestsError,
        UnknownSecretError,
        NotSupportedError,
        EngineFailedError,
        UnavailableError,
        EngineTimeoutError,
    ),
    headers=_PLAIN,
)

_KEY = (401,)
_WAITING = (*_KEY, 429)
_BEHIND = (502, 503, 504)

_ABOUT = """\
The API of a deployment. It takes what `privity proxy` sends: requests whose content is encrypted for the deployment's
inference proxies, so that the gateway sees their headers and the plain members only. Applications talk to the proxy.

* Errors from before encryption was possible bear `Privatemode-Encrypted: false`. Others are encrypted as answers are.
* Other methods get 405 with `Allow`, other paths 404.
* Whether a key is needed is the operator's choice."""

_SEALED = (
    "An encrypted value: `<secret ID>:<nonce>:<IV>:<ciphertext and tag>`, the last three in hex. AES-256-GCM with the "
    "nonce and the value's position as additional data."
)

_PLAIN_MEMBERS: Json = {
    "model": MODEL,
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {"type": ["object", "null"]},
    "max_tokens": {"type": ["integer", "null"]},
    "max_completion_tokens": {"type": ["integer", "null"]},
    "n": {"type": ["integer", "null"]},
    "stream_include_usage": text(),
    "stream_continuous_usage_stats": text(),
}

_SCHEMAS: Json = {
    "Sealed": text(_SEALED),
    "SealedAnswer": record(
        {"id": text(), "type": text(), "usage": {}, "duration": {}},
        description="Every other member is encrypted.",
        additionalProperties=schema_ref("Sealed"),
    ),
    "Offer": record(
        {
            "PublicKey": text(
                "X-Wing public key, 1216 bytes; fresh for each exchange.",
                contentEncoding="base64",
                pattern="^[A-Za-z0-9+/]{1621}[AQgw]==$",
            )
        },
        ("PublicKey",),
        "A client's part of a key agreement.",
    ),
    "Agreement": record(
        {
            "EncapsulatedKey": text("1120 bytes.", contentEncoding="base64"),
            "Signature": text("ECDSA (ASN.1) over SHA-256 of the two keys.", contentEncoding="base64"),
            "MeshCert": text("The signer's certificate (DER), of the mesh CA.", contentEncoding="base64"),
        },
        ("EncapsulatedKey", "Signature", "MeshCert"),
        "The secret service's part.",
    ),
}

_HEADERS = [
    header(
        "Privatemode-Target-Model",
        text(minLength=1, maxLength=MAX_MODEL_ID_CHARACTERS, examples=[EXAMPLE]),
        "The request's `model`. Bodies are not read here.",
        required=True,
    ),
    header("Privatemode-Secret-ID", text(), "The secret that the request is encrypted with."),
    header("Privatemode-Version", text(), "The client's version, as `v1.40.0`."),
    header("Privatemode-Client", text(), "Such as `Proxy` or `SDK`."),
    header("Privatemode-Shard-Key", text(), "Lets requests with the same beginning reach the same replica."),
    header("Privatemode-User-Request-ID", text(), "The client's own ID of the request."),
    header("Privatemode-NVIDIA-OCSP-Policy", text(), "Which certificate statuses of GPUs the client accepts."),
    header("Privatemode-NVIDIA-OCSP-Policy-MAC", text(), "Authenticates the policy."),
    header("Privity-End", text(), "The authenticated end of the request: an encrypted value."),
]

_ANSWERED: Json = {
    "X-Request-ID": response_header("The request's ID inside the deployment.", required=True),
    "Privity-End": response_header("The authenticated end of an answer that isn't streamed."),
    **LIFECYCLE,
}


def gateway_document() -> Json:
    """Return the document."""
    models = models_paths(_ERRORS, _WAITING, missing=(404,), remarks={})
    calls = {each.path: {"post": _call(each)} for each in ENDPOINTS if each.form is not Form.WHOLE}
    calls |= {f"{each.path}{{path}}": {"post": _document_call()} for each in ENDPOINTS if each.form is Form.WHOLE}
    service = {
        "/privatemode/v1/secret": {"post": _agree()},
        "/privatemode/v1/attest": {"post": _attest()},
    }
    return document("Privity gateway", _ABOUT, {**calls, **models, **service}, _SCHEMAS, _ERRORS, ())


def _call(endpoint: Endpoint) -> Json:
    plain = {name: _PLAIN_MEMBERS[name] for name in sorted(endpoint.plain_request)}
    body = record(
        plain,
        ("model",),
        "Every other member is encrypted, whatever its name, in the order of the names.",
        additionalProperties=schema_ref("Sealed"),
    )
    streams = event("Each `data` is a `SealedAnswer`; before the last event, a comment is the authenticated end.")
    answers: Json = {
        "application/json": {"schema": schema_ref("SealedAnswer")},
        "text/event-stream": {"schema": streams},
    }
    return {
        "operationId": "sealed" + "".join(part.title() for part in endpoint.path.split("/")[2:]),
        "summary": f"Encrypted request to {endpoint.path}",
        "tags": ["Calls"],
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": {endpoint.form.value: {"schema": body}}},
        "responses": {
            "200": response("The answer, encrypted.", answers, _ANSWERED),
            **_ERRORS.of("anthropic" if endpoint.anthropic else "openai", *_KEY, *_BEHIND, 404, 413, 415, 501),
        },
    }


def _document_call() -> Json:
    body: Json = {"*/*": {"schema": schema_ref("Sealed")}}
    answers: Json = {
        "application/json": {"schema": one_of_type(schema_ref("SealedAnswer"), array(schema_ref("Sealed")))}
    }
    no_model = [each for each in _HEADERS if each["name"] != _HEADERS[0]["name"]]
    return {
        "operationId": "sealedDocument",
        "summary": "Encrypted document for the Unstructured API",
        "description": "404 where no document backend is configured.",
        "tags": ["Calls"],
        "parameters": [in_path("path", "Any path.", "general/v0/general"), *no_model],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": response("The answer, encrypted.", answers, _ANSWERED),
            **_ERRORS.of("openai", *_KEY, *_BEHIND, 404, 413, 501),
        },
    }


def _agree() -> Json:
    answer = response("Agreed.", {"application/json": {"schema": schema_ref("Agreement")}})
    return {
        "operationId": "agree",
        "summary": "Agree on a secret with the deployment",
        "tags": ["Service"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema_ref("Offer")}}},
        "responses": {"200": answer, **_ERRORS.of("openai", *_KEY, *_BEHIND, 413, 415)},
    }


def _attest() -> Json:
    return {
        "operationId": "attest",
        "summary": "Ask for attestation evidence",
        "description": "Always 501: this deployment's clients are given the mesh CA's certificate.",
        "tags": ["Service"],
        "responses": _ERRORS.of("openai", 501),
    }
