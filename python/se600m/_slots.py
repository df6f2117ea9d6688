"""What is computed for every slot of each cell's sentence, or for chosen genes in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _native, _row_file, _rows
from se600m._cells import Cells
from se600m._chunks import Arrays

_CHUNK_VALUES = 1 << 26
"""Values computed at a time: 256 MiB, for contextual vectors 16 cells with every slot of SE-600M."""


class _Sink:
    """What is computed of some cells at a time, and the tokens of their slots, into arrays of any kind."""

    def __init__(self, out: Any, gene_indices: Any) -> None:
        self._out, self._gene_indices = out, gene_indices
        self._row = tuple(int(n) for n in out.shape[1:])
        self.step: int | None = _rows.rows_at_once(out, _CHUNK_VALUES, math.prod(self._row))

    def memory(self, rows: slice) -> Arrays:
        n = rows.stop - rows.start
        arrays: Arrays = {"output": np.empty((n, *self._row), np.float32)}
        if self._gene_indices is not None:
            arrays["gene_indices"] = np.empty((n, self._row[0]), np.int32)
        return arrays

    def store(self, rows: slice, arrays: Arrays) -> None:
        self._out[rows] = arrays["output"]
        if self._gene_indices is not None:
            self._gene_indices[rows] = arrays["gene_indices"]


class SlotTask:
    """What to compute: cells, the genes wanted (None: every slot), and the shape of what each of them has.

    Attributes
    ----------
    shape
        That of the result: cells, places, and the shape of a place.
    """

    def __init__(self, cells: Cells, genes: npt.NDArray[np.int32] | None, *place: int) -> None:
        self.cells, self.genes = cells, genes
        self._slots: int = cells.plan()["max_length"]
        self.shape = (cells.n_cells, self._slots if genes is None else len(genes), *place)

    @property
    def request(self) -> dict[str, Any]:
        """The part of a job's request that says what to compute. It names memory that this task keeps."""
        places = {"slots": self._slots} if self.genes is None else {"genes": _native.array(self.genes)}
        return {"batch_size": self.cells.options.batch_size or 0, **places}

    def output(self, out: Any) -> Any:
        """Give the array for the result: the one that is given, if it can hold it, or a new one."""
        if out is None:
            return np.empty(self.shape, np.float32)
        _rows.check_output(out, self.shape)
        return out

    def write(self, out: Any, kind: _native.Kind, title: str, gene_indices: Any = None, **more: Any) -> Any:
        """Write the result into an array, some cells at a time; returns the tokens in the slots.

        These go into ``gene_indices``, by default a new array in memory. For chosen genes there are none.
        """
        self.cells.survey()
        if self.genes is None and gene_indices is None:
            gene_indices = np.empty(self.shape[:2], np.int32)
        sink = _Sink(_row_file.unmapped(out, to_write=True), gene_indices)
        self.cells.run(kind, sink, self.request | more, title)
        return gene_indices
