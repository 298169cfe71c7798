"""What is to be believed of a model that a gateway lists, where its inference proxy's statement is at hand.

See models-api.md item 13.
"""

from dataclasses import replace

from privity.catalogue.model import Model
from privity.errors import StatementError


def vouched(row: Model, signed: Model) -> Model:
    """Return what is to be believed of a model that a gateway lists: what was signed, less what the gateway hides.

    - The gateway can hide tasks and aliases, and lower the numbers of tokens, but add or raise none.
    - It says `created` (equal for all replicas), `lifecycle`, `status` and `visible_to`. So it can make up when a model
      retires, and what to use instead.
    - All else is as it was signed, also which of the aliases are floating.

    Not checked: the signature of `signed` and its time, which `protocol.signed.Verifier` and `statement.read` do.

    Raises:
        StatementError: they are about different models, or have no task in common (altered).
    """
    if row.id != signed.id:
        raise StatementError("altered", "The statement is about another model.")
    tasks = tuple(each for each in signed.tasks if each in row.tasks)
    if not tasks:
        raise StatementError("altered", "The statement speaks of none of the model's tasks.")
    listed = {*row.aliases, *row.floating_aliases}
    return replace(
        signed,
        tasks=tasks,
        aliases=tuple(each for each in signed.aliases if each in listed),
        floating_aliases=tuple(each for each in signed.floating_aliases if each in listed),
        context_length=_lowered(signed.context_length, row.context_length),
        max_output_tokens=_lowered(signed.max_output_tokens, row.max_output_tokens),
        evidence=tuple(each for each in signed.evidence if each.task in tasks),
        created=row.created,
        lifecycle=row.lifecycle,
        status=row.status,
        visible_to=row.visible_to,
        statement=row.statement,
        verified=True,
    )


def _lowered(signed: int | None, listed: int | None) -> int | None:
    if signed is None or listed is None:
        return signed
    return max(0, min(signed, listed))
