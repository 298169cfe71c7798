"""Every error that Privity raises.

PrivityError
├── ApiError                      what an app is told, in OpenAI's form
│   ├── InvalidRequestError       400
│   │   ├── ContextLengthError    400
│   │   ├── NotEncryptedError     400
│   │   └── WrongTaskError        400
│   ├── UnauthorizedError         401
│   ├── ForbiddenOriginError      403
│   ├── RouteNotFoundError        404
│   ├── ModelNotFoundError        404
│   ├── MethodNotAllowedError     405
│   ├── RequestTimeoutError       408
│   ├── PayloadTooLargeError      413
│   ├── UnsupportedMediaError     415
│   ├── MisdirectedError          421
│   ├── TooManyRequestsError      429
│   ├── UnknownSecretError        500
│   ├── NotSupportedError         501
│   ├── EngineFailedError         502
│   ├── TamperedAnswerError       502
│   ├── UnavailableError          503
│   └── EngineTimeoutError        504
├── ProtocolError                 what came over the wire is not what the protocol says
│   ├── AgreementError
│   ├── CertificateError
│   ├── DecryptionError
│   └── StatementError            its `reason` says in which way
├── UpstreamError                 what the HTTP client raises, and nothing else
│   ├── UpstreamUnreachableError
│   │   ├── OutgoingProxyError    its text is for the app
│   │   └── UntrustedPeerError    its text is for the app
│   ├── UpstreamTimeoutError
│   └── UpstreamProtocolError
├── ClientGoneError               nobody is left to be told
└── StartError                    what a person at a terminal is told: what went wrong, and the way out
    └── ConfigError               a configuration file that can't be used, problem by problem
"""

from typing import ClassVar, Literal

_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class PrivityError(Exception):
    """The root. Its text is for people; programs decide by class and attributes."""


class ApiError(PrivityError):
    """An error in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`, sent with `status`."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None
    param: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if param is not None:
            self.param = param
        if code is not None:
            self.code = code

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with this status."""
        return []

    def body(self) -> dict[str, object]:
        """Return the answer's JSON object."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def anthropic_body(self) -> dict[str, object]:
        """Return the answer's JSON object in Anthropic's form."""
        kind = _ANTHROPIC_TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": self.message}}

    def ollama_body(self) -> dict[str, object]:
        """Return the answer's JSON object in Ollama's form."""
        return {"error": self.message}


def printable(text: str, most: int | None = None) -> str:
    """Return so many characters of a text from outside, as messages show it: `?` is what could steer a terminal."""
    beginning = text[:most]
    return beginning if beginning.isprintable() else "".join(each if each.isprintable() else "?" for each in beginning)


def without_trace(error: ApiError) -> ApiError:
    """Return an error that is kept for later without what it holds on to: frames, and all that these have in hand."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class InvalidRequestError(ApiError):
    """The request can't be carried out as it stands."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class ContextLengthError(InvalidRequestError):
    """More tokens than the model can take."""

    code = "context_length_exceeded"


class NotEncryptedError(InvalidRequestError):
    """A request for an encrypted endpoint holds no encrypted value, or one that can't be decrypted."""

    code = "not_encrypted"


class WrongTaskError(InvalidRequestError):
    """The model is there, but cannot do this."""

    code = "task_not_supported"
    param = "model"


class UnauthorizedError(ApiError):
    """The API key is missing, or not one that the gateway knows."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class ForbiddenOriginError(ApiError):
    """A web page of a foreign origin asked."""

    status = 403
    type = "permission_error"
    code = "origin_not_allowed"


class RouteNotFoundError(ApiError):
    """No such path."""

    status = 404
    type = "invalid_request_error"
    code = "unknown_url"


class ModelNotFoundError(ApiError):
    """No such model, or none that serves now."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"
    param = "model"


class MethodNotAllowedError(ApiError):
    """The path is there, but not for this method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with this status."""
        return [(b"allow", ", ".join(self.allowed).encode())]


