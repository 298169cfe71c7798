import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import DecryptionError
from privity.protocol.bodies import open_fields, turn_fields
from privity.protocol.ending import (
    COMMENT,
    HEADER,
    Ending,
    announces_end,
    announcing_nonce,
    as_comment,
    from_comments,
)
from privity.protocol.event_stream import EventStreamParser, encode_event
from privity.protocol.exchange import NONCE_BYTES, Opener, Sealer, begin
from privity.protocol.fields import scan
from privity.protocol.multipart import Part, turn_parts
from privity.protocol.secret import Secret

SECRET = Secret("id", bytes(range(32)))
NONCE = bytes(12)
PLAIN = {"id", "usage"}
CONTEXT = "200"
BODY = b'{"id":"1","choices":[1],"created":2,"model":"m","usage":{"total_tokens":3}}'


def sealed(body: bytes = BODY, context: str = CONTEXT) -> tuple[bytes, bytes]:
    """Return a sealed body and its end."""
    sealer, ending = Sealer(SECRET, NONCE), Ending(context)
    return turn_fields(scan(body), PLAIN, sealer.seal_all, ending), ending.seal(sealer)


def opened(body: bytes, end: bytes | None, context: str = CONTEXT, opener: Opener | None = None) -> bytes:
    """Return a body that was opened up to its end."""
    opener, ending = opener or Opener(SECRET, NONCE), Ending(context)
    plain = open_fields(body, PLAIN, opener.open_all, ending)
    ending.check(opener, end)
    return plain


def test_a_body_with_its_end_comes_back() -> None:
    assert opened(*sealed()) == BODY


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"id":1}', b"[1,2,3]", b'{"":1}'])
def test_bodies_of_any_kind_have_an_end(body: bytes) -> None:
    assert opened(*sealed(body)) == body


def dropped(body: bytes, name: str) -> bytes:
    """Return a body without one of its members."""
    fields = scan(body)
    return b"{" + b",".join(b'"%b":%b' % (each.encode(), value) for each, value in zip(fields.names, fields.values, strict=True) if each != name) + b"}"  # fmt: skip  # noqa: E501


BODY_SEALED, END = sealed()
LAST_VALUE = scan(BODY_SEALED).get("model") or b""
ALTERED = {
    "the last value dropped": dropped(BODY_SEALED, "model"),
    "all values dropped": b'{"id":"1","usage":{"total_tokens":3}}',
    "a plain member altered": BODY_SEALED.replace(b'"total_tokens":3', b'"total_tokens":4'),
    "a plain member respelt": BODY_SEALED.replace(b'"total_tokens":3', b'"total_tokens": 3'),
    "a plain member dropped": dropped(BODY_SEALED, "usage"),
    "a plain member added": dropped(BODY_SEALED, "id").replace(b"{", b'{"id":"2",', 1),
    "two plain members changed places": BODY_SEALED.replace(b'"id"', b'"x"').replace(b'"usage"', b'"id"').replace(b'"x"', b'"usage"'),  # noqa: E501
    "a value renamed": BODY_SEALED.replace(b'"choices"', b'"chances"'),
    "the last value renamed": BODY_SEALED.replace(b'"model"', b'"zodel"'),
    "a value renamed to a plain name": dropped(BODY_SEALED, "usage").replace(b'"model"', b'"usage"'),
    "the end as a value": BODY_SEALED.replace(b"{", b'{"zzz":%b,' % END, 1),
    "the last value as its own end": BODY_SEALED.replace(b"{", b'{"zzz":%b,' % LAST_VALUE, 1),
}  # fmt: skip


@pytest.mark.parametrize("body", ALTERED.values(), ids=ALTERED)
def test_a_body_that_was_altered_does_not_fit_its_end(body: bytes) -> None:
    assert body != BODY_SEALED
    with pytest.raises(DecryptionError):
        opened(body, END)


@pytest.mark.parametrize("end", [None, b"", b'""', LAST_VALUE, sealed(b'{"a":1}')[1], END[:-3] + b'"'])
def test_an_end_that_is_missing_or_anothers_is_refused(end: bytes | None) -> None:
    with pytest.raises(DecryptionError):
        opened(BODY_SEALED, end)


def test_the_value_before_the_end_is_no_end() -> None:
    with pytest.raises(DecryptionError):
        opened(dropped(BODY_SEALED, "model"), LAST_VALUE)


@pytest.mark.parametrize("context", ["201", "", "2000"])
def test_an_altered_context_is_refused(context: str) -> None:
    with pytest.raises(DecryptionError, match="altered"):
        opened(BODY_SEALED, END, context)


