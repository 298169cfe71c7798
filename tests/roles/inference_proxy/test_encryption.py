"""Requests that are not what their client sealed. Each is refused in clear, with 400, before any engine sees it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import InvalidRequestError, NotEncryptedError, UnknownSecretError
from privity.http import Headers
from privity.protocol.ending import HEADER
from privity.protocol.endpoints import ENDPOINTS, endpoint_of
from privity.protocol.exchange import Sealer
from privity.protocol.fields import MAX_ESCAPES
from privity.protocol.multipart import Part, encode_form, parse_form
from privity.protocol.routed_model import MEANS
from privity.protocol.secret import Secret
from privity.roles.inference_proxy.encryption import MAX_QUOTES, Content, OpenedRequest, SealedRequest
from privity.testing.sealed import SECRET, FixedSecrets, SealedExchange, SealingClient

CHAT, MESSAGES, DOCUMENTS = "/v1/chat/completions", "/v1/messages", "/unstructured/general"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
OTHER = Secret("b3RoZXIgc2VjcmV0IGZvciB0ZXN0cywga25vd24gLi4=", bytes(32))
REQUEST = b'{"model": "m", "b": [1], "a": 0.70, "c": "\\u00e9"}'
FORM = [Part("model", b"m"), Part("language", b"en"), Part("file", b"RIFF\0", is_file=True)]
CONTENTS: dict[str, Any] = {
    endpoint.path: REQUEST if endpoint.path.startswith("/v1/") else b"a document" for endpoint in ENDPOINTS
} | dict.fromkeys((TRANSCRIPTIONS, "/v1/audio/translations"), FORM)


async def opened(sealed: SealedExchange, headers: Headers | None = None, body: bytes | None = None) -> Content:
    """Open what a client sealed, or what became of it."""
    endpoint = endpoint_of(sealed.path)
    assert endpoint is not None
    given = SealedRequest(
        endpoint, sealed.path, sealed.headers if headers is None else headers, sealed.body if body is None else body
    )
    return given.open(await FixedSecrets(SECRET, OTHER).find(given.secret_id)).content


def chat(*, with_end: bool = False, body: bytes = REQUEST) -> SealedExchange:
    return SealingClient(with_end=with_end).seal(CHAT, body)


def edited(body: bytes, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    members = json.loads(body)
    edit(members)
    return json.dumps(members).encode()


@pytest.mark.parametrize("with_end", [True, False])
@pytest.mark.parametrize("path", CONTENTS)
async def test_what_a_client_seals_is_opened_to_the_byte(path: str, *, with_end: bool) -> None:
    path = path + "x" if path.endswith("/") else path
    content = CONTENTS.get(path, b"a document")
    found = await opened(SealingClient(with_end=with_end).seal(path, content))
    if isinstance(found, bytes):
        assert found == content
    else:
        assert sorted(found, key=str) == sorted(content, key=str)


def plain_value(members: dict[str, Any]) -> None:
    members["b"] = [1]


def plain_text(members: dict[str, Any]) -> None:
    members["b"] = "hello"


def added(members: dict[str, Any]) -> None:
    members["d"] = True


def swapped(members: dict[str, Any]) -> None:
    members["a"], members["b"] = members["b"], members["a"]


def repeated(members: dict[str, Any]) -> None:
    members["d"] = members["c"]


def dropped_first(members: dict[str, Any]) -> None:
    del members["a"]


def dropped_middle(members: dict[str, Any]) -> None:
    del members["b"]


def truncated(members: dict[str, Any]) -> None:
    members["b"] = members["b"][:-2]


def emptied(members: dict[str, Any]) -> None:
    members["b"] = ""


def second_secret(members: dict[str, Any]) -> None:
    nonce = bytes.fromhex(members["b"].split(":")[1])
    sealer = Sealer(OTHER, nonce)
    sealer.seal(b"1")
    members["b"] = json.loads(sealer.seal(b"[1]"))


def second_nonce(members: dict[str, Any]) -> None:
    sealer = Sealer(SECRET, bytes(12))
    sealer.seal(b"1")
    members["b"] = json.loads(sealer.seal(b"[1]"))


def other_spelling(members: dict[str, Any]) -> None:
    start, _, value = members["b"].rpartition(":")
    members["b"] = f"{start}:{value.upper()}"


def altered(members: dict[str, Any]) -> None:
    members["b"] = members["b"][:-1] + ("0" if members["b"][-1] != "0" else "1")


EDITS: list[Callable[[dict[str, Any]], None]] = [
    *(plain_value, plain_text, added, swapped, repeated, dropped_first, dropped_middle, truncated, emptied),
    *(second_secret, second_nonce, other_spelling, altered),
]


@pytest.mark.parametrize("with_end", [True, False])
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
async def test_values_that_are_not_authentic_at_their_place(
    edit: Callable[[dict[str, Any]], None], *, with_end: bool
) -> None:
    sealed = chat(with_end=with_end)
    with pytest.raises(NotEncryptedError) as caught:
        await opened(sealed, body=edited(sealed.body, edit))
    assert (caught.value.status, caught.value.code) == (400, "not_encrypted")


def dropped_last(members: dict[str, Any]) -> None:
    del members["c"]


def other_model(members: dict[str, Any]) -> None:
    members["model"] = "n"


def plain_added(members: dict[str, Any]) -> None:
    members["n"] = 7


def renamed(members: dict[str, Any]) -> None:
    members["cc"] = members.pop("c")


@pytest.mark.parametrize("edit", [dropped_last, other_model, plain_added, renamed], ids=lambda edit: edit.__name__)
async def test_only_the_end_tells_what_the_protocol_leaves_open(edit: Callable[[dict[str, Any]], None]) -> None:
    old = chat(with_end=False)
    assert await opened(old, body=edited(old.body, edit))
    new = chat(with_end=True)
    with pytest.raises(NotEncryptedError):
        await opened(new, body=edited(new.body, edit))


async def test_an_end_that_is_wrong_or_of_another_request_or_path() -> None:
    sealed, other = chat(with_end=True), chat(with_end=True)
    others_end = dict(other.headers)[HEADER]
    value = json.dumps(json.loads(sealed.body)["c"]).encode()
    for end in (b"", b'""', b'"x"', others_end, dict(sealed.headers)[HEADER][:-2] + b'"', value):
        headers = [(name, end if name == HEADER else held) for name, held in sealed.headers]
        with pytest.raises(NotEncryptedError):
            await opened(sealed, headers)
    elsewhere = SealedExchange("/v1/completions", sealed.headers, sealed.body, sealed.opener)
    with pytest.raises(NotEncryptedError):
        await opened(elsewhere)


async def test_an_end_can_not_be_taken_away() -> None:
    """The nonce, to which all values are bound, says that there is one."""
    sealed = chat(with_end=True)
    with pytest.raises(NotEncryptedError):
        await opened(sealed, [(name, value) for name, value in sealed.headers if name != HEADER])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" + b"1," * MAX_QUOTES + b"1]", "invalid_json"),
        (b'{"a":[' + b"[]," * MAX_QUOTES + b"[]]}", "too_many_members"),
        (b'{"a":"\\ud800' + b"\\n" * (MAX_ESCAPES + 1) + b'"}', "invalid_json"),
    ],
    ids=["an array", "brackets", "escapes"],
)
async def test_what_would_be_slow_to_cut_apart_is_refused_first(body: bytes, code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await opened(SealedExchange(CHAT, [], body, chat().opener))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        REQUEST,
        b'{"model": "m"}',
        b"{}",
        b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}',
        b'{"a": "::::"}',
        b'{"a": "id:0123456789abcdef01234567"}',
        b'{"a": "%b:0123456789abcdeg01234567:"}' % SECRET.id.encode(),
        b'{"a": "%b:0123456789abcdef01234567:::"}' % SECRET.id.encode(),
        b'{"a": null, "messages": 7}',
    ],
)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_plain_request(path: str, body: bytes) -> None:
    with pytest.raises(NotEncryptedError):
        await opened(SealedExchange(path, [], body, chat().opener))


@pytest.mark.parametrize("body", [b"", b"hello", b'{"a":', b'{"a":1,"a":1}', b"\xff", b"[" * 100_000, b'"x"', b"null"])
@pytest.mark.parametrize("path", CONTENTS)
async def test_garbage_for_a_body(path: str, body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await opened(SealedExchange(path, [(b"content-type", b"multipart/form-data; boundary=x")], body, chat().opener))
    assert caught.value.status == 400


async def test_an_unknown_secret_is_named_in_the_words_that_deployed_clients_look_for() -> None:
    unknown = Secret("A" * 43 + "=", bytes(32))
    sealed = SealingClient(unknown).seal(CHAT, REQUEST)
    with pytest.raises(UnknownSecretError) as caught:
        await opened(sealed)
    assert (caught.value.status, caught.value.message) == (500, f'no secret for ID "{unknown.id}"')


# Forms


def reformed(sealed: SealedExchange, edit: Callable[[list[Part]], Any]) -> bytes:
    kind = dict(sealed.headers)[b"content-type"]
    parts = parse_form(sealed.body, kind)
    edit(parts)
    return encode_form(parts, kind.partition(b"boundary=")[2])


FORM_EDITS: dict[str, Callable[[list[Part]], Any]] = {
    "dropped": lambda parts: parts.pop(0),
    "plain value": lambda parts: parts.__setitem__(0, Part("language", b"en")),
    "plain file": lambda parts: parts.__setitem__(-1, Part("file", b"RIFF", is_file=True)),
    "swapped": lambda parts: parts.__setitem__(0, Part("language", parts[-1].value)),
    "repeated": lambda parts: parts.append(parts[-1]),
    "plain file under a plain name": lambda parts: parts.append(Part("stream", b"true", is_file=True)),
    "nothing encrypted": lambda parts: parts.__setitem__(slice(None), [Part("model", b"m")]),
}


@pytest.mark.parametrize("edit", FORM_EDITS.values(), ids=FORM_EDITS)
@pytest.mark.parametrize("with_end", [True, False])
async def test_a_form_that_was_altered(edit: Callable[[list[Part]], Any], *, with_end: bool) -> None:
    sealed = SealingClient(with_end=with_end).seal(TRANSCRIPTIONS, FORM)
    with pytest.raises(NotEncryptedError):
        await opened(sealed, body=reformed(sealed, edit))


@pytest.mark.parametrize("kind", [b"", b"application/json", b"multipart/form-data", b"multipart/form-data; boundary=y"])
async def test_a_form_of_another_kind(kind: bytes) -> None:
    sealed = SealingClient().seal(TRANSCRIPTIONS, FORM)
    with pytest.raises(InvalidRequestError):
        await opened(sealed, [(b"content-type", kind)])


# Anything


@given(st.data())
async def test_a_body_with_any_bytes_changed_is_the_same_or_the_clients_error(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([CHAT, TRANSCRIPTIONS, DOCUMENTS]))
    content = CONTENTS.get(path, b"a document")
    sealed = SealingClient(with_end=True).seal(path, content)
    start = data.draw(st.integers(0, len(sealed.body)))
    end = data.draw(st.integers(start, min(len(sealed.body), start + 3)))
    body = sealed.body[:start] + data.draw(st.binary(max_size=3)) + sealed.body[end:]
    try:
        found = await opened(sealed, body=body)
    except (InvalidRequestError, UnknownSecretError):
        return
    if isinstance(found, bytes):
        assert json.loads(found) == json.loads(content) if path == CHAT else found == content
    else:
        assert sorted(found, key=str) == sorted(content, key=str)


@given(st.binary(max_size=30), st.sampled_from([b"", b"multipart/form-data;", b"multipart/form-data; boundary="]))
async def test_any_content_type_is_a_forms_or_the_clients_error(rest: bytes, start: bytes) -> None:
    sealed = SealingClient().seal(TRANSCRIPTIONS, FORM)
    with pytest.raises(InvalidRequestError):
        await opened(sealed, [(b"content-type", start + rest)])


async def test_thousands_of_members_are_refused_before_they_are_cut_apart() -> None:
    body = b"{" + b",".join(b'"%d":""' % number for number in range(MAX_QUOTES // 4 + 1)) + b"}"
    with pytest.raises(InvalidRequestError) as caught:
        await opened(SealedExchange(CHAT, [], body, chat().opener))
    assert caught.value.code == "too_many_members"


async def test_a_document_whose_content_type_was_altered() -> None:
    """Another boundary would cut the same bytes into other fields."""
    sealed = SealingClient(with_end=True).seal(DOCUMENTS, b"a document")
    headers = [(name, b"text/html" if name == b"content-type" else value) for name, value in sealed.headers]
    with pytest.raises(NotEncryptedError):
        await opened(sealed, headers)


# What a gateway's own names may mean: models-api.md items 3 and 13


def asked(sealed: SealedExchange, headers: Headers) -> OpenedRequest:
    endpoint = endpoint_of(sealed.path)
    assert endpoint is not None
    return SealedRequest(endpoint, sealed.path, headers, sealed.body).open(SECRET)


@pytest.mark.parametrize(
    ("with_end", "means", "expected"),
    [
        (False, None, (False, None)),
        (False, b"org/a", (False, None)),
        (True, None, (True, None)),
        (True, b"org/a%20b", (True, "org/a b")),
    ],
    ids=["a deployed client", "one without an end", "silent", "one that says it"],
)
@pytest.mark.parametrize("path", CONTENTS)
async def test_which_model_is_meant_is_said_under_the_end_alone(
    path: str, means: bytes | None, expected: tuple[bool, str | None], *, with_end: bool
) -> None:
    path = path + "x" if path.endswith("/") else path
    sealed = SealingClient(with_end=with_end, means=means).seal(path, CONTENTS.get(path, b"a document"))
    opened = asked(sealed, sealed.headers)
    assert (opened.is_sure, opened.means) == expected


@pytest.mark.parametrize("path", CONTENTS)
async def test_a_gateway_can_neither_add_nor_drop_nor_alter_what_a_client_means(path: str) -> None:
    path = path + "x" if path.endswith("/") else path
    content = CONTENTS.get(path, b"a document")
    silent = SealingClient().seal(path, content)
    meaning = SealingClient(means=b"org/a").seal(path, content)
    without = [each for each in meaning.headers if each[0] != MEANS]
    for sealed, headers in (
        (silent, [*silent.headers, (MEANS, b"org/a")]),
        (silent, [(MEANS, b"org/a"), *silent.headers]),
        (silent, [*silent.headers, (MEANS, b"")]),
        (meaning, without),
        (meaning, [*without, (MEANS, b"nothing")]),
        (meaning, [(MEANS, b"nothing"), *meaning.headers]),
        (silent, [(MEANS, b"org/a"), *(each for each in silent.headers if each[0] != HEADER)]),
        (meaning, [each for each in meaning.headers if each[0] != HEADER]),
    ):
        with pytest.raises(NotEncryptedError) as caught:
            asked(sealed, headers)
        assert (caught.value.status, caught.value.code) == (400, "not_encrypted")


async def test_a_plain_member_is_no_header_that_says_what_is_meant() -> None:
    body = b'{"model": "m", "b": [1], "privity-means": "org/a"}'
    sealed = SealingClient().seal(CHAT, body)
    assert asked(sealed, sealed.headers).means is None
