from datetime import UTC, datetime
from pathlib import Path

import pytest

from privity.errors import InvalidRequestError, StartError
from privity.http import Headers
from privity.protocol.ocsp_policy import MAX_STATUS_BYTES, GpuStatus, OcspPolicy, Status, mac
from privity.protocol.secret import Secret
from privity.roles.inference_proxy.gpu_policy import MAC, POLICY, SECRET_ID, check_policy, read_statuses
from privity.testing.sealed import SECRET

OTHER = Secret("b3RoZXIgc2VjcmV0IGZvciB0ZXN0cywga25vd24gLi4=", bytes(32))
LAX = OcspPolicy(allow_revoked=True, allow_unknown=True, revocation_not_before=1_000_000)
STRICT = OcspPolicy(allow_revoked=False, allow_unknown=False, revocation_not_before=0)
GOOD, UNKNOWN = Status("GOOD"), Status("UNKNOWN")
LONG_AGO, LATELY = (Status("REVOKED", datetime.fromtimestamp(at, UTC)) for at in (999_999, 1_000_000))


def gpus(*drivers: Status) -> tuple[GpuStatus, ...]:
    return tuple(GpuStatus(gpu=GOOD, vbios=GOOD, driver=driver) for driver in drivers)


def headers(policy: OcspPolicy, secret: Secret = SECRET) -> Headers:
    text = policy.encode()
    return [(POLICY, text.encode()), (MAC, mac(text, secret.key).encode()), (SECRET_ID, secret.id.encode())]


@pytest.mark.parametrize(
    ("given", "statuses"),
    [
        ([], ()),
        ([], gpus(GOOD, GOOD)),
        (headers(STRICT), ()),
        (headers(STRICT), gpus(GOOD)),
        (headers(LAX), gpus(GOOD, UNKNOWN, LATELY)),
    ],
)
def test_a_policy_that_is_met(given: Headers, statuses: tuple[GpuStatus, ...]) -> None:
    check_policy(given, SECRET, statuses)


@pytest.mark.parametrize(
    ("given", "statuses"),
    [([], gpus(UNKNOWN)), ([], gpus(LATELY)), (headers(STRICT), gpus(GOOD, UNKNOWN)), (headers(LAX), gpus(LONG_AGO))],
)
def test_a_policy_that_is_not_met(given: Headers, statuses: tuple[GpuStatus, ...]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_policy(given, SECRET, statuses)
    assert (caught.value.status, caught.value.code) == (400, "ocsp_policy_not_met")


REORDERED = LAX.encode().replace("allow-revoked,allow-unknown", "allow-unknown,allow-revoked").encode()
BY_ANOTHER = [*headers(LAX, OTHER)[:2], (SECRET_ID, SECRET.id.encode())]


@pytest.mark.parametrize(
    "given",
    [
        headers(LAX)[:1],
        headers(LAX)[1:2],
        headers(LAX)[:2],
        headers(LAX, OTHER),
        BY_ANOTHER,
        [headers(LAX)[0], headers(STRICT)[1], headers(LAX)[2]],
        [headers(LAX)[0], (MAC, b"\xff"), headers(LAX)[2]],
        [(POLICY, b"\xff"), *headers(LAX)[1:]],
        [(POLICY, b"rules=allow-all; revocation-time-not-before=0"), *headers(LAX)[1:]],
        [(POLICY, REORDERED), (MAC, mac(REORDERED.decode(), SECRET.key).encode()), headers(LAX)[2]],
    ],
    ids=[
        *("policy alone", "MAC alone", "no secret named", "another secret", "another secret's MAC", "another MAC"),
        *("MAC not ASCII", "policy not UTF-8", "unknown rule", "not canonical"),
    ],
)
@pytest.mark.parametrize("statuses", [(), gpus(GOOD)])
def test_a_policy_that_is_not_the_clients(given: Headers, statuses: tuple[GpuStatus, ...]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_policy(given, SECRET, statuses)
    assert (caught.value.status, caught.value.code) == (400, "invalid_ocsp_policy")


def test_statuses_are_read_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.write_text('[{"GPU":{"Value":"GOOD"},"VBIOS":{"Value":"GOOD"},"Driver":{"Value":"UNKNOWN"}}]')
    assert read_statuses(file) == gpus(UNKNOWN)


@pytest.mark.parametrize("content", [b"", b"{}", b'[{"GPU":{}}]', b"[" * 9999, b" " * MAX_STATUS_BYTES + b"[]"])
def test_a_file_that_holds_none_keeps_the_program_from_starting(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "status.json"
    file.write_bytes(content)
    with pytest.raises(StartError, match=r"status\.json"):
        read_statuses(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        read_statuses(tmp_path / "none.json")
