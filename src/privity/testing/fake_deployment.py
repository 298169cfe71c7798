"""A deployment as a proxy sees it: gateway, secret service and inference proxy as one function, without sockets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384

from privity.catalogue import full
from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import Model
from privity.catalogue.projections import full_list, signers_of
from privity.errors import ModelNotFoundError
from privity.http import header
from privity.protocol.agreement import respond
from privity.protocol.bodies import open_fields, turn_fields
from privity.protocol.ending import HEADER as END
from privity.protocol.ending import Ending, as_comment
from privity.protocol.endpoints import Endpoint, Form, endpoint_of
from privity.protocol.event_stream import encode_event
from privity.protocol.exchange import Opener, Sealer, addressed_to
from privity.protocol.fields import scan
from privity.protocol.mesh import AUTHENTICATED_END, INFERENCE_PROXY, SECRET_SERVICE, Identity, MeshCa
from privity.protocol.multipart import Part, parse_form, turn_parts
from privity.protocol.routed_model import MEANS
from privity.protocol.secret import Secret
from privity.roles.inference_proxy.signing import Signer
from privity.testing.fake_http import FakeResponse, SentRequest, json_response

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""When the deployment's certificates were issued."""

CHAT_ANSWER: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2},
}


MODEL = Model("m", ("generate", "embed", "transcribe"), 1700000000, "org")


@dataclass(frozen=True)
class Asked:
    """A request as the inference proxy reads it."""

    request: SentRequest
    body: bytes
    """JSON, or the whole body."""
    parts: list[Part] = field(default_factory=list)

    def json(self) -> Any:
        """Return the body's JSON value."""
        return json.loads(self.body)


class FakeDeployment:
    """Answers every request in the same way; `server` is for a `FakeHttpClient`.

    Attributes:
        answer: the JSON of an answer, or of a stream's events, before encryption.
        status: of the answers.
        models: what it serves; signed where it authenticates the end, else listed by plain rows, one for each ID.
        now: the time.
        keys: values of `Authorization` that are accepted; None accepts all and none.
        asked: what reached the inference proxy, decrypted.
        agreements: how many secrets were agreed on.
        secrets: those that the deployment knows.
        tamper: gets each answer to an encrypted request, and returns what comes in its place.
    """

    def __init__(self, answer: Any = None, *, authenticates_end: bool = True) -> None:
        self.ca = MeshCa.create(NOW)
        marked = self.ca.issue(SECRET_SERVICE, NOW)
        self.identity = marked if authenticates_end else _without_mark(marked, self.ca)
        self.answer: Any = CHAT_ANSWER if answer is None else answer
        self.status = 200
        self.models: Sequence[Model] = (MODEL,)
        self.now: Callable[[], datetime] = lambda: NOW
        self.signs = authenticates_end
        self.signer = Signer(self.ca.issue(INFERENCE_PROXY, NOW), lambda: self.now())  # noqa: PLW0108  # tests replace it
        self.keys: set[bytes] | None = None
        self.asked: list[Asked] = []
        self.agreements = 0
        self.secrets: dict[str, Secret] = {}
        self.tamper: Callable[[SentRequest, FakeResponse], FakeResponse] = lambda _request, response: response

    def server(self, request: SentRequest) -> FakeResponse:
        """Answer one request."""
        path = request.url.split("//", 1)[1].partition("/")[2]
        if self.keys is not None and (header(request.headers, b"authorization") or b"") not in self.keys:
            return plain_error(401, "invalid API key")
        if path == "privatemode/v1/secret":
            body, secret = respond(request.body, self.identity)
            self.secrets[secret.id] = secret
            self.agreements += 1
            return FakeResponse(200, [(b"content-type", b"application/json")], [body])
        endpoint = endpoint_of("/" + path)
        if endpoint is None:
            return self.lists(self.listed(), request) if self.signs else self._plain_rows()
        return self.tamper(request, self._encrypted(endpoint, "/" + path, request))

    def listed(self) -> list[Model]:
        """Return the models, each with its statement."""
        return self.signer.sign(self.models)

    def lists(self, models: Sequence[Model], request: SentRequest) -> FakeResponse:
        """Answer a request for whole records, as a gateway of Privity's does; a long poll is over at once."""
        path, _, query = request.url.split("//", 1)[1].partition("/")[2].partition("?")
        catalogue = Catalogue(models, self.now())
        asked = unquote(path.removeprefix("v1/models").removeprefix("/"))
        if asked:
            return _retrieved(catalogue, asked, self.now())
        listing = full_list(catalogue.view())
        etag = listing.etag().encode()
        waits_for = "".join(parse_qs(query).get("wait", ())).encode()
        if etag in (waits_for, header(request.headers, b"if-none-match")):
            return FakeResponse(304, [(b"etag", etag)], [])
        return FakeResponse(200, [(b"content-type", b"application/json"), (b"etag", etag)], [listing.body()])

    def _plain_rows(self) -> FakeResponse:
        rows = [
            {"id": each, "object": "model", "created": model.created, "owned_by": model.owned_by, "tasks": model.tasks}
            for model in self.models
            for each in model.ids
        ]
        return json_response({"object": "list", "data": rows})

    def _encrypted(self, endpoint: Endpoint, path: str, request: SentRequest) -> FakeResponse:
        secret_id, nonce = addressed_to(_first_value(endpoint, request))
        if secret_id not in self.secrets:
            return plain_error(500, f'forwarding request: no secret for ID "{secret_id}"')
        secret = self.secrets[secret_id]
        opener, ending = Opener(secret, nonce), Ending(path)
        means = header(request.headers, MEANS)
        if means is not None:
            ending.plain(MEANS.decode(), means)
        self.asked.append(_opened(endpoint, request, opener, ending))
        end = header(request.headers, END)
        if end is not None:
            ending.check(opener, end)
        return _sealed(endpoint, self.answer, self.status, Sealer(secret, nonce), with_end=end is not None)


