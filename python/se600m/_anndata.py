"""AnnData as the core wants it: a matrix in memory, some rows at a time, and gene names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from anndata import AnnData

from se600m import _native, errors

_CHUNK_VALUES = 1 << 26
"""Rows that must be copied are copied this many values at a time (a quarter of a GB as float32)."""

_DTYPES = {
    np.dtype(name)
    for name in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}


@dataclass
class Expression:
    """The expression matrix of an AnnData, cells × genes, with the names of its genes."""

    matrix: Any
    genes: list[str]
    where: str
    """What the matrix is called by a user, such as ``adata.raw.X``."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.matrix.shape[0])

    def chunks(self) -> Iterator[tuple[int, Chunk]]:
        """Give (first row, rows). What lies ready in memory is one chunk, and is not copied."""
        if _ready(self.matrix):
            yield 0, Chunk(self.matrix)
            return
        rows = max(1, _CHUNK_VALUES // max(1, self.matrix.shape[1]))
        matrix = self.matrix.tocsr() if sp.issparse(self.matrix) else self.matrix
        for first in range(0, self.n_cells, rows):
            yield first, Chunk(matrix[first : first + rows])


def _ready(matrix: Any) -> bool:
    """Whether the core can view a matrix where it is."""
    if isinstance(matrix, sp.csr_matrix | sp.csr_array):
        return matrix.data.dtype in _DTYPES and matrix.data.dtype.isnative
    if type(matrix) is np.ndarray or (isinstance(matrix, np.ndarray) and not isinstance(matrix, np.ma.MaskedArray)):
        strides_fit = all(s >= 0 and s % matrix.itemsize == 0 for s in matrix.strides)
        return matrix.dtype in _DTYPES and matrix.dtype.isnative and matrix.flags.aligned and strides_fit
    return False


class Chunk:
    """Some rows in memory, and their description for Go. Keep it until the job has finished."""

    def __init__(self, rows: Any) -> None:
        if not _ready(rows):
            rows = rows.tocsr() if sp.issparse(rows) else np.ascontiguousarray(rows)
            if rows.dtype not in _DTYPES or not rows.dtype.isnative:
                rows = rows.astype(np.float32)
        self.n_cells, n_genes = rows.shape
        self._keep: list[npt.NDArray[Any]] = []
        self.request: dict[str, Any] = {"n_cells": self.n_cells, "n_genes": n_genes}
        if sp.issparse(rows):
            indices = rows.indices if rows.indices.dtype in (np.int32, np.int64) else rows.indices.astype(np.int64)
            self.request |= {
                "kind": "csr",
                "data": self._array(rows.data),
                "indices": self._array(indices),
                "indptr": self._array(rows.indptr.astype(np.int64, copy=False)),
            }
        else:
            self._keep.append(rows)
            strides = [s // rows.itemsize for s in rows.strides]
            # From the first element to the last one that the strides reach.
            length = 1 + sum(max(n - 1, 0) * s for n, s in zip(rows.shape, strides, strict=True)) if rows.size else 0
            self.request |= {
                "kind": "dense",
                "data": {"address": rows.ctypes.data if length else 0, "length": length, "dtype": rows.dtype.name},
                "cell_stride": strides[0],
                "gene_stride": strides[1],
            }

    def _array(self, values: npt.NDArray[Any]) -> dict[str, Any]:
        values = np.ascontiguousarray(values)
        self._keep.append(values)
        return _native.array(values)


def read(adata: AnnData, *, layer: str | None, use_raw: bool, gene_column: str | None) -> Expression:
    """Find the matrix and the gene names that a caller means."""
    if not isinstance(adata, AnnData):
        raise errors.DataError(f"embed wants an AnnData, not a {type(adata).__name__}: anndata.AnnData(X, obs, var)")
    if layer is not None and use_raw:
        raise errors.OptionError(f"layer={layer!r} and use_raw=True name two matrices: choose one")
    var, where = adata.var, "adata.X"
    if use_raw:
        if adata.raw is None:
            raise errors.DataError("use_raw=True, but adata.raw is None: leave it out to embed adata.X")
        matrix, var, where = adata.raw.X, adata.raw.var, "adata.raw.X"
    elif layer is not None:
        if layer not in adata.layers:
            raise errors.DataError(f"layer={layer!r} is not in adata.layers, which has {sorted(adata.layers)}")
        matrix, where = adata.layers[layer], f"adata.layers[{layer!r}]"
    else:
        matrix = adata.X
    if matrix is None:
        raise errors.DataError(f"{where} is None: name a layer, or use_raw=True")
    if matrix.shape[0] == 0:
        raise errors.DataError("the AnnData has no cells (n_obs = 0)")
    if matrix.shape[1] == 0:
        raise errors.DataError(f"{where} has no genes (n_vars = 0)")
    if gene_column is None:
        names = var.index
    elif gene_column in var.columns:
        names = var[gene_column]
    else:
        raise errors.DataError(f"gene_column={gene_column!r} is not in var, which has {list(var.columns)}")
    genes = ["" if missing else str(name) for name, missing in zip(names, names.isna(), strict=True)]
    return Expression(matrix, genes, where)
