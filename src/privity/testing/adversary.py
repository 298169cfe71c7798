"""What a gateway can do to the answers that pass through it, defect by defect. It knows no secret.

It sees ciphertexts, plain members and all answers of the past, and it can send a request to the deployment twice. Each
defect is a pure function that returns what goes on in an answer's place: the answer itself, where nothing in it can be
changed in that way. Streams have theirs in `adversary_streams`; `tampering_gateway` carries them out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from privity.http import Headers, header
from privity.protocol.ending import HEADER
from privity.protocol.event_stream import encode_event
from privity.protocol.fields import scan
from privity.testing.fake_http import SentRequest

SEALED = re.compile(rb'"[^":]{1,64}:[0-9a-f]{24}:[0-9a-f]{24}:[0-9a-f]{32,}"')
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")
PLAIN = (b"privatemode-encrypted", b"false")
MADE_UP = b'{"id":"c1","object":"x","model":"m","choices":[{"index":0,"message":{"content":"made up"}}],"usage":{}}'


@dataclass(frozen=True, slots=True)
class Passing:
    """An answer on its way."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a gateway has when an answer passes through it."""

    request: SentRequest
    answer: Passing
    again: Passing
    """The deployment's answer to the same bytes, sent a second time."""
    before: Passing
    """The answer to the same request of the app, earlier."""
    other: Passing
    """The answer to another request, earlier."""


Defect = Callable[[Seen], Passing]
Pairs = list[tuple[str, bytes]]


def sealed_places(pairs: Pairs) -> list[int]:
    """Return where the encrypted values are, in the order of encryption."""
    places = [place for place, (_, value) in enumerate(pairs) if SEALED.fullmatch(value)]
    return sorted(places, key=lambda place: pairs[place][0])


def with_pairs(body: bytes, change: Callable[[Pairs], Pairs]) -> bytes:
    """Return a JSON body with other members; the very same one where nothing changes."""
    fields = scan(body)
    pairs = change(list(zip(fields.names, fields.values, strict=True)))
    values = [value for _, value in pairs]
    if values == fields.values and (fields.is_array or [name for name, _ in pairs] == fields.names):
        return body
    if fields.is_array:
        return b"[" + b",".join(values) + b"]"
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in pairs) + b"}"


def _members(change: Callable[[Pairs, Seen], Pairs]) -> Defect:
    return lambda seen: replace(
        seen.answer,
        body=with_pairs(seen.answer.body, lambda pairs: change(pairs, seen) if sealed_places(pairs) else pairs),
    )


def drop(place: float, pairs: Pairs) -> Pairs:
    """Drop the encrypted value at that part of the order of encryption, 0 to 1."""
    sealed = sealed_places(pairs)
    dropped = sealed[int(place * (len(sealed) - 1))]
    return [pair for index, pair in enumerate(pairs) if index != dropped]


def swap(one: int, other: int, pairs: Pairs) -> Pairs:
    """Swap two encrypted values, by their place in the order of encryption."""
    sealed, values = sealed_places(pairs), [value for _, value in pairs]
    if len(sealed) == 1:
        return pairs
    first, second = sealed[one], sealed[other]
    values[first], values[second] = values[second], values[first]
    return [(name, value) for (name, _), value in zip(pairs, values, strict=True)]


def rewrite(rewrite: Callable[[bytes], bytes], pairs: Pairs, which: int = 0) -> Pairs:
    """Rewrite an encrypted value, by its place in the order of encryption."""
    chosen = sealed_places(pairs)[which]
    return [(name, rewrite(value) if place == chosen else value) for place, (name, value) in enumerate(pairs)]


def rename_last(pairs: Pairs) -> Pairs:
    """Rename the last encrypted value so that it stays the last."""
    last = sealed_places(pairs)[-1]
    return [(name + "~" if place == last else name, value) for place, (name, value) in enumerate(pairs)]


