"""A document backend: an API like Unstructured's, which takes a form with files and answers with JSON."""

import re

import msgspec

from privity.engines.connection import api_error
from privity.engines.engine import Answer, Body, EngineModel
from privity.errors import (
    ApiError,
    EngineFailedError,
    EngineTimeoutError,
    InvalidRequestError,
    NotSupportedError,
    PayloadTooLargeError,
    RouteNotFoundError,
    UnavailableError,
    UpstreamError,
    printable,
)
from privity.http import HttpClient, Response, header
from privity.protocol.fields import scan

MAX_REASON = 300
"""Characters of what the backend says against a document: a sentence or two."""

MAX_REFUSAL = 64 * 1024
"""Bytes of an answer that refuses a document."""

MAX_ANSWER = 60 * 1024 * 1024
"""Bytes of an answer: encrypted it is twice as long, and clients take 128 MiB (wire-protocol.md section 9)."""

_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")
"""What is passed on: no segment begins with a dot, so none leads out of the backend's own paths."""

_NO_SUCH_PATH = "The document backend has no such path. Unstructured's is /unstructured/general/v0/general."
_JSON_ONLY = (
    "The document backend answered with something other than JSON, which can't be encrypted: ask for "
    "`output_format` `application/json`."
)


class DocumentBackend:
    """One backend: an engine without models, which reads documents.

    Args:
        http: who sends.
        url: its base URL.
        answer_timeout: seconds until its answer must begin: it reads whole books.
    """

    def __init__(self, http: HttpClient, url: str, answer_timeout: float) -> None:
        self._http = http
        self._url = url
        self._answer_timeout = answer_timeout

    async def describe(self) -> tuple[EngineModel, ...]:
        """Return nothing: it has no models."""
        return ()

    async def answer(self, endpoint: str, _body: Body) -> Answer:
        """Raise `NotSupportedError`: without models nothing can be called."""
        raise NotSupportedError(f"Only documents are read here; {endpoint} isn't for them.")

    async def read(self, path: str, kind: bytes, body: bytes) -> bytes:
        """Send a document; return the JSON text of the answer, an object or an array.

        Args:
            path: what follows `/unstructured`, with its slash.
            kind: the body's content type, which says how it is cut.
            body: as the app sent it.

        Raises:
            RouteNotFoundError: the backend has no such path.
            ApiError: it refuses the document, with its reason; or it fails.
        """
        if _PATH.fullmatch(path) is None:
            raise RouteNotFoundError(_NO_SUCH_PATH)
        headers = [(b"content-type", kind), (b"accept", b"application/json")]
        try:
            response = await self._http.request(
                "POST", self._url + path, headers=headers, body=body, head_timeout=self._answer_timeout
            )
            async with response:
                if response.status != 200:
                    raise _refusal(response.status, await _beginning(response))
                return _checked(response, await response.read(MAX_ANSWER))
        except UpstreamError as error:
            raise api_error(error, "document backend") from error


async def _beginning(response: Response) -> bytes:
    """Return the reason of a refusal; nothing where it is too long to be one."""
    length = header(response.headers, b"content-length")
    return await response.read(MAX_REFUSAL) if length is None or int(length) <= MAX_REFUSAL else b""


def _checked(response: Response, answer: bytes) -> bytes:
    kind = (header(response.headers, b"content-type") or b"").lower()
    if not kind.startswith(b"application/json"):
        raise InvalidRequestError(_JSON_ONLY, param="output_format", code="unsupported_parameter")
    try:
        scan(answer)
    except InvalidRequestError as error:
        raise EngineFailedError("The document backend's answer isn't valid.") from error
    return answer


def _refusal(status: int, body: bytes) -> ApiError:
    """Return our error for the backend's, with its reason: only the client, who sent the document, can read it."""
    match status:
        case 400 | 415 | 422:
            return InvalidRequestError(f"The document backend refuses this document{_reason(body)}", param="files")
        case 404 | 405:
            return RouteNotFoundError(_NO_SUCH_PATH)
        case 413:
            return PayloadTooLargeError("The document backend says that the document is too large.")
        case 408 | 504:
            return EngineTimeoutError("The document backend took too long.")
        case 429 | 503:
            return UnavailableError("The document backend is busy or still starting.")
        case _:
            return EngineFailedError("The document backend could not carry out the request.")


class _Refusal(msgspec.Struct):
    detail: str


def _reason(body: bytes) -> str:
    try:
        detail = msgspec.json.decode(body, type=_Refusal).detail
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "."
    shown = printable(" ".join(detail[:MAX_REASON].split()))
    return f": {shown}" if shown else "."
