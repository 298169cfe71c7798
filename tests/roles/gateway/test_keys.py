"""models-api.md item 7: whose key it is."""

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privity.errors import UnauthorizedError
from privity.http import Headers
from privity.roles.gateway.keys import Key, Keys
from privity.testing.gateway_rig import bearer, key_for

STAFF = key_for("sk-canary", "staff", "red")
GUEST = key_for("sk-guest")
KEYS = Keys([STAFF, GUEST])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer sk-canary")],
        [(b"authorization", b"bearer sk-canary")],
        [(b"authorization", b"BEARER   sk-canary ")],
        [(b"x-api-key", b"sk-canary")],
        [(b"x-api-key", b"sk-guest"), (b"authorization", b"Bearer sk-canary")],
        [(b"authorization", b"Bearer sk-canary"), (b"authorization", b"Bearer sk-guest")],
    ],
    ids=range(6),
)
def test_a_key_is_known_in_the_forms_in_which_clients_send_it(headers: Headers) -> None:
    assert KEYS.groups(headers) == frozenset({"staff", "red"})


def test_a_key_may_be_in_no_group() -> None:
    assert KEYS.groups(bearer("sk-guest")) == frozenset()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic sk-canary")],
        [(b"authorization", b"sk-canary")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer SK-CANARY")],
        [(b"authorization", b"Bearer sk-canary sk-guest")],
        [(b"authorization", b"Basic x"), (b"x-api-key", b"sk-canary")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"Bearer sk-canary")],
        [(b"authorization", b"Bearer " + STAFF.sha256.encode())],
        [(b"authorization", b"Bearer \xff\x00")],
        [(b"cookie", b"sk-canary")],
    ],
    ids=range(14),
)
def test_what_is_no_key_is_refused_and_without_keys_everybody_may_do_everything(headers: Headers) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        KEYS.groups(headers)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert "canary" not in str(caught.value)
    assert Keys().groups(headers) is None


def test_no_key_is_not_the_key_that_is_empty() -> None:
    with pytest.raises(UnauthorizedError):
        Keys([Key("empty", sha256(b"").hexdigest())]).groups([])


@given(st.binary(max_size=20))
def test_only_the_very_key_counts(secret: bytes) -> None:
    try:
        found = KEYS.groups([(b"x-api-key", secret)])
    except UnauthorizedError:
        assert secret not in (b"sk-canary", b"sk-guest")
    else:
        assert found == (STAFF.groups if secret == b"sk-canary" else GUEST.groups)


def test_neither_a_key_nor_its_digest_shows() -> None:
    shown = f"{STAFF!r} {KEYS!r} {KEYS}"
    assert "canary" not in shown
    assert STAFF.sha256 not in shown


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watch(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watch)
    assert KEYS.groups(bearer("sk-canary")) == STAFF.groups
    digest = sha256(b"sk-canary").digest()
    assert compared == [(digest, digest)]
