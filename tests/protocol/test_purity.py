"""The protocol is pure: bytes in, bytes out. Time and randomness are arguments, and nothing is logged."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import privity.protocol

MODULES = sorted(Path(privity.protocol.__path__[0]).rglob("*.py"))
BANNED_MODULES = {"socket", "ssl", "asyncio", "time", "logging", "threading", "subprocess", "pathlib", "random"}
BANNED_NAMES = {
    "os.environ", "os.environb", "os.getenv", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
}  # fmt: skip


def impurities(source: str) -> Iterator[str]:
    """Yield what a module must not import or use; `os.urandom` only as the default of an argument."""
    tree = ast.parse(source)
    defaults = [
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.arguments)
        for each in (*node.defaults, *node.kw_defaults)
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.partition(".")[0] in BANNED_MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                used = [module, *(f"{module}.{each.name}" for each in names)]
                yield from (each for each in used if each.partition(".")[0] in BANNED_MODULES)
                yield from (each for each in used if each in BANNED_NAMES | {"os.urandom"})
            case ast.Attribute(attr=attribute, value=value):
                name = f"{ast.unparse(value).rpartition('.')[2]}.{attribute}"
                if name in BANNED_NAMES or (name == "os.urandom" and node not in defaults):
                    yield name
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                yield name
            case _:
                pass


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_protocol_is_pure(module: Path) -> None:
    assert list(impurities(module.read_text())) == []


def test_the_protocols_modules_are_found() -> None:
    assert {"fields", "exchange", "bodies", "ending", "multipart", "event_stream"} < {path.stem for path in MODULES}


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import logging.handlers",
        "from time import monotonic",
        "def f():\n    import socket",
        "import os\nx = os.environ",
        "from os import environ",
        "import datetime\nx = datetime.datetime.now(datetime.UTC)",
        "from datetime import datetime\nx = datetime.now()",
        "import os\nx = os.urandom(12)",
        "from os import urandom",
        "print(1)",
    ],
)
def test_an_impurity_is_found(source: str) -> None:
    assert list(impurities(source))


def test_a_default_may_be_the_systems_randomness() -> None:
    assert not list(impurities("import os\ndef f(random=os.urandom, *, other=os.urandom): ..."))
