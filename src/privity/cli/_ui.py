"""All that Privity says to a person at a terminal."""

import json
import os
import shlex
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from privity import __version__
from privity.cli.models import text as models_text
from privity.errors import printable

STOPPING = "Stopping …"
INTERRUPTED = "Stopped before it began to serve."

DEMO_SIZE = (
    "SmolLM2-135M is a demo-size model: fluent, fast, and often wrong. A better one:\n"
    "  privity up --model hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:qwen2.5-1.5b-instruct-q4_k_m.gguf\n"
    "  privity up --model openai:http://localhost:8000/v1     (vLLM, Ollama, llama.cpp, … that already runs)"
)

NO_SPEECH = "Speech to text needs one more package: pip install 'privity[audio]'"

START_ONE = "Start everything on this machine with `privity up`, or name a running one with --base-url."


def stopping(under_way: int) -> str:
    """Return what is said when a program begins to stop, and how many answers it still waits for."""
    if not under_way:
        return STOPPING
    answers = "answer" if under_way == 1 else "answers"
    return f"Stopping: {under_way} {answers} under way; Ctrl-C again to stop now"


def say(text: str = "") -> None:
    """Print a line for the user."""
    draw(text + "\n")


def draw(text: str) -> None:
    """Print exactly this, with `?` for what the terminal's encoding doesn't have."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def tell(text: str) -> None:
    """Print a line beside the output proper: progress and problems."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def bold(text: str) -> str:
    """Return text that stands out on a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return left-aligned columns under their heads; what could steer the terminal is shown as `?`."""
    first, *others = table_lines(head, rows)
    return "\n".join([bold(first), *others])


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, in no other face than the rest."""
    lines = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(columns_of(line[column]) for line in lines) for column in range(len(head))]
    padded = (zip(line, widths, strict=True) for line in lines)
    return ["  ".join(cell + " " * (width - columns_of(cell)) for cell, width in line).rstrip() for line in padded]


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clipped(text: str, columns: int) -> str:
    """Return as much of a text as a line of so many columns has room for."""
    if columns_of(text) <= columns:
        return text
    room = columns - 1
    for end, character in enumerate(text):
        room -= _columns(character)
        if room < 0:
            return text[:end] + "…"
    return text


def models_table(rows: Iterable[dict[str, Any]], *, vouched: bool = False) -> str:
    """Return the rows of `GET /v1/models`, one line a model, its other IDs beside it.

    Args:
        rows: of the list.
        vouched: whether each line says if the deployment vouches for it.
    """
    return table(models_text.head(vouched=vouched), models_text.cells(rows, vouched=vouched).values())


def block(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and their values, one a line; what could steer the terminal is shown as `?`."""
    shown = [(printable(name), printable(value)) for name, value in pairs]
    width = max((columns_of(name) for name, _ in shown), default=0)
    return "\n".join(f"{name}{' ' * (width - columns_of(name))}  {value}" for name, value in shown)


def up_screen(
    url: str,
    rows: Sequence[dict[str, Any]],
    gateway: str,
    mesh_ca: Path,
    hints: Sequence[str] = (),
) -> str:
    """Return the one screen of `privity up`; `hints` are what to do next."""
    port = url.rsplit(":", 1)[1]
    base = f"http://localhost:{port}"
    parts = [
        bold(f"Privity {__version__} serves on {base}"),
        models_table(rows),
        bold("Try it in another terminal") + "\n" + _commands(port, rows) + "\n\n" + _snippet(base, rows),
        bold("What is encrypted, and what that rests on") + "\n" + _trust(gateway, mesh_ca),
        *hints,
        "Stop with Ctrl-C.",
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def hints(*, speech: bool) -> tuple[str, ...]:
    """Return what is said of the default models; `speech` is whether there is an engine for it."""
    return (DEMO_SIZE,) if speech else (DEMO_SIZE, NO_SPEECH)


def _trust(gateway: str, mesh_ca: Path) -> str:
    return f"""\
  Prompts and answers are encrypted from the proxy to the inference proxy beside each engine. The gateway between
  them sees names of models, token counts and sizes. The proxy trusts this run's mesh CA, made for it just now:
    {mesh_ca}
  No hardware protects any of it and nothing is attested: this is a development platform. To run another proxy:
    privity proxy --gateway {gateway} --mesh-ca {shlex.quote(str(mesh_ca))} --port 8090"""


def _shortest(rows: Sequence[dict[str, Any]], task: str) -> str | None:
    """Return the shortest ID of a model that can do it, if one can."""
    return min((row["id"] for row in rows if task in row["tasks"]), key=len, default=None)


def _commands(port: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"  curl localhost:{port}/v1/models"]
    hears = _shortest(rows, "transcribe")
    if hears is not None:
        form = f"-F model={shlex.quote(hears)} -F response_format=text -F file=@speech.wav"
        lines.append(f"  curl localhost:{port}/v1/audio/transcriptions {form}")
    return "\n".join(lines)


def _snippet(base: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = ["from openai import OpenAI", f'client = OpenAI(base_url="{base}/v1", api_key="unused")']
    chat, embed = _shortest(rows, "generate"), _shortest(rows, "embed")
    if chat is not None:
        lines += [
            "answer = client.chat.completions.create(",
            f'    model={json.dumps(chat)}, messages=[{{"role": "user", "content": "Write a haiku about privacy."}}]',
            ")",
            "print(answer.choices[0].message.content)",
        ]
    elif embed is not None:
        lines += [
            f'answer = client.embeddings.create(model={json.dumps(embed)}, input="confidential")',
            "print(len(answer.data[0].embedding))",
        ]
    return "\n".join(lines)
