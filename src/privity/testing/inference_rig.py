"""An inference proxy without a mesh around it, with a clock that tests move."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from privity.catalogue.declared import Declared
from privity.engines.embedded.fetch import ModelFiles
from privity.engines.engine import Engine
from privity.protocol.mesh import INFERENCE_PROXY, MeshCa
from privity.roles.inference_proxy.service import InferenceProxy, Operator
from privity.roles.inference_proxy.signing import Signer

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CA = MeshCa.create(NOW)
IDENTITY = CA.issue(INFERENCE_PROXY, NOW)


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    time: datetime = NOW

    def __call__(self) -> datetime:
        """Return the time."""
        return self.time

    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self.time += by


async def inference_proxy(
    engine: Engine, files: ModelFiles | None = None, *declared: Declared, clock: Clock | None = None
) -> InferenceProxy:
    """Return an inference proxy that has looked at its engine once."""
    now = clock or Clock()
    proxy = InferenceProxy(engine, Operator(files, declared), Signer(IDENTITY, now), now)
    await proxy.refresh()
    return proxy
