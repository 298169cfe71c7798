"""What every fuzz target does around its invariant."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris


def fuzz(check: Callable[[bytes], None], seeds: Sequence[bytes]) -> None:
    """Fuzz `check` with libFuzzer's arguments from the command line; `seeds` are put into an empty corpus."""
    for corpus in (Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")):
        corpus.mkdir(parents=True, exist_ok=True)
        if not any(corpus.iterdir()):
            for number, seed in enumerate(seeds):
                (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
