"""The deployment's models, as this proxy's user may call them: listed by the gateway, vouched for by the deployment."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote, urlencode

from privity.catalogue.catalogue import Catalogue, View
from privity.catalogue.model import Model
from privity.catalogue.rows import read_model, read_models
from privity.errors import ApiError, ModelNotFoundError, UpstreamError, without_trace
from privity.http import Headers, header
from privity.roles.proxy.config import LIST_SECONDS
from privity.roles.proxy.link import GatewayLink
from privity.roles.proxy.refusals import as_asked, refusal
from privity.roles.proxy.vouching import Vouching
from privity.transport.forward import api_error
from privity.transport.models_api.feed import MAX_WAIT
from privity.transport.models_api.source import Published, Retrieved
from privity.transport.tasks import Background
from privity.transport.web import Reply, Request

MAX_KEYS = 64
"""API keys whose lists are kept: a proxy serves one user, and a key from outside must not cost memory for ever."""

AGREEMENT_PATIENCE = 2.0
"""Seconds that the first list waits to hear, from the secret service's certificate, whether the deployment signs: some
clients wait for it no longer than 3."""

UPSTREAM_WAIT = 30.0
"""Seconds of one long poll at the gateway."""

PAUSE = 2.0
"""Seconds between two questions to a gateway that doesn't know long-polling, or can't be reached."""

VOUCHED_SECONDS = 30.0
"""Seconds after which a list that didn't change is judged again: statements expire."""


@dataclass(slots=True)
class _Kept:
    """What is known for one API key."""

    published: Published
    listed: Sequence[Model] = ()
    refused: set[str] = field(default_factory=set)
    remark: str = ""
    etag: bytes | None = None
    fresh_until: float = -1.0
    judged_at: float = -VOUCHED_SECONDS
    signs: bool | None = None
    """What was known of the deployment when the list was judged."""
    digest: bytes = b""
    """Of the list as it came, for gateways without entity tags."""
    fetching: "asyncio.Task[Reply | ApiError | None] | None" = None
    judging: asyncio.Lock = field(default_factory=asyncio.Lock)
    waited_for_until: float = -1.0
    watch: asyncio.Task[None] | None = None


