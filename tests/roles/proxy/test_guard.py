import pytest

from privity.errors import ForbiddenOriginError, MisdirectedError
from privity.http import Headers
from privity.roles.proxy.guard import Guard

GUARD = Guard("192.168.1.5", ("Proxy.Example",), ("https://App.example/", "http://dev.example:3000"))


def from_origin(origin: str, host: str = "localhost:8080") -> Headers:
    return [(b"host", host.encode()), (b"origin", origin.encode("latin-1"))]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "localhost:1",
        "LOCALHOST",
        "localhost.",
        "LocalHost:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.5.5.5",
        "[::1]",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]:8080",
        "proxy.example",
        "PROXY.example:443",
        "192.168.1.5",
        "192.168.1.5:8080",
    ],
)
def test_an_expected_host_is_answered(host: str) -> None:
    GUARD.check([(b"host", host.encode())])


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8080",
        " ",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:localhost",
        "evil.example#localhost",
        "localhost@evil.example",
        "notlocalhost",
        "localhost..",
        "[::1].evil.example",
        "localhost:8080x",
        "sub.proxy.example",
        "192.168.1.6",
        "10.0.0.1:8080",
        "0.0.0.0",  # noqa: S104  # a name to refuse, not to listen on
        "128.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "::1",
        "[::2]",
        "[evil.example]",
        "[fe80::1]:8080",
        "127.0.0.1,evil.example",
        "\xe9",
    ],
)
def test_another_host_is_not(host: str) -> None:
    with pytest.raises(MisdirectedError) as caught:
        GUARD.check([(b"host", host.encode("latin-1"))])
    assert (caught.value.status, caught.value.code) == (421, "host_not_allowed")
    assert "--allowed-host" in caught.value.message


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"accept", b"*/*")],
        [(b"host", b"localhost"), (b"host", b"localhost")],
        [(b"host", b"localhost"), (b"host", b"evil.example")],
        [(b"host", b"evil.example"), (b"host", b"localhost")],
    ],
    ids=["none", "none among others", "twice", "another one second", "another one first"],
)
def test_not_exactly_one_host_is_refused(headers: Headers) -> None:
    with pytest.raises(MisdirectedError):
        GUARD.check(headers)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8080", "localhost:8080"),
        ("HTTP://LOCALHOST:8080", "localhost:8080"),
        ("http://localhost", "localhost"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://localhost:8080", "localhost:8080"),  # TLS may end in front of the proxy
        ("https://app.example", "localhost:8080"),
        ("https://APP.example", "localhost:8080"),
        ("http://dev.example:3000", "localhost:8080"),
    ],
)
def test_the_proxys_own_origin_and_listed_ones_are_answered(origin: str, host: str) -> None:
    GUARD.check(from_origin(origin, host))


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://evil.example",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "ftp://localhost:8080",
        "localhost:8080",
        "http://localhost:8080.evil.example",
        "http://localhost:8080/",
        "http://evil.example/http://localhost:8080",
        "http://app.example",
        "https://app.example:8443",
        "https://sub.app.example",
        "https://app.example.evil.example",
        "http://dev.example",
        "chrome-extension://abcdef",
        "\xe9",
    ],
)
def test_a_foreign_origin_is_refused(origin: str) -> None:
    with pytest.raises(ForbiddenOriginError) as caught:
        GUARD.check(from_origin(origin))
    assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")
    assert "--allowed-origin" in caught.value.message


def test_the_host_is_checked_before_the_origin() -> None:
    with pytest.raises(MisdirectedError):
        GUARD.check(from_origin("http://evil.example", "evil.example"))


def test_null_is_answered_only_where_it_is_listed() -> None:
    Guard("127.0.0.1", (), ("null",)).check(from_origin("null"))


@pytest.mark.parametrize("host", ["localhost", "evil.example", "", "\xe9", "%2Ftmp%2Fproxy.sock"])
def test_on_a_unix_socket_the_host_says_nothing_and_the_origin_counts(host: str) -> None:
    guard = Guard(None, (), ("https://app.example",))
    guard.check([(b"host", host.encode("latin-1"))])
    guard.check([])
    guard.check([(b"origin", b"https://app.example")])
    with pytest.raises(ForbiddenOriginError):
        guard.check([(b"host", host.encode("latin-1")), (b"origin", b"https://other.example")])


def test_nothing_is_allowed_unless_it_is_listed() -> None:
    guard = Guard("127.0.0.1", (), ())
    guard.check([(b"host", b"127.0.0.1:8080")])
    for host in ("proxy.example", "192.168.1.5"):
        with pytest.raises(MisdirectedError):
            guard.check([(b"host", host.encode())])
