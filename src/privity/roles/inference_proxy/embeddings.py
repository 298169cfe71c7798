"""`dimensions` and `encoding_format` of embeddings, whatever the engine makes of them."""

import base64
import math
import struct

import msgspec

from privity.engines.engine import Json
from privity.errors import EngineFailedError, InvalidRequestError

PATH = "/v1/embeddings"


class _Row(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Row]


def engine_request(body: Json) -> Json:
    """Return the request for the engine: full vectors, as numbers, in one piece."""
    dropped = ("dimensions", "stream")
    return {key: value for key, value in body.items() if key not in dropped} | {"encoding_format": "float"}


def shaped(answer: Json, body: Json) -> Json:
    """Return the engine's answer with vectors as the request wants them.

    A shorter vector is the beginning of the full one, brought back to length 1, as OpenAI does it. In `base64` a vector
    is its numbers as little-endian 32-bit floats.

    Raises:
        InvalidRequestError: more dimensions are wanted than the model has.
        EngineFailedError: the engine's answer has no vectors.
    """
    dimensions: int | None = body.get("dimensions")
    try:
        vectors = msgspec.convert(answer, _Answer).data
    except msgspec.ValidationError as error:
        raise EngineFailedError("The engine's answer isn't valid.") from error
    for row, full in zip(answer["data"], vectors, strict=True):
        vector = full.embedding if dimensions is None else _shortened(full.embedding, dimensions)
        row["embedding"] = _encoded(vector) if body.get("encoding_format") == "base64" else vector
        row.pop("encoding_format", None)
    return answer


def _shortened(vector: list[float], dimensions: int) -> list[float]:
    if dimensions > len(vector):
        raise InvalidRequestError(
            f"`dimensions` is {dimensions}, but this model's vectors have {len(vector)}.",
            param="dimensions",
            code="invalid_value",
        )
    kept = vector[:dimensions]
    length = math.sqrt(sum(each * each for each in kept))
    return [each / length for each in kept] if length else kept


def _encoded(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
