"""The headers that leave the user's machine (wire-protocol.md sections 2, 7 and 8)."""

import platform
import sys
from datetime import UTC, datetime
from functools import lru_cache

from privity.http import Headers
from privity.protocol.ocsp_policy import mac, policy_for
from privity.protocol.secret import Secret
from privity.roles.proxy.request import PlainRequest

VERSION = b"v1.40.0"
"""The version of the protocol that this proxy speaks, in the form of the deployed clients' own versions."""

_PASSED_ON = frozenset({b"accept", b"anthropic-beta", b"anthropic-version"})
"""The app's headers that go on as they are."""

REMEMBERED = 4
"""Secrets and seconds whose headers are kept: all requests of one second share them."""

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class HeaderPolicy:
    """What every request says of this proxy and of what its user accepts.

    Args:
        ocsp_allow_unknown: whether a GPU is accepted whose certificate's status nobody knows.
        ocsp_grace_seconds: for how long one is accepted whose certificate was revoked.
    """

    def __init__(self, *, ocsp_allow_unknown: bool, ocsp_grace_seconds: int) -> None:
        self._ocsp_allow_unknown = ocsp_allow_unknown
        self._ocsp_grace_seconds = ocsp_grace_seconds
        self._own = [
            (b"privatemode-version", VERSION),
            (b"privatemode-os", sys.platform.encode()),
            (b"privatemode-architecture", architecture().encode()),
            (b"privatemode-client", b"Proxy"),
        ]
        self._by_secret = lru_cache(REMEMBERED)(self._of_secret)

    def common(self, headers: Headers, authorization: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return the headers of any request, plain ones included."""
        passed = [each for each in headers if each[0] in _PASSED_ON]
        return [*passed, *([] if authorization is None else [(b"authorization", authorization)]), *self._own]

    def encrypted(self, request: PlainRequest, secret: Secret, now: float) -> list[tuple[bytes, bytes]]:
        """Return what an encrypted request bears besides; `now` in Unix seconds."""
        headers = [*self._by_secret(secret, int(now))]
        if request.model is not None:
            headers.append((b"privatemode-target-model", request.model.encode()))
        if request.shard_key is not None:
            headers.append((b"privatemode-shard-key", request.shard_key.encode()))
        return headers

    def _of_secret(self, secret: Secret, second: int) -> list[tuple[bytes, bytes]]:
        moment = datetime.fromtimestamp(second, UTC)
        policy = policy_for(moment, self._ocsp_grace_seconds, allow_unknown=self._ocsp_allow_unknown).encode()
        return [
            (b"privatemode-secret-id", secret.id.encode()),
            (b"privatemode-nvidia-ocsp-policy", policy.encode()),
            (b"privatemode-nvidia-ocsp-policy-mac", mac(policy, secret.key).encode()),
        ]


def architecture() -> str:
    """Return this machine's architecture by Go's names."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)