@pytest.mark.parametrize("name", ["choices", "created", "model"])
def test_two_answers_to_one_request_cannot_be_mixed(name: str) -> None:
    other_body, other_end = sealed()
    fields, other = scan(BODY_SEALED), scan(other_body)
    mixed = [theirs if each == name else ours for each, ours, theirs in zip(fields.names, fields.values, other.values, strict=True)]  # fmt: skip  # noqa: E501
    for end in (END, other_end):
        with pytest.raises(DecryptionError, match="mixed"):
            opened(fields.with_values(mixed), end)


def test_a_requests_end_is_no_end_of_its_answer() -> None:
    sealer, opener = begin(SECRET, NONCE)
    ending = Ending(CONTEXT)
    request = turn_fields(scan(BODY), PLAIN, sealer.seal_all, ending)
    end = ending.seal(sealer)
    with pytest.raises(DecryptionError, match="came back"):
        opened(request, end, opener=opener)
    answer, _ = sealed()
    _, opener = begin(SECRET, NONCE)
    with pytest.raises(DecryptionError):
        opened(answer, end, opener=opener)


NOTES = st.lists(
    st.one_of(
        st.tuples(st.just("plain"), st.text(max_size=2), st.binary(max_size=2)),
        st.tuples(st.just("sealed"), st.text(max_size=2), st.just(b"")),
        st.tuples(st.just("file"), st.text(max_size=2), st.just(b"")),
        st.tuples(st.just("event"), st.just(""), st.binary(max_size=2)),
    ),
    max_size=5,
)


def end_of(notes: list[tuple[str, str, bytes]], context: str) -> Ending:
    ending = Ending(context)
    for kind, name, value in notes:
        match kind:
            case "plain":
                ending.plain(name, value)
            case "event":
                ending.event(value)
            case _:
                ending.sealed(name, is_file=kind == "file")
    return ending


@given(NOTES, NOTES, st.text(max_size=1), st.text(max_size=1))
def test_what_differs_in_anything_plain_has_another_end(
    ours: list[tuple[str, str, bytes]], theirs: list[tuple[str, str, bytes]], context: str, other: str
) -> None:
    end = end_of(ours, context).seal(Sealer(SECRET, NONCE))
    try:
        end_of(theirs, other).check(Opener(SECRET, NONCE), end)
    except DecryptionError:
        assert (ours, context) != (theirs, other)
    else:
        assert (ours, context) == (theirs, other)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([("plain", "ab", b"c")], [("plain", "a", b"bc")]),
        ([("plain", "a", b"")], [("plain", "", b"a")]),
        ([("sealed", "a", b""), ("sealed", "b", b"")], [("sealed", "asb", b"")]),
        ([("sealed", "a", b"")], [("event", "", b"a")]),
        ([("sealed", "a", b"")], [("file", "a", b"")]),
        ([("event", "", b"a"), ("event", "", b"b")], [("plain", "a", b"b")]),
        ([("sealed", "a", b""), ("plain", "b", b"c")], [("plain", "b", b"c"), ("sealed", "a", b"")]),
        ([("event", "", b"a"), ("sealed", "b", b"")], [("sealed", "b", b""), ("event", "", b"a")]),
    ],
)
def test_nothing_that_is_plain_can_pass_for_something_else(
    ours: list[tuple[str, str, bytes]], theirs: list[tuple[str, str, bytes]]
) -> None:
    end = end_of(ours, CONTEXT).seal(Sealer(SECRET, NONCE))
    end_of(ours, CONTEXT).check(Opener(SECRET, NONCE), end)
    with pytest.raises(DecryptionError, match="altered"):
        end_of(theirs, CONTEXT).check(Opener(SECRET, NONCE), end)


