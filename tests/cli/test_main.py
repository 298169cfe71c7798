import argparse
import subprocess
import sys
from collections.abc import Iterator

import pytest

from privity import __version__
from privity.cli.main import build_parser, main
from privity.engines.embedded.store import default_cache_dir


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command with its parser, the whole program's first."""
    parser = build_parser()
    yield "", parser
    for action in parser._actions:  # noqa: SLF001  # argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield from action.choices.items()


PARSERS = dict(parsers())


def test_these_are_the_commands() -> None:
    assert list(PARSERS) == [
        "",
        "up",
        "models",
        "proxy",
        "gateway",
        "inference-proxy",
        "secret-service",
        "mesh",
        "config",
    ]


@pytest.mark.parametrize("command", PARSERS)
def test_help_works_and_tells_what_every_option_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    parser = PARSERS[command]
    assert shown.startswith(f"usage: privity {command}".rstrip())
    for action in parser._actions:  # noqa: SLF001
        if action.help == argparse.SUPPRESS:
            continue
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest  # noqa: SLF001
        for option in action.option_strings:
            assert option in shown
    if command:
        assert parser.description
    else:
        assert all(name in shown for name in PARSERS)


@pytest.mark.parametrize("command", PARSERS)
def test_help_fits_into_80_columns_and_breaks_no_name(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = PARSERS[command].format_help().splitlines()
    assert not [line for line in lines if len(line) > 80 and str(default_cache_dir()) not in line]
    assert not [line for line in lines if line.endswith("-")]


@pytest.mark.parametrize("command", PARSERS)
def test_help_names_the_default_of_every_option_that_has_one(command: str) -> None:
    for action in PARSERS[command]._actions:  # noqa: SLF001
        has_one = action.option_strings and action.default not in (None, [], False, argparse.SUPPRESS)
        assert not has_one or "default" in (action.help or ""), action.dest


@pytest.mark.parametrize("command", ["up", "proxy", "gateway", "inference-proxy", "secret-service"])
def test_programs_that_serve_take_options_from_the_environment(command: str) -> None:
    environ = {
        "PRIVITY_PORT": "7",
        "PRIVITY_MESH_CA": "ca.pem",
        "PRIVITY_IDENTITY": "id.pem",
        "PRIVITY_MODEL": "file:m",
    }
    environ |= {"PRIVITY_SECRET_SERVICE": "https://a:1 https://b:2", "PRIVITY_LOG_LEVEL": "error"}
    parsed = build_parser(environ).parse_args([command, "--log-level", "info"])
    assert (parsed.port, parsed.log_level) == (7, "info")
    if command in ("gateway", "inference-proxy"):
        assert parsed.secret_service == ["https://a:1", "https://b:2"]


def test_a_gateways_file_excludes_variables_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRIVITY_PORT", "7")
    assert main(["gateway", "--config", "gateway.toml"]) == 1
    said = capsys.readouterr().err
    assert said == "privity: --port can't be given beside --config, nor by the environment. Say it in the file.\n"


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"privity {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["secret-service"], "required: --mesh-ca"),
        (["inference-proxy"], "required: --mesh-ca, --identity, --secret-service"),
        (["up", "--unknown"], "unrecognized arguments: --unknown"),
        (["up", "--port", "x"], "--port"),
        (["up", "--port", "65536"], "a port is a number from 0 to 65535"),
        (["up", "--engine-timeout", "0"], "seconds are a number above 0"),
        (["up", "--log-level", "loud"], "invalid choice: 'loud'"),
        (["gateway", "--inference-proxy", "localhost:8082"], "a URL looks like http://"),
        (["gateway", "--secret-service", "localhost:8083"], "a URL looks like http://"),
        (["proxy", "--gateway", "localhost"], "a URL looks like http://"),
        (["models", "--base-url", "localhost:8080"], "a URL looks like http://"),
    ],
)
def test_a_wrong_command_line_is_one_line_below_the_usage(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    usage, _, problem = capsys.readouterr().err.partition("error: ")
    assert usage.startswith("usage: privity")
    assert says in problem
    assert problem.count("\n") == 1


def test_the_module_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "privity.cli.main", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"privity {__version__}\n"
