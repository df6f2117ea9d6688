"""Names and paths of models: the one in the package, converted directories, checkpoints."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from se600m import _conversions, _fingerprints, _hub, _kinds, _library, _log, _native, _options, _progress, errors

BUNDLED = Path(__file__).parent / "models"
DEFAULT = "se-mini"
_NOTICE = (
    "no model was named: using se-mini, a small one trained on 559 immune cells. For SE-600M, get arcinstitute/SE-600M "
    'from Hugging Face (non-commercial licence) and pass model="path/to/SE-600M"'
)


def bundled() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(p.name for p in BUNDLED.iterdir() if p.is_dir())


@dataclass(frozen=True)
class Found:
    """A model that is there: a converted directory, or a checkpoint."""

    path: Path
    files: tuple[Path, ...] = ()
    """The files of a checkpoint, the weights first; none of a converted directory."""
    checkpoint: str | None = None
    table: Path | None = None
    """The gene table to use instead of the checkpoint's own."""


def find(
    name_or_path: str | os.PathLike[str] | None,
    checkpoint: str | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
) -> Found:
    """Find what a name or a path stands for. Nothing is converted yet."""
    path = _find(DEFAULT if name_or_path is None else name_or_path)
    if _is_converted(path):
        for option, value in (("checkpoint", checkpoint), ("protein_embeddings", protein_embeddings)):
            if value is not None:
                raise errors.OptionError(
                    f"{option}={str(value)!r}, but {str(path)!r} is already a converted model: "
                    "give the original checkpoint instead"
                )
        return Found(path)
    table = None if protein_embeddings is None else Path(protein_embeddings).expanduser()
    if table is not None and not table.is_file():
        raise errors.ModelNotFoundError(f"protein_embeddings={str(protein_embeddings)!r} does not exist")
    try:
        files = _native.checkpoint_files(str(path), checkpoint or "", str(table or ""))
    except (errors.CheckpointError, errors.ModelNotFoundError) as error:
        raise _explained(error, path, checkpoint, table) from None
    return Found(path, tuple(map(Path, files)), checkpoint, table)


def converted(found: Found, progress: bool | None = None) -> Path:
    """Give a converted model directory; a checkpoint is converted into the cache when it is first used."""
    if not found.files:
        return found.path
    sums = _fingerprints.sha256_of(found.files, progress)
    source = _conversions.Source(
        model=Path(found.checkpoint).stem if found.checkpoint else _hub.name_of(found.path),
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


def _find(name_or_path: str | os.PathLike[str]) -> Path:
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
        raise _hub.not_found(given, bundled())
    # Moved, copied or linked, a model keeps its name: that of what the path leads to, not of "." or a link.
    return _hub.snapshot(path.absolute() if path.name not in ("", "..") else path.resolve())


def _is_converted(path: Path) -> bool:
    """Whether a folder is a converted model. Checkpoints on Hugging Face may have a config.json of another kind."""
    config = path / "config.json"
    if not config.is_file():
        return False
    weights = any(p.suffix.lower() in (".safetensors", ".ckpt") for p in path.iterdir())
    return not weights or "format_version" in config.read_text(errors="replace")


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
