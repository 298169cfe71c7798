import json
import os
from typing import Any

import pytest

from privity.errors import ContextLengthError, InvalidRequestError, PayloadTooLargeError
from privity.protocol.ending import Ending
from privity.protocol.endpoints import Endpoint, endpoint_of
from privity.protocol.exchange import Opener, Sealer
from privity.protocol.fields import scan
from privity.protocol.multipart import Part, content_type, encode_form, parse_form
from privity.roles.proxy.request import MAX_FILE, PlainRequest, read_request
from privity.testing.sealed import SALT, SECRET

JSON_PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages"]
TRANSCRIPTIONS = "/v1/audio/transcriptions"
FORM = b"multipart/form-data; boundary=x"
NONCE = bytes(12)


def of(path: str) -> Endpoint:
    endpoint = endpoint_of(path)
    assert endpoint is not None
    return endpoint


def request(body: bytes, path: str = JSON_PATHS[0], kind: bytes | None = None, salt: str | None = None) -> PlainRequest:
    return read_request(of(path), kind, body, salt, os.urandom)


def sealed(plain: PlainRequest) -> tuple[bytes, bytes]:
    kind, body = plain.seal(Sealer(SECRET, NONCE), Ending(""), os.urandom)
    assert isinstance(body, bytes)
    return kind, body


def form(**fields: str) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="canary.wav"\r\n\r\ncanary\r\n--x--\r\n'
    return ("".join(parts) + file).encode()


@pytest.mark.parametrize("path", JSON_PATHS)
@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'["model"]', "invalid_json", None),
        (b'"model"', "invalid_json", None),
        (b'{"model": "chat"} x', "invalid_json", None),
        (b'{"model": "\xff"', "invalid_json", None),
        (b"\xef\xbb\xbf{}", "invalid_json", None),
        (b"[" * 100_000, "nested_too_deep", None),
        (b"{}", "missing_model", "model"),
        (b'{"Model": "chat"}', "missing_model", "model"),
        (b'{"model": null}', "invalid_model", "model"),
        (b'{"model": 5}', "invalid_model", "model"),
        (b'{"model": ["chat"]}', "invalid_model", "model"),
        (b'{"model": ""}', "invalid_model", "model"),
        (b'{"model": "a\\nb"}', "invalid_model", "model"),
        (b'{"model": "a\\u0000b"}', "invalid_model", "model"),
        (b'{"model": "\\r\\nauthorization: x"}', "invalid_model", "model"),
        (b'{"model": "\\ud800"}', "invalid_model", "model"),
        (b'{"model": "' + b"m" * 257 + b'"}', "invalid_model", "model"),
        (b'{"model": "m", "model": "m"}', "repeated_member", "model"),
        (b'{"model": "m", "stream": 1}', "invalid_value", "stream"),
        (b'{"model": "m", "stream": "true"}', "invalid_value", "stream"),
    ],
)
def test_a_body_that_is_not_what_its_endpoint_takes_is_a_400(path: str, body: bytes, code: str, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(body, path)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages"])
@pytest.mark.parametrize(
    "salt", ['""', '"' + "s" * 31 + '"', "5", "null", '["' + "s" * 32 + '"]', '"\\ud800' + "s" * 32 + '"']
)
def test_a_salt_that_is_no_string_of_32_characters_is_a_400(path: str, salt: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(b'{"model": "m", "cache_salt": %b}' % salt.encode(), path)
    assert caught.value.param == "cache_salt"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, (False, False)),
        ({"stream": False}, (False, False)),
        ({"stream": None}, (False, False)),
        ({"stream": True}, (True, False)),
        ({"stream": True, "stream_options": None}, (True, False)),
        ({"stream": True, "stream_options": 5}, (True, False)),
        ({"stream": True, "stream_options": {}}, (True, False)),
        ({"stream": True, "stream_options": {"include_usage": False}}, (True, False)),
        ({"stream": True, "stream_options": {"include_usage": True, "x": 1}}, (True, True)),
    ],
)
def test_it_knows_what_answer_is_wanted(members: dict[str, Any], expected: tuple[bool, bool]) -> None:
    plain = request(json.dumps({"model": "m", "messages": []} | members).encode())
    assert (plain.streams, plain.wants_usage) == expected


