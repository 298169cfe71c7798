"""A client that encrypts what it sends and decrypts what it gets, without a deployment to agree on a secret with."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privity.errors import UnknownSecretError
from privity.http import Headers, header
from privity.protocol.bodies import Turn, open_fields, turn_fields
from privity.protocol.ending import HEADER, Ending, announcing_nonce, from_comments
from privity.protocol.endpoints import Endpoint, Form, endpoint_of
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.exchange import NONCE_BYTES, Opener, Random, begin
from privity.protocol.fields import scan
from privity.protocol.multipart import BOUNDARY_BYTES, Part, content_type, encode_form, turn_parts
from privity.protocol.routed_model import MEANS
from privity.protocol.secret import SECRET_BYTES, Secret

SECRET = Secret("c2VjcmV0IGZvciB0ZXN0cywga25vd24gdG8gYWxsLi4=", bytes(range(SECRET_BYTES)))
"""A secret that everybody knows."""

SALT = "a salt for tests, 32 letters long"
"""A `cache_salt` that is long enough."""


class FixedSecrets:
    """Knows these secrets, in the place of `privity.roles.inference_proxy.secrets.Secrets`."""

    def __init__(self, *secrets: Secret) -> None:
        self._secrets = {secret.id: secret for secret in secrets}

    async def find(self, secret_id: str) -> Secret:
        """Return a secret. Raises `UnknownSecretError`."""
        if secret_id not in self._secrets:
            raise UnknownSecretError(secret_id)
        return self._secrets[secret_id]


@dataclass(frozen=True, slots=True)
class OpenedEvent:
    """One event of a stream, decrypted."""

    type: bytes
    data: bytes

    def json(self) -> Any:
        """Return the data's JSON value."""
        return json.loads(self.data)


class SealedExchange:
    """One request, encrypted, and what opens its answer.

    Attributes:
        path: the request's.
        headers: its content type, the secret's ID, and its end where there is one.
        body: its encrypted body.
        opener: opens the answer's values, in their order.
    """

    def __init__(self, path: str, headers: Headers, body: bytes, opener: Opener) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.opener = opener
        self._plain = _endpoint(path).plain_answer
        self._with_end = header(headers, HEADER) is not None

    def open_json(self, status: int, headers: Headers, body: bytes) -> Any:
        """Return the JSON value of an answer that is all there, with its end checked where the request had one.

        Raises:
            DecryptionError: it is not authentic.
        """
        ending = Ending(str(status))
        opened = open_fields(body, self._plain, self.opener.open_all, ending)
        if self._with_end:
            ending.check(self.opener, header(headers, HEADER))
        return json.loads(opened)

    def open_events(self, status: int, headers: Headers, body: bytes) -> list[OpenedEvent]:
        """Return the events of a streamed answer, `[DONE]` included, with its end checked where the request had one.

        The end of an error's answer is in a header. A stream that ends with an error has none.

        Raises:
            DecryptionError: it is not authentic.
        """
        ending = Ending(str(status))
        end = header(headers, HEADER)
        opened: list[OpenedEvent] = []
        for event in EventStreamParser().feed(body):
            end = from_comments(event.comments) or end
            if event.data is None:
                continue
            data = event.data
            if data != b"[DONE]":
                ending.event(event.type)
                data = open_fields(data, self._plain, self.opener.open_all, ending)
            opened.append(OpenedEvent(event.type, data))
        is_broken = status < 400 and bool(opened) and opened[-1].type == b"error"
        if self._with_end and not is_broken:
            ending.check(self.opener, end)
        return opened


class SealingClient:
    """Encrypts requests, each with a nonce of its own.

    Args:
        secret: the shared secret.
        with_end: whether requests carry their authenticated end, and so answers theirs.
        means: which model they say under that end that they mean.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        secret: Secret = SECRET,
        *,
        with_end: bool = True,
        means: bytes | None = None,
        random: Random = os.urandom,
    ) -> None:
        self._secret = secret
        self._with_end = with_end
        self._means = means
        self._random = random

    def seal(
        self,
        path: str,
        content: bytes | Mapping[str, object] | Sequence[Part],
        whole: bytes = b"application/octet-stream",
    ) -> SealedExchange:
        """Encrypt a request in the form of its endpoint.

        Args:
            path: an encrypted endpoint's.
            content: JSON, as its bytes or as Python values; a form's parts; or, where the body is one value, its bytes.
            whole: the content type of a body that is one value.
        """
        nonce = announcing_nonce(self._secret, self._random) if self._with_end else self._random(NONCE_BYTES)
        sealer, opener = begin(self._secret, nonce, self._random)
        ending = Ending(path)
        if self._means is not None:
            ending.plain(MEANS.decode(), self._means)
        if _endpoint(path).form is Form.WHOLE and isinstance(content, bytes):
            ending.plain("content-type", whole)
            kind, body = whole, sealer.seal(content)
        else:
            kind, body = self._sealed(_endpoint(path), content, sealer.seal_all, ending)
        headers = [(b"content-type", kind), (b"privatemode-secret-id", self._secret.id.encode())]
        if self._means is not None:
            headers.append((MEANS, self._means))
        if self._with_end:
            headers.append((HEADER, ending.seal(sealer)))
        return SealedExchange(path, headers, body, opener)

    def _sealed(
        self, endpoint: Endpoint, content: bytes | Mapping[str, object] | Sequence[Part], seal: Turn, ending: Ending
    ) -> tuple[bytes, bytes]:
        if endpoint.form is Form.JSON and isinstance(content, bytes | Mapping):
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            return b"application/json", turn_fields(scan(text), endpoint.plain_request, seal, ending)
        assert endpoint.form is Form.MULTIPART
        assert not isinstance(content, bytes | Mapping)
        in_order = sorted(content, key=lambda part: (part.is_file, part.name))
        boundary = self._random(BOUNDARY_BYTES).hex().encode()
        return content_type(boundary), encode_form(turn_parts(in_order, endpoint.plain_request, seal, ending), boundary)


def _endpoint(path: str) -> Endpoint:
    endpoint = endpoint_of(path)
    assert endpoint is not None, f"{path} is not encrypted"
    return endpoint
