"""Random bytes in quantity: one system call for hundreds of nonces."""

import os
import weakref

BATCH_BYTES = 8192
"""Bytes that are fetched at once: those of some hundred requests."""


class BatchedRandom:
    """Gives random bytes of the operating system, each once; for nonces, not for keys.

    A process that forks would give the same bytes as its child, so the child drops what is left.
    """

    def __init__(self) -> None:
        self._batch = b""
        self._position = 0
        drop = weakref.WeakMethod(self._drop)
        os.register_at_fork(after_in_child=lambda: (method := drop()) and method())

    def __call__(self, count: int) -> bytes:
        """Return that many random bytes."""
        position = self._position
        if position + count > len(self._batch):
            self._batch, position = os.urandom(max(BATCH_BYTES, count)), 0
        self._position = position + count
        return self._batch[position : position + count]

    def _drop(self) -> None:
        self._batch, self._position = b"", 0
