from collections.abc import Callable
from typing import Any

import pytest

from privity.catalogue.model import Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.engine import EngineModel
from privity.engines.tei import TeiEngine
from privity.errors import NotSupportedError, UpstreamProtocolError
from privity.testing.fake_http import FakeHttpClient

Recorded = Callable[[str], Any]
Serving = Callable[[dict[str, Any]], tuple[EngineConnection, FakeHttpClient]]


async def test_a_model_for_embeddings_embeds(recorded: Recorded, serving: Serving) -> None:
    models = await TeiEngine(serving({"/info": recorded("tei/info_embedding")})[0]).describe()
    facts, evidence = Facts(quantization="float16"), (Evidence("embed", "engine"),)
    assert models == (EngineModel("BAAI/bge-m3", ("embed",), 4096, facts=facts, evidence=evidence),)


async def test_a_model_that_ranks_has_no_task_and_nothing_to_find_out(recorded: Recorded, serving: Serving) -> None:
    (model,) = await TeiEngine(serving({"/info": recorded("tei/info_reranker")})[0]).describe()
    assert (model.name, model.tasks, model.untold) == ("BAAI/bge-reranker-v2-m3", (), ())


@pytest.mark.parametrize("kind", [{"classifier": {"id2label": {}}}, {"embedding": {"pooling": "splade"}}, {}])
async def test_what_the_endpoint_refuses_is_no_task(kind: dict[str, Any], recorded: Recorded, serving: Serving) -> None:
    info = recorded("tei/info_embedding") | {"model_type": kind}
    assert (await TeiEngine(serving({"/info": info})[0]).describe())[0].tasks == ()


async def test_its_own_name_for_the_model_counts(recorded: Recorded, serving: Serving) -> None:
    info = recorded("tei/info_embedding") | {"served_model_name": "bge"}
    assert (await TeiEngine(serving({"/info": info})[0]).describe())[0].name == "bge"


@pytest.mark.parametrize("change", [{"model_type": "x"}, {"model_id": None}, {"max_input_length": "512"}])
async def test_odd_answers_are_an_upstream_error(change: dict[str, Any], recorded: Recorded, serving: Serving) -> None:
    with pytest.raises(UpstreamProtocolError):
        await TeiEngine(serving({"/info": recorded("tei/info_embedding") | change})[0]).describe()


async def test_only_embeddings_are_passed_on(serving: Serving) -> None:
    connection, http = serving({"/v1/embeddings": {"data": []}})
    engine = TeiEngine(connection)
    assert await engine.answer("/v1/embeddings", {"model": "m", "input": "a"}) == {"data": []}
    with pytest.raises(NotSupportedError):
        await engine.answer("/v1/chat/completions", {"model": "m"})
    assert len(http.sent) == 1
