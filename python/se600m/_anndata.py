"""AnnData as the core wants it: a matrix in memory, some rows at a time, and names of genes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anndata
import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from se600m import _files, _lazy, _native, _not_anndata, _read_errors, _spool, _var, errors
from se600m._words import a

_CHUNK_VALUES = 1 << 25
"""Rows that must be copied are copied about this many values at a time (128 MB as float32)."""

_LARGEST_LOG1P = 35
"""No log1p of counts is larger; the reference treats a cell with a larger value as counts."""

_SAMPLE = 64
"""Cells that are looked at where a first look must do."""

_DTYPES = {
    np.dtype(name)
    for name in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}


@dataclass
class Expression:
    """The expression matrix of an AnnData, cells × genes, with what may be the names of its genes."""

    n_cells: int
    n_genes: int
    where: str
    """Name of the matrix in messages, such as ``adata.raw.X``."""
    columns: list[_var.GeneNames]
    """Candidates for gene names."""
    features: _var.FeatureTypes | None
    """Which columns of the matrix are genes, where ``var`` says that others are not: these do not exist here."""
    rows: Callable[[int, int], Any]
    """Gives rows first … last-1, in memory."""
    whole: Any
    """The matrix, if the core can view it where it is; else None."""
    values_per_row: int
    """Approximate number of stored values per row."""
    obs_names: Any = ()
    """Names of the cells, by their number in the data set; None where they are not at hand."""
    elsewhere: Callable[[], str | None] = lambda: None
    """Names the option that selects a matrix which looks like expression, if this one does not."""
    offset: int = 0
    """Number of the first row in the data set, of which these may be a part."""
    at_once: Callable[[int], int] | None = None
    """Tells how many rows, from a given one on, fit into the memory that is set for them; None: a fixed number."""

    def column_of(self, gene: int) -> int:
        """Find the column of the matrix that is a gene's."""
        return gene if self.features is None else int(np.flatnonzero(self.features.genes)[gene])

    def totals(self) -> npt.NDArray[np.float64] | None:
        """Give the sum of each gene's values, if that takes no time; None where values are no expression."""
        if self.whole is None or not self.whole.size:
            return None
        # scipy's own min() sorts the indices of the matrix, in some versions.
        values = self.whole.data[: self.whole.nnz] if hasattr(self.whole, "nnz") else self.whole
        if not np.isfinite(least := values.min()) or least < 0:
            return None
        sums = np.asarray(self.whole.sum(0, dtype=np.float64)).ravel()
        return sums if np.isfinite(sums).all() else None

    def chunks(self, most: int | None = None) -> Iterator[tuple[int, Chunk]]:
        """Yield (first row, rows), with at most ``most`` rows at a time.

        By default a matrix that the core can read in memory is one chunk, and is not copied.
        """
        if most is None and self.whole is not None:
            yield 0, Chunk(self.whole, self.where)
            return
        first = 0
        while first < self.n_cells:
            chunk = self.some(first, most)
            yield first, chunk
            first += chunk.n_cells

    def part(self, first: int, last: int) -> Expression:
        """Give some of the rows."""
        rows, at_once = self.rows, self.at_once
        return dataclasses.replace(
            self,
            n_cells=last - first,
            rows=lambda begin, end: rows(first + begin, first + end),
            whole=None,
            offset=self.offset + first,
            at_once=None if at_once is None else lambda begin: min(at_once(first + begin), last - first - begin),
        )

    def some(self, first: int, most: int | None = None) -> Chunk:
        """Read rows from a given one on: as many as may be in memory at once, and at most ``most``."""
        fixed = max(1, _CHUNK_VALUES // max(1, self.values_per_row))
        step = fixed if self.at_once is None else self.at_once(first)
        step = step if most is None else min(step, most)
        return Chunk(self.rows(first, min(first + step, self.n_cells)), self.where)


def _ready(matrix: Any) -> bool:
    """Whether the core can view a matrix where it is."""
    if isinstance(matrix, sp.csr_matrix | sp.csr_array):
        return matrix.data.dtype in _DTYPES and matrix.data.dtype.isnative
    if isinstance(matrix, np.ndarray) and not isinstance(matrix, np.ma.MaskedArray):
        strides_fit = all(s >= 0 and s % matrix.itemsize == 0 for s in matrix.strides)
        return matrix.dtype in _DTYPES and matrix.dtype.isnative and matrix.flags.aligned and strides_fit
    return False


class Chunk:
    """Some rows in memory, and their description for Go. Keep it until the job has finished."""

    def __init__(self, rows: Any, where: str) -> None:
        self.nan = "NaN"
        """What a user calls the values that are NaN here."""
        if isinstance(rows, np.ma.MaskedArray) and np.ma.is_masked(rows):
            rows, self.nan = np.ma.filled(rows.astype(np.float64), np.nan), "masked"
        elif isinstance(rows, pd.DataFrame):
            rows, self.nan = _numbers_of(rows), "NA"
        if not _ready(rows):
            _lazy.check_sparse(rows, where)
            rows = _viewable(rows, where)
        self.rows = rows
        """CSR or a plain array."""
        self.sparse = _lazy.is_sparse(rows)
        self.n_cells, n_genes = rows.shape
        self._keep: list[npt.NDArray[Any]] = []
        self.request: dict[str, Any] = {"n_cells": self.n_cells, "n_genes": n_genes}
        if isinstance(rows, np.ndarray):
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
        else:
            indices = rows.indices if rows.indices.dtype in (np.int32, np.int64) else rows.indices.astype(np.int64)
            self.request |= {
                "kind": "csr",
                "data": self._array(rows.data),
                "indices": self._array(indices),
                "indptr": self._array(rows.indptr.astype(np.int64, copy=False)),
            }

    def _array(self, values: npt.NDArray[Any]) -> dict[str, Any]:
        values = np.require(values, requirements=["C", "ALIGNED"])  # what came over a network may lie anywhere
        self._keep.append(values)
        return _native.array(values)


def _viewable(rows: Any, where: str) -> Any:
    """Bring rows into a form that the core can view: CSR or a plain array, of a type that Go has."""
    if _lazy.is_sparse(rows):
        rows = _csr(rows)
    elif isinstance(rows, np.ndarray):
        rows = np.require(np.asarray(rows), requirements=["C", "ALIGNED"])
    else:
        kind = a(f"{type(rows).__module__.split('.')[0]}.{type(rows).__name__}")
        raise errors.DataError(
            f"{where} is {kind}: it must be a numpy array, a scipy sparse matrix, or on disk in a backed AnnData "
            "(load it into memory first, cupy arrays with .get())"
        )
    dtype = rows.dtype
    if dtype.kind not in "fiub":
        raise errors.DataError(
            f"{where} has values of type {dtype}, which are not real numbers: if they represent numbers, "
            "convert them, for example with .astype(np.float32)"
        )
    if dtype in _DTYPES and dtype.isnative:
        return rows
    # bool and float16 fit into float32; longer floats are rounded; another byte order is turned.
    return rows.astype(
        np.float32 if dtype.kind == "b" or dtype.itemsize < 4 else f"{dtype.kind}{min(dtype.itemsize, 8)}"
    )


def _csr(rows: Any) -> Any:
    """Turn any sparse matrix into CSR, and leave values that are stored twice apart.

    scipy's own way adds them up in their type, where they may overflow.
    """
    if rows.format not in ("csr", "csc"):
        coo = rows.tocoo()
        row, column = coo.row, coo.col  # scipy has coords from 1.13 on
        order = np.argsort(row, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows.shape[0]))])
        rows = sp.csr_array((coo.data[order], column[order], indptr), shape=rows.shape)
    rows = rows.tocsr()
    if rows.dtype == bool and not rows.has_canonical_format:  # twice true is true
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def _numbers_of(rows: pd.DataFrame) -> npt.NDArray[Any]:
    """Give the values of a data frame, NaN where pandas has NA."""
    values = rows.to_numpy()
    numeric = pd.api.types.is_numeric_dtype  # of bool, too, and of the types that have NA
    if values.dtype == object and all(numeric(dtype) for dtype in rows.dtypes):
        return rows.to_numpy(np.float64, na_value=np.nan)
    return values


