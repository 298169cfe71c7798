import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import UpstreamProtocolError
from privity.protocol.event_stream import Event, EventStreamParser, encode_event
from privity.testing.events import written


def parse(*pieces: bytes, limit: int = 1000) -> list[Event]:
    parser = EventStreamParser(limit)
    return [event for piece in pieces for event in parser.feed(piece)]


@st.composite
def split(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> list[bytes]:
    """Return a stream in pieces, empty ones among them."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)))))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


FRAGMENTS = [
    b"data",
    b"event",
    b":",
    b" ",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"data: x\n",
    b"[DONE]",
    b"id",
]
STREAMS = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4)).map(b"".join)


@given(split(STREAMS))
def test_any_split_of_a_stream_gives_the_same_events(pieces: list[bytes]) -> None:
    assert parse(*pieces) == parse(b"".join(pieces))


LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
TEXT = st.binary(max_size=6).map(lambda text: text.translate(None, b"\r\n"))


TYPES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=6).map(str.encode)


@given(st.lists(st.tuples(TYPES, st.lists(TEXT, min_size=1, max_size=3))), st.data())
def test_events_come_out_as_written_whatever_the_line_ends(
    written: list[tuple[bytes, list[bytes]]], data: st.DataObject
) -> None:
    lines: list[bytes] = []
    for kind, texts in written:
        lines += [b": a comment", b"id: 7", b"retry: 5", b"event: " + kind, *(b"data: " + text for text in texts), b""]
    stream, end = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])), b""
    for line in lines:
        # An LF right after a CR would be the same line end once more, not an empty line.
        glued = end == b"\r" and not line
        end = data.draw(LINE_ENDS.filter(b"\n".__ne__) if glued else LINE_ENDS)
        stream += line + end
    assert parse(stream) == [
        Event(kind or b"message", b"\n".join(texts), b": a comment\nid: 7\nretry: 5\nevent: " + kind + b"\n")
        for kind, texts in written
    ]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(b"message", b"a")]),
        (b"data:a\n\n", [(b"message", b"a")]),
        (b"data:  a\n\n", [(b"message", b" a")]),
        (b"data\n\n", [(b"message", b"")]),
        (b"data\ndata\n\n", [(b"message", b"\n")]),
        (b"data: a\ndata: b\n\n", [(b"message", b"a\nb")]),
        (b"data: a\n: between\ndata:b\n\n", [(b"message", b"a\nb", b": between\n")]),
        (b"event: add\ndata: 1\n\ndata: 2\n\n", [(b"add", b"1", b"event: add\n"), (b"message", b"2")]),
        (b"event: a\nevent:b\ndata\n\n", [(b"b", b"", b"event: a\nevent:b\n")]),
        (b"event: a\nevent\ndata\n\n", [(b"message", b"", b"event: a\nevent\n")]),
        (b"event: lost\n\ndata: a\n\n", [(b"lost", None, b"event: lost\n"), (b"message", b"a")]),
        (b"id: 1\nretry: 2\n\n", [(b"message", None, b"id: 1\nretry: 2\n")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"message", b"a")]),
        (b"\n\xef\xbb\xbfdata: a\n\n", []),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"\xef\xbbdata: a\n\n", []),
        (b": hello\n\n:\n\n", [(b"message", None, b": hello\n"), (b"message", None, b":\n")]),
        (b"DATA: a\ndatax: b\n data: c\nidx\n\n", []),
        (b"event: a\ndatax: b\n\ndata: c\n\n", [(b"a", None, b"event: a\n"), (b"message", b"c")]),
        (b"event: \xe9\n\ndata: c\n\n", [(b"message", b"c")]),
        (b"event: \xe9\ndata: c\n\n", [(b"message", b"c")]),
        (b"id\nretry\nevent\n:\n\n", [(b"message", None, b"id\nretry\nevent\n:\n")]),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", [(b"message", b"a"), (b"message", b"b"), (b"message", b"c")]),
        (b"data: a\n\r\ndata: b\r\n\n", [(b"message", b"a"), (b"message", b"b")]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data: a\r\n\r", [(b"message", b"a")]),
        (b"\n\n\r\r\r\n", []),
        (b"", []),
    ],
)  # fmt: skip
def test_streams_are_read_as_the_standard_says(
    stream: bytes, events: list[tuple[bytes, bytes | None] | tuple[bytes, bytes | None, bytes]]
) -> None:
    expected = [Event(*event) for event in events]
    assert parse(stream) == expected
    assert parse(*(stream[at : at + 1] for at in range(len(stream)))) == expected


PRINTABLE = re.compile(rb"[\t -~]*")


def by_the_standard(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Return types and data of a stream's events, by the letter of HTML section 9.2.6, but for types beyond ASCII."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events, kind, data = [], b"", b""
    for line in lines:
        field, colon, value = line.partition(b":")
        if not line:
            if data:
                events.append((kind or b"message", data.removesuffix(b"\n")))
            kind, data = b"", b""
        elif field:
            value = value.removeprefix(b" ") if colon else b""
            kind = value if field == b"event" and PRINTABLE.fullmatch(line) else kind
            data += value + b"\n" if field == b"data" else b""
    return events


@given(split(STREAMS))
def test_events_are_those_of_the_standards_algorithm(pieces: list[bytes]) -> None:
    found = [(event.type, event.data) for event in parse(*pieces) if event.data is not None]
    assert found == by_the_standard(b"".join(pieces))


@pytest.mark.parametrize(
    ("stream", "last"),
    [
        (b"data: a\n\n", None),
        (b"data: a", Event(b"message", b"a")),
        (b"data: a\n", Event(b"message", b"a")),
        (b"data: a\r", Event(b"message", b"a")),
        (b"event: x\ndata: a\ndat", Event(b"x", b"a", b"event: x\n")),
        (b": only", Event(b"message", None, b": only\n")),
        (b"\xef\xbb", None),
        (b"\xef\xbb\xbf", None),
        (b"", None),
    ],
)
def test_what_the_end_cut_off_can_be_had(stream: bytes, last: Event | None) -> None:
    parser = EventStreamParser()
    parser.feed(stream)
    assert parser.finish() == last
    assert parser.finish() is None


@given(split(STREAMS))
def test_what_the_end_cut_off_is_what_a_blank_line_would_have_ended(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    parser = EventStreamParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    last = parser.finish()
    assert [*events, *([last] if last else [])] == parse(
        stream + (b"\n\n" if stream.endswith(b"\r") else b"\n") + b"\n"
    )


@given(split(STREAMS))
def test_encoded_events_are_the_stream_again(pieces: list[bytes]) -> None:
    events = parse(*pieces)
    assert parse(b"".join(written(event, event.data) for event in events)) == events


@given(
    split(
        st.lists(st.sampled_from([*FRAGMENTS, b"forged", "\u2028".encode(), b"\x85", b"\x0b", b"Data"])).map(b"".join)
    )
)
def test_lines_without_data_hold_none_for_whoever_reads_less_strictly(pieces: list[bytes]) -> None:
    for event in parse(*pieces):
        passed_on = written(event, None).decode()
        lines = [line.strip().lower() for line in passed_on.removeprefix("\ufeff").splitlines()]
        assert not any(line.startswith("data") for line in lines)


def test_the_limit_of_one_event_counts_lines_that_are_not_kept_and_begins_again() -> None:
    assert parse(*[b"other: 4567\n\n"] * 100, limit=12) == []
    with pytest.raises(UpstreamProtocolError):
        parse(b"other: 4567\nother\n", limit=12)


@pytest.mark.parametrize(
    "data", [b'{"a":\n1}', b'{"a":\r\n1}', b'{"a":\r1}', b"\n", b"a\n\ndata: forged\n\n", b"a\r\rb"]
)
def test_line_breaks_in_data_make_no_event_of_their_own(data: bytes) -> None:
    as_read = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    others = b": c\nevent: x\n"
    assert parse(written(Event(b"x", b"", others), data)) == [Event(b"x", as_read, others)]
    assert parse(encode_event(data)) == [Event(b"message", as_read)]


def test_an_event_is_encoded_with_its_other_lines() -> None:
    (event,) = parse(b": c\r\nid:1\r\nevent:x\r\ndata:1\r\ndata:2\r\n\r\n")
    assert written(event, b"3") == b": c\nid:1\nevent:x\ndata: 3\n\n"
    assert written(event, None) == b": c\nid:1\nevent:x\n\n"


def test_comments_are_the_lines_that_begin_with_a_colon() -> None:
    (event,) = parse(b": a\nid: b\n:c\n:\ndata: : d\n\n")
    assert event.comments == [b": a", b":c", b":"]
    assert Event(b"x", b":").comments == []


def test_an_event_is_there_as_soon_as_its_last_line_ends() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: a\r\n\r") == [Event(b"message", b"a")]
    assert parser.feed(b"\ndata: b\n\n") == [Event(b"message", b"b")]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: 0123456789"],
        [b"data: 0123", b"456789"],
        [b"data: 0123456789\n\n"],
        [b"data: 01\n", b"data: 23\n"],
        [b"data\n"] * 10,
        [b":" * 20],
        [b":\n"] * 20,
        [b":\n" * 20],
        [b"event: 0123456789\n"],
    ],
    ids=[
        "a line",
        "a line in pieces",
        "a whole event",
        "several lines",
        "empty lines",
        "a comment",
        "comments",
        "comments at once",
        "a type",
    ],
)
def test_an_event_that_is_too_long_is_an_error(pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamProtocolError):
        parse(*pieces, limit=12)


def test_comments_beyond_all_need_are_an_error_and_data_of_that_length_is_none() -> None:
    room = 1024 * 1024
    assert len(parse(b": a\n" * 16_000 + b"\n", b"data: " + b"x" * 100_000 + b"\n\n", limit=room)) == 2
    with pytest.raises(UpstreamProtocolError):
        parse(b": a\n" * 17_000, limit=room)


@given(split(STREAMS), st.integers(0, 30))
def test_whether_an_event_is_too_long_does_not_depend_on_the_split(pieces: list[bytes], limit: int) -> None:
    def fails(given_pieces: list[bytes]) -> bool:
        try:
            parse(*given_pieces, limit=limit)
        except UpstreamProtocolError:
            return True
        return False

    assert fails(pieces) == fails([b"".join(pieces)])


def test_the_limit_is_of_one_event_and_not_of_the_stream() -> None:
    assert len(parse(*[b"data: 012345\n\n"] * 100, limit=12)) == 100


@given(st.binary().filter(lambda data: not set(data) & set(b"\r\n")), st.sampled_from([None, b"error"]))
def test_an_encoded_event_comes_back(data: bytes, kind: bytes | None) -> None:
    others = b"event: " + kind + b"\n" if kind else b""
    assert parse(encode_event(data, kind)) == [Event(kind or b"message", data, others)]


def test_many_short_lines_take_little_more_than_their_bytes() -> None:
    parser = EventStreamParser()
    tracemalloc.start()
    for _ in range(30):
        parser.feed(b":\n" * 1_000)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 5 * len(b":\n") * 30_000


def test_a_long_line_in_many_pieces_is_read_once() -> None:
    parser = EventStreamParser()
    before = time.process_time()
    for _ in range(8_000):
        parser.feed(b"x" * 1_000)
    assert time.process_time() - before < 5  # a minute and more, if each piece were searched with all before it


@pytest.mark.parametrize("stream", [b"data: 1\n\ndata: 2\ndata: 3\n\n", b"data: 1\nid: 7\n\n", b"data: 1\n\n: c\n\n"])
def test_a_piece_that_only_begins_like_plain_events_is_read_line_by_line(stream: bytes) -> None:
    begun = EventStreamParser()
    begun.feed(b"data: 0\n\n")
    line_by_line = EventStreamParser()
    line_by_line.feed(b"data: 0\n\n")
    assert begun.feed(stream) == [event for each in stream for event in line_by_line.feed(bytes([each]))]
