"""Whom a client trusts that speaks with hosts by their own names: whom the system trusts, or the user says."""

import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

from privity.errors import StartError

if sys.platform == "darwin":
    import truststore


def system_context() -> ssl.SSLContext:
    """Return the TLS settings of such a client.

    OpenSSL reads `SSL_CERT_FILE` and `SSL_CERT_DIR`. On macOS the keychain counts besides, which OpenSSL doesn't know.
    """
    if sys.platform == "darwin":
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_default_verify_paths()
    else:
        context = ssl.create_default_context()
    return context


def require_trust_files(environment: Mapping[str, str]) -> None:
    """Raise `StartError` where `SSL_CERT_FILE` or `SSL_CERT_DIR` can't be used: OpenSSL ignores that in silence."""
    file, directories = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    try:
        if file:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:
        raise StartError(
            f"SSL_CERT_FILE names {file}, which can't be read, or holds no certificates in PEM form.",
            "Let it name a file with the CAs that you trust, or unset it.",
        ) from error
    if directories and not any(Path(each).is_dir() for each in directories.split(os.pathsep)):
        raise StartError(f"SSL_CERT_DIR names {directories}, which is no directory.", "Correct it, or unset it.")
