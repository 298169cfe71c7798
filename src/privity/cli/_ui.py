"""All that Privity says to a person at a terminal."""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from privity import __version__

STOPPING = "Stopping …"
INTERRUPTED = "Stopped before it began to serve."

DEMO_SIZE = (
    "SmolLM2-135M is a demo-size model: fluent, fast, and often wrong. A better one:\n"
    "  privity up --model hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:qwen2.5-1.5b-instruct-q4_k_m.gguf\n"
    "  privity up --model openai:http://localhost:8000/v1     (vLLM, Ollama, llama.cpp, … that already runs)"
)

START_ONE = "Start everything on this machine with `privity up`, or name a running one with --base-url."


def say(text: str = "") -> None:
    """Print a line for the user."""
    sys.stdout.write(text + "\n")
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
    lines = [list(head), *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([bold(padded[0]), *padded[1:]])


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def models_table(rows: Iterable[dict[str, Any]]) -> str:
    """Return the rows of `GET /v1/models`, one line a model, its other IDs beside it."""
    lines = [
        (
            row["id"],
            ", ".join(row.get("aliases", ())) or "-",
            ", ".join(row.get("tasks", ())) or "-",
            str(row.get("context_length", "-")),
            row.get("status", "-"),
        )
        for row in rows
        if row.get("canonical", row["id"]) == row["id"]
    ]
    return table(("ID", "ALIASES", "TASKS", "CONTEXT", "STATE"), lines)


def up_screen(
    url: str,
    rows: Sequence[dict[str, Any]],
    gateway: str,
    mesh_ca: Path,
    default_models: bool,  # noqa: FBT001
) -> str:
    """Return the one screen of `privity up`."""
    port = url.rsplit(":", 1)[1]
    base = f"http://localhost:{port}"
    parts = [
        bold(f"Privity {__version__} serves on {base}"),
        models_table(rows),
        bold("Try it in another terminal") + f"\n  curl localhost:{port}/v1/models\n\n" + _snippet(base, rows),
        bold("What is encrypted, and what that rests on") + "\n" + _trust(gateway, mesh_ca),
        *([DEMO_SIZE] if default_models else []),
        "Stop with Ctrl-C.",
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def _trust(gateway: str, mesh_ca: Path) -> str:
    return f"""\
  Prompts and answers are encrypted from the proxy to the inference proxy beside each engine. The gateway between
  them sees names of models, token counts and sizes. The proxy trusts this run's mesh CA, made for it just now:
    {mesh_ca}
  No hardware protects any of it and nothing is attested: this is a development platform. To run another proxy:
    privity proxy --gateway {gateway} --mesh-ca {shlex.quote(str(mesh_ca))} --port 8090"""


def _snippet(base: str, rows: Sequence[dict[str, Any]]) -> str:
    def shortest(task: str) -> str | None:
        ids = [row["id"] for row in rows if task in row["tasks"]]
        return min(ids, key=len) if ids else None

    lines = ["from openai import OpenAI", f'client = OpenAI(base_url="{base}/v1", api_key="unused")']
    chat, embed = shortest("generate"), shortest("embed")
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
