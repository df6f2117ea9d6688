"""The attention of [CLS] to the genes of a cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _options, errors
from se600m._cells import Cells
from se600m._opened import Opened
from se600m._options import CellOptions
from se600m._slots import SlotTask

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
    task = SlotTask(Cells(opened, adata, options), tokens)
    out = task.output(out)
    gene_indices = task.write(out, "attention", f"Attention of {opened.name}", layer=number)
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
