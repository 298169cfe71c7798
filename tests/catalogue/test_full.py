"""models-api.md item 12: where a capability comes from."""

from datetime import datetime
from hashlib import sha256

from hypothesis import given, settings

from privity.catalogue import full
from privity.catalogue.dialects import openai
from privity.catalogue.model import Evidence, Facts, Model, Statement
from privity.testing.models import facts, models, moments


@settings(max_examples=25)
@given(models(), moments())
def test_a_whole_record_is_the_canonical_row_and_more(model: Model, now: datetime) -> None:
    row = openai.row(model, model.id, now)
    for listed in model.ids:
        whole = full.row(model, listed, now)
        assert {name: whole[name] for name in row} == row
        assert whole.keys() - row.keys() <= {"evidence", "facts", "statement"}
        assert None not in whole.values()


@given(facts())
def test_only_what_is_known_of_the_weights_is_said(known: Facts) -> None:
    said = known.known()
    assert Facts(**said) == known
    assert None not in said.values()


def test_evidence_and_statement_are_written_out() -> None:
    evidence = (Evidence("generate", "declared"), Evidence("vision", "probed", 1_777_593_600))
    statement = Statement(b"payload", b"signature", b"certificate")
    model = Model("m", ("generate", "vision"), 1, "me", evidence=evidence, statement=statement)
    whole = full.row(model, "m", datetime.now().astimezone())
    assert whole["evidence"] == {
        "generate": {"source": "declared"},
        "vision": {"source": "probed", "at": "2026-05-01T00:00:00Z"},
    }
    assert whole["statement"] == {
        "payload": "cGF5bG9hZA==",
        "signature": "c2lnbmF0dXJl",
        "signer": sha256(b"certificate").hexdigest(),
    }
    assert "facts" not in whole