class ProxyModels:
    """The source of a proxy's Models API.

    Args:
        link: to the gateway.
        vouching: judges what the gateway lists.
        background: holds what waits for changes.
        list_seconds: how long a list is answered from memory.
    """

    def __init__(
        self,
        link: GatewayLink,
        vouching: Vouching,
        background: Background,
        *,
        list_seconds: float = LIST_SECONDS,
    ) -> None:
        self._link = link
        self._agreements = link.agreements
        self._surroundings = link.surroundings
        self._vouching = vouching
        self._background = background
        self._list_seconds = list_seconds
        self._by_key: dict[bytes | None, _Kept] = {}

    async def view(self, request: Request) -> View | Reply:
        """Return what a request's key may call; from memory where that is fresh."""
        key = self._agreements.authorization(request.headers)
        kept = self._of(key)
        problem = await self._refresh(key, kept)
        if problem is None:
            return kept.published.catalogue.view()
        if isinstance(problem, Reply):
            return as_asked(problem, request)
        try:
            raise problem
        finally:
            del problem  # else it holds this frame, which holds it

    async def retrieve(self, request: Request, asked: str) -> Retrieved | Reply:
        """Return one model, with what the gateway knows of its health."""
        key = self._agreements.authorization(request.headers)
        reply = await self._link.look(key, f"/v1/models/{quote(asked, safe='')}?detail=full")
        if reply.status != 200:
            return as_asked(refusal(reply), request)
        try:
            model, health = read_model(reply.body)
        except UpstreamError as error:
            raise api_error(error, "gateway") from error
        judged = await self._vouching.vouch([model], signs=await self._signs(key))
        found = next((each for each in judged.models if asked in each.ids), None)
        listed = self._of(key).published.catalogue.by_id.get(asked)
        if found is None or (listed is not None and listed.model.id != found.id):
            raise _not_vouched_for(asked)  # alone, a record may have a name that the list says is another's
        return Retrieved(found, health, self._surroundings.utc())

    def change(self, request: Request) -> asyncio.Event:
        """Return what is set at the next change. For as long as somebody may wait for it, changes are looked for."""
        key = self._agreements.authorization(request.headers)
        kept = self._of(key)
        kept.waited_for_until = self._surroundings.steady() + MAX_WAIT
        if kept.watch is None or kept.watch.done():
            kept.watch = self._background.start(self._watch(key, kept), "model watch")
        return kept.published.change

    def remarks(self, request: Request) -> Headers:
        """Return the header that says how many rows were dropped, and why."""
        kept = self._by_key.get(self._agreements.authorization(request.headers))
        return [(b"privity-models-dropped", kept.remark.encode())] if kept is not None and kept.remark else []

    async def meaning(self, key: bytes | None, asked: str) -> str | None:
        """Return the canonical ID that a name has, by the list of a key; None where no list was asked for yet.

        The inference proxy answers as that model or not at all: so a gateway can't have a request for one model
        answered by another that was signed for the same name, or that it gave the name to.

        Raises:
            ModelNotFoundError: the gateway lists the name, and the deployment doesn't vouch for it.
        """
        kept = self._of(key)
        is_old = bool(kept.digest) and self._surroundings.steady() - kept.judged_at >= VOUCHED_SECONDS
        is_new = bool(kept.digest) and asked not in kept.published.catalogue.by_id
        if is_old or is_new or (not kept.digest and self._vouching.accepts_unsigned_names):
            await self._refresh(key, kept)  # it may be otherwise by now; if nobody can say, it is as it was
        if asked in kept.refused:
            raise _not_vouched_for(asked)
        entry = kept.published.catalogue.by_id.get(asked)
        return None if entry is None else entry.model.id

    def _of(self, key: bytes | None) -> _Kept:
        kept = self._by_key.pop(key, None)
        if kept is None:
            while len(self._by_key) >= MAX_KEYS:
                dropped = self._by_key.pop(next(iter(self._by_key)))
                if dropped.watch is not None:
                    dropped.watch.cancel()
            kept = _Kept(Published(Catalogue((), self._surroundings.utc())))
        self._by_key[key] = kept  # the last one asked for is the last to go
        return kept

    async def _refresh(self, key: bytes | None, kept: _Kept) -> Reply | ApiError | None:
        """Bring what is kept up to date, at once for all who ask; return what is in the way."""
        if kept.fresh_until > self._surroundings.steady():
            return None
        if kept.fetching is None or kept.fetching.done():
            kept.fetching = self._background.start(self._fetched(key, kept), "model list")
        return await asyncio.shield(kept.fetching)

    async def _fetched(self, key: bytes | None, kept: _Kept) -> Reply | ApiError | None:
        try:
            return await self._fetch(key, kept)
        except ApiError as error:
            return without_trace(error)

    async def _fetch(self, key: bytes | None, kept: _Kept, wait: float = 0.0) -> Reply | None:
        """Bring what is kept up to date. Return the gateway's refusal, if it refuses."""
        query, headers = {"detail": "full"}, []
        if wait and kept.etag is not None:
            query |= {"wait": kept.etag.decode("latin-1"), "timeout": f"{wait:g}"}
        elif kept.etag is not None:
            headers.append((b"if-none-match", kept.etag))
        reply = await self._link.look(key, f"/v1/models?{urlencode(query)}", headers, wait)
        if reply.status != 200 and (reply.status != 304 or kept.etag is None):
            return refusal(reply)
        async with kept.judging:
            await self._take(key, kept, reply)
        return None

    async def _take(self, key: bytes | None, kept: _Kept, reply: Reply) -> None:
        """Judge a list that is new, and an old one from time to time: statements expire, and models end."""
        now = self._surroundings.steady()
        digest = sha256(reply.body).digest() if reply.status == 200 else kept.digest
        if digest != kept.digest:
            try:
                kept.listed = read_models(reply.body)
            except UpstreamError as error:
                raise api_error(error, "gateway") from error
        is_old = now - kept.judged_at >= VOUCHED_SECONDS or _is_over(kept, self._surroundings.utc())
        if digest != kept.digest or is_old or kept.signs != self._agreements.deployment_signs:
            await self._judge(key, kept)
            kept.judged_at = now
        if reply.status == 200:
            kept.digest, kept.etag = digest, header(reply.headers, b"etag")
        kept.fresh_until = now + self._list_seconds

    async def _judge(self, key: bytes | None, kept: _Kept) -> None:
        judged = await self._vouching.vouch(kept.listed, signs=await self._signs(key))
        kept.signs = self._agreements.deployment_signs
        kept.refused = judged.refused
        kept.remark = ", ".join(f"{reason}={number}" for reason, number in sorted(judged.reasons.items()))
        before = kept.published.catalogue
        catalogue = Catalogue(judged.models, self._surroundings.utc(), before)
        if catalogue.models != before.models or _is_over(kept, self._surroundings.utc()):
            kept.published.publish(catalogue)

    async def _signs(self, key: bytes | None) -> bool:
        """Return whether the deployment is one that signs; as long as nobody knows, it may be."""
        if self._agreements.deployment_signs is None:
            with contextlib.suppress(ApiError, TimeoutError):
                async with asyncio.timeout(AGREEMENT_PATIENCE):
                    await self._agreements.current(key)
        return self._agreements.deployment_signs is not False

    async def _watch(self, key: bytes | None, kept: _Kept) -> None:
        """Wait for changes at the gateway while somebody here may wait for them."""
        while self._surroundings.steady() < kept.waited_for_until:
            began, before = self._surroundings.steady(), kept.published.change
            try:
                refused = await self._fetch(key, kept, UPSTREAM_WAIT)
            except ApiError:
                refused = None
            if refused is not None and refused.status in (401, 403):
                kept.fresh_until = -1.0
                kept.published.publish(kept.published.catalogue)  # whoever waits asks, and is told
                return
            if self._surroundings.steady() - began < PAUSE:
                changed = kept.published.change is not before
                await self._surroundings.pause(self._list_seconds if changed else PAUSE)


def _is_over(kept: _Kept, now: datetime) -> bool:
    """Return whether a model was deprecated or retired meanwhile, or maybe too early by a clock that was set."""
    catalogue = kept.published.catalogue
    return now < catalogue.as_of or (catalogue.next_change is not None and catalogue.next_change <= now)


def _not_vouched_for(asked: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"The gateway lists the model `{asked[:128]}`, but the deployment doesn't vouch for it, so it isn't used. "
        "The proxy's log says why; `privity proxy --unsigned-models` is about models that nobody signed."
    )
