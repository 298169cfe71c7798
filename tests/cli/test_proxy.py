import subprocess
from pathlib import Path
from typing import Any

import pytest

from privity.cli import proxy
from privity.cli._ui import STOPPING
from privity.cli.main import build_parser, main
from privity.cli.proxy import MAX_KEY_CHARACTERS, boolean, read_key, shared_salt
from privity.errors import StartError
from privity.protocol.cache_salt import MIN_CHARACTERS
from privity.roles.inference_proxy.config import ENGINE_TIMEOUT
from privity.roles.proxy.config import Settings
from privity.testing.programs import http, program

SALT = "s" * MIN_CHARACTERS
DAY, HOUR = 24 * 3600, 3600


@pytest.fixture(scope="module")
def mesh_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mesh") / "files"
    assert main(["mesh", str(directory)]) == 0
    return directory / "ca.pem"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, mesh_ca: Path) -> Any:
    """Return a function that tells which settings a command line would serve with."""

    def settings_of(*arguments: str) -> Settings:
        served: list[Settings] = []

        def run_until_stopped(settings: Settings, _: object) -> int:
            served.append(settings)
            return 0

        monkeypatch.setattr(proxy, "serve", lambda settings: settings)
        monkeypatch.setattr(proxy, "run_until_stopped", run_until_stopped)
        parsed = build_parser().parse_args(["proxy", "--mesh-ca", str(mesh_ca), *arguments])
        assert parsed.run(parsed) == 0
        return served[0]

    return settings_of


# The program


def test_it_says_where_it_serves_and_stops_when_it_is_told_to(mesh_ca: Path, tmp_path: Path) -> None:
    gateway = ("--gateway", "http://127.0.0.1:1")
    with program(tmp_path, "proxy", "--port", "0", "--mesh-ca", str(mesh_ca), *gateway) as started:
        url = started.out.read_text().removeprefix("privity proxy serves on ").strip()
        assert http("GET", f"{url}/v1/models").status == 503
        assert started.stop() == 0
    assert started.err.read_text().splitlines()[-1] == STOPPING


def test_a_key_from_a_file_is_in_no_list_of_processes_and_in_no_log(mesh_ca: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("canary-77e1\n")
    options = ("--gateway", "http://127.0.0.1:1", "--api-key", f"@{key}", "--log-level", "debug")
    with program(tmp_path / "run", "proxy", "--port", "0", "--mesh-ca", str(mesh_ca), *options) as started:
        url = started.out.read_text().removeprefix("privity proxy serves on ").strip()
        assert http("GET", f"{url}/v1/models").status == 503
        listed = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(started.process.pid)], capture_output=True, text=True, check=True
        )
    assert "--api-key" in listed.stdout
    assert "canary-77e1" not in listed.stdout + started.out.read_text() + started.err.read_text()


def test_it_does_not_start_without_the_mesh_ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["proxy", "--mesh-ca", str(tmp_path / "missing.pem")]) == 1
    assert "missing.pem can't be read (No such file or directory)." in capsys.readouterr().err


# Defaults


def test_by_default_keys_are_the_apps_and_nobody_shares_a_cache_and_gpus_are_judged_as_deployed_proxies_do(
    settings: Any,
) -> None:
    found: Settings = settings()
    assert (found.host, found.port, found.gateway) == ("127.0.0.1", 8080, "http://localhost:8081")
    assert (found.api_key, found.shared_salt) == (None, None)
    assert found.answer_timeout > ENGINE_TIMEOUT
    assert (found.ocsp_allow_unknown, found.ocsp_revoked_grace_seconds) == (True, 2 * DAY)


def test_how_long_an_answer_may_take_to_begin_can_be_said(settings: Any) -> None:
    assert settings("--answer-timeout", "1800").answer_timeout == 1800


# Models that nobody signed: models-api.md item 13


def test_what_becomes_of_unsigned_models_depends_on_the_deployment_unless_it_is_said(settings: Any) -> None:
    assert settings().unsigned_models is None
    for said in ("allow", "mark", "drop"):
        assert settings("--unsigned-models", said).unsigned_models == said


def test_nothing_else_can_be_said_of_unsigned_models(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settings("--unsigned-models", "trust")
    assert caught.value.code == 2
    assert "--unsigned-models" in capsys.readouterr().err


# API keys


@pytest.mark.parametrize("option", ["--api-key", "--apiKey"])
def test_a_key_is_taken_in_both_spellings_literally_or_from_a_file(settings: Any, option: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    assert settings(option, "literal").api_key == "literal"
    assert settings(f"{option}=@{tmp_path}/key").api_key == "from-a-file"


def test_a_key_is_in_no_text_form_of_the_settings(settings: Any) -> None:
    found = settings("--api-key", "canary", "--shared-prompt-cache", "--prompt-cache-salt", "canary" * 6)
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"key", "key"),
        (b"key\n", "key"),
        (b"  key\r\n\n", "key"),
        (b"sk-Az09._~+/=-!", "sk-Az09._~+/=-!"),
        (b"@key", "@key"),
        (b"k" * MAX_KEY_CHARACTERS, "k" * MAX_KEY_CHARACTERS),
    ],
)
def test_white_space_around_a_key_is_not_part_of_it(content: bytes, key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    assert read_key(f"@{tmp_path}/key") == key


BAD_KEYS = {
    "empty": b"",
    "only white space": b" \n",
    "two lines": b"one\ntwo\n",
    "two words": b"Bearer canary",
    "a tab": b"one\ttwo",
    "a control character": b"can\x00ary",
    "not ASCII": "canärie".encode(),
    "a byte order mark": b"\xef\xbb\xbfcanary",
    "too long": b"k" * (MAX_KEY_CHARACTERS + 1),
}


@pytest.mark.parametrize("content", BAD_KEYS.values(), ids=BAD_KEYS)
def test_what_cannot_be_a_key_is_refused_without_showing_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    for text in (f"@{tmp_path}/key", content.decode()):
        with pytest.raises(StartError, match=r"^The API key is empty, or has characters that no key has") as caught:
            read_key(text)
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", ".", "not-text", ""])
def test_a_key_file_that_cannot_be_read_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "not-text").write_bytes(b"\xff\xfe")
    with pytest.raises(StartError, match=rf"^The API key in {name} can't be read\. Check the path after @\.$"):
        read_key(f"@{name}")


