"""Rows of a matrix that lies on disk column by column."""

from __future__ import annotations

import errno
import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from se600m import errors

log = logging.getLogger("se600m")

_SLAB = 1 << 20
"""Stored values that are read from the matrix at a time."""

_PART = 1 << 22
"""Stored values, about, of the rows that are read back at a time."""

_IN_MEMORY = 1 << 26
"""As many bytes need no file."""

_GAP = 1 << 16
"""Values between two wanted columns are read and dropped if there are no more than this."""


class Spool:
    """Rows of a CSC matrix on disk (HDF5 or zarr), in any order, without loading the matrix.

    When rows are first asked for, the wanted columns are read once, a slab at a time, and their values written to a
    temporary file, each to the part that its row belongs to. The file has no name, so that it is gone with the process,
    however that ends.

    Parameters
    ----------
    matrix
        An ``anndata.abc.CSCDataset``.
    where
        What a user calls it.
    cells
        The rows wanted, in the order in which they will be asked for; None: all. They may repeat.
    genes
        The columns wanted, as an index. Others are empty.
    """

    def __init__(self, matrix: Any, where: str, cells: npt.NDArray[np.intp] | None, genes: Any) -> None:
        self._matrix, self._where = matrix, where
        n_rows, self._n_genes = matrix.shape
        self._stored_row: npt.NDArray[np.intp] | None = None
        """Where each row of the matrix is stored, if not all are wanted; -1: nowhere."""
        self._at: npt.NDArray[np.intp] | None = None
        """Where each wanted row is stored, if not in its place."""
        self._n_stored = n_rows
        if cells is not None:
            rows, first, of_row = np.unique(cells, return_index=True, return_inverse=True)
            place = np.empty(len(rows), np.intp)
            place[np.argsort(first)] = np.arange(len(rows))  # in the order in which they are asked for
            self._stored_row = np.full(n_rows, -1, np.intp)
            self._stored_row[rows] = place
            self._at, self._n_stored = place[of_row], len(rows)
        self._wanted = np.zeros(self._n_genes, bool)
        self._wanted[genes] = True
        self._file: IO[bytes] | None = None
        self._segments: list[list[tuple[int, int]]] = []
        """Per part: (offset, number of values) of its pieces in the file, in order of columns."""
        self._part: tuple[int, sp.csr_matrix] | None = None

    def rows(self, first: int, last: int) -> sp.csr_matrix:
        """Give wanted rows first … last-1."""
        if self._file is None:
            self._file = self._write()
            weakref.finalize(self, self._file.close)
        at = np.arange(first, last) if self._at is None else self._at[first:last]
        part = at // self._rows_per_part
        order = np.argsort(part, kind="stable")
        blocks = []
        for number in np.unique(part):
            blocks.append(self._read(number)[at[part == number] - number * self._rows_per_part])
        rows: sp.csr_matrix = blocks[0] if len(blocks) == 1 else sp.vstack(blocks, format="csr")
        if np.array_equal(order, np.arange(len(order))):
            return rows
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        in_order: sp.csr_matrix = rows[back]
        return in_order

    # -- writing -------------------------------------------------------------------------------

    def _write(self) -> IO[bytes]:
        group = self._matrix.group
        indptr = np.asarray(group["indptr"][...], np.int64)
        n_rows = self._matrix.shape[0]
        n_values = min(group["data"].shape[0], group["indices"].shape[0])
        if len(indptr) != self._n_genes + 1 or indptr[0] < 0 or (np.diff(indptr) < 0).any() or indptr[-1] > n_values:
            raise errors.DataError(
                f"{self._where} is damaged: its indptr does not rise from 0 to the number of its values"
            )
        stored = int(np.diff(indptr)[self._wanted].sum())
        of_wanted_rows = stored * self._n_stored // max(1, n_rows)
        self._rows_per_part = max(1, _PART // max(1, stored // max(1, n_rows)))
        self._record = np.dtype([("row", np.int32), ("gene", np.int32), ("value", group["data"].dtype)])
        self._segments = [[] for _ in range(-(-self._n_stored // self._rows_per_part))]
        needed = of_wanted_rows * self._record.itemsize
        folder = tempfile.gettempdir()
        if needed > _IN_MEMORY and needed > shutil.disk_usage(folder).free:
            raise self._no_room(needed, folder)
        log.info(
            "%s is stored by column on disk (CSC): its %s values are sorted by row once, in %s",
            self._where,
            f"{of_wanted_rows:,}",
            f"a temporary file of {needed / 1e9:.1f} GB in {folder}" if needed > _IN_MEMORY else "memory",
        )
        file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        try:
            offset = 0
            for first, last in self._slabs(indptr, group["indices"]):
                offset = self._write_slab(file, offset, indptr, group, first, last)
        except OSError as error:
            file.close()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._no_room(needed, folder) from None
            raise
        except BaseException:
            file.close()
            raise
        return file

    def _no_room(self, needed: int, folder: str) -> errors.DataError:
        return errors.DataError(
            f"{self._where} is stored by column on disk (CSC), and sorting it by row takes "
            f"{needed / 1e9:.1f} GB, for which {folder} has no space: set the environment variable TMPDIR to a folder "
            "that has, or write the matrix as CSR"
        )

    def _slabs(self, indptr: npt.NDArray[np.int64], indices: Any) -> Iterator[tuple[int, int]]:
        """Give the bounds of stored values to read, which follow the chunks on disk where there are some."""
        (chunk,) = getattr(indices, "chunks", None) or (1,)
        step = max(1, _SLAB // chunk) * chunk if chunk <= _SLAB else _SLAB
        wanted = np.flatnonzero(self._wanted)
        if not wanted.size:
            return
        starts, ends = indptr[wanted], indptr[wanted + 1]
        breaks = np.flatnonzero(starts[1:] - ends[:-1] > _GAP) + 1
        for first, last in zip(
            starts[np.concatenate([[0], breaks])],
            ends[np.concatenate([breaks - 1, [len(ends) - 1]]).astype(np.intp)],
            strict=True,
        ):
            at = int(first)
            while at < last:
                end = min(int(last), (at // step + 1) * step)
                yield at, end
                at = end

    def _write_slab(
        self, file: IO[bytes], offset: int, indptr: npt.NDArray[np.int64], group: Any, first: int, last: int
    ) -> int:
        """Write values first … last-1 to the parts of their rows; returns the file's new length."""
        row = np.asarray(group["indices"][first:last]).astype(np.intp, copy=False)
        if row.size and not 0 <= row.min() <= row.max() < self._matrix.shape[0]:
            raise errors.DataError(
                f"{self._where} is damaged: it refers to row {row.max() if row.min() >= 0 else row.min()} of "
                f"{self._matrix.shape[0]}"
            )
        begin = int(np.searchsorted(indptr, first, "right")) - 1
        end = int(np.searchsorted(indptr, last, "left"))
        bounds = np.clip(indptr[begin : end + 1], first, last)
        gene = np.repeat(np.arange(begin, end), bounds[1:] - bounds[:-1])
        keep = self._wanted[gene]
        if self._stored_row is not None:
            row = self._stored_row[row]
            keep &= row >= 0
        part = row[keep] // self._rows_per_part
        order = np.argsort(part, kind="stable")
        records = np.empty(len(order), self._record)
        records["row"] = row[keep][order]
        records["gene"] = gene[keep][order]
        records["value"] = np.asarray(group["data"][first:last])[keep][order]
        file.write(records.tobytes())
        numbers, lengths = np.unique(part, return_counts=True)
        for number, length in zip(numbers.tolist(), lengths.tolist(), strict=True):
            self._segments[number].append((offset, length))
            offset += length * self._record.itemsize
        return offset

    # -- reading -------------------------------------------------------------------------------

    def _read(self, number: int) -> sp.csr_matrix:
        """Read a part back: the rows that it has, in order."""
        if self._part is not None and self._part[0] == number:
            return self._part[1]
        self._part = None
        assert self._file is not None
        records = np.empty(sum(length for _, length in self._segments[number]), self._record)
        at = 0
        for offset, length in self._segments[number]:
            self._file.seek(offset)
            piece = self._file.read(length * self._record.itemsize)
            records[at : at + length] = np.frombuffer(piece, self._record)
            at += length
        first = number * self._rows_per_part
        n_rows = min(self._rows_per_part, self._n_stored - first)
        row = records["row"] - first
        order = np.argsort(row, kind="stable")  # which leaves the genes of a row as they stood
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_rows))])
        part = sp.csr_matrix((records["value"][order], records["gene"][order], indptr), shape=(n_rows, self._n_genes))
        self._part = number, part
        return part
