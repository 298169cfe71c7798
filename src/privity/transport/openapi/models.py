"""The Models API: its paths (models-api.md)."""

from privity.catalogue.dialects.anthropic import DEFAULT_LIMIT, MAX_LIMIT
from privity.catalogue.dialects.ollama import MAX_NAME
from privity.catalogue.model import TASKS
from privity.transport.models_api.feed import DEFAULT_WAIT, MAX_WAIT
from privity.transport.openapi.errors import Errors, Form
from privity.transport.openapi.parts import (
    Json,
    answered,
    event,
    header,
    in_path,
    integer,
    number,
    one_of_type,
    query,
    record,
    response,
    response_header,
    schema_ref,
    text,
)

EXAMPLE = "qwen2.5-0.5b-instruct"
"""An ID for examples."""

_CACHING: Json = {
    "ETag": response_header(
        "Changes when the answer does.", text(pattern='^"[0-9a-f]+"$', examples=['"9a0364b9e99bb480"']), required=True
    ),
    "Cache-Control": response_header("Never to be used without asking again.", required=True),
    "Vary": response_header("The list depends on the key, and its form on the client.", required=True),
}
LIFECYCLE: Json = {
    "Deprecation": response_header("Unix time since when, or from when on, the model is deprecated (RFC 9745)."),
    "Sunset": response_header("When the model retires (RFC 8594)."),
    "Link": response_header("Its successor, as `rel=successor-version`."),
}
HEALTH: Json = {
    "Privity-Health": response_header("`replicas` that serve it, and `age_seconds` since one last said so (RFC 9651).")
}
DROPPED: Json = {
    "Privity-Models-Dropped": response_header(
        "How many models the gateway lists that the deployment doesn't vouch for, by reason."
    )
}

_IF_NONE_MATCH = header("If-None-Match", text(), "An `ETag`: where it still holds, the answer is 304.")
_ANTHROPIC_VERSION = header(
    "anthropic-version", text(), "Sent by clients of Anthropic's API: the answer then has Anthropic's members too."
)
_TASK = query("task", text(enum=list(TASKS)), "Only models that can do this.")
_OWNED_BY = query("owned_by", text(), "Only models of this publisher.")
_Q = query("q", text(), "Only models with this in an ID, the name or the publisher, in any case.")
_ALIASES = query(
    "aliases",
    text(enum=["list", "collapse"]),
    "`list`: a row for each ID. `collapse`: a row for each model. The operator sets the default.",
)
_FILTERS = [_TASK, _OWNED_BY, _Q, _ALIASES]
_DETAIL = query("detail", text(), "`full`: all that is known. Other values mean nothing.")
_WAIT = query("wait", text(), "An `ETag`: the answer comes when the list is another one, or 304 after `timeout`.")
_TIMEOUT = query(
    "timeout",
    number(minimum=0, maximum=MAX_WAIT, default=DEFAULT_WAIT),
    "Seconds that `wait` may last. Not looked at without `wait`.",
)
_PAGING = [
    query(
        "limit",
        integer(minimum=1, maximum=MAX_LIMIT),
        f"Rows of a page, for clients of Anthropic's API only. With `anthropic-version`, {DEFAULT_LIMIT} by default.",
    ),
    query("after_id", text(), "The page right after this row. For clients of Anthropic's API only."),
    query("before_id", text(), "The page right before this row. For clients of Anthropic's API only."),
]


def models_paths(errors: Errors, refused: tuple[int, ...], missing: tuple[int, ...], remarks: Json) -> Json:
    """Return the paths.

    Args:
        errors: the role's.
        refused: statuses by which every request may be refused, or fail.
        missing: statuses besides, where one model is asked for.
        remarks: headers of answers that list models.
    """
    api = _Paths(errors, refused, missing, remarks)
    return {
        "/v1/models": {"get": api.list()},
        "/v1/models/events": {"get": api.events()},
        "/v1/models/{id}": {"get": api.retrieve()},
        "/api/tags": {"get": api.listed("OllamaTags", "List models as Ollama does", "ollama", "ollamaTags")},
        "/api/show": {"post": api.show()},
        "/api/v0/models": {
            "get": api.listed("LmStudioModelList", "List models as LM Studio does", "openai", "lmStudioModels")
        },
        "/api/v0/models/{id}": {"get": api.lm_studio_retrieve()},
    }


