"""Schemas of models in each dialect (models-api.md items 1, 6, 8, 10, 12 to 14)."""

from typing import get_args

from privity.catalogue.model import TASKS, Source, Status
from privity.transport.openapi.parts import (
    Json,
    array,
    flag,
    integer,
    moment,
    number,
    or_null,
    record,
    schema_ref,
    text,
)

_ID = text("One of the model's IDs. Each of them works on every endpoint.", minLength=1)
_DIGEST = text("SHA-256 in hex.", pattern="^[0-9a-f]{64}$")
_BASE64 = {"contentEncoding": "base64"}

_EVIDENCE: Json = {
    "type": "object",
    "description": "Where each task comes from.",
    "propertyNames": {"enum": list(TASKS)},
    "additionalProperties": record(
        {
            "source": text(
                "`declared` by the operator, read from the `engine`'s metadata, or `probed` by a call that succeeded.",
                enum=list(get_args(Source)),
            ),
            "at": moment("When it was probed."),
        },
        ("source",),
    ),
}

_CORE: Json = {
    "id": _ID,
    "object": text(const="model"),
    "created": integer("Unix seconds of the model's release; where unknown, of when it first joined.", minimum=0),
    "owned_by": text("Who publishes the model."),
    "tasks": array(
        text(enum=list(TASKS)),
        "What the model can do here. A task is listed only if the endpoint behind it works.",
        uniqueItems=True,
    ),
    "status": text(
        "`degraded`: its replicas failed at their last requests. `unknown`: none has said lately that it serves. "
        "`draining`: takes no new requests.",
        enum=list(get_args(Status)),
    ),
    "max_model_len": integer("The same as `context_length`.", minimum=1),
    "context_length": integer("Tokens of prompt and answer together.", minimum=1),
    "max_output_tokens": integer("Tokens of an answer at most.", minimum=1),
    "display_name": text("A name for people."),
    "root": text("The engine's own name for it."),
    "aliases": array(text(), "Further IDs. Only on a canonical row."),
    "floating_aliases": array(text(), "Those of `aliases` that may come to mean another model."),
    "unsigned_aliases": array(text(), "Those of `aliases` that only the gateway gives. Said by a proxy only."),
    "canonical": text("The canonical ID. Only on the row of an alias."),
    "deprecated": flag("New uses are discouraged. There only where true.", const=True),
    "deprecated_at": moment("Since when, or from when on."),
    "retires_at": moment("From when on it can't be called."),
    "replacement": text("The ID of the model to use instead."),
    "evidence": _EVIDENCE,
    "verified": flag("Whether the deployment signed that this ID means this model. Said by a proxy only."),
}

_FACTS = record(
    {
        "architecture": text("As GGUF's `general.architecture` has it."),
        "parameters": integer(),
        "quantization": text("Such as `Q4_1`."),
        "size": integer("Bytes of the weights' files."),
        "sha256": text("Of the weights' one file, in hex."),
        "licence": text(),
        "embedding_length": integer(),
    },
    description="What is known of the weights.",
)

_SIGNERS: Json = {
    "type": "object",
    "description": "Certificates (DER) of those who signed, by their SHA-256.",
    "additionalProperties": text(**_BASE64),
}

_FULL: Json = {
    "facts": _FACTS,
    "statement": record(
        {
            "payload": text("Canonical JSON (RFC 8785).", **_BASE64),
            "signature": text(**_BASE64),
            "signer": _DIGEST,
        },
        ("payload", "signature", "signer"),
        "What an inference proxy signed about this model.",
    ),
}

_HEALTH = record(
    {"replicas": integer("That serve it.", minimum=0), "age_seconds": number("Since one last said so.")},
    ("replicas",),
    "How fresh the knowledge of it is.",
)

_ANTHROPIC: Json = {
    "type": text(const="model"),
    "display_name": text("A name for people; the ID where there is none."),
    "created_at": moment("The same as `created`."),
    "lifecycle": text(enum=["active", "deprecated", "retired"]),
    "max_input_tokens": integer("The same as `context_length`.", minimum=1),
    "max_tokens": integer("The same as `max_output_tokens`.", minimum=1),
}

