"""Hypothesis strategies for records of models. Hypothesis is a development dependency: only tests import this."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from privity.catalogue.catalogue import Catalogue
from privity.catalogue.merge import without_collisions
from privity.catalogue.model import MAX_NUMBER, TASKS, Evidence, Facts, Lifecycle, Model, Source, Status, in_order
from privity.catalogue.query import Query

MAX_COUNT = MAX_NUMBER
"""The largest number that every JSON reader has exactly."""

_NAMES = st.text("abcXYZ019-._", min_size=1, max_size=12)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
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


GROUPS = ("red", "green", "blue")
"""Groups of keys."""


def groups() -> st.SearchStrategy[frozenset[str] | None]:
    """Groups of a key; None is whoever may use everything."""
    return st.none() | st.frozensets(st.sampled_from((*GROUPS, "unheard-of")))


@st.composite
def guarded_models(draw: st.DrawFn) -> Model:
    """Records of few kinds, quickly made, some of which not everybody may use."""
    model_id, *others = draw(st.lists(ids(), min_size=1, max_size=3, unique=True))
    known = draw(st.sampled_from(_KNOWN))
    cut = draw(st.integers(0, len(others)))
    groups = draw(st.none() | st.frozensets(st.sampled_from(GROUPS)))
    return replace(
        known, id=model_id, aliases=tuple(others[:cut]), floating_aliases=tuple(others[cut:]), visible_to=groups
    )


_END = datetime(2050, 1, 1, tzinfo=UTC)
_KNOWN = (
    Model("", ("generate",), 0, "me"),
    Model("", (), 1, '\u00e9\u2028\U0001f600"\\', display_name="\t", status="unknown", verified=False),
    Model(
        "",
        ("generate", "tool_calling", "vision"),
        2,
        "me",
        display_name="Big",
        context_length=4096,
        max_output_tokens=1024,
        root="Weights-Q4_1.gguf",
        evidence=(Evidence("vision", "probed", 3),),
        facts=Facts("llama", 7, "Q4_1", 8, "ab" * 32, "MIT", 9),
        lifecycle=Lifecycle(_END, _END.replace(year=2090), "x"),
        status="degraded",
        verified=True,
    ),
    Model("", ("embed",), 2**53, "you", facts=Facts(architecture="nomic-bert"), lifecycle=Lifecycle(None, _END)),
    Model("", ("transcribe",), 5, "you", lifecycle=Lifecycle(_END, None, "y"), status="draining"),
)


def fleets(max_size: int = 5) -> st.SearchStrategy[list[Model]]:
    """Models of which no two claim one ID."""
    return st.lists(guarded_models(), max_size=max_size).map(lambda every: without_collisions(every)[0])


def whole_fleets(max_size: int = 3) -> st.SearchStrategy[list[Model]]:
    """The same, of all kinds of models."""
    return st.lists(models(), max_size=max_size).map(lambda every: without_collisions(every)[0])


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """Catalogues at any time of this century."""
    return Catalogue(draw(fleets()), draw(_MOMENTS))


def queries() -> st.SearchStrategy[Query]:
    """What a client may want of a list; mostly everything."""
    return st.builds(Query, collapse=st.booleans()) | st.builds(
        Query,
        task=st.none() | st.sampled_from(TASKS),
        owned_by=st.none() | _TEXTS | st.just("me"),
        text=st.none() | st.text("abX0/", min_size=1, max_size=2),
        collapse=st.booleans(),
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
        licence=st.none() | _TEXTS | st.just("me"),
        embedding_length=st.none() | _COUNTS,
    )


def _evidence(task: str) -> st.SearchStrategy[Evidence]:
    """Only what was tried has a time."""
    probed = st.builds(Evidence, st.just(task), st.just("probed"), st.integers(0, 2**32))
    return probed | st.builds(Evidence, st.just(task), st.sampled_from(_SOURCES[:2]))
