import io
import json
import secrets
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import DecryptionError
from privity.protocol.bodies import Turn, open_fields, seal_object, turn_fields
from privity.protocol.ending import Ending
from privity.protocol.endpoints import Endpoint, Form, endpoint_of
from privity.protocol.event_stream import Event, EventStreamParser
from privity.protocol.exchange import Opener, Sealer, addressed_to
from privity.protocol.fields import Fields, scan
from privity.protocol.secret import Secret
from privity.testing.events import written

TESTS = Path(__file__).parents[1]
FIELD_VECTORS = json.loads((TESTS / "vectors" / "json_fields.json").read_bytes())
STREAM_VECTORS = json.loads((TESTS / "vectors" / "sse_stream.json").read_bytes())
CAPTURE = json.loads((TESTS / "captures" / "deployed-proxy.json").read_bytes())
SECRET = Secret("id", bytes(range(32)))
NONCE = bytes(12)
PLAIN = frozenset({"model", "n"})

SPACE = st.text(" \t\r\n", max_size=2)
NAMES = st.text(st.characters(exclude_categories=()), max_size=5) | st.sampled_from(
    ["", "|", "a|b", "a.b", "a\\.b", "\\", '"', "model", "n", "\ud800", "\udfffx", "é", "\U0001f642", "\x00", "@x", "0"]
)


def no_ending() -> Ending:
    return Ending("")