# Prompt caches


@pytest.mark.parametrize(
    "options",
    [
        ("--shared-prompt-cache", "--prompt-cache-salt", SALT),
        ("--sharedPromptCache", "--promptCacheSalt", SALT),
    ],
)
def test_a_salt_is_shared_in_both_spellings(settings: Any, options: tuple[str, ...]) -> None:
    assert settings(*options).shared_salt == SALT


def test_without_a_salt_a_shared_cache_has_a_random_one_for_each_run(settings: Any) -> None:
    first, second = (settings("--shared-prompt-cache").shared_salt for _ in range(2))
    assert first != second
    assert len(first) >= MIN_CHARACTERS


def test_a_salt_alone_is_refused(mesh_ca: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--prompt-cache-salt", "--promptCacheSalt"):
        assert main(["proxy", "--mesh-ca", str(mesh_ca), option, SALT]) == 1
        said = capsys.readouterr().err
        assert said == "privity: --prompt-cache-salt is of no use alone. Add --shared-prompt-cache.\n"


@pytest.mark.parametrize("salt", ["", "s", "s" * (MIN_CHARACTERS - 1)])
def test_a_salt_that_could_be_guessed_is_refused(salt: str) -> None:
    with pytest.raises(StartError, match="fewer than 32 characters, so it could be guessed"):
        shared_salt(shared=True, salt=salt)


def test_a_salt_that_is_no_text_is_refused() -> None:
    undecodable = "\udcff" * MIN_CHARACTERS  # what Python makes of bytes on the command line that are not UTF-8
    with pytest.raises(StartError, match="isn't text"):
        shared_salt(shared=True, salt=undecodable)


# GPUs


@pytest.mark.parametrize(
    ("options", "allow_unknown", "grace_seconds"),
    [
        (("--nvidia-ocsp-allow-unknown",), True, 2 * DAY),
        (("--nvidiaOCSPAllowUnknown",), True, 2 * DAY),
        (("--nvidiaOCSPAllowUnknown=true",), True, 2 * DAY),
        (("--nvidia-ocsp-allow-unknown=false", "--nvidia-ocsp-revoked-grace-period=0"), False, 0),
        (("--nvidiaOCSPAllowUnknown=false", "--nvidiaOCSPRevokedGracePeriod=0"), False, 0),
        (("--nvidiaOCSPAllowUnknown", "false", "--nvidiaOCSPRevokedGracePeriod", "0"), False, 0),
        (("--nvidia-ocsp-revoked-grace-period", "1"), True, HOUR),
        (("--nvidiaOCSPRevokedGracePeriod", "8760"), True, 365 * DAY),
    ],
)
def test_which_gpus_are_accepted_is_said_in_both_spellings(
    settings: Any, options: tuple[str, ...], grace_seconds: int, *, allow_unknown: bool
) -> None:
    found = settings(*options)
    assert (found.ocsp_allow_unknown, found.ocsp_revoked_grace_seconds) == (allow_unknown, grace_seconds)


@pytest.mark.parametrize(
    "options",
    [
        ["--nvidia-ocsp-allow-unknown=false"],
        ["--nvidiaOCSPAllowUnknown=false"],
        ["--nvidia-ocsp-allow-unknown=false", "--nvidia-ocsp-revoked-grace-period", "1"],
        ["--nvidiaOCSPRevokedGracePeriod=48", "--nvidiaOCSPAllowUnknown=0"],
    ],
)
def test_unknown_gpus_cannot_be_refused_while_revoked_ones_are_accepted(
    options: list[str], mesh_ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proxy", "--mesh-ca", str(mesh_ca), *options]) == 1
    said = capsys.readouterr().err
    assert said.startswith("privity: GPUs of unknown status are refused, but revoked ones accepted")
    assert said.endswith("Give --nvidia-ocsp-revoked-grace-period 0 as well.\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("1", "t", "T", "true", "TRUE", "True")]
    + [(text, False) for text in ("0", "f", "F", "false", "FALSE", "False")],
)
def test_truth_is_written_as_in_go(text: str, *, value: bool) -> None:
    assert boolean(text) is value


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--nvidia-ocsp-allow-unknown=perhaps"], "true or false"),
        (["--nvidia-ocsp-allow-unknown="], "true or false"),
        (["--nvidiaOCSPRevokedGracePeriod=-1"], "hours are a number from 0 to 8760"),
        (["--nvidiaOCSPRevokedGracePeriod=8761"], "hours are a number from 0 to 8760"),
        (["--nvidiaOCSPRevokedGracePeriod=48h"], "hours are a number from 0 to 8760"),
        ([], "required: --mesh-ca"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    required = ["--mesh-ca", "ca.pem"] if options else []
    with pytest.raises(SystemExit) as caught:
        main(["proxy", *required, *options])
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
