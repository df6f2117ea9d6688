"""Arrays that results are written into, some rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from se600m import errors
from se600m._words import a


def check_output(out: Any, shape: tuple[int, ...]) -> None:
    """Make sure that results of a shape can be written into an array: numpy, np.memmap, zarr, h5py."""
    if not hasattr(out, "shape") or not hasattr(out, "dtype") or not hasattr(out, "__setitem__"):
        raise errors.OptionError(f"out is {a(type(out).__name__)}: pass an array (numpy, np.memmap, zarr or h5py)")
    if tuple(out.shape) != shape:
        raise errors.OptionError(f"out has shape {list(out.shape)}, but the result has shape {list(shape)}")
    if np.dtype(out.dtype).kind != "f":
        raise errors.OptionError(f"out has type {out.dtype}, but the result is float32")
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise errors.OptionError("out is read-only: pass an array that can be written")


def rows_at_once(out: Any, n_values: int, width: int) -> int:
    """Choose rows of some width so that they have about as many values, in whole chunks of a chunked array."""
    return whole_chunks(out, max(1, n_values // max(1, width)))


def whole_chunks(out: Any, rows: int) -> int:
    """Give as many rows, or fewer so that they end where a chunk of a chunked array does."""
    chunk = (getattr(out, "chunks", None) or (1,))[0]
    return rows // chunk * chunk or rows
