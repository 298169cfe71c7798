"""What is said of paths that nothing answers at: nothing is passed on because it wasn't known."""

from privity.errors import printable
from privity.protocol.endpoints import ENDPOINTS

MAX_SHOWN = 80
"""Characters of a path in a message."""

_API = "/v1/"
_TWICE = "/v1/v1/"
_STORED = "/v1/responses/"
_COUNTS = "/v1/responses/input_tokens"
_ENCRYPTED = ", ".join(endpoint.path + "…" * endpoint.path.endswith("/") for endpoint in ENDPOINTS)


def explain(path: str) -> str:
    """Return the message about a path that a role doesn't answer at."""
    shown = printable(path, MAX_SHOWN)
    if path.startswith(_STORED) and path != _COUNTS:
        return "Responses are not stored, so there is none to be had, continued or deleted later."
    if path.startswith(_TWICE):
        return f"There is no {shown} here: end the base URL before /v1, which this client adds itself."
    if path.startswith(_API):
        return (
            f"{shown} isn't among the endpoints that Privity encrypts, so nothing is sent there. Encrypted are "
            f"{_ENCRYPTED}; GET /v1/models lists the models."
        )
    if any(endpoint.path == f"/v1/{path.lstrip('/')}" for endpoint in ENDPOINTS):
        return f"There is no {shown} here, but /v1/{path.lstrip('/')}: end the base URL with /v1."
    return f"There is no {shown} here. GET /v1/models is a good start."
