import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import DecryptionError, InvalidRequestError
from privity.protocol.bodies import open_fields
from privity.protocol.ending import Ending
from privity.protocol.endpoints import Endpoint, Form, endpoint_of
from privity.protocol.exchange import PIECE_BYTES, Opener, Sealer, addressed_to
from privity.protocol.multipart import (
    MAX_PARTS,
    Part,
    as_boolean,
    content_type,
    encode_form,
    parse_form,
    seal_form,
    turn_parts,
)
from privity.protocol.secret import Secret

CAPTURE = json.loads((Path(__file__).parents[1] / "captures" / "deployed-proxy.json").read_bytes())
SECRET = Secret("id", bytes(range(32)))
NONCE = bytes(12)
BOUNDARY = b"B"
TYPE = content_type(BOUNDARY)
NO_NAME = re.compile(r'[\r\n\x00"\\]')

NAMES = st.text(min_size=1, max_size=8).filter(lambda name: not NO_NAME.search(name)) | st.sampled_from(
    ["model", "stream", "file", "a;b", "a; filename=x", "a=b", "a*", "timestamp_granularities[]", " a ", "'", "é", ":"]
)
BOUNDARIES = st.text("abcXYZ0189'()+_,-./:=? ", min_size=1, max_size=70).filter(lambda text: text.strip() == text)
HOSTILE = [
    b"\r\n--B",
    b"--B",
    b"\r\n--",
    b"\r\n--B-",
    b"\r\n--BX\r\n",
    b"\r\n--B\r",
    b"\r",
    b"\n",
    b"-",
    b"\0",
    b"\xff",
]
VALUES = st.lists(st.sampled_from(HOSTILE) | st.binary(max_size=9), max_size=4).map(b"".join)
FORMS = st.lists(st.builds(Part, NAMES, VALUES, st.booleans()), max_size=6)


def part(disposition: bytes, value: bytes = b"x") -> bytes:
    """Return one part with that header."""
    return b"--B\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + value + b"\r\n"


def form(*dispositions: bytes) -> bytes:
    return b"".join(map(part, dispositions)) + b"--B--\r\n"


def refused(body: bytes, kind: bytes | None = TYPE) -> bool:
    try:
        parse_form(body, kind)
    except InvalidRequestError as error:
        return error.code == "invalid_form"
    return False


def in_order(parts: list[Part]) -> list[Part]:
    return sorted(parts, key=lambda each: (each.is_file, each.name.encode()))


@given(FORMS, BOUNDARIES)
def test_a_form_comes_back_in_the_order_of_encryption(parts: list[Part], boundary: str) -> None:
    delimiter = b"--" + boundary.encode()
    if any(delimiter in each.value for each in parts):
        return
    kind = b'multipart/form-data; boundary="%b"' % boundary.encode()
    encoded = encode_form(parts, boundary.encode())
    assert parse_form(encoded, kind) == in_order(parts)
    assert encode_form(parse_form(encoded, kind), boundary.encode()) == encode_form(in_order(parts), boundary.encode())


@given(FORMS, st.sampled_from(["model", "file", "a;b"]))
def test_a_sealed_form_comes_back_with_nothing_but_the_plain_fields_seen(parts: list[Part], plain: str) -> None:
    boundary = b"0123456789abcdef"
    sealed = turn_parts(in_order(parts), {plain}, Sealer(SECRET, NONCE).seal_all, Ending(""))
    received = parse_form(encode_form(sealed, boundary), content_type(boundary))
    assert received == sealed
    for before, after in zip(in_order(parts), sealed, strict=True):
        assert (after.name, after.is_file) == (before.name, before.is_file)
        if before.name == plain and not before.is_file:
            assert after.value == before.value
        else:
            assert addressed_to(after.value) == (SECRET.id, NONCE)
    assert turn_parts(received, {plain}, Opener(SECRET, NONCE).open_all, Ending("")) == in_order(parts)


def test_values_come_before_files_and_parts_of_one_name_keep_their_order() -> None:
    parts = [
        Part("z", b"file 1", is_file=True),
        Part("b", b"2"),
        Part("a", b"file", is_file=True),
        Part("b", b"1"),
        Part("\U0001f642", b"4"),
        Part("\uffff", b"3"),
        Part("z", b"file 0", is_file=True),
        Part("B", b"0"),
    ]
    values = [each.value for each in parse_form(encode_form(parts, BOUNDARY), TYPE)]
    assert values == [b"0", b"2", b"1", b"3", b"4", b"file", b"file 1", b"file 0"]


