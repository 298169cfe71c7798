"""Requests to the document backends: each is behind an inference proxy of its own (wire-protocol.md section 5)."""

from collections.abc import Callable, Iterable

from privity.errors import RouteNotFoundError, UnavailableError
from privity.http import HttpClient
from privity.protocol.endpoints import MAX_DOCUMENT
from privity.roles.gateway.forwarder import Forwarder
from privity.roles.gateway.models import GatewayModels
from privity.roles.gateway.records import CHOICE
from privity.roles.gateway.replica import Replica
from privity.transport.web import Reply, Request, StreamReply


class DocumentReplicas:
    """The inference proxies that stand beside document backends; all can do the same.

    Args:
        http: who asks them how they are.
        clock: a steady clock, in seconds.
    """

    def __init__(self, http: HttpClient, clock: Callable[[], float]) -> None:
        self.replicas: tuple[Replica, ...] = ()
        self._http = http
        self._clock = clock

    async def configure(self, urls: Iterable[str]) -> list[Replica]:
        """Take other replicas; those that stay keep their state. Return the new ones, which were asked once."""
        known = {replica.url: replica for replica in self.replicas}
        replicas = tuple(known.get(url) or Replica(url, self._clock) for url in dict.fromkeys(urls))
        new = [replica for replica in replicas if replica.url not in known]
        for replica in new:
            await self.poll(replica)
        self.replicas = replicas
        return new

    async def poll(self, replica: Replica) -> None:
        """Ask one how it is."""
        await replica.poll(self._http)

    def pick(self) -> Replica:
        """Return the one that has the least to do; one that failed lately only where there is no other.

        Raises:
            RouteNotFoundError: there is none at all.
            UnavailableError: all are away.
        """
        if not self.replicas:
            raise RouteNotFoundError(
                "No document backend is configured here. Whoever runs this service adds one: `privity up --documents "
                "URL`, or `privity inference-proxy --documents URL` and `privity gateway --document-proxy URL`."
            )
        now = self._clock()
        up = [replica for replica in self.replicas if replica.health.is_up]
        if not up:
            raise UnavailableError("The document backend can't be reached at the moment.")
        return min(up, key=lambda each: (CHOICE[each.health.status(now)], each.in_flight))


class DocumentForwarder:
    """Sends documents to them.

    Args:
        replicas: where to.
        models: knows who may use the gateway: every key may read documents.
        forwarder: sends.
    """

    def __init__(self, replicas: DocumentReplicas, models: GatewayModels, forwarder: Forwarder) -> None:
        self._replicas = replicas
        self._models = models
        self._forwarder = forwarder

    async def send(self, request: Request) -> Reply | StreamReply:
        """Send a document on, and return the answer as it comes. Raises `ApiError` where there is none."""
        self._models.keys.groups(request.headers)
        request.check_length(MAX_DOCUMENT)
        return await self._forwarder.send_to(self._replicas.pick(), request, limit=MAX_DOCUMENT)
