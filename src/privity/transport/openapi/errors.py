"""Errors in documents: what each status means is what the errors' own classes say of themselves."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from privity.errors import ApiError
from privity.transport.openapi.parts import (
    Json,
    answered,
    event,
    one_of_type,
    or_null,
    record,
    response,
    response_header,
    schema_ref,
    text,
)

Form = Literal["openai", "anthropic", "ollama", "models"]
"""Whose form errors have. On the paths that OpenAI and Anthropic share (`models`), it depends on the client."""

SCHEMAS: Json = {
    "OpenAIError": record(
        {
            "error": record(
                {
                    "message": text("For people. Never decide by it."),
                    "type": text("The kind, such as `invalid_request_error` or `server_error`."),
                    "param": or_null(text("What of the request is meant.")),
                    "code": or_null(text("For programs, such as `model_not_found`.")),
                },
                ("message", "type", "param", "code"),
            )
        },
        ("error",),
    ),
    "AnthropicError": record(
        {
            "type": text(const="error"),
            "error": record(
                {
                    "type": text("The kind, such as `invalid_request_error` or `not_found_error`."),
                    "message": text("For people."),
                },
                ("type", "message"),
            ),
        },
        ("type", "error"),
    ),
    "OllamaError": record({"error": text("For people.")}, ("error",)),
}

_OPENAI, _ANTHROPIC, _OLLAMA = (schema_ref(f"{each}Error") for each in ("OpenAI", "Anthropic", "Ollama"))

_BODIES: dict[Form, Json] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "ollama": _OLLAMA,
    "models": one_of_type(_OPENAI, _ANTHROPIC, description="Anthropic's form for clients of Anthropic's API."),
}

_ANY_FORM = one_of_type(
    _OPENAI, _ANTHROPIC, _OLLAMA, description="The API's own form; OpenAI's where not even the path could be read."
)


_HEADERS: Json = {"X-Content-Type-Options": response_header("Always `nosniff`.", text(const="nosniff"))}
_RETRY = {"Retry-After": response_header("Seconds after which it may be worth another try.", {"type": "integer"})}

_ALWAYS = frozenset({400, 408, 500})
"""Statuses that any request may get: one that isn't valid HTTP, or is too slow in coming, and one that a defect of ours
meets."""


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors of one role.

    Args:
        classes: all that it raises, or passes on.
        headers: what each error bears besides.
        also: statuses that come from elsewhere, and what they mean.
    """

    classes: tuple[type[ApiError], ...]
    headers: Json
    also: tuple[tuple[int, str], ...] = ()

    def of(self, form: Form, *statuses: int) -> Json:
        """Return the answers with these statuses, and with those that any request may get, by status."""
        known = {cls.status for cls in self.classes} | {status for status, _ in self.also}
        wanted = sorted((*statuses, *_ALWAYS))
        return {str(each): {"$ref": f"#/components/responses/{_name(form, each)}"} for each in wanted if each in known}

    def components(self, forms: Iterable[Form]) -> Json:
        """Return all that `of` refers to."""
        statuses = sorted({cls.status for cls in self.classes} | {status for status, _ in self.also})
        return {_name(form, status): self._response(form, status) for form in forms for status in statuses}

    def _response(self, form: Form, status: int) -> Json:
        meanings = [_meaning(cls) for cls in self.classes if cls.status == status]
        meanings += [meaning for each, meaning in self.also if each == status]
        body = _ANY_FORM if status in _ALWAYS and form != "openai" else _BODIES[form]
        retry = _RETRY if status in (429, 503) else {}
        as_event = event("The only event.", body, const="error")
        content = answered(body) | answered(as_event, "text/event-stream")
        return response("\n".join(meanings), content, _HEADERS | retry | self.headers)


def _name(form: Form, status: int) -> str:
    return f"{form}_{status}"


def _meaning(cls: type[ApiError]) -> str:
    sentence = (cls.__doc__ or "").strip().splitlines()[0]
    return f"`{cls.code}`: {sentence}" if cls.code else sentence