def test_a_file_travels_under_its_fields_name() -> None:
    parts = parse_form(form(b'form-data; name="file"; filename="my secret.wav"'), TYPE)
    assert encode_form(parts, BOUNDARY) == (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\nx\r\n--B--\r\n"
    )


def test_a_file_is_never_plain() -> None:
    (sealed,) = turn_parts([Part("model", b"m", is_file=True)], {"model"}, Sealer(SECRET, NONCE).seal_all, Ending(""))
    assert sealed.value.startswith(b'"id:')


@pytest.mark.parametrize("change", ["swap", "drop", "alter", "plain"])
def test_a_form_with_altered_values_is_refused(change: str) -> None:
    sealed = turn_parts([Part("a", b"1"), Part("b", b"2")], (), Sealer(SECRET, NONCE).seal_all, Ending(""))
    altered = {
        "swap": [Part("a", sealed[1].value), Part("b", sealed[0].value)],
        "drop": sealed[1:],
        "alter": [Part("a", sealed[0].value[:-2] + b'"')],
        "plain": [Part("a", b"1")],
    }
    with pytest.raises(DecryptionError):
        turn_parts(altered[change], (), Opener(SECRET, NONCE).open_all, Ending(""))


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        (b'form-data; name="a"', Part("a", b"x")),
        (b"form-data; name=a", Part("a", b"x")),
        (b'Form-Data;NAME="a"', Part("a", b"x")),
        (b'form-data; filename="f"; name="a"', Part("a", b"x", is_file=True)),
        (b'form-data; name="a"; filename=""', Part("a", b"x", is_file=True)),
        (b'form-data; name="a"; filename="C:\\dir\\f"', Part("a", b"x", is_file=True)),
        (b'form-data; name="a"; filename="\\"; name=b; x=\\""', Part("a", b"x", is_file=True)),
        (b'form-data; name="a"; filename="; name=b"', Part("a", b"x", is_file=True)),
        (b"form-data; name=\"a\"; name*=utf-8''model", Part("a", b"x")),
        (b'form-data; name="a;b=c"', Part("a;b=c", b"x")),
        ('form-data; name="é"'.encode(), Part("é", b"x")),
        (b'form-data; name="\xff"', Part("\ufffd", b"x")),
        (b'form-data; name="a"\r\nContent-Type: text/plain\r\nX-Other:', Part("a", b"x")),
        (b'form-data; name="' + b"n" * 256 + b'"', Part("n" * 256, b"x")),
    ],
)
def test_a_part_is_told_by_its_disposition(disposition: bytes, expected: Part) -> None:
    assert parse_form(form(disposition), TYPE) == [expected]


@pytest.mark.parametrize(
    "disposition",
    [
        b"form-data",
        b"",
        b"form-data; name",
        b'form-data; name=""',
        b'form-data; filename="f"',
        b"form-data; name*=utf-8''a",
        b'form-data; name="a\nb: c"',
        b'form-data; name="a\0"',
        b'form-data; name="a\\"b"',
        b'form-data; name="a\\\\"; filename="f"',
        b'form-data; name="a\\b"',
        b'form-data; name="' + b"n" * 257 + b'"',
    ],
)
def test_a_part_with_no_name_or_a_strange_one_is_refused(disposition: bytes) -> None:
    assert refused(form(disposition))


def test_a_part_without_headers_is_refused() -> None:
    assert refused(b"--B\r\n\r\nx\r\n--B--\r\n")


@given(st.text(max_size=6).map(lambda text: text + '"\r\nX: y\r\n\r\n'), st.integers(0, 6))
def test_a_name_brings_no_header_of_its_own(injection: str, start: int) -> None:
    body = form(b'form-data; name="a' + injection[start:].encode() + b'"')
    try:
        parts = parse_form(body, TYPE)
    except InvalidRequestError:
        return
    again = encode_form(parts, b"0123456789abcdef")
    head = again.partition(b"\r\n\r\n")[0]
    assert head.count(b"\r\n") == 1
    assert b"X: y" not in head
    assert parse_form(again, content_type(b"0123456789abcdef")) == parts


