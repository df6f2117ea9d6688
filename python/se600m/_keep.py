"""A result that can't be written to its destination is kept in another file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from se600m import _files, errors
from se600m._words import many


@contextmanager
def kept_on_failure(
    embedding: npt.NDArray[np.float32],
    dataset_embedding: npt.NDArray[np.float32] | None,
    key: str,
    what: str,
    beside: Path | None = None,
) -> Iterator[None]:
    """Write a result in the block; if that fails, keep the embedding in a file and name it in the error.

    Parameters
    ----------
    embedding, dataset_embedding
        What is kept: an ``.npy`` file, the dataset embedding in its last columns.
    key
        The key of ``obsm`` that it was meant for.
    what
        What could not be written, for the message.
    beside
        The folder that is tried first; then come the folder for temporary files, the current one and the user's own.

    Raises
    ------
    DestinationError
        Says why the block failed, where the embedding is, and how to go on.
    """
    try:
        yield
    except Exception as error:
        folders = [*([beside] if beside else []), Path(tempfile.gettempdir()), Path.cwd(), Path.home()]
        raise errors.DestinationError(_told(error, embedding, dataset_embedding, key, what, folders)) from error


def _told(
    error: Exception,
    embedding: npt.NDArray[np.float32],
    dataset: npt.NDArray[np.float32] | None,
    key: str,
    what: str,
    folders: Sequence[Path],
) -> str:
    width = embedding.shape[1]
    path = _saved(embedding if dataset is None else np.hstack([embedding, dataset]), folders)
    why = f"{what} could not be written ({_files.reason(error)})"
    if path is None:
        tried = ", ".join(dict.fromkeys(map(str, folders)))
        return f"{why}, and the embedding could not be saved in a file either: there is no space in {tried}"
    columns = "" if dataset is None else f"[:, :{width}]"
    more = "" if dataset is None else f"; the last {dataset.shape[1]} columns are the dataset embedding"
    return (
        f"{why}. The embedding was saved in {path}. Load its {many(len(embedding), 'cell')}, in the same order, with "
        f"adata.obsm[{key!r}] = numpy.load({str(path)!r}){columns}{more}"
    )


def _saved(values: npt.NDArray[np.float32], folders: Sequence[Path]) -> Path | None:
    for folder in folders:
        with suppress(OSError):
            handle, name = tempfile.mkstemp(".npy", "se600m-embedding-", folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    np.save(file, values)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                os.unlink(name)
                raise
            return Path(name)
    return None
