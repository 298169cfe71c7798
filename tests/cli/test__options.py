"""Where options come from, for a small parser of our own; that of `privity proxy` is in test_proxy.py."""

import re
from pathlib import Path
from typing import Any

import pytest

from privity.cli._options import MAX_TOLD, OptionParser, boolean
from privity.cli._program import add_answer_timeout, add_listener_options
from privity.errors import ConfigError, StartError


def parser(**environ: str) -> OptionParser:
    made = OptionParser(environ={"HOME": "/", **environ})
    made.read_environment()
    made.read_file("options in a file")
    add_listener_options(made, 8080)
    add_answer_timeout(made, 60.0)
    made.add_flag("--loud", "--isLoud", help_text="loud")
    made.add_flag("--soft", default=True, help_text="soft")
    made.add_argument("--tls", action="store_true")
    made.add_argument("--name", action="append", default=[])
    made.add_argument("--colour", choices=("red", "blue"))
    made.add_argument("--mesh-ca", "--meshCa", type=Path)
    made.add_argument("--secret")
    made.add_argument("--version", action="version", version="1")
    return made


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """Return a function that writes a file and gives its path."""

    def write(text: str) -> str:
        (tmp_path / "options.toml").write_text(text)
        return str(tmp_path / "options.toml")

    return write


# Where a value comes from


def test_without_anything_the_defaults_hold() -> None:
    found = parser().parse_args([])
    assert (found.port, found.host, found.answer_timeout, found.mesh_ca) == (8080, "127.0.0.1", 60.0, None)
    assert (found.loud, found.soft, found.tls, found.name) == (False, True, False, [])
    assert found.unknown_variables == []


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(config: Any) -> None:
    file = config('port = 1\nhost = "file"\nanswer_timeout = 3\nname = ["file"]\nloud = true')
    found = parser(PRIVITY_PORT="2", PRIVITY_HOST="variable", PRIVITY_NAME="a b").parse_args(
        ["--config", file, "--port", "4", "--name", "c"]
    )
    assert (found.port, found.host, found.answer_timeout) == (4, "variable", 3.0)
    assert (found.name, found.loud) == (["c"], True)


def test_a_default_on_the_command_line_goes_before_the_others_too(config: Any) -> None:
    found = parser(PRIVITY_PORT="2").parse_args(["--config", config("loud = true"), "--port", "8080", "--loud=false"])
    assert (found.port, found.loud) == (8080, False)


def test_the_file_itself_can_be_named_by_the_environment(config: Any) -> None:
    assert parser(PRIVITY_CONFIG=config("port = 1")).parse_args([]).port == 1


def test_values_of_all_kinds_are_the_same_from_everywhere(config: Any) -> None:
    line = [
        "--port=1",
        "--answer-timeout=2.5",
        "--loud",
        "--soft=false",
        "--tls",
        "--name=a",
        "--name=b",
        "--colour=red",
    ]
    variables = {"PORT": "1", "ANSWER_TIMEOUT": "2.5", "LOUD": "1", "SOFT": "0", "TLS": "TRUE", "COLOUR": "red"}
    variables |= {"NAME": " a  b\n"}
    file = config(
        'port = 1\nanswer_timeout = 2.5\nloud = true\nsoft = false\ntls = true\nname = ["a", "b"]\ncolour = "red"'
    )
    found = [
        parser().parse_args(line),
        parser(**{f"PRIVITY_{name}": value for name, value in variables.items()}).parse_args([]),
        parser().parse_args(["--config", file]),
    ]
    for each in found:
        del each.config, each.environ
    assert found[0] == found[1] == found[2]
    assert (found[0].answer_timeout, found[0].name, found[0].soft) == (2.5, ["a", "b"], False)


def test_a_path_in_a_file_is_relative_to_the_file_and_others_to_the_current_directory(
    config: Any, tmp_path: Path
) -> None:
    file = config('mesh_ca = "sub/ca.pem"')
    assert parser().parse_args(["--config", file]).mesh_ca == tmp_path / "sub" / "ca.pem"
    assert parser(PRIVITY_MESH_CA="ca.pem").parse_args(["--config", file]).mesh_ca == Path("ca.pem")
    assert parser().parse_args(["--config", config('mesh_ca = "/ca.pem"')]).mesh_ca == Path("/ca.pem")


# Flags


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (["--loud"], True),
        (["--isLoud"], True),
        (["--isLoud=true"], True),
        (["--loud=False"], False),
        (["--loud", "0"], False),
        (["--loud", "--soft"], True),
        (["--loud=false", "--loud"], True),
    ],
)
def test_a_flag_takes_a_value_or_none(line: list[str], *, value: bool) -> None:
    assert parser().parse_args(line).loud is value


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("1", "t", "T", "true", "TRUE", "True")]
    + [(text, False) for text in ("0", "f", "F", "false", "FALSE", "False")],
)
def test_truth_is_written_as_in_go(text: str, *, value: bool) -> None:
    assert boolean(text) is value


# The environment


def test_an_empty_variable_says_nothing() -> None:
    assert parser(PRIVITY_PORT="", PRIVITY_LOUD="", PRIVITY_NAME="").parse_args(["--name=a"]).port == 8080


