import base64

import pytest

from privity.errors import StartError
from privity.transport.http_client.outgoing import is_exempt, outgoing_proxy

PROXY = "http://proxy.example:3128"
PASSWORD = "open sesame"  # noqa: S105  # no secret


def way(url: str, **environment: str) -> str | None:
    proxy = outgoing_proxy(environment, url)
    return None if proxy is None else proxy.origin.text


# Which variable counts


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_each_variable_for_tls_counts(name: str) -> None:
    assert way("https://gateway.example", **{name: PROXY}) == PROXY


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_each_variable_for_plain_http_counts(name: str) -> None:
    assert way("http://gateway.example", **{name: PROXY}) == PROXY


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://gateway.example", "HTTP_PROXY"),  # a CGI program's client can set it
        ("http://gateway.example", "https_proxy"),
        ("https://gateway.example", "http_proxy"),
        ("https://gateway.example", "Https_Proxy"),
        ("http+unix://%2Ftmp%2Fx.sock", "all_proxy"),
    ],
)
def test_others_do_not(url: str, name: str) -> None:
    assert way(url, **{name: PROXY}) is None


def test_the_own_variable_comes_before_that_for_all_and_lower_case_before_upper_case() -> None:
    others = {"HTTPS_PROXY": "http://b", "all_proxy": "http://c", "ALL_PROXY": "http://d"}
    assert way("https://gateway.example", https_proxy="http://a", **others) == "http://a"
    assert way("https://gateway.example", **others) == "http://b"
    del others["HTTPS_PROXY"]
    assert way("https://gateway.example", **others) == "http://c"


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert way("https://gateway.example", https_proxy="", HTTPS_PROXY=PROXY) == PROXY
    assert way("https://gateway.example", https_proxy="") is None
    assert way("https://gateway.example", https_proxy=PROXY, no_proxy="", NO_PROXY="gateway.example") is None


# What a proxy's URL says


@pytest.mark.parametrize(
    ("value", "text", "host", "port", "tls"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", "proxy.example", 3128, False),
        ("proxy.example:3128", "http://proxy.example:3128", "proxy.example", 3128, False),
        ("proxy.example", "http://proxy.example", "proxy.example", 80, False),
        (" HTTP://proxy.example/ ", "http://proxy.example", "proxy.example", 80, False),
        ("https://proxy.example", "https://proxy.example", "proxy.example", 443, True),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128", "2001:db8::1", 3128, False),
        ("http://user:pa%40ss@proxy.example:1", "http://proxy.example:1", "proxy.example", 1, False),
        ("user:p@ss@proxy.example:1", "http://proxy.example:1", "proxy.example", 1, False),
    ],
)
def test_a_proxy_is_read(value: str, text: str, host: str, port: int, *, tls: bool) -> None:
    proxy = outgoing_proxy({"https_proxy": value}, "https://gateway.example")
    assert proxy is not None
    origin = proxy.origin
    assert (origin.text, origin.host, origin.port, origin.tls) == (text, host, port, tls)


@pytest.mark.parametrize(
    ("user", "pair"),
    [
        ("user:password", b"user:password"),
        ("user", b"user:"),
        ("user:", b"user:"),
        (":password", b":password"),
        ("", b":"),
        ("a%3Ab:c%3Ad:e", b"a:b:c:d:e"),
        ("us%0D%0Aer:\u00e9", b"us\r\ner:\xc3\xa9"),
    ],
)
def test_user_and_password_become_basic_credentials(user: str, pair: bytes) -> None:
    proxy = outgoing_proxy({"https_proxy": f"http://{user}@proxy.example"}, "https://gateway.example")
    assert proxy is not None
    assert proxy.credentials == ((b"proxy-authorization", b"Basic " + base64.b64encode(pair)),)


def test_no_user_sends_nothing_about_itself() -> None:
    proxy = outgoing_proxy({"https_proxy": PROXY}, "https://gateway.example")
    assert proxy is not None
    assert proxy.credentials == ()


