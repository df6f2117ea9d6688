"""Expression predicted from embeddings, by a model's decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _native, _progress, _read_errors, _row_file, _rows, errors
from se600m._chunks import Arrays, Job, Rest, Sink, run_chunks
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
    how: dict[str, Any] = {"read_depth": read_depth, "dataset_embedding": dataset_embedding, "threads": threads}
    decoding = Decoding(opened, embedding, genes, **how)
    if out is None:
        out = np.empty(decoding.shape, np.float32)
    else:
        _rows.check_output(out, decoding.shape)
    decoding.write(_PredictionSink(_row_file.unmapped(out, to_write=True), decoding.rows_at_once), progress)
    return out


class Decoding:
    """Expression that is to be predicted: embedded cells and genes, checked.

    Attributes
    ----------
    shape
        Of the predictions: cells × genes.
    cells
        The embedded cells.
    rows_at_once
        Cells of which the embeddings and the predictions have about 64 MiB.
    """

    def __init__(
        self,
        opened: Opened,
        embedding: Any,
        genes: Iterable[str] | str,
        *,
        read_depth: npt.ArrayLike = READ_DEPTH,
        dataset_embedding: Any = None,
        threads: int | None = None,
    ) -> None:
        takes = opened.config.get("decoder")
        if takes is None:
            raise errors.NotInModelError(
                f"model {opened.name!r} has no expression decoder: its checkpoint has no binary_decoder tensors"
            )
        self._opened, self._threads = opened, checked_threads(threads)
        self._tokens = opened.tokens_of(genes)
        self.cells = EmbeddedCells(opened, takes, embedding, dataset_embedding, read_depth)
        self.shape = (self.cells.n_cells, len(self._tokens))
        self.rows_at_once = max(1, _CHUNK_VALUES // max(len(self._tokens), opened.output_dim))

    def write(self, sink: Sink, progress: bool | None, rest: Rest | None = None) -> None:
        """Have predictions taken by a sink, with progress; ``rest`` are the cells that are left, if others are done."""
        n_genes, title = self.shape[1], f"Decoding with {self._opened.name}"
        request = {"model": self._opened.handle, "threads": self._threads or 0, "genes": _native.array(self._tokens)}
        done = 0 if rest is None else rest.first * n_genes
        with _progress.bar(progress, title, self.shape[0] * n_genes, unit="value", done=done) as update:
            run_chunks(rest or self.cells, sink, Job("decode", request), progress=update)


class _PredictionSink:
    """Predictions of some cells at a time, into an array of any kind; where Go can, it writes in place."""

    def __init__(self, out: Any, rows_at_once: int) -> None:
        self._out = out
        self._in_place = (
            isinstance(out, np.ndarray) and out.dtype == np.float32 and out.flags.c_contiguous and out.flags.aligned
        )
        self.step: int | None = _rows.whole_chunks(out, rows_at_once)

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


class EmbeddedCells:
    """Embeddings of cells as they were given, to be read some rows at a time."""

    def __init__(
        self, opened: Opened, takes: dict[str, Any], embedding: Any, dataset: Any, read_depth: npt.ArrayLike
    ) -> None:
        takes_dataset = takes["dataset_dim"]
        self.width, self.takes_dataset = opened.output_dim, takes_dataset
        self.embedding = embedding = _two_dimensional("embedding", embedding)
        self.n_cells = int(embedding.shape[0])
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
        if self.dataset is not None and tuple(self.dataset.shape) != (self.n_cells, takes_dataset):
            raise errors.OptionError(
                f"dataset_embedding has shape {list(self.dataset.shape)}, not {[self.n_cells, takes_dataset]}"
            )
        self.depth = _depths(read_depth, self.n_cells, takes["read_depth"])

    def chunks(self, most: int | None = None) -> Iterator[tuple[int, _EmbeddedChunk]]:
        """Give (first row, embeddings), at most some cells at a time."""
        step = most or max(1, self.n_cells)
        for first in range(0, self.n_cells, step):
            yield first, self.some(first, step)

    def some(self, first: int, most: int) -> _EmbeddedChunk:
        """Read embeddings from a given cell on, at most some."""
        rows = slice(first, min(first + most, self.n_cells))
        return _EmbeddedChunk(rows.stop - first, self._read(rows))

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
    """Make sure that a read depth is one, before embeddings are read."""
    _depths(read_depth, 1, True)


def _depths(read_depth: npt.ArrayLike, n: int, takes_it: bool) -> npt.NDArray[np.float32] | None:
    try:
        given = np.asarray(read_depth)
        if given.dtype.kind not in "iufO":  # numpy would read text and truth values as numbers
            raise TypeError
        given = given.astype(np.float64)
    except (TypeError, ValueError):
        raise errors.OptionError(f"read_depth={read_depth!r} is not a number or one number per cell") from None
    if given.shape not in ((), (n,)):
        raise errors.OptionError(
            f"read_depth has shape {list(given.shape)}: give one number, or one for each of the {n:,} cells"
        )
    with np.errstate(over="ignore"):
        depth = given.astype(np.float32)
    wrong = ~(np.isfinite(depth) & (depth >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        value, of_cell = given.reshape(-1)[row], f" of cell {row}" if given.shape else ""
        raise errors.OptionError(
            f"read_depth={value.item()}{of_cell} is not a read depth, which is log1p of a number of counts: give a "
            f"finite number from 0, such as {READ_DEPTH}"
        )
    if takes_it:
        return np.broadcast_to(depth, (n,))
    if np.any(depth != READ_DEPTH):
        raise errors.OptionError("this model's decoder does not use read_depth (model.rda is not set): leave it out")
    return None
