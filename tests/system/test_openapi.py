"""What the proxy and the gateway answer is what their documents say, whatever is sent: schemathesis tries it.

Each finds no 5xx among the answers, none that isn't documented, no wrong type, header or schema, invalid requests that
are accepted, or valid ones that are refused. What it sends is the same each time.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from privity.testing.fake_engine import MODEL, FakeEngine, fake_engine
from privity.testing.programs import Answer, http
from privity.testing.separate_roles import separate_roles

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SETTINGS = Path(__file__).parent / "openapi"
TASKS = "#tasks=generate,tool_calling,vision,embed,transcribe"
LEAST_CASES = 1000
LEAST_CALLS = {"proxy": 200, "gateway": 0}
"""Requests of one run, and those that reach the engine: below these something was left out."""

_CASES = re.compile(r"(\d+) generated, (\d+) passed")
_OPERATIONS = re.compile(r"Tested: (\d+)")

each_role = pytest.mark.parametrize("role", ["proxy", "gateway"])


@dataclass(frozen=True)
class Urls:
    proxy: str
    gateway: str
    engine: FakeEngine


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Urls]:
    directory = tmp_path_factory.mktemp("roles")
    with fake_engine() as engine, separate_roles(directory, f"openai:{engine.url}{TASKS}") as roles:
        yield Urls(roles.url, f"http://127.0.0.1:{roles.wires['gateway'].port}", engine)


def document_of(url: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(http("GET", f"{url}/openapi.json").body)
    return document


def check_documented(document: dict[str, Any], path: str, method: str, answer: Answer) -> None:
    """Check an answer's status, type and schema against the document."""
    described = document["paths"][path][method]["responses"][str(answer.status)]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    kind = answer.headers["content-type"]
    schema = described["content"][kind]["schema"]
    if kind == "application/json":
        jsonschema_rs.validate({**schema, "components": document["components"]}, json.loads(answer.body))


@each_role
def test_schemathesis_finds_nothing(urls: Urls, role: str, tmp_path: Path) -> None:
    url = getattr(urls, role)
    urls.engine.requests.clear()
    settings = ("--config-file", str(SETTINGS / "schemathesis.toml"))
    ran = subprocess.run(
        [SCHEMATHESIS, *settings, "run", f"{url}/openapi.json", "--no-color"],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(SETTINGS / "hooks.py")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    cases, operations = _CASES.search(ran.stdout), _OPERATIONS.search(ran.stdout)
    assert cases is not None, ran.stdout
    assert operations is not None, ran.stdout
    assert cases[1] == cases[2]
    assert int(cases[1]) >= LEAST_CASES
    assert len(urls.engine.requests) >= LEAST_CALLS[role]
    every = sum(len(item) for item in document_of(url)["paths"].values())
    assert int(operations[1]) == every - 2, "all but the stream of events and the document itself"


@each_role
def test_changes_stream_as_documented(urls: Urls, role: str) -> None:
    url = getattr(urls, role)
    document = document_of(url)
    with urllib.request.urlopen(f"{url}/v1/models/events", timeout=10) as stream:
        headers = {name.lower(): value for name, value in stream.headers.items()}
        lines: list[str] = []
        while not (lines and not lines[-1] and any(each.startswith("data:") for each in lines)):
            lines.append(stream.readline().decode().rstrip("\n"))
    check_documented(document, "/v1/models/events", "get", Answer(200, headers, b""))
    fields = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
    assert fields["event"] == "list"
    schema = {"$ref": "#/components/schemas/ModelList", "components": document["components"]}
    jsonschema_rs.validate(schema, json.loads(fields["data"]))


@each_role
def test_a_long_poll_without_a_change_is_documented(urls: Urls, role: str) -> None:
    url = getattr(urls, role)
    etag = http("GET", f"{url}/v1/models").headers["etag"].strip('"')
    answer = http("GET", f"{url}/v1/models?wait={etag}&timeout=0.01")
    assert answer.status == 304
    assert "content" not in document_of(url)["paths"]["/v1/models"]["get"]["responses"]["304"]


@each_role
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/models?task=fly", {}, 400),
        ("/v1/models?limit=0", {"x_api_key": "any"}, 400),
        ("/v1/models?wait=none&timeout=121", {}, 400),
        ("/v1/models?after_id=nobody", {"anthropic_version": "2023-06-01"}, 400),
        ("/v1/models?after_id=nobody", {}, 200),
        ("/openapi.json", {}, 200),
    ],
)
def test_what_schemathesis_leaves_out_is_answered_as_documented(
    urls: Urls, role: str, path: str, headers: dict[str, str], status: int
) -> None:
    url = getattr(urls, role)
    answer = http("GET", url + path, None, **headers)
    assert answer.status == status
    check_documented(document_of(url), path.partition("?")[0], "get", answer)


def test_errors_that_are_5xx_by_design_are_documented(urls: Urls) -> None:
    """No fuzzer meets them: a value that looks encrypted, with a secret that nobody has, and what isn't there."""
    document = document_of(urls.gateway)
    sealed = f"{'A' * 43}=:{'0' * 24}:{'0' * 24}:{'0' * 64}"
    body = json.dumps({"model": MODEL, "messages": sealed}).encode()
    headers = {"content_type": "application/json", "privatemode_target_model": MODEL}
    unknown = http("POST", f"{urls.gateway}/v1/chat/completions", body, **headers)
    assert (unknown.status, unknown.error["code"]) == (500, "unknown_secret")
    check_documented(document, "/v1/chat/completions", "post", unknown)
    attested = http("POST", f"{urls.gateway}/privatemode/v1/attest")
    assert attested.status == 501
    check_documented(document, "/privatemode/v1/attest", "post", attested)


def test_pages_and_strangers_are_refused_as_documented(urls: Urls) -> None:
    document = document_of(urls.proxy)
    foreign = http("GET", f"{urls.proxy}/v1/models", origin="https://elsewhere.example")
    misdirected = http("GET", f"{urls.proxy}/v1/models", host="elsewhere.example")
    assert (foreign.status, misdirected.status) == (403, 421)
    for answer in (foreign, misdirected):
        check_documented(document, "/v1/models", "get", answer)
