"""Documents go to the inference proxies that stand beside document backends, without a model's name."""

from collections.abc import Sequence

import pytest

from privity.errors import UpstreamUnreachableError
from privity.http import Headers
from privity.roles.gateway.keys import Keys
from privity.testing.fake_http import FakeResponse, SentRequest, json_response
from privity.testing.gateway_rig import GatewayRig, bearer, gateway_rig, key_for
from privity.testing.in_memory_app import Got

ONE, OTHER = "http://documents-1", "http://documents-2"
PATH = "/unstructured/general/v0/general"


async def ask(rig: GatewayRig, headers: Headers = (), path: str = PATH) -> Got:
    return await rig.ask("POST", path, headers, b"sealed")


async def configured(rig: GatewayRig, urls: Sequence[str]) -> None:
    rig.replicas.says |= dict.fromkeys(urls, ())
    await rig.documents.configure(urls)


def called(rig: GatewayRig) -> list[SentRequest]:
    return [request for request in rig.replicas.http.sent if request.method == "POST"]


async def test_a_document_goes_there_as_it_is_and_needs_no_model() -> None:
    async with gateway_rig({}) as rig:
        await configured(rig, [ONE])
        got = await ask(rig, [(b"content-type", b"multipart/form-data; boundary=b"), (b"privity-end", b"e")])
        assert (got.status, got.json()) == (200, {"answer": 42})
        (sent,) = called(rig)
        assert (sent.url, sent.body) == (f"{ONE}{PATH}", b"sealed")
        assert {b"content-type", b"privity-end", b"x-request-id"} <= dict(sent.headers).keys()


async def test_its_path_is_quoted() -> None:
    async with gateway_rig({}) as rig:
        await configured(rig, [ONE])
        await ask(rig, path="/unstructured/a b?c#d")
        assert called(rig)[0].url == f"{ONE}/unstructured/a%20b%3Fc%23d"


async def test_without_one_a_404_says_how_to_add_it() -> None:
    async with gateway_rig({}) as rig:
        got = await ask(rig)
        assert (got.status, got.json()["error"]["code"]) == (404, "unknown_url")
        assert "--documents" in got.json()["error"]["message"]


async def test_one_that_is_away_is_a_503_and_another_is_asked_in_its_place() -> None:
    async with gateway_rig({}) as rig:
        rig.replicas.says |= {ONE: UpstreamUnreachableError("canary"), OTHER: ()}
        await rig.documents.configure([ONE])
        assert (await ask(rig)).status == 503
        await rig.documents.configure([ONE, OTHER])
        assert (await ask(rig)).status == 200
        assert called(rig)[0].url.startswith(OTHER)


async def test_one_that_failed_lately_is_the_last_choice() -> None:
    def infer(request: SentRequest) -> FakeResponse:
        return json_response({}, 502 if request.url.startswith(ONE) else 200)

    async with gateway_rig({}, infer) as rig:
        await configured(rig, [ONE, OTHER])
        statuses = [(await ask(rig)).status for _ in range(8)]
        assert statuses == [502] * 5 + [200] * 3


async def test_every_key_may_read_documents_and_nobody_else() -> None:
    async with gateway_rig({}) as rig:
        await configured(rig, [ONE])
        rig.models.keys = Keys([key_for("k")])
        assert (await ask(rig)).status == 401
        assert (await ask(rig, bearer("k"))).status == 200


async def test_a_document_is_bounded() -> None:
    async with gateway_rig({}) as rig:
        await configured(rig, [ONE])
        got = await ask(rig, [(b"content-length", str(50 * 1024 * 1024 + 1).encode())])
        assert (got.status, called(rig)) == (413, [])


async def test_those_that_stay_keep_what_is_known_of_them() -> None:
    async with gateway_rig({}) as rig:
        await configured(rig, [ONE])
        (first,) = rig.documents.replicas
        rig.replicas.says |= {OTHER: ()}
        (new,) = await rig.documents.configure([OTHER, ONE, ONE])
        assert [each.url for each in rig.documents.replicas] == [OTHER, ONE]
        assert rig.documents.replicas[1] is first
        assert new.url == OTHER


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_nothing_but_post_is_passed_on(method: str) -> None:
    async with gateway_rig({}) as rig:
        await configured(rig, [ONE])
        assert (await rig.ask(method, PATH)).status == 405
        assert called(rig) == []
