"""`privity models --at-gateway --mesh-ca`: what is believed of a gateway, and what is said of the rest."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from privity.catalogue import full, statement
from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import Model, Statement
from privity.catalogue.projections import full_list, signers_of
from privity.cli.main import main
from privity.protocol.mesh import INFERENCE_PROXY, MeshCa
from privity.protocol.signed import sign
from privity.testing.served import served

NOW = datetime.now(UTC)
CA, OTHER_CA = MeshCa.create(NOW), MeshCa.create(NOW)


def signed(model: Model, ca: MeshCa = CA, age: timedelta = timedelta()) -> Model:
    identity = ca.issue(INFERENCE_PROXY, NOW)
    payload = statement.payload(model, NOW - age, NOW - age + timedelta(hours=1))
    return replace(model, statement=Statement(payload, sign(payload, identity), identity.certificate_der()))


GOOD = signed(Model("org/good", ("generate",), 1, "org", ("good",)))
RENAMED = replace(GOOD, aliases=("good", "gpt-5"))
UNSIGNED = Model("org/unsigned", ("embed",), 1, "org")
EXPIRED = signed(Model("org/expired", ("embed",), 1, "org"), age=timedelta(hours=2))
FOREIGN = signed(Model("org/foreign", ("embed",), 1, "org"), OTHER_CA)
SWAPPED = replace(UNSIGNED, id="org/swapped", statement=GOOD.statement)
EVERY = (RENAMED, UNSIGNED, EXPIRED, FOREIGN, SWAPPED)


@pytest.fixture
def options(tmp_path: Path) -> Iterator[list[str]]:
    """The options that ask a gateway that lists every model above, and has its own word on the one it is asked for."""
    (tmp_path / "ca.pem").write_bytes(CA.certificate_pem())
    by_id = {each: model for model in EVERY for each in model.ids}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/v1/models").partition("?")[0].strip("/").replace("%2F", "/")
            if name:
                model = by_id[name]
                whole = full.row(model, model.id, NOW) | {"health": {"replicas": 1}}
                if model.statement is not None:
                    whole["signers"] = signers_of({model.statement.certificate})
                body = json.dumps(whole).encode()
            else:
                body = full_list(Catalogue(EVERY, NOW).view()).body()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep silent."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with served(listener):
        url = f"http://127.0.0.1:{listener.server_port}"
        yield ["models", "--at-gateway", "--base-url", url, "--mesh-ca", str(tmp_path / "ca.pem")]


def test_each_row_says_whether_it_is_vouched_for_and_each_dropped_one_why(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 0
    out, err = capsys.readouterr()
    table, _, notes = out.partition("\n\n")
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]
    assert cells == [
        ["ID", "ALIASES", "TASKS", "CONTEXT", "STATE", "VOUCHED FOR"],
        ["org/good", "good, gpt-5 (not verified)", "generate", "-", "available", "yes"],
        ["org/unsigned", "-", "embed", "-", "not verified", "no: nobody signed it"],
    ]
    assert notes.splitlines()[:-1] == [
        "Dropped: org/expired (its statement is out of date)",
        "Dropped: org/foreign (its signer isn't of the deployment)",
        "Dropped: org/swapped (it isn't what was signed, or another one has its name)",
    ]
    assert notes.splitlines()[-1].startswith("Verified with the CA")
    assert err == ""


def test_filters_hold_for_what_was_verified(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*options, "-q", "GPT", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["verified"]) for row in found["data"]] == [
        ("org/good", True),
        ("good", True),
        ("gpt-5", False),
    ]
    assert found["dropped"] == {}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("good", "yes: an inference proxy of the deployment signed it"),
        ("gpt-5", "yes, but nobody of the deployment says that gpt-5 means it"),
        ("org/unsigned", "no: nobody of the deployment vouches for it"),
    ],
)
def test_show_says_what_the_deployment_says(
    options: list[str], asked: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "show", asked]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("verified ")]
    assert line.removeprefix("verified").strip() == says


@pytest.mark.parametrize(("asked", "reason"), [("org/expired", "expired"), ("org/foreign", "unknown_signer")])
def test_show_refuses_what_a_proxy_would_drop(
    options: list[str], asked: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "show", asked]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"vouches for ({reason})." in err
