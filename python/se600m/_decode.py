"""Expression predicted from embeddings, by a model's decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _native, _progress, _read_errors, _row_file, _rows, errors
from se600m._chunks import Arrays, Job, run_chunks
from se600m._opened import Opened
from se600m._options import checked_threads

READ_DEPTH = 4.0
"""The read depth that the reference decodes with by default."""

_CHUNK_VALUES = 1 << 24
"""Values predicted, or read, at a time: 64 MiB."""


def decode(
    opened: Opened,
    embedding: Any,
    genes: Iterable[str] | str,
    *,
    read_depth: npt.ArrayLike,
    dataset_embedding: Any,
    threads: int | None,
    progress: bool | None,
    out: Any,
) -> Any:
    """Do what :meth:`se600m.Model.decode` says."""
    takes = opened.config.get("decoder")
    if takes is None:
        raise errors.NotInModelError(
            f"model {opened.name!r} has no expression decoder: its checkpoint has no binary_decoder tensors"
        )
    threads = checked_threads(threads)
    tokens = opened.tokens_of(genes)
    cells = _EmbeddedCells(opened, takes, embedding, dataset_embedding, read_depth)
    shape = (cells.n, len(tokens))
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        _rows.check_output(out, shape)
    written = _row_file.unmapped(out, to_write=True)
    request = {"model": opened.handle, "threads": threads or 0, "genes": _native.array(tokens)}
    sink = _PredictionSink(written, max(len(tokens), opened.output_dim))
    with _progress.bar(progress, f"Decoding with {opened.name}", cells.n * len(tokens), unit="value") as update:
        run_chunks(cells, sink, Job("decode", request), progress=update)
    return out


class _PredictionSink:
    """Predictions of some cells at a time, into an array of any kind; where Go can, it writes in place."""

    def __init__(self, out: Any, width: int) -> None:
        self._out = out
        self._in_place = (
            isinstance(out, np.ndarray) and out.dtype == np.float32 and out.flags.c_contiguous and out.flags.aligned
        )
        self.step: int | None = _rows.rows_at_once(out, _CHUNK_VALUES, width)

    def memory(self, rows: slice) -> Arrays:
        shape = (rows.stop - rows.start, self._out.shape[1])
        return {"output": self._out[rows] if self._in_place else np.empty(shape, np.float32)}

    def store(self, rows: slice, arrays: Arrays) -> None:
        if not self._in_place:
            self._out[rows] = arrays["output"]


class _EmbeddedChunk:
    """Embeddings of some cells in memory."""

    def __init__(self, n_cells: int, arrays: Arrays) -> None:
        self.n_cells, self._keep = n_cells, arrays
        self.request = {"n_cells": n_cells, **{name: _native.array(values) for name, values in arrays.items()}}


class _EmbeddedCells:
    """Embeddings of cells as they were given, to be read some rows at a time."""

    def __init__(
        self, opened: Opened, takes: dict[str, Any], embedding: Any, dataset: Any, read_depth: npt.ArrayLike
    ) -> None:
        takes_dataset = takes["dataset_dim"]
        self.width, self.takes_dataset = opened.output_dim, takes_dataset
        self.embedding = embedding = _two_dimensional("embedding", embedding)
        self.n = int(embedding.shape[0])
        whole = opened.output_dim + opened.dataset_dim
        appended = opened.dataset_dim > 0 and embedding.shape[1] == whole
        if embedding.shape[1] != opened.output_dim and not appended:
            wide = f"{opened.output_dim} wide" + (
                f", or {whole} with the dataset embedding" if opened.dataset_dim else ""
            )
            raise errors.OptionError(
                f"embedding has shape {list(embedding.shape)}, but embeddings of model {opened.name!r} are {wide}"
            )
        if dataset is not None and (appended or not takes_dataset):
            why = "embedding already contains it" if appended else "this model's decoder does not use it"
            raise errors.OptionError(f"dataset_embedding is given, but {why}: leave it out")
        if takes_dataset and dataset is None and not appended:
            raise errors.OptionError(
                "this model's decoder also needs the dataset embedding: pass dataset_embedding="
                f"adata.obsm['X_state_dataset'], or embed with_dataset_embedding=True ({whole} columns)"
            )
        self.dataset = None if dataset is None else _two_dimensional("dataset_embedding", dataset)
        if self.dataset is not None and tuple(self.dataset.shape) != (self.n, takes_dataset):
            raise errors.OptionError(
                f"dataset_embedding has shape {list(self.dataset.shape)}, not {[self.n, takes_dataset]}"
            )
        self.depth = _depths(read_depth, self.n, takes["read_depth"])

    def chunks(self, most: int | None = None) -> Iterator[tuple[int, _EmbeddedChunk]]:
        """Give (first row, embeddings), at most some cells at a time."""
        step = most or max(1, self.n)
        for first in range(0, self.n, step):
            rows = slice(first, min(first + step, self.n))
            yield first, _EmbeddedChunk(rows.stop - first, self._read(rows))

    def _read(self, rows: slice) -> Arrays:
        block = _finite("embedding", self.embedding, rows)
        arrays: Arrays = {"embedding": np.ascontiguousarray(block[:, : self.width])}
        if self.dataset is not None:
            arrays["dataset_embedding"] = _finite("dataset_embedding", self.dataset, rows)
        elif self.takes_dataset:
            arrays["dataset_embedding"] = np.ascontiguousarray(block[:, self.width :])
        if self.depth is not None:
            arrays["read_depth"] = np.ascontiguousarray(self.depth[rows])
        return arrays


def _two_dimensional(name: str, values: Any) -> Any:
    """Take anything with rows to slice as it is, and make an array of the rest."""
    if not hasattr(values, "shape"):
        values = np.asarray(values)
    if len(values.shape) != 2:
        raise errors.OptionError(f"{name} has shape {list(values.shape)}: expected [n_cells, width]")
    return _row_file.unmapped(values)


def _finite(name: str, values: Any, rows: slice) -> npt.NDArray[np.float32]:
    try:
        read = values[rows]
    except OSError as error:
        raise errors.DataError(
            f"{name}: rows {rows.start} to {rows.stop - 1} can't be read: {_read_errors.cause(error)}"
        ) from error
    block = np.ascontiguousarray(np.asarray(read), np.float32)
    wrong = ~np.isfinite(block).all(axis=1)
    if wrong.any():
        raise errors.OptionError(f"{name} has a NaN or infinite value in row {rows.start + int(wrong.argmax())}")
    return block


def check_depth(read_depth: npt.ArrayLike = READ_DEPTH) -> None:
    """Make sure that a read depth is a finite number, before embeddings are read."""
    _depths(read_depth, 1, True)


def _depths(read_depth: npt.ArrayLike, n: int, takes_it: bool) -> npt.NDArray[np.float32] | None:
    try:
        depth = np.asarray(read_depth, np.float32)
    except (TypeError, ValueError):
        raise errors.OptionError(f"read_depth={read_depth!r} is not a number or one number per cell") from None
    if depth.shape not in ((), (n,)):
        raise errors.OptionError(
            f"read_depth has shape {list(depth.shape)}: give one number, or one for each of the {n:,} cells"
        )
    if not np.isfinite(depth).all():
        raise errors.OptionError("read_depth has a NaN or infinite value")
    if takes_it:
        return np.broadcast_to(depth, (n,))
    if np.any(depth != READ_DEPTH):
        raise errors.OptionError("this model's decoder does not use read_depth (model.rda is not set): leave it out")
    return None