@pytest.mark.parametrize(
    ("written", "streams"),
    [
        ("true", True),
        ("True", True),
        ("1", True),
        ("yes", True),
        ("on", True),
        ("false", False),
        ("0", False),
        ("", False),
    ],
)
def test_a_form_says_in_words_whether_it_wants_a_stream(written: str, *, streams: bool) -> None:
    assert request(form(model="m", stream=written), TRANSCRIPTIONS, FORM).streams is streams


@pytest.mark.parametrize("path", JSON_PATHS)
def test_only_values_are_replaced_and_each_by_its_bytes(path: str) -> None:
    body = b' { "x" : 0.70, "model" : "org\\/chat" ,"y":[ 1 ], "" : "\\u00e9" } '
    kind, out = sealed(request(body, path))
    fields, opener = scan(out), Opener(SECRET, NONCE)
    assert kind == b"application/json"
    assert fields.names == ["x", "model", "y", "", *["cache_salt"] * of(path).salted]
    assert fields.get("model") == b'"org\\/chat"'
    opened = {name: opener.open(fields.get(name) or b"") for name in sorted(fields.names) if name != "model"}
    opened.pop("cache_salt", None)
    assert opened == {"": b'"\\u00e9"', "x": b"0.70", "y": b"[ 1 ]"}


def test_a_request_can_be_sealed_again_with_the_same_salt_and_nothing_else_in_common() -> None:
    plain = request(b'{"model": "m", "messages": []}')
    salts = []
    bodies = []
    for nonce in (bytes(12), bytes(range(12))):
        _, out = plain.seal(Sealer(SECRET, nonce), Ending(""), os.urandom)
        assert isinstance(out, bytes)
        bodies.append(out)
        salts.append(Opener(SECRET, nonce).open(scan(out).get("cache_salt") or b""))
    assert bodies[0] != bodies[1]
    assert salts[0] == salts[1]


def test_random_salts_differ_and_shared_and_own_ones_stay() -> None:
    body = b'{"model": "m", "messages": []}'
    assert salt_of(request(body, salt=SALT)) == SALT
    assert salt_of(request(b'{"model": "m", "cache_salt": "%b"}' % (b"o" * 32), salt=SALT)) == "o" * 32
    assert salt_of(request(body)) != salt_of(request(body))


def salt_of(plain: PlainRequest) -> Any:
    _, out = sealed(plain)
    opener = Opener(SECRET, NONCE)
    return json.loads(opener.open(scan(out).get("cache_salt") or b""))


def test_a_shard_key_is_there_only_where_a_salt_is_known() -> None:
    body = b'{"model": "m", "messages": []}'
    own = b'{"model": "m", "messages": [], "cache_salt": "%b"}' % SALT.encode()
    assert request(body).shard_key is None
    assert request(b'{"model": "m", "input": "x"}', "/v1/embeddings", salt=SALT).shard_key is None
    assert request(body, salt=SALT).shard_key == request(own).shard_key is not None


def test_a_prompt_that_is_too_large_for_a_shard_key_is_refused() -> None:
    with pytest.raises(ContextLengthError):
        request(b'{"model": "m", "prompt": "%b"}' % (b"a" * 4_000_004), "/v1/completions", salt=SALT)


def test_a_form_is_sealed_field_by_field_and_its_files_name_stays_here() -> None:
    kind, out = sealed(request(form(model="m", language="canary"), TRANSCRIPTIONS, FORM))
    parts = {part.name: part for part in parse_form(out, kind)}
    assert list(parts) == ["language", "model", "file"]
    assert parts["model"].value == b"m"
    assert b"canary" not in out
    opener = Opener(SECRET, NONCE)
    assert [opener.open(parts[name].value) for name in ("language", "file")] == [b"canary", b"canary"]


