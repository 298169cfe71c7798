"""The real llama.cpp with a tiny model of random weights: found out, described, and probed as if it told nothing."""

import asyncio
from pathlib import Path

import pytest

from privity.catalogue.model import Evidence, Facts
from privity.engines.connection import EngineConnection
from privity.engines.detect import DetectedEngine
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.embedded.process import EngineProcess
from privity.engines.engine import EngineModel
from privity.engines.probing import ProbedEngine
from privity.testing.tiny_gguf import CONTEXT, write_tiny_gguf
from privity.transport.http_client import PooledHttpClient

FACTS = Facts(parameters=115648, size=462592, embedding_length=64)
MEAN_POOLING = 1


def process_of(tmp_path: Path, pooling: int | None = None) -> EngineProcess:
    model = write_tiny_gguf(tmp_path / "tiny.gguf", pooling=pooling)
    return EngineProcess(ModelFiles(model, None, ("tiny",), 1, "me", None, None, None), tmp_path / "engine.sock")


async def test_a_model_for_text_is_described_with_facts_and_evidence(tmp_path: Path) -> None:
    process = process_of(tmp_path)
    async with process.running(), PooledHttpClient() as http:
        engine = DetectedEngine(EngineConnection(http, process.url, 30), now=lambda: 99.0)
        tasks = ("generate", "tool_calling")
        evidence = tuple(Evidence(task, "engine") for task in tasks)
        assert await engine.describe() == (EngineModel("tiny", tasks, CONTEXT, facts=FACTS, evidence=evidence),)


async def test_a_model_for_embeddings_is_described_with_facts_and_evidence(tmp_path: Path) -> None:
    process = process_of(tmp_path, MEAN_POOLING)
    async with process.running(), PooledHttpClient() as http:
        engine = DetectedEngine(EngineConnection(http, process.url, 30), now=lambda: 99.0)
        (model,) = await engine.describe()
        assert (model.tasks, model.evidence, model.facts) == (("embed",), (Evidence("embed", "probed", 99),), FACTS)


async def found(process: EngineProcess) -> EngineModel:
    """Return the model after probing, as an engine that has no page but OpenAI's."""
    async with process.running(), PooledHttpClient() as http:
        plain = DetectedEngine(EngineConnection(http, process.url, 30), kind="openai")
        engine = ProbedEngine(plain, budget=6, pause=0.0, now=lambda: 99.0)
        await engine.describe()
        async with asyncio.timeout(60):
            await engine.run()
        return (await engine.describe())[0]


@pytest.mark.parametrize(("pooling", "task", "other"), [(None, "generate", "embed"), (MEAN_POOLING, "embed", "vision")])
async def test_probing_finds_out_what_it_can_do(pooling: int | None, task: str, other: str, tmp_path: Path) -> None:
    model = await found(process_of(tmp_path, pooling))
    assert Evidence(task, "probed", 99) in model.evidence
    assert other not in model.tasks
    assert "transcribe" not in model.tasks
