"""How apps reach a proxy, and how it reaches a gateway: TLS, a Unix domain socket, and a company's proxy between."""

import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import openai
import pytest
from openai import OpenAI

from privity.protocol.mesh import MeshCa
from privity.testing.connect_proxy import ConnectProxy, connect_proxy, tls_in_front_of, write_tls_files
from privity.testing.programs import PRIVITY, Program, Up, program

CHAT = "smollm2-135m-instruct"
GATEWAY = "https://gateway.test"
PASSWORD = "open-sesame"  # noqa: S105  # to be looked for in logs
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Deployment:
    """What another proxy must know of a deployment."""

    gateway: str
    mesh_ca: str


@pytest.fixture(scope="module")
def deployment(running: Up) -> Deployment:
    shown = re.search(r"privity proxy --gateway (\S+) --mesh-ca (\S+)", running.program.out.read_text())
    assert shown is not None
    return Deployment(shown[1], shown[2])


@dataclass(frozen=True)
class Company:
    """A gateway behind TLS with a certificate of a private CA, and the one proxy that lets out to it."""

    proxy: ConnectProxy
    ca: Path


@pytest.fixture(scope="module")
def company(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    directory = tmp_path_factory.mktemp("company")
    ca = MeshCa.create(NOW)
    (directory / "ca.pem").write_bytes(ca.certificate_pem())
    files = write_tls_files(ca.issue("gateway.test", NOW), directory)
    with (
        tls_in_front_of(int(deployment.gateway.rsplit(":", 1)[1]), files) as port,
        connect_proxy({"gateway.test:443": port}, user=f"user:{PASSWORD}") as proxy,
    ):
        yield Company(proxy, directory / "ca.pem")


@contextmanager
def proxy_program(directory: Path, *arguments: str, **environment: str) -> Iterator[tuple[Program, str]]:
    """Run `privity proxy` with further variables of the environment; yield it and its URL."""
    command = ("env", *(f"{name}={value}" for name, value in environment.items()), str(PRIVITY))
    with program(directory, "proxy", *arguments, "--log-level", "debug", command=command) as started:
        yield started, started.out.read_text().split(" serves on ")[1].strip()


def client(url: str, transport: httpx2.HTTPTransport) -> OpenAI:
    http = httpx2.Client(transport=transport, timeout=60)
    return OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, http_client=http)


def trusting(ca: MeshCa) -> httpx2.HTTPTransport:
    return httpx2.HTTPTransport(verify=ssl.create_default_context(cadata=ca.certificate_pem().decode()))


def chat(asking: OpenAI) -> str:
    stream = asking.chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": "Say hello."}], max_tokens=4, stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_tls_is_renewed_while_it_serves_and_the_gateway_is_reached_through_the_companys_proxy(
    deployment: Deployment, company: Company, tmp_path: Path
) -> None:
    first, second = MeshCa.create(NOW), MeshCa.create(NOW)
    files = write_tls_files(first.issue("localhost", NOW), tmp_path)
    options = ("--gateway", GATEWAY, "--mesh-ca", deployment.mesh_ca, "--port", "0")
    tls = ("--tlsCertPath", str(files.certificate), "--tlsKeyPath", str(files.key))
    out = {"HTTPS_PROXY": company.proxy.url, "SSL_CERT_FILE": str(company.ca)}
    with proxy_program(tmp_path / "proxy", *options, *tls, **out) as (started, address):
        assert address.startswith("https://127.0.0.1:")
        url = address.replace("127.0.0.1", "localhost")
        with closing(client(url, trusting(first))) as old, closing(client(url, trusting(second))) as new:
            assert chat(old)
            with pytest.raises(openai.APIConnectionError):
                new.models.list()
            write_tls_files(second.issue("localhost", NOW), tmp_path)
            assert new.models.list().data
        with closing(client(url, trusting(first))) as late, pytest.raises(openai.APIConnectionError):
            late.models.list()
    assert company.proxy.heads
    assert all(head.startswith(b"CONNECT gateway.test:443 ") for head in company.proxy.heads)
    assert PASSWORD not in started.err.read_text()


def test_a_gateway_whose_ca_nobody_named_gets_no_request(
    deployment: Deployment, company: Company, tmp_path: Path
) -> None:
    options = ("--gateway", GATEWAY, "--mesh-ca", deployment.mesh_ca, "--port", "0")
    with (
        proxy_program(tmp_path / "proxy", *options, HTTPS_PROXY=company.proxy.url) as (started, url),
        closing(client(url, httpx2.HTTPTransport())) as asking,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        chat(asking)
    assert (caught.value.status_code, caught.value.code) == (503, "certificate_not_trusted")
    assert "SSL_CERT_FILE" in caught.value.message
    assert PASSWORD not in started.err.read_text() + caught.value.message


def test_a_unix_socket_serves_the_openai_client_and_curl(deployment: Deployment, tmp_path: Path) -> None:
    options = ("--gateway", deployment.gateway, "--mesh-ca", deployment.mesh_ca)
    with TemporaryDirectory() as directory:  # pytest's own are too long for a socket on macOS
        path = Path(directory, "proxy.sock")
        company = {"HTTP_PROXY": "http://192.0.2.1", "all_proxy": "socks5://192.0.2.1"}  # not for loopback
        with proxy_program(tmp_path / "proxy", *options, "--unix-socket", str(path), **company) as (_, url):
            assert url == "http+unix://" + str(path).replace("/", "%2F")
            with closing(client("http://localhost", httpx2.HTTPTransport(uds=str(path)))) as asking:
                assert chat(asking)
            curl = ["curl", "-sS", "--unix-socket", str(path), "http://privity/v1/models"]
            assert CHAT in subprocess.run(curl, capture_output=True, text=True, check=True).stdout
        assert not path.exists()
