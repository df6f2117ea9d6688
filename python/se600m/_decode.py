"""Expression predicted from embeddings, by a model's decoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from se600m import _native, _progress, _rows, errors

if TYPE_CHECKING:
    from se600m._model import Model

READ_DEPTH = 4.0
"""The read depth that the reference decodes with by default."""

_CHUNK_VALUES = 1 << 24
"""Values predicted, or read, at a time: 64 MiB."""


def decode(
    model: Model,
    embedding: Any,
    genes: Iterable[str] | str,
    *,
    read_depth: npt.ArrayLike,
    dataset_embedding: Any,
    threads: int,
    progress: bool | None,
    out: Any,
) -> Any:
    """Do what :meth:`se600m.Model.decode` says."""
    takes = model.config.get("decoder")
    if takes is None:
        raise errors.NotInModelError(
            f"model {model.name!r} has no expression decoder: its checkpoint has no binary_decoder tensors"
        )
    tokens = model._tokens(genes)
    cells = _Cells(model, takes["dataset_dim"], embedding, dataset_embedding)
    depth = _depths(read_depth, cells.n, takes["read_depth"])
    shape = (cells.n, len(tokens))
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        _rows.check_output(out, shape)
    in_place = isinstance(out, np.ndarray) and out.dtype == np.float32 and out.flags.c_contiguous and out.flags.aligned
    step = _rows.rows_at_once(out, _CHUNK_VALUES, max(len(tokens), model.output_dim))
    with _progress.bar(progress, f"Decoding with {model.name}", cells.n * len(tokens), unit="value") as update:
        for first in range(0, cells.n, step):
            rows = slice(first, min(first + step, cells.n))
            n = rows.stop - first
            arrays: dict[str, npt.NDArray[Any]] = {"genes": tokens, **cells.read(rows)}
            if depth is not None:
                arrays["read_depth"] = depth[rows]
            arrays["output"] = out[rows] if in_place else np.empty((n, len(tokens)), np.float32)
            request = {"model": model._handle, "n_cells": n, "threads": threads}
            _native.run("decode", request | {name: _native.array(values) for name, values in arrays.items()}, update)
            if not in_place:
                out[rows] = arrays["output"]
    return out


class _Cells:
    """Embeddings of cells as they were given, to be read some rows at a time."""

    def __init__(self, model: Model, takes_dataset: int, embedding: Any, dataset: Any) -> None:
        self.width, self.takes_dataset = model.output_dim, takes_dataset
        self.embedding = embedding = _two_dimensional("embedding", embedding)
        self.n = int(embedding.shape[0])
        whole = model.output_dim + model.dataset_dim
        appended = model.dataset_dim > 0 and embedding.shape[1] == whole
        if embedding.shape[1] != model.output_dim and not appended:
            wide = f"{model.output_dim} wide" + (
                f", or {whole} with the dataset embedding" if model.dataset_dim else ""
            )
            raise errors.OptionError(
                f"embedding is {list(embedding.shape)}, but the embeddings of model {model.name!r} are {wide}"
            )
        if dataset is not None and (appended or not takes_dataset):
            why = "embedding has it in its last columns" if appended else "this model's decoder takes none"
            raise errors.OptionError(f"dataset_embedding is given, but {why}: leave it out")
        if takes_dataset and dataset is None and not appended:
            raise errors.OptionError(
                "this model's decoder takes the dataset embedding, too: give dataset_embedding="
                f"adata.obsm['X_state_dataset'], or an embedding with_dataset_embedding=True ({whole} columns)"
            )
        self.dataset = None if dataset is None else _two_dimensional("dataset_embedding", dataset)
        if self.dataset is not None and tuple(self.dataset.shape) != (self.n, takes_dataset):
            raise errors.OptionError(f"dataset_embedding is {list(self.dataset.shape)}, not {[self.n, takes_dataset]}")

    def read(self, rows: slice) -> dict[str, npt.NDArray[np.float32]]:
        """Read rows of the embedding and, if the decoder takes it, of the dataset embedding."""
        block = _finite("embedding", self.embedding, rows)
        arrays = {"embedding": np.ascontiguousarray(block[:, : self.width])}
        if self.dataset is not None:
            arrays["dataset_embedding"] = _finite("dataset_embedding", self.dataset, rows)
        elif self.takes_dataset:
            arrays["dataset_embedding"] = np.ascontiguousarray(block[:, self.width :])
        return arrays


def _two_dimensional(name: str, values: Any) -> Any:
    """Take anything with rows to slice as it is, and make an array of the rest."""
    if not hasattr(values, "shape"):
        values = np.asarray(values)
    if len(values.shape) != 2:
        raise errors.OptionError(f"{name} is {list(values.shape)}: give [n_cells, width]")
    return values


def _finite(name: str, values: Any, rows: slice) -> npt.NDArray[np.float32]:
    block = np.ascontiguousarray(np.asarray(values[rows]), np.float32)
    wrong = ~np.isfinite(block).all(axis=1)
    if wrong.any():
        raise errors.OptionError(f"{name}: row {rows.start + int(wrong.argmax())} has a NaN or infinite value")
    return block


def _depths(read_depth: npt.ArrayLike, n: int, takes_it: bool) -> npt.NDArray[np.float32] | None:
    try:
        depth = np.asarray(read_depth, np.float32)
    except (TypeError, ValueError):
        raise errors.OptionError(f"read_depth={read_depth!r} is not a number, or one a cell") from None
    if depth.shape not in ((), (n,)):
        raise errors.OptionError(f"read_depth is {list(depth.shape)}: give a number, or one for each of {n:,} cells")
    if not np.isfinite(depth).all():
        raise errors.OptionError("read_depth has a NaN or infinite value")
    if takes_it:
        return np.ascontiguousarray(np.broadcast_to(depth, (n,)))
    if np.any(depth != READ_DEPTH):
        raise errors.OptionError(
            "read_depth is given, but this model's decoder takes none (model.rda is not set): leave it out"
        )
    return None
