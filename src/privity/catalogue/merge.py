"""One catalogue out of several sources."""

from collections.abc import Iterable

from privity.catalogue.catalogue import IdCollisionError
from privity.catalogue.model import Model


def without_collisions(models: Iterable[Model]) -> tuple[list[Model], list[IdCollisionError]]:
    """Return models of which no two claim one ID, and the claims by which others were left out: the first has it."""
    owners: dict[str, str] = {}
    kept: list[Model] = []
    collisions: list[IdCollisionError] = []
    for model in models:
        ids = model.ids
        taken = next((each for place, each in enumerate(ids) if each in owners or each in ids[:place]), None)
        if taken is not None:
            collisions.append(IdCollisionError(taken, owners.get(taken, model.id), model.id))
            continue
        kept.append(model)
        owners.update(dict.fromkeys(ids, model.id))
    return kept, collisions