class Numbering:
    """Gives each of its values `"E<k>"`, as the vectors do."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def __call__(self, values: Sequence[bytes]) -> list[bytes]:
        first = len(self.values)
        self.values += values
        return [b'"E%d"' % number for number in range(first, len(self.values))]


def texts(text: str) -> st.SearchStrategy[str]:
    """Return the spellings of a JSON string."""
    plain = json.dumps(text, ensure_ascii=False)
    spellings = [json.dumps(text), "".join(f"\\u{unit:04X}" for unit in _units(text)).join('""')]
    return st.sampled_from(spellings if any("\ud800" <= each <= "\udfff" for each in text) else [plain, *spellings])


def _units(text: str) -> list[int]:
    encoded = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[start : start + 2], "big") for start in range(0, len(encoded), 2)]


def counted(name: str) -> str:
    """Return a name as it counts: a surrogate that stands alone is U+FFFD."""
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@st.composite
def values(draw: st.DrawFn, canary: str = "") -> str:
    text = draw(texts(canary + draw(st.text(max_size=4))))
    number = draw(st.sampled_from(["0.70", "1e5", "-0", "9" * 29, "null", "true"]))
    return draw(
        st.sampled_from(
            [
                text,
                f"[{text}]",
                f'{{"x":{text},"x":[{number} , {text}]}}',
                f" {text}".strip(),
                f"[ {text},\r\n{number} ]",
            ]
            + ([] if canary else [number, "[]", "{}", "{ }", '""'])
        )
    )


@st.composite
def objects(draw: st.DrawFn, canary: str = "") -> bytes:
    names = draw(st.lists(NAMES, max_size=6, unique_by=counted))
    members = [
        draw(SPACE) + draw(texts(name)) + draw(SPACE) + ":" + draw(SPACE) + draw(values(canary)) + draw(SPACE)
        for name in names
    ]
    return (draw(SPACE) + "{" + (",".join(members) or draw(SPACE)) + "}" + draw(SPACE)).encode()


def seal(body: bytes, plain: Collection[str] = PLAIN, **added: bytes) -> bytes:
    return turn_fields(scan(body), plain, Sealer(SECRET, NONCE).seal_all, no_ending(), **added)


def opens(body: bytes, plain: Collection[str] = PLAIN) -> bytes:
    return open_fields(body, plain, Opener(SECRET, NONCE).open_all, no_ending())


@given(objects())
def test_any_object_comes_back_byte_for_byte(body: bytes) -> None:
    sealed = seal(body)
    assert opens(sealed) == body
    assert scan(sealed).names == scan(body).names


@given(st.lists(values(), max_size=12), SPACE)
def test_any_array_comes_back_byte_for_byte(elements: list[str], space: str) -> None:
    body = f"{space}[{space}{f'{space},{space}'.join(elements)}{space}]{space}".encode()
    assert opens(seal(body)) == body


CANARY = secrets.token_hex(12)


@given(objects(CANARY))
def test_nothing_of_what_is_not_plain_can_be_seen_in_a_sealed_body(body: bytes) -> None:
    fields, sealed = scan(body), scan(seal(body))
    for name, value, turned in zip(fields.names, fields.values, sealed.values, strict=True):
        if name in PLAIN:
            assert turned == value
        else:
            assert addressed_to(turned) == (SECRET.id, NONCE)
    assert CANARY.encode() not in b"".join(
        turned for name, turned in zip(sealed.names, sealed.values, strict=True) if name not in PLAIN
    )
    if not PLAIN & set(fields.names):
        assert CANARY.encode() not in seal(body)


@given(objects())
def test_values_are_encrypted_in_the_byte_order_of_their_names(body: bytes) -> None:
    fields, order = scan(body), Numbering()
    turned = scan(turn_fields(fields, PLAIN, order, no_ending()))
    by_name = sorted(
        (name.encode(), value) for name, value in zip(fields.names, fields.values, strict=True) if name not in PLAIN
    )
    assert order.values == [value for _, value in by_name]
    for number, (name, _) in enumerate(by_name):
        assert turned.get(name.decode()) == b'"E%d"' % number


def test_elements_are_encrypted_in_the_byte_order_of_their_decimal_indices() -> None:
    order = Numbering()
    turn_fields(scan(json.dumps(list(range(12))).encode()), {"0", "1"}, order, no_ending())
    assert order.values == [b"0", b"1", b"10", b"11", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"]


def test_an_escaped_name_is_the_name_that_it_spells() -> None:
    body = rb'{"\u006dodel":"m","mode\u006c2":1}'
    assert seal(body).startswith(rb'{"\u006dodel":"m","mode\u006c2":"id:')


@pytest.mark.parametrize("body", [b"{}", b' { "model" : "m" } ', b'{"z":1}', b'{"a":1,"z":2}'])
def test_an_added_member_comes_last_and_is_encrypted_at_its_place(body: bytes) -> None:
    order = Numbering()
    turned = scan(turn_fields(scan(body), PLAIN, order, no_ending(), cache_salt=b'"salt"'))
    assert turned.names == [*scan(body).names, "cache_salt"]
    opened = scan(opens(seal(body, cache_salt=b'"salt"')))
    assert (opened.names, opened.values) == (turned.names, [*scan(body).values, b'"salt"'])
    place = sorted(name for name in turned.names if name not in PLAIN).index("cache_salt")
    assert turned.get("cache_salt") == b'"E%d"' % place


@given(objects(), st.data())
def test_a_sealed_body_with_any_change_is_refused_or_the_same(body: bytes, data: st.DataObject) -> None:
    sealed = seal(body)
    encrypted = [name for name in scan(body).names if name not in PLAIN]
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:place] + data.draw(st.binary(max_size=2)) + sealed[place + data.draw(st.integers(0, 2)) :]
    try:
        opened = scan(opens(changed))
    except DecryptionError:
        return
    # What the protocol leaves open without an end: names, what is plain, white space, and whether the last is there.
    kept = [value for name, value in sorted(zip(opened.names, opened.values, strict=True)) if name not in PLAIN]
    before = dict(zip(scan(body).names, scan(body).values, strict=True))
    assert kept == [before[name] for name in sorted(encrypted)][: len(kept)]


@given(st.lists(st.sampled_from("abcdef"), min_size=2, unique=True), st.data())
def test_swapped_and_repeated_and_dropped_values_are_refused(names: list[str], data: st.DataObject) -> None:
    fields = scan(seal(json.dumps({name: name for name in names}).encode()))
    picked = data.draw(st.lists(st.sampled_from(fields.values), min_size=len(names), max_size=len(names)))
    if picked != fields.values:
        with pytest.raises(DecryptionError):
            opens(fields.with_values(picked))
    first = min(names)
    rest = {name: value for name, value in zip(fields.names, fields.values, strict=True) if name != first}
    with pytest.raises(DecryptionError):
        opens(b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in rest.items()) + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1}',
        b'{"a":"text"}',
        b'{"a":null}',
        b'{"a":[]}',
        b'{"":""}',
        b'{"Model":"m"}',
        b'{"model ":"m"}',
        b"[1]",
        b"no JSON",
        b"",
        b'{"model":1,"model":2}',
        b'"E0"',
    ],
)
def test_a_body_with_something_plain_that_should_not_be_is_refused(body: bytes) -> None:
    with pytest.raises(DecryptionError):
        opens(body)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"model":"m"}', b' { "n" : 1 , "model" : "m" } '])
def test_a_body_that_may_be_plain_passes_unchanged(body: bytes) -> None:
    assert seal(body) == body == opens(body)


def test_an_arrays_elements_are_never_plain() -> None:
    with pytest.raises(DecryptionError):
        open_fields(b"[1]", {"0"}, Opener(SECRET, NONCE).open_all, no_ending())


@given(st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_an_object_of_python_values_is_sealed_like_its_json(members: dict[str, Any]) -> None:
    sealed = seal_object(members, PLAIN, Sealer(SECRET, NONCE).seal_all, no_ending())
    assert json.loads(opens(sealed)) == members
    body = json.dumps(members, ensure_ascii=False).encode()
    ours, theirs = Numbering(), Numbering()
    assert scan(seal_object(members, PLAIN, ours, no_ending())).names == scan(body).names
    turn_fields(scan(body), PLAIN, theirs, no_ending())
    assert [json.loads(value) for value in ours.values] == [json.loads(value) for value in theirs.values]


def plain_of(vector: dict[str, Any]) -> set[str]:
    paths = vector["plain_fields"] or []
    assert all(len(path) == 1 for path in paths)
    return {path[0] for path in paths}


@pytest.mark.parametrize("vector", FIELD_VECTORS)
def test_the_fields_of_a_vector_are_sealed_in_its_order(vector: dict[str, Any]) -> None:
    order = Numbering()

    def turn() -> bytes:
        return open_fields(vector["input"].encode(), plain_of(vector), order, no_ending())

    if vector["error"]:
        with pytest.raises(DecryptionError):
            turn()
        return
    assert turn() == vector["output"].encode()
    if "values_in_order" in vector:
        assert order.values == [value.encode() for value in vector["values_in_order"] or []]


@pytest.mark.parametrize("vector", FIELD_VECTORS)
def test_the_selector_of_a_vector_is_an_endpoints_list(vector: dict[str, Any]) -> None:
    lists = {
        "chat_request": endpoint("/v1/chat/completions").plain_request,
        "chat_response": endpoint("/v1/chat/completions").plain_answer,
        "embeddings_request": endpoint("/v1/embeddings").plain_request,
        "transcription_response": endpoint("/v1/audio/transcriptions").plain_answer,
        "none": endpoint("/unstructured/").plain_answer,
    }
    assert lists[vector["selector"]] == plain_of(vector)


def turned_stream(stream: bytes, turn: Turn, plain: Collection[str]) -> bytes:
    """Return an event stream with the members of its events sealed or opened."""
    parser = EventStreamParser()
    events = [*parser.feed(stream), parser.finish()]
    return b"".join(encoded(event, turn, plain) for event in events if event is not None)


def encoded(event: Event, turn: Turn, plain: Collection[str]) -> bytes:
    if event.data in (None, b"[DONE]"):
        return written(event, event.data)
    return written(event, open_fields(event.data or b"", plain, turn, no_ending()))


@pytest.mark.parametrize("vector", STREAM_VECTORS)
def test_the_events_of_a_vector_are_sealed_in_its_order(vector: dict[str, Any]) -> None:
    assert not vector["error"]
    plain = endpoint("/v1/chat/completions").plain_answer
    assert turned_stream(vector["input"].encode(), Numbering(), plain) == vector["output"].encode()


@pytest.mark.parametrize("vector", STREAM_VECTORS)
def test_the_events_of_a_vector_come_back(vector: dict[str, Any]) -> None:
    plain = endpoint("/v1/chat/completions").plain_answer
    sealed = turned_stream(vector["input"].encode(), Sealer(SECRET, NONCE).seal_all, plain)
    again = turned_stream(sealed, Opener(SECRET, NONCE).open_all, plain)
    assert again == turned_stream(vector["input"].encode(), list, plain)


@given(
    st.lists(objects() | st.sampled_from([b"[DONE]", b": a comment"]), max_size=4),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.data(),
)
def test_a_sealed_stream_comes_back_however_it_is_split(
    written: list[bytes], line_end: bytes, data: st.DataObject
) -> None:
    stream = b"".join(
        (line if line.startswith(b":") else b"data: " + line.replace(b"\r", b" ").replace(b"\n", line_end + b"data:"))
        + line_end * 2
        for line in written
    )
    sealed = turned_stream(stream, Sealer(SECRET, NONCE).seal_all, PLAIN)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sealed)), max_size=5)))
    parser, opener = EventStreamParser(), Opener(SECRET, NONCE)
    opened = b"".join(
        encoded(event, opener.open_all, PLAIN)
        for start, end in zip([0, *cuts], [*cuts, len(sealed)], strict=True)
        for event in parser.feed(sealed[start:end])
    )
    assert opened == turned_stream(stream, list, PLAIN)
    assert parser.finish() is None


def endpoint(path: str) -> Endpoint:
    found = endpoint_of(path)
    assert found is not None
    return found


def captured(form: Form) -> list[Any]:
    """Return what was recorded for endpoints of a form: case and request that reached the gateway."""
    return [
        pytest.param(case, upstream, id=f"{case['name']} {number}")
        for case in CAPTURE["cases"]
        for number, upstream in enumerate(case["upstream"])
        if (known := endpoint_of(upstream["path"])) is not None and known.form is form
    ]


def agreed_secrets() -> dict[str, Secret]:
    calls = [*CAPTURE["start"], *(upstream for case in CAPTURE["cases"] for upstream in case["upstream"])]
    agreed = [call["agreed"] for call in calls if "agreed" in call]
    return {each["secret_id"]: Secret(each["secret_id"], bytes.fromhex(each["secret_hex"])) for each in agreed}


def exchange_of(encrypted: bytes) -> tuple[Secret, bytes]:
    """Return the secret and the nonce of a value."""
    secret_id, nonce = addressed_to(encrypted)
    return agreed_secrets()[secret_id], nonce


def request_fields(upstream: dict[str, Any]) -> tuple[Fields, Fields, Secret, bytes]:
    """Return a recorded request sealed and opened, with its exchange."""
    body, plain = upstream["body"].encode("latin-1"), endpoint(upstream["path"]).plain_request
    sealed = scan(body)
    secret, nonce = exchange_of(
        next(value for name, value in zip(sealed.names, sealed.values, strict=True) if name not in plain)
    )
    return sealed, scan(open_fields(body, plain, Opener(secret, nonce).open_all, no_ending())), secret, nonce


def is_encrypted(upstream: dict[str, Any]) -> bool:
    return ["Privatemode-Encrypted", "false"] not in upstream["response"]["headers"]


@pytest.mark.parametrize(("case", "upstream"), captured(Form.JSON))
def test_captured_json_requests_open_to_what_the_app_sent(case: dict[str, Any], upstream: dict[str, Any]) -> None:
    sealed, opened, _, _ = request_fields(upstream)
    members = dict(zip(opened.names, opened.values, strict=True))
    asked = scan(case["app_request"]["body"].encode("latin-1"))
    assert sealed.names == opened.names
    for name, value in zip(asked.names, asked.values, strict=True):
        assert members[name] == value
    if "decrypted" in upstream:
        plain, encrypted = upstream["decrypted"]["plain"], upstream["decrypted"]["members"]
        assert {name: json.loads(members.pop(name)) for name in plain} == plain
        assert {name: value.decode() for name, value in members.items()} == encrypted
        assert sorted(encrypted) == upstream["decrypted"]["order"]


@pytest.mark.parametrize(("case", "upstream"), captured(Form.JSON))
def test_captured_json_requests_are_what_we_would_have_sent(case: dict[str, Any], upstream: dict[str, Any]) -> None:
    sealed, opened, secret, nonce = request_fields(upstream)
    asked = scan(case["app_request"]["body"].encode("latin-1"))
    plain = endpoint(upstream["path"]).plain_request
    in_order = sorted(
        (name, value) for name, value in zip(sealed.names, sealed.values, strict=True) if name not in plain
    )
    ivs = io.BytesIO(b"".join(bytes.fromhex(value.split(b":")[2].decode()) for _, value in in_order))
    added = {name: value for name, value in zip(opened.names, opened.values, strict=True) if name not in asked.names}
    ours = turn_fields(asked, plain, Sealer(secret, nonce, ivs.read).seal_all, no_ending(), **added)
    assert (scan(ours).names, scan(ours).values) == (sealed.names, sealed.values)


@pytest.mark.parametrize(("case", "upstream"), captured(Form.JSON))
def test_captured_answers_open_to_what_the_app_got(case: dict[str, Any], upstream: dict[str, Any]) -> None:
    _, _, secret, nonce = request_fields(upstream)
    answer, got = upstream["response"]["body"].encode("latin-1"), case["app_response"]["body"].encode("latin-1")
    plain, opener = endpoint(upstream["path"]).plain_answer, Opener(secret, nonce)
    if not is_encrypted(upstream):
        with pytest.raises(DecryptionError):
            open_fields(answer, plain, opener.open_all, no_ending())
    elif upstream["response"]["content_type"] == "text/event-stream":
        events, expected = EventStreamParser().feed(answer), EventStreamParser().feed(got)
        assert len(events) == len(expected) > 1
        for event, app_event in zip(events, expected, strict=True):
            assert EventStreamParser().feed(encoded(event, opener.open_all, plain)) == [app_event]
    else:
        assert open_fields(answer, plain, opener.open_all, no_ending()) == got


@pytest.mark.parametrize(("case", "upstream"), captured(Form.WHOLE))
def test_captured_whole_bodies_open_to_what_the_app_sent_and_got(
    case: dict[str, Any], upstream: dict[str, Any]
) -> None:
    body = upstream["body"].encode("latin-1")
    secret, nonce = exchange_of(body)
    opened = Opener(secret, nonce).open(body)
    assert opened == case["app_request"]["body"].encode("latin-1")
    assert opened.decode("latin-1") == upstream["decrypted"]["body"]
    answer, got = upstream["response"]["body"].encode("latin-1"), case["app_response"]["body"].encode("latin-1")
    plain = endpoint(upstream["path"]).plain_answer
    assert open_fields(answer, plain, Opener(secret, nonce).open_all, no_ending()) == got
    assert json.loads(got) == upstream["answer_plain"]


def test_the_capture_has_cases_of_every_form() -> None:
    assert all(captured(form) for form in Form)
