import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from privity import __version__
from privity.cli import proxy
from privity.cli._options import OptionParser
from privity.cli._program import GATEWAY
from privity.cli._proxy_settings import proxy_settings, shared_salt
from privity.cli._ui import STOPPING
from privity.cli.main import build_parser, main
from privity.cli.proxy import read_key
from privity.errors import StartError
from privity.protocol.cache_salt import MIN_CHARACTERS
from privity.roles.inference_proxy.config import ENGINE_TIMEOUT
from privity.roles.proxy.api_key import MAX_KEY_CHARACTERS
from privity.roles.proxy.config import Settings
from privity.testing.programs import http, program
from privity.transport.tls_files import TlsFiles

ROOT = Path(__file__).parents[2]
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

    def settings_of(*arguments: str, environ: dict[str, str] | None = None) -> Settings:
        served: list[Settings] = []

        def run_until_stopped(settings: Settings, *_: object) -> int:
            served.append(settings)
            return 0

        monkeypatch.setattr(proxy, "serve", lambda settings, _: settings)
        monkeypatch.setattr(proxy, "run_until_stopped", run_until_stopped)
        parsed = build_parser(environ or {}).parse_args(["proxy", "--mesh-ca", str(mesh_ca), *arguments])
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


def test_whoever_comes_with_the_deployed_proxys_command_line_is_told_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["proxy", "--apiKey", "canary", "--sharedPromptCache"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("privity: --mesh-ca is missing: the certificate of the CA that the deployment's")
    assert (
        "Attestation, by which the deployed proxy finds out by itself whom to trust, isn't part of Privity yet." in said
    )
    assert said.endswith("then give it as --mesh-ca ca.pem.\n")
    assert "canary" not in said


@pytest.mark.parametrize("option", ["--manifest-path", "--manifestPath"])
def test_a_manifest_is_refused_for_nothing_would_be_checked(
    option: str, mesh_ca: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text('manifest_path = "m.json"')
    for line in ([option, "m.json"], ["--config", str(file)]):
        assert main(["proxy", "--mesh-ca", str(mesh_ca), *line]) == 1
        assert capsys.readouterr().err.startswith(
            "privity: --manifest-path: attestation isn't part of Privity yet, so "
        )
    monkeypatch.setenv("PRIVITY_MANIFEST_PATH", "m.json")
    assert main(["proxy", "--mesh-ca", str(mesh_ca)]) == 1
    assert "--manifest-path: attestation isn't part of Privity yet" in capsys.readouterr().err


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


# Where the gateway is


@pytest.mark.parametrize(
    ("line", "gateway"),
    [
        (["--gateway", "https://g.example/base/"], "https://g.example/base"),
        (["--api-endpoint", "g.example:8443"], "https://g.example:8443"),
        (["--apiEndpoint=g.example"], "https://g.example:443"),
        (["--apiEndpoint", "[::1]:8443"], "https://[::1]:8443"),
        (["--apiEndpoint", "[::1]"], "https://[::1]:443"),
        (["--apiEndpoint", "g.example:80", "--insecureAPIConnection"], "http://g.example:80"),
        (["--apiEndpoint", "g.example:80", "--insecureAPIConnection=false"], "https://g.example:80"),
    ],
)
def test_the_gateway_is_said_by_its_url_or_as_with_the_deployed_proxy(
    settings: Any, line: list[str], gateway: str
) -> None:
    assert settings(*line).gateway == gateway


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--gateway", "http://a", "--apiEndpoint", "b:1"], "both say where the gateway is"),
        (["--insecure-api-connection"], "--insecure-api-connection belongs to --api-endpoint. Say http:// in the URL"),
    ],
)
def test_the_gateway_is_said_once(
    line: list[str], says: str, mesh_ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proxy", "--mesh-ca", str(mesh_ca), *line]) == 1
    assert says in capsys.readouterr().err


def test_without_tls_to_the_gateway_a_warning_says_who_sees_the_key(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings("--apiEndpoint", "localhost:8081", "--insecureAPIConnection")
    assert "WARNING privity.cli.proxy: --insecure-api-connection: the connection to" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--cdnBaseURL", "--cdn-base-url", "--ssEndpoint", "--coordinatorEndpoint"])
def test_options_of_no_use_are_ignored_with_a_warning(
    option: str, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings(option, "host:443").gateway == "http://localhost:8081"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert " is of no use to this proxy, and was ignored." in said


def test_the_environment_says_what_is_between_the_proxy_and_the_gateway(settings: Any) -> None:
    assert settings("--api-endpoint", "g.example").outgoing is None
    environ = {"HTTPS_PROXY": "http://outgoing.example:3128"}
    outgoing = settings("--api-endpoint", "g.example", environ=environ).outgoing
    assert outgoing.origin.host == "outgoing.example"


# Who reaches the proxy, and how


@pytest.mark.parametrize(
    "line", [["--tls-cert-path", "c", "--tls-key-path", "k"], ["--tlsCertPath=c", "--tlsKeyPath=k"]]
)
def test_the_listeners_certificate_is_said_in_both_spellings(settings: Any, line: list[str]) -> None:
    assert settings(*line).tls == TlsFiles(Path("c"), Path("k"))
    assert settings().tls is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            ["--tlsCertPath", "c"],
            "--tls-cert-path without --tls-key-path: TLS takes a certificate and its key. Give both",
        ),
        (
            ["--tlsKeyPath", "k"],
            "--tls-key-path without --tls-cert-path: TLS takes a certificate and its key. Give both",
        ),
    ],
)
def test_half_of_a_certificate_is_refused(
    line: list[str], says: str, mesh_ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proxy", "--mesh-ca", str(mesh_ca), *line]) == 1
    assert says in capsys.readouterr().err


def test_a_unix_socket_and_names_can_be_said(settings: Any) -> None:
    found = settings("--unix-socket", "s.sock", "--allowed-host", "a", "--allowed-host", "b")
    assert (found.unix_socket, found.allowed_hosts) == (Path("s.sock"), ("a", "b"))


# Logs and versions


@pytest.mark.parametrize(
    ("line", "level", "form"),
    [
        (["-l", "debug", "--log-format", "json"], "debug", "json"),
        (["--log-level=warn", "--logFormat=text"], "warning", "text"),
        (["--logLevel", "ERROR"], "error", "text"),
    ],
)
def test_logs_are_as_with_the_deployed_proxy(line: list[str], level: str, form: str) -> None:
    parsed = build_parser().parse_args(["proxy", *line])
    assert (parsed.log_level, parsed.log_format) == (level, form)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["proxy", "--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"privity {__version__}\n")


# Dumps


@pytest.mark.parametrize("option", ["--dump-requests", "--dumpRequests", "--dumpRequests=true"])
def test_requests_are_written_into_the_workspace_after_a_warning(
    option: str, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings(option, "--workspace", "there").dump_to == Path("there/requests")
    said = capsys.readouterr().err
    assert (
        "WARNING privity.cli.proxy: --dump-requests: every prompt and every answer is written to there/requests" in said
    )
    assert "\nWarning: prompts and answers are written to there/requests in clear (--dump-requests).\n" in said


def test_nothing_is_written_unless_it_is_asked_for(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert settings("--workspace", "there").dump_to is None
    assert settings("--dumpRequests=false").dump_to is None
    assert capsys.readouterr().err == ""


def test_a_workspace_that_cannot_be_written_is_a_sentence(
    mesh_ca: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    line = ["--port", "0", "--dumpRequests", "--workspace", str(tmp_path / "file")]
    assert main(["proxy", "--mesh-ca", str(mesh_ca), *line]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"privity: Requests can't be written to {tmp_path}/file/requests (")
    assert last.endswith("). Choose another --workspace, or leave out --dump-requests.")


# The environment and the file


def test_options_come_from_everywhere(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(f'api_key = "@keys/key"\nport = 1\nshared_prompt_cache = true\nprompt_cache_salt = "{SALT}"')
    environ = {"PRIVITY_PORT": "2", "PRIVITY_ALLOWED_ORIGIN": "https://a https://b", "PRIVITY_CONFIG": str(file)}
    found = settings("--host", "::1", environ=environ)
    assert (found.api_key, found.port, found.host) == (tmp_path / "keys" / "key", 2, "::1")
    assert (found.shared_salt, found.allowed_origins) == (SALT, ("https://a", "https://b"))


def test_variables_that_nobody_knows_are_told(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings(environ={"PRIVITY_APIKEY": "canary", "PRIVITY_IDENTITY": "i"})
    said = capsys.readouterr().err
    assert "unknown environment variables: PRIVITY_APIKEY (did you mean PRIVITY_API_KEY?), PRIVITY_IDENTITY" in said
    assert "canary" not in said


def documented() -> tuple[dict[str, str], dict[str, str]]:
    """Return the lines of docs/proxy.toml by their keys: those that count, and those that are examples."""
    lines = (ROOT / "docs" / "proxy.toml").read_text().splitlines()
    keys = [re.match(r"(#?)([a-z_]+) = ", line) for line in lines]
    found = [(match[1], match[2], line.removeprefix("#")) for match, line in zip(keys, lines, strict=True) if match]
    return {key: line for mark, key, line in found if not mark}, {key: line for mark, key, line in found if mark}


def test_the_documented_file_has_every_option_and_no_other() -> None:
    parser = OptionParser()
    proxy.add_options(parser)
    defaults, examples = documented()
    assert sorted([*defaults, *examples]) == sorted(set(parser.defaults()) - {"config"})


def test_the_documented_file_has_the_defaults(settings: Any, mesh_ca: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "proxy.toml", tmp_path)
    shutil.copy(mesh_ca, tmp_path)
    parsed = build_parser().parse_args(["proxy", "--config", str(tmp_path / "proxy.toml")])
    assert proxy_settings(parsed) == settings()
    plain = build_parser().parse_args(["proxy", "--mesh-ca", str(tmp_path / "ca.pem"), "--gateway", GATEWAY])
    assert {**vars(parsed), "config": None} == vars(plain)


def test_the_documented_examples_are_of_their_kinds(tmp_path: Path) -> None:
    parser = OptionParser()
    proxy.add_options(parser)
    _, examples = documented()
    (tmp_path / "proxy.toml").write_text("\n".join(examples.values()))
    found = parser.values_in(tmp_path / "proxy.toml")
    assert set(found) == set(examples)
    assert found["api_key"] == tmp_path / "key.txt"
    assert found["workspace"] == tmp_path


# API keys


@pytest.mark.parametrize("option", ["--api-key", "--apiKey"])
def test_a_key_is_taken_in_both_spellings_literally_or_from_a_file(settings: Any, option: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    assert settings(option, "literal").api_key == "literal"
    assert settings(f"{option}=@{tmp_path}/key").api_key == tmp_path / "key"


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
    with pytest.raises(StartError, match=rf"^The API key in {name or '.'} can't be read\. Check the path after @\.$"):
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
    ("options", "says"),
    [
        (["--nvidia-ocsp-allow-unknown=perhaps"], "true or false"),
        (["--nvidia-ocsp-allow-unknown="], "true or false"),
        (["--nvidiaOCSPRevokedGracePeriod=-1"], "hours are a number from 0 to 8760"),
        (["--nvidiaOCSPRevokedGracePeriod=8761"], "hours are a number from 0 to 8760"),
        (["--nvidiaOCSPRevokedGracePeriod=48h"], "hours are a number from 0 to 8760"),
        (["--sharedPromptCache=maybe"], "true or false"),
        (["-apiKey", "canary", "--apikey=canary"], "unrecognized arguments: -apiKey … --apikey\n"),
        (["--apiEndpoint=https://g.example"], "an API endpoint is HOST:PORT, without https://"),
        (["--apiEndpoint=g.example/"], "an API endpoint is HOST:PORT, without https://"),
        (["--apiEndpoint=g.example:0"], "an API endpoint is HOST:PORT, without https://"),
        (["--apiEndpoint=user@g.example"], "an API endpoint is HOST:PORT, without https://"),
        (["--apiEndpoint="], "an API endpoint is HOST:PORT, without https://"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["proxy", *options])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert "canary" not in said
