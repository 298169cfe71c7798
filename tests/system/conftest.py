"""Real processes, the real default models, the real clients."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from privity.testing.programs import Up, up


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`privity up` with its default models, from the platform's cache."""
    with up(tmp_path_factory.mktemp("up"), "--log-level", "debug") as everything:
        yield everything


@pytest.fixture(scope="session")
def client(running: Up) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0, timeout=120) as made:
        yield made