def stream_end(events: list[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return a sealed stream's events, and its end."""
    sealer, ending = Sealer(SECRET, NONCE), Ending(CONTEXT)
    turned = []
    for kind, data in events:
        ending.event(kind)
        turned.append((kind, turn_fields(scan(data), PLAIN, sealer.seal_all, ending)))
    return turned, ending.seal(sealer)


def open_stream(events: list[tuple[bytes, bytes]], end: bytes) -> list[bytes]:
    opener, ending = Opener(SECRET, NONCE), Ending(CONTEXT)
    plain = []
    for kind, data in events:
        ending.event(kind)
        plain.append(open_fields(data, PLAIN, opener.open_all, ending))
    ending.check(opener, end)
    return plain


STREAM = [(b"message", b'{"id":"1","choices":[%d],"created":7}' % number) for number in range(4)]


def test_a_stream_with_its_end_comes_back() -> None:
    assert open_stream(*stream_end(STREAM)) == [data for _, data in STREAM]


def test_a_stream_that_was_altered_does_not_fit_its_end() -> None:
    events, end = stream_end(STREAM)
    (first, first_data), (_, second_data), *rest = events
    first_fields, second_fields = scan(first_data), scan(second_data)
    joined = b'{"id":"1","choices":%b,"created":%b,"x":%b,"y":%b}' % (
        *first_fields.values[1:],
        *second_fields.values[1:],
    )
    for altered in (
        [],
        events[:-1],
        events[:2],
        [*events, (b"message", b"{}")],
        [(b"message", b"{}"), *events],
        [*events, (b"message", b'{"id":"1"}')],
        [(b"error", first_data), *events[1:]],
        [(first, joined), (first, b'{"id":"1"}'), *rest],
        [(first, joined), *rest],
        [
            (first, b'{"id":"1","choices":%b}' % first_fields.values[1]),
            (first, b'{"created":%b}' % first_fields.values[2]),
            *events[1:],
        ],
    ):
        with pytest.raises(DecryptionError):
            open_stream(altered, end)


def test_a_value_of_a_form_does_not_become_a_file() -> None:
    sealer, ending = Sealer(SECRET, NONCE), Ending("/v1/audio/transcriptions")
    (part,) = turn_parts([Part("file", b"content", is_file=True)], (), sealer.seal_all, ending)
    end = ending.seal(sealer)
    for is_file, fits in ((True, True), (False, False)):
        opener, ending = Opener(SECRET, NONCE), Ending("/v1/audio/transcriptions")
        turn_parts([Part("file", part.value, is_file=is_file)], (), opener.open_all, ending)
        if fits:
            ending.check(opener, end)
        else:
            with pytest.raises(DecryptionError):
                ending.check(opener, end)


@pytest.mark.parametrize(
    "altered",
    [
        [Part("language", b"de"), Part("model", b"m")],
        [Part("language", b"en"), Part("model", b"n")],
        [Part("language", b"en")],
        [Part("model", b"m"), Part("language", b"en")],
        [Part("language", b"en"), Part("model", b"m"), Part("model", b"m")],
    ],
)
def test_a_form_with_altered_plain_fields_does_not_fit_its_end(altered: list[Part]) -> None:
    sealer, ending, plain = Sealer(SECRET, NONCE), Ending(""), {"language", "model"}
    turn_parts([Part("language", b"en"), Part("model", b"m")], plain, sealer.seal_all, ending)
    end = ending.seal(sealer)
    opener, ending = Opener(SECRET, NONCE), Ending("")
    turn_parts(altered, plain, opener.open_all, ending)
    with pytest.raises(DecryptionError, match="altered"):
        ending.check(opener, end)


def test_the_end_travels_in_a_stream_as_a_comment() -> None:
    parser = EventStreamParser()
    stream = encode_event(b"{}") + as_comment(END) + encode_event(b"[DONE]")
    first, comment, last = parser.feed(stream)
    assert (first.data, comment.data, last.data) == (b"{}", None, b"[DONE]")
    assert from_comments(comment.comments) == END
    assert from_comments(first.comments) is None


def test_other_comments_are_no_end() -> None:
    assert from_comments([b": hello", b":", b": privity-ending x", COMMENT + b"1", COMMENT + b"2"]) == b"1"
    assert COMMENT == b": " + HEADER + b" "


def test_a_nonce_that_announces_an_end_says_so_to_whoever_has_the_secret() -> None:
    nonces = {announcing_nonce(SECRET, os.urandom) for _ in range(100)}
    assert len(nonces) == 100
    assert {len(nonce) for nonce in nonces} == {NONCE_BYTES}
    assert all(announces_end(SECRET, nonce) for nonce in nonces)
    other = Secret("other", bytes(32))
    assert not any(announces_end(other, nonce) for nonce in nonces)


@given(st.integers(0, NONCE_BYTES - 1), st.integers(1, 255))
def test_a_nonce_with_a_flipped_byte_announces_nothing(place: int, flip: int) -> None:
    nonce = bytearray(announcing_nonce(SECRET, bytes))
    nonce[place] ^= flip
    assert not announces_end(SECRET, bytes(nonce))


def test_a_random_nonce_announces_nothing() -> None:
    assert not announces_end(SECRET, bytes(NONCE_BYTES))
