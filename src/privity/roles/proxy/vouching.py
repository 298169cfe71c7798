"""Which of the models that a gateway lists the deployment vouches for (models-api.md item 13)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from privity.catalogue.merge import without_collisions
from privity.catalogue.model import Model
from privity.catalogue.statement import Reader
from privity.catalogue.vouched import vouched
from privity.errors import Reason, StatementError
from privity.protocol.signed import Verifier
from privity.roles.proxy.config import UnsignedModels

MAX_WARNED = 10_000
"""IDs that are remembered so that each is warned of once."""

MAX_WARNINGS = 20
"""Lines of the log for one list, besides one that has their number: a gateway could fill a disk."""

MAX_FAILURES = 100
"""Statements of one list that may turn out wrong until the others aren't looked at: each costs half a millisecond."""

MAX_REMEMBERED = 20_000
"""Names that are remembered as signed for a model."""

_IN_A_ROW = 32
"""Statements that are verified until others get their turn: a new one takes about a millisecond."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Vouched:
    """What is left of a list."""

    models: list[Model] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """IDs that the gateway listed, and that must not be called by."""
    signed: dict[str, set[str]] = field(default_factory=dict)
    """IDs that authentic statements give, also those that the gateway hides, each with the models it was signed for."""
    reasons: Counter[Reason] = field(default_factory=Counter)
    """How many rows were dropped, and why."""
    failures: int = 0
    """Statements that were wrong."""
    warnings: int = 0


class Vouching:
    """Judges lists.

    1. A record whose statement is authentic, current and about this model is taken as far as the statement goes.
    2. One whose statement isn't is dropped, whatever the user allows.
    3. One without a statement, and a name that isn't in the statement, is what the user says that it shall be. Where
       the user says nothing, it is dropped in a deployment that signs, and marked in one that doesn't.

    Not checked: that the list is whole, that nothing of it is old (within a statement's hour), and what the gateway
    says of a model's end.

    Args:
        verifier: of the deployment's mesh CA.
        unsigned: what the user says; None is nothing.
        now: the time.
    """

    def __init__(self, verifier: Verifier, unsigned: UnsignedModels | None, now: Callable[[], datetime]) -> None:
        self._verifier = verifier
        self._reader = Reader()
        self._unsigned = unsigned
        self._now = now
        self._dropped: Counter[Reason] = Counter()
        self._warned: set[tuple[str, Reason]] = set()
        self._signed_before: dict[str, None] = {}

    @property
    def accepts_unsigned_names(self) -> bool:
        """Return whether the user lets a gateway give names to models."""
        return self._unsigned in ("allow", "mark")

    async def vouch(self, listed: Sequence[Model], *, signs: bool) -> Vouched:
        """Return what is to be believed of a list.

        Args:
            listed: what the gateway says.
            signs: whether the deployment may sign; it does, whatever is said here, where a statement is authentic.
        """
        result = Vouched()
        judged: list[Model] = []
        for number, model in enumerate(listed):
            if number % _IN_A_ROW == 0:
                await asyncio.sleep(0)
            judged.append(self._judged(model, result) if model.statement is not None else model)
        signs = signs or any(model.verified for model in judged)
        judged = [self._named(model, original, result) for model, original in zip(judged, listed, strict=True)]
        kept = [each for each in judged if each.verified or self._takes_unsigned(each, result, signs=signs)]
        result.models = self._distinct(kept, result)
        self._remember(result.signed)
        callable_ids = {each for model in result.models for each in model.ids}
        result.refused = {each for model in listed for each in model.ids} - callable_ids
        return result

    def _judged(self, model: Model, result: Vouched) -> Model:
        """Return a record as its statement vouches for it; `verified` is False where it doesn't."""
        statement = model.statement
        if statement is None:
            return model
        if result.failures >= MAX_FAILURES:
            self._drop(model.id, "altered", result)
            return replace(model, verified=False)
        now = self._now()
        try:
            self._verifier.verify(statement.payload, statement.signature, statement.certificate, now)
            signed = self._reader.read(statement.payload, now)
            for each in signed.ids:
                result.signed.setdefault(each, set()).add(signed.id)
            return vouched(model, signed)
        except StatementError as error:
            result.failures += 1
            self._drop(model.id, error.reason, result)
            return replace(model, verified=False)

    def _named(self, model: Model, listed: Model, result: Vouched) -> Model:
        """Return a verified record with the names that the gateway gave it besides, where the user wants them."""
        given = [each for each in listed.ids if each not in model.ids] if model.verified else []
        if not given:
            return model
        if not self.accepts_unsigned_names:
            for each in given:
                self._drop(each, "unsigned", result)
            return model
        floating = tuple(each for each in given if each in listed.floating_aliases)
        return replace(
            model,
            aliases=(*model.aliases, *(each for each in given if each not in floating)),
            floating_aliases=(*model.floating_aliases, *floating),
            unsigned_ids=frozenset(given),
        )

    def _distinct(self, kept: Sequence[Model], result: Vouched) -> list[Model]:
        """Return records of which no two claim one ID: it belongs to whom it was signed for, else to the first.

        An alias that was signed for several belongs to none of them: else the gateway would choose. What was signed
        once is never taken for unsigned later.
        """
        signed_ids = {*result.signed, *self._signed_before}
        ambiguous = {name for name, owners in result.signed.items() if len(owners) > 1}
        taken = set(signed_ids)
        renamed: list[Model] = []
        for model in kept:
            if not model.verified and not signed_ids.isdisjoint(model.ids):
                self._drop(model.id, "altered", result)
                continue
            clashing = (model.unsigned_ids & taken) | (ambiguous & {*model.aliases, *model.floating_aliases})
            for each in sorted(clashing):
                self._drop(each, "altered", result)
            taken.update(model.unsigned_ids if model.verified else model.ids)
            renamed.append(_without_names(model, clashing) if clashing else self._marked(model))
        owned, collisions = without_collisions(renamed)
        for collision in collisions:
            self._drop(collision.second, "altered", result)
        return owned

    def _remember(self, signed: Iterable[str]) -> None:
        for each in signed:
            self._signed_before[each] = None
        while len(self._signed_before) > MAX_REMEMBERED:
            del self._signed_before[next(iter(self._signed_before))]

    def _marked(self, model: Model) -> Model:
        """Return a record, marked where nobody signed it; not where the user allows such like others."""
        return model if model.verified or self._unsigned == "allow" else replace(model, verified=False)

    def _takes_unsigned(self, model: Model, result: Vouched, *, signs: bool) -> bool:
        """Return whether a record that isn't verified may stay."""
        if model.verified is False and model.statement is not None:
            return False  # it was counted already
        if self._unsigned == "drop" or (self._unsigned is None and signs):
            self._drop(model.id, "unsigned", result)
            return False
        return True

    def _drop(self, dropped_id: str, reason: Reason, result: Vouched) -> None:
        result.reasons[reason] += 1
        self._dropped[reason] += 1
        if (dropped_id, reason) in self._warned or result.warnings >= MAX_WARNINGS:
            return
        result.warnings += 1
        if len(self._warned) >= MAX_WARNED:
            self._warned.clear()
        self._warned.add((dropped_id, reason))
        extra = {"model": dropped_id, "reason": reason, "so_far": self._dropped[reason]}
        _LOG.warning("the gateway lists what the deployment doesn't vouch for; it is left out", extra=extra)


def _without_names(model: Model, names: frozenset[str]) -> Model:
    return replace(
        model,
        aliases=tuple(each for each in model.aliases if each not in names),
        floating_aliases=tuple(each for each in model.floating_aliases if each not in names),
        unsigned_ids=model.unsigned_ids - names,
    )
