"""Ollama's `GET /api/tags` and `POST /api/show` (models-api.md item 14; github.com/ollama/ollama, `api/types.go`).

Ollama itself has no way to leave a member of `details` out: what it doesn't know is `""` or an empty list there, and 0
as a `size`; strictly typed clients rely on it. So it is here. All other unknown members are left out.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from privity.catalogue.dialects._shared import file_format, moment_of, rfc3339
from privity.catalogue.model import Model, without_none
from privity.errors import InvalidRequestError

UNKNOWN_DIGEST = "undetermined"
"""The `digest` of weights that nobody told us the digest of.

Clients want a string, and `ollama list` crashes on one of less than 12 characters, of which it shows the first 12.
This one has 12, and nobody can take it for a digest: it isn't hexadecimal.
"""

MAX_SHOW_REQUEST = 64 * 1024
"""Bytes of a request for `/api/show`: a name and some options that are not looked at."""

MAX_NAME = 512
"""Characters of a name: over five times what a model hub lets a repository have (96)."""

_LATEST = ":latest"
"""What Ollama's clients put after a name without a tag."""

_CAPABILITIES = {
    "generate": "completion",
    "tool_calling": "tools",
    "vision": "vision",
    "embed": "embedding",
}
"""Ollama's names for tasks. It has none for `transcribe`: such a model is listed, and has no capability."""


def tag(model: Model, listed_id: str, _now: datetime) -> dict[str, Any]:
    """Return a model's element of `models` in the answer of `GET /api/tags`.

    `digest` is that of the weights' file, or `UNKNOWN_DIGEST`. A `size` of 0 is unknown; no weights have that.
    """
    return {
        "name": listed_id,
        "model": listed_id,
        "modified_at": _modified_at(model),
        "size": model.facts.size or 0,
        "digest": model.facts.sha256 or UNKNOWN_DIGEST,
        "details": _details(model),
    }


def show(model: Model, _now: datetime) -> dict[str, Any]:
    """Return the answer of `POST /api/show`."""
    return without_none(
        {
            "license": model.facts.licence,
            "details": _details(model),
            "model_info": _model_info(model),
            "capabilities": capabilities(model),
            "modified_at": _modified_at(model),
        }
    )


def capabilities(model: Model) -> list[str]:
    """Return what a model can do, in Ollama's words."""
    return [_CAPABILITIES[task] for task in model.tasks if task in _CAPABILITIES]


class _ShowRequest(msgspec.Struct):
    model: str = ""
    name: str = ""
    """What `model` was called before."""


_SHOW_REQUEST = msgspec.json.Decoder(_ShowRequest)


def read_show_request(body: bytes) -> str:
    """Return the name that a request for `/api/show` asks about. Its `Content-Type` doesn't matter to Ollama.

    Raises:
        InvalidRequestError: not such a request, no name, or one that is too long.
    """
    if len(body) > MAX_SHOW_REQUEST:
        raise InvalidRequestError(f"The body is over the limit of {MAX_SHOW_REQUEST} bytes.")
    try:
        request = _SHOW_REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError('The body isn\'t a JSON object such as {"model": "name"}.', param="model") from error
    name = request.model or request.name
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidRequestError(f"`model` is a name of 1 to {MAX_NAME} characters.", param="model")
    return name


def find_name(asked: str, is_id: Callable[[str], bool]) -> str:
    """Return the ID that a client means: `x:latest` is `x` where only that is an ID. Else it is what it says."""
    stem = asked.removesuffix(_LATEST)
    return stem if not is_id(asked) and is_id(stem) else asked


def _modified_at(model: Model) -> str:
    return rfc3339(moment_of(model.created))


def _details(model: Model) -> dict[str, Any]:
    facts = model.facts
    return {
        "parent_model": "",
        "format": file_format(model) or "",
        "family": facts.architecture or "",
        "families": [facts.architecture] if facts.architecture else [],
        "parameter_size": "" if facts.parameters is None else parameter_size(facts.parameters),
        "quantization_level": facts.quantization or "",
    }


def _model_info(model: Model) -> dict[str, Any]:
    """Return what is known in GGUF's terms.

    `general.basename` is the name that VS Code shows. Without an architecture, lengths stand under `general`: there
    they are found by clients that look for the end of a key.
    """
    facts = model.facts
    prefix = facts.architecture or "general"
    return without_none(
        {
            "general.architecture": facts.architecture or None,
            "general.basename": model.display_name or model.id,
            "general.parameter_count": facts.parameters,
            f"{prefix}.context_length": model.context_length,
            f"{prefix}.embedding_length": facts.embedding_length,
        }
    )


def parameter_size(count: int) -> str:
    """Return a number of parameters as Ollama writes it: `8B`, `7.6B`, `137M`, `22.70M`, `512K`."""
    for size, letter, digits in ((10**9, "B", 1), (10**6, "M", 2)):
        if count >= size:
            return f"{count // size}{letter}" if count % size == 0 else f"{count / size:.{digits}f}{letter}"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)
