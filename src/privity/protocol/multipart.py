"""Forms with encrypted fields (wire-protocol.md section 5; RFC 7578).

The order of encryption, and of the parts on the wire, is: values by name, then files by name; parts of one name keep
theirs. A file travels under its field's name, so that its own tells nothing.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from privity.errors import InvalidRequestError
from privity.protocol.bodies import Turn
from privity.protocol.ending import Ending
from privity.protocol.exchange import Sealer

MAX_PARTS = 1000
"""Parts of one form: the largest known has some twenty."""

BOUNDARY_BYTES = 24
"""Random bytes of a boundary: none of 192 bits is ever met in a body by chance."""

_TRUE = frozenset({b"1", b"on", b"t", b"true", b"y", b"yes"})
_FALSE = frozenset({b"0", b"off", b"f", b"false", b"n", b"no"})

_NAME = re.compile(r'[^\r\n\x00"\\]{1,256}')
"""What parsers read in different ways, quotation marks and backslashes, is in no known name."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form, or one file."""

    name: str
    value: bytes
    is_file: bool = False


def as_boolean(value: bytes) -> bool | None:
    """Return what a field says in one of the ways that engines understand; None where it says neither yes nor no."""
    lower = value.lower()
    return True if lower in _TRUE else False if lower in _FALSE else None


def parse_form(body: bytes, content_type: bytes | None) -> list[Part]:
    """Cut a form into its parts, in the order of encryption.

    Raises:
        InvalidRequestError: not a form, cut off, with more than `MAX_PARTS` parts, or with a missing or strange name.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise InvalidRequestError("The body isn't a form: use multipart/form-data.", code="invalid_form")
    reader = _Reader()
    try:
        reader.read(boundary, body)
    except FormParserError as error:
        raise InvalidRequestError("The body isn't a valid form.", code="invalid_form") from error
    if not reader.complete:
        raise InvalidRequestError("The form breaks off.", code="invalid_form")
    return in_order(reader.parts)


def encode_form(parts: Sequence[Part], boundary: bytes) -> bytes:
    """Return a form's bytes; its content type is `content_type(boundary)`."""
    return b"".join(_written(((part, (part.value,)) for part in parts), boundary))


def seal_form(
    parts: Sequence[Part], plain: Collection[str], sealer: Sealer, ending: Ending, boundary: bytes
) -> Iterator[bytes]:
    """Encrypt the values of a form, and return its bytes in pieces: written in hex, a large file takes twice its size.

    Args:
        parts: in the order of encryption.
        plain: names of fields that stay as they are; a file never does.
        sealer: seals the values.
        ending: takes note of the names, and of what stays plain.
        boundary: between the parts.
    """
    values: list[Iterable[bytes]] = [
        sealer.seal_in_pieces(part.value) if _is_hidden(part, plain, ending) else (part.value,) for part in parts
    ]
    return _written(zip(parts, values, strict=True), boundary)


def _written(parts: Iterable[tuple[Part, Iterable[bytes]]], boundary: bytes) -> Iterator[bytes]:
    for part, value in parts:
        name = part.name.encode()
        disposition = b'Content-Disposition: form-data; name="' + name + b'"'
        if part.is_file:
            disposition += b'; filename="' + name + b'"\r\nContent-Type: application/octet-stream'
        yield b"--" + boundary + b"\r\n" + disposition + b"\r\n\r\n"
        yield from value
        yield b"\r\n"
    yield b"--" + boundary + b"--\r\n"


def content_type(boundary: bytes) -> bytes:
    """Return the content type of a form with that boundary."""
    return b"multipart/form-data; boundary=" + boundary


def turn_parts(parts: Sequence[Part], plain: Collection[str], turn: Turn, ending: Ending) -> list[Part]:
    """Seal or open the values of a form.

    Args:
        parts: in the order of encryption.
        plain: names of fields that stay as they are; a file never does.
        turn: seals the values, or opens them.
        ending: takes note of the names, and of what stays plain.

    Raises:
        DecryptionError: `turn` can't open a value.
    """
    hidden = [_is_hidden(part, plain, ending) for part in parts]
    turned = iter(turn([part.value for part, is_hidden in zip(parts, hidden, strict=True) if is_hidden]))
    return [
        Part(part.name, next(turned), part.is_file) if is_hidden else part
        for part, is_hidden in zip(parts, hidden, strict=True)
    ]


def _is_hidden(part: Part, plain: Collection[str], ending: Ending) -> bool:
    """Return whether a part's value is encrypted, and let `ending` take note of the part."""
    if part.is_file or part.name not in plain:
        ending.sealed(part.name, is_file=part.is_file)
        return True
    ending.plain(part.name, part.value)
    return False


def in_order(parts: Iterable[Part]) -> list[Part]:
    """Return parts in the order of encryption."""
    return sorted(parts, key=lambda part: (part.is_file, part.name))


class _Reader:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._header = (b"", b"")
        self._disposition = b""
        self._pieces: list[bytes] = []

    def read(self, boundary: bytes, body: bytes) -> None:
        """Take in a whole body. Raises `FormParserError` and `InvalidRequestError`."""
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._value,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._all,
            },
        )
        parser.write(body)
        parser.finalize()

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise InvalidRequestError(f"The form has more than {MAX_PARTS} parts.", code="invalid_form")
        self._header, self._disposition, self._pieces = (b"", b""), b"", []

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], b"")

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = (b"", b"")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", errors="replace")
        if not _NAME.fullmatch(name):
            raise InvalidRequestError("A part of the form has no name, or a strange one.", code="invalid_form")
        self.parts.append(Part(name, b"".join(self._pieces), b"filename" in options))

    def _all(self) -> None:
        self.complete = True