def check(adata: Any, *, layer: str | None, use_raw: bool, gene_column: str | None) -> None:
    """Make sure that an AnnData has the matrix and the column that a caller means, before a model is looked for.

    Raises
    ------
    DataError
        It has not, or is none, or the file that it is backed by can't be opened.
    OptionError
        The options contradict each other.
    """
    if not isinstance(adata, AnnData):
        raise errors.DataError(
            f"expected an AnnData, not {_not_anndata.what_it_is(adata)}: {_not_anndata.way_to_anndata(adata)}"
        )
    _reopened(adata)
    check_choice(layer, use_raw, _layers(adata), has_raw=adata.raw is not None)
    if adata.n_obs == 0:
        raise errors.DataError("the AnnData has no cells (n_obs = 0)")
    if gene_column is not None:
        _var.check_column(gene_column, (adata.raw if use_raw else adata).var.columns)


def _layers(adata: AnnData) -> list[str]:
    return [name for name in adata.layers if name is not None]  # from anndata 0.13 on, X is the layer None


def check_choice(layer: str | None, use_raw: bool, layers: Sequence[str], *, has_raw: bool) -> None:
    """Make sure that a layer, or ``.raw``, is there if it is chosen, and that only one of them is."""
    if layer is not None and use_raw:
        raise errors.OptionError(f"layer={layer!r} and use_raw=True select two matrices: choose one")
    if use_raw and not has_raw:
        raise errors.DataError("use_raw=True, but adata.raw is None: leave it out to embed adata.X")
    if layer is not None and layer not in layers:
        raise errors.DataError(
            f"layer={layer!r} is not in adata.layers, {_var.what_there_is(layer, layers, 'no layers')}"
        )


