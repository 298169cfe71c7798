"""Bodies with encrypted values: which ones, and in which order (wire-protocol.md section 5).

JSON: the members of an object in the byte order of their names, the elements of an array in the byte order of their
decimal indices. Names that are sorted by code points are in the byte order of their UTF-8.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from privity.errors import DecryptionError, InvalidRequestError
from privity.protocol.ending import Ending
from privity.protocol.fields import Fields, scan

Turn = Callable[[Sequence[bytes]], list[bytes]]
"""Seals the next values, or opens them: `Sealer.seal_all`, `Opener.open_all`."""

_encode = msgspec.json.Encoder().encode


def turn_fields(fields: Fields, plain: Collection[str], turn: Turn, ending: Ending, **added: bytes) -> bytes:
    """Return a JSON body with its values encrypted, or decrypted.

    Args:
        fields: the body.
        plain: names of members that stay as they are.
        turn: seals the values, or opens them.
        ending: takes note of the names, and of what stays plain.
        added: raw JSON values of further members of an object, which come last.

    Raises:
        DecryptionError: `turn` can't open a value.
    """
    if fields.is_array:
        ending.array()
    values = [*fields.values, *added.values()]
    turned = _turned([*fields.names, *added], values, () if fields.is_array else plain, turn, ending)
    count = len(fields.values)
    further = [b'"%b":%b' % (name.encode(), value) for name, value in zip(added, turned[count:], strict=True)]
    return fields.with_values(turned[:count], further)


def open_fields(body: bytes, plain: Collection[str], open_all: Turn, ending: Ending) -> bytes:
    """Return a JSON body with its values decrypted, as it came from outside.

    Raises:
        DecryptionError: a value that should be encrypted is not, or is not authentic at its place; or not JSON.
    """
    try:
        fields = scan(body)
    except InvalidRequestError as error:
        raise DecryptionError("a body with encrypted values isn't valid JSON") from error
    return turn_fields(fields, plain, open_all, ending)


def seal_object(members: Mapping[str, object], plain: Collection[str], seal_all: Turn, ending: Ending) -> bytes:
    """Return an object, given as Python values, as JSON with its values encrypted."""
    values = [_encode(value) for value in members.values()]
    turned = _turned(list(members), values, plain, seal_all, ending)
    return b"{" + b",".join(b"%b:%b" % pair for pair in zip(map(_encode, members), turned, strict=True)) + b"}"


def _turned(
    names: Sequence[str], values: Sequence[bytes], plain: Collection[str], turn: Turn, ending: Ending
) -> list[bytes]:
    hidden = []
    for index in sorted(range(len(names)), key=names.__getitem__):
        if names[index] in plain:
            ending.plain(names[index], values[index])
        else:
            ending.sealed(names[index])
            hidden.append(index)
    turned = list(values)
    for index, value in zip(hidden, turn([values[index] for index in hidden]), strict=True):
        turned[index] = value
    return turned
