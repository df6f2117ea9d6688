"""Names and paths of models: the one in the package, converted directories, checkpoints."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from se600m import (
    _conversions,
    _download,
    _files,
    _fingerprints,
    _hub,
    _kinds,
    _library,
    _licences,
    _log,
    _native,
    _options,
    _progress,
    _published,
    errors,
)
from se600m._published import Published

BUNDLED = Path(__file__).parent / "models"
DEFAULT = "se-mini"
_CONFIG = 1 << 20
"""Characters of a config.json that are looked at to know it."""

_NOTICE = (
    "no model was named: using se-mini, a small one trained on 559 immune cells. For SE-600M (non-commercial licence), "
    'run `se600m download SE-600M` once and pass model="SE-600M"'
)


def bundled() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(p.name for p in BUNDLED.iterdir() if p.is_dir())


@dataclass(frozen=True)
class Found:
    """A model that is there, or can be downloaded: a converted directory, or a checkpoint."""

    path: Path
    files: tuple[Path, ...] = ()
    """The files of a checkpoint, the weights first; none of a converted directory."""
    checkpoint: str | None = None
    table: Path | None = None
    """The gene table to use instead of the checkpoint's own."""
    published: Published | None = None
    """What the name stands for, if it is the name of a published model."""


def find(
    name_or_path: str | os.PathLike[str] | None,
    checkpoint: str | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
) -> Found:
    """Find what a name or a path stands for. Nothing is downloaded or converted yet."""
    path = _find(DEFAULT if name_or_path is None else name_or_path)
    published = path if isinstance(path, Published) else None
    if isinstance(path, Published):
        if protein_embeddings is None and (there := _download.converted(path)) is not None:
            path = there
        elif (files := _download.files(path)) is not None:
            path = files
        else:
            _download.check(path)
            return Found(_download.folder(path), (), checkpoint, _table(protein_embeddings), path)
    if _is_converted(path):
        for option, value in (("checkpoint", checkpoint), ("protein_embeddings", protein_embeddings)):
            if value is not None:
                raise errors.OptionError(
                    f"{option}={str(value)!r}, but {str(path)!r} is already a converted model: "
                    "give the original checkpoint instead"
                )
        return Found(path)
    table = _table(protein_embeddings)
    return Found(path, _files_of(path, checkpoint, table), checkpoint, table, published)


def _table(protein_embeddings: str | os.PathLike[str] | None) -> Path | None:
    table = None if protein_embeddings is None else Path(protein_embeddings).expanduser()
    if table is not None and not table.is_file():
        raise errors.ModelNotFoundError(f"protein_embeddings={str(protein_embeddings)!r} does not exist")
    return table


def _files_of(path: Path, checkpoint: str | None, table: Path | None) -> tuple[Path, ...]:
    """List the files of a checkpoint, the weights first."""
    try:
        files = _native.checkpoint_files(str(path), checkpoint or "", str(table or ""))
    except (errors.CheckpointError, errors.ModelNotFoundError) as error:
        raise _explained(error, path, checkpoint, table) from None
    return tuple(map(Path, files))


def converted(found: Found, progress: bool | None = None) -> Path:
    """Give a converted model directory; what it is made from is downloaded and converted when it is first used."""
    if found.published is not None and not found.files:
        _download.fetch(found.published, progress=progress)
        found = replace(found, files=_files_of(found.path, found.checkpoint, found.table))
    if not found.files:
        return found.path
    sums = _fingerprints.sha256_of(found.files, progress)
    if found.published is not None and found.checkpoint is None and found.table is None:
        _download.note(found.published, found.path, dict(zip(found.files, sums, strict=True)))
    name = found.published.name if found.published else _hub.name_of(found.path)
    source = _conversions.Source(
        model=Path(found.checkpoint).stem if found.checkpoint else name,
        name=found.path.name,
        files=tuple((file.name, digest) for file, digest in zip(found.files, sums, strict=True)),
    )
    return _conversions.find_or_make(
        source,
        lambda destination: convert(
            found.path,
            destination,
            name=source.model,
            checkpoint=found.checkpoint,
            protein_embeddings=found.table,
            progress=progress,
        ),
    )


