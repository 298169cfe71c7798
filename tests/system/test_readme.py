"""Every command of the README, run."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.protocol.mesh import MeshCa
from privity.testing.fake_engine import MODEL, fake_engine
from privity.testing.fake_hub import FakeHub
from privity.testing.programs import PRIVITY, Up, free_port, http, program
from privity.testing.tiny_gguf import write_tiny_gguf

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]


def words(command: str) -> list[str]:
    """Return the arguments of a `privity` command, without the command itself."""
    name, *arguments = shlex.split(command)
    assert name in (".venv/bin/privity", "privity")
    return arguments


def at_port(arguments: list[str], port: int) -> list[str]:
    """Return a command's arguments with a free port of ours in place of the one that is printed."""
    if "--port" in arguments:
        arguments[arguments.index("--port") + 1] = str(port)
        return arguments
    return [*arguments, "--port", str(port)]


def test_make_sets_up_and_then_runs() -> None:
    def steps(target: str) -> str:
        return subprocess.run(
            ["make", "--dry-run", "--no-print-directory", target], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout

    assert steps("up").splitlines()[-1] == ".venv/bin/privity up"
    assert steps("test").splitlines()[-1] == ".venv/bin/python -m pytest"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl (CI installs it)")
def test_curl_shows_the_list(running: Up) -> None:
    assert "curl localhost:8080/v1/models" in COMMANDS
    port = running.url.rsplit(":", 1)[1]
    shown = subprocess.run(["curl", "-sS", f"localhost:{port}/v1/models"], capture_output=True, check=True).stdout
    assert shown == http("GET", f"{running.url}/v1/models").body


def test_the_python_snippet_runs(running: Up) -> None:
    (snippet,) = blocks("python")
    here = snippet.replace("http://localhost:8080", running.url)
    shown = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(shown) >= 2
    assert shown[-1] == "384"


@pytest.mark.parametrize("command", [each for each in COMMANDS if "up --model hf:" in each])
def test_a_model_from_a_hub(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = words(command)
    _, repository, file = arguments[-1].split(":")
    write_tiny_gguf(tmp_path / file)
    with FakeHub() as hub:
        hub.add(repository, file, (tmp_path / file).read_bytes())
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        port = free_port()
        with program(tmp_path, *at_port(arguments, port), "--data-dir", str(tmp_path / "cache")):
            listed = http("GET", f"http://127.0.0.1:{port}/v1/models").body.decode()
    assert repository in listed


def test_a_model_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [each for each in COMMANDS if "--model file:" in each]
    write_tiny_gguf(tmp_path / "model.gguf")
    monkeypatch.chdir(tmp_path)
    port = free_port()
    with program(tmp_path, *at_port(words(command), port)):
        assert b'"id":"model"' in http("GET", f"http://127.0.0.1:{port}/v1/models").body


@pytest.mark.parametrize("command", [each for each in COMMANDS if "up --model openai:" in each])
def test_an_engine_that_runs_already(command: str, tmp_path: Path) -> None:
    port = free_port()
    with fake_engine() as engine:
        arguments = words(command.replace("http://localhost:8000/v1", engine.url))
        with program(tmp_path, *at_port(arguments, port)):
            listed = http("GET", f"http://127.0.0.1:{port}/v1/models").body.decode()
    assert MODEL in listed
    assert ("tool_calling" in listed) == ("tool_calling" in command)


def test_the_roles_as_programs_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = r"\.venv/bin/privity (mesh|secret-service|inference-proxy|gateway|proxy) "
    commands = [each for each in COMMANDS if re.match(pattern, each) and "--config" not in each]
    assert [words(each)[0] for each in commands] == ["mesh", "secret-service", "inference-proxy", "gateway", "proxy"]
    ports = {str(printed): str(free_port()) for printed in range(8080, 8085)}
    monkeypatch.chdir(tmp_path)
    subprocess.run([str(PRIVITY), *words(commands[0])], check=True)
    with fake_engine() as engine, contextlib.ExitStack() as roles:
        for number, command in enumerate(commands[1:]):
            here = command.replace("http://localhost:8000/v1", engine.url)
            for printed, ours in ports.items():
                here = here.replace(printed, ours)
            at_once = ("--drain", "0") if " inference-proxy " in command else ()
            roles.enter_context(program(tmp_path / str(number), *words(here), *at_once))
        assert MODEL.encode() in http("GET", f"http://127.0.0.1:{ports['8080']}/v1/models").body
        asked = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}).encode()
        url = f"http://127.0.0.1:{ports['8080']}/v1/chat/completions"
        assert http("POST", url, asked, content_type="application/json").status == 200


def test_a_gateway_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, serve = [each for each in COMMANDS if "gateway.toml" in each]
    assert [words(each)[0] for each in (check, serve)] == ["config", "gateway"]
    monkeypatch.chdir(tmp_path)
    subprocess.run([str(PRIVITY), "mesh", "mesh"], check=True)
    example = (ROOT / "docs" / "gateway.toml").read_text()
    for name in ("inference-proxy-1:8082", "inference-proxy-2:8082", "secret-service:8083"):
        assert name in example
        example = example.replace(name, f"127.0.0.1:{free_port()}")
    port = free_port()
    (tmp_path / "gateway.toml").write_text(example.replace("port = 8081", f"port = {port}"))
    shown = subprocess.run([str(PRIVITY), *words(check)], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("gateway.toml is valid: 2 inference proxies (1 draining), 1 for documents, 1 model, ")
    with program(tmp_path, *words(serve)):
        answer = http("GET", f"http://127.0.0.1:{port}/v1/models")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_every_file_that_is_linked_is_there() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "models-api.md"):
        linked = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        assert linked
        assert [each for each in linked if not (page.parent / each).exists()] == []


def test_pip_installs_it_whole(tmp_path: Path) -> None:
    assert "pip install ." in COMMANDS
    install = [sys.executable, "-m", "pip", "install", ".", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(tmp_path)]
    subprocess.run([*install, *offline], cwd=ROOT, check=True)
    shipped = subprocess.run(["git", "ls-files", "src/privity"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in shipped.stdout.splitlines():
        assert (tmp_path / name.removeprefix("src/")).is_file(), name


def test_a_proxy_without_its_gateway_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [each for each in COMMANDS if each.startswith("privity proxy")]
    port = free_port()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_bytes(MeshCa.create(datetime.now(UTC)).certificate_pem())
    (tmp_path / "key.txt").write_text("a-key")
    with program(tmp_path, *at_port(words(command), port)):
        answer = http("GET", f"http://127.0.0.1:{port}/v1/models")
    assert (answer.status, answer.error["code"]) == (503, "model_unavailable")


@pytest.mark.parametrize("command", [each for each in COMMANDS if "privity models" in each])
def test_models_lists(running: Up, command: str) -> None:
    called = [str(PRIVITY), *words(command), "--base-url", running.url]
    shown = subprocess.run(called, capture_output=True, text=True, check=True).stdout
    assert "sentence-transformers/all-MiniLM-L6-v2" in shown


def test_there_is_no_command_that_is_not_run_here() -> None:
    run: list[Callable[[str], bool]] = [
        lambda each: each in ("make up", "make test", "curl localhost:8080/v1/models", "pip install ."),
        lambda each: each.startswith(".venv/bin/privity up --model "),
        lambda each: bool(
            re.search(r"privity (mesh|secret-service|inference-proxy|gateway|proxy|models|config)\b", each)
        ),
    ]
    assert [each for each in COMMANDS if not any(known(each) for known in run)] == []
    assert os.access(PRIVITY, os.X_OK)
