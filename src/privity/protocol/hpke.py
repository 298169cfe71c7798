"""HPKE's secret export (RFC 9180): base mode with X-Wing, HKDF-SHA256 and no encryption.

Only the key schedule is here. The KEM is in `xwing`; its shared secret goes in as it is, since X-Wing needs no
`ExtractAndExpand`. The library's own HPKE can't export.
"""

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_KEM_XWING = 0x647A
_KDF_HKDF_SHA256 = 0x0001
_AEAD_EXPORT_ONLY = 0xFFFF
_SUITE_ID = b"HPKE" + b"".join(part.to_bytes(2) for part in (_KEM_XWING, _KDF_HKDF_SHA256, _AEAD_EXPORT_ONLY))
_VERSION = b"HPKE-v1"
_MODE_BASE = b"\x00"
_HASH_BYTES = 32
_NO_PSK = _NO_PSK_ID = _NO_SALT = b""


def exported_secret(shared_secret: bytes, info: bytes = b"", context: bytes = b"", length: int = 32) -> bytes:
    """Return the secret of `length` bytes that both sides of a KEM's shared secret can export.

    Args:
        shared_secret: of the KEM.
        info: what the whole context is bound to.
        context: what this one export is bound to.
        length: in bytes, at most 255 * 32.
    """
    # Section 5.1, KeySchedule in base mode.
    schedule_context = (
        _MODE_BASE
        + _labeled_extract(_NO_SALT, b"psk_id_hash", _NO_PSK_ID)
        + _labeled_extract(_NO_SALT, b"info_hash", info)
    )
    secret = _labeled_extract(shared_secret, b"secret", _NO_PSK)
    exporter_secret = _labeled_expand(secret, b"exp", schedule_context, _HASH_BYTES)
    # Section 5.3, Context.Export.
    return _labeled_expand(exporter_secret, b"sec", context, length)


def _labeled_extract(salt: bytes, label: bytes, key_material: bytes) -> bytes:
    return hmac.digest(salt, _VERSION + _SUITE_ID + label + key_material, "sha256")


def _labeled_expand(key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled_info = length.to_bytes(2) + _VERSION + _SUITE_ID + label + info
    return HKDFExpand(SHA256(), length, labeled_info).derive(key)
