"""Embeddings in ``obsm``: in memory, in a file or computed when they are asked for, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _lazy, _options, _read_errors, _row_file, errors

_BLOCK_VALUES = 1 << 25
"""What is not float32 in memory is read about this many values at a time (128 MB)."""


class Representation:
    """An embedding, float32 ``[n_cells, width]``, checked except for its values.

    Parameters
    ----------
    adata
        Cells with an embedding.
    name
        Name of the AnnData in messages.
    use_rep
        Key of the embedding in ``obsm``: a numpy array or DataFrame; or a dataset of h5py, an array of zarr or dask,
        of which only some rows are in memory at a time.

    Raises
    ------
    DataError
        It is missing, empty, or not a dense matrix of numbers.
    """

    def __init__(self, adata: AnnData, name: str, use_rep: str) -> None:
        self._where = f"{name}.obsm[{use_rep!r}]"
        if use_rep not in adata.obsm:
            option = "" if use_rep == _options.KEY else f", key_added={use_rep!r}"
            raise errors.DataError(
                f"use_rep={use_rep!r} is not in {name}.obsm, which has {sorted(adata.obsm)}: "
                f"create it with se600m.embed({name}{option})"
            )
        values: Any = adata.obsm[use_rep]
        if hasattr(values, "to_memory"):  # a table that is read when it is asked for
            values = values.to_memory()
        self._check_dense(values)
        if not all(hasattr(values, part) for part in ("shape", "dtype", "ndim")):
            values = np.asarray(values)
        dtype = np.dtype(values.dtype)
        if values.ndim != 2 or dtype.kind not in "fiub":
            raise errors.DataError(
                f"{self._where} is {dtype} {list(values.shape)}, not a matrix of numbers [n_cells, width]"
            )
        if 0 in values.shape:
            raise errors.DataError(f"{self._where} is empty: {list(values.shape)}")
        values = _row_file.unmapped(values)
        self._values = _lazy.matrix(values, self._where)
        self.n_cells, self.width = (int(n) for n in values.shape)
        ready = isinstance(values, np.ndarray) and dtype == np.float32 and dtype.isnative and values.flags.c_contiguous
        self._whole = values if ready else None

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Yield (first row, rows): what the core can read in memory as one block, which is not copied."""
        if self._whole is not None:
            yield 0, self._whole
            return
        step = max(1, _BLOCK_VALUES // self.width)
        for first in range(0, self.n_cells, step):
            yield first, self._read(first, min(first + step, self.n_cells))

    def _read(self, first: int, last: int) -> npt.NDArray[np.float32]:
        try:
            rows = self._values[first:last]
        except OSError as error:
            why = _read_errors.cause(error)
            raise errors.DataError(f"{self._where}: cells {first} to {last - 1} can't be read: {why}") from error
        self._check_dense(rows)
        rows = np.asarray(rows)
        if rows.shape != (last - first, self.width):
            raise errors.DataError(
                f"{self._where} gave {list(rows.shape)} for cells {first} to {last - 1}, where "
                f"{[last - first, self.width]} was expected: was its file changed meanwhile?"
            )
        with np.errstate(over="ignore"):  # becomes infinite, which is an error of its own
            return np.ascontiguousarray(rows, np.float32)

    def _check_dense(self, values: Any) -> None:
        if _lazy.is_sparse(values):
            raise errors.DataError(f"{self._where} is sparse: convert it with {self._where} = {self._where}.toarray()")
