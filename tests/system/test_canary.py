"""A random string in every place that must stay secret, looked for wherever it must not be."""

import base64
import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from privity.testing.fake_engine import MODEL, FakeEngine, fake_engine
from privity.testing.pictures import PNG, data_url, image_part
from privity.testing.programs import Answer, http
from privity.testing.separate_roles import SeparateRoles, separate_roles

TRANSPARENT = (sys.executable, "-m", "privity.testing.transparent")
TASKS = "#tasks=generate,tool_calling,vision,embed,transcribe"


def spellings(canary: str) -> set[bytes]:
    """Return the canary as it would look in clear, in hex, and in base64 at each of its three alignments."""
    raw = canary.encode()
    aligned = {base64.b64encode(raw[skip : skip + (len(raw) - skip) // 3 * 3]) for skip in range(3)}
    return {raw, raw.hex().encode(), raw.hex().upper().encode(), *aligned}


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as running:
        yield running


def ask_everything(url: str, canary: str) -> dict[str, Answer]:
    """Send the canary in every encrypted place of every endpoint; return the answers by what was asked."""
    tool = {"type": "function", "function": {"name": canary, "parameters": {"type": "object", "title": canary}}}
    chat = {"model": MODEL, "messages": [{"role": "user", "content": canary}], "tools": [tool], "unknown": canary}
    image = image_part(data_url(PNG + canary.encode()))
    asked = {
        "chat": ("/v1/chat/completions", chat),
        "stream": ("/v1/chat/completions", chat | {"stream": True}),
        "image": ("/v1/chat/completions", chat | {"messages": [{"role": "user", "content": [image]}]}),
        "salt": ("/v1/chat/completions", chat | {"cache_salt": canary * 2}),
        "completion": ("/v1/completions", {"model": MODEL, "prompt": canary, "suffix": canary, "stream": True}),
        "embedding": ("/v1/embeddings", {"model": MODEL, "input": [canary], "user": canary}),
        "message": ("/v1/messages", {"model": MODEL, "max_tokens": 9, "system": canary, "messages": chat["messages"]}),
        "count": ("/v1/messages/count_tokens", {"model": MODEL, "system": canary, "messages": chat["messages"]}),
        "message stream": (
            "/v1/messages",
            {"model": MODEL, "max_tokens": 9, "stream": True, "messages": chat["messages"]},
        ),
        "refused": (
            "/v1/chat/completions",
            chat | {"tool_choice": {"type": "function", "function": {"name": "x" + canary}}},
        ),
        "no such role": ("/v1/chat/completions", chat | {"messages": [{"role": canary, "content": canary}]}),
    }
    answers = {
        name: http("POST", url + path, json.dumps(body).encode(), content_type="application/json")
        for name, (path, body) in asked.items()
    }
    forms = {
        "transcription": ("transcriptions", {}),
        "transcription stream": ("transcriptions", {"stream": "true"}),
        "captions": ("transcriptions", {"response_format": "vtt"}),
        "translation": ("translations", {"response_format": "text"}),
    }
    answers |= {name: say(f"{url}/v1/audio/{path}", canary, fields) for name, (path, fields) in forms.items()}
    document = http("POST", url + "/unstructured/general/v0/general", canary.encode(), content_type="text/plain")
    return answers | {"document": document}


def say(url: str, canary: str, fields: dict[str, str]) -> Answer:
    """Send a form with the canary in its recording, in the recording's name and in the prompt."""
    values = [(name, "", value) for name, value in ({"model": MODEL, "prompt": canary} | fields).items()]
    values.append(("file", f'; filename="{canary}.wav"', "RIFF" + canary))
    form = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'
        for name, extra, value in values
    )
    return http("POST", url, (form + "--b--\r\n").encode(), content_type="multipart/form-data; boundary=b")


def found(canary: str, roles: SeparateRoles, directory: Path) -> list[str]:
    """Return where the canary is: on which wires, and in which files."""
    looked_for = spellings(canary)

    def holds(content: bytes) -> bool:
        return any(spelling in content for spelling in looked_for)

    wires = [name for name, wire in roles.wires.items() if holds(wire.heard())]
    files = [
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() and holds(path.read_bytes())
    ]
    return wires + files


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory where everything goes that a program writes by itself."""
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_a_canary_is_nowhere_on_wires_in_logs_or_on_disk(engine: FakeEngine, home: Path) -> None:
    canary, key = f"canary{secrets.token_hex(24)}", f"key{secrets.token_hex(24)}"
    engine.says = canary
    with separate_roles(home, f"openai:{engine.url}{TASKS}", api_key=key) as roles:
        answers = ask_everything(roles.url, canary)
        engine.behaviour = "fail"
        failed = ask_everything(roles.url, canary)
        assert found(canary, roles, home) == []
        assert found(key, roles, home) == ["secret-service", "gateway"][1:]
    assert {name: answer.status for name, answer in answers.items() if answer.status != 200} == {
        "refused": 400,
        "no such role": 400,
        "document": 404,
    }
    texts = ("chat", "stream", "completion", "embedding", "message", "message stream", "transcription")
    for name in (*texts, "transcription stream", "captions", "translation"):
        assert canary.encode() in answers[name].body, name
    assert canary.encode() in answers["refused"].body
    assert {answer.status for name, answer in failed.items() if name in ("chat", "transcription")} == {502}
    assert canary.encode() in engine.last_body


def test_without_encryption_the_same_search_finds_the_canary(engine: FakeEngine, home: Path) -> None:
    canary = f"canary{secrets.token_hex(24)}"
    engine.says = canary
    with separate_roles(home, f"openai:{engine.url}{TASKS}", command=TRANSPARENT) as roles:
        answers = ask_everything(roles.url, canary)
        assert answers["chat"].status == 200
        assert found(canary, roles, home) == ["gateway"]
