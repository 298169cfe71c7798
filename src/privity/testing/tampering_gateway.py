"""A gateway that tampers with what passes through it."""

import json
from collections.abc import Callable
from dataclasses import replace

from privity.errors import PrivityError
from privity.http import header
from privity.protocol.ending import HEADER
from privity.protocol.endpoints import endpoint_of
from privity.protocol.multipart import BOUNDARY_BYTES, Part, content_type, encode_form, parse_form
from privity.protocol.routed_model import MEANS
from privity.testing.adversary import (
    JSON,
    Defect,
    Pairs,
    Passing,
    Seen,
    alter_plain,
    drop,
    rename_last,
    swap,
    with_pairs,
)
from privity.testing.adversary_models import ListDefect
from privity.testing.fake_deployment import plain_error
from privity.testing.fake_http import FakeResponse, SentRequest, Server, json_response

_BOUNDARY = bytes(BOUNDARY_BYTES).hex().encode()

RequestDefect = Callable[[SentRequest, SentRequest], SentRequest]
"""Gets a request, and an earlier one of the same app."""


class TamperingGateway:
    """A gateway in front of a deployment; `server` is for a `FakeHttpClient`.

    Attributes:
        defect: what happens to answers; needs two earlier ones, the first to another request.
        request_defect: what happens to requests.
        list_defect: what happens to lists of models.
        asked: the requests for encrypted endpoints, as they came.
    """

    def __init__(self, deployment: Server) -> None:
        self._deployment = deployment
        self._earlier: list[Passing] = []
        self.asked: list[SentRequest] = []
        self.defect: Defect | None = None
        self.request_defect: RequestDefect | None = None
        self.list_defect: ListDefect | None = None

    def server(self, request: SentRequest) -> FakeResponse:
        """Answer one request."""
        if endpoint_of(_path(request)) is None:
            tampers = self.list_defect is not None and "/v1/models?" in request.url
            return self._list(request) if tampers else self._deployment(request)
        self.asked.append(request)
        if self.request_defect is not None:
            request = self.request_defect(request, self.asked[0])
        passing = self._answer(request)
        self._earlier.append(passing)
        if self.defect is not None:
            passing = self.defect(Seen(request, passing, self._answer(request), self._earlier[1], self._earlier[0]))
        return FakeResponse(passing.status, passing.headers, [passing.body])

    def _list(self, request: SentRequest) -> FakeResponse:
        unconditional = [each for each in request.headers if each[0] != b"if-none-match"]
        response = self._deployment(replace(request, headers=unconditional))
        listed = json.loads(b"".join(piece for piece in response.pieces if isinstance(piece, bytes)))
        if self.list_defect is not None:
            self.list_defect(listed)
        return json_response(listed)

    def _answer(self, request: SentRequest) -> Passing:
        try:
            response = self._deployment(request)
        except (PrivityError, StopIteration):  # a real inference proxy says so with a 400
            response = plain_error(400, "The request isn't encrypted for this deployment.")
        pieces = [piece for piece in response.pieces if isinstance(piece, bytes)]
        return Passing(response.status, response.headers, b"".join(pieces))


def _path(request: SentRequest) -> str:
    return "/" + request.url.split("//", 1)[1].partition("/")[2]


def _asked(change: Callable[[Pairs], Pairs]) -> RequestDefect:
    """Change the members of a request's body, or the parts of its form; nothing where it is one value."""

    def defect(request: SentRequest, _before: SentRequest) -> SentRequest:
        kind = header(request.headers, b"content-type") or b""
        if kind == JSON[1]:
            return replace(request, body=with_pairs(request.body, change))
        if not kind.startswith(b"multipart/") or not request.body.startswith(b"--"):  # else it is one value
            return request
        parts = parse_form(request.body, kind)
        pairs = [(part.name, part.value) for part in parts]
        changed = change(pairs)
        if changed == pairs:
            return request
        files = {part.name for part in parts if part.is_file}
        body = encode_form([Part(name, value, name in files) for name, value in changed], _BOUNDARY)
        headers = [each for each in request.headers if each[0] != JSON[0]]
        return replace(request, headers=[*headers, (JSON[0], content_type(_BOUNDARY))], body=body)

    return defect


def _with_end(request: SentRequest, end: bytes | None) -> SentRequest:
    if header(request.headers, HEADER) is None:
        return request
    kept = [each for each in request.headers if each[0] != HEADER]
    return replace(request, headers=kept if end is None else [*kept, (HEADER, end)])


def _meaning(request: SentRequest, model: bytes) -> SentRequest:
    kept = [each for each in request.headers if each[0] != MEANS]
    return replace(request, headers=[*kept, (MEANS, model)])


def _elsewhere(request: SentRequest, _before: SentRequest) -> SentRequest:
    other = {"/v1/chat/completions": "/v1/completions", "/v1/completions": "/v1/chat/completions"}.get(_path(request))
    return request if other is None else replace(request, url=request.url.replace(_path(request), other))


REQUESTS: dict[str, RequestDefect] = {
    "drop the last value": _asked(lambda pairs: drop(1, pairs)),
    "drop the first value": _asked(lambda pairs: drop(0, pairs)),
    "swap two values": _asked(lambda pairs: swap(0, 1, pairs)),
    "rename the last value": _asked(rename_last),
    "alter the model": _asked(lambda pairs: alter_plain("model", b'"x"', pairs)),
    "alter max_tokens": _asked(lambda pairs: alter_plain("max_tokens", b"1", pairs)),
    "alter n": _asked(lambda pairs: alter_plain("n", b"2", pairs)),
    "alter stream": _asked(lambda pairs: alter_plain("stream", b"false", pairs)),
    "send it to another endpoint": _elsewhere,
    "cut it": lambda request, _: replace(request, body=request.body[:-20]),
    "nothing": lambda request, _: replace(request, body=b""),
    "send an old one instead": lambda _, before: before,
    "strip the end": lambda request, _: _with_end(request, None),
    "let it mean another model": lambda request, _: _meaning(request, b"org/other"),
    "an old end": lambda request, before: _with_end(request, header(before.headers, HEADER)),
}