def _respell(part: int, value: bytes, alter: Callable[[bytes], bytes]) -> bytes:
    parts = value.strip(b'"').split(b":")
    parts[part] = alter(parts[part])
    return b'"' + b":".join(parts) + b'"'


def flip(place: int, text: bytes) -> bytes:
    """Flip the lowest bit of a character, so that hex stays hex."""
    flipped = bytearray(text)
    flipped[place] = ord(b"0") if text[place] == ord(b"1") else ord(b"1")
    return bytes(flipped)


def values_of(request: SentRequest) -> list[bytes]:
    """Return the encrypted values of a JSON request."""
    return SEALED.findall(request.body)


def alter_plain(name: str, value: bytes | None, pairs: Pairs) -> Pairs:
    """Alter, or (None) drop, a plain member."""
    altered = [(each, value if each == name and value is not None else old) for each, old in pairs]
    return [pair for pair in altered if pair[0] != name or value is not None]


def as_array(body: bytes) -> bytes:
    """Make an array of an object's encrypted values, each in its place in the order of encryption."""
    fields = scan(body)
    pairs = list(zip(fields.names, fields.values, strict=True))
    return body if fields.is_array else b"[" + b",".join(pairs[place][1] for place in sealed_places(pairs)) + b"]"


def as_object(body: bytes) -> bytes:
    """Make an object of an array's elements, each under its index."""
    fields = scan(body)
    members = (b'"%b":%b' % (name.encode(), value) for name, value in zip(fields.names, fields.values, strict=True))
    return b"{" + b",".join(members) + b"}" if fields.is_array else body


def other_status(seen: Seen) -> Passing:
    """Make an error of a success, and the reverse."""
    return replace(seen.answer, status=500 if seen.answer.status == 200 else 200)


def instead(body: bytes, *headers: tuple[bytes, bytes], status: int | None = None) -> Defect:
    """Return a defect that puts something else in an answer's place."""
    return lambda seen: Passing(status or seen.answer.status, headers or seen.answer.headers, body)


def _end(choose: Callable[[Seen], bytes | None]) -> Defect:
    def defect(seen: Seen) -> Passing:
        if header(seen.answer.headers, HEADER) is None:
            return seen.answer
        end = choose(seen)
        kept = [each for each in seen.answer.headers if each[0] != HEADER]
        return replace(seen.answer, headers=kept if end is None else [*kept, (HEADER, end)])

    return defect


