"""The way to the secret services, which agree on secrets with clients. Their messages are opaque here."""

from privity.errors import UnavailableError
from privity.http import Headers, HttpClient
from privity.protocol.agreement import PATH
from privity.transport.forward import forward
from privity.transport.web import Reply, StreamReply

AGREEMENT_TIMEOUT = 5.0
"""Seconds for an agreement, which takes milliseconds. A late one is not asked of another service: of two answers to one
offer, the store would keep the wrong one. The client makes another offer."""


class SecretServices:
    """All secret services, in the order in which they are asked.

    Args:
        http: who sends.
        urls: their base URLs.
    """

    def __init__(self, http: HttpClient, urls: tuple[str, ...]) -> None:
        self._http = http
        self._urls = urls

    async def agree(self, headers: Headers, body: bytes) -> Reply | StreamReply:
        """Send a client's request to the first that can be reached.

        Raises:
            UnavailableError: none can be reached.
            ApiError: one was reached, and gave no answer.
        """
        error = UnavailableError("No secret service can be reached at the moment.")
        for url in self._urls:
            try:
                return await forward(
                    self._http,
                    "POST",
                    url + PATH,
                    headers=headers,
                    body=body,
                    peer="secret service",
                    head_timeout=AGREEMENT_TIMEOUT,
                )
            except UnavailableError as unreachable:
                error = unreachable
        raise error
