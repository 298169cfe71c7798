"""The top level of a JSON body: its members, or an array's elements, with every byte kept.

msgspec checks the JSON and cuts out the values; walking over the body then finds where each of them stands. A member
whose name is repeated makes that walk fail, since msgspec keeps only one of the two.
"""

import codecs
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from privity.errors import InvalidRequestError, printable

MAX_DEPTH = 400
"""Objects and arrays within each other: far more than any request has, and far less than parsers break at."""

MAX_MODEL_ID_CHARACTERS = 256
"""Characters of a model ID: it travels in a header, and the longest known has under 100."""

MAX_SHOWN_NAME = 64
"""Characters of a member's name that an error message shows."""

MAX_ESCAPES = 100_000
"""Backslashes of a body with lone surrogates, which takes another way that costs far more for each of them."""

_UTF8_PIECE = 1024 * 1024
"""Bytes that are checked at once, so that a large body is not decoded as a whole."""

_FIRST = b'{"":'
"""What stands around a name: a brace or a comma, two quotation marks, a colon."""
_HEX2 = rb"[0-9a-fA-F]{2}"
_SPACE = rb"[ \t\n\r]*+"
_OPENING = re.compile(_SPACE + rb"([{\[])" + _SPACE)
_NAME = re.compile(_SPACE + rb'"((?:[^"\\]|\\.)*+)"' + _SPACE + b":" + _SPACE, re.DOTALL)
_BETWEEN = re.compile(_SPACE + b"," + _SPACE)
_END = re.compile(_SPACE + rb"\}" + _SPACE + rb"\Z")
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"?+|[{}\[\]]', re.DOTALL)
"""A string that never ends is one too, so that its quotation marks are not tried one after the other."""
_STEPS = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
_ESCAPE = re.compile(
    rb"\\(?:(?P<pair>u[dD][89abAB]" + _HEX2 + rb"\\u[dD][c-fC-F]" + _HEX2 + rb")"
    rb"|(?P<lone>u[dD][89a-fA-F]" + _HEX2 + rb")|.)",
    re.DOTALL,
)

_as_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_as_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_as_string = msgspec.json.Decoder(str).decode


class Fields:
    """A JSON object or array, cut at its top level.

    Attributes:
        names: the members' names, decoded, in the body's order; an array's indices in decimal.
        values: the exact bytes of each value.
    """

    __slots__ = ("_body", "_ends", "_is_array", "names", "values")

    def __init__(self, body: bytes, names: list[str], values: list[bytes], ends: list[int], *, is_array: bool) -> None:
        self._body = body
        self._ends = ends
        self._is_array = is_array
        self.names = names
        self.values = values

    @property
    def is_array(self) -> bool:
        """Whether this is an array."""
        return self._is_array

    def over(self, body: bytes) -> "Fields":
        """Return the same cut of another body, which has the same names and lengths."""
        values = [body[end - len(value) : end] for value, end in zip(self.values, self._ends, strict=True)]
        return Fields(body, self.names, values, self._ends, is_array=self._is_array)

    def get(self, name: str) -> bytes | None:
        """Return the bytes of a member's value; None where there is no such member."""
        return self.values[self.names.index(name)] if name in self.names else None

    def with_values(self, values: Sequence[bytes], added: Sequence[bytes] = ()) -> bytes:
        """Return the body with other values, one for each of `values`, and all else as it was.

        Args:
            values: in the body's order.
            added: further members of an object, each as `"name":value`, that come last.
        """
        pieces: list[bytes] = []
        position = 0
        for old, new, end in zip(self.values, values, self._ends, strict=True):
            pieces += (self._body[position : end - len(old)], new)
            position = end
        rest = self._body[position:]
        if added:
            further = b",".join(added)
            rest = b"," + further + rest if values else rest.replace(b"{", b"{" + further, 1)
        pieces.append(rest)
        return b"".join(pieces)


def scan(body: bytes) -> Fields:
    """Cut a body at its top level.

    A surrogate that stands alone in a string is kept as it is; in a name it counts as U+FFFD, as Go has it.

    Raises:
        InvalidRequestError: not a JSON object or array in UTF-8, nested deeper than `MAX_DEPTH`, or a name is repeated.
    """
    if not body.isascii():
        _check_utf8(body)
    _check_depth(body)
    try:
        return _walk(body)
    except msgspec.DecodeError as error:
        if body.count(b"\\") > MAX_ESCAPES:
            raise _invalid() from error
        masked = _ESCAPE.sub(_without_lone_surrogate, body)
        if masked == body:
            raise _invalid() from error
    try:
        fields = _walk(masked)
    except msgspec.DecodeError as error:
        raise _invalid() from error
    return fields.over(body)


