"""The whole record of a model, as one role tells it to the next (`detail=full`)."""

import base64
from datetime import datetime
from hashlib import sha256
from typing import Any

from privity.catalogue.dialects import openai
from privity.catalogue.model import Model, Statement


def row(model: Model, _listed_id: str, now: datetime) -> dict[str, Any]:
    """Return the canonical row with all that is known: facts, and what the inference proxy signed."""
    whole = openai.row(model, model.id, now)
    if facts := model.facts.known():
        whole["facts"] = facts
    if model.statement is not None:
        whole["statement"] = _statement(model.statement)
    return whole


def _statement(statement: Statement) -> dict[str, str]:
    return {
        "payload": base64.b64encode(statement.payload).decode(),
        "signature": base64.b64encode(statement.signature).decode(),
        "signer": sha256(statement.certificate).hexdigest(),
    }