def _without_mark(marked: Identity, ca: MeshCa) -> Identity:
    """Return an identity as deployments have it that don't know the authenticated end."""
    certificate = marked.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for extension in certificate.extensions:
        if extension.oid != AUTHENTICATED_END:
            builder = builder.add_extension(extension.value, critical=extension.critical)
    return Identity(builder.sign(ca._key, SHA384()), marked.key)  # noqa: SLF001


def _retrieved(catalogue: Catalogue, asked: str, now: datetime) -> FakeResponse:
    try:
        model = catalogue.view().find(asked)
    except ModelNotFoundError as error:
        return json_response(error.body(), error.status)
    signers = signers_of({model.statement.certificate}) if model.statement is not None else {}
    return json_response(full.row(model, model.id, now) | {"signers": signers, "health": {"replicas": 1}})


def plain_error(status: int, message: str) -> FakeResponse:
    """Return an error from before encryption was possible."""
    response = json_response({"error": {"message": message, "type": ""}}, status)
    return FakeResponse(status, [*response.headers, (b"privatemode-encrypted", b"false")], response.pieces)


def _first_value(endpoint: Endpoint, request: SentRequest) -> bytes:
    if endpoint.form is Form.WHOLE:
        return request.body
    if endpoint.form is Form.MULTIPART:
        parts = parse_form(request.body, header(request.headers, b"content-type"))
        return next(part.value for part in parts if part.is_file or part.name not in endpoint.plain_request)
    fields = scan(request.body)
    return next(
        value for name, value in zip(fields.names, fields.values, strict=True) if name not in endpoint.plain_request
    )


def _opened(endpoint: Endpoint, request: SentRequest, opener: Opener, ending: Ending) -> Asked:
    if endpoint.form is Form.WHOLE:
        ending.plain("content-type", header(request.headers, b"content-type") or b"")
        return Asked(request, opener.open(request.body))
    if endpoint.form is Form.MULTIPART:
        parts = parse_form(request.body, header(request.headers, b"content-type"))
        return Asked(request, b"", turn_parts(parts, endpoint.plain_request, opener.open_all, ending))
    return Asked(request, open_fields(request.body, endpoint.plain_request, opener.open_all, ending))


def _sealed(endpoint: Endpoint, answer: Any, status: int, sealer: Sealer, *, with_end: bool) -> FakeResponse:
    ending = Ending(str(status))

    def sealed(value: Any) -> bytes:
        return turn_fields(scan(json.dumps(value).encode()), endpoint.plain_answer, sealer.seal_all, ending)

    if not isinstance(answer, list) or endpoint.form is Form.WHOLE:
        body = sealed(answer)
        headers = [(b"content-type", b"application/json")]
        return FakeResponse(status, [*headers, (END, ending.seal(sealer))] if with_end else headers, [body])
    pieces = []
    for event in answer:
        name = event["type"].encode() if endpoint.names_events else None
        ending.event(name or b"message")
        pieces.append(encode_event(sealed(event), name))
    last = [pieces.pop()] if endpoint.anthropic else [b"data: [DONE]\n\n"]
    end = [as_comment(ending.seal(sealer))] if with_end else []
    return FakeResponse(status, [(b"content-type", b"text/event-stream")], [*pieces, *end, *last])
