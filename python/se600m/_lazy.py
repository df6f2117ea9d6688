"""Matrices that are computed when they are asked for (dask), and tables that are read when they are (xarray).

``anndata.experimental.read_lazy`` makes an AnnData of such.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from se600m import errors
from se600m._log import log


def table(frame: Any) -> pd.DataFrame:
    """Bring a table of obs or var into memory, if it is not there."""
    if not isinstance(frame, pd.DataFrame) and hasattr(frame, "to_memory"):
        frame = frame.to_memory()
    return cast("pd.DataFrame", frame)


def matrix(found: Any, where: str) -> Any:
    """Give a matrix whose rows can be asked for: itself, or what computes a dask array a block of rows at a time."""
    if not is_dask(found):
        return found
    if found.ndim != 2:
        raise errors.DataError(f"{where} is a dask array with {found.ndim} dimensions, not cells × genes")
    if any(np.isnan(n) for n in found.shape):
        raise errors.DataError(f"{where} is a dask array of unknown shape: call its method compute_chunk_sizes() first")
    return Blocks(found, where)


def in_memory(found: Any) -> Any:
    """Compute a few values, if they are not there."""
    return on_host(found.compute()) if is_dask(found) else found


def is_dask(found: Any) -> bool:
    """Whether something is a dask array."""
    kinds = type(found).__mro__  # anndata has one of its own for views
    return any(kind.__module__.startswith("dask.") for kind in kinds) and hasattr(found, "compute")


def on_host(rows: Any) -> Any:
    """Bring a block of rows that is on a GPU, as rapids-singlecell has them, into this machine's own memory."""
    return rows.get() if type(rows).__module__.startswith(("cupy.", "cupyx.")) else rows


def is_sparse(values: Any) -> bool:
    """Whether values are a sparse matrix of scipy's; as a plain bool, which tells type checkers nothing false."""
    return bool(sp.issparse(values))


def check_sparse(found: Any, where: str) -> None:
    """Make sure that the places that a sparse matrix in memory refers to exist.

    scipy takes them from a file as they are, and its code in C would read and write past the end of its memory.

    Raises
    ------
    DataError
        The matrix is damaged.
    """
    if not is_sparse(found) or found.format not in ("csr", "csc"):
        return
    of_rows = found.format == "csr"
    n_lists, n_places = found.shape if of_rows else found.shape[::-1]
    indptr = found.indptr
    rises = len(indptr) == n_lists + 1 and indptr[0] >= 0 and bool((indptr[1:] >= indptr[:-1]).all())
    if not rises or indptr[-1] > min(len(found.indices), len(found.data)):
        raise errors.DataError(f"{where} is damaged: its indptr does not rise from 0 to the number of its values")
    used = found.indices[: indptr[-1]]
    if used.size and not 0 <= (least := used.min()) <= (most := used.max()) < n_places:
        what, wrong = "gene" if of_rows else "cell", least if least < 0 else most
        raise errors.DataError(f"{where} is damaged: it refers to {what} {wrong} of {n_places}")


class Blocks:
    """Rows of a dask array. The block that was computed last is kept, so that each is computed once on the way down."""

    def __init__(self, array: Any, where: str) -> None:
        # A block has all genes of its cells: what dask cuts between genes is computed together.
        self._array, self.shape, self.dtype, self._where = array, array.shape, array.dtype, where
        self._ends = np.cumsum(array.chunks[0])
        self._held: tuple[int, Any] = (-1, None)
        log.info("%s is a dask array, which is computed in %s blocks of cells", where, f"{len(self._ends):,}")

    def __getitem__(self, cells: slice | npt.NDArray[np.intp]) -> Any:
        wanted = np.arange(self.shape[0])[cells]
        if wanted.size == 0:
            return self._block(0)[:0]
        in_block = np.searchsorted(self._ends, wanted, side="right")
        pieces, places = [], []
        for block in np.unique(in_block):
            place = np.flatnonzero(in_block == block)
            first = self._ends[block] - self._array.chunks[0][block]
            pieces.append(self._block(int(block))[wanted[place] - first])
            places.append(place)
        if len(pieces) == 1:
            return pieces[0]
        stacked = sp.vstack(pieces, format="csr") if any(map(sp.issparse, pieces)) else np.concatenate(pieces)
        order = np.concatenate(places)
        return stacked if np.array_equal(order, np.arange(len(order))) else stacked[np.argsort(order)]

    def _block(self, block: int) -> Any:
        if self._held[0] != block:
            self._held = (-1, None)  # the old one need not be kept while the new one is made
            last = int(self._ends[block])
            rows: Any = on_host(self._array[last - self._array.chunks[0][block] : last].compute())
            check_sparse(rows, self._where)
            self._held = (block, rows.tocsr() if is_sparse(rows) else rows)
        return self._held[1]
