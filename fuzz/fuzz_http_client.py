"""Fuzz the HTTP client's parser against h11's.

Invariant: whatever bytes come, in whatever pieces, the parser raises `UpstreamProtocolError` or nothing, and where both
it and h11 find a complete answer, they find the same status, headers and body; where only h11 does, the parser has
passed on nothing but the beginning of that body.
"""

import atheris

with atheris.instrument_imports(include=["privity"]):
    from privity.errors import UpstreamProtocolError
    from privity.transport.http_client.parser import ResponseParser

import h11

from fuzz.harness import fuzz

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

SEEDS = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nt: x\r\n\r\n",
    b"HTTP/1.0 200 OK\r\na: b \r\n\r\nuntil the end",
    b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 304 Not\r\nconnection: close, x\r\ncontent-length: 5\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n2\r\nok\r\n0\r\n\r\n",
]


def parse(pieces: list[bytes], *, head_only: bool) -> tuple[Answer, bool]:
    """Return what the client finds, and whether it is complete: it may raise one error."""
    parser = ResponseParser(head_only=head_only)
    complete = True
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.feed_eof()
    except UpstreamProtocolError:
        complete = False
    return (parser.status, parser.headers, parser.take(parser.buffered)), complete


def parse_with_h11(data: bytes, *, head_only: bool) -> Answer | None:
    """Return the first complete answer that h11 finds, or None where it finds none."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="HEAD" if head_only else "GET", target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    status, headers, body = 0, list[tuple[bytes, bytes]](), b""
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


def normalised(answer: Answer) -> Answer:
    """Return `answer` with the one value that h11 writes in lower case in lower case."""
    status, headers, body = answer
    lowered = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in headers]
    return status, lowered, body


def test_one_input(data: bytes) -> None:
    """Check the invariant on one input: two bytes that say how to cut, and what comes from the peer."""
    if len(data) < 3:
        return
    head_only, step, raw = data[0] % 8 == 7, data[1] + 1, data[2:]
    pieces = [raw[start : start + step] for start in range(0, len(raw), step)]
    ours, complete = parse(pieces, head_only=head_only)
    whole, whole_complete = parse([raw], head_only=head_only)
    if complete != whole_complete or (complete and ours != whole):
        raise AssertionError(f"cutting matters: {ours} and {whole}")
    theirs = parse_with_h11(raw, head_only=head_only)
    if theirs is None:
        return
    if normalised(ours) != theirs if complete else not theirs[2].startswith(ours[2]):
        raise AssertionError(f"{ours} here, {theirs} in h11")


if __name__ == "__main__":
    cuts = (b"\0\x03", b"\0\xff")  # what `test_one_input` takes as its first two bytes
    fuzz(test_one_input, [cuts[number % 2] + seed for number, seed in enumerate(SEEDS)])
