"""Contextual gene embeddings: what the last layer makes of a cell's genes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _anndata, _files, _model, _native, _progress, _rows, errors
from se600m._report import Report

_CHUNK_VALUES = 1 << 26
"""Values computed at a time: 256 MiB, 16 cells with every slot of SE-600M."""


@dataclass(frozen=True)
class ContextualGeneEmbeddings:
    """The last layer's vectors of every slot of every cell's sentence.

    Attributes
    ----------
    embeddings
        float32 ``[n_cells, S, emsize]``: an array in memory, or the one that was written. Slot 0 is
        ``[CLS]``; slots past a sentence's end are NaN.
    gene_indices
        Gene tokens, int32 ``[n_cells, S]``: rows of ``model.genes``, ``model.cls_index`` in slot 0, -1 past
        a sentence's end.
    """

    embeddings: Any
    gene_indices: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Task:
    """What to compute: the cells, the choices for their sentences, and the genes wanted."""

    model: _model.Model
    adata: AnnData
    source: _anndata.Expression
    of_columns: npt.NDArray[np.int32]
    """The gene token of every column."""
    cells: _model._Cells
    genes: npt.NDArray[np.int32] | None
    """Gene tokens wanted; None: every slot."""
    slots: int
    """Slots of the longest sentence."""
    report: Report
    progress: bool | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result."""
        width = self.slots if self.genes is None else len(self.genes)
        return self.source.n_cells, width, self.model.dimensions["emsize"]

    def write(self, out: Any) -> npt.NDArray[np.int32]:
        """Write the vectors into an array, some cells at a time; returns the tokens in the slots."""
        n, width, emsize = self.shape
        gene_indices = np.empty((n, width if self.genes is None else 0), np.int32)
        step = _rows.rows_at_once(out, _CHUNK_VALUES, width * emsize)
        with _progress.bar(self.progress, f"Embedding genes with {self.model.name}", n) as update:
            for first, chunk in self.source.chunks(step):
                rows = slice(first, first + chunk.n_cells)
                block = np.empty((chunk.n_cells, width, emsize), np.float32)
                request = self.cells.request(self.model._handle, chunk, first, self.of_columns)
                request |= {
                    "slots": self.slots,
                    "output": _native.array(block),
                    "share": _native.array(self.report.share[rows]),
                }
                if self.genes is None:
                    request["gene_indices"] = _native.array(gene_indices[rows])
                else:
                    request["genes"] = _native.array(self.genes)
                self.report.add(_model._run_cells("contextual", request, update, self.source, self.adata, first))
                out[rows] = block
        return gene_indices

    def write_zarr(self, path: Path) -> Any:
        """Write a zarr group that appears whole or not at all."""
        zarr = _zarr()
        if path.exists():
            raise errors.DestinationExistsError(f"out={str(path)!r} exists: choose another path, or remove it")
        with _files.appearing(path, folder=True) as draft:
            group = zarr.open_group(draft, mode="w")
            # A chunk is one cell's vectors: 16.8 MB with every slot of SE-600M.
            array = group.create_array("embeddings", shape=self.shape, chunks=(1, *self.shape[1:]), dtype="float32")
            gene_indices = self.write(array)
            group.attrs.update(
                {
                    "model": self.model.name,
                    "model_checksum": self.model.checksum,
                    "package": f"se600m-go {_native.version()}",
                }
            )
            if self.genes is None:
                group.create_array("gene_indices", data=gene_indices)
            else:
                group.attrs["genes"] = [self.model.genes[token] for token in self.genes]
        written = zarr.open_group(path, mode="r")["embeddings"]
        return written if self.genes is not None else ContextualGeneEmbeddings(written, gene_indices)


def contextual(
    model: _model.Model,
    adata: AnnData,
    genes: Iterable[str] | str | None,
    *,
    out: Any,
    layer: str | None,
    use_raw: bool,
    gene_column: str | None,
    min_coverage: float,
    progress: bool | None,
    cells: _model._Cells,
) -> Any:
    """Do what :meth:`se600m.Model.contextual_gene_embeddings` says."""
    tokens = None if genes is None else model._tokens(genes)
    source = _anndata.read(adata, layer=layer, use_raw=use_raw, gene_column=gene_column)
    of_columns, report = model._match(source, min_coverage)
    _, one_cell = next(source.chunks(1))
    plan = _native.run("plan", cells.request(model._handle, one_cell, 0, of_columns))
    task = Task(model, adata, source, of_columns, cells, tokens, plan["max_length"], report, progress)
    if isinstance(out, str | os.PathLike):
        result = task.write_zarr(Path(out).expanduser())
    else:
        if out is None:
            out = np.empty(task.shape, np.float32)
        else:
            _rows.check_output(out, task.shape)
        gene_indices = task.write(out)
        result = ContextualGeneEmbeddings(out, gene_indices) if tokens is None else out
    report.tell(cells.expression, _model._elsewhere(adata, report))
    return result


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise errors.MissingPackageError(
            "out is a path, which needs the package zarr: pip install 'se600m-go[zarr]'"
        ) from None
    return zarr
