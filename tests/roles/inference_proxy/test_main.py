"""The whole role over real sockets, with a tiny model of random weights."""

import json
from pathlib import Path
from typing import Any

from privity.engines.embedded.fetch import ModelFiles
from privity.roles.inference_proxy.config import RemoteEngine, Settings
from privity.roles.inference_proxy.main import serve
from privity.testing.tiny_gguf import write_tiny_gguf
from privity.transport.http_client import PooledHttpClient


async def ask(http: PooledHttpClient, method: str, url: str, body: Any = None) -> tuple[int, Any]:
    sent = b"" if body is None else json.dumps(body).encode()
    response = await http.request(method, url, headers=[(b"content-type", b"application/json")], body=sent)
    async with response:
        return response.status, json.loads(await response.read(10**6))


async def test_an_embedded_engine_is_listed_and_answers(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    files = ModelFiles(model, None, ("org/Tiny", "tiny"), 1234, "org", None, None, None)
    async with serve(Settings(files)) as running, PooledHttpClient() as http:
        status, models = await ask(http, "GET", f"{running.url}/v1/models")
        assert (status, [row["id"] for row in models["data"]]) == (200, ["org/Tiny", "tiny"])
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
        status, answer = await ask(http, "POST", f"{running.url}/v1/chat/completions", body)
        assert (status, answer["model"]) == (200, "tiny")
        assert 1 <= answer["usage"]["completion_tokens"] <= 3  # random weights may end early


async def test_an_engine_that_is_not_there_yet_is_waited_for_with_an_empty_list(tmp_path: Path) -> None:
    nowhere = f"http+unix://{str(tmp_path / 'none.sock').replace('/', '%2F')}"
    async with serve(Settings(RemoteEngine(nowhere))) as running, PooledHttpClient() as http:
        assert await ask(http, "GET", f"{running.url}/v1/models") == (200, {"object": "list", "data": []})
        status, answer = await ask(http, "POST", f"{running.url}/v1/embeddings", {"model": "m", "input": "a"})
        assert (status, answer["error"]["code"]) == (503, "model_unavailable")