_DETAILS = record(
    {
        "parent_model": text(),
        "format": text("`gguf`, or empty."),
        "family": text("The architecture, or empty."),
        "families": array(text()),
        "parameter_size": text("Such as `7.6B`, or empty."),
        "quantization_level": text("Such as `Q4_1`, or empty."),
    },
    ("parent_model", "format", "family", "families", "parameter_size", "quantization_level"),
)

_ROW = ("id", "object", "created", "owned_by", "tasks", "status")
_ANTHROPIC_ROW = (*_ROW, "type", "display_name", "created_at", "lifecycle")
_PAGE: Json = {
    "first_id": or_null(text("Of this page.")),
    "last_id": or_null(text("Of this page.")),
    "has_more": flag("Whether there are further pages."),
}

SCHEMAS: Json = {
    "Model": record(_CORE, _ROW, "OpenAI's model object with extensions. What is unknown has no member."),
    "AnthropicModel": record({**_CORE, **_ANTHROPIC}, _ANTHROPIC_ROW, "`Model`, as Anthropic's clients read it too."),
    "FullModel": record({**_CORE, **_FULL}, _ROW, "All that is known of a model."),
    "RetrievedModel": record(
        {**_CORE, **_ANTHROPIC, **_FULL, "signers": _SIGNERS, "health": _HEALTH},
        _ROW,
        "The row of the list. With `detail=full` also `facts`, `statement`, `signers` and `health`.",
    ),
    "ModelList": record(
        {"object": text(const="list"), "data": array(schema_ref("Model"))},
        ("object", "data"),
        "The full ID comes right before its short ID.",
    ),
    "AnthropicModelList": record(
        {"object": text(const="list"), "data": array(schema_ref("AnthropicModel")), **_PAGE},
        ("object", "data", *_PAGE),
        "For clients of Anthropic's API.",
    ),
    "FullModelList": record(
        {"object": text(const="list"), "data": array(schema_ref("FullModel")), "signers": _SIGNERS},
        ("object", "data", "signers"),
        "With `detail=full`.",
    ),
    "ModelChange": record(
        {
            "added": array(schema_ref("Model")),
            "changed": array(schema_ref("Model")),
            "removed": array(text(), "IDs."),
        },
        ("added", "changed", "removed"),
        "The `data` of an event `change`.",
    ),
    "OllamaTags": record(
        {
            "models": array(
                record(
                    {
                        "name": _ID,
                        "model": _ID,
                        "modified_at": moment("Of `created`."),
                        "size": integer("Bytes of the weights; 0 where unknown.", minimum=0),
                        "digest": text("SHA-256 of the weights, or `undetermined`."),
                        "details": _DETAILS,
                    },
                    ("name", "model", "modified_at", "size", "digest", "details"),
                )
            )
        },
        ("models",),
    ),
    "OllamaModel": record(
        {
            "license": text(),
            "details": _DETAILS,
            "model_info": {
                "type": "object",
                "description": "Names and values as in GGUF's metadata.",
                "additionalProperties": {"type": ["string", "integer"]},
            },
            "capabilities": array(text(enum=["completion", "tools", "vision", "embedding"])),
            "modified_at": moment("Of `created`."),
        },
        ("details", "model_info", "capabilities", "modified_at"),
    ),
    "LmStudioModel": record(
        {
            "id": _ID,
            "object": text(const="model"),
            "type": text("None where the model only transcribes.", enum=["llm", "vlm", "embeddings"]),
            "publisher": text(),
            "arch": text(),
            "compatibility_type": text(),
            "quantization": text(),
            "state": text(const="loaded"),
            "max_context_length": integer(minimum=1),
            "capabilities": array(text(const="tool_use")),
        },
        ("id", "object", "publisher", "state", "capabilities"),
    ),
    "LmStudioModelList": record(
        {"object": text(const="list"), "data": array(schema_ref("LmStudioModel"))}, ("object", "data")
    ),
}
