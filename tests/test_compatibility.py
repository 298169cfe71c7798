"""docs/compatibility.md: what it says of Privity is held by tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from privity.protocol.endpoints import ENDPOINTS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
FLAGS = (  # wire-protocol.md section 10
    *("apiKey", "apiEndpoint", "port", "workspace", "manifestPath", "nvidiaOCSPAllowUnknown"),
    *("nvidiaOCSPRevokedGracePeriod", "sharedPromptCache", "promptCacheSalt", "tlsCertPath", "tlsKeyPath"),
    *("log-level", "log-format", "dumpRequests", "version", "insecureAPIConnection", "cdnBaseURL", "ssEndpoint"),
    "coordinatorEndpoint",
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def table_rows() -> list[list[str]]:
    lines = (line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| ---"))
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[-1] != "Test"]


ROWS = table_rows()


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}: {row[1]}"[:90] for row in ROWS])
def test_each_row_says_who_does_what_and_names_a_test_that_is_there(row: list[str]) -> None:
    assert len(row) == 5
    assert all(row)
    named = TEST.findall(row[-1])
    assert named, "no test"
    for path, name in named:
        assert name in functions_of(path)


@pytest.mark.parametrize("path", [*(endpoint.path for endpoint in ENDPOINTS), "/v1/models", "/v1/models/{id}"])
def test_each_endpoint_is_there_and_driven_through_the_whole_stack(path: str) -> None:
    named = [row for row in ROWS if f"`{path}" in row[0]]
    assert any("`tests/system/" in row[-1] for row in named)


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_of_the_deployed_proxy_is_there(flag: str) -> None:
    assert any(f"`--{flag}`" in row[0] or f"`--{flag}`" in row[1] for row in ROWS)
