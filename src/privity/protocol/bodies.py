"""Bodies with encrypted values: which ones, and in which order (wire-protocol.md section 5).

JSON: the members of an object in the byte order of their names, the elements of an array in the byte order of their
decimal indices. Names that are sorted by code points are in the byte order of their UTF-8.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from privity.errors import DecryptionError, InvalidRequestError
from privity.protocol.ending import Ending
from privity.protocol.fields import Fields, scan

Turn = Callable[[bytes], bytes]
"""Seals a value, or opens one."""

_encode = msgspec.json.Encoder().encode


def seal_fields(fields: Fields, plain: Collection[str], seal: Turn, ending: Ending, **added: bytes) -> bytes:
    """Return a JSON body with its values encrypted.

    Args:
        fields: the body.
        plain: names of members that stay as they are.
        seal: encrypts the next value.
        ending: takes note of the names, and of what stays plain.
        added: raw JSON values of further members, which come last and are encrypted too.
    """
    values = [*fields.values, *added.values()]
    turned = _turned([*fields.names, *added], values, () if fields.is_array else plain, seal, ending)
    count = len(fields.values)
    further = [b'"%b":%b' % (name.encode(), value) for name, value in zip(added, turned[count:], strict=True)]
    return fields.with_values(turned[:count], further)


def open_fields(body: bytes, plain: Collection[str], open_value: Turn, ending: Ending) -> bytes:
    """Return a JSON body with its values decrypted; the reverse of `seal_fields`.

    Raises:
        DecryptionError: a value that should be encrypted is not, or is not authentic at its place; or not JSON.
    """
    try:
        fields = scan(body)
    except InvalidRequestError as error:
        raise DecryptionError("a body with encrypted values isn't valid JSON") from error
    return fields.with_values(
        _turned(fields.names, fields.values, () if fields.is_array else plain, open_value, ending)
    )


def seal_object(members: Mapping[str, object], plain: Collection[str], seal: Turn, ending: Ending) -> bytes:
    """Return an object, given as Python values, as JSON with its values encrypted."""
    values = [_encode(value) for value in members.values()]
    turned = _turned(list(members), values, plain, seal, ending)
    return b"{" + b",".join(b"%b:%b" % pair for pair in zip(map(_encode, members), turned, strict=True)) + b"}"


def _turned(
    names: Sequence[str], values: Sequence[bytes], plain: Collection[str], turn: Turn, ending: Ending
) -> list[bytes]:
    turned = list(values)
    for index in sorted(range(len(names)), key=names.__getitem__):
        if names[index] in plain:
            ending.plain(names[index], values[index])
        else:
            ending.sealed(names[index])
            turned[index] = turn(values[index])
    return turned
