"""NVIDIA OCSP policies (wire-protocol.md section 8): which GPU certificates a client accepts, and whether they are met.

The policy travels in a header, with a MAC by the request's secret beside it, so that a gateway can't loosen it.
"""

import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

import msgspec

from privity.errors import ProtocolError
from privity.protocol.secret import SECRET_BYTES

MAX_STATUS_BYTES = 1024 * 1024
"""Bytes of the status file: one of 16 GPUs has under 8 KiB."""

MAX_HEADER_CHARACTERS = 256
"""Characters of the policy header: the longest possible one has under 100."""

_GOOD = "allow-good"
_REVOKED = "allow-revoked"
_UNKNOWN = "allow-unknown"
_RULES_KEY = "rules"
_TIME_KEY = "revocation-time-not-before"
_SECONDS = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class OcspPolicy:
    """What is accepted besides GOOD."""

    allow_revoked: bool
    allow_unknown: bool
    revocation_not_before: int
    """Unix seconds: what was revoked earlier is refused."""

    def encode(self) -> str:
        """Return the header's value."""
        rules = [_GOOD, *[_REVOKED] * self.allow_revoked, *[_UNKNOWN] * self.allow_unknown]
        return f"{_RULES_KEY}={','.join(rules)}; {_TIME_KEY}={self.revocation_not_before}"

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read the header's value. The two parts, and the rules, may come in any order, the rules in any case.

        Not checked: the MAC (see `verify_mac`).

        Raises:
            ProtocolError: it doesn't consist of both parts, with rules that are known and a time.
        """
        parts = [part.partition("=") for part in header.split("; ")] if len(header) <= MAX_HEADER_CHARACTERS else []
        values = {key: value for key, _, value in parts}
        if len(parts) != len(values) or values.keys() != {_RULES_KEY, _TIME_KEY}:
            raise ProtocolError("The OCSP policy doesn't consist of rules and a time.")
        rules = set(values[_RULES_KEY].lower().split(","))
        if _GOOD not in rules or not rules <= {_GOOD, _REVOKED, _UNKNOWN}:
            raise ProtocolError("The OCSP policy's rules aren't all known, or don't allow GOOD.")
        if not _SECONDS.fullmatch(values[_TIME_KEY]):
            raise ProtocolError("The OCSP policy's time isn't a number of seconds.")
        return cls(_REVOKED in rules, _UNKNOWN in rules, int(values[_TIME_KEY]))


class Status(msgspec.Struct, frozen=True, rename="pascal"):
    """The OCSP status of one component's certificates."""

    value: Literal["GOOD", "REVOKED", "UNKNOWN"]
    revoked_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class GpuStatus(msgspec.Struct, frozen=True):
    """The OCSP statuses of one GPU."""

    gpu: Status = msgspec.field(name="GPU")
    vbios: Status = msgspec.field(name="VBIOS")
    driver: Status = msgspec.field(name="Driver")


def policy_for(now: datetime, grace_seconds: int, *, allow_unknown: bool) -> OcspPolicy:
    """Return a client's policy: what was revoked less than `grace_seconds` before `now` is accepted; none if 0."""
    return OcspPolicy(
        allow_revoked=grace_seconds > 0,
        allow_unknown=allow_unknown,
        revocation_not_before=max(0, int(now.timestamp()) - grace_seconds),
    )


def mac(policy_text: str, secret_key: bytes) -> str:
    """Return the MAC header's value: HMAC-SHA256 in lower-case hex, with the secret's first 32 bytes as its key."""
    return hmac.digest(secret_key[:SECRET_BYTES], policy_text.encode(), "sha256").hex()


def verify_mac(policy: OcspPolicy, claimed: str, secret_key: bytes) -> None:
    """Verify a policy's MAC, in constant time.

    It covers the policy as `encode` writes it: one that came in another order or case has no valid MAC.

    Raises:
        ProtocolError: the MAC isn't the policy's by this secret.
    """
    if not hmac.compare_digest(mac(policy.encode(), secret_key).encode(), claimed.encode(errors="replace")):
        raise ProtocolError("The OCSP policy's MAC isn't valid.")


def parse_statuses(text: bytes) -> tuple[GpuStatus, ...]:
    """Read the status file's JSON.

    Raises:
        ProtocolError: it is too long, or isn't what the GPU attestation step writes.
    """
    if len(text) > MAX_STATUS_BYTES:
        raise ProtocolError(f"The file of OCSP statuses is longer than {MAX_STATUS_BYTES} bytes.")
    try:
        return msgspec.json.decode(text, type=tuple[GpuStatus, ...])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError("The file of OCSP statuses isn't the JSON list that is wanted.") from error


def check(policy: OcspPolicy | None, statuses: tuple[GpuStatus, ...]) -> None:
    """Check that a policy accepts all statuses; none accepts only GOOD.

    Not checked: that there is a GPU at all, and how old the statuses are.

    Raises:
        ProtocolError: it doesn't; the text names the first GPU and component.
    """
    for index, gpu in enumerate(statuses):
        for component, status in (("GPU", gpu.gpu), ("VBIOS", gpu.vbios), ("driver", gpu.driver)):
            reason = _refusal(policy, status)
            if reason:
                raise ProtocolError(f"The OCSP policy refuses the {component} of GPU {index}: {reason}.")


def _refusal(policy: OcspPolicy | None, status: Status) -> str:
    """Return why a status is refused, or nothing."""
    if status.value == "GOOD":
        return ""
    if status.value == "UNKNOWN":
        return "" if policy and policy.allow_unknown else "its status is unknown"
    if not policy or not policy.allow_revoked:
        return "it is revoked"
    if status.revoked_at is None:
        return "it is revoked, and nobody says since when"
    return "" if status.revoked_at.timestamp() >= policy.revocation_not_before else "it was revoked too long ago"
