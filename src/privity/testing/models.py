"""Hypothesis strategies for records of models. Hypothesis is a development dependency: only tests import this."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from privity.catalogue.model import TASKS, Evidence, Facts, Lifecycle, Model, Source, Status, in_order

MAX_COUNT = 2**53
"""The largest number that every JSON reader has exactly."""

_NAMES = st.text("abcXYZ019-._", min_size=1, max_size=12)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
_COUNTS = st.integers(1, MAX_COUNT)
_MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds
_SOURCES: tuple[Source, ...] = ("declared", "engine", "probed")
_STATUSES: tuple[Status, ...] = ("available", "degraded", "unknown", "draining")


def ids() -> st.SearchStrategy[str]:
    """IDs: short ones, full ones, and some with a tag as Ollama has it."""
    full = st.builds("{}/{}".format, _NAMES, _NAMES)
    return st.one_of(_NAMES, full, st.builds("{}:{}".format, _NAMES, st.sampled_from(["latest", "8b"])))


def moments() -> st.SearchStrategy[datetime]:
    """Moments of this century."""
    return _MOMENTS


def tasks() -> st.SearchStrategy[tuple[str, ...]]:
    """Any set of tasks, in their order."""
    return st.sets(st.sampled_from(TASKS)).map(in_order)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Valid records, from such with the required fields alone to such where all is known."""
    model_id, *others = draw(st.lists(ids(), min_size=1, max_size=5, unique=True))
    cut = draw(st.integers(0, len(others)))
    can = draw(tasks())
    return Model(
        id=model_id,
        tasks=can,
        created=draw(st.integers(0, 2**63 - 1) | st.integers(0, 2**32)),
        owned_by=draw(_TEXTS),
        aliases=tuple(others[:cut]),
        floating_aliases=tuple(others[cut:]),
        display_name=draw(st.none() | _TEXTS),
        context_length=draw(st.none() | _COUNTS),
        max_output_tokens=draw(st.none() | _COUNTS),
        root=draw(st.none() | _TEXTS | st.just("Weights-Q4_1.gguf")),
        evidence=tuple(draw(_evidence(task)) for task in can),
        facts=draw(facts()),
        lifecycle=draw(st.builds(Lifecycle, st.none() | _MOMENTS, st.none() | _MOMENTS, st.none() | ids())),
        status=draw(st.sampled_from(_STATUSES)),
        verified=draw(st.none() | st.booleans()),
    )


def facts() -> st.SearchStrategy[Facts]:
    """What may be known of weights: anything from nothing to everything."""
    return st.builds(
        Facts,
        architecture=st.none() | st.sampled_from(["llama", "qwen2", "nomic-bert"]),
        parameters=st.none() | _COUNTS,
        quantization=st.none() | st.sampled_from(["Q4_1", "fp8"]),
        size=st.none() | _COUNTS,
        sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
        licence=st.none() | _TEXTS,
        embedding_length=st.none() | _COUNTS,
    )


def _evidence(task: str) -> st.SearchStrategy[Evidence]:
    """Only what was tried has a time."""
    probed = st.builds(Evidence, st.just(task), st.just("probed"), st.integers(0, 2**32))
    return probed | st.builds(Evidence, st.just(task), st.sampled_from(_SOURCES[:2]))
