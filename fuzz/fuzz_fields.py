"""Invariant: whatever `scan` takes, `json` reads to the same names and values; the same values give the same bytes."""

import json
import re
from typing import Any

import atheris

with atheris.instrument_imports(include=["privity"]):
    from privity.errors import InvalidRequestError
    from privity.protocol.fields import scan

from fuzz.harness import fuzz

SEEDS = (
    b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.70,"n":null}',
    b' { "b" : 1.0e5 , "a" : [ 1 , {} ] , "Z" : {"x": "\\u00e9"} , "" : -0 } ',
    b'[0,"x",{"a":2},[],12345678901234567890123]',
    b'{"a":1,"\\u0061":12,"a":1}',
    b'{"\\ud800":"\\ud83d\\ude42\\udc00\\\\","\xc3\xa9":true}',
    b'{"a":' * 3 + b"[[" * 200 + b"]]" * 200 + b"}}}",
)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LONG_INTEGER = re.compile(rb"[0-9]{4300}")


def no_constant(name: str) -> None:
    """Refuse what `json` takes and the standard does not."""
    raise ValueError(name)


def as_counted(name: str) -> str:
    """Return a name as `scan` gives it."""
    return LONE_SURROGATE.sub("\ufffd", name)


def members_of(body: bytes) -> list[tuple[str, Any]] | None:
    """Return the names and values of the top level as `json` reads them, None where it is no object and no array."""
    outermost: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        outermost[:] = pairs  # the top level is read last
        return dict(pairs)

    try:
        value = json.loads(body.decode(), object_pairs_hook=keep, parse_constant=no_constant)
    except ValueError:
        return None
    if isinstance(value, list):
        return [(str(index), element) for index, element in enumerate(value)]
    return [(as_counted(name), each) for name, each in outermost] if isinstance(value, dict) else None


def one_input(body: bytes) -> None:
    """Check the invariant for one body, and that what `scan` refuses has a reason."""
    if LONG_INTEGER.search(body):
        return  # `json` refuses to read it
    try:
        fields = scan(body)
    except InvalidRequestError as error:
        if error.code == "nested_too_deep":
            return
        members = members_of(body)
        repeated = members is not None and len({name for name, _ in members}) < len(members)
        if members is not None and (error.code != "repeated_member" or not repeated):
            raise AssertionError(f"{error.code}, but json reads {members}") from error
        return
    ours = [(name, json.loads(value)) for name, value in zip(fields.names, fields.values, strict=True)]
    if ours != members_of(body):
        raise AssertionError(f"{ours} here, {members_of(body)} in json")
    if fields.with_values(fields.values) != body:
        raise AssertionError("the same values give other bytes")


if __name__ == "__main__":
    fuzz(one_input, SEEDS)
