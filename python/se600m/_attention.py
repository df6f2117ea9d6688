"""The attention of [CLS] to the genes of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
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
    _genes: Sequence[str] = field(repr=False)
    """The model's genes."""

    def of_cell(self, cell: int) -> pd.Series[float]:
        """Give the attention to each gene in the sentence of a cell, the most first.

        Parameters
        ----------
        cell
            Row of the cell.

        Returns
        -------
        pandas.Series
            float32, by gene symbol: the sum over the slots of a gene. ``[CLS]`` itself is left out.
        """
        tokens, weights = self.gene_indices[cell, 1:], np.asarray(self.attention[cell])[1:]
        genes, places = np.unique(tokens[tokens >= 0], return_inverse=True)
        sums = np.bincount(places, weights[tokens >= 0], len(genes)).astype(np.float32)
        order = np.argsort(-sums, kind="stable")
        return pd.Series(sums[order], [self._genes[token] for token in genes[order]])


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
    return out if gene_indices is None else CLSAttention(out, gene_indices, opened.genes)


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
