"""Arrays of rows that are read some rows at a time, such as those in a file."""

from __future__ import annotations

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
    """An array ``[n_rows, …]`` in a file, of which slices are read when they are asked for.

    Unlike a mapped file, whose rows stay in the memory of the process once they were read, it holds nothing.

    Parameters
    ----------
    path
        The file: rows one after the other, in the byte order of ``dtype``.
    dtype, shape
        Those of the array.
    offset
        Where it begins in the file, in bytes.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int = 0) -> None:
        self._path, self._offset = path, offset
        self.dtype = np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        self.shape, self.ndim = shape, len(shape)
        self.size = int(np.prod(shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"rows can be read one after the other only, not every {step}")
        values = np.empty((max(0, last - first), *self.shape[1:]), self.dtype)
        if not values.size:
            return values
        with self._path.open("rb") as file:
            file.seek(self._offset + first * (values.nbytes // len(values)))
            if file.readinto(values.data.cast("B")) != values.nbytes:
                raise OSError(f"{str(self._path)!r} ends before row {last:,} of {len(self):,}")
        return values

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read all of it."""
        return self[:].astype(dtype or self.dtype, copy=False)


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
