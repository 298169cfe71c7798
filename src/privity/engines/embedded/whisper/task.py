"""What a form asks a Whisper model to do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from privity.errors import InvalidRequestError, PayloadTooLargeError, WrongTaskError
from privity.protocol.multipart import Part, as_boolean

TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
TRANSLATIONS: Final = "/v1/audio/translations"
ENDPOINTS: Final = frozenset({TRANSCRIPTIONS, TRANSLATIONS})

MAX_SECONDS: Final = 2 * 3600
"""Seconds of one recording: two cores hear so much with the smallest model while an answer may take to begin."""

MAX_PROMPT: Final = 4000
"""Characters of a prompt that are read, the last ones: a model sees no more than its last 224 tokens."""

_FORMATS: Final = ("json", "verbose_json")
_GRANULARITIES: Final = ("segment", "word")
_GRANULARITIES_FIELDS: Final = ("timestamp_granularities[]", "timestamp_granularities")


@dataclass(frozen=True, slots=True)
class Task:
    """What is wanted of one recording."""

    file: bytes = field(repr=False)
    translates: bool = False
    """Into English."""
    language: str | None = None
    """That is spoken, as ISO 639-1 has it where it can; None finds out."""
    prompt: str | None = field(default=None, repr=False)
    """What was said before, or how it is to be written."""
    temperature: float = 0.0
    """0 begins with the likeliest words, and takes chances only where these can't be right."""
    is_verbose: bool = False
    streams: bool = False
    times: frozenset[str] = frozenset({"segment"})
    """What a verbose answer gives times for."""


def read_task(endpoint: str, form: Sequence[Part], languages: Collection[str]) -> Task:
    """Read a form.

    Args:
        endpoint: one of `ENDPOINTS`.
        form: its parts; fields that nobody knows are left alone.
        languages: that the model knows.

    Raises:
        InvalidRequestError: a field has a value that it must not have; `param` names it.
        WrongTaskError: the model can't translate.
    """
    fields = {part.name: part.value.decode(errors="replace").strip() for part in form if not part.is_file}
    file = next((part.value for part in form if part.is_file and part.name == "file"), None)
    if file is None:
        raise InvalidRequestError("The form has no file under `file`.", param="file", code="missing_parameter")
    translates = endpoint == TRANSLATIONS
    if translates and not set(languages) - {"en"}:
        raise WrongTaskError("This model knows English only, so it can't translate. Choose one without `.en`.")
    return Task(
        file=file,
        translates=translates,
        language=_language(fields.get("language", ""), languages),
        prompt=fields.get("prompt", "")[-MAX_PROMPT:] or None,
        temperature=_temperature(fields.get("temperature") or "0"),
        is_verbose=_choice("response_format", fields.get("response_format", "json"), _FORMATS) == "verbose_json",
        streams=_boolean("stream", fields.get("stream", "false")),
        times=_times(form),
    )


def unreadable() -> InvalidRequestError:
    """Return the error for a file that holds no sound."""
    return InvalidRequestError(
        "The file is empty, damaged or no recording: send FLAC, M4A, MP3, MP4, Ogg, WAV or WebM.",
        param="file",
        code="invalid_file",
    )


def too_long() -> PayloadTooLargeError:
    """Return the error for a recording of more than `MAX_SECONDS`."""
    return PayloadTooLargeError(
        f"The recording is longer than {MAX_SECONDS // 3600} hours: send it in parts.",
        param="file",
        code="recording_too_long",
    )


def _invalid(name: str, expected: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{name}` must be {expected}.", param=name, code="invalid_value")


def _choice(name: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise _invalid(name, " or ".join(f"`{each}`" for each in choices))
    return value


def _language(value: str, languages: Collection[str]) -> str | None:
    if not value:
        return None
    if value.lower() not in languages:
        known = "`en`: this model knows English only" if not set(languages) - {"en"} else "a code such as `en` or `de`"
        raise _invalid("language", known)
    return value.lower()


def _temperature(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:  # not a number isn't either
        raise _invalid("temperature", "a number from 0 to 1")
    return number


def _boolean(name: str, value: str) -> bool:
    read = as_boolean(value.encode())
    if read is None:
        raise _invalid(name, "`true` or `false`")
    return read


def _times(form: Sequence[Part]) -> frozenset[str]:
    asked = [part.value.decode(errors="replace") for part in form if part.name in _GRANULARITIES_FIELDS]
    return frozenset(_choice(_GRANULARITIES_FIELDS[0], each, _GRANULARITIES) for each in asked) or frozenset(
        {"segment"}
    )