class _Paths:
    def __init__(self, errors: Errors, refused: tuple[int, ...], missing: tuple[int, ...], remarks: Json) -> None:
        self._errors = errors
        self._refused = refused
        self._missing = missing
        self._remarks = remarks

    def list(self) -> Json:
        lists = one_of_type(*(schema_ref(f"{each}ModelList") for each in ("", "Anthropic", "Full")))
        parameters = [*_FILTERS, _DETAIL, _WAIT, _TIMEOUT, *_PAGING, _IF_NONE_MATCH, _ANTHROPIC_VERSION]
        answers = {
            "200": response("The models that this key may call.", answered(lists), _CACHING | self._remarks),
            "304": response("The client has it already.", headers=_CACHING | self._remarks),
        }
        described = "Unknown parameters are ignored. An empty parameter is none."
        return _operation("listModels", "List models", parameters, answers | self._fails("models"), described)

    def events(self) -> Json:
        stream = event(
            "`list` with the whole list, unless the client has it, then a `change` each time. The `id` is the list's "
            "`ETag` without its quotes. Never ends by itself.",
            one_of_type(schema_ref("ModelList"), schema_ref("ModelChange")),
            enum=["list", "change"],
        )
        parameters = [*_FILTERS, header("Last-Event-ID", text(), "The last event's `id`, to go on from there.")]
        answers = {"200": response("A stream.", answered(stream, "text/event-stream"), self._remarks)}
        return _operation("modelEvents", "Watch models", parameters, answers | self._fails("models"))

    def retrieve(self) -> Json:
        answers = {"200": response("The model.", answered(schema_ref("RetrievedModel")), LIFECYCLE | HEALTH)}
        parameters = [_id(), _DETAIL, _ANTHROPIC_VERSION]
        return _operation(
            "retrieveModel", "Retrieve a model", parameters, answers | self._fails("models", *self._missing)
        )

    def listed(self, schema: str, summary: str, form: Form, name: str) -> Json:
        answers = {
            "200": response(
                "The models that this key may call.", answered(schema_ref(schema)), _CACHING | self._remarks
            ),
            "304": response("The client has it already.", headers=_CACHING | self._remarks),
        }
        return _operation(name, summary, [_IF_NONE_MATCH], answers | self._fails(form))

    def show(self) -> Json:
        name = text("The model's ID; `:latest` after it means nothing.", minLength=1, maxLength=MAX_NAME)
        asked = one_of_type(
            record({"model": name, "name": text()}, ("model",)),
            record({"name": name, "model": text(const="")}, ("name",), "As older clients ask."),
        )
        answers = {"200": response("The model.", answered(schema_ref("OllamaModel")))}
        operation = _operation(
            "ollamaShow", "Show a model as Ollama does", [], answers | self._fails("ollama", *self._missing, 413)
        )
        body = {"required": True, "content": answered(asked)}
        return operation | {"requestBody": body}

    def lm_studio_retrieve(self) -> Json:
        answers = {"200": response("The model.", answered(schema_ref("LmStudioModel")))}
        failures = self._fails("openai", *self._missing)
        return _operation("lmStudioModel", "Retrieve a model as LM Studio does", [_id()], answers | failures)

    def _fails(self, form: Form, *more: int) -> Json:
        return self._errors.of(form, *self._refused, *more)


def _id() -> Json:
    return in_path("id", "Any ID of the model. `/` may be written as it is, or as `%2F`.", EXAMPLE)


def _operation(name: str, summary: str, parameters: list[Json], answers: Json, description: str = "") -> Json:
    return {
        "operationId": name,
        "summary": summary,
        **({"description": description} if description else {}),
        "tags": ["Models"],
        **({"parameters": parameters} if parameters else {}),
        "responses": answers,
    }
