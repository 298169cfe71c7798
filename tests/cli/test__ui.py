import ast
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from privity.catalogue.dialects import openai
from privity.catalogue.model import Model
from privity.cli import _ui

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CHAT = Model("org/chat", ("generate", "tool_calling"), 1, "org", ("chat",), context_length=2048)
EMBED = Model("org/embed", ("embed",), 2, "org")


def rows(*models: Model) -> list[dict[str, Any]]:
    return [openai.row(model, each, NOW) for model in models for each in model.ids]


def test_who_stops_a_program_is_told_what_it_waits_for() -> None:
    assert _ui.stopping(0) == _ui.STOPPING
    assert _ui.stopping(1) == "Stopping: 1 answer under way; Ctrl-C again to stop now"
    assert _ui.stopping(2) == "Stopping: 2 answers under way; Ctrl-C again to stop now"


def test_columns_begin_under_their_heads() -> None:
    text = _ui.table(("A", "LONG HEAD", "C"), [("long cell", "b", "c"), ("a", "", "cc")])
    assert text.splitlines() == ["A          LONG HEAD  C", "long cell  b          c", "a                     cc"]


def test_a_table_without_rows_is_its_head() -> None:
    assert _ui.table(("A", "B"), []) == "A  B"


def test_a_cell_that_could_steer_the_terminal_is_neutralised() -> None:
    assert _ui.table(("A",), [("a\x1b]0;title\x07\nb\u202e",)]).splitlines() == ["A", "a?]0;title??b?"]


def test_models_have_one_line_each_with_their_other_ids() -> None:
    assert _ui.models_table(rows(CHAT, EMBED)).splitlines() == [
        "ID         ALIASES  TASKS                   CONTEXT  STATE",
        "org/chat   chat     generate, tool_calling  2048     available",
        "org/embed  -        embed                   -        available",
    ]


def test_a_row_of_another_server_that_says_little_is_shown() -> None:
    assert _ui.models_table([{"id": "gpt", "object": "model"}]).splitlines()[1].split() == ["gpt", "-", "-", "-", "-"]


GATEWAY = "http://127.0.0.1:4567"
MESH_CA = Path("/var/a run's directory/mesh-ca.pem")


def screen(*models: Model, hints: tuple[str, ...] = ()) -> str:
    return _ui.up_screen("http://127.0.0.1:8123", rows(*models), GATEWAY, MESH_CA, hints)


def snippet(shown: str) -> str:
    lines = shown.splitlines()
    begin = next(n for n, line in enumerate(lines) if "import OpenAI" in line)
    return "\n".join(lines[begin : lines.index("", begin)])


def test_the_screen_says_where_it_serves_what_and_how_to_use_and_stop_it() -> None:
    shown = screen(CHAT, EMBED)
    for part in (
        "http://localhost:8123",
        _ui.models_table(rows(CHAT, EMBED)),
        "\n  curl localhost:8123/v1/models\n",
        "Stop with Ctrl-C.",
    ):
        assert part in shown


def test_the_screen_shows_how_speech_is_written_down_where_a_model_hears() -> None:
    assert "audio" not in screen(CHAT)
    hears = Model("org/hears", ("transcribe",), 1, "org", ("hears",))
    command = next(line.split() for line in screen(CHAT, hears).splitlines() if "/v1/audio/" in line)
    assert command[:2] == ["curl", "localhost:8123/v1/audio/transcriptions"]
    assert "model=hears" in command


def test_the_screen_says_what_is_encrypted_for_whom_and_what_that_rests_on() -> None:
    said = " ".join(screen(CHAT).split())
    for part in (
        "Prompts and answers are encrypted from the proxy to the inference proxy beside each engine.",
        "The gateway between them sees names of models, token counts and sizes.",
        f"The proxy trusts this run's mesh CA, made for it just now: {MESH_CA}",
        "No hardware protects any of it and nothing is attested: this is a development platform.",
    ):
        assert part in said


def test_the_screen_names_the_command_that_runs_another_proxy_and_a_shell_understands_it() -> None:
    (command,) = [line for line in screen(CHAT).splitlines() if "privity proxy" in line]
    arguments = ["--gateway", GATEWAY, "--mesh-ca", str(MESH_CA), "--port", "8090"]
    assert shlex.split(command) == ["privity", "proxy", *arguments]


def test_no_line_of_the_screen_but_those_that_hold_a_path_is_wider_than_a_terminal() -> None:
    wide = [line for line in screen(CHAT, EMBED, hints=_ui.hints(speech=False)).splitlines() if len(line) > 120]
    assert all(str(MESH_CA) in line or "mesh-ca.pem" in line for line in wide)


def test_hints_are_shown_and_say_what_is_missing() -> None:
    shown = screen(CHAT, hints=_ui.hints(speech=False))
    assert _ui.DEMO_SIZE in shown
    assert "pip install 'privity[audio]'" in shown
    assert "privity[audio]" not in screen(CHAT, hints=_ui.hints(speech=True))
    assert _ui.DEMO_SIZE not in screen(CHAT)


@pytest.mark.parametrize(
    ("models", "uses"),
    [
        ((CHAT, EMBED), "chat"),
        ((EMBED, CHAT), "chat"),
        ((EMBED,), "org/embed"),
        ((Model('a"\\b\n', ("generate",), 1, "o"),), 'a"\\b\n'),
        ((Model("modèle-模型", ("embed",), 1, "o"),), "modèle-模型"),
        ((Model('")\nimport os #', ("generate",), 1, "o"),), '")\nimport os #'),
    ],
)
def test_the_snippet_is_a_program_that_uses_a_listed_model(models: tuple[Model, ...], uses: str) -> None:
    tree = ast.parse(snippet(screen(*models)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    arguments = {each.arg: ast.literal_eval(each.value) for call in calls for each in call.keywords}
    assert arguments["base_url"] == "http://localhost:8123/v1"
    assert arguments["model"] == uses
    assert len([node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]) == 1


@pytest.mark.parametrize("models", [(), (Model("whisper", ("transcribe",), 1, "o"),)], ids=["none", "of no known use"])
def test_without_a_model_to_call_the_snippet_is_still_a_program(models: tuple[Model, ...]) -> None:
    ast.parse(snippet(screen(*models)))


def test_nothing_is_bold_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    _ui.say(_ui.bold("text"))
    assert capsys.readouterr().out == "text\n"


@pytest.mark.parametrize(("no_color", "expected"), [(None, "\033[1mtext\033[0m"), ("", "text"), ("1", "text")])
def test_on_a_terminal_bold_is_bold_unless_nobody_wants_colour(
    no_color: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert _ui.bold("text") == expected


def test_output_and_problems_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    _ui.say("output")
    _ui.tell("problem")
    assert capsys.readouterr() == ("output\n", "problem\n")
