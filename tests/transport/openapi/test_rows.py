"""Every model, in every dialect, has only members that are described, of the types that are described."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.catalogue import full
from privity.catalogue.dialects import anthropic, lm_studio, ollama, openai
from privity.catalogue.model import Model, Statement
from privity.catalogue.projections import signers_of
from privity.testing.models import models
from privity.transport.openapi.rows import SCHEMAS

STATEMENT = Statement(b"{}", b"signature", b"certificate")
NOWS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds


def closed(schema: Any) -> Any:
    """Return a schema that allows no members but those it names."""
    match schema:
        case {"properties": dict(properties)}:
            inside = {name: closed(each) for name, each in properties.items()}
            return {"additionalProperties": False, **schema, "properties": inside}
        case dict():
            return {name: closed(each) for name, each in schema.items()}
        case list():
            return [closed(each) for each in schema]
    return schema


def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    components = {"schemas": {each: closed(schema) for each, schema in SCHEMAS.items()}}
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": components}, validate_formats=True
    )


VALIDATORS = {name: validator(name) for name in SCHEMAS}


def rendered(model: Model, listed_id: str, now: datetime) -> dict[str, dict[str, Any]]:
    evidence = {"evidence": openai.evidence(model)}
    certificates = signers_of({STATEMENT.certificate})
    health = {"health": {"replicas": 2, "age_seconds": 0.5}}
    page = {"first_id": listed_id, "last_id": listed_id, "has_more": False}
    return {
        "ModelList": {"object": "list", "data": [openai.row(model, listed_id, now)]},
        "AnthropicModelList": {"object": "list", "data": [anthropic.row(model, listed_id, now)], **page},
        "FullModelList": {"object": "list", "data": [full.row(model, listed_id, now)], "signers": certificates},
        "RetrievedModel": anthropic.row(model, listed_id, now) | evidence | health,
        "OllamaTags": {"models": [ollama.tag(model, listed_id, now)]},
        "OllamaModel": ollama.show(model, now),
        "LmStudioModelList": {"object": "list", "data": [lm_studio.row(model, listed_id, now)]},
        "ModelChange": {"added": [openai.row(model, listed_id, now)], "changed": [], "removed": [listed_id]},
    }


@given(models(), st.booleans(), NOWS)
def test_rows_are_as_described(model: Model, signed: bool, now: datetime) -> None:  # noqa: FBT001  # drawn
    known = replace(model, statement=STATEMENT) if signed else model
    for listed_id in model.ids:
        for name, row in rendered(known, listed_id, now).items():
            VALIDATORS[name].validate(row)
    VALIDATORS["RetrievedModel"].validate(
        full.row(known, model.id, now) | {"signers": signers_of({STATEMENT.certificate}), "health": {"replicas": 0}}
    )


@pytest.mark.parametrize("name", ["Model", "AnthropicModel"])
def test_a_member_that_is_not_described_would_be_noticed(name: str) -> None:
    model = Model("a", ("generate",), 1, "me")
    row = (
        anthropic.row(model, "a", datetime.now(UTC))
        if name == "AnthropicModel"
        else openai.row(model, "a", datetime.now(UTC))
    )
    assert VALIDATORS[name].is_valid(row)
    assert not VALIDATORS[name].is_valid(row | {"news": 1})
