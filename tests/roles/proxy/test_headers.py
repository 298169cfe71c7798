import platform
from collections.abc import Callable

import pytest

from privity.http import Headers, header
from privity.protocol.ocsp_policy import OcspPolicy, verify_mac
from privity.roles.proxy.headers import VERSION, HeaderPolicy, architecture
from privity.testing.proxy_rig import CHAT, Rig

LEAVE = {b"accept", b"anthropic-beta", b"anthropic-version"}
STAY = {
    *(b"accept-encoding", b"accept-language", b"connection", b"content-length", b"cookie", b"forwarded", b"host"),
    *(b"openai-organization", b"origin", b"privatemode-target-model", b"privatemode-secret-id", b"privity-end"),
    *(b"privatemode-user-request-id", b"privatemode-encrypted", b"privatemode-shard-key", b"privatemode-client"),
    *(b"proxy-authorization", b"referer", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"user-agent", b"via"),
    *(b"x-api-key", b"x-forwarded-for", b"x-request-id", b"x-stainless-os", b"content-type"),
}
ALL: Headers = [(name, b"canary") for name in sorted(LEAVE | STAY)]


@pytest.mark.parametrize("action", ["infer", "list", "retrieve"])
async def test_only_listed_headers_leave(make_rig: Callable[..., Rig], action: str) -> None:
    rig = make_rig(api_key="our-key")
    match action:
        case "infer":
            await rig.ask(CHAT, b'{"model": "m", "messages": []}', *ALL)
        case "list":
            await rig.view(*ALL)
        case _:
            await rig.models.retrieve(rig.request("/v1/models/m", *ALL), "m")
    (sent,) = rig.sent
    leave = LEAVE if action == "infer" else set()  # the list is one for all forms that apps may have it in
    assert {name for name, value in sent.headers if b"canary" in value} == leave
    ours = {name for name, _ in sent.headers} - LEAVE
    common = {b"authorization", b"privatemode-version", b"privatemode-os", b"privatemode-architecture"}
    common |= {b"privatemode-client", b"privatemode-user-request-id"}
    policy = b"privatemode-nvidia-ocsp-policy"
    encrypted = {b"content-type", b"privatemode-secret-id", policy, policy + b"-mac", b"privatemode-target-model"}
    assert ours == (common | encrypted | {b"privity-end"} if action == "infer" else common)
    assert len(sent.headers) == len({name for name, _ in sent.headers})


async def test_a_key_of_the_app_goes_on_where_none_is_configured(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    for name, value in ((b"authorization", b"Bearer k"), (b"x-api-key", b"k")):
        await rig.models.retrieve(rig.request("/v1/models/m", (name, value)), "m")
        assert header(rig.sent[-1].headers, b"authorization") == b"Bearer k"
        assert header(rig.sent[-1].headers, b"x-api-key") is None
    rig = make_rig()
    await rig.models.retrieve(rig.request("/v1/models/m"), "m")
    assert header(rig.sent[-1].headers, b"authorization") is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"chat"', b"chat"),
        ('"org/chat:q4"', b"org/chat:q4"),
        ('"modèle-€-模型"', "modèle-€-模型".encode()),
        ('"\\u6a21\\u578b"', "模型".encode()),
        ('"\\ud83d\\ude00"', "😀".encode()),
        ('"' + "m" * 256 + '"', b"m" * 256),
    ],
)
async def test_a_header_names_the_model_that_the_body_names(
    make_rig: Callable[..., Rig], written: str, expected: bytes
) -> None:
    rig = make_rig()
    await rig.ask(CHAT, f'{{"model": {written}, "messages": []}}'.encode())
    assert header(rig.sent[0].headers, b"privatemode-target-model") == expected


@pytest.mark.parametrize(
    ("allow_unknown", "grace", "expected"),
    [
        (True, 3600, "rules=allow-good,allow-revoked,allow-unknown; revocation-time-not-before="),
        (False, 0, "rules=allow-good; revocation-time-not-before="),
    ],
)
async def test_the_gpu_policy_is_bound_to_the_secret(
    make_rig: Callable[..., Rig], *, allow_unknown: bool, grace: int, expected: str
) -> None:
    rig = make_rig(policy=HeaderPolicy(ocsp_allow_unknown=allow_unknown, ocsp_grace_seconds=grace))
    await rig.chat()
    headers = {name: value.decode() for name, value in rig.sent[0].headers}
    policy = headers[b"privatemode-nvidia-ocsp-policy"]
    assert policy == f"{expected}{int(rig.time.wall) - grace}"
    secret = rig.deployment.secrets[headers[b"privatemode-secret-id"]]
    verify_mac(OcspPolicy.parse(policy), headers[b"privatemode-nvidia-ocsp-policy-mac"], secret.key)


async def test_the_client_names_itself_and_its_machine(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    await rig.chat()
    headers = dict(rig.sent[0].headers)
    assert headers[b"privatemode-version"] == VERSION == b"v1.40.0"
    assert headers[b"privatemode-client"] == b"Proxy"
    assert headers[b"privatemode-os"] in {b"linux", b"darwin"}
    assert headers[b"privatemode-architecture"] == architecture().encode()


@pytest.mark.parametrize(
    ("machine", "name"),
    [("x86_64", "amd64"), ("AMD64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64"), ("riscv64", "riscv64")],
)
def test_architectures_have_gos_names(monkeypatch: pytest.MonkeyPatch, machine: str, name: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert architecture() == name
