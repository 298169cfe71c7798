"""What goes out: the pieces of a URL, and the head of a request. Pure code."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from privity.http import Headers

_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::(?P<port>[0-9]{1,5}))?"
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_HOST}")
_UNIX_ORIGIN = re.compile(r"http\+unix://(?P<path>(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+)")
_TARGET = re.compile(r'/[!-"$-~]*')  # printable ASCII without "#": a fragment never goes over the wire
_METHOD = re.compile(r"[A-Z]+")
_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2

_CLIENTS_OWN = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})
_BODILESS_METHODS = frozenset({"GET", "HEAD", "DELETE"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go: a TCP address, with or without TLS, or a Unix domain socket.

    Attributes:
        text: the part of the URL that said so; the key of the connection pool.
        host: a name or an address, without brackets; empty for a Unix domain socket.
        port: of TCP; 0 for a Unix domain socket.
        path: of the Unix domain socket, or None.
        tls: whether the connection is encrypted.
        authority: the value of the `host` header.
    """

    text: str
    host: str
    port: int
    path: str | None
    tls: bool
    authority: str


def split_url(url: str) -> tuple[Origin, str]:
    """Return where a request goes, and its target (RFC 9112 section 3.2.1).

    Raises:
        ValueError: this is no URL of the three known schemes, or its target holds characters that no target may hold.
            The text does not repeat the URL, which may hold a secret.
    """
    slash = url.find("/", url.find("://") + 3)
    if slash < 0:
        return _origin(url), "/"
    target = url[slash:]
    if _TARGET.fullmatch(target) is None:
        raise ValueError("a request target holds printable ASCII only, without spaces and without a fragment")
    return _origin(url[:slash]), target


@lru_cache(maxsize=256)
def _origin(text: str) -> Origin:
    if unix := _UNIX_ORIGIN.fullmatch(text):
        path = unquote(unix["path"])
        if not path.startswith("/") or "\0" in path:
            raise ValueError("the socket of an http+unix URL is a percent-encoded absolute path")
        return Origin(text, "", 0, path, tls=False, authority="localhost")
    tcp = _ORIGIN.fullmatch(text)
    if tcp is None:
        raise ValueError("a URL begins with http://host:port, https://host:port or http+unix://%2Fpath%2Fof.sock")
    tls = tcp["scheme"] == "https"
    port = int(tcp["port"] or (443 if tls else 80))
    if not 0 < port < 1 << 16:
        raise ValueError("a port lies between 1 and 65535")
    return Origin(text, tcp["host"].strip("[]"), port, None, tls, authority=text.split("://", 1)[1])


def encode_head(method: str, origin: Origin, target: str, headers: Headers, body_length: int | None) -> bytes:
    """Return a request's head (RFC 9112 sections 3 and 5).

    Args:
        method: in upper case.
        origin: names the host.
        target: path and query, as `split_url` returned it.
        headers: those that are not the client's own.
        body_length: bytes; None announces a chunked body.

    Raises:
        ValueError: a method, header name or header value that would break the message, or a header that is the
            client's own.
    """
    if _METHOD.fullmatch(method) is None or method == "CONNECT":
        raise ValueError("a method consists of upper-case letters, and CONNECT is none that this client knows")
    parts = [f"{method} {target} HTTP/1.1\r\nhost: {origin.authority}\r\n".encode()]
    for name, value in headers:
        _check_name(name)
        parts.append(b"%b: %b\r\n" % (name, value))
    if body_length is None:
        parts.append(b"transfer-encoding: chunked\r\n")
    elif body_length or method not in _BODILESS_METHODS:
        parts.append(b"content-length: %d\r\n" % body_length)
    parts.append(b"\r\n")
    head = b"".join(parts)
    # One look at the whole is cheaper than one at each value: every part brought one line end, the first one two.
    lines = len(parts) + 1
    if head.count(b"\r") != lines or head.count(b"\n") != lines or b"\0" in head:
        raise ValueError("a header value holds neither CR, LF nor NUL")
    return head


@lru_cache(maxsize=1024)
def _check_name(name: bytes) -> None:
    if _TOKEN.fullmatch(name) is None:
        raise ValueError("a header name is a token")
    if name.lower() in _CLIENTS_OWN:
        raise ValueError(f"{name.decode()} belongs to the client")
