"""The inference proxies behind a gateway, and which of them serves what."""

import asyncio
import logging
from collections.abc import Iterable

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.model import Model
from privity.catalogue.rows import read_models
from privity.errors import ModelNotFoundError, UnavailableError, UpstreamError, UpstreamTimeoutError
from privity.http import HttpClient

POLL_TIMEOUT = 1.0
"""Seconds that an inference proxy has to tell what it serves."""

TIMEOUTS_UNTIL_DOWN = 2
"""Polls in a row that may time out before the models leave the list: until then nobody knows."""

MAX_LIST_BYTES = 8 * 1024 * 1024
"""Bytes of a model list: thousands of rows."""

_LOG = logging.getLogger(__name__)


class Replica:
    """One inference proxy."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.serves: tuple[Model, ...] = ()
        self.known: tuple[Model, ...] = ()
        self.was_heard = False
        self.in_flight = 0
        self._timeouts = 0
        self._problems = 0

    async def poll(self, http: HttpClient) -> None:
        """Ask what it serves now. Unknown is not down: a poll that times out changes nothing at first."""
        try:
            async with asyncio.timeout(POLL_TIMEOUT):
                self.serves = await self._ask(http)
            self.was_heard = True
            self.known = self.serves or self.known  # an inference proxy whose engine is away serves nothing
            self._timeouts = 0
        except (TimeoutError, UpstreamTimeoutError):
            self._timeouts += 1
            if self._timeouts >= TIMEOUTS_UNTIL_DOWN:
                self.serves = ()
        except UpstreamError as error:
            self.serves = ()
            self._note(str(error))
        else:
            self._problems = 0

    def _note(self, problem: str) -> None:
        """Log a problem when it is met a second time: at the first look a replica may just be starting."""
        self._problems += 1
        if self._problems == 2:
            _LOG.warning("an inference proxy can't be used", extra={"replica": self.url, "problem": problem})

    async def _ask(self, http: HttpClient) -> tuple[Model, ...]:
        response = await http.request("GET", f"{self.url}/v1/models", head_timeout=POLL_TIMEOUT)
        async with response:
            return read_models(await response.read(MAX_LIST_BYTES))


class Fleet:
    """All replicas, and the catalogue of what they serve together."""

    def __init__(self, urls: Iterable[str], http: HttpClient) -> None:
        self.replicas = tuple(Replica(url) for url in urls)
        self.catalogue = Catalogue()
        self._http = http
        self._seen: tuple[tuple[Model, ...], ...] = ()

    async def poll(self, replica: Replica) -> None:
        """Ask one replica, and bring the catalogue up to date."""
        await replica.poll(self._http)
        self._update()

    def lost(self, replica: Replica) -> None:
        """Take note that a replica can't be reached, without waiting for the next poll."""
        replica.serves = ()
        self._update()

    def _update(self) -> None:
        seen = tuple(replica.serves for replica in self.replicas)
        if seen == self._seen:
            return
        self._seen = seen
        self.catalogue = _together(seen)
        _LOG.info("models changed", extra={"models": ", ".join(self.catalogue.by_id) or "none"})

    def find(self, asked: str) -> Model:
        """Return a model that can be called now.

        Raises:
            UnavailableError: a replica had it when it last served anything, and is away at the moment; or one that was
                never heard of may have it.
            ModelNotFoundError: nobody has it.
        """
        try:
            return self.catalogue.find(asked)
        except ModelNotFoundError:
            if any(asked in model.ids for replica in self.replicas for model in replica.known):
                raise UnavailableError(
                    f"The model `{asked}` is not available at the moment; its engine is restarting or out of reach.",
                    param="model",
                ) from None
            if not all(replica.was_heard for replica in self.replicas):
                raise UnavailableError(
                    f"The model `{asked}` is not known here, and not all inference proxies could be asked yet.",
                    param="model",
                ) from None
            raise

    def pick(self, model: Model) -> Replica:
        """Return the replica that serves a model and has the least to do. Raises `UnavailableError` where none does."""
        serving = [replica for replica in self.replicas if any(each.id == model.id for each in replica.serves)]
        if not serving:
            raise UnavailableError(f"The model `{model.id}` is not available at the moment.", param="model")
        return min(serving, key=lambda replica: replica.in_flight)


def _together(served: Iterable[Iterable[Model]]) -> Catalogue:
    """Return one catalogue: replicas of a model are one entry, and of two models that claim one ID the first has it."""
    owners: dict[str, Model] = {}
    models: dict[str, Model] = {}
    for model in (each for models_of_one in served for each in models_of_one):
        if model.id in models:
            continue
        taken = next((each for each in model.ids if each in owners), None)
        if taken is not None:
            extra = {"id": taken, "kept": owners[taken].id, "left_out": model.id}
            _LOG.error("two models claim one ID; the later one is left out", extra=extra)
            continue
        models[model.id] = model
        owners.update(dict.fromkeys(model.ids, model))
    return Catalogue(models.values())