@pytest.mark.parametrize("body", [b"", b"{}", form()[:-8], form(language="en"), form(model="")])
def test_a_form_that_is_none_or_names_no_model_is_a_400(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        request(body, TRANSCRIPTIONS, FORM)


@pytest.mark.parametrize("kind", [None, b"multipart/form-data; boundary=x", b"application/json"])
def test_an_unstructured_body_is_one_value_whatever_it_is(kind: bytes | None) -> None:
    plain = request(b"\x00canary", "/unstructured/general/v0/general", kind)
    sent_as, out = sealed(plain)
    assert sent_as == (kind or b"application/octet-stream")
    assert Opener(SECRET, NONCE).open(out) == b"\x00canary"
    assert (plain.model, plain.streams, plain.shard_key) == (None, False, None)


def opened_form(plain: PlainRequest) -> list[Part]:
    kind, out = sealed(plain)
    opener = Opener(SECRET, NONCE)
    hidden = [part for part in parse_form(out, kind) if part.name != "model"]
    return [Part(part.name, opener.open(part.value), part.is_file) for part in hidden]


@pytest.mark.parametrize(("wanted", "asked"), [("text", b"json"), ("srt", b"verbose_json"), ("vtt", b"verbose_json")])
@pytest.mark.parametrize("path", [TRANSCRIPTIONS, "/v1/audio/translations"])
def test_formats_that_are_no_json_are_made_here_of_what_is(wanted: str, asked: bytes, path: str) -> None:
    fields = {"model": "m", "response_format": wanted, "timestamp_granularities[]": "word"}
    plain = request(form(**fields), path, FORM)
    assert plain.rendering is not None
    parts = {part.name: part.value for part in opened_form(plain)}
    assert parts == {"response_format": asked, "timestamp_granularities[]": b"segment", "file": b"canary"}


@pytest.mark.parametrize("wanted", ["json", "verbose_json", "yaml", ""])
def test_other_formats_are_the_engines_matter(wanted: str) -> None:
    plain = request(form(model="m", response_format=wanted), TRANSCRIPTIONS, FORM)
    assert plain.rendering is None
    assert Part("response_format", wanted.encode()) in opened_form(plain)


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt"])
def test_such_a_format_is_not_streamed(wanted: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(form(model="m", response_format=wanted, stream="yes"), TRANSCRIPTIONS, FORM)
    assert caught.value.param == "response_format"


def test_fields_that_nobody_knows_are_sealed_too() -> None:
    plain = request(form(model="m", include="canary", keyterms="canary"), TRANSCRIPTIONS, FORM)
    assert [part.value for part in opened_form(plain)] == [b"canary"] * 3


def test_a_file_of_just_the_limit_passes() -> None:
    def holding(size: int) -> bytes:
        return encode_form([Part("model", b"m"), Part("file", bytes(size), is_file=True)], b"x")

    request(holding(MAX_FILE), TRANSCRIPTIONS, FORM)
    with pytest.raises(PayloadTooLargeError) as caught:
        request(holding(MAX_FILE + 1), TRANSCRIPTIONS, FORM)
    assert caught.value.param == "file"


def test_its_repr_holds_no_content() -> None:
    body = b'{"model": "m", "messages": ["canary"], "cache_salt": "canary-canary-canary-canary-canary"}'
    assert "canary" not in repr(request(body))


@pytest.mark.parametrize("path", ["/v1/embeddings", *JSON_PATHS])
def test_a_body_of_plain_members_alone_is_refused_before_it_is_sent(path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(b'{"model": "m"}', path)
    assert caught.value.code == "missing_parameter"


def test_a_form_without_a_file_is_refused_before_it_is_sent() -> None:
    body = encode_form([Part("model", b"m"), Part("language", b"en")], b"b")
    with pytest.raises(InvalidRequestError) as caught:
        request(body, "/v1/audio/transcriptions", content_type(b"b"))
    assert caught.value.param == "file"
