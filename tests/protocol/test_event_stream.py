import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import UpstreamProtocolError
from privity.protocol.event_stream import Event, EventStreamParser, encode_event


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


@given(st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3))), st.data())
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
    assert parse(stream) == [Event(kind or b"message", b"\n".join(texts)) for kind, texts in written]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(b"message", b"a")]),
        (b"data:a\n\n", [(b"message", b"a")]),
        (b"data:  a\n\n", [(b"message", b" a")]),
        (b"data\n\n", [(b"message", b"")]),
        (b"data\ndata\n\n", [(b"message", b"\n")]),
        (b"data: a\ndata: b\n\n", [(b"message", b"a\nb")]),
        (b"event: add\ndata: 1\n\ndata: 2\n\n", [(b"add", b"1"), (b"message", b"2")]),
        (b"event: lost\n\ndata: a\n\n", [(b"message", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"message", b"a")]),
        (b"\n\xef\xbb\xbfdata: a\n\n", []),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b": hello\n\n:\n\n", []),
        (b"DATA: a\ndatax: b\n data: c\n\n", []),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", [(b"message", b"a"), (b"message", b"b"), (b"message", b"c")]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data: a\r\n\r", [(b"message", b"a")]),
        (b"", []),
    ],
)  # fmt: skip
def test_streams_are_read_as_the_standard_says(stream: bytes, events: list[tuple[bytes, bytes]]) -> None:
    assert parse(stream) == [Event(*event) for event in events]


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
        [b"event: 0123456789\n"],
    ],
    ids=["a line", "a line in pieces", "a whole event", "several lines", "empty lines", "a comment", "a type"],
)
def test_an_event_that_is_too_long_is_an_error(pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamProtocolError):
        parse(*pieces, limit=12)


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
    assert parse(encode_event(data, kind)) == [Event(kind or b"message", data)]