def _reopened(adata: AnnData) -> None:
    """Open the file of a closed backed AnnData, as anndata does when it is read, but with an error of its own."""
    if adata.isbacked and not adata.file.is_open:
        try:
            adata.file.open()
        except OSError as error:
            raise file_is_gone(adata, error) from error


def file_is_gone(adata: AnnData, error: OSError) -> errors.DataError:
    """Say that the file of a backed AnnData can't be opened again, and what to do."""
    reason = os.strerror(error.errno) if error.errno else _files.reason(error)
    return errors.DataError(
        f"the file {str(adata.filename)!r} of the backed AnnData can't be opened ({reason}): if it was moved, read it "
        'from where it is now, with anndata.read_h5ad(path, backed="r")'
    )


def read(adata: AnnData, *, layer: str | None, use_raw: bool, gene_column: str | None) -> Expression:
    """Find the matrix and the gene names that a caller means. Nothing is read from a backed file yet."""
    check(adata, layer=layer, use_raw=use_raw, gene_column=gene_column)
    var, where = adata.raw.var if use_raw else adata.var, _where(layer, use_raw)
    # A view's matrix would be copied whole when asked for, so rows are taken from what it views. (In memory,
    # raw has no views.) What a view holds is known to private names alone.
    view = adata.is_view and (adata.isbacked or not use_raw)
    found = _matrix(adata._adata_ref if view else adata, layer, use_raw)
    if found is None:
        raise no_matrix(where)
    found, var = _lazy.matrix(found, where), _lazy.table(var)
    _lazy.check_sparse(found, where)
    if _lazy.is_sparse(found) and found.format not in ("csr", "csc"):
        found = _csr(found)  # others have no slices, or slow ones
    names, features = genes_of(var, where, gene_column)
    cells = np.arange(adata._adata_ref.n_obs)[adata._oidx] if view else None
    columns = adata._vidx if view and not use_raw else slice(None)
    n_genes = len(var)
    if features is not None:
        n_genes = int(features.genes.sum())
        columns = as_slice(np.arange(found.shape[1])[columns][features.genes])

    spool = None
    if isinstance(found, anndata.abc.CSCDataset):
        spool = _spool.Spool(found, where, cells, columns)

    def rows(first: int, last: int) -> Any:
        if spool is not None:
            some = spool.rows(first, last)
        else:
            some = _rows_of(found, slice(first, last) if cells is None else cells[first:last], where)
        return some if cells is None and features is None else columns_of(some, columns)

    whole = None if view or not _ready(found) else found
    if features is not None and whole is not None:  # without copying, if that is possible
        whole = whole[:, columns] if isinstance(whole, np.ndarray) and isinstance(columns, slice) else None
    return Expression(
        adata.n_obs,
        n_genes,
        where,
        names,
        features,
        rows,
        whole,
        _values_per_row(found),
        adata.obs_names,
        partial(_place_of_expression, adata, where),
    )


