"""HTTP as seen by code that does no I/O itself: `privity.transport` implements it, `privity.testing` has twins."""

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Protocol, Self

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, in the order of the wire; a name may repeat."""


class Response(Protocol):
    """An answer whose head has arrived. Leaving its context ends it: what was not read is not waited for."""

    @property
    def status(self) -> int:
        """The status code, 200 to 599."""

    @property
    def headers(self) -> Headers:
        """The answer's headers."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they come. Raises `UpstreamError` where the body ends before its time."""

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises `UpstreamError` where it is cut, or longer than `limit` bytes."""

    async def aclose(self) -> None:
        """End it; what was not read is not waited for."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class HttpClient(Protocol):
    """Sends requests."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | AsyncIterator[bytes] = b"",
        head_timeout: float | None = None,
        repeat: bool = True,
    ) -> Response:
        """Send one request and return its answer as soon as its head has arrived.

        Args:
            method: in upper case.
            url: `http://host:port/path?query`, or `http+unix://%2Fpath%2Fof.sock/path?query`.
            headers: without `host`, `content-length`, `transfer-encoding` and `connection`, which belong to the client.
            body: bytes, or pieces of a body whose length nobody knows yet.
            head_timeout: seconds until the head of the answer must be there; None leaves that to the client.
            repeat: whether the same bytes may be sent once more where a kept connection turns out to be closed.

        Raises:
            UpstreamUnreachableError: no connection could be had, or it was closed before an answer began.
            UpstreamTimeoutError: no head within `head_timeout`.
            UpstreamProtocolError: what came back is not HTTP, or breaks a limit.
        """


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value under `name` (in lower case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None