def test_every_form_that_is_cut_is_refused() -> None:
    whole = form(b'form-data; name="a"', b'form-data; name="file"; filename="f"')
    end = whole.rindex(b"--\r\n") + 2
    assert all(refused(whole[:length]) for length in range(end))
    assert len(parse_form(whole[:end], TYPE)) == 2


@pytest.mark.parametrize("value", [b"", b"\r\n", *HOSTILE[2:], b"x\r\n--B-y\r\n--B\rz", b"\r\n--", b"--B--"])
def test_what_looks_like_a_boundary_in_a_value_is_none(value: bytes) -> None:
    body = part(b'form-data; name="a"', value) + b"--B--"
    assert parse_form(body, TYPE) == [Part("a", value)]


def test_a_boundary_in_a_value_ends_it_and_what_follows_is_no_part() -> None:
    assert refused(part(b'form-data; name="a"', b"x\r\n--B\r\ny"))
    body = part(b'form-data; name="a"', b"x\r\n--B--\r\n" + part(b'form-data; name="model"'))
    assert parse_form(body, TYPE) == [Part("a", b"x")]


@pytest.mark.parametrize(
    "kind",
    [
        None,
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/mixed; boundary=B",
        b"application/x-www-form-urlencoded; boundary=B",
        b"multipart/form-data; boundary=" + b"x" * 1000,
        b"multipart/form-data; boundary=C",
        b"multipart/form-data; boundary=\xff",
        b"multipart/form-data; boundary=B\r",
    ],
)
def test_a_body_of_another_kind_is_refused(kind: bytes | None) -> None:
    assert refused(form(b'form-data; name="a"'), kind)


@pytest.mark.parametrize(
    "kind", [b'Multipart/Form-Data; BOUNDARY="B"', b"multipart/form-data;charset=utf-8; boundary=B"]
)
def test_the_boundary_is_found_however_it_is_written(kind: bytes) -> None:
    assert len(parse_form(form(b'form-data; name="a"'), kind)) == 1


@pytest.mark.parametrize("body", [b"", b"\r\n", b"x", b"--C--", b"--B", b"--Bx--", b"--B\r\n", b"\r\npre-\r\n--B--", b"--B\r\nbad header\r\n\r\n--B--"])  # fmt: skip  # noqa: E501
def test_what_is_no_form_is_refused(body: bytes) -> None:
    assert refused(body)


def test_a_form_without_parts_is_one() -> None:
    assert parse_form(encode_form([], BOUNDARY), TYPE) == []


def test_a_form_has_a_limited_number_of_parts() -> None:
    most = [Part("a", b"")] * MAX_PARTS
    assert parse_form(encode_form(most, BOUNDARY), TYPE) == most
    assert refused(encode_form([*most, Part("a", b"")], BOUNDARY))


@given(st.lists(st.sampled_from([*HOSTILE, b"--B--", b"\r\n", b": ", b"Content-Disposition: form-data; name=a", b"x"])).map(b"".join))  # fmt: skip  # noqa: E501
def test_any_body_is_parsed_or_refused(body: bytes) -> None:
    if not refused(b"--B\r\n" + body):
        parts = parse_form(b"--B\r\n" + body, TYPE)
        boundary = b"0123456789abcdef"
        assert parse_form(encode_form(parts, boundary), content_type(boundary)) == parts


def endpoint(path: str) -> Endpoint:
    found = endpoint_of(path)
    assert found is not None
    return found


CAPTURED = [
    pytest.param(case, upstream, id=case["name"])
    for case in CAPTURE["cases"]
    for upstream in case["upstream"]
    if (known := endpoint_of(upstream["path"])) is not None and known.form is Form.MULTIPART
]


def exchange_of(parts: list[Part], plain: frozenset[str]) -> tuple[Secret, bytes]:
    """Return the recorded secret and the nonce of a form."""
    secret_id, nonce = addressed_to(next(each.value for each in parts if each.name not in plain))
    agreed = next(call["agreed"] for call in CAPTURE["start"] if call.get("agreed", {}).get("secret_id") == secret_id)
    return Secret(secret_id, bytes.fromhex(agreed["secret_hex"])), nonce


