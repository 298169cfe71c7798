"""Events of a stream, put together again as they were taken apart."""

from privity.protocol.event_stream import Event, encode_event


def written(event: Event, data: bytes | None) -> bytes:
    """Return the bytes of an event with other data, after its other lines; without data it is comments alone."""
    return event.others + (b"\n" if data is None else encode_event(data))
