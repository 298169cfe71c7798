"""Which of a gateway's models the deployment vouches for, found out without a proxy."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from privity.catalogue import full
from privity.catalogue.dialects import openai
from privity.catalogue.model import Model
from privity.catalogue.query import read_query
from privity.catalogue.rows import read_model, read_models
from privity.cli.models.api import Answer
from privity.cli.models.feed import Listing
from privity.cli.models.rows import by_id
from privity.errors import StartError
from privity.protocol.signed import Verifier
from privity.roles.proxy.vouching import Vouching

FULL = {"detail": "full"}
"""The query that has a gateway send the statements. It knows no filters."""


class Judge:
    """Judges a gateway's records as a proxy does, but keeps those that nobody signed, marked."""

    def __init__(self, ca: x509.Certificate) -> None:
        self._vouching = Vouching(Verifier(ca), "mark", _now)

    async def read(self, answer: Answer, filters: Mapping[str, str]) -> Listing:
        """Return what is left of a list, with `verified` on each row, and why others were dropped.

        Raises:
            UpstreamProtocolError: this is no list.
        """
        listed = read_models(answer.body)
        judged = await self._vouching.vouch(listed, signs=False)
        query, now = read_query(filters), _now()
        kept = [_marked(each) for each in judged.models if query.matches(each)]
        rows = [openai.row(model, each, now) for model in kept for each in model.ids]
        ids = {model.id for model in judged.models}
        dropped = [model for model in listed if model.id not in ids and query.matches(model)]
        return Listing(by_id(rows), whys={model.id: await self._why(model) for model in dropped})

    async def read_one(self, answer: Answer, asked: str) -> tuple[dict[str, Any], bool]:
        """Return the record of one model, with `verified`, and whether the ID that was asked for is vouched for.

        Raises:
            UpstreamProtocolError: this is no model.
            StartError: it is none that the deployment vouches for.
        """
        listed, health = read_model(answer.body)
        judged = await self._vouching.vouch([listed], signs=False)
        found = next((model for model in judged.models if asked in model.ids), None)
        if found is None:
            problem = f"The gateway's record of {asked} isn't one that the deployment vouches for"
            reason = next(iter(judged.reasons), "another model")
            raise StartError(f"{problem} ({reason}).", "Ask whoever runs the gateway, and don't use the model.")
        found = _marked(found)
        whole = full.row(found, found.id, _now())
        return whole if health is None else {**whole, "health": health}, bool(found.is_verified(asked))

    async def _why(self, model: Model) -> str:
        alone = await self._vouching.vouch([model], signs=False)
        return next(iter(alone.reasons), "altered")


def _marked(model: Model) -> Model:
    return replace(model, verified=bool(model.verified))


def _now() -> datetime:
    return datetime.now(UTC)
