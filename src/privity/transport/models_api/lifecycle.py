"""What answers say of a model that comes to its end."""

from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from privity.catalogue.model import Lifecycle
from privity.http import Headers


def lifecycle_headers(lifecycle: Lifecycle) -> Headers:
    """Return `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and a `Link` to the successor, where they are known."""
    headers: list[tuple[bytes, bytes]] = []
    if lifecycle.deprecated_at is not None:
        headers.append((b"deprecation", f"@{int(lifecycle.deprecated_at.timestamp())}".encode()))
    if lifecycle.retires_at is not None:
        headers.append((b"sunset", _http_date(lifecycle.retires_at)))
    if headers and lifecycle.replacement is not None:
        successor = quote(lifecycle.replacement, safe="")
        headers.append((b"link", f'</v1/models/{successor}>; rel="successor-version"'.encode()))
    return headers


def _http_date(moment: datetime) -> bytes:
    return format_datetime(moment.astimezone(UTC), usegmt=True).encode()