class RequestTimeoutError(ApiError):
    """The request didn't come in time."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class PayloadTooLargeError(ApiError):
    """The body is over the limit."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMediaError(ApiError):
    """The body is of a kind that this endpoint does not take."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class MisdirectedError(ApiError):
    """The request names a host that is not this one (RFC 9110 section 15.5.20)."""

    status = 421
    type = "permission_error"
    code = "host_not_allowed"


class TooManyRequestsError(ApiError):
    """There is a limit on how many such requests are answered at a time; `retry_after` seconds later one may be."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after: int = 2, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with this status."""
        return [(b"retry-after", str(self.retry_after).encode())]


class UnknownSecretError(ApiError):
    """The request is encrypted with a secret that the deployment doesn't have, or no longer."""

    status = 500
    code = "unknown_secret"

    def __init__(self, secret_id: str) -> None:
        super().__init__(f'no secret for ID "{secret_id}"')  # deployed clients match this text (wire-protocol.md 4)


class NotSupportedError(ApiError):
    """The path is known, but there is nothing behind it."""

    status = 501
    code = "not_supported"


class EngineFailedError(ApiError):
    """The engine, or a role on the way to it, answered with something that is of no use."""

    status = 502
    code = "engine_error"


class TamperedAnswerError(ApiError):
    """The answer is not what the deployment sent for this request: it was altered, cut, or made up on its way."""

    status = 502
    code = "answer_not_authentic"


class UnavailableError(ApiError):
    """Nobody serves this now; `retry_after` seconds later somebody may."""

    status = 503
    code = "model_unavailable"

    def __init__(
        self, message: str, *, retry_after: int = 2, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.retry_after = retry_after

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with this status."""
        return [(b"retry-after", str(self.retry_after).encode())]


class EngineTimeoutError(ApiError):
    """The engine took too long to begin its answer."""

    status = 504
    code = "engine_timeout"


class ProtocolError(PrivityError):
    """The one family that `privity.protocol` lets out about what came from outside. Its text never holds content."""


class AgreementError(ProtocolError):
    """The other side's part of a key agreement is not valid."""


class CertificateError(ProtocolError):
    """A certificate is not one of the deployment's, or not the one that is wanted."""


class DecryptionError(ProtocolError):
    """A value is not authentic at its place: altered, moved, dropped, repeated, cut, or from another exchange."""


Reason = Literal["unsigned", "malformed", "expired", "altered", "unknown_signer"]
"""Why a statement doesn't count.

Nobody signed it. It isn't of the form that is wanted. By our clock its time is over, or hasn't come. It isn't what was
signed, or is about something else. Who signed it isn't of the deployment, or not the right service of it.
"""


class StatementError(ProtocolError):
    """What is said of a model isn't signed by the deployment, for this model and this time."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UpstreamError(PrivityError):
    """The one family that an HTTP client lets out."""


class UpstreamUnreachableError(UpstreamError):
    """No connection could be had, or it was closed before an answer began."""


class OutgoingProxyError(UpstreamUnreachableError):
    """The proxy that the environment names doesn't let us through. Its text says why, as the end of a sentence."""


class UntrustedPeerError(UpstreamUnreachableError):
    """The peer's certificate isn't one that this machine trusts. Its text says why, as the end of a sentence."""


class UpstreamTimeoutError(UpstreamError):
    """No answer in time."""


class UpstreamProtocolError(UpstreamError):
    """The peer broke HTTP or one of our limits, or closed the connection in the middle of an answer."""


class ClientGoneError(PrivityError):
    """The client closed its connection."""


class StartError(PrivityError):
    """Something that keeps a program from starting: one sentence, and one that says the way out."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem} {way_out}")
        self.problem = problem
        self.way_out = way_out


class ConfigError(StartError):
    """A configuration file that can't be used.

    Attributes:
        problems: what is wrong, in the file's order, each as `FILE:LINE: KEY: what, and what is expected`.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(("The configuration can't be used:", *problems)), "")
        self.problems = problems

    def __str__(self) -> str:
        """Return the text alone: each problem says what is expected."""
        return self.problem
