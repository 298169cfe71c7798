"""What an operator says of models in a configuration file, laid over what is served. Pure code."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from privity.catalogue.model import RESERVED_ID, Evidence, Lifecycle, Model, in_order


@dataclass(frozen=True, slots=True)
class Declared:
    """What is said of one model. None, or nothing, leaves what is known without it."""

    id: str
    """Any ID under which the model is served; it doesn't rename the model."""
    aliases: tuple[str, ...] = ()
    floating_aliases: tuple[str, ...] = ()
    tasks: tuple[str, ...] | None = None
    context_length: int | None = None
    """Tokens."""
    max_output_tokens: int | None = None
    owned_by: str | None = None
    display_name: str | None = None
    created: int | None = None
    """Unix seconds."""
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    visible_to: frozenset[str] | None = None
    """Groups of keys."""

    @property
    def further_ids(self) -> tuple[str, ...]:
        """The aliases, floating ones last."""
        return (*self.aliases, *self.floating_aliases)

    @property
    def names(self) -> tuple[tuple[tuple[str | int, ...], str], ...]:
        """Every ID that it claims, each after the path of the member that does."""
        return (
            (("id",), self.id),
            *((("aliases", place), name) for place, name in enumerate(self.aliases)),
            *((("floating_aliases", place), name) for place, name in enumerate(self.floating_aliases)),
        )


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that can't hold together with the rest of the declarations."""

    index: int
    """Of the declaration."""
    path: tuple[str | int, ...]
    """Of the member in it."""
    text: str


def conflicts(declared: Sequence[Declared]) -> Iterator[Conflict]:
    """Yield what the declarations say against each other, or against themselves.

    Not checked: what is served. A declared alias may be another model's own ID.
    """
    owners: dict[str, tuple[int, tuple[str | int, ...]]] = {}
    for index, each in enumerate(declared):
        for path, name in each.names:
            if name == RESERVED_ID:
                yield Conflict(
                    index, path, f"no model can have the ID {name}: GET /v1/models/{name} is the change feed."
                )
            owner, first_path = owners.setdefault(name, (index, path))
            other = declared[owner].id
            if owner == index and first_path != path:
                yield Conflict(index, path, f"the model {each.id} has the ID {name} already.")
            elif owner != index and name == each.id == other:
                yield Conflict(index, path, f"the model {name} is declared twice.")
            elif owner != index:
                yield Conflict(index, path, f"the models {other} and {each.id} both claim the ID {name}.")
        yield from _lifecycle_conflicts(index, each)


def _lifecycle_conflicts(index: int, declared: Declared) -> Iterator[Conflict]:
    lifecycle = declared.lifecycle
    if lifecycle.replacement is not None and any(name == lifecycle.replacement for _, name in declared.names):
        yield Conflict(index, ("replacement",), f"the model {declared.id} can't replace itself.")
    if lifecycle.deprecated_at and lifecycle.retires_at and lifecycle.retires_at < lifecycle.deprecated_at:
        yield Conflict(index, ("retires_at",), f"the model {declared.id} would retire before it is deprecated.")


def apply(declared: Sequence[Declared], models: Iterable[Model], *, narrow: bool) -> Iterator[Model]:
    """Yield the models, each with what was declared of it; where several declarations mean one model, all of them hold.

    A model may be left without a task: nothing can be asked of it. An alias that is another served model's ID is left
    out (`shadowed` tells which).

    Args:
        declared: what an operator says.
        models: what is served.
        narrow: whether tasks and lengths can only be made less of, as by a gateway, which signs nothing. Otherwise
            they are replaced, as by an inference proxy, whose operator vouches for them.
    """
    served = list(models)
    owners = _owners(served)
    by_id: dict[str, list[tuple[int, Declared]]] = {}
    for place, each in enumerate(declared):
        by_id.setdefault(each.id, []).append((place, each))
    for model in served:
        meant = sorted((entry for name in set(model.ids) for entry in by_id.get(name, ())), key=lambda entry: entry[0])
        laid_over = model
        for _, each in meant:
            laid_over = _overlay(each, laid_over, owners, narrow=narrow)
        yield laid_over


def shadowed(declared: Sequence[Declared], models: Sequence[Model]) -> Iterator[tuple[str, str, str]]:
    """Yield declared aliases that are other served models' IDs: the alias, that model, and the one it was for."""
    owners = _owners(models)
    for each in declared:
        meant = owners.get(each.id)
        for name in each.further_ids:
            if meant is not None and owners.get(name, meant) != meant:
                yield name, owners[name], meant


def _owners(models: Iterable[Model]) -> dict[str, str]:
    """Return every served ID with its model's canonical one; the first has it."""
    owners: dict[str, str] = {}
    for model in models:
        for name in model.ids:
            owners.setdefault(name, model.id)
    return owners


def _overlay(declared: Declared, model: Model, owners: Mapping[str, str], *, narrow: bool) -> Model:
    tasks = model.tasks
    if declared.tasks is not None:
        tasks = in_order(set(declared.tasks) & set(tasks) if narrow else declared.tasks)
    taken = {*model.ids, *(name for name in declared.further_ids if owners.get(name, model.id) != model.id)}
    aliases = tuple(each for each in declared.aliases if each not in taken)
    floating = tuple(each for each in declared.floating_aliases if each not in taken)
    return replace(
        model,
        tasks=tasks,
        evidence=_evidence(model, tasks),
        aliases=(*model.aliases, *aliases),
        floating_aliases=(*model.floating_aliases, *floating),
        context_length=_length(declared.context_length, model.context_length, narrow=narrow),
        max_output_tokens=_length(declared.max_output_tokens, model.max_output_tokens, narrow=narrow),
        owned_by=declared.owned_by or model.owned_by,
        display_name=declared.display_name or model.display_name,
        created=model.created if declared.created is None else declared.created,
        lifecycle=model.lifecycle if declared.lifecycle == Lifecycle() else declared.lifecycle,
        visible_to=_groups(declared.visible_to, model.visible_to),
    )


def _evidence(model: Model, tasks: tuple[str, ...]) -> tuple[Evidence, ...]:
    """Return where the tasks come from; those that nobody reported are the operator's word."""
    kept = tuple(each for each in model.evidence if each.task in tasks)
    return (*kept, *(Evidence(task, "declared") for task in tasks if task not in model.tasks))


def _length(declared: int | None, served: int | None, *, narrow: bool) -> int | None:
    known = [each for each in (declared, served) if each is not None]
    return min(known, default=None) if narrow else next(iter(known), None)


def _groups(declared: frozenset[str] | None, before: frozenset[str] | None) -> frozenset[str] | None:
    """Return the groups that both let in: a second declaration never opens what a first one closed."""
    if declared is None or before is None:
        return before if declared is None else declared
    return declared & before
