"""What `privity models` asks, and how it tells what comes back."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote, urlencode

import msgspec

from privity.catalogue.rows import MAX_LIST_BYTES
from privity.cli import _ui
from privity.errors import (
    StartError,
    UntrustedPeerError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    printable,
)
from privity.http import Headers, Response, header
from privity.transport.http_client import PooledHttpClient

TIMEOUT = 10.0
"""Seconds until an answer must be there."""

MAX_MESSAGE_CHARS = 1000
"""Characters of a server's message that are shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is all there."""

    status: int
    headers: Headers
    body: bytes

    @property
    def dropped(self) -> str:
        """Return what a proxy says of rows that it left out."""
        return (header(self.headers, b"privity-models-dropped") or b"").decode("latin-1")


class _Error(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Error


class ModelsApi:
    """One server's Models API.

    Args:
        url: its base URL.
        key: its API key, if it wants one. Errors never hold it.
        what: which role it is asked as.
    """

    def __init__(self, url: str, key: str | None, what: Literal["proxy", "gateway"]) -> None:
        self.url = url
        self.what = what
        self._key = key
        self._headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
        self._http = PooledHttpClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def open(self, path: str, query: Mapping[str, str], headers: Headers = ()) -> Response:
        """Return an answer whose head is there. Raises `UpstreamError`."""
        target = f"{self.url}{path}?{urlencode(query)}" if query else self.url + path
        return await self._http.request("GET", target, headers=[*self._headers, *headers], head_timeout=TIMEOUT)

    async def ask(self, path: str, query: Mapping[str, str], headers: Headers = ()) -> Answer:
        """Return an answer, whatever its status. Raises `UpstreamError`."""
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self.open(path, query, headers)
                async with response:
                    if (header(response.headers, b"content-type") or b"").startswith(b"text/event-stream"):
                        raise UpstreamProtocolError("a feed in place of an answer")  # a model may be named `events`
                    return await whole(response)
        except TimeoutError as error:
            raise UpstreamTimeoutError("no whole answer in time") from error

    async def list(self, query: Mapping[str, str]) -> Answer:
        """Return the list. Raises `StartError`."""
        return await self._get("/v1/models", query)

    async def retrieve(self, asked: str, query: Mapping[str, str]) -> Answer:
        """Return one model's record. Raises `StartError`, which names the nearest IDs where the server does."""
        return await self._get(f"/v1/models/{quoted(asked)}", query)

    async def _get(self, path: str, query: Mapping[str, str]) -> Answer:
        try:
            answer = await self.ask(path, query)
        except UpstreamError as error:
            raise self.problem(error) from error
        if answer.status != 200:
            raise self.refusal(answer)
        return answer

    def problem(self, error: UpstreamError) -> StartError:
        """Return what a person is told of an answer that is none."""
        if isinstance(error, UpstreamProtocolError):
            return StartError(f"What answers at {self.url} isn't a model list.", "Check --base-url.")
        if isinstance(error, UntrustedPeerError):
            return StartError(f"The {self.what} at {self.url} wasn't asked: {error}", "Check --base-url.")
        return StartError(f"No {self.what} answers at {self.url}.", _ui.START_ONE)

    def refusal(self, answer: Answer) -> StartError:
        """Return what a person is told of an answer with another status than 200."""
        if answer.status == 401:
            return StartError("The API key is missing or not accepted.", "Give one with --api-key.")
        message = self._message(answer.body)
        if answer.status == 404 and message:
            return StartError(message, "`privity models` lists what is there.")
        says = f", and says: {message}" if message else "."
        return StartError(f"{self.url} answers with status {answer.status}{says}", "Check --base-url.")

    def _message(self, body: bytes) -> str:
        try:
            message = msgspec.json.decode(body, type=_Refusal).error.message[:MAX_MESSAGE_CHARS]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        return printable(message.replace(self._key, "…") if self._key else message)


async def whole(response: Response) -> Answer:
    """Return an answer to its end. Raises `UpstreamError`."""
    return Answer(response.status, response.headers, await response.read(MAX_LIST_BYTES))


def quoted(asked: str) -> str:
    """Return an ID as a segment of a path. Raises `StartError`."""
    try:
        segment = quote(asked, safe="")
    except UnicodeEncodeError as error:
        raise StartError("This ID isn't text.", "`privity models` lists those that are there.") from error
    if not segment:
        raise StartError("An empty ID is none.", "`privity models` lists those that are there.")
    return segment
