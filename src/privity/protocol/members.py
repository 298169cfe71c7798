"""The top-level members of a JSON request, without touching the bytes of their values."""

from typing import Any

import msgspec

from privity.errors import InvalidRequestError

MAX_MODEL_ID_CHARACTERS = 256
"""Characters of a model ID: it travels in a header, and the longest known has under 100."""

_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_members(body: bytes) -> dict[str, msgspec.Raw]:
    """Return each member's name with the exact bytes of its value.

    Not checked: repeated names (the last one counts), and UTF-8 inside a value.

    Raises:
        InvalidRequestError: not a JSON object.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("The body isn't a JSON object.", code="invalid_json") from error


def read_object(body: bytes) -> dict[str, Any]:
    """Return the whole body as Python values.

    Raises:
        InvalidRequestError: not a JSON object, or nested too deep.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("The body isn't a JSON object.", code="invalid_json") from error
    if not isinstance(value, dict):
        raise InvalidRequestError("The body isn't a JSON object.", code="invalid_json")
    return value


def read_model(members: dict[str, msgspec.Raw]) -> str:
    """Return the member `model`.

    Raises:
        InvalidRequestError: it is missing, or not a string of 1 to 256 printable characters.
    """
    if "model" not in members:
        raise InvalidRequestError(
            "The member `model` is missing: GET /v1/models lists the models.", param="model", code="missing_model"
        )
    try:
        model = msgspec.json.decode(members["model"], type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError("`model` must be a string.", param="model", code="invalid_model") from error
    if not model.isprintable() or not 1 <= len(model) <= MAX_MODEL_ID_CHARACTERS:
        raise InvalidRequestError(
            f"`model` must have 1 to {MAX_MODEL_ID_CHARACTERS} printable characters.",
            param="model",
            code="invalid_model",
        )
    return model
