"""What the deployed implementation gets wrong, item by item (wire-protocol.md section 5, "Better")."""

import pytest

from privity.errors import InvalidRequestError, UpstreamProtocolError
from privity.protocol.bodies import open_fields, turn_fields
from privity.protocol.ending import Ending
from privity.protocol.event_stream import EventStreamParser
from privity.protocol.exchange import Opener, Sealer
from privity.protocol.fields import scan
from privity.protocol.secret import Secret

SECRET = Secret("id", bytes(range(32)))
NONCE = bytes(12)
CHUNK = b'{"id":"1","choices":[{"delta":{"content":"Hi"}}]}'


def sealed(body: bytes) -> bytes:
    return turn_fields(scan(body), {"model"}, Sealer(SECRET, NONCE).seal_all, Ending(""))


def data_of(*pieces: bytes) -> list[bytes]:
    parser = EventStreamParser()
    return [event.data for piece in pieces for event in parser.feed(piece) if event.data is not None]


@pytest.mark.parametrize(
    "body",
    [b'{"a":1,"a":2}', b'{"a":"canary","b":0,"a":"canary"}', b'{"model":"m","model":"m"}', rb'{"a":1,"\u0061":2}'],
)
def test_no_member_may_escape_encryption_repeated_names_are_refused_with_400(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        sealed(body)
    assert (caught.value.status, caught.value.code) == (400, "repeated_member")


@pytest.mark.parametrize(
    "name", ["|", "a|b", "model|x", "|model", "a.b", "model.x", "@this", "@this|@ugly", "*", "#", "!"]
)
def test_no_member_may_escape_encryption_whatever_its_name(name: str) -> None:
    body = f'{{"model":"m","{name}":"canary"}}'.encode()
    assert b"canary" not in sealed(body)
    assert open_fields(sealed(body), {"model"}, Opener(SECRET, NONCE).open_all, Ending("")) == body


def test_no_member_may_escape_encryption_the_empty_name_included() -> None:
    body = b'{"":"canary","model":"m"}'
    assert b"canary" not in sealed(body)
    assert open_fields(sealed(body), {"model"}, Opener(SECRET, NONCE).open_all, Ending("")) == body


def test_event_streams_data_without_the_space() -> None:
    assert data_of(b"data:" + CHUNK + b"\n\n") == [CHUNK]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_event_streams_crlf(line_end: bytes) -> None:
    stream = line_end.join([b"event: x", b"data: " + CHUNK, b"", b"data: [DONE]", b"", b""])
    assert data_of(stream) == [CHUNK, b"[DONE]"]


def test_event_streams_comments() -> None:
    stream = b": OPENROUTER PROCESSING\n\n:\ndata: " + CHUNK + b"\n: in between\n\n:data: no\n\n"
    assert data_of(stream) == [CHUNK]


def test_event_streams_several_data_lines() -> None:
    first, second = CHUNK.split(b",")
    (data,) = data_of(b"data: " + first + b",\ndata:" + second + b"\n\n")
    assert data == first + b",\n" + second
    assert scan(data).names == ["id", "choices"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_event_streams_split_anywhere(line_end: bytes) -> None:
    stream = line_end.join([b"\xef\xbb\xbfevent: x", b"data: " + CHUNK, b"", b"data: [DONE]", b"", b""])
    for cut in range(len(stream) + 1):
        assert data_of(stream[:cut], stream[cut:]) == [CHUNK, b"[DONE]"]
    assert data_of(*(stream[at : at + 1] for at in range(len(stream)))) == [CHUNK, b"[DONE]"]


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1, 1024 * 1024])
def test_event_streams_lines_over_64_kib(size: int) -> None:
    data = b'{"choices":"' + b"x" * size + b'"}'
    stream = b"data: " + data + b"\n\ndata: [DONE]\n\n"
    assert data_of(stream) == [data, b"[DONE]"]
    assert data_of(*(stream[at : at + 4096] for at in range(0, len(stream), 4096))) == [data, b"[DONE]"]


def test_event_streams_lines_are_bounded_by_configuration() -> None:
    with pytest.raises(UpstreamProtocolError):
        EventStreamParser(64 * 1024).feed(b"data: " + b"x" * 64 * 1024)