def resolve(
    name_or_path: str | os.PathLike[str] | None,
    progress: bool | None = None,
    checkpoint: str | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
) -> Path:
    """Find a model, and give its converted directory. Where none is named, it is said that there is a better one."""
    if name_or_path is None:
        _notice()
    return converted(find(name_or_path, checkpoint, protein_embeddings), progress)


def _find(name_or_path: str | os.PathLike[str]) -> Path | Published:
    """Find what a name or a path stands for."""
    if not isinstance(name_or_path, str | os.PathLike):
        raise errors.OptionError(f"model={name_or_path!r}: give a name, a path or a loaded model")
    given = os.fsdecode(name_or_path)
    if given in bundled():
        return BUNDLED / given
    path = Path(given).expanduser()
    try:
        there = bool(given.strip()) and path.exists()
    except (OSError, ValueError) as error:  # a name too long, a folder that can't be entered, a zero byte
        reason = getattr(error, "strerror", None) or error
        raise errors.ModelNotFoundError(f"model={given!r} is not a valid path: {reason}") from error
    if not there:
        if (published := _published.find(given)) is not None:
            return published
        raise _hub.not_found(given, bundled())
    # Moved, copied or linked, a model keeps its name: that of what the path leads to, not of "." or a link.
    return _hub.snapshot(path.absolute() if path.name not in ("", "..") else path.resolve())


def _is_converted(path: Path) -> bool:
    """Whether a folder is a converted model. Checkpoints on Hugging Face may have a config.json of another kind."""
    config = path / "config.json"
    if not config.is_file():
        return False
    weights = any(p.suffix.lower() in (".safetensors", ".ckpt") for p in path.iterdir())
    with config.open(errors="replace") as text:
        return not weights or "format_version" in text.read(_CONFIG)


def _explained(
    error: errors.SE600MError, path: Path, checkpoint: str | None = None, table: Path | None = None
) -> errors.SE600MError:
    """Say more of a checkpoint that can't be opened: files that are not what they stand for, a folder too high up."""
    folder = path if path.is_dir() else path.parent
    weights = [path] if path.is_file() else [folder / (checkpoint or "model.safetensors")]
    if not weights[0].is_file():
        weights = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".safetensors", ".ckpt"))
    for file in [*weights, folder / "config.yaml", table or folder / "protein_embeddings.pt"]:
        said = _kinds.not_a_file_of_its_own(file)
        if said is not None:
            return errors.CheckpointError(f"checkpoint {str(path)!r}: {said}")
    if isinstance(error, errors.ModelNotFoundError) and path.is_dir() and not weights:
        patterns = ("*/*.safetensors", "*/*.ckpt", "*/config.json")
        inside = sorted({str(p.parent) for pattern in patterns for p in path.glob(pattern)})
        if inside:
            return errors.ModelNotFoundError(f"{error}; there is one in {', '.join(map(repr, inside[:5]))}")
    return error


@functools.cache
def _notice() -> None:
    """Say once that there is a better model."""
    _log.warn(_NOTICE, errors.DefaultModelWarning)


def with_default_model(model: object) -> str:
    """Give the end of a closing line: a word about the default model where none was named, else nothing."""
    if model is not None:
        return ""
    return f", with {DEFAULT}, a small demonstration model: choose another with --model"


