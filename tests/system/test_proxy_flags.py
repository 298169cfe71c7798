"""A proxy of its own with options from everywhere, in front of the deployment that the other tests use, too."""

import json
import re
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from privity.testing.programs import Program, Up, eventually, free_port, http, program
from privity.testing.wiretap import Wiretap, wiretap

CHAT = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Proxy:
    program: Program
    url: str
    directory: Path
    wire: Wiretap
    """Between it and the gateway."""


@pytest.fixture(scope="module")
def proxy(running: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Start a proxy with options on the command line, in the environment, and in a file, each with one that loses."""
    directory, port = tmp_path_factory.mktemp("proxy"), free_port()
    shown = re.search(r"privity proxy --gateway \S+:(\d+) --mesh-ca (.+) --port", running.program.out.read_text())
    assert shown is not None
    (directory / "key").write_text("first-key\n")
    (directory / "proxy.toml").write_text(
        f'api_key = "@key"\nmesh_ca = {json.dumps(shlex.split(shown[2])[0])}\nport = 1\ngateway = "http://127.0.0.1:1"\n'
        'shared_prompt_cache = true\nlog_format = "json"\nworkspace = "workspace"\n'
    )
    with wiretap(int(shown[1])) as wire, pytest.MonkeyPatch.context() as environ:
        environ.setenv("PRIVITY_CONFIG", str(directory / "proxy.toml"))
        environ.setenv("PRIVITY_GATEWAY", f"http://127.0.0.1:{wire.port}")
        environ.setenv("PRIVITY_PORT", "2")
        environ.setenv("PRIVITY_LOG_FORMAT", "text")
        environ.setenv("PRIVITY_APIKEY", "canary")
        with program(directory / "run", "proxy", "--port", str(port), "--dumpRequests", "-l", "warn") as started:
            yield Proxy(started, f"http://127.0.0.1:{port}", directory, wire)


def test_it_serves_by_all_of_them(proxy: Proxy) -> None:
    assert proxy.program.out.read_text() == f"privity proxy serves on {proxy.url}\n"
    assert http("GET", f"{proxy.url}/v1/models").status == 200
    log = proxy.program.err.read_text()
    assert "WARNING privity.cli.proxy: --dump-requests: every prompt and every answer is written to" in log
    assert "Warning: prompts and answers are written to" in log
    assert "unknown environment variables: PRIVITY_APIKEY (did you mean PRIVITY_API_KEY?)" in log
    assert "canary" not in log


def test_what_is_asked_and_answered_is_in_files_of_its_user_alone(proxy: Proxy) -> None:
    with OpenAI(base_url=f"{proxy.url}/v1", api_key="canary-of-the-app", max_retries=0, timeout=120) as client:
        asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Nobody else says this word: xylem."}]
        answer = client.chat.completions.create(model=CHAT, messages=asked, max_tokens=4)
        streamed = client.chat.completions.create(model=CHAT, messages=asked, max_tokens=4, stream=True)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices)
    directory = proxy.directory / "workspace" / "requests"
    files = sorted(directory.iterdir())
    assert [re.sub(r"^\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{12}", "", path.name) for path in files] == [
        *("-answer.http", "-request.http") * 2
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    whole, first, events, _ = (path.read_text() for path in files)
    assert "xylem" in first
    assert json.loads(whole.partition("\n\n")[2])["id"] == answer.id
    texts = re.findall(r'"content": ?("(?:[^"\\]|\\.)*")', events)
    assert "".join(json.loads(text) for text in texts) == said
    assert "authorization: [left out]" in first
    everything = b"".join(path.read_bytes() for path in files)
    assert b"first-key" not in everything
    assert b"canary-of-the-app" not in everything
    assert b"xylem" not in proxy.wire.heard()


def test_a_key_that_is_replaced_in_its_file_is_used_from_then_on(proxy: Proxy) -> None:
    assert http("GET", f"{proxy.url}/v1/models").status == 200
    assert b"Bearer first-key" in proxy.wire.heard()
    (proxy.directory / "new").write_text("second-key")
    (proxy.directory / "new").rename(proxy.directory / "key")

    def is_used() -> bool:
        assert http("GET", f"{proxy.url}/v1/models").status == 200
        return b"Bearer second-key" in proxy.wire.heard()

    eventually(is_used, "the new key on the wire")
    assert "second-key" not in proxy.program.err.read_text()
