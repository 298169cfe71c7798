"""Invariant: whatever parses as a form, encodes and parses to the same parts; all else is an `InvalidRequestError`."""

import logging

import atheris

with atheris.instrument_imports(include=["privity", "python_multipart"]):
    from privity.errors import InvalidRequestError
    from privity.protocol.multipart import content_type, encode_form, parse_form

from fuzz.harness import fuzz

NEW_BOUNDARY = b"f" * 48
PART = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
SEEDS = (
    b"multipart/form-data; boundary=B\0" + PART + PART.replace(b'"a"', b'"f"; filename="g h"') + b"--B--\r\n",
    b'Multipart/Form-Data; boundary="B"; x="\\""\0\r\n' + PART.replace(b"x", b"x\r\n--B-\r\n--B\r") + b"--B--epilogue",
    b'multipart/form-data; boundary=B\0--B\r\ncontent-disposition:form-data;name="a;b";x*=c\r\n\r\n\r\n--B--',
    b"multipart/form-data; boundary=B\0--B--",
)


def one_input(data: bytes) -> None:
    """Check the invariant for one input: a content type, a NUL, and the body."""
    kind, _, body = data.partition(b"\0")
    try:
        parts = parse_form(body, kind)
    except InvalidRequestError:
        return
    if b"--" + NEW_BOUNDARY in body:
        return  # a boundary is random
    encoded = encode_form(parts, NEW_BOUNDARY)
    if parse_form(encoded, content_type(NEW_BOUNDARY)) != parts:
        raise AssertionError(f"{parts} don't come back")


if __name__ == "__main__":
    logging.disable()  # the parser's warnings
    fuzz(one_input, SEEDS)