def _where(layer: str | None, use_raw: bool) -> str:
    """Say where the matrix is that a caller means."""
    if use_raw:
        return "adata.raw.X"
    return "adata.X" if layer is None else f"adata.layers[{layer!r}]"


def _matrix(cells: AnnData, layer: str | None, use_raw: bool) -> Any:
    if use_raw:
        return cells.raw.X
    return cells.X if layer is None else cells.layers[layer]


def lazy_rows(adata: AnnData, layer: str | None, use_raw: bool) -> Any:
    """Give the matrix that a caller means, if it is a dask array; None if it is not."""
    view = adata.is_view and not use_raw
    found = _matrix(adata._adata_ref if view else adata, layer, use_raw)
    if not _lazy.is_dask(found):
        return None
    _lazy.matrix(found, _where(layer, use_raw))  # which says what is wrong with it
    return found[adata._oidx][:, adata._vidx] if view else found


def of_rows(
    rows: Any, where: str, columns: list[_var.GeneNames], features: _var.FeatureTypes | None, first: int
) -> Expression:
    """Describe rows in memory that are some of a data set's, of which ``first`` is the number of the first one."""
    part = partial(_part_of, rows)
    whole = rows if _ready(rows) else None
    _lazy.check_sparse(rows, where)
    n_rows, n_genes = rows.shape
    return Expression(n_rows, n_genes, where, columns, features, part, whole, _values_per_row(rows), None, offset=first)


def _part_of(rows: Any, first: int, last: int) -> Any:
    return rows[first:last]


def no_matrix(where: str) -> errors.DataError:
    """Say that there is no matrix in a place."""
    return errors.DataError(f"{where} is None: pass layer=... or use_raw=True")


def genes_of(
    var: pd.DataFrame, where: str, gene_column: str | None
) -> tuple[list[_var.GeneNames], _var.FeatureTypes | None]:
    """Find the candidates for the names of a matrix's genes in its ``var``, and which of its columns are genes."""
    if len(var) == 0:
        raise errors.DataError(f"{where} has no genes (n_vars = 0)")
    features = _var.feature_types(var)
    place = "adata.raw" if where == "adata.raw.X" else "adata"
    return _var.gene_columns(var, gene_column, place, features), features


def as_slice(numbers: npt.NDArray[np.intp]) -> slice | npt.NDArray[np.intp]:
    """Write numbers that follow each other as a slice, which takes columns much faster."""
    first, last = int(numbers[0]), int(numbers[-1])
    follow = last - first + 1 == len(numbers) and bool((np.diff(numbers) == 1).all())
    return slice(first, last + 1) if follow else numbers


def columns_of(matrix: Any, columns: slice | npt.NDArray[np.intp]) -> Any:
    """Take some columns of rows in memory."""
    return matrix.iloc[:, columns] if isinstance(matrix, pd.DataFrame) else matrix[:, columns]


