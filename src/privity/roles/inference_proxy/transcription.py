"""Forms of `/v1/audio/transcriptions`."""

from collections import Counter
from collections.abc import Sequence

from privity.errors import InvalidRequestError
from privity.protocol.fields import check_model
from privity.protocol.multipart import Part

_CHOICES = {"response_format": ("json", "verbose_json"), "stream": ("true", "false")}
"""What Privity reads itself. Other formats than these two are no JSON, and only JSON can be answered encrypted."""

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
    fields = {part.name: part.value.decode(errors="replace") for part in parts if not part.is_file}
    if "model" not in fields:
        raise InvalidRequestError("The field `model` is missing.", param="model", code="missing_parameter")
    for name, allowed in _CHOICES.items():
        if name in fields and fields[name] not in allowed:
            choices = " or ".join(f"`{each}`" for each in allowed)
            raise InvalidRequestError(f"`{name}` must be {choices} here.", param=name, code="invalid_value")
    return check_model(fields["model"])


def engine_form(parts: Sequence[Part], model: str) -> list[Part]:
    """Return a checked form for the engine: with its own name of the model, and with usage in what it streams."""
    replaced = {"model": model}
    if any(part.name == "stream" and part.value == b"true" for part in parts):
        replaced |= dict.fromkeys(_USAGE, "true")
    kept = [part for part in parts if part.name not in replaced]
    return [*(Part(name, value.encode()) for name, value in replaced.items()), *kept]
