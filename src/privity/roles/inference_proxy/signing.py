"""Model records signed with the mesh key, so that no gateway can make one up (models-api.md item 13)."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from privity.catalogue.model import Model, Statement
from privity.catalogue.statement import payload
from privity.errors import StatementError
from privity.protocol.mesh import Identity
from privity.protocol.signed import sign

LIFETIME = timedelta(hours=1)
"""How long a statement holds: as long as a secret, after which a proxy asks again anyway."""

RENEWAL = LIFETIME / 2
"""Age at which a statement is made anew: proxies whose clock is half an hour ahead still take it."""

MAX_RENEWED = 20
"""Statements that are made anew at once for their age alone: hundreds of signatures would hold up all else."""

BACKDATED = timedelta(minutes=1)
"""By how much a statement is older than it is, for proxies whose clock is behind."""

_LOG = logging.getLogger(__name__)


class Signer:
    """Signs records, each anew when it changed or is half through its time.

    Args:
        identity: the inference proxy's in the mesh.
        now: the time.
    """

    def __init__(self, identity: Identity, now: Callable[[], datetime]) -> None:
        self._identity = identity
        self._certificate = identity.certificate_der()
        self._now = now
        self._signed: dict[str, tuple[Model, Statement, datetime]] = {}

    @property
    def is_due(self) -> bool:
        """Return whether a statement is to be made anew."""
        now = self._now()
        return any(_is_due(made, now) for _, _, made in self._signed.values())

    def sign(self, models: Iterable[Model]) -> list[Model]:
        """Return records with their statements. One that can't be stated, such as one with an odd ID, is left out.

        Of statements that are merely old, a few are made anew; the others stay due.
        """
        now = self._now()
        before, self._signed = self._signed, {}
        listed: list[Model] = []
        renewed = 0
        for model in models:
            plain = replace(model, status="available")  # which is no part of what is signed
            known = before.get(model.id)
            if known is not None and known[0] == plain and _is_due(known[2], now) and renewed < MAX_RENEWED:
                known, renewed = None, renewed + 1
            try:
                if known is None or known[0] != plain:
                    known = (plain, self._state(plain, now), now)
            except StatementError as error:
                _LOG.warning("a model can't be listed", extra={"model": model.id, "problem": str(error)})
                continue
            self._signed[model.id] = known
            listed.append(replace(model, statement=known[1]))
        return listed

    def _state(self, model: Model, now: datetime) -> Statement:
        stated = payload(model, now - BACKDATED, now + LIFETIME)
        return Statement(stated, sign(stated, self._identity), self._certificate)


def _is_due(made: datetime, now: datetime) -> bool:
    """Return whether a statement is half through its time, or made in a future that a clock that was set back has."""
    return not made <= now < made + RENEWAL