@pytest.mark.parametrize("value", ["tcp://10.0.0.1:8080", "udp://10.0.0.1:53"])
def test_what_kubernetes_says_of_a_service_named_privity_is_no_port(value: str) -> None:
    assert parser(PRIVITY_PORT=value).parse_args([]).port == 8080


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PRIVITY_PORT", "canary", "PRIVITY_PORT: a port is a number from 0 to 65535"),
        ("PRIVITY_PORT", "65536", "PRIVITY_PORT: a port is a number from 0 to 65535"),
        ("PRIVITY_ANSWER_TIMEOUT", "canary", "PRIVITY_ANSWER_TIMEOUT: seconds are a number above 0"),
        ("PRIVITY_LOUD", "canary", "PRIVITY_LOUD: expected true or false"),
        ("PRIVITY_TLS", "canary", "PRIVITY_TLS: expected true or false"),
        ("PRIVITY_COLOUR", "canary", "PRIVITY_COLOUR: expected one of red, blue"),
    ],
)
def test_a_wrong_variable_is_named_and_not_shown(
    name: str, value: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser(**{name: value}).parse_args([])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert f"error: environment variable {says}\n" in said
    assert "canary" not in said


def test_unknown_variables_of_ours_are_told_with_the_nearest_known_one() -> None:
    found = parser(PRIVITY_MESHCA="x", PRIVITY_QQQ="x", OTHER="x", PRIVITY_PORT="1").parse_args([])
    assert found.unknown_variables == ["PRIVITY_MESHCA (did you mean PRIVITY_MESH_CA?)", "PRIVITY_QQQ"]


def test_only_some_of_many_unknown_variables_are_told() -> None:
    many = {f"PRIVITY_{number}": "x" for number in range(100)}
    assert len(parser(**many).parse_args([]).unknown_variables) == MAX_TOLD


def test_a_parser_that_isnt_told_to_reads_no_environment() -> None:
    quiet = OptionParser(environ={"PRIVITY_PORT": "1"})
    add_listener_options(quiet, 8080)
    assert vars(quiet.parse_args([])) == {"host": "127.0.0.1", "port": 8080}


def test_what_is_required_may_come_from_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    def needs(**environ: str) -> OptionParser:
        made = OptionParser(environ=environ)
        made.read_environment()
        made.add_argument("--identity", required=True)
        group = made.add_mutually_exclusive_group(required=True)
        group.add_argument("--model")
        group.add_argument("--documents")
        return made

    assert needs(PRIVITY_IDENTITY="i", PRIVITY_MODEL="m").parse_args([]).model == "m"
    overridden = needs(PRIVITY_IDENTITY="i", PRIVITY_MODEL="m").parse_args(["--documents", "d"])
    assert (overridden.model, overridden.documents) == (None, "d")
    for environ, says in (
        ({"PRIVITY_MODEL": "m"}, "required: --identity"),
        ({"PRIVITY_IDENTITY": "i"}, "one of the arguments --model --documents is required"),
        (
            {"PRIVITY_IDENTITY": "i", "PRIVITY_MODEL": "m", "PRIVITY_DOCUMENTS": "d"},
            "PRIVITY_MODEL and PRIVITY_DOCUMENTS exclude each other",
        ),
    ):
        with pytest.raises(SystemExit):
            needs(**environ).parse_args([])
        assert says in capsys.readouterr().err


# The file

WRONG = {
    'port = "8080"': "1: port: expected a number, without quotes.",
    "port = true": "1: port: expected a number, without quotes.",
    "port = 8080.0": "1: port: a port is a number from 0 to 65535.",
    "answer_timeout = nan": "1: answer_timeout: seconds are a number above 0.",
    'loud = "canary"': "1: loud: expected true or false, without quotes.",
    "loud = 1": "1: loud: expected true or false, without quotes.",
    'tls = "canary"': "1: tls: expected true or false, without quotes.",
    'name = "canary"': "1: name: expected a list.",
    'name = ["a", 1]': "1: name: expected each a text in quotes.",
    '\ncolour = "canary"': "2: colour: expected one of red, blue.",
    'mesh_ca = "can\\u0000ary"': "1: mesh_ca: expected printable characters.",
    "secret = 5": "1: secret: expected a text in quotes.",
    "secret = {canary = 1}": "1: secret: expected a text in quotes.",
    "mesh_ca = 1979-05-27": "1: mesh_ca: expected a text in quotes.",
    'meshCa = "canary"': "1: meshCa: unknown; did you mean mesh_ca?",
    'config = "canary"': "1: config: unknown; known here: host, port, ",
    "version = 1": "1: version: unknown; known here: host, port, ",
    "port =": "1: not TOML: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_problem_in_a_file_names_line_and_key_and_shows_no_value(text: str, config: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        parser().parse_args(["--config", config(text)])
    (problem,) = caught.value.problems
    assert re.fullmatch(r".*options\.toml:" + re.escape(WRONG[text]) + ".*", problem)
    assert "canary" not in problem.partition(": unknown")[0]


def test_all_problems_are_told_at_once(config: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        parser().parse_args(["--config", config("loud = 1\nport = 70000\nx = 1")])
    assert [each.split(":")[1] for each in caught.value.problems] == ["1", "2", "3"]


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"none\.toml can't be read"):
        parser().parse_args(["--config", str(tmp_path / "none.toml")])


def test_help_shows_no_value_of_the_environment() -> None:
    shown = parser(PRIVITY_NAME="canary", PRIVITY_PORT="7777").format_help()
    assert "canary" not in shown
    assert "default: 8080" in shown
