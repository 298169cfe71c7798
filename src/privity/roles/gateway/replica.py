"""One inference proxy behind a gateway."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from privity.catalogue.model import Model
from privity.catalogue.rows import MAX_LIST_BYTES, read_models
from privity.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeoutError
from privity.http import HttpClient, header
from privity.roles.gateway.health import Health

POLL_TIMEOUT = 1.0
"""Seconds that an inference proxy has to tell what it serves."""

_PATH = "/v1/models?detail=full"

_LOG = logging.getLogger(__name__)


class Replica:
    """One inference proxy.

    Args:
        url: its base URL.
        clock: a steady clock, in seconds.
    """

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self.url = url
        self.health = Health()
        self.known: tuple[Model, ...] = ()
        """What it served when it last served anything."""
        self.was_heard = False
        self.known_since = clock()
        self.in_flight = 0
        self.drains = False
        """Whether the operator wants no new requests to go there."""
        self._listed: tuple[Model, ...] = ()
        self._by_id: dict[str, Model] = {}
        self._known_by_id: dict[str, list[Model]] = {}
        self._etag: bytes | None = None
        self._clock = clock
        self._problems = 0
        self._logged = ""

    @property
    def serves(self) -> tuple[Model, ...]:
        """What it can be asked for now."""
        return self._listed if self.health.is_up and not self.drains else ()

    async def poll(self, http: HttpClient) -> None:
        """Ask what it serves now."""
        try:
            async with asyncio.timeout(POLL_TIMEOUT):
                await self._ask(http)
        except (TimeoutError, UpstreamTimeoutError):
            self.health.timed_out()
            self._note("it doesn't say in time what it serves")
        except UpstreamError as error:
            self.health.failed()
            self._note(str(error))
        else:
            self.health.looked(self._clock())
            self.was_heard = True
            self._problems = 0
            self._note_recovery()

    async def _ask(self, http: HttpClient) -> None:
        headers = [] if self._etag is None else [(b"if-none-match", self._etag)]
        response = await http.request("GET", self.url + _PATH, headers=headers, head_timeout=POLL_TIMEOUT)
        async with response:
            if response.status == 304:
                return
            body = await response.read(MAX_LIST_BYTES)
            if response.status != 200:
                raise UpstreamProtocolError(f"its model list has the status {response.status}")
            models = read_models(body)
        self._etag = header(response.headers, b"etag")
        fit = (model for model in models if model.tasks and model.status != "draining")
        self._listed = tuple(_either(self._by_id.get(model.id), model) for model in fit)
        self._by_id = {model.id: model for model in self._listed}
        if self._listed:  # an inference proxy whose engine is away serves nothing
            self.known, self._known_by_id = self._listed, _by_any_id(self._listed)

    def _note(self, problem: str) -> None:
        """Log a problem when it is met a second time: at the first look a replica may just be starting."""
        self._problems += 1
        if self._problems >= 2 and problem != self._logged:
            self._logged = problem
            _LOG.warning("an inference proxy can't be used", extra={"replica": self.url, "problem": problem})

    def _note_recovery(self) -> None:
        if self._logged:
            self._logged = ""
            _LOG.warning("an inference proxy can be used again", extra={"replica": self.url})

    def find(self, model_id: str) -> Model | None:
        """Return the model that it serves under a canonical ID."""
        return self._by_id.get(model_id) if self.serves else None

    def knew(self, any_id: str) -> Sequence[Model]:
        """Return what it served under an ID, whichever of a model's, when it last served anything."""
        return self._known_by_id.get(any_id, ())


def _by_any_id(models: Iterable[Model]) -> dict[str, list[Model]]:
    by_id: dict[str, list[Model]] = {}
    for model in models:
        for each in model.ids:
            by_id.setdefault(each, []).append(model)
    return by_id


def _either(before: Model | None, now: Model) -> Model:
    """Return one of two records that are equal: the older one, of which much is known by who it is."""
    return before if before is not None and before == now else now