def _rows_of(matrix: Any, cells: slice | npt.NDArray[np.intp], where: str) -> Any:
    """Take some rows of a matrix that a user means, which may be in a damaged file."""
    in_memory = isinstance(matrix, np.ndarray | pd.DataFrame | _lazy.Blocks) or _lazy.is_sparse(matrix)
    if in_memory:
        return _rows(matrix, cells)
    try:
        some = _rows(matrix, cells)
    except (OSError, ValueError, IndexError) as error:
        raise errors.DataError(f"{where} can't be read: {_read_errors.cause(error)}") from error
    _lazy.check_sparse(some, where)
    return some


def _rows(matrix: Any, cells: slice | npt.NDArray[np.intp]) -> Any:
    """Take some rows of a matrix in memory or on disk into memory."""
    if isinstance(matrix, pd.DataFrame):
        return matrix.iloc[cells]
    if type(matrix).__module__.startswith("zarr.") and not isinstance(cells, slice):
        return matrix.oindex[cells]
    if isinstance(matrix, h5py.Dataset) and not isinstance(cells, slice):  # takes rising numbers alone
        rising, place = np.unique(cells, return_inverse=True)
        return matrix[rising][place]
    return matrix[cells]


def _values_per_row(matrix: Any) -> int:
    """Estimate the number of stored values per row of a matrix in memory or on disk; a dense one stores all."""
    n_rows, n_genes = matrix.shape
    if _lazy.is_sparse(matrix):
        stored = int(matrix.nnz)
    elif isinstance(matrix, anndata.abc.CSRDataset | anndata.abc.CSCDataset):
        stored = int(matrix.group["indices"].shape[0])
    else:
        return int(n_genes)
    return int(max(stored // n_rows, n_genes // 10))  # the first rows of a view may be emptier than the others


def _place_of_expression(adata: AnnData, other_than: str) -> str | None:
    whole = adata._adata_ref if adata.is_view else adata
    matrices: dict[str | None, Callable[[], Any]] = {None: lambda: whole.X}
    matrices |= {name: partial(whole.layers.get, name) for name in _layers(adata)}
    raw = None if adata.raw is None else lambda: whole.raw.X
    return place_of_expression(other_than, matrices, raw)


def place_of_expression(
    other_than: str, matrices: Mapping[str | None, Callable[[], Any]], raw: Callable[[], Any] | None
) -> str | None:
    """Name the layer or ``.raw`` whose first values look like expression: whole, or logarithms; none below zero.

    Parameters
    ----------
    other_than
        The matrix that does not look so.
    matrices
        What gives the matrices in memory or on disk, by layer; None is that of X.
    raw
        What gives that of ``.raw``, if there is one.
    """
    places = [("adata.X", "adata.X (no layer, use_raw=False)", matrices[None])]
    if raw is not None:
        places.append(("adata.raw.X", "use_raw=True", raw))
    places += [
        (f"adata.layers[{name!r}]", f"layer={name!r}", matrix) for name, matrix in matrices.items() if name is not None
    ]
    for where, option, matrix in places:
        found = None if where == other_than else _lazy.in_memory(matrix())
        if found is None:
            continue
        values = _first_values(found)
        if values.size and values.dtype.kind in "fiu" and values.min() >= 0 and values.max() > 0:
            whole = np.array_equal(values, np.round(values))
            if whole or values.max() <= _LARGEST_LOG1P:
                return option
    return None


def _first_values(matrix: Any) -> npt.NDArray[Any]:
    """Take some values of a matrix without reading all of it."""
    if isinstance(matrix, anndata.abc.CSCDataset):
        return np.asarray(matrix.group["data"][: _SAMPLE * 1024])
    if isinstance(matrix, sp.csc_matrix | sp.csc_array):  # which nobody has checked
        return np.asarray(matrix.data[: _SAMPLE * 1024])
    rows = _rows(matrix, slice(0, _SAMPLE))
    return np.asarray(rows.data if _lazy.is_sparse(rows) else rows)
