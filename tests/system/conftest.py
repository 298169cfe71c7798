"""Real processes, the real default models, the real clients."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from privity.testing.document_backend import FakeDocumentBackend, document_backend
from privity.testing.programs import Up, up


@pytest.fixture(scope="session")
def documents() -> Iterator[FakeDocumentBackend]:
    with document_backend() as backend:
        yield backend


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, documents: FakeDocumentBackend) -> Iterator[Up]:
    """`privity up` with its default models, from the platform's cache, and a document backend."""
    with up(tmp_path_factory.mktemp("up"), "--log-level", "debug", "--documents", documents.url) as everything:
        yield everything


@pytest.fixture(scope="session")
def client(running: Up) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0, timeout=120) as made:
        yield made
