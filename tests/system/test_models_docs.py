"""Every command of docs/models-api.md, run, and its answer compared with the page.

`PRIVITY_WRITE_DOCS=1 pytest tests/system/test_models_docs.py` puts the answers of now into the page.
"""

import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from privity.testing.programs import PRIVITY, Up, eventually, http

PAGE = Path(__file__).parents[2] / "docs" / "models-api.md"
WIDTH = 110
MAX_LINES = 260
MODELS = 3

BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
VARIES = (
    (re.compile(r'(?<="age_seconds": )[0-9.]+'), "0.4"),
    (re.compile(r'(?<="at": ")[^"]+|(?<="at":")[^"]+'), "2026-11-23T09:00:00Z"),
    (re.compile(r"(?<=age_seconds=)[0-9.]+"), "0.4"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), "8e7eecee0670231980823db1d0ab1877"),
    (re.compile(r"(?<=^date: ).*", re.MULTILINE), "Mon, 23 Nov 2026 09:00:00 GMT"),
)
"""What is another one at each run, and what stands on the page in its place."""


def pretty(value: Any, indent: int = 0) -> str:
    """Return JSON for people: as much in each line as fits."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) <= WIDTH or not isinstance(value, dict | list) or not value:
        return line
    if isinstance(value, list):
        parts, ends = [pretty(each, indent + 2) for each in value], "[]"
    else:
        parts, ends = [f"{json.dumps(name)}: {pretty(each, indent + 2)}" for name, each in value.items()], "{}"
    lines = [parts[0]]
    for before, part in pairwise(parts):
        if "\n" in before + part or indent + len(f"{lines[-1]}, {part},") > WIDTH:
            lines.append(part)
        else:
            lines[-1] += f", {part}"
    inner = "\n" + " " * (indent + 2)
    return f"{ends[0]}{inner}{f',{inner}'.join(lines)}\n{' ' * indent}{ends[1]}"


def steady(text: str) -> str:
    for varies, instead in VARIES:
        text = varies.sub(instead, text)
    return text


def answer(commands: str, url: str, directory: Path) -> str:
    """Run a block of the page; return what it prints, at the address and with the programs of here."""
    here = commands.replace("localhost:8080", url.removeprefix("http://").replace("127.0.0.1", "localhost"))
    here = re.sub(r"^curl ", "curl -s ", here, flags=re.MULTILINE)
    here = re.sub(r"^(privity models.*)$", rf"\1 --base-url {url}", here, flags=re.MULTILINE)
    path = f"{PRIVITY.parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["sh", "-c", here], cwd=directory, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    return ran.stdout.replace("\r", "")


def shown(kind: str, text: str) -> str:
    """Return an answer as it stands on the page."""
    if kind == "json":
        text = pretty(json.loads(text))
    return steady("\n".join(line.rstrip() for line in text.strip("\n").splitlines())) + "\n"


def page_of_now(page: str, url: str, directory: Path) -> str:
    """Return the page with the answers that its commands give now."""
    blocks = list(BLOCK.finditer(page))
    parts, end = [], 0
    for number, block in enumerate(blocks):
        kind, text = block["kind"], block["text"]
        if kind == "toml":
            (directory / text.splitlines()[0].removeprefix("# ")).write_text(text)
        if kind in ("json", "text"):
            commands = blocks[number - 1]
            assert commands["kind"] == "sh", text
            now = shown(kind, answer(commands["text"], url, directory))
            parts += [page[end : block.start("text")], now]
            end = block.end("text")
    return "".join([*parts, page[end:]])


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl (CI installs it)")
def test_the_answers_on_the_page_are_those_of_a_running_system(running: Up, tmp_path: Path) -> None:
    def is_whole() -> bool:
        return http("GET", f"{running.url}/v1/models?aliases=collapse").body.count(b'"status":"available"') == MODELS

    eventually(is_whole, "all models are available")
    page = PAGE.read_text()
    now = page_of_now(page, running.url, tmp_path)
    if os.environ.get("PRIVITY_WRITE_DOCS"):
        PAGE.write_text(now)
    else:
        assert page == now


def test_each_command_on_the_page_has_its_answer() -> None:
    kinds = [block["kind"] for block in BLOCK.finditer(PAGE.read_text())]
    for number, kind in enumerate(kinds):
        assert kind in ("sh", "json", "text", "toml")
        if kind == "sh":
            assert kinds[number + 1] in ("json", "text")


def test_the_page_is_one_that_is_read() -> None:
    lines = PAGE.read_text().splitlines()
    assert len(lines) <= MAX_LINES
    assert "Last-Event-ID" in PAGE.read_text()
