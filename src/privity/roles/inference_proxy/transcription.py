"""Forms of `/v1/audio/transcriptions` and `/v1/audio/translations`."""

from collections import Counter
from collections.abc import Sequence

from privity.errors import InvalidRequestError
from privity.protocol.fields import check_model
from privity.protocol.multipart import Part, as_boolean

_FORMATS = ("json", "verbose_json")
"""Others are no JSON, and only JSON can be answered encrypted."""

_USAGE = ("stream_include_usage", "stream_continuous_usage_stats")


def check_form(parts: Sequence[Part]) -> str:
    """Check a form's fields and return the model that it asks for; fields that are not known are left to the engine.

    Raises:
        InvalidRequestError: a field is missing, is there twice, or has a value that it must not have; `param` names it.
    """
    counts = Counter(part.name for part in parts)
    for name, count in counts.items():
        if count > 1 and not name.endswith("[]"):
            raise InvalidRequestError(f"The field `{name}` is there more than once.", param=name)
    if not any(part.name == "file" and part.is_file for part in parts):
        raise InvalidRequestError("The form has no file under `file`.", param="file", code="missing_parameter")
    fields = {part.name: part.value for part in parts if not part.is_file}
    if "model" not in fields:
        raise InvalidRequestError("The field `model` is missing.", param="model", code="missing_parameter")
    if fields.get("response_format", b"json").decode(errors="replace") not in _FORMATS:
        raise _invalid("response_format", "`json` or `verbose_json` here; `privity proxy` makes `text`, `srt`, `vtt`")
    if as_boolean(fields.get("stream", b"false")) is None:
        raise _invalid("stream", "`true` or `false`")
    return check_model(fields["model"].decode(errors="replace"))


def _invalid(name: str, expected: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{name}` must be {expected}.", param=name, code="invalid_value")


def engine_form(parts: Sequence[Part], model: str) -> list[Part]:
    """Return a checked form for the engine: with its own name of the model, and with usage in what it streams."""
    replaced = {"model": model}
    if any(part.name == "stream" and as_boolean(part.value) for part in parts):
        replaced |= dict.fromkeys(("stream", *_USAGE), "true")
    kept = [part for part in parts if part.name not in replaced]
    return [*(Part(name, value.encode()) for name, value in replaced.items()), *kept]