def header_of(headers: Any, name: str) -> bytes:
    """Return a header of a recorded request: a list, or the app's, which are an object."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    return next(str(value).encode() for key, value in pairs if key.lower() == name)


@pytest.mark.parametrize(("case", "upstream"), CAPTURED)
def test_captured_forms_open_to_what_the_app_sent(case: dict[str, Any], upstream: dict[str, Any]) -> None:
    plain = endpoint(upstream["path"]).plain_request
    sent = parse_form(upstream["body"].encode("latin-1"), header_of(upstream["headers"], "content-type"))
    secret, nonce = exchange_of(sent, plain)
    opened = turn_parts(sent, plain, Opener(secret, nonce).open_all, Ending(""))
    asked = case["app_request"]
    assert opened == parse_form(asked["body"].encode("latin-1"), header_of(asked["headers"], "content-type"))
    recorded = upstream["decrypted"]
    assert [each.name for each in opened] == [name for name, _ in recorded["parts_in_order"]]
    assert {each.name: each.value.decode("latin-1") for each in opened} == {**recorded["members"], **recorded["plain"]}


@pytest.mark.parametrize(("case", "upstream"), CAPTURED)
def test_captured_forms_are_what_we_would_have_sent(case: dict[str, Any], upstream: dict[str, Any]) -> None:
    plain = endpoint(upstream["path"]).plain_request
    kind = header_of(upstream["headers"], "content-type")
    sent = parse_form(upstream["body"].encode("latin-1"), kind)
    secret, nonce = exchange_of(sent, plain)
    ivs = io.BytesIO(
        b"".join(bytes.fromhex(each.value.split(b":")[2].decode()) for each in sent if each.name not in plain)
    )
    asked = case["app_request"]
    parts = parse_form(asked["body"].encode("latin-1"), header_of(asked["headers"], "content-type"))
    sealed = turn_parts(parts, plain, Sealer(secret, nonce, ivs.read).seal_all, Ending(""))
    boundary = kind.removeprefix(content_type(b""))
    assert encode_form(sealed, boundary) == upstream["body"].encode("latin-1")


@pytest.mark.parametrize(("case", "upstream"), CAPTURED)
def test_captured_answers_to_forms_open_to_what_the_app_got(case: dict[str, Any], upstream: dict[str, Any]) -> None:
    sent = parse_form(upstream["body"].encode("latin-1"), header_of(upstream["headers"], "content-type"))
    secret, nonce = exchange_of(sent, endpoint(upstream["path"]).plain_request)
    answer, got = upstream["response"]["body"].encode("latin-1"), case["app_response"]["body"].encode("latin-1")
    plain = endpoint(upstream["path"]).plain_answer
    assert open_fields(answer, plain, Opener(secret, nonce).open_all, Ending("")) == got


def test_the_capture_has_a_form() -> None:
    assert CAPTURED


def test_a_form_sealed_in_pieces_has_the_bytes_of_one_that_is_sealed_at_once() -> None:
    parts = [Part("language", b"en"), Part("model", b"m"), Part("file", bytes(200_000), is_file=True)]
    ivs = b"".join(bytes([number]) * 12 for number in range(2))
    ending, other = Ending("p"), Ending("p")
    sealer = Sealer(SECRET, NONCE, io.BytesIO(ivs).read)
    at_once = Sealer(SECRET, NONCE, io.BytesIO(ivs).read)
    pieces = list(seal_form(parts, {"model"}, sealer, ending, b"boundary"))
    whole = encode_form(turn_parts(parts, {"model"}, at_once.seal_all, other), b"boundary")
    assert b"".join(pieces) == whole
    assert max(map(len, pieces)) <= 2 * PIECE_BYTES
    assert ending.seal(Sealer(SECRET, NONCE, bytes)) == other.seal(Sealer(SECRET, NONCE, bytes))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *((each, True) for each in (b"1", b"on", b"t", b"true", b"True", b"TRUE", b"y", b"yes")),
        *((each, False) for each in (b"0", b"off", b"f", b"false", b"False", b"n", b"no")),
        *((each, None) for each in (b"", b"2", b"maybe", b" true", b"\xff")),
    ],
)
def test_a_field_says_yes_or_no_in_the_ways_that_engines_understand(written: bytes, *, read: bool | None) -> None:
    assert as_boolean(written) is read