def download(
    name: str = "SE-600M",
    *,
    accept_licence: bool = False,
    revision: str | None = None,
    convert: bool = True,
    delete_source: bool = False,
    progress: bool | None = None,
    tell: Callable[[str], None] = _log.log.info,
) -> Path:
    """Download a model that is published on Hugging Face, and convert it.

    Only the files that conversion needs are downloaded, and those that state the licence. Their checksums are checked.
    An interrupted download goes on where it stopped. ``HF_TOKEN`` (or ``hf auth login``), ``HF_ENDPOINT``,
    ``HF_HUB_OFFLINE``, ``HF_HUB_DOWNLOAD_TIMEOUT`` and the variables for proxies work as for huggingface_hub.

    Parameters
    ----------
    name
        ``"SE-600M"``.
    accept_licence
        Accept the licence and the acceptable-use policy of the weights. It is remembered for this user, with the date.
    revision
        Another revision of the repository than the one that the name stands for: a commit, a branch or a tag.
    convert
        Convert the checkpoint into the cache.
    delete_source
        Delete the downloaded files after the conversion, which does not need them any more. What Hugging Face's own
        tools have downloaded is left to them, and ``tell`` says so.
    progress
        Show progress bars; by default in notebooks and terminals.
    tell
        Called with lines for the user, such as how much is downloaded and where to.

    Returns
    -------
    Path
        The converted model, or with ``convert=False`` the folder with the files. Both can be given to
        :func:`load_model`; for the name's own revision, the name will do.

    Raises
    ------
    LicenceError, DownloadError, DestinationError, ModelNotFoundError, OptionError
        What has arrived is kept, and the next call goes on from there.
    """
    model = named(name)
    check_kept(convert, delete_source)
    if _options.flag("accept_licence", accept_licence):
        _licences.accept(model)
    progress = _options.flag_or_none("progress", progress)
    own = revision in (None, model.revision)
    done = _download.converted(model) if convert and own else None
    place = _download.folder(model)
    if done is None:
        place = (_download.files(model) if own else None) or _download.fetch(model, revision, progress, tell, convert)
        if not convert:
            return place
        done = converted(Found(place, _files_of(place, None, None), published=model), progress)
    if delete_source:
        _files.sync(done)
        if _download.delete(place):
            tell(f"deleted the downloaded files in {place}")
        elif own and (other := _download.files(model)) is not None:
            tell(f"{other} is in Hugging Face's own cache, which other programs may use: it was not deleted")
    return done


def check_kept(convert: bool, delete_source: bool) -> None:
    """Make sure that something is left of a download."""
    convert, delete_source = _options.flag("convert", convert), _options.flag("delete_source", delete_source)
    if delete_source and not convert:
        raise errors.OptionError(
            "delete_source=True, but convert=False: nothing would be left of the download. Leave one of them out"
        )


def accept_licence(name_or_path: str | os.PathLike[str]) -> None:
    """Accept the terms of a model, if it is a published one."""
    if isinstance(model := _find(name_or_path), Published):
        _licences.accept(model)


def named(name: str) -> Published:
    """Find a published model by its name."""
    model = _published.find(name) if isinstance(name, str) else None
    if model is None:
        known = ", ".join(repr(one.name) for one in _published.MODELS)
        raise errors.ModelNotFoundError(f"name={name!r} can't be downloaded: give {known}")
    return model


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    name: str | None = None,
    checkpoint: str | None = None,
    config: str | os.PathLike[str] | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> None:
    """Convert a checkpoint into a model directory that :func:`load_model` opens quickly.

    Parameters
    ----------
    source
        A folder with ``model.safetensors``, ``config.yaml`` and ``protein_embeddings.pt``, a
        ``.safetensors`` file in such a folder, or a ``.ckpt`` file of arc-state. Files are read as data: no
        code in a pickle is executed.
    destination
        The directory to write. If the conversion fails, nothing is left there.
    name
        Name of the model; the name of the source by default.
    checkpoint
        Name of one of several checkpoints in a folder; by default ``model.safetensors`` or the only one.
    config, protein_embeddings
        Files to use instead of the checkpoint's own.
    overwrite
        Replace the destination if it is a converted model.
    progress
        Show a progress bar; by default in notebooks and terminals.

    Raises
    ------
    ModelNotFoundError, CheckpointError, UnsafePickleError, DestinationExistsError, DestinationError
        The source can't be converted, or the destination can't be written. Nothing is left behind.
    """
    overwrite = _options.flag("overwrite", overwrite)
    progress = _options.flag_or_none("progress", progress)
    if Path(destination).is_file():
        raise errors.DestinationExistsError(
            f"destination is {os.fspath(destination)!r}, which is a file: give the path of a folder for the model"
        )
    _library.open_runtime()
    request = {
        "source": os.fspath(source),
        "destination": os.fspath(destination),
        "name": name or "",
        "checkpoint": checkpoint or "",
        "config": os.fspath(config) if config else "",
        "protein_embeddings": os.fspath(protein_embeddings) if protein_embeddings else "",
        "overwrite": overwrite,
    }
    with _progress.bar(progress, "Converting", 0, unit="B") as update:
        try:
            _native.run("convert", request, update)
        except (errors.CheckpointError, errors.ModelNotFoundError) as error:
            table = None if protein_embeddings is None else Path(protein_embeddings)
            raise _explained(error, Path(source), checkpoint, table) from None
