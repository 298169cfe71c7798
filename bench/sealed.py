"""Encryption as fast as it goes: all that doesn't depend on a request's secret and nonce is worked out before."""

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, cast

from privity.protocol.agreement import respond
from privity.protocol.bodies import turn_fields
from privity.protocol.ending import HEADER, Ending, as_comment
from privity.protocol.endpoints import Endpoint, endpoint_of
from privity.protocol.exchange import NONCE_BYTES, Sealer
from privity.protocol.fields import scan
from privity.protocol.mesh import Identity
from privity.protocol.secret import SECRET_BYTES, Secret

KNOWN = Secret(b64encode(bytes(32)).decode(), bytes(SECRET_BYTES))
"""A secret that needs no agreement, for loads that reach the deployment with nothing in between."""

_ADDRESS = re.compile(rb'"([A-Za-z0-9+/]{43}=):([0-9a-f]{24}):')
_HOLE = b"\x00"

LAST_EVENT = b"data: [DONE]\n\n"


def sealed_request(path: str, body: bytes) -> bytes:
    """Return a request's body, encrypted; the same each time it is sent, unlike real ones."""
    sealer = Sealer(KNOWN, bytes(NONCE_BYTES))
    return turn_fields(scan(body), _endpoint(path).plain_request, sealer.seal_all, Ending(path))


def seal_value(value: bytes) -> bytes:
    """Return the first value of a request, encrypted."""
    return Sealer(KNOWN, bytes(NONCE_BYTES)).seal(value)


class Secrets:
    """The secrets that were agreed on.

    Args:
        identity: the secret service's.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._known = {KNOWN.id: KNOWN}

    def agree(self, request: bytes) -> bytes:
        """Return the response to one side of an agreement."""
        response, secret = respond(request, self._identity)
        self._known[secret.id] = secret
        return response

    def sealer(self, request: bytes) -> Sealer | None:
        """Return what seals the answer to a request, by its first value; None where nobody knows the secret."""
        found = _ADDRESS.search(request)
        secret = self._known.get(found[1].decode()) if found else None
        return None if found is None or secret is None else Sealer(secret, bytes.fromhex(found[2].decode()))


class _Tape:
    """Keeps what a digest would take in."""

    def __init__(self) -> None:
        self.text = b""

    def update(self, text: bytes) -> None:
        self.text += text


class _PreparedEnding(Ending):
    """Takes in what is known before in one go."""

    def __init__(self, context: str, *, tape: _Tape | None = None) -> None:
        super().__init__(context)
        if tape is not None:
            self._digest = cast("Any", tape)

    def take_in(self, text: bytes) -> None:
        self._digest.update(text)


class Template:
    """A JSON object whose encrypted values are all that changes.

    Attributes:
        form: its bytes, with `%b` for each encrypted value.
        length: of the encrypted object.
        digested: what an ending takes in for it, an event's type included.
    """

    def __init__(self, path: str, body: bytes, event_type: bytes | None = None) -> None:
        plain = _endpoint(path).plain_answer
        fields = scan(body)
        by_name = sorted(range(len(fields.names)), key=fields.names.__getitem__)
        order = [each for each in by_name if fields.names[each] not in plain]
        self._values = [fields.values[each] for each in order]
        self._places = [order.index(each) for each in sorted(order)]
        with_holes = [_HOLE if at in order else value for at, value in enumerate(fields.values)]
        self.form = fields.with_values(with_holes).replace(b"%", b"%%").replace(_HOLE, b"%b")
        tape = _Tape()
        ending = _PreparedEnding("", tape=tape)
        if event_type is not None:
            ending.event(event_type)
        sealer = Sealer(KNOWN, bytes(NONCE_BYTES))
        self.length = len(turn_fields(fields, plain, sealer.seal_all, ending))
        self.digested = tape.text

    def seal(self, sealer: Sealer) -> tuple[bytes, ...]:
        """Return what fills the form."""
        sealed = [sealer.seal(value) for value in self._values]
        return tuple([sealed[place] for place in self._places])


class WholeAnswer:
    """An answer that is all there, with its head."""

    def __init__(self, path: str, body: bytes) -> None:
        self._template = Template(path, body)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % self._template.length
        self._form = head + HEADER + b": %b\r\n\r\n" + self._template.form

    def seal(self, sealer: Sealer) -> bytes:
        """Return the bytes of the answer to one request."""
        ending = _PreparedEnding("200")
        ending.take_in(self._template.digested)
        values = self._template.seal(sealer)
        return self._form % (ending.seal(sealer), *values)


class StreamedAnswer:
    """The events of an answer."""

    def __init__(self, path: str, data: bytes) -> None:
        self._template = Template(path, data, b"message")
        self._form = b"data: " + self._template.form + b"\n\n"

    def seal(self, sealer: Sealer, count: int) -> Iterator[bytes]:
        """Yield each event, then the end of all."""
        form, template = self._form, self._template
        for _ in range(count):
            yield form % template.seal(sealer)
        ending = _PreparedEnding("200")
        ending.take_in(template.digested * count)
        yield as_comment(ending.seal(sealer)) + LAST_EVENT


def _endpoint(path: str) -> Endpoint:
    endpoint = endpoint_of(path)
    if endpoint is None:
        raise ValueError(f"{path} is not encrypted")
    return endpoint
