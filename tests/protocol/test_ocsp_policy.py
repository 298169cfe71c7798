import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privity.errors import ProtocolError
from privity.protocol.ocsp_policy import (
    MAX_STATUS_BYTES,
    OcspPolicy,
    check,
    mac,
    parse_statuses,
    policy_for,
    verify_mac,
)

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/ocsp_policy.json").read_text())
KEY = bytes(range(32))
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOT_BEFORE = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp())
STRICT = OcspPolicy(allow_revoked=False, allow_unknown=False, revocation_not_before=NOT_BEFORE)
UNKNOWN_TOO = OcspPolicy(allow_revoked=False, allow_unknown=True, revocation_not_before=NOT_BEFORE)
REVOKED_TOO = OcspPolicy(allow_revoked=True, allow_unknown=False, revocation_not_before=NOT_BEFORE)
GOOD = {"Value": "GOOD"}
POLICIES = st.builds(
    OcspPolicy,
    allow_revoked=st.booleans(),
    allow_unknown=st.booleans(),
    revocation_not_before=st.integers(0, 10**15 - 1),
)


def statuses_with(component: str, status: dict[str, str]) -> bytes:
    good = {"GPU": GOOD, "VBIOS": GOOD, "Driver": GOOD}
    return json.dumps([good, good | {component: status}]).encode()


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_s_policy_is_written_read_and_authenticated(vector: dict[str, Any]) -> None:
    key = bytes.fromhex(vector["secret_hex"])
    policy = OcspPolicy(
        allow_revoked="allow-revoked" in vector["statuses"],
        allow_unknown="allow-unknown" in vector["statuses"],
        revocation_not_before=vector["revocation_not_before"],
    )
    assert policy.encode() == vector["policy"]
    assert OcspPolicy.parse(vector["policy"]) == policy
    assert mac(vector["policy"], key) == vector["mac"]
    verify_mac(policy, vector["mac"], key)


@settings(max_examples=50)
@given(POLICIES)
def test_a_policy_survives_its_header(policy: OcspPolicy) -> None:
    assert OcspPolicy.parse(policy.encode()) == policy


@settings(max_examples=50)
@given(POLICIES, POLICIES)
def test_a_mac_is_good_for_one_policy(policy: OcspPolicy, other: OcspPolicy) -> None:
    claimed = mac(policy.encode(), KEY)
    verify_mac(policy, claimed, KEY)
    if other != policy:
        with pytest.raises(ProtocolError):
            verify_mac(other, claimed, KEY)


@pytest.mark.parametrize(
    "claimed", ["", "00" * 32, mac(STRICT.encode(), KEY).upper(), mac(STRICT.encode(), KEY)[:-1], "é", "\udcff"]
)
def test_a_wrong_mac_is_refused(claimed: str) -> None:
    with pytest.raises(ProtocolError, match="MAC"):
        verify_mac(STRICT, claimed, KEY)


def test_a_mac_by_another_secret_is_refused() -> None:
    with pytest.raises(ProtocolError, match="MAC"):
        verify_mac(STRICT, mac(STRICT.encode(), bytes(32)), KEY)


@pytest.mark.parametrize(
    "header",
    [
        "revocation-time-not-before=7; rules=allow-good,allow-unknown",
        "rules=allow-unknown,allow-good; revocation-time-not-before=7",
        "rules=Allow-Good,ALLOW-UNKNOWN; revocation-time-not-before=007",
    ],
)
def test_another_spelling_is_read_and_has_the_mac_of_the_usual_one(header: str) -> None:
    policy = OcspPolicy.parse(header)
    assert policy.encode() == "rules=allow-good,allow-unknown; revocation-time-not-before=7"
    with pytest.raises(ProtocolError):
        verify_mac(policy, mac(header, KEY), KEY)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "; ",
        "rules=allow-good",
        "revocation-time-not-before=7",
        "rules=allow-good;revocation-time-not-before=7",
        "rules=allow-good;  revocation-time-not-before=7",
        "rules=allow-good; rules=allow-good",
        "rules=allow-good; revocation-time-not-before=7; ",
        "rules=allow-good; revocation-time-not-before=7; rules=allow-good",
        "rules=allow-good; revocation-time-not-before=7; more=1",
        "Rules=allow-good; revocation-time-not-before=7",
        "rules; revocation-time-not-before=7",
        "rules=; revocation-time-not-before=7",
        "rules=allow-unknown; revocation-time-not-before=7",
        "rules=allow-good,; revocation-time-not-before=7",
        "rules=allow-good, allow-unknown; revocation-time-not-before=7",
        "rules=allow-good,allow-bad; revocation-time-not-before=7",
        "rules=allow-good; revocation-time-not-before=",
        "rules=allow-good; revocation-time-not-before=-7",
        "rules=allow-good; revocation-time-not-before=+7",
        "rules=allow-good; revocation-time-not-before=7.0",
        "rules=allow-good; revocation-time-not-before=7\n",
        "rules=allow-good; revocation-time-not-before=\u0667",
        "rules=allow-good; revocation-time-not-before=" + "7" * 16,
        "rules=" + "allow-good," * 100 + "allow-good; revocation-time-not-before=7",
    ],
)
def test_anything_else_is_refused(header: str) -> None:
    with pytest.raises(ProtocolError):
        OcspPolicy.parse(header)


