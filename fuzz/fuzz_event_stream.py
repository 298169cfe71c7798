"""Invariant: however a stream is cut into pieces, the parser gives the same events, or refuses an over-long one.

And events that are encoded again are the same events.
"""

import atheris

with atheris.instrument_imports(include=["privity"]):
    from privity.errors import UpstreamProtocolError
    from privity.protocol.event_stream import Event, EventStreamParser
    from privity.testing.events import written

from fuzz.harness import fuzz

LIMIT = 64
"""Bytes of an event: small, so that the fuzzer meets it."""

SEEDS = (b"data: a\n\n", b"event: x\r\ndata:b\r\rdata\n\n", b"\xef\xbb\xbf: c\ndata: [DONE]\n\n")


def parse(pieces: list[bytes]) -> list[Event] | None:
    """Return the events, None where the stream is refused."""
    parser = EventStreamParser(LIMIT)
    try:
        events = [event for piece in pieces for event in parser.feed(piece)]
    except UpstreamProtocolError:
        return None
    last = parser.finish()
    return events if last is None else [*events, last]


def one_input(data: bytes) -> None:
    """Check the invariant for one input: its first byte says how long the pieces are."""
    if not data:
        return
    size, stream = data[0] % 7 + 1, data[1:]
    small = parse([stream[start : start + size] for start in range(0, len(stream), size)])
    single = parse([stream[start : start + 1] for start in range(len(stream))])
    if small is not None and single is not None and small != single:
        raise AssertionError("pieces change the events")
    if len(stream) <= LIMIT and None in (small, single, parse([stream])):
        raise AssertionError("a short stream is refused")
    if len(stream) <= LIMIT and parse([stream]) != single:
        raise AssertionError("pieces change the events")
    if single is not None:
        check_encoding(single)


def check_encoding(events: list[Event]) -> None:
    """Check that events that are encoded again are the same."""
    if EventStreamParser().feed(b"".join(written(event, event.data) for event in events)) != events:
        raise AssertionError("encoded events are others")


if __name__ == "__main__":
    fuzz(one_input, [b"\0" + seed for seed in SEEDS])
