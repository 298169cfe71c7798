"""`privity gateway --config FILE`. Every key: docs/gateway.toml."""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from privity.catalogue.records_file import GROUP, take_models
from privity.roles.gateway.config import ANSWER_TIMEOUT, Served
from privity.roles.gateway.keys import Key
from privity.toml.files import read_config_file
from privity.toml.kinds import FLAG, Kind, name, one_of, whole_number
from privity.toml.reader import Document, Table
from privity.transport.cors import origin_of
from privity.transport.http_client.request import split_url

HOST = "127.0.0.1"
PORT = 8081

MAX_ANSWER_SECONDS = 1e6
"""Seconds that an answer may take to begin, at most; more is a mistake."""

MAX_PATH = 4096
"""Characters of a file's path: more than Linux takes."""

_HOST = re.compile(r"[A-Za-z0-9.:_%-]{1,255}")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_OF_NOTHING = sha256(b"").hexdigest()
_HASH_IT = """printf %s "$KEY" | sha256sum"""
_NOT_AT_THE_TOP = {
    "engines": "a gateway never talks to engines: give them to `privity inference-proxy --model`.",
}
_NOT_IN_KEYS = {
    "key": f'the key itself doesn\'t belong in this file. Give its SHA-256, as sha256 = "…": {_HASH_IT}',
}
_NOT_WITHOUT_KEYS = {"visible_to": "nobody could see this model: there are no [[keys]] to be in a group."}


@dataclass(frozen=True, slots=True)
class GatewayFile:
    """What a gateway's configuration file says."""

    mesh_ca: Path
    """A path in the file is relative to the file's directory; this one isn't."""
    secret_services: tuple[str, ...]
    """Base URLs."""
    served: Served
    host: str = HOST
    port: int = PORT
    answer_timeout: float = ANSWER_TIMEOUT
    """Seconds."""


def load_gateway_file(path: Path) -> GatewayFile:
    """Return what a file says.

    Raises:
        ConfigError: it can't be used.
        StartError: it can't be read.
    """
    return parse_gateway_file(read_config_file(path), path)


def parse_gateway_file(content: bytes, path: Path) -> GatewayFile:
    """Return what the content of the file at a path says. Nothing is opened. Raises `ConfigError`."""
    document = Document(content, str(path))
    root = document.root
    root.refuse(_NOT_AT_THE_TOP)
    mesh_ca = root.require("mesh_ca", _FILE)
    file = GatewayFile(
        path.parent / (mesh_ca or ""),
        root.require_list("secret_services", _URL) or (),
        _served(root),
        host=root.take("host", _LISTENER) or HOST,
        port=_port(root.take("port", whole_number(0, 65535, "an integer from 0 to 65535"))),
        answer_timeout=root.take("answer_timeout", _SECONDS) or ANSWER_TIMEOUT,
    )
    root.close()
    document.check()
    return file


def _served(root: Table) -> Served:
    urls, draining = _inference_proxies(root)
    return Served(
        inference_proxies=urls,
        draining=draining,
        document_proxies=root.take_list("document_proxies", _URL) or (),
        declared=take_models(root, {} if "keys" in root else _NOT_WITHOUT_KEYS),
        keys=_keys(root),
        collapses_aliases=root.take("aliases", one_of("list", "collapse")) == "collapse",
        allowed_origins=root.take_list("allowed_origins", _PAGES) or (),
    )


def _inference_proxies(root: Table) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the URLs of all, and of those that drain."""
    drains: dict[str, bool] = {}
    for table in root.require_tables("inference_proxies"):
        url = table.require("url", _URL) or ""
        if url and url in drains:
            table.report(("url",), "another inference proxy has this URL.")
        drains[url] = table.take("drain", FLAG) or False
        table.close()
    return tuple(drains), frozenset(url for url, is_draining in drains.items() if is_draining)


def _keys(root: Table) -> tuple[Key, ...]:
    """Return the keys; of each, only the digest is known."""
    keys: list[Key] = []
    names: set[str] = set()
    digests: dict[str, str] = {}
    for table in root.tables("keys"):
        table.refuse(_NOT_IN_KEYS)
        key = Key(
            table.require("name", name("a key's name")) or "",
            table.require("sha256", _DIGEST) or "",
            frozenset(table.take_list("groups", GROUP) or ()),
        )
        table.close()
        if key.name and key.name in names:
            table.report(("name",), f"another key has the name {key.name}.")
        if key.sha256 and key.sha256 in digests:
            table.report(("sha256",), f"this is the key of {digests[key.sha256]}.")
        if key.sha256 == _OF_NOTHING:
            table.report(("sha256",), "this is the SHA-256 of nothing: the key was empty when it was hashed.")
        names.add(key.name)
        digests.setdefault(key.sha256, key.name)
        keys.append(key)
    return tuple(keys)


def _port(value: int | None) -> int:
    return PORT if value is None else value


def _read_path(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_PATH and value.isprintable() else None


def _read_host(value: object) -> str | None:
    return value if isinstance(value, str) and _HOST.fullmatch(value) else None


def _read_seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 < value < MAX_ANSWER_SECONDS else None


def _read_url(value: object) -> str | None:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")) or "?" in value:
        return None
    try:
        split_url(value)
    except ValueError:
        return None
    return value.rstrip("/")


def _read_origin(value: object) -> str | None:
    """Return an origin; one that ends in a slash may be meant as a path, so it isn't one here."""
    return origin_of(value) if isinstance(value, str) and not value.endswith("/") else None


def _read_digest(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and _HEX.fullmatch(value) else None


_FILE = Kind("a path", _read_path)
_LISTENER = Kind("a name or an address to listen on", _read_host)
_SECONDS = Kind("seconds above 0", _read_seconds)
_URL = Kind("a base URL such as https://host:8082, without a query", _read_url, is_secret=True)
_PAGES = Kind(
    "an origin such as https://app.example, without a path, and never * (any web page could read the answers)",
    _read_origin,
)
_DIGEST = Kind(f"the 64 hex digits of the key's SHA-256: {_HASH_IT}", _read_digest, is_secret=True)
