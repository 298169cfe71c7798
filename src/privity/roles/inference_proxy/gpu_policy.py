"""Whether the machine's GPUs are ones that the client accepts (wire-protocol.md section 8)."""

import hmac
from pathlib import Path

from privity.errors import InvalidRequestError, ProtocolError, StartError
from privity.http import Headers, header
from privity.protocol.ocsp_policy import (
    MAX_STATUS_BYTES,
    GpuStatus,
    OcspPolicy,
    check,
    parse_statuses,
    verify_mac,
)
from privity.protocol.secret import Secret

POLICY = b"privatemode-nvidia-ocsp-policy"
MAC = b"privatemode-nvidia-ocsp-policy-mac"
SECRET_ID = b"privatemode-secret-id"


def check_policy(headers: Headers, secret: Secret, statuses: tuple[GpuStatus, ...]) -> None:
    """Check that the client's policy accepts all GPUs.

    1. Both headers of the policy are there, or none.
    2. The policy's MAC is by the secret that the header `Privatemode-Secret-ID` names, and the request is encrypted
       with that secret: a gateway, which may agree on secrets of its own, must not put in a policy of its own.
    3. The policy, GOOD alone where there is none, accepts the status of each GPU, driver and VBIOS.

    Not checked: that a gateway has not replaced the policy by another one of the same client and secret, or taken both
    headers away (which leaves the strictest policy).

    Args:
        headers: the request's.
        secret: what the request is encrypted with.
        statuses: of this machine's GPUs; empty where there is nothing to check.

    Raises:
        InvalidRequestError: one of these doesn't hold. A policy that isn't met is the client's to change, and trying
            again doesn't help: so 400, and nothing of the 500s, which clients repeat.
    """
    text, mac = header(headers, POLICY), header(headers, MAC)
    if (text is None) != (mac is None):  # 1.
        raise InvalidRequestError("The OCSP policy and its MAC must come together.", code="invalid_ocsp_policy")
    policy = None
    if text is not None and mac is not None:
        policy = _verified(text, mac, header(headers, SECRET_ID), secret)  # 2.
    try:
        check(policy, statuses)  # 3.
    except ProtocolError as error:
        raise InvalidRequestError(str(error), code="ocsp_policy_not_met") from error


def _verified(text: bytes, mac: bytes, secret_id: bytes | None, secret: Secret) -> OcspPolicy:
    if secret_id is None or not hmac.compare_digest(secret_id, secret.id.encode()):
        raise InvalidRequestError(
            "Privatemode-Secret-ID must name the secret that the request is encrypted with.", code="invalid_ocsp_policy"
        )
    try:
        policy = OcspPolicy.parse(text.decode(errors="replace"))
        verify_mac(policy, mac.decode(errors="replace"), secret.key)
    except ProtocolError as error:
        raise InvalidRequestError(str(error), code="invalid_ocsp_policy") from error
    return policy


def read_statuses(path: Path) -> tuple[GpuStatus, ...]:
    """Read the file that the GPU attestation step writes.

    Raises:
        StartError: it can't be read, or isn't one.
    """
    try:
        with path.open("rb") as file:
            return parse_statuses(file.read(MAX_STATUS_BYTES + 1))
    except OSError as error:
        raise StartError(f"{path} can't be read ({error.strerror}).", "Check the path and its permissions.") from error
    except ProtocolError as error:
        raise StartError(f"{path} can't be used. {error}", "Name the file that the GPU attestation wrote.") from error
