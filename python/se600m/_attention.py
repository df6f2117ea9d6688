"""The attention of [CLS] to the genes of a cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _native, _options, _rows, errors
from se600m._cells import Cells
from se600m._contextual import VectorSink
from se600m._opened import Opened
from se600m._options import CellOptions

_MEAN = -1
"""What stands for the mean over all layers."""


@dataclass(frozen=True)
class CLSAttention:
    """Attention of ``[CLS]`` to every slot of every cell's sentence, in one layer, as the mean over its heads.

    Attributes
    ----------
    attention
        float32 ``[n_cells, S]``: an array in memory, or the array that was written. Slot 0 is ``[CLS]`` itself; slots
        after the end of a sentence are NaN.
    gene_indices
        Gene tokens, int32 ``[n_cells, S]``: positions in ``model.genes``, ``model.cls_index`` in slot 0, and -1
        after the end of a sentence.
    """

    attention: Any
    gene_indices: npt.NDArray[np.int32]


def attention(
    opened: Opened,
    adata: AnnData,
    genes: Iterable[str] | str | None,
    layer: int | str | None,
    out: Any,
    options: CellOptions,
) -> Any:
    """Do what :meth:`se600m.Model.attention` says."""
    number = _checked_layer(layer, opened.dimensions["nlayers"])
    tokens = None if genes is None else opened.tokens_of(genes)
    cells = Cells(opened, adata, options)
    slots: int = cells.plan()["max_length"]
    shape = (cells.n_cells, slots if tokens is None else len(tokens))
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        _rows.check_output(out, shape)
    cells.survey()
    more: dict[str, Any] = {"batch_size": options.batch_size or 0, "layer": number}
    gene_indices = None
    if tokens is None:
        more["slots"] = slots
        gene_indices = np.empty(shape, np.int32)
    else:
        more["genes"] = _native.array(tokens)
    cells.run("attention", VectorSink(out, gene_indices), more, f"Attention of {opened.name}")
    return out if gene_indices is None else CLSAttention(out, gene_indices)


def _checked_layer(layer: Any, n_layers: int) -> int:
    """Give a layer as Go counts them, from 0."""
    if layer is None:
        return n_layers - 1
    if layer == "mean":
        return _MEAN
    if isinstance(layer, str):
        raise errors.OptionError(
            f"attention_layer={layer!r} is neither the number of a layer, from 1 to {n_layers}, nor 'mean'"
        )
    return _options.whole("attention_layer", layer, 1, n_layers) - 1
