from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from privity.catalogue.declared import Declared
from privity.catalogue.model import Lifecycle
from privity.roles.gateway.config import Served
from privity.roles.gateway.config_difference import difference
from privity.roles.gateway.config_file import GatewayFile
from privity.roles.gateway.keys import Key

OLD = GatewayFile(
    Path("ca.pem"),
    ("http://secret",),
    Served(
        ("http://one", "http://two"),
        frozenset({"http://two"}),
        declared=(
            Declared("a", aliases=("x",), context_length=4096, visible_to=frozenset({"staff"})),
            Declared("b"),
        ),
        keys=(Key("alice", "0" * 64, frozenset({"staff"})), Key("bob", "1" * 64)),
    ),
)


def test_nothing_changed() -> None:
    assert difference(OLD, OLD) == []
    reordered = replace(OLD, served=replace(OLD.served, declared=OLD.served.declared[::-1], keys=OLD.served.keys[::-1]))
    assert difference(OLD, reordered) == []


def test_what_needs_a_restart() -> None:
    new = replace(
        OLD, host="::1", port=9000, mesh_ca=Path("other"), secret_services=("http://a", "http://b"), answer_timeout=1.5
    )
    assert difference(OLD, new) == [
        "host 127.0.0.1 → ::1 (needs a restart)",
        "port 8081 → 9000 (needs a restart)",
        "mesh_ca ca.pem → other (needs a restart)",
        "secret_services http://secret → http://a, http://b (needs a restart)",
        "answer_timeout 630.0 → 1.5 (needs a restart)",
    ]


def test_what_a_running_gateway_takes_over() -> None:
    new = Served(
        ("http://three", "http://one"),
        frozenset({"http://one", "http://three"}),
        declared=(
            Declared(
                "a",
                aliases=("x", "y"),
                context_length=8192,
                tasks=("embed",),
                lifecycle=Lifecycle(datetime(2026, 1, 1, tzinfo=UTC), replacement="c"),
            ),
            Declared("c"),
        ),
        keys=(Key("alice", "2" * 64, frozenset({"staff", "admin"})), Key("carol", "3" * 64)),
        collapses_aliases=True,
        allowed_origins=("https://a",),
        document_proxies=("http://documents",),
    )
    lines = difference(OLD, replace(OLD, served=new))
    assert lines == [
        "aliases list → collapse",
        "allowed_origins nothing → https://a",
        "document_proxies nothing → http://documents",
        "inference proxy removed: http://two",
        "inference proxy added: http://three",
        "inference_proxies[http://three].drain false → true",
        "inference_proxies[http://one].drain false → true",
        "model removed: b",
        "model added: c",
        "models[a].aliases x → x, y",
        "models[a].tasks nothing → embed",
        "models[a].context_length 4096 → 8192",
        "models[a].visible_to staff → everybody",
        "models[a].deprecated nothing → 2026-01-01T00:00:00+00:00",
        "models[a].replacement nothing → c",
        "key removed: bob",
        "key added: carol",
        "keys[alice].sha256 changed",
        "keys[alice].groups staff → admin, staff",
    ]
    assert not any(digit * 64 in line for line in lines for digit in "0123")


def test_a_gateway_that_closes_says_so() -> None:
    open_file = replace(OLD, served=replace(OLD.served, keys=()))
    assert difference(open_file, OLD) == [
        "key added: alice",
        "key added: bob",
        "the gateway was open to everybody, and takes only its keys from now on",
    ]
