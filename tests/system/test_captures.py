"""What the deployed proxy really sent, through a gateway and an inference proxy with real listeners between them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from privity.engines.connection import EngineConnection
from privity.engines.engine import NativeEngine
from privity.engines.openai_compatible import OpenAICompatibleEngine
from privity.engines.translation.engine import TranslatingEngine
from privity.http import header
from privity.protocol.bodies import open_fields
from privity.protocol.ending import Ending
from privity.protocol.endpoints import endpoint_of
from privity.protocol.exchange import Opener
from privity.protocol.mesh import MeshCa
from privity.protocol.secret import Secret
from privity.roles.gateway import main as gateway
from privity.roles.gateway.config import Served
from privity.roles.gateway.config import Settings as GatewaySettings
from privity.roles.inference_proxy.app import build_app
from privity.testing.fake_http import FakeHttpClient, FakeResponse, SentRequest, event_response, json_response
from privity.testing.inference_rig import inference_proxy
from privity.testing.sealed import FixedSecrets
from privity.transport.http_client import PooledHttpClient
from privity.transport.server import listening
from privity.transport.tasks import Background

RECORDED: Any = json.loads((Path(__file__).parents[1] / "captures" / "deployed-proxy.json").read_bytes())
AGREED = [RECORDED["start"][1], *(each for case in RECORDED["cases"] for each in case["upstream"])]
SECRETS = {
    each["agreed"]["secret_id"]: Secret(each["agreed"]["secret_id"], bytes.fromhex(each["agreed"]["secret_hex"]))
    for each in AGREED
    if "agreed" in each
}
REQUESTS = [
    pytest.param(request, id=case["name"])
    for case in RECORDED["cases"]
    for request in case["upstream"]
    if "answer_plain" in request and request["path"].startswith("/v1/")
]
NOT_SENT = {"host", "connection", "content-length"}
EVERYTHING = ("generate", "embed", "transcribe")


@asynccontextmanager
async def deployment(answers: list[Any], *, translates: bool = False) -> AsyncIterator[tuple[str, FakeHttpClient]]:
    """Yield a gateway's URL, and the engine behind it, which gives the recorded answer."""

    def engine(request: SentRequest) -> FakeResponse:
        if request.url.endswith("/v1/models"):
            return json_response({"data": [{"id": name} for name in ("m", "e", "gpt-oss-120b", "whisper-large-v3")]})
        return event_response(answers) if b'"stream":true' in request.body else json_response(answers[0])

    http = FakeHttpClient(engine)
    native: NativeEngine = OpenAICompatibleEngine(EngineConnection(http, "http://engine", 60), EVERYTHING)
    proxy = await inference_proxy(TranslatingEngine(native) if translates else native)
    async with Background() as background:
        app = build_app(proxy, FixedSecrets(*SECRETS.values()), background)
        async with listening(app, "127.0.0.1", 0, "inference proxy") as url:
            settings = GatewaySettings(Served((url,)), (), MeshCa.create(datetime.now(UTC)).certificate)
            async with gateway.serve(settings) as running:
                yield running.url, http


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_captured_request_is_understood_and_its_answer_opens(request_: Any) -> None:
    sent = [(k.lower().encode(), v.encode()) for k, v in request_["headers"] if k.lower() not in NOT_SENT]
    body = request_["body"].encode("latin-1")
    async with (
        deployment(request_["answer_plain"]) as (url, engine),
        PooledHttpClient() as http,
        await http.request("POST", url + request_["path"], headers=sent, body=body) as response,
    ):
        assert response.status == 200
        got = await response.read(1 << 20)
    for raw in request_["decrypted"]["members"].values():
        assert raw.encode("latin-1" if "parts_in_order" in request_["decrypted"] else "utf-8") in engine.sent[-1].body
    assert plain_answer(request_, header(sent, b"privatemode-secret-id"), got) == request_["answer_plain"]


async def test_a_captured_message_is_translated_where_the_engine_has_only_chats() -> None:
    request_: Any = next(each.values[0] for each in REQUESTS if each.id == "messages")
    sent = [(k.lower().encode(), v.encode()) for k, v in request_["headers"] if k.lower() not in NOT_SENT]
    body = request_["body"].encode("latin-1")
    choice = {"message": {"content": "Grüße 🙂"}, "finish_reason": "stop"}
    chat = {"id": "c", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    async with (
        deployment([chat], translates=True) as (url, engine),
        PooledHttpClient() as http,
        await http.request("POST", url + "/v1/messages", headers=sent, body=body) as response,
    ):
        assert response.status == 200
        got = await response.read(1 << 20)
    asked = engine.sent[-1].json()
    assert engine.sent[-1].url == "http://engine/v1/chat/completions"
    assert asked["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": 'Grüße "x" 🙂'},
    ]
    assert (asked["max_tokens"], asked["cache_salt"]) == (10, "M9ozAkxiw8faVwSGOsDEj1kveQY7K5UlTaQZ2A4xPww=")
    (recorded,) = request_["answer_plain"]
    (answer,) = plain_answer(request_, header(sent, b"privatemode-secret-id"), got)
    usage = recorded["usage"] | {"cache_creation_input_tokens": 0}
    assert answer == recorded | {"usage": usage}


def plain_answer(request_: Any, secret_id: bytes | None, got: bytes) -> list[Any]:
    """Return the objects of an answer as the recorded client would open it, under the model's name for the app."""
    endpoint = endpoint_of(request_["path"])
    assert endpoint is not None
    assert secret_id is not None
    nonce = bytes.fromhex(request_["body"].split(secret_id.decode() + ":", 1)[1].split(":", 1)[0])
    opener = Opener(SECRETS[secret_id.decode()], nonce)
    *events, rest = [line.removeprefix(b"data: ") for line in got.strip().split(b"\n\n")]
    bodies = events if rest == b"[DONE]" else [*events, rest]
    opened = [json.loads(open_fields(body, endpoint.plain_answer, opener.open_all, Ending(""))) for body in bodies]
    ours = ("id", "model")  # the ID is never the engine's, and the model's name is the one that was asked for
    return [
        each | {name: recorded[name] for name in ours if name in recorded}
        for each, recorded in zip(opened, request_["answer_plain"], strict=True)
    ]
