"""What the deployed proxy really sent, at the application: it finds the recorded plain text, and its answers open."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from privity.engines.engine import Answer, Body, EngineModel, Json
from privity.protocol.endpoints import endpoint_of
from privity.protocol.exchange import Opener, addressed_to
from privity.protocol.multipart import Part
from privity.protocol.secret import Secret
from privity.roles.inference_proxy.app import build_app
from privity.roles.inference_proxy.encryption import SealedRequest
from privity.streams import Stream
from privity.testing.in_memory_app import ask_app
from privity.testing.inference_rig import inference_proxy
from privity.testing.sealed import FixedSecrets, SealedExchange
from privity.transport.tasks import Background
from privity.transport.web import PLAIN

RECORDED: Any = json.loads((Path(__file__).parents[2] / "captures" / "deployed-proxy.json").read_bytes())
REQUESTS: list[tuple[str, Any]] = [
    (case["name"], request) for case in RECORDED["cases"] for request in case["upstream"] if "decrypted" in request
]
MODELS = ("m", "e", "gpt-oss-120b", "whisper-large-v3")
EVERYTHING = ("generate", "embed", "transcribe")


def secrets() -> list[Secret]:
    """Return all secrets that the recording agreed on."""
    requests = [*RECORDED["start"], *(each for case in RECORDED["cases"] for each in case["upstream"])]
    agreed = [request["agreed"] for request in requests if "agreed" in request]
    return [Secret(each["secret_id"], bytes.fromhex(each["secret_hex"])) for each in agreed]


class Replaying:
    """An engine that gives the recorded answer."""

    def __init__(self, answers: list[Json]) -> None:
        self._answers = answers
        self.asked: list[Body] = []

    async def describe(self) -> tuple[EngineModel, ...]:
        return tuple(EngineModel(name, EVERYTHING) for name in MODELS)

    async def answer(self, endpoint: str, body: Body) -> Answer:
        assert endpoint.startswith("/v1/")
        self.asked.append(body)
        streams = isinstance(body, dict) and body.get("stream")
        return Stream(each async for each in self._each()) if streams else dict(self._answers[0])

    async def _each(self) -> Any:
        for answer in self._answers:
            yield dict(answer)


def exchange(request: Any) -> SealedExchange:
    headers = [(name.lower().encode(), value.encode()) for name, value in request["headers"]]
    body = request["body"].encode("latin-1")
    endpoint = endpoint_of(request["path"])
    assert endpoint is not None
    address = SealedRequest(endpoint, request["path"], headers, body).secret_id
    secret = next(each for each in secrets() if each.id == address)
    start = body.index(b'"' + secret.id.encode())
    _, nonce = addressed_to(body[start:])
    return SealedExchange(request["path"], headers, body, Opener(secret, nonce))


def check_found(decrypted: Any, found: Body) -> None:
    """Compare what the engine was asked with the recording."""
    if isinstance(found, list):
        named = {part.name: part.value.decode("latin-1") for part in found}
        assert named == {**decrypted["plain"], **decrypted["members"]}
        assert [part.name for part in found if part.is_file] == ["file"]
        return
    for name, raw in decrypted["members"].items():
        value = found[name]
        if isinstance(value, msgspec.Raw):
            assert bytes(value).decode() == raw
        else:
            assert value == json.loads(raw)
    for name, value in decrypted["plain"].items():
        if name == "stream_options":
            assert found[name] == {**value, "include_usage": True, "continuous_usage_stats": True}
        else:
            assert found[name] == value
    assert set(found) == {*decrypted["members"], *decrypted["plain"]}


@pytest.mark.parametrize(("name", "request_"), REQUESTS, ids=[name for name, _ in REQUESTS])
async def test_capture(name: str, request_: Any) -> None:
    sealed = exchange(request_)
    engine = Replaying(request_["answer_plain"])
    proxy = await inference_proxy(engine)
    async with Background() as background:
        app = build_app(proxy, FixedSecrets(*secrets()), background)
        got = await ask_app(app, "POST", sealed.path, sealed.headers, sealed.body)
    assert got.header(PLAIN[0]) is None
    if name == "unstructured":
        assert got.status == 501
        assert "document" in sealed.open_json(got.status, got.headers, got.body)["error"]["message"]
        return
    assert got.status == 200
    check_found(request_["decrypted"], engine.asked[0])
    plain = request_["answer_plain"]
    if got.header(b"content-type") == b"text/event-stream":
        *events, done = sealed.open_events(got.status, got.headers, got.body)
        opened = [event.json() for event in events]
        assert done.data == b"[DONE]"
    else:
        opened = [sealed.open_json(got.status, got.headers, got.body)]
    for found, said in zip(opened, plain, strict=True):
        ours = {"id": found["id"]} if "id" in said else {}
        assert found == said | ours | ({"model": request_["decrypted"]["plain"]["model"]} if "model" in said else {})


@pytest.mark.parametrize(("name", "request_"), REQUESTS, ids=[name for name, _ in REQUESTS])
async def test_capture_of_a_whole_body_is_found_to_the_byte(name: str, request_: Any) -> None:
    endpoint = endpoint_of(request_["path"])
    assert endpoint is not None
    sealed = exchange(request_)
    opened = SealedRequest(endpoint, sealed.path, sealed.headers, sealed.body)
    content = opened.open(await FixedSecrets(*secrets()).find(opened.secret_id)).content
    if name == "unstructured":
        assert content == request_["decrypted"]["body"].encode("latin-1")
    elif name == "transcription":
        assert isinstance(content, list)
        assert Part("file", b"RIFF\0\1data", is_file=True) in content
    else:
        assert isinstance(content, bytes)
        for member, raw in request_["decrypted"]["members"].items():
            assert json.dumps(member).encode() in content
            assert raw.encode() in content