WHOLE: dict[str, Defect] = {
    "drop the first value": _members(lambda pairs, _: drop(0, pairs)),
    "drop the middle value": _members(lambda pairs, _: drop(0.5, pairs)),
    "drop the last value": _members(lambda pairs, _: drop(1, pairs)),
    "drop all values": _members(lambda pairs, _: [pair for pair in pairs if not SEALED.fullmatch(pair[1])]),
    "swap the first two values": _members(lambda pairs, _: swap(0, 1, pairs)),
    "swap the first and the last value": _members(lambda pairs, _: swap(0, -1, pairs)),
    "repeat a member": _members(lambda pairs, _: [*pairs, pairs[sealed_places(pairs)[0]]]),
    "repeat a value under another name": _members(lambda pairs, _: [*pairs, ("~", pairs[sealed_places(pairs)[0]][1])]),
    "add a plain member": _members(lambda pairs, _: [*pairs, ("~", b'"made up"')]),
    "add an old value": _members(lambda pairs, seen: [*pairs, ("~", SEALED.findall(seen.before.body)[-1])]),
    "add a value of the request": _members(lambda pairs, seen: [*pairs, ("~", values_of(seen.request)[0])]),
    "a value of the request in a value's place": _members(
        lambda pairs, seen: rewrite(lambda _: values_of(seen.request)[0], pairs)
    ),
    "an old value in a value's place": _members(
        lambda pairs, seen: rewrite(lambda _: SEALED.findall(seen.before.body)[0], pairs)
    ),
    "a plain value in a value's place": _members(lambda pairs, _: rewrite(lambda _: b'"made up"', pairs)),
    "rename the last value": _members(lambda pairs, _: rename_last(pairs)),
    "flip a bit of an id": _members(lambda pairs, _: rewrite(lambda v: _respell(0, v, partial(flip, 0)), pairs)),
    "flip a bit of a nonce": _members(lambda pairs, _: rewrite(lambda v: _respell(1, v, partial(flip, 0)), pairs)),
    "flip a bit of an IV": _members(lambda pairs, _: rewrite(lambda v: _respell(2, v, partial(flip, 0)), pairs)),
    "flip a bit of a text": _members(lambda pairs, _: rewrite(lambda v: _respell(3, v, partial(flip, 0)), pairs, -1)),
    "flip a bit of a tag": _members(lambda pairs, _: rewrite(lambda v: _respell(3, v, partial(flip, -1)), pairs, -1)),
    "shorten a value": _members(lambda pairs, _: rewrite(lambda v: _respell(3, v, lambda text: text[:-2]), pairs)),
    "empty a value": _members(lambda pairs, _: rewrite(lambda v: _respell(3, v, lambda _: b""), pairs)),
    "write hex in upper case": _members(lambda pairs, _: rewrite(lambda v: _respell(3, v, bytes.upper), pairs)),
    "alter the id": _members(lambda pairs, _: alter_plain("id", b'"made-up"', pairs)),
    "alter the usage": _members(lambda pairs, _: alter_plain("usage", b'{"total_tokens":9999}', pairs)),
    "drop the usage": _members(lambda pairs, _: alter_plain("usage", None, pairs)),
    "mix two answers to one request": lambda seen: replace(
        seen.answer,
        body=seen.answer.body.replace(SEALED.findall(seen.answer.body)[0], SEALED.findall(seen.again.body)[0])
        if SEALED.search(seen.answer.body)
        else seen.answer.body,
    ),
    "make an array of it": lambda seen: replace(seen.answer, body=as_array(seen.answer.body)),
    "make an object of it": lambda seen: replace(seen.answer, body=as_object(seen.answer.body)),
    "cut the last byte": lambda seen: replace(seen.answer, body=seen.answer.body[:-1]),
    "cut it in the middle": lambda seen: replace(seen.answer, body=seen.answer.body[: len(seen.answer.body) // 2]),
    "nothing": instead(b""),
    "an empty object": instead(b"{}"),
    "an empty array": instead(b"[]"),
    "null": instead(b"null"),
    "a made-up answer": instead(MADE_UP),
    "a made-up answer without the end": instead(MADE_UP, JSON),
    "a made-up answer that claims to be plain": instead(MADE_UP, JSON, PLAIN, status=200),
    "a made-up page": instead(b"<html>made up</html>", (b"content-type", b"text/html"), status=200),
    "no content": instead(b"", JSON, status=204),
    "a redirection": instead(b"", (b"location", b"http://evil.example/"), status=307),
    "an old answer to the same request": lambda seen: seen.before,
    "an old answer to another request": lambda seen: seen.other,
    "the request itself": lambda seen: replace(seen.answer, body=seen.request.body),
    "claim to be plain": lambda seen: replace(seen.answer, headers=[*seen.answer.headers, PLAIN]),
    "another status": other_status,
    "make a stream of it": lambda seen: Passing(
        200,
        [*(each for each in seen.answer.headers if each != JSON), EVENTS],
        encode_event(seen.answer.body) + b"data: [DONE]\n\n",
    ),
    "strip the end": _end(lambda _: None),
    "an old end": _end(lambda seen: header(seen.before.headers, HEADER)),
    "the end of another answer to one request": _end(lambda seen: header(seen.again.headers, HEADER)),
    "the end of the request": _end(lambda seen: header(seen.request.headers, HEADER)),
    "a value as the end": _end(lambda seen: SEALED.findall(seen.answer.body)[-1]),
}
