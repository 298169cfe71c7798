"""The proxy through which a company lets its machines out, as the environment says it. Pure code.

The variables mean what they mean to Go's `net/http`, and so to the deployed proxy. As with curl, `ALL_PROXY` stands in
for the others, lower case comes first, and `HTTP_PROXY` doesn't count, which clients of a CGI program can set.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote_to_bytes

from privity.errors import OutgoingProxyError, StartError
from privity.http import Headers
from privity.transport.http_client.request import Origin, split_url

VARIABLES = {False: ("http_proxy",), True: ("https_proxy", "HTTPS_PROXY")}
"""Where the proxy is looked for, in this order; the key says whether the origin speaks TLS."""

VARIABLES_OF_ALL = ("all_proxy", "ALL_PROXY")
"""Where it is looked for next."""

EXEMPTING = ("no_proxy", "NO_PROXY")

_PROXY_URL = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?:(?P<user>[^/]*)@)?(?P<address>[^/@]+)/?", re.IGNORECASE
)
_RULE = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class OutgoingProxy:
    """An HTTP proxy."""

    origin: Origin
    """Where it is; its text names it in messages."""
    credentials: Headers = field(default=(), repr=False)
    """What each request to it bears besides, and no request to anybody else."""

    def error(self, problem: str) -> OutgoingProxyError:
        """Return an error that names this proxy, without its credentials."""
        return OutgoingProxyError(f"the outgoing proxy {self.origin.text} {problem}.")

    def refusal(self, status: int) -> OutgoingProxyError:
        """Return what is to be said of its answer with another status than 2xx."""
        if status == 407:
            return self.error("wants a user's name and password, or other ones: http://USER:PASSWORD@HOST:PORT")
        return self.error(f"does not connect to it: it answers with status {status}")


def outgoing_proxy(environment: Mapping[str, str], url: str) -> OutgoingProxy | None:
    """Return the proxy through which a URL is to be reached; None where it is reached directly.

    Loopback addresses always are, `localhost` too, whatever the environment says.

    Raises:
        StartError: the proxy that it says is none that is known. The text does not repeat it: it may hold a password.
        ValueError: as `split_url`.
    """
    origin, _ = split_url(url)
    names = (*VARIABLES[origin.tls], *VARIABLES_OF_ALL)
    name = next((each for each in names if environment.get(each)), None)
    if name is None or origin.path is not None or _is_local(origin.host):
        return None
    exempt = next((environment[each] for each in EXEMPTING if environment.get(each)), "")
    if is_exempt(exempt, origin.host, origin.port):
        return None
    return _proxy(environment[name].strip(), name)


def is_exempt(rules: str, host: str, port: int) -> bool:
    """Return whether the value of `NO_PROXY` exempts an address.

    Rules are separated by commas, and each may end in a port:

    * `*`: everything.
    * `192.0.2.1`, `[2001:db8::1]`, `192.0.2.0/24`: this address, or those of this network; names are not resolved.
    * `example.com`: this name and those below it.
    * `.example.com`, `*.example.com`: those below it.

    One that is none of these exempts nothing.
    """
    name = host.lower().removesuffix(".")
    return any(_matches(rule.strip().lower(), name, port) for rule in rules.split(","))


def _matches(rule: str, name: str, port: int) -> bool:
    if rule == "*":
        return True
    address = _address(name)
    if "/" in rule or (rule.count(":") > 1 and not rule.startswith("[")):
        return address is not None and _is_within(address, rule)
    match = _RULE.fullmatch(rule)
    if match is None or (match["port"] is not None and int(match["port"]) != port):
        return False
    host = match["host"].strip("[]").removesuffix(".")
    if address is not None:
        return _address(host) == address
    if host.startswith(("*.", ".")):
        return name.endswith(host.removeprefix("*"))
    return name == host or name.endswith("." + host)


def _is_within(address: IPv4Address | IPv6Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_local(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host.lower().removesuffix(".") == "localhost"


def _proxy(value: str, name: str) -> OutgoingProxy:
    match = _PROXY_URL.fullmatch(value)
    scheme = ((match and match["scheme"]) or "http").lower()
    if scheme not in ("http", "https"):
        raise StartError(
            f"{name} names a proxy of another kind than HTTP ({scheme}), which Privity can't go through.",
            "Name an HTTP proxy, as http://HOST:PORT, or exempt the gateway's host with NO_PROXY.",
        )
    try:
        origin, _ = split_url(f"{scheme}://{match['address'] if match else ''}")
    except ValueError as error:
        raise StartError(
            f"{name} doesn't hold the URL of a proxy.",
            "It looks like http://HOST:PORT or http://USER:PASSWORD@HOST:PORT.",
        ) from error
    return OutgoingProxy(origin, _credentials(match["user"] if match else None))


def _credentials(user: str | None) -> Headers:
    """Return user and password as RFC 7617 has them; a colon is between them even where there is no password."""
    if user is None:
        return ()
    name, _, password = user.partition(":")
    pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return ((b"proxy-authorization", b"Basic " + base64.b64encode(pair)),)
