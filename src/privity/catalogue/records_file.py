"""`[[models]]` of a configuration file, and an inference proxy's file that holds nothing else. Pure code."""

from collections.abc import Mapping

from privity.catalogue.declared import Declared, conflicts
from privity.catalogue.model import TASKS, Lifecycle
from privity.toml.kinds import MOMENT, TOKENS, UNIX_SECONDS, Kind, name, one_of
from privity.toml.reader import Document, Table

ID = name("a model's ID")
GROUP = name("a group's name")

_GATEWAYS_OWN = {
    "visible_to": "who may see a model is the gateway's to say, in the file of `privity gateway --config`.",
    **dict.fromkeys(
        ("deprecated", "retires_at", "replacement"),
        "when a model comes to its end is the gateway's to say, in the file of `privity gateway --config`.",
    ),
}
"""An inference proxy signs its records: what isn't signed doesn't belong there."""


def parse_records(content: bytes, file_name: str) -> tuple[Declared, ...]:
    """Return the models of an inference proxy's records file.

    Args:
        content: of the file.
        file_name: for messages.

    Raises:
        ConfigError: it can't be used.
    """
    document = Document(content, file_name)
    declared = take_models(document.root, _GATEWAYS_OWN)
    document.root.close()
    document.check()
    return declared


def take_models(root: Table, refused: Mapping[str, str]) -> tuple[Declared, ...]:
    """Return what `[[models]]` declare, and note what is wrong with them; wrong ones aren't compared with others.

    Args:
        root: of the file.
        refused: keys that may not be used, and why.
    """
    read = [(table, _read(table, refused)) for table in root.tables("models")]
    sound = [(table, declared) for table, declared in read if table.is_sound]
    models = tuple(declared for _, declared in sound)
    for conflict in conflicts(models):
        sound[conflict.index][0].report(conflict.path, conflict.text)
    return models


def _read(table: Table, refused: Mapping[str, str]) -> Declared:
    table.refuse(refused)
    declared = Declared(
        table.require("id", ID) or "",
        aliases=_list(table, "aliases", ID),
        floating_aliases=_list(table, "floating_aliases", ID),
        tasks=table.take_list("tasks", one_of(*TASKS), least=1),
        context_length=table.take("context_length", TOKENS),
        max_output_tokens=table.take("max_output_tokens", TOKENS),
        owned_by=table.take("owned_by", name("an owner's name")),
        display_name=table.take("display_name", name("a name")),
        created=table.take("created", UNIX_SECONDS),
        lifecycle=_lifecycle(table),
        visible_to=_groups(table),
    )
    table.close()
    return declared


def _list(table: Table, key: str, kind: Kind[str]) -> tuple[str, ...]:
    return table.take_list(key, kind) or ()


def _lifecycle(table: Table) -> Lifecycle:
    return Lifecycle(
        deprecated_at=table.take("deprecated", MOMENT),
        retires_at=table.take("retires_at", MOMENT),
        replacement=table.take("replacement", ID),
    )


def _groups(table: Table) -> frozenset[str] | None:
    groups = table.take_list("visible_to", GROUP, least=1)
    return None if groups is None else frozenset(groups)
