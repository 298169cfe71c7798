from typing import Any

import msgspec
import pytest

from privity.engines.connection import EngineConnection
from privity.engines.engine import OPENAI_ENDPOINTS, Body, Engine, require_json, values_of
from privity.engines.llama_cpp.adapter import LlamaCppEngine
from privity.engines.ollama import OllamaEngine
from privity.errors import NotSupportedError
from privity.protocol.multipart import Part
from privity.testing.fake_http import FakeHttpClient, json_response

FORM: Body = [Part("model", b"m")]


def test_members_become_values() -> None:
    given: dict[str, Any] = {"a": msgspec.Raw(b"[0.70,12345678901234567890]"), "b": [1], "c": None}
    assert values_of(given) == {"a": [0.7, 12345678901234567890], "b": [1], "c": None}


@pytest.mark.parametrize("path", sorted(OPENAI_ENDPOINTS))
def test_what_is_supported_takes_json(path: str) -> None:
    assert require_json(path, {"model": "m"}, OPENAI_ENDPOINTS) == {"model": "m"}
    with pytest.raises(NotSupportedError):
        require_json(path, FORM, OPENAI_ENDPOINTS)


@pytest.mark.parametrize("kind", [LlamaCppEngine, OllamaEngine])
@pytest.mark.parametrize(("path", "body"), [("/v1/messages", {"model": "m"}), ("/v1/audio/transcriptions", FORM)])
async def test_engines_without_an_endpoint_say_so_and_are_not_asked(
    kind: type[LlamaCppEngine | OllamaEngine], path: str, body: Body
) -> None:
    http = FakeHttpClient(lambda _request: json_response({}))
    engine: Engine = kind(EngineConnection(http, "http://engine", 7.0))
    with pytest.raises(NotSupportedError, match=path) as caught:
        await engine.answer(path, body)
    assert caught.value.status == 501
    assert http.sent == []
