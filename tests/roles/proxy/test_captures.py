"""What the deployed proxy received becomes here what its app received (tests/captures/README.md)."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privity.http import Headers, header
from privity.protocol.agreement import Agreement
from privity.protocol.endpoints import Form, endpoint_of
from privity.protocol.exchange import NONCE_BYTES, Opener, addressed_to
from privity.protocol.fields import scan
from privity.protocol.secret import Secret
from privity.roles.proxy.agreements import Agreements
from privity.roles.proxy.answer import Answer
from privity.roles.proxy.api_key import FixedKey
from privity.roles.proxy.headers import HeaderPolicy
from privity.roles.proxy.link import GatewayLink
from privity.roles.proxy.request import read_request
from privity.roles.proxy.service import Proxy
from privity.testing.fake_deployment import FakeDeployment
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest
from privity.testing.proxy_rig import GATEWAY, Answered, Time, read
from privity.transport.tasks import Background

POLICY = HeaderPolicy(ocsp_allow_unknown=True, ocsp_grace_seconds=48 * 3600)
RECORDED: Any = json.loads((Path(__file__).parents[2] / "captures" / "deployed-proxy.json").read_bytes())
SECRETS = {
    each["agreed"]["secret_id"]: Secret(each["agreed"]["secret_id"], bytes.fromhex(each["agreed"]["secret_hex"]))
    for each in [*RECORDED["start"], *(request for case in RECORDED["cases"] for request in case["upstream"])]
    if "agreed" in each
}
CASES = {
    case["name"]: case
    for case in RECORDED["cases"]
    if case["app_response"]["status"] == 200 and endpoint_of(case["app_request"]["path"]) is not None
}


def exchanges(case: Any) -> list[Any]:
    return [each for each in case["upstream"] if endpoint_of(each["path"]) is not None]


def address(exchange: Any) -> tuple[Secret, bytes]:
    start = exchange["body"].index('"' + next(each for each in SECRETS if each in exchange["body"]))
    secret_id, nonce = addressed_to(exchange["body"][start:].encode("latin-1"))
    return SECRETS[secret_id], nonce


def response(exchange: Any) -> FakeResponse:
    recorded = exchange["response"]
    headers = [(name.lower().encode(), value.encode()) for name, value in recorded["headers"]]
    kind = (b"content-type", recorded["content_type"].encode())
    return FakeResponse(recorded["status"], [kind, *headers], [recorded["body"].encode("latin-1")])


def app_headers(case: Any) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in case["app_request"]["headers"].items()]


def app_body(case: Any) -> bytes:
    body: bytes = case["app_request"]["body"].encode("latin-1")
    return body


def assert_recorded(case: Any, answered: Answered) -> None:
    recorded = case["app_response"]
    assert (answered.status, answered.body) == (recorded["status"], recorded["body"].encode("latin-1"))
    kinds = [value.encode() for name, value in recorded["headers"] if name == "Content-Type"]
    assert [header(answered.headers, b"content-type")] == kinds


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [None, 1, 7])
async def test_a_capture_of_an_answer_becomes_the_captured_answer_of_the_app(name: str, size: int | None) -> None:
    case = CASES[name]
    path = case["app_request"]["path"]
    exchange = exchanges(case)[-1]
    secret, nonce = address(exchange)
    endpoint = endpoint_of(path)
    assert endpoint is not None
    request = read_request(endpoint, header(app_headers(case), b"content-type"), app_body(case), None, os.urandom)
    upstream = response(exchange)
    if size is not None:
        (whole,) = upstream.pieces
        assert isinstance(whole, bytes)
        upstream.pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    answered = await read(await Answer(request, Opener(secret, nonce), authenticates_end=False).open(upstream))
    assert_recorded(case, answered)
    assert upstream.closed


class RecordedAgreements(Agreements):
    """Holds the recorded secrets, one after the other."""

    secrets: list[Secret]
    on_use: Callable[[], None]

    async def current(self, authorization: bytes | None) -> Agreement:
        assert authorization == b"Bearer test-key-123"
        self.on_use()
        return Agreement(self.secrets[0], authenticates_end=False)

    def forget(self, secret_id: str) -> None:
        assert self.secrets.pop(0).id == secret_id


@pytest.mark.parametrize("name", CASES)
async def test_a_captures_whole_exchange_goes_the_same_way(name: str, background: Background) -> None:
    case = CASES[name]
    recorded = exchanges(case)
    nonces: list[bytes] = []
    remaining = list(recorded)
    time = Time()

    def random(count: int) -> bytes:
        return nonces.pop() if nonces and count == NONCE_BYTES else os.urandom(count)

    http = FakeHttpClient(lambda _: response(remaining.pop(0)))
    ca = FakeDeployment().ca.certificate
    surroundings = time.surroundings(random)
    agreements = RecordedAgreements(http, GATEWAY, ca, FixedKey("test-key-123"), background, surroundings)
    agreements.secrets = [address(each)[0] for each in recorded]
    agreements.on_use = lambda: nonces.append(address(remaining[0])[1])
    proxy = Proxy(GatewayLink(http, GATEWAY, agreements, POLICY, surroundings))
    answered = await read(await proxy.infer(case["app_request"]["path"], app_headers(case), app_body(case)))
    assert_recorded(case, answered)
    assert len(http.sent) == len(recorded)
    for ours, theirs in zip(http.sent, recorded, strict=True):
        assert_sent_alike(ours, theirs)


def assert_sent_alike(ours: SentRequest, theirs: Any) -> None:
    """The same members in the same order, the same plain values, and the same headers, so far as they should leave."""
    endpoint = endpoint_of(theirs["path"])
    assert endpoint is not None
    assert ours.url == GATEWAY + theirs["path"]
    if endpoint.form is Form.JSON:
        mine, recorded = scan(ours.body), scan(theirs["body"].encode("latin-1"))
        assert mine.names == recorded.names
        assert [mine.get(each) for each in endpoint.plain_request] == [
            recorded.get(each) for each in endpoint.plain_request
        ]
    names = {name for name, _ in ours.headers}
    left_out = {"host", "user-agent", "connection", "content-length", "accept-encoding", "x-forwarded-for", "x-api-key"}
    assert {each.decode() for each in names} == {name.lower() for name, _ in theirs["headers"]} - left_out
    recorded_headers = {name.lower().encode(): value.encode() for name, value in theirs["headers"]}
    for name in (b"authorization", b"privatemode-secret-id", b"privatemode-target-model", b"privatemode-shard-key"):
        assert header(ours.headers, name) == recorded_headers.get(name)
