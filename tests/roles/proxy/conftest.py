from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from privity.testing.fake_deployment import FakeDeployment
from privity.testing.proxy_rig import Rig
from privity.transport.tasks import Background


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    async with Background() as held:
        yield held


@pytest.fixture
def make_rig(background: Background) -> Callable[..., Rig]:
    def make(deployment: FakeDeployment | None = None, **options: Any) -> Rig:
        return Rig(deployment or FakeDeployment(), background, **options)

    return make