def _walk(body: bytes) -> Fields:
    opening = _OPENING.match(body)
    if opening is None:
        raise _invalid()
    walk = _walk_array if opening[1] == b"[" else _walk_object
    return walk(body, opening.end())


def _walk_array(body: bytes, position: int) -> Fields:
    values = [bytes(raw) for raw in _as_array(body)]
    ends: list[int] = []
    for value in values:
        between = _BETWEEN.match(body, position) if ends else None
        position = (between.end() if between else position) + len(value)
        ends.append(position)
    return Fields(body, [str(index) for index in range(len(values))], values, ends, is_array=True)


def _walk_object(body: bytes, position: int) -> Fields:
    members = _as_object(body)
    return _compact(body, members) or _step_through(body, position, members)


def _compact(body: bytes, members: dict[str, msgspec.Raw]) -> Fields | None:
    """Return the cut of a body that is as short as its members allow, by arithmetic; None for any other.

    A repeated name, an escape in a name or white space between tokens makes it longer.
    """
    names = list(members)
    values = [bytes(raw) for raw in members.values()]
    punctuation = len(_FIRST) * len(names) + 1
    if sum(map(len, names)) + sum(map(len, values)) + punctuation != len(body) or not body.isascii():
        return None
    position = 0
    ends = []
    for name, value in zip(names, values, strict=True):
        position += len(_FIRST) + len(name) + len(value)
        ends.append(position)
    return Fields(body, names, values, ends, is_array=False)


def _step_through(body: bytes, position: int, members: dict[str, msgspec.Raw]) -> Fields:
    values: list[bytes] = []
    ends: list[int] = []
    last = ""
    for name, raw in members.items():
        if ends:
            between = _BETWEEN.match(body, position)
            if between is None:
                raise _repeated(last)
            position = between.end()
        written = _NAME.match(body, position)
        value = bytes(raw)
        if written is None or not _is_name(written[1], name) or not body.startswith(value, written.end()):
            raise _repeated(name if written is None else _decoded_name(written[1]))
        position = written.end() + len(value)
        values.append(value)
        ends.append(position)
        last = name
    if members and _END.match(body, position) is None:
        following = _BETWEEN.match(body, position)
        written = _NAME.match(body, following.end()) if following else None
        raise _repeated(_decoded_name(written[1]) if written else last)
    return Fields(body, list(members), values, ends, is_array=False)


def _is_name(written: bytes, name: str) -> bool:
    return written == name.encode() if b"\\" not in written else _decoded_name(written) == name


def _decoded_name(written: bytes) -> str:
    return _as_string(b'"' + written + b'"')


def _without_lone_surrogate(escape: re.Match[bytes]) -> bytes:
    return rb"\uFFFD" if escape["lone"] else escape[0]


def _check_utf8(body: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _UTF8_PIECE):
            decoder.decode(body[start : start + _UTF8_PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _invalid() from error


def _check_depth(body: bytes) -> None:
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for token in _STRUCTURE.finditer(body):
        depth += _STEPS.get(token[0], 0)  # a string is none
        if depth > MAX_DEPTH:
            raise InvalidRequestError(f"The body is nested deeper than {MAX_DEPTH} levels.", code="nested_too_deep")


def _invalid() -> InvalidRequestError:
    return InvalidRequestError("The body isn't valid JSON, or no object.", code="invalid_json")


def _repeated(name: str) -> InvalidRequestError:
    shown = printable(name, MAX_SHOWN_NAME)
    return InvalidRequestError(
        f"The member `{shown}` is there more than once.", param=shown or None, code="repeated_member"
    )


def read_object(body: bytes) -> dict[str, Any]:
    """Return the whole body as Python values.

    Raises:
        InvalidRequestError: not a JSON object, or nested too deep.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid() from error
    if not isinstance(value, dict):
        raise _invalid()
    return value


def read_model(fields: Fields) -> str:
    """Return the member `model`.

    Raises:
        InvalidRequestError: it is missing, or not a string of 1 to 256 printable characters.
    """
    value = fields.get("model")
    if value is None:
        raise InvalidRequestError(
            "The member `model` is missing: GET /v1/models lists the models.", param="model", code="missing_model"
        )
    try:
        model = _as_string(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError("`model` must be a string.", param="model", code="invalid_model") from error
    return check_model(model)


def check_model(model: str) -> str:
    """Return a model's ID. Raises `InvalidRequestError` where it has not 1 to 256 printable characters."""
    if not model.isprintable() or not 1 <= len(model) <= MAX_MODEL_ID_CHARACTERS:
        raise InvalidRequestError(
            f"`model` must have 1 to {MAX_MODEL_ID_CHARACTERS} printable characters.",
            param="model",
            code="invalid_model",
        )
    return model
