import re
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue.declared import Declared
from privity.catalogue.model import Lifecycle
from privity.errors import ConfigError, StartError
from privity.roles.gateway.config import ANSWER_TIMEOUT, Served
from privity.roles.gateway.config_file import (
    HOST,
    PORT,
    GatewayFile,
    load_gateway_file,
    parse_gateway_file,
)
from privity.roles.gateway.keys import Key
from privity.toml.files import read_config_file
from privity.toml.reader import MAX_FILE_BYTES
from privity.transport.cors import Cors

PATH = Path("etc/gateway.toml")
EXAMPLE = Path(__file__).parents[3] / "docs" / "gateway.toml"
DIGEST = sha256(b"a key").hexdigest()

LEAST = """\
mesh_ca = "ca.pem"
secret_services = ["http://secret"]
inference_proxies = [{url = "https://one:8082"}]
"""


def parse(text: str) -> GatewayFile:
    return parse_gateway_file(text.encode(), PATH)


def problems(text: str) -> list[str]:
    """Return a file's problems, without its name."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert all(each.startswith(f"{PATH}:") for each in caught.value.problems)
    return [each.removeprefix(f"{PATH}:") for each in caught.value.problems]


def problem(more: str) -> str:
    """Return the one problem of what stands from line 4 on."""
    (only,) = problems(f"{LEAST}{more}\n")
    return only


def test_the_least_file() -> None:
    assert parse(LEAST) == GatewayFile(
        Path("etc/ca.pem"),
        ("http://secret",),
        Served(("https://one:8082",)),
        host=HOST,
        port=PORT,
        answer_timeout=ANSWER_TIMEOUT,
    )


def test_the_example_has_every_key() -> None:
    file = load_gateway_file(EXAMPLE)
    assert (file.host, file.port, file.answer_timeout) == (HOST, PORT, ANSWER_TIMEOUT)
    assert file.mesh_ca == EXAMPLE.parent / "mesh" / "ca.pem"
    assert file.secret_services == ("http://secret-service:8083",)
    served = file.served
    assert served.inference_proxies == ("https://inference-proxy-1:8082", "https://inference-proxy-2:8082")
    assert served.draining == {"https://inference-proxy-2:8082"}
    assert not served.collapses_aliases
    assert served.allowed_origins == ("https://app.example",)
    assert served.document_proxies == ("https://document-proxy:8082",)
    assert [(key.name, key.groups) for key in served.keys] == [("alice", frozenset({"research"})), ("bob", frozenset())]
    assert served.declared == (
        Declared(
            "Qwen/Qwen2.5-1.5B-Instruct",
            aliases=("qwen-small",),
            floating_aliases=("qwen-latest", "default"),
            tasks=("generate", "tool_calling"),
            context_length=8192,
            max_output_tokens=4096,
            owned_by="Alibaba Cloud",
            display_name="Qwen 2.5, small",
            created=1_726_704_000,
            lifecycle=Lifecycle(
                datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 6, 30, 22, tzinfo=UTC), "Qwen/Qwen3-4B"
            ),
            visible_to=frozenset({"research"}),
        ),
    )


def test_the_example_names_every_key_that_there_is() -> None:
    text = EXAMPLE.read_text()
    for table in ("inference_proxies", "models", "keys"):
        (told,) = re.findall(r"known here: (.*)\.$", problems(f"{LEAST.splitlines()[0]}\n[[{table}]]\nzzzz = 1\n")[-1])
        assert all(re.search(rf"^{key} = ", text, re.MULTILINE) for key in told.split(", "))
    told = next(each for each in problems("zzzz = 1") if "known here" in each)
    for key in told.partition("known here: ")[2].rstrip(".").split(", "):
        assert re.search(rf"^({key} = |\[\[{key}\]\]$)", text, re.MULTILINE), key


def test_other_values() -> None:
    file = parse(
        f"""
        mesh_ca = "/etc/ca.pem"
        secret_services = ["https://a/base/", "http://b:1"]
        host = "::1"
        port = 0
        answer_timeout = 0.5
        aliases = "collapse"
        allowed_origins = ["HTTPS://App.Example:443", "http://[::1]:8080", "tauri://localhost"]
        [[inference_proxies]]
        url = "http://one/"
        drain = true
        [[keys]]
        name = "a"
        sha256 = "{DIGEST.upper()}"
        groups = ["x"]
        """
    )
    assert file == GatewayFile(
        Path("/etc/ca.pem"),
        ("https://a/base", "http://b:1"),
        Served(
            ("http://one",),
            frozenset({"http://one"}),
            keys=(Key("a", DIGEST, frozenset({"x"})),),
            collapses_aliases=True,
            allowed_origins=("https://app.example", "http://[::1]:8080", "tauri://localhost"),
        ),
        host="::1",
        port=0,
        answer_timeout=0.5,
    )
    Cors(file.served.allowed_origins)


GROUP = "a group's name of at most 256 printable characters"
MOMENT = "a date, or a date and time with its offset such as 2026-01-31T12:00:00Z"
HASH_IT = """printf %s "$KEY" | sha256sum"""
NO_KEY = f'the key itself doesn\'t belong in this file. Give its SHA-256, as sha256 = "…": {HASH_IT}'
URL = "a base URL such as https://host:8082, without a query"
ORIGIN = (
    "expected an origin such as https://app.example, without a path, and never * (any web page could read the answers)"
)


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ("port = 65536", "port: expected an integer from 0 to 65535, got 65536."),
        ('port = "80"', 'port: expected an integer from 0 to 65535, got "80".'),
        ("port = true", "port: expected an integer from 0 to 65535, got true."),
        ('host = "a b"', 'host: expected a name or an address to listen on, got "a b".'),
        ("answer_timeout = 0", "answer_timeout: expected seconds above 0, got 0."),
        ("answer_timeout = inf", "answer_timeout: expected seconds above 0, got inf."),
        ("answer_timeout = nan", "answer_timeout: expected seconds above 0, got nan."),
        ("answer_timeout = false", "answer_timeout: expected seconds above 0, got false."),
        ('answer_timeout = "1"', 'answer_timeout: expected seconds above 0, got "1".'),
        ('aliases = "all"', 'aliases: expected one of list, collapse, got "all".'),
        ('allowed_origins = ["*"]', f'allowed_origins[0]: {ORIGIN}, got "*".'),
        ('allowed_origins = ["null"]', f'allowed_origins[0]: {ORIGIN}, got "null".'),
        ('allowed_origins = ["https://a/"]', f'allowed_origins[0]: {ORIGIN}, got "https://a/".'),
        ('allowed_origins = ["https://u@a"]', f'allowed_origins[0]: {ORIGIN}, got "https://u@a".'),
        ('document_proxies = ["d:8082"]', f"document_proxies[0]: expected {URL}."),
        ("allowed_origins = [1]", f"allowed_origins[0]: {ORIGIN}, got 1."),
        ('allowed_origins = ["http://a:80", "http://A"]', 'allowed_origins[1]: "http://A" is listed twice.'),
        (
            'engines = ["http://a"]',
            "engines: a gateway never talks to engines: give them to `privity inference-proxy --model`.",
        ),
        ("prot = 1", "prot: unknown; did you mean port?"),
        ("keys = []", "keys: expected tables, each under [[keys]], or nothing of this name."),
        ('keys = "sk-1"', "keys: expected tables, each under [[keys]], or nothing of this name."),
        ('keys = ["sk-1"]', "keys[0]: expected a table, under [[keys]]."),
    ],
)
def test_a_wrong_value_at_the_top(member: str, says: str) -> None:
    assert problem(member) == f"4: {says}"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            "[[engines]]\nurl = 1",
            "4: engines: a gateway never talks to engines: give them to `privity inference-proxy --model`.",
        ),
        (
            '[[models]]\nid = "a"\nvisible_to = ["x"]',
            "6: models[0].visible_to: nobody could see this model: there are no [[keys]] to be in a group.",
        ),
        (
            f'[[models]]\nid = "a"\nvisible_to = []\n[[keys]]\nname = "x"\nsha256 = "{DIGEST}"',
            f"6: models[0].visible_to: expected a list of at least one, each {GROUP}, got an empty list.",
        ),
        (
            '[[models]]\nid = "a"\nretires_at = 2026-01-01T10:00:00',
            f"6: models[0].retires_at: expected {MOMENT}, got 2026-01-01T10:00:00.",
        ),
        (
            '[[models]]\nid = "a"\ndeprecated = 9999-12-31T23:59:59-01:00',
            f"6: models[0].deprecated: expected {MOMENT}, got 9999-12-31T23:59:59-01:00.",
        ),
        (
            '[[models]]\nid = "a"\ndeprecated = 2026-02-01\nretires_at = 2026-01-31T23:59:59Z',
            "7: models[0].retires_at: the model a would retire before it is deprecated.",
        ),
        (
            '[[models]]\nid = "a"\naliases = ["b"]\nreplacement = "b"',
            "7: models[0].replacement: the model a can't replace itself.",
        ),
        ('[[models]]\nid = "a"\ndeprecated_at = 1', "6: models[0].deprecated_at: unknown; did you mean deprecated?"),
        (
            f'[[keys]]\nname = "a"\nsha256 = "{DIGEST}"\nkey = "sk-1"',
            f"7: keys[0].key: {NO_KEY}",
        ),
        (
            '[[keys]]\nname = "a"\nsha256 = "sk-1"',
            f"6: keys[0].sha256: expected the 64 hex digits of the key's SHA-256: {HASH_IT}.",
        ),
        (
            '[[keys]]\nname = "a"',
            f"4: keys[0].sha256: missing; expected the 64 hex digits of the key's SHA-256: {HASH_IT}.",
        ),
        (
            f'[[keys]]\nname = "a"\nsha256 = "{sha256(b"").hexdigest()}"',
            "6: keys[0].sha256: this is the SHA-256 of nothing: the key was empty when it was hashed.",
        ),
        (
            f'[[keys]]\nname = "a"\nsha256 = "{DIGEST}"\n[[keys]]\nname = "a"\nsha256 = "{"0" * 64}"',
            "8: keys[1].name: another key has the name a.",
        ),
        (
            f'[[keys]]\nname = "a"\nsha256 = "{DIGEST}"\n[[keys]]\nname = "b"\nsha256 = "{DIGEST.upper()}"',
            "9: keys[1].sha256: this is the key of a.",
        ),
    ],
)
def test_a_wrong_table(table: str, says: str) -> None:
    assert problem(table) == says


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ('"unix"', f"expected {URL}."),
        ('"http+unix://%2Fa"', f"expected {URL}."),
        ('"https://u:secret@a"', f"expected {URL}."),
        ('"https://a?b"', f"expected {URL}."),
        ('"https://a:99999"', f"expected {URL}."),
        ('"https://ä"', f"expected {URL}."),
        ("1", f"expected {URL}."),
        ('"https://one:8082/"', "another inference proxy has this URL."),
    ],
)
def test_a_wrong_url_is_told_and_not_shown(url: str, says: str) -> None:
    (told,) = problems(
        f'mesh_ca = "c"\nsecret_services = ["http://a"]\n[[inference_proxies]]\nurl = "https://one:8082"\n'
        f"[[inference_proxies]]\nurl = {url}\n"
    )
    assert told == f"6: inference_proxies[1].url: {says}"
    if says.startswith("expected"):
        assert problems(f'mesh_ca = "c"\nsecret_services = [\n"http://a",\n{url}]\n') == [
            "1: inference_proxies: missing; expected at least one table under [[inference_proxies]].",
            f"4: secret_services[1]: {says}",
        ]


def test_what_must_be_there() -> None:
    assert problems("") == [
        "1: mesh_ca: missing; expected a path.",
        f"1: secret_services: missing; expected a list of at least one, each {URL}.",
        "1: inference_proxies: missing; expected at least one table under [[inference_proxies]].",
    ]
    assert problems("mesh_ca = ''\nsecret_services = []\ninference_proxies = []") == [
        '1: mesh_ca: expected a path, got "".',
        f"2: secret_services: expected a list of at least one, each {URL}.",
        "3: inference_proxies: expected tables, each under [[inference_proxies]], or nothing of this name.",
    ]


def test_an_inference_proxy_that_drains_is_told_by_true() -> None:
    text = LEAST.replace("}", ", drain = 1}")
    assert problems(text) == ["3: inference_proxies[0].drain: expected true or false, got 1."]


def test_no_message_holds_a_key_or_a_digest() -> None:
    keys = ['key = "sk-1"', 'sha256 = "sk-1"', f'sha256 = "{DIGEST}"', f'sha256 = ["{DIGEST}"]']
    text = LEAST + "".join(f'[[keys]]\nname = "a"\n{each}\n' for each in (*keys, *keys))
    told = "\n".join(problems(text))
    assert "sk-1" not in told
    assert DIGEST not in told


# Files


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"nope can't be read \(No such file or directory\)"):
        load_gateway_file(tmp_path / "nope")
    with pytest.raises(StartError, match="Is a directory"):
        load_gateway_file(tmp_path)
    large = tmp_path / "large"
    large.write_bytes(b"#" * (MAX_FILE_BYTES * 2))
    assert len(read_config_file(large)) == MAX_FILE_BYTES + 1
    with pytest.raises(ConfigError, match=f"large:1: the file is larger than {MAX_FILE_BYTES} bytes"):
        load_gateway_file(large)


def test_a_path_in_the_file_is_relative_to_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(LEAST)
    assert load_gateway_file(path).mesh_ca == tmp_path / "ca.pem"


TOP = ["mesh_ca", "secret_services", "inference_proxies", "host", "port", "answer_timeout", "aliases", "keys",
       "allowed_origins", "models", "engines", "x"]  # fmt: skip
VALUES = ['"a"', '"http://a"', '"*"', '""', "0", "-1", "1e400", "nan", "true", "[]", '["a"]', '["http://a", "http://a"]',
          "[{}]", '[{url = "http://a"}]', '[{url = 1, drain = 1}, {url = "http://a"}]', '[{key = "a"}]',
          f'[{{name = "a", sha256 = "{DIGEST}"}}]', '[{id = "a", visible_to = ["b"]}]', "[1]", "{}",
          "2024-01-01"]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(TOP), st.sampled_from(VALUES)), max_size=9, unique_by=lambda each: each[0]))
def test_random_files_raise_nothing_else(members: list[tuple[str, str]]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in members)
    told: tuple[str, ...] = (f"{PATH}:1: a",)
    try:
        parse(text)
    except ConfigError as error:
        told = error.problems
    assert told
    assert all(re.match(rf"{PATH}:[1-9]: \w", each) for each in told)


@given(st.text())
def test_random_texts_raise_nothing_else(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_gateway_file(text.encode(errors="replace"), PATH)
