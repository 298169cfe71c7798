"""What a gateway can do to event streams, defect by defect (see `adversary`)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from privity.http import header
from privity.protocol.ending import COMMENT, HEADER
from privity.protocol.event_stream import Event, EventStreamParser
from privity.testing.adversary import (
    JSON,
    MADE_UP,
    PLAIN,
    Defect,
    Pairs,
    Passing,
    Seen,
    alter_plain,
    as_array,
    flip,
    instead,
    other_status,
    rename_last,
    rewrite,
    sealed_places,
    values_of,
    with_pairs,
)
from privity.testing.events import written

_DONE = Event(b"message", b"[DONE]")
_STOP = Event(b"message_stop", b'{"type":"message_stop"}', b"event: message_stop\n")

Events = list[Event]


def _split(body: bytes) -> Events:
    return EventStreamParser().feed(body)


def _joined(events: Sequence[Event]) -> bytes:
    return b"".join(written(event, event.data) for event in events)


def _stream(change: Callable[[Events, Seen], Events]) -> Defect:
    return lambda seen: replace(seen.answer, body=_joined(change(_split(seen.answer.body), seen)))


def _data(events: Events) -> list[int]:
    """Return where the events with data are, the last one left out."""
    return [place for place, event in enumerate(events) if event.data is not None][:-1]


def _is_end(event: Event) -> bool:
    return event.data is None and event.others.startswith(COMMENT)


def _until(place: int, events: Events, *further: Event) -> Events:
    return [*events[: _data(events)[place] + 1], *further]


def _last_like(events: Events) -> Event:
    return _STOP if events[-1].type == b"message_stop" else _DONE


def _typed(event: Event, event_type: bytes) -> Event:
    return replace(event, type=event_type, others=b"event: " + event_type + b"\n")


def _made_up(events: Events) -> Event:
    if events[-1].type == b"message_stop":
        text = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"made up"}}'
        return _typed(Event(b"", text), b"content_block_delta")
    return Event(b"message", b'{"id":"c1","choices":[{"index":0,"delta":{"content":"made up"}}]}')


def _plain_alone(events: Events) -> Event:
    if events[-1].type == b"message_stop":
        return _typed(Event(b"", b'{"type":"message_delta","usage":{"output_tokens":9}}'), b"message_delta")
    return Event(b"message", b'{"id":"c1","usage":{"total_tokens":9}}')


def _at(place: int, events: Events, alter: Callable[[Event], Event]) -> Events:
    chosen = _data(events)[place]
    return [alter(event) if index == chosen else event for index, event in enumerate(events)]


def _in_event(place: int, events: Events, change: Callable[[Pairs], Pairs]) -> Events:
    return _at(place, events, lambda event: replace(event, data=with_pairs(event.data or b"{}", change)))


def _exchanged(place: int, events: Events, further: int = 1) -> Events:
    one, other = _data(events)[place], _data(events)[place + further]
    changed = list(events)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def _moved_end(events: Events, place: int) -> Events:
    ends = [event for event in events if _is_end(event)]
    others = [event for event in events if not _is_end(event)]
    return [*others[:place], *ends, *others[place:]] if place >= 0 else [*others, *ends]


def _other_end(events: Events, end: bytes | None) -> Events:
    comment = Event(b"message", None, COMMENT + (end or b"") + b"\n")
    return [comment if _is_end(event) else event for event in events]


def _end_in(body: bytes) -> bytes | None:
    ends = [event.others[len(COMMENT) : -1] for event in _split(body) if _is_end(event)]
    return ends[0] if ends else None


_STREAM: dict[str, Defect] = {
    "drop only the last event": _stream(lambda events, _: events[:-1]),
    "only the last event": _stream(lambda events, _: events[-1:]),
    "an event after the end": _stream(lambda events, seen: [*events[:-1], _split(seen.again.body)[0], events[-1]]),
    "insert an old event": _stream(lambda events, seen: [events[0], _split(seen.before.body)[1], *events[1:]]),
    "an old event first": _stream(lambda events, seen: [_split(seen.before.body)[0], *events]),
    "insert a plain event": _stream(lambda events, _: [events[0], _made_up(events), *events[1:]]),
    "a plain event before the last": _stream(lambda events, _: [*events[:-1], _made_up(events), events[-1]]),
    "insert a last event": _stream(lambda events, _: [*events[:2], _last_like(events), *events[2:]]),
    "an OpenAI end for Anthropic, and the reverse": _stream(
        lambda events, _: [*events[:-1], _STOP if _last_like(events) is _DONE else _DONE]
    ),
    "alter the usage": _stream(
        lambda events, _: _at(
            -1,
            events,
            lambda event: replace(
                event, data=with_pairs(event.data or b"", partial(alter_plain, "usage", b'{"total_tokens":9999}'))
            ),
        )
    ),
    "a plain value in a value's place": _stream(
        lambda events, _: _in_event(1, events, partial(rewrite, lambda _: b'"made up"'))
    ),
    "a value of the request in a value's place": _stream(
        lambda events, seen: _in_event(0, events, partial(rewrite, lambda _: values_of(seen.request)[0]))
    ),
    "rename a value": _stream(lambda events, _: _in_event(1, events, rename_last)),
    "make an array of an event": _stream(
        lambda events, _: _at(1, events, lambda event: replace(event, data=as_array(event.data or b"{}")))
    ),
    "insert an event of plain members alone": _stream(lambda events, _: [events[0], _plain_alone(events), *events[1:]]),
    "an event whose data says error and its type does not, and cut": _stream(
        lambda events, _: _until(1, _in_event(1, events, partial(alter_plain, "type", b'"error"')))
    ),
    "an empty error, and cut": _stream(
        lambda events, _: _until(1, _in_event(1, events, lambda pairs: [*pairs, ("error", b"0")]))
    ),
    "strip the end": _stream(lambda events, _: [event for event in events if not _is_end(event)]),
    "the end first": _stream(lambda events, _: _moved_end(events, 0)),
    "the end before the last but one": _stream(lambda events, _: _moved_end(events, len(events) - 3)),
    "the end last": _stream(lambda events, _: _moved_end(events, -1)),
    "an old end": _stream(lambda events, seen: _other_end(events, _end_in(seen.before.body))),
    "the end of the request": _stream(lambda events, seen: _other_end(events, header(seen.request.headers, HEADER))),
    "the end of another answer to one request": _stream(
        lambda events, seen: _other_end(events, _end_in(seen.again.body))
    ),
    "nothing": instead(b""),
    "an old answer to the same request": lambda seen: seen.before,
    "an old answer to another request": lambda seen: seen.other,
    "claim to be plain": lambda seen: replace(seen.answer, headers=[*seen.answer.headers, PLAIN]),
    "another status": other_status,
    "no content": lambda seen: replace(seen.answer, status=206),
    "JSON instead": lambda seen: Passing(200, [JSON], _split(seen.answer.body)[0].data or b""),
    "a made-up answer that claims to be plain": instead(MADE_UP, JSON, PLAIN, status=200),
    "an endless line": instead(b"data: " + bytes(17 * 1024 * 1024)),
}


def stream_defects(events: int) -> dict[str, Defect]:
    """Return the defects of a stream with that many events before its last one."""
    each: dict[str, Callable[[int], Callable[[Events, Seen], Events]]] = {
        "drop": lambda k: lambda events, _: [e for at, e in enumerate(events) if at != _data(events)[k]],
        "repeat": lambda k: lambda events, _: [*_until(k, events), *events[_data(events)[k] :]],
        "cut after": lambda k: lambda events, _: _until(k, events),
        "forge the last event after": lambda k: lambda events, _: _until(k, events, _last_like(events)),
        "flip a bit in": lambda k: (
            lambda events, _: _in_event(
                k,
                events,
                lambda pairs: rewrite(lambda v: flip(len(v) - 2, v), pairs) if sealed_places(pairs) else pairs,
            )
        ),
        "alter the type of": lambda k: lambda events, _: _at(k, events, lambda e: _typed(e, b"thread.message")),
        "drop the type of": lambda k: lambda events, _: _at(k, events, lambda e: Event(b"message", e.data)),
        "take from another answer": lambda k: (
            lambda events, seen: _at(k, events, lambda _: _split(seen.again.body)[_data(_split(seen.again.body))[k]])
        ),
    }
    defects = {f"{name} event {k}": _stream(change(k)) for name, change in each.items() for k in range(events)}
    for k in range(events - 1):
        defects[f"swap the events {k} and {k + 1}"] = _stream(lambda events, _, k=k: _exchanged(k, events))  # type: ignore[misc]  # k is a default
        defects[f"drop all between event {k} and the end"] = _stream(
            lambda events, _, k=k: [*_until(k, events), *events[_data(events)[-1] + 1 :]]  # type: ignore[misc]
        )
    for k in range(events):
        defects[f"cut in the middle of event {k}"] = partial(_cut_within, k)
    return _STREAM | defects


def _cut_within(place: int, seen: Seen) -> Passing:
    events = _split(seen.answer.body)
    before, cut = _joined(events[: _data(events)[place]]), _joined(events[: _data(events)[place] + 1])
    return replace(seen.answer, body=cut[: (len(before) + len(cut)) // 2])