@pytest.mark.parametrize(
    "value",
    [
        "socks5://{}@proxy.example:1080",
        "socks5h://{}@proxy.example",
        "ftp://{}@proxy.example",
        "http://{}@proxy.example:x",
        "http://{}@proxy.example:99999",
        "http://{}@proxy.example/path",
        "http://{}@",
        "http://{}@pr oxy",
        "://{}@proxy.example",
    ],
)
def test_what_is_no_http_proxy_is_an_error_that_keeps_its_password(value: str) -> None:
    with pytest.raises(StartError) as caught:
        outgoing_proxy({"HTTPS_PROXY": value.format(f"user:{PASSWORD}")}, "https://gateway.example")
    assert caught.value.problem.startswith("HTTPS_PROXY ")
    for text in (str(caught.value), repr(caught.value.__cause__)):
        assert PASSWORD not in text


def test_a_proxy_that_is_not_used_may_be_of_any_kind() -> None:
    assert way("http://localhost:8081", all_proxy="socks5://proxy.example") is None
    assert way("https://gateway.example", all_proxy="socks5://proxy.example", no_proxy="gateway.example") is None


def test_the_password_is_not_shown() -> None:
    proxy = outgoing_proxy({"https_proxy": f"http://user:{PASSWORD}@proxy.example"}, "https://gateway.example")
    assert proxy is not None
    encoded = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    for text in (repr(proxy), str(proxy), str(proxy.refusal(407)), str(proxy.refusal(502))):
        assert "proxy.example" in text
        assert PASSWORD not in text
        assert encoded not in text


# Whom no proxy is asked for


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_is_always_reached_directly(scheme: str, host: str) -> None:
    assert way(f"{scheme}://{host}:8081", all_proxy=PROXY) is None


@pytest.mark.parametrize("host", ["localhost.example", "0.0.0.0", "10.0.0.1", "[fe80::1]", "128.0.0.1"])  # noqa: S104
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert way(f"https://{host}", all_proxy=PROXY) == PROXY


@pytest.mark.parametrize(
    ("rules", "host", "exempt"),
    [
        ("*", "anything.example", True),
        ("a.example, *", "anything.example", True),
        ("example.com", "example.com", True),
        ("EXAMPLE.com", "Example.COM", True),
        ("example.com", "example.com.", True),
        ("example.com.", "example.com", True),
        ("example.com", "a.b.example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com", "example.com.evil.example", False),
        (".example.com", "a.example.com", True),
        (".example.com", "example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("a.example , b.example", "b.example", True),
        ("a.example b.example", "b.example", False),
        ("example.com:443", "example.com", True),
        ("example.com:8443", "example.com", False),
        ("*.example.com:443", "a.example.com", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.10", False),
        ("192.0.2.1:443", "192.0.2.1", True),
        ("192.0.2.1:80", "192.0.2.1", False),
        ("2.1", "192.0.2.1", False),
        ("192.0.2.0/24", "192.0.2.77", True),
        ("192.0.2.5/24", "192.0.2.77", True),
        ("192.0.2.0/24", "192.0.3.1", False),
        ("192.0.2.0/24", "::ffff:192.0.2.1", True),
        ("192.0.2.0/24", "host.example", False),
        ("192.0.2.0/99", "192.0.2.1", False),
        ("2001:db8::1", "2001:db8::1", True),
        ("2001:DB8:0::1", "2001:db8::1", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]:443", "2001:db8::1", True),
        ("[2001:db8::1]:80", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("", "example.com", False),
        (",,  ,", "example.com", False),
        (".", "example.com", False),
        ("*.", "example.com", False),
        (":443", "example.com", False),
        ("http://example.com", "example.com", False),
        ("example.com:x", "example.com", False),
    ],
)
def test_rules_exempt_what_they_name(rules: str, host: str, *, exempt: bool) -> None:
    assert is_exempt(rules, host, 443) is exempt


def test_an_exempt_host_is_reached_directly() -> None:
    assert way("https://gateway.example:8443", https_proxy=PROXY, NO_PROXY="gateway.example:8443") is None
    assert way("https://gateway.example:8443", https_proxy=PROXY, NO_PROXY="gateway.example:443") == PROXY
