"""Defence against the user's own browser (wire-protocol.md section 9).

The proxy listens on the user's machine and will hold a key. A web page can make a browser send requests to it, by its
address or by a name that resolves to it (DNS rebinding); but it can't forge `Host` and `Origin`.

Not checked: who on this machine asks. Every local program may.
"""

import re
from functools import lru_cache
from ipaddress import ip_address

from privity.errors import ForbiddenOriginError, MisdirectedError
from privity.http import Headers, header
from privity.transport.cors import origin_of

_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\[\]:/@]+))(?::[0-9]{1,5})?")

REMEMBERED_HOSTS = 16
"""`Host` values whose verdict is kept: a user's apps send one or two."""


class Guard:
    """Knows which hosts and origins are expected.

    Args:
        listening: the address that the proxy listens on; None for a Unix domain socket, to which no browser comes, and
            where clients say any host.
        hosts: further names, without a port, in any case.
        origins: origins of web pages, as `https://app.example`.
    """

    def __init__(self, listening: str | None, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self._any_host = listening is None
        self._hosts = frozenset(each.lower() for each in ("localhost", listening, *hosts) if each)
        self._origins = frozenset(origin_of(each) or each for each in origins)
        self._expected = lru_cache(REMEMBERED_HOSTS)(self._is_expected)

    def check(self, headers: Headers) -> None:
        """Check a request's head.

        Raises:
            MisdirectedError: it was sent to a name that isn't expected, to several, or to none.
            ForbiddenOriginError: a page of an origin that isn't listed sent it.
        """
        hosts = [value for name, value in headers if name == b"host"]
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if not self._any_host and not self._expected(host):
            raise MisdirectedError(
                "This proxy answers only under names that it expects. Use localhost, or start it with --allowed-host."
            )
        origin = header(headers, b"origin")
        is_foreign = (
            origin is None and header(headers, b"sec-fetch-site") == b"cross-site"
        )  # an image, a script, a link
        if is_foreign or (origin is not None and not self._listed(origin.decode("latin-1").lower(), host)):
            raise ForbiddenOriginError(
                "This proxy doesn't answer web pages of other origins. List yours with --allowed-origin."
            )

    def _is_expected(self, host: str) -> bool:
        name = _without_port(host)
        if name in self._hosts:
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    def _listed(self, origin: str, host: str) -> bool:
        return origin in self._origins or origin in (f"http://{host}", f"https://{host}")


def _without_port(host: str) -> str:
    """Return the name or address of a `Host` value; "" where it is not one (RFC 9110 section 7.2)."""
    match = _HOST.fullmatch(host)
    return (match["address"] or match["name"]).removesuffix(".") if match else ""
