"""Names and paths of models: the one in the package, converted directories, checkpoints and the cache."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sys
from pathlib import Path

from se600m import _cache, _library, _native, _progress, errors

BUNDLED = Path(__file__).parent / "models"
DEFAULT = "se-mini"
_NOTICE = (
    "no model is named: se-mini is used, a small one trained on 559 immune cells. SE-600M: get arcinstitute/SE-600M "
    'from Hugging Face (non-commercial licence), then model="path/to/SE-600M"'
)
_FORMAT = str(_native.format_version())
"""Changes whenever conversion writes something else: older conversions in the cache are then not used."""


def bundled() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(p.name for p in BUNDLED.iterdir() if p.is_dir())


def resolve(
    name_or_path: str | os.PathLike[str] | None,
    progress: bool | None = None,
    checkpoint: str | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
) -> Path:
    """Find a converted model directory; a checkpoint is converted into the cache when it is first used."""
    if name_or_path is None:
        name_or_path = DEFAULT
        _notice(_progress.wanted(progress))
    if not isinstance(name_or_path, str | os.PathLike):
        raise errors.OptionError(f"model={name_or_path!r}: give a name, a path, or what load_model returned")
    path = Path(name_or_path).expanduser()
    if (BUNDLED / path).is_dir() and str(name_or_path) in bundled():
        path = BUNDLED / path
    elif not path.exists():
        raise errors.ModelNotFoundError(
            f"model={str(name_or_path)!r} is neither the name of a model ({', '.join(bundled())}) "
            "nor the path of a converted model or a checkpoint"
        )
    if (path / "config.json").is_file():
        for option, value in (("checkpoint", checkpoint), ("protein_embeddings", protein_embeddings)):
            if value is not None:
                raise errors.OptionError(
                    f"{option}={str(value)!r}, but {str(path)!r} is a converted model already: "
                    "name the checkpoint it came from"
                )
        return path
    table = None if protein_embeddings is None else Path(protein_embeddings).expanduser()
    if table is not None and not table.is_file():
        raise errors.ModelNotFoundError(f"protein_embeddings={str(protein_embeddings)!r}: there is no such file")
    destination = _cache.cache_dir() / "converted" / _key(path, checkpoint, table)
    if (destination / "config.json").is_file():
        return destination
    convert(
        path,
        destination,
        name=Path(checkpoint).stem if checkpoint else path.stem if path.is_file() else path.name,
        checkpoint=checkpoint,
        protein_embeddings=table,
        progress=progress,
    )
    return destination


@functools.cache
def _notice(watched: bool) -> None:
    """Say once that there is a better model: to who watches, else to the log."""
    if watched:
        print(_NOTICE, file=sys.stderr)
    else:
        logging.getLogger("se600m").info(_NOTICE)


def _key(path: Path, checkpoint: str | None, protein_embeddings: Path | None) -> str:
    """Name a checkpoint's conversion: by the place, size and time of its files, and the choices among them."""
    path = path.resolve()
    digest = hashlib.sha256(f"{_FORMAT}\0{checkpoint or ''}\0".encode())
    files = [path] if path.is_file() else []
    files += sorted(p for p in (path.parent if path.is_file() else path).iterdir() if p.is_file() and p != path)
    files += [protein_embeddings.resolve()] if protein_embeddings else []
    for file in files:
        status = file.stat()
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return f"{path.stem if path.is_file() else path.name}-{digest.hexdigest()[:16]}"


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
    """Convert a checkpoint into a model directory that :func:`load_model` opens at once.

    Parameters
    ----------
    source
        A folder with ``model.safetensors``, ``config.yaml`` and ``protein_embeddings.pt``, a
        ``.safetensors`` file with those beside it, or a ``.ckpt`` of arc-state. Files are read as
        data: nothing in a pickle is executed.
    destination
        The directory to write. It appears whole or not at all.
    name
        Name of the model; the source's name if not given.
    checkpoint
        Name of one of several checkpoints in a folder; ``model.safetensors``, or the only one, if not given.
    config, protein_embeddings
        Files to use instead of the checkpoint's own.
    overwrite
        Replace a converted model at the destination.
    progress
        Show a progress bar; by default in notebooks and terminals.

    Raises
    ------
    ModelNotFoundError, CheckpointError, UnsafePickleError, DestinationExistsError
        What is wrong with the source or the destination. Nothing is left behind.
    """
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
        except errors.DestinationExistsError:
            # Another process may have finished the same conversion into the cache meanwhile.
            in_cache = _cache.cache_dir() in Path(destination).parents
            if not (in_cache and (Path(destination) / "config.json").is_file()):
                raise