@pytest.mark.parametrize("allow_unknown", [True, False])
def test_a_grace_period_allows_what_was_revoked_within_it(*, allow_unknown: bool) -> None:
    policy = policy_for(NOW, 48 * 3600, allow_unknown=allow_unknown)
    not_before = int((NOW - timedelta(hours=48)).timestamp())
    assert policy == OcspPolicy(allow_revoked=True, allow_unknown=allow_unknown, revocation_not_before=not_before)


def test_without_a_grace_period_nothing_revoked_is_allowed() -> None:
    assert policy_for(NOW, 0, allow_unknown=False) == OcspPolicy(
        allow_revoked=False, allow_unknown=False, revocation_not_before=int(NOW.timestamp())
    )


def test_an_endless_grace_period_still_has_a_header() -> None:
    policy = policy_for(NOW, 10**12, allow_unknown=True)
    assert OcspPolicy.parse(policy.encode()) == policy


@pytest.mark.parametrize("policy", [None, STRICT, UNKNOWN_TOO, REVOKED_TOO])
def test_good_is_always_accepted(policy: OcspPolicy | None) -> None:
    check(policy, parse_statuses(statuses_with("GPU", GOOD)))
    check(policy, ())


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (UNKNOWN_TOO, {"Value": "UNKNOWN"}),
        (REVOKED_TOO, {"Value": "REVOKED", "RevokedAt": "2026-11-20T00:00:00Z"}),
        (REVOKED_TOO, {"Value": "REVOKED", "RevokedAt": "2026-11-20T01:00:00.123456789+01:00"}),
    ],
)
@pytest.mark.parametrize("component", ["GPU", "VBIOS", "Driver"])
def test_what_the_policy_allows_is_accepted(component: str, policy: OcspPolicy, status: dict[str, str]) -> None:
    check(policy, parse_statuses(statuses_with(component, status)))


@pytest.mark.parametrize(
    ("policy", "status", "reason"),
    [
        (None, {"Value": "UNKNOWN"}, "its status is unknown"),
        (STRICT, {"Value": "UNKNOWN"}, "its status is unknown"),
        (REVOKED_TOO, {"Value": "UNKNOWN"}, "its status is unknown"),
        (None, {"Value": "REVOKED", "RevokedAt": "2026-11-21T00:00:00Z"}, "it is revoked"),
        (UNKNOWN_TOO, {"Value": "REVOKED", "RevokedAt": "2026-11-21T00:00:00Z"}, "it is revoked"),
        (REVOKED_TOO, {"Value": "REVOKED", "RevokedAt": "2026-11-19T23:59:59Z"}, "it was revoked too long ago"),
        (REVOKED_TOO, {"Value": "REVOKED", "RevokedAt": "2026-11-20T00:59:59+01:00"}, "it was revoked too long ago"),
        (REVOKED_TOO, {"Value": "REVOKED", "RevokedAt": "0001-01-01T00:00:00Z"}, "it was revoked too long ago"),
        (REVOKED_TOO, {"Value": "REVOKED"}, "it is revoked, and nobody says since when"),
    ],
)
@pytest.mark.parametrize(("component", "named"), [("GPU", "GPU"), ("VBIOS", "VBIOS"), ("Driver", "driver")])
def test_what_the_policy_does_not_allow_is_refused(
    component: str, named: str, policy: OcspPolicy | None, status: dict[str, str], reason: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        check(policy, parse_statuses(statuses_with(component, status)))
    assert str(caught.value) == f"The OCSP policy refuses the {named} of GPU 1: {reason}."


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"null",
        b"[{}]",
        b'[{"GPU":{"Value":"GOOD"},"VBIOS":{"Value":"GOOD"}}]',
        statuses_with("GPU", {}),
        statuses_with("GPU", {"Value": "good"}),
        statuses_with("GPU", {"Value": ""}),
        statuses_with("GPU", {"Value": "REVOKED", "RevokedAt": ""}),
        statuses_with("GPU", {"Value": "REVOKED", "RevokedAt": "2026-11-20"}),
        statuses_with("GPU", {"Value": "REVOKED", "RevokedAt": "2026-11-20T00:00:00"}),
        statuses_with("GPU", {"Value": "\xff"}).replace(b"\\u00ff", b"\xff"),
        b"[" * 100_000,
        b"[]" + b" " * MAX_STATUS_BYTES,
    ],
)
def test_statuses_that_are_not_as_they_should_be_are_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="file of OCSP statuses"):
        parse_statuses(text)


def test_statuses_may_hold_more_than_is_read() -> None:
    status = {"Value": "GOOD", "RevokedAt": None, "More": 1}
    assert parse_statuses(json.dumps([{"GPU": status, "VBIOS": status, "Driver": status, "Id": 3}]).encode())
