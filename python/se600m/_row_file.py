"""Arrays of rows that are read some rows at a time, such as those in a file."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Rows(Protocol):
    """An array of which slices of rows can be read, wherever it is."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def size(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> npt.NDArray[Any]: ...


class RowFile:
    """An array ``[n_rows, …]`` in a file, of which slices are read, or written, when they are asked for.

    Unlike a mapped file, whose rows stay in the memory of the process once they were read, it holds nothing. A disk
    that is full is an error, where a mapped file would end the process.

    Parameters
    ----------
    path
        The file: rows one after the other, in the byte order of ``dtype``.
    dtype, shape
        Those of the array.
    offset
        Where it begins in the file, in bytes.
    by_column
        Columns stand one after the other instead; only for arrays of two dimensions that are read.
    """

    def __init__(
        self, path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int = 0, *, by_column: bool = False
    ) -> None:
        self._path, self._offset, self._by_column = path, offset, by_column
        self.dtype = np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        self.shape, self.ndim = shape, len(shape)
        self.size = int(np.prod(shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        first, last = self._ends(rows)
        n_columns = self.shape[1] if self._by_column else 1
        values = np.empty((n_columns, last - first, *([] if self._by_column else self.shape[1:])), self.dtype)
        if values.size:
            with self._path.open("rb") as file:
                for column in range(n_columns):
                    file.seek(self._offset + (column * len(self) + first) * values[column, 0].nbytes)
                    if file.readinto(values[column].reshape(-1).view(np.uint8).data) != values[column].nbytes:
                        raise OSError(f"{str(self._path)!r} ends before row {last:,} of {len(self):,}")
        return values.T if self._by_column else values[0]

    def __setitem__(self, rows: slice, values: npt.ArrayLike) -> None:
        first, last = self._ends(rows)
        written = np.ascontiguousarray(np.broadcast_to(values, (last - first, *self.shape[1:])), self.dtype)
        if written.size:
            with self._path.open("rb+") as file:
                file.seek(self._offset + first * written[0].nbytes)
                file.write(written.reshape(-1).view(np.uint8).data)

    def _ends(self, rows: slice) -> tuple[int, int]:
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"rows can be taken one after the other only, not every {step}")
        return first, max(first, last)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read all of it."""
        return self[:].astype(dtype or self.dtype, copy=False)


def unmapped(values: Any, *, to_write: bool = False) -> Any:
    """Give an array that maps a file as rows of that file, so that memory does not grow with it; others as they are.

    Parameters
    ----------
    to_write
        Whether the rows are to be written, which must change the file.
    """
    if not isinstance(values, np.memmap) or not isinstance(values.base, mmap.mmap):  # a part of one knows no place
        return values
    by_column = not values.flags.c_contiguous
    modes = ("r+", "w+") if to_write else ("r", "r+", "w+")  # "c" has changes of its own
    if values.filename is None or values.mode not in modes or values.ndim < 1 or (by_column and to_write):
        return values
    return RowFile(Path(values.filename), values.dtype, values.shape, values.offset, by_column=by_column)


class Stacked:
    """Arrays of rows, one below the other, without a copy."""

    def __init__(self, arrays: Sequence[RowFile]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])
        self.dtype, self.itemsize = arrays[0].dtype, arrays[0].itemsize
        self.shape = (int(self._ends[-1]), *arrays[0].shape[1:])
        self.size = int(np.prod(self.shape))

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        first, last, _ = rows.indices(len(self))
        parts = [
            array[max(0, first - begin) : max(0, last - begin)]
            for array, begin in zip(self._arrays, [0, *self._ends[:-1].tolist()], strict=True)
        ]
        return np.concatenate([part for part in parts if len(part)] or parts[:1])
