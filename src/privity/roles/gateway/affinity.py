"""Which replica a request goes to so that its prompt's beginning is in an engine's cache there, as far as load allows.

A gateway sees no prompts, only shard keys, which begin alike where prompts with the same salt do
(`privity.protocol.shard_key`). A request goes where the request went that its key has most in common with. One that is
like none goes by rendezvous hashing of the beginning of its key: the same replica whichever gateway is asked, and few
keys move when replicas come or go. A replica with more than its share of the load is passed over, for the next in the
order of the hash.

A client that knows neither another's salt nor its shard keys can't lead its requests anywhere, since keys begin with a
hash of the salt. It can make a gateway forget where others' requests went; these go by the hash then.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from math import ceil

from privity.protocol.shard_key import blocks_of, common_length

ALIKE_BLOCKS = 4
"""Blocks of 64 bytes: prompts that have as many in common belong together; fewer are computed anew in no time."""

MAX_KEYS = 10_000
"""Keys that are remembered: those of a day in a small deployment, and of some minutes in a large one."""

MAX_KEY_CHARACTERS = 1024
"""Characters of a key that are remembered, so 10 MB of them all: enough for a prompt of 170,000 tokens."""

LOAD_FACTOR = 1.25
"""How much of the average load a replica may have: little waiting, and few that are passed over."""

FREE_LOAD = 2
"""Requests that a replica may have whatever the average: a deployment with nothing to do would spread all."""


class Affinity:
    """Remembers where requests went."""

    def __init__(self) -> None:
        self._replicas: OrderedDict[str, str] = OrderedDict()
        """By what was asked, the oldest first."""
        self._sorted: list[str] = []
        """What was asked: what begins alike stands side by side."""

    def __len__(self) -> int:
        return len(self._replicas)

    def choose(self, model: str, key: str, loads: Mapping[str, int]) -> str:
        """Return the replica for a request.

        Args:
            model: the model's ID.
            key: a valid shard key.
            loads: requests in flight, by the URL of each replica that may be chosen; not empty.
        """
        begin = f"{model} "
        asked = begin + key[:MAX_KEY_CHARACTERS]
        least = len(asked) - len(blocks_of(asked[len(begin) :]))
        limit = max(FREE_LOAD, ceil(LOAD_FACTOR * (sum(loads.values()) + 1) / len(loads)))
        chosen = self._find(asked, least)
        if chosen is None or loads.get(chosen, limit) >= limit:
            order = sorted(loads, key=lambda url: _rank(asked[: least + ALIKE_BLOCKS], url))
            chosen = next(url for url in order if loads[url] < limit)
        self._remember(asked, chosen)
        return chosen

    def _find(self, asked: str, least: int) -> str | None:
        """Return where the request went that this one has most in common with.

        Args:
            asked: the model and the key.
            least: characters before the key's first block, without which nothing is alike.
        """
        at = bisect_left(self._sorted, asked)
        near = max(self._sorted[max(at - 1, 0) : at + 1], key=lambda each: common_length(each, asked), default="")
        if common_length(near, asked) >= least + ALIKE_BLOCKS:
            return self._replicas[near]
        short = (asked[: least + blocks] for blocks in range(ALIKE_BLOCKS - 1, 0, -1))  # whole keys, if they are there
        return next((self._replicas[each] for each in short if each in self._replicas), None)

    def _remember(self, asked: str, replica: str) -> None:
        if asked not in self._replicas:
            self._sorted.insert(bisect_left(self._sorted, asked), asked)
        self._replicas[asked] = replica
        self._replicas.move_to_end(asked)
        if len(self._replicas) > MAX_KEYS:
            oldest, _ = self._replicas.popitem(last=False)
            del self._sorted[bisect_left(self._sorted, oldest)]


def _rank(beginning: str, url: str) -> bytes:
    return blake2b(f"{beginning} {url}".encode(), digest_size=8).digest()
