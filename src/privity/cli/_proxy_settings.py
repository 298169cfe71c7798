"""What the options of `privity proxy` come to."""

import argparse
import secrets
from collections.abc import Iterator
from pathlib import Path

from privity.cli._mesh import read_ca
from privity.cli._program import GATEWAY
from privity.errors import StartError
from privity.protocol.cache_salt import MIN_CHARACTERS, RANDOM_BYTES, random_salt
from privity.roles.proxy.config import Settings
from privity.transport.http_client import outgoing_proxy
from privity.transport.http_client.request import split_url
from privity.transport.tls_files import TlsFiles
from privity.transport.trust import require_trust_files

DUMPS = "requests"
"""The directory in the workspace where requests are written."""

_OF_NO_USE = ("cdn_base_url", "ss_endpoint", "coordinator_endpoint")
"""Options of the deployed proxy that need what isn't there, or that it ignores itself."""


def proxy_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings that options come to. Raises `StartError` where they make no sense together."""
    _require_trust(arguments)
    if not arguments.nvidia_ocsp_allow_unknown and arguments.nvidia_ocsp_revoked_grace_period:
        raise StartError(
            "GPUs of unknown status are refused, but revoked ones accepted for a while, which makes no sense.",
            "Give --nvidia-ocsp-revoked-grace-period 0 as well.",
        )
    gateway = _gateway(arguments)
    if gateway.startswith("https://"):
        require_trust_files(arguments.environ)
    return Settings(
        gateway=gateway,
        mesh_ca=read_ca(arguments.mesh_ca),
        host=arguments.host,
        port=arguments.port,
        tls=_tls(arguments.tls_cert_path, arguments.tls_key_path),
        unix_socket=arguments.unix_socket,
        outgoing=outgoing_proxy(arguments.environ, gateway),
        answer_timeout=arguments.answer_timeout,
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_origins=tuple(arguments.allowed_origin),
        api_key=arguments.api_key,
        shared_salt=shared_salt(shared=arguments.shared_prompt_cache, salt=arguments.prompt_cache_salt),
        unsigned_models=arguments.unsigned_models,
        ocsp_allow_unknown=arguments.nvidia_ocsp_allow_unknown,
        ocsp_revoked_grace_seconds=arguments.nvidia_ocsp_revoked_grace_period * 3600,
        dump_to=arguments.workspace / DUMPS if arguments.dump_requests else None,
    )


def warnings_of(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield what whoever starts a proxy with these options should know."""
    if arguments.dump_requests:
        yield (
            f"--dump-requests: every prompt and every answer is written to {arguments.workspace / DUMPS} in clear, and "
            "nothing deletes them. Don't use it longer than you look for a fault."
        )
    if arguments.insecure_api_connection:
        yield (
            "--insecure-api-connection: the connection to the gateway has no TLS. Prompts and answers are encrypted "
            "nevertheless, but whoever is on the way sees the API key, and can use it."
        )
    for key in _OF_NO_USE:
        if getattr(arguments, key) is not None:
            yield f"--{key.replace('_', '-')} is of no use to this proxy, and was ignored."


def shared_salt(*, shared: bool, salt: str | None) -> str | None:
    """Return the cache salt that requests share, if they do. Raises `StartError`."""
    if salt is None:
        return random_salt(secrets.token_bytes(RANDOM_BYTES)) if shared else None
    if not shared:
        raise StartError("--prompt-cache-salt is of no use alone.", "Add --shared-prompt-cache.")
    if len(salt) < MIN_CHARACTERS:
        raise StartError(
            f"The prompt cache's salt has fewer than {MIN_CHARACTERS} characters, so it could be guessed.",
            "Make one: openssl rand -base64 32",
        )
    try:
        salt.encode()
    except UnicodeEncodeError as error:
        raise StartError("The prompt cache's salt isn't text.", "Make one: openssl rand -base64 32") from error
    return salt


def endpoint(text: str) -> str:
    """Return `HOST:PORT` for argparse; the port is 443 where none is said."""
    try:
        origin, target = split_url(f"https://{text}")
    except ValueError:
        target = ""
    if target != "/" or text.endswith("/"):
        raise argparse.ArgumentTypeError("an API endpoint is HOST:PORT, without https://; --gateway takes a URL")
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return f"{host}:{origin.port}"


def _gateway(arguments: argparse.Namespace) -> str:
    """Return the gateway's base URL."""
    insecure: bool = arguments.insecure_api_connection
    if arguments.api_endpoint is None:
        if insecure:
            problem = "--insecure-api-connection belongs to --api-endpoint."
            raise StartError(problem, "Say http:// in the URL of --gateway where its connection shall have no TLS.")
        return arguments.gateway or GATEWAY
    if arguments.gateway is not None:
        raise StartError("--gateway and --api-endpoint both say where the gateway is.", "Leave one of them out.")
    return f"{'http' if insecure else 'https'}://{arguments.api_endpoint}"


def _require_trust(arguments: argparse.Namespace) -> None:
    """Raise `StartError` where it isn't said what the proxy shall trust, or said in a way that it can't check."""
    if arguments.manifest_path is not None:
        raise StartError(
            "--manifest-path: attestation isn't part of Privity yet, so nothing would be checked against a manifest.",
            "Leave it out. What the proxy trusts for now is the CA certificate of --mesh-ca.",
        )
    if arguments.mesh_ca is None:
        raise StartError(
            "--mesh-ca is missing: the certificate of the CA that the deployment's certificates have to come from. "
            "Attestation, by which the deployed proxy finds out by itself whom to trust, isn't part of Privity yet.",
            "Get the file ca.pem from whoever runs the service, or run one: `privity up` shows where its file is, and "
            "`privity mesh DIR` makes one; then give it as --mesh-ca ca.pem.",
        )


def _tls(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("key", "cert") if certificate is None else ("cert", "key")
        raise StartError(
            f"--tls-{given}-path without --tls-{missing}-path: TLS takes a certificate and its key.",
            "Give both, or neither to listen without TLS.",
        )
    return TlsFiles(certificate, key)
