"""Contextual gene embeddings: the last layer's output for the genes of a cell."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _extras, _files, _trees
from se600m._cells import Cells
from se600m._opened import Opened
from se600m._options import CellOptions
from se600m._slots import SlotTask

_TOKENS_AT_ONCE = 16
"""Cells whose tokens are a chunk of zarr: about as many as are computed at a time."""


@dataclass(frozen=True)
class ContextualGeneEmbeddings:
    """Output of the last layer for every slot of every cell's sentence.

    Attributes
    ----------
    embeddings
        float32 ``[n_cells, S, emsize]``: an array in memory, or the array that was written. Slot 0 is
        ``[CLS]``; slots after the end of a sentence are NaN.
    gene_indices
        Gene tokens, int32 ``[n_cells, S]``: positions in ``model.genes``, ``model.cls_index`` in slot 0, and -1
        after the end of a sentence. If ``out`` is a path, this is the array of zarr that was written beside the other.
    """

    embeddings: Any
    gene_indices: Any


class _Task(SlotTask):
    """Vectors of genes in cells."""

    def __init__(self, cells: Cells, genes: npt.NDArray[np.int32] | None) -> None:
        super().__init__(cells, genes, cells.opened.dimensions["emsize"])

    def write_vectors(self, out: Any, gene_indices: Any = None) -> Any:
        """Write the vectors into an array, some cells at a time; returns the tokens in the slots."""
        return self.write(out, "contextual", f"Embedding genes with {self.cells.opened.name}", gene_indices)

    def write_zarr(self, path: Path) -> Any:
        """Write a zarr group that appears whole or not at all."""
        with _files.appearing(path, folder=True) as draft:
            self.write_vectors(*new_group(draft, self.cells.opened, self.shape, self.genes))
        written = _trees.open_zarr(path)
        if self.genes is not None:
            return written["embeddings"]
        return ContextualGeneEmbeddings(written["embeddings"], written["gene_indices"])


def new_group(
    draft: Path, opened: Opened, shape: tuple[int, ...], genes: npt.NDArray[np.int32] | None
) -> tuple[Any, Any]:
    """Make a zarr group for vectors of a shape; gives the array for them and, if it is of all slots, for the tokens."""
    group = _trees.new_zarr(draft, 3)
    group.attrs.update({key: opened.provenance()[key] for key in ("model", "model_checksum", "package")})
    # A chunk is one cell's vectors: 16.8 MB with every slot of SE-600M.
    embeddings = group.create_array("embeddings", shape=shape, chunks=(1, *shape[1:]), dtype="float32")
    if genes is not None:
        group.attrs["genes"] = [opened.genes[token] for token in genes]
        return embeddings, None
    chunks = (min(_TOKENS_AT_ONCE, shape[0]), shape[1])
    return embeddings, group.create_array("gene_indices", shape=shape[:2], chunks=chunks, dtype="int32")


def contextual(
    opened: Opened, adata: AnnData, genes: Iterable[str] | str | None, out: Any, overwrite: bool, options: CellOptions
) -> Any:
    """Do what :meth:`se600m.Model.contextual_gene_embeddings` says."""
    path = None
    if isinstance(out, str | os.PathLike):
        path = _checked(Path(out).expanduser(), overwrite)
        _extras.module("zarr", "zarr", "writing to a path requires")
    tokens = None if genes is None else opened.tokens_of(genes)
    task = _Task(Cells(opened, adata, options), tokens)
    if path is not None:
        with _files.told("out", path):
            result = task.write_zarr(path)
    else:
        out = task.output(out)
        gene_indices = task.write_vectors(out)
        result = out if gene_indices is None else ContextualGeneEmbeddings(out, gene_indices)
    return result


def _checked(path: Path, overwrite: bool) -> Path:
    return _files.check_folder(
        path, "out", overwrite=overwrite, option="overwrite=True", replaceable="zarr.json", kind="a zarr group"
    )
