"""Cells in an h5ad or zarr file that stay on the disk: some rows of a matrix at a time, and little of the rest."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem, sparse_dataset

from se600m import _anndata, _lazy, _spool, _trees, _var, errors
from se600m._read_errors import cause
from se600m._words import many, verb

_SPARSE = ("csr_matrix", "csc_matrix")

_MOST_STORED = 64
"""No sparse row stores more values than as many times the number of genes; compressed on a disk, they could be any."""

_MOST_ROWS = 1 << 16
"""Rows that are read at once, however few values they have."""

_SAMPLE = 4096
"""Numbers of an array that are looked at to know it again."""


class Stored:
    """An AnnData in an h5ad or zarr file, open for reading.

    Parameters
    ----------
    place
        Path of the file or folder, or the address of a zarr store.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.is_zarr = not os.path.isfile(place)
        self._root: Any = _trees.open_zarr(place) if self.is_zarr else h5py.File(place, "r")
        self._seen = status_of(self.place)

    def close(self) -> None:
        """Close the file."""
        if not self.is_zarr:
            self._root.close()

    def __enter__(self) -> Stored:
        """Give the file itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file."""
        self.close()

    @property
    def root(self) -> Any:
        """The group of h5py or zarr that has X, obs and var."""
        return self._root

    # -- what there is -------------------------------------------------------------------------

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self._root["layers"]) if "layers" in self._root else ()

    @property
    def has_raw(self) -> bool:
        """Whether there is a ``.raw``."""
        return "raw" in self._root

    @cached_property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.obs_names)

    @cached_property
    def obs_names(self) -> _Names:
        """Names of the cells."""
        return _Names(self._index_of("obs"))

    def _index_of(self, part: str) -> Any:
        table = self._root[part]
        return table[_trees.as_text(table.attrs["_index"])]

    def matrix(self, layer: str | None, use_raw: bool) -> Any:
        """Find a matrix: a group if it is sparse, else a dataset; None if there is none."""
        if use_raw:
            return self._root["raw"].get("X")
        return self._root.get("X") if layer is None else self._root["layers"][layer]

    # -- rows ----------------------------------------------------------------------------------

    def expression(
        self,
        *,
        layer: str | None,
        use_raw: bool,
        gene_column: str | None,
        rows: tuple[int, int] | None = None,
        bytes_at_once: int,
        bytes_per_result: int = 0,
    ) -> _anndata.Expression:
        """Find the matrix and the gene names that a caller means. Of the matrix, nothing is read yet.

        Parameters
        ----------
        layer, use_raw, gene_column
            See :func:`se600m.embed`.
        rows
            First row, and the one after the last; by default all.
        bytes_at_once
            Memory for rows that are read at once, or for their results.
        bytes_per_result
            Bytes of the results of a row.
        """
        _anndata.check_choice(layer, use_raw, self.layers, has_raw=self.has_raw)
        if self.n_obs == 0:
            raise errors.DataError("the AnnData has no cells (n_obs = 0)")
        where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
        where = "adata.raw.X" if use_raw else where
        found = self.matrix(layer, use_raw)
        if found is None:
            raise _anndata.no_matrix(where)
        var = self._read("raw/var" if use_raw else "var")
        if gene_column is not None:
            _var.check_column(gene_column, var.columns)
        names, features = _anndata.genes_of(var, where, gene_column)
        first, last = rows or (0, self.n_obs)
        matrix = self._matrix(found, where, (self.n_obs, len(var)), first, last, features)
        columns = None if features is None else _anndata.as_slice(np.flatnonzero(features.genes))
        most = min(_MOST_ROWS, max(1, bytes_at_once // bytes_per_result) if bytes_per_result else _MOST_ROWS)

        def read(begin: int, end: int) -> Any:
            with self._reading(where):
                some = matrix.rows(first + begin, first + end)
            return some if columns is None else _anndata.columns_of(some, columns)

        def at_once(begin: int) -> int:
            with self._reading(where):
                return matrix.at_once(first + begin, min(most, last - first - begin), bytes_at_once)

        return _anndata.Expression(
            last - first,
            len(var) if features is None else int(features.genes.sum()),
            where,
            names,
            features,
            read,
            None,
            len(var),
            self.obs_names,
            partial(self._elsewhere, where),
            first,
            at_once,
        )

    def _matrix(
        self,
        found: Any,
        where: str,
        shape: tuple[int, int],
        first: int,
        last: int,
        features: _var.FeatureTypes | None,
    ) -> _Rows:
        kind = _trees.encoding(found)
        its_shape = tuple(int(n) for n in (found.attrs["shape"] if kind in _SPARSE else found.shape))
        if its_shape != shape:
            raise errors.DataError(
                f"{self.place!r} is damaged: {where} is {its_shape[0]} × {its_shape[1]}, but there "
                f"{verb(shape[0], 'are')} {many(shape[0], 'cell')} and {many(shape[1], 'gene')}"
            )
        if kind == "csr_matrix":
            return _CSR(found, shape, where)
        if kind == "csc_matrix":
            cells = None if (first, last) == (0, shape[0]) else np.arange(first, last)
            columns = slice(None) if features is None else _anndata.as_slice(np.flatnonzero(features.genes))
            return _CSC(_spool.Spool(sparse_dataset(found), where, cells, columns), found, shape, first)
        return _Dense(found, shape)

    def _elsewhere(self, where: str) -> str | None:
        def backed(layer: str | None, use_raw: bool = False) -> Any:
            found = self.matrix(layer, use_raw)
            return sparse_dataset(found) if found is not None and _trees.encoding(found) in _SPARSE else found

        matrices: dict[str | None, Callable[[], Any]] = {name: partial(backed, name) for name in (None, *self.layers)}
        return _anndata.place_of_expression(
            where, matrices, partial(backed, None, use_raw=True) if self.has_raw else None
        )

    def _read(self, name: str) -> pd.DataFrame:
        with self._reading(name):
            return cast("pd.DataFrame", read_elem(self._root[name]))

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn what goes wrong while the file is read into an error that says so."""
        try:
            yield
        except errors.SE600MError:
            raise
        except MemoryError:
            raise
        except Exception as error:
            self.check_unchanged()
            raise errors.DataError(f"{what} of {self.place!r} can't be read: {cause(error)}") from error

    # -- knowing it again ----------------------------------------------------------------------

    def check_unchanged(self) -> None:
        """Make sure that the file is the one that was opened.

        Raises
        ------
        DataError
            It was changed, replaced or removed.
        """
        check_same(self.place, self._seen)

    def identity(self, expression: _anndata.Expression, layer: str | None, use_raw: bool) -> dict[str, Any]:
        """Describe the input so that a change is seen: its size and time of change, and samples of what it has.

        Of a zarr store the time is the youngest of the matrix's files, if it is on this machine.
        """
        found = self.matrix(layer, use_raw)
        size, changed = self._seen[:2] if self._seen else _trees.size_and_time(self.place, found)
        digest = hashlib.sha256()
        for column in expression.columns:
            digest.update(repr((column.column, column.names)).encode(errors="replace"))
        arrays = (
            [found[part] for part in ("indptr", "indices", "data")] if _trees.encoding(found) in _SPARSE else [found]
        )
        return {
            "the input's size": size,
            "the input's time of change": changed,
            "its number of cells": self.n_obs,
            "its names of cells": self.obs_names.digest(),
            "its names of genes": digest.hexdigest()[:16],
            "its values": digest_of(arrays),
        }


def status_of(place: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """Ask the system for a file's size, time of change, and which file it is: None for a folder, empty for nothing."""
    try:
        s = os.stat(place)
    except OSError:
        return ()
    return None if stat.S_ISDIR(s.st_mode) else (s.st_size, s.st_mtime_ns, s.st_ino, s.st_dev)


def check_same(place: str | os.PathLike[str], seen: tuple[int, ...] | None) -> None:
    """Make sure that a file is still the one of which :func:`status_of` said this.

    Raises
    ------
    DataError
        It was changed, cut off, replaced or removed.
    """
    if (now := status_of(place)) == seen:
        return
    what = "was changed or replaced"
    if now == ():
        what = "is gone"
    elif now and seen and now[0] != seen[0]:
        what = f"went from {seen[0]:,} to {now[0]:,} bytes"
    raise errors.DataError(
        f"{os.fspath(place)!r} {what} while it was read: leave it alone during the run, and start again with "
        "overwrite=True"
    )


def digest_of(arrays: Iterable[Any]) -> str:
    """Describe arrays by their types, shapes and samples of their values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((str(array.dtype), tuple(array.shape))).encode())
        for part in _ends(array):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def _ends(array: Any) -> Iterator[npt.NDArray[Any]]:
    """Read some values from the beginning of an array, from its middle, and from its end."""
    step = _SAMPLE if len(array.shape) == 1 else max(1, _SAMPLE // max(1, int(array.shape[1])))
    for part in _sampled(int(array.shape[0]), step):
        yield np.asarray(array[part])


def _sampled(n: int, step: int) -> list[slice]:
    """Give the beginning, the middle and the end of n rows."""
    return [slice(first, first + step) for first in sorted({0, n // 2, max(0, n - step)})]


class _Names:
    """Names, read where they are asked for."""

    def __init__(self, stored: Any) -> None:
        self._stored = stored
        self._all: npt.NDArray[Any] | None = None
        # Names of pandas 3; none of them is missing.
        if _trees.encoding(stored) == "nullable-string-array" and not np.any(stored["mask"][:]):
            self._stored = stored["values"]
        elif not hasattr(stored, "shape"):  # categories, say
            self._all = np.asarray(pd.Index(read_elem(stored)).astype(str))

    def __len__(self) -> int:
        return int((self._stored if self._all is None else self._all).shape[0])

    def __getitem__(self, which: int | slice) -> Any:
        values = self._stored[which] if self._all is None else self._all[which]
        if isinstance(which, slice):
            return [_trees.as_text(value) for value in values]
        return _trees.as_text(values[()] if isinstance(values, np.ndarray) else values)

    def digest(self) -> str:
        """Describe some names from the beginning, from the middle and from the end."""
        some = [name for part in _sampled(len(self), _SAMPLE // 16) for name in self[part]]
        return hashlib.sha256(repr(some).encode(errors="replace")).hexdigest()[:16]


# -- matrices --------------------------------------------------------------------------------------


class _Rows:
    """Rows of a matrix on the disk."""

    def rows(self, first: int, last: int) -> Any:
        """Read rows first … last-1."""
        raise NotImplementedError

    def at_once(self, first: int, most: int, n_bytes: int) -> int:
        """Say how many rows from ``first`` on fit into some bytes: at least one, and at most ``most``."""
        raise NotImplementedError


@dataclass
class _CSR(_Rows):
    group: Any
    shape: tuple[int, int]
    where: str

    def rows(self, first: int, last: int) -> sp.csr_matrix:
        indptr = np.asarray(self.group["indptr"][first : last + 1], np.int64)
        begin, end = int(indptr[0]), int(indptr[-1])
        if len(indptr) != last - first + 1 or (np.diff(indptr) < 0).any():
            raise errors.DataError(f"{self.where} is damaged: its indptr does not rise from row {first} to row {last}")
        if end - begin > _MOST_STORED * (last - first) * self.shape[1]:
            raise errors.DataError(
                f"{self.where} is damaged: the rows {first} to {last - 1} have {end - begin:,} values of "
                f"{self.shape[1]:,} genes"
            )
        data = np.asarray(self.group["data"][begin:end])
        indices = np.asarray(self.group["indices"][begin:end])
        if not len(data) == len(indices) == end - begin:
            raise errors.DataError(f"{self.where} is damaged: values of the rows {first} to {last - 1} are missing")
        some = sp.csr_matrix((data, indices, indptr - begin), shape=(last - first, self.shape[1]))
        _lazy.check_sparse(some, self.where)
        return some

    def at_once(self, first: int, most: int, n_bytes: int) -> int:
        indptr = np.asarray(self.group["indptr"][first : first + most + 1], np.int64)
        per_value = self.group["data"].dtype.itemsize + self.group["indices"].dtype.itemsize
        fitting = int(np.searchsorted(indptr, indptr[0] + n_bytes // per_value, "right")) - 1
        return max(1, min(fitting, most))


@dataclass
class _CSC(_Rows):
    spool: _spool.Spool
    group: Any
    shape: tuple[int, int]
    offset: int
    """The first row that the spool has."""

    def rows(self, first: int, last: int) -> sp.csr_matrix:
        return self.spool.rows(first - self.offset, last - self.offset)

    def at_once(self, first: int, most: int, n_bytes: int) -> int:
        per_value = self.group["data"].dtype.itemsize + 4
        per_row = max(1, int(self.group["data"].shape[0]) // max(1, self.shape[0])) * per_value
        return max(1, min(int(n_bytes // per_row), most))


@dataclass
class _Dense(_Rows):
    dataset: Any
    shape: tuple[int, int]

    def rows(self, first: int, last: int) -> npt.NDArray[Any]:
        return np.asarray(self.dataset[first:last])

    def at_once(self, first: int, most: int, n_bytes: int) -> int:
        fitting = max(1, min(n_bytes // max(1, self.shape[1] * int(self.dataset.dtype.itemsize)), most))
        chunk = int((self.dataset.chunks or (1,))[0])
        # Chunks on the disk are read whole: end where one ends.
        end = (first + fitting) // chunk * chunk
        return end - first if end > first else fitting


# -- which files -----------------------------------------------------------------------------------


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether a place is an address that fsspec opens, such as ``s3://bucket/cells.zarr``."""
    return "://" in os.fspath(place)


def opened(place: str | os.PathLike[str]) -> Stored | None:
    """Open an h5ad or zarr file whose rows can be read from the disk; None if it is of another kind, or old."""
    given = os.fspath(place)
    if not is_address(given) and not _may_be_one(Path(given)):
        return None
    if importlib.util.find_spec("hdf5plugin") is not None:
        importlib.import_module("hdf5plugin")  # which makes more compressions readable
    try:
        stored = Stored(given)
    except errors.SE600MError:
        raise
    except Exception as error:
        if not is_address(given):
            return None  # what reads it says why
        raise errors.DataError(f"{given!r} can't be opened as zarr: {cause(error)}") from error
    try:
        if _is_anndata(stored.root):
            return stored
    except (KeyError, AttributeError, TypeError, OSError):
        pass
    stored.close()
    if is_address(given):
        raise errors.DataError(f"{given!r} is no AnnData in zarr, with X, obs and var")
    return None


def _may_be_one(path: Path) -> bool:
    if path.is_dir():
        names = os.listdir(path)
        return importlib.util.find_spec("zarr") is not None and bool({"zarr.json", ".zgroup"} & set(names))
    return path.is_file() and bool(h5py.is_hdf5(path))


def _is_anndata(root: Mapping[str, Any]) -> bool:
    """Whether all elements that are read have the encodings of anndata since 0.7, which did not mark all of them."""
    if not {"obs", "var"} <= set(root) or _trees.encoding(root) not in ("anndata", ""):
        return False
    if any(_trees.encoding(root[part]) != "dataframe" for part in ("obs", "var")):
        return False
    matrices = [root.get("X")]
    if "layers" in root:
        matrices += [root["layers"][name] for name in root["layers"]]
    if "raw" in root:
        if not hasattr(root["raw"], "keys") or _trees.encoding(root["raw"]["var"]) != "dataframe":
            return False
        matrices.append(root["raw"].get("X"))
    return all(matrix is None or _trees.encoding(matrix) in _SPARSE or is_array(matrix) for matrix in matrices)


def is_array(element: Any) -> bool:
    """Whether an element is a plain array with two dimensions."""
    return len(getattr(element, "shape", None) or ()) == 2 and _trees.encoding(element) in ("array", "")
