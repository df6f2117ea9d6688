"""Embeddings that are computed when they are asked for: dask arrays, one block of cells at a time."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _anndata, _lazy, _log, _var, _workers, errors
from se600m._cells import CellEmbeddings, Cells
from se600m._chunks import ArraySink
from se600m._opened import Opened
from se600m._options import CellOptions


@dataclass(frozen=True)
class _Recipe:
    """What a block needs beside its rows. It is sent to every worker once."""

    model: _workers.WorkerModel
    options: CellOptions
    where: str
    columns: list[_var.GeneNames]
    features: _var.FeatureTypes | None
    tokens: npt.NDArray[np.int32]
    match: dict[str, Any]
    width: int
    judged: bool
    """Whether the values were judged before."""


def embed(opened: Opened, adata: AnnData, matrix: Any, options: CellOptions, any_gpu: bool) -> CellEmbeddings:
    """Describe the embedding of the rows of a dask array. Nothing of it is computed, unless ``options.strict``.

    Genes are matched at once. Values are judged with ``strict`` at once, else block by block when it is computed.
    """
    da: Any = importlib.import_module("dask.array")
    dask: Any = importlib.import_module("dask")
    cells = Cells(opened, adata, options)
    if options.strict:
        cells.survey()
        provenance = cells.provenance()
    else:
        provenance = cells.provenance(cells.genes_provenance())
    source, width = cells.source, opened.output_dim + opened.dataset_dim
    model = _workers.WorkerModel(opened.directory, opened.device, opened.precision, opened.checksum, any_gpu)
    recipe = _Recipe(
        model,
        dataclasses.replace(options, progress=False, strict=False),
        source.where,
        source.columns,
        source.features,
        cells.tokens,
        cells.report.match,
        width,
        options.strict,
    )
    # Everything that the values depend on: arrays of one name are taken for the same one.
    genes = None if source.features is None else source.features.genes
    token = dask.base.tokenize(
        matrix.name, opened.checksum, options, opened.device, opened.precision, any_gpu, cells.tokens, genes
    )
    made = da.map_blocks(
        _block,
        matrix.rechunk({1: -1}),
        recipe=dask.delayed(recipe, pure=False),
        dtype=np.float32,
        chunks=(matrix.chunks[0], (width,)),
        meta=np.empty((0, 0), np.float32),
        name=f"se600m-embed-{token}",
    )
    if not opened.dataset_dim:
        return CellEmbeddings(made, None, provenance)
    # One run of the model for both, as long as both are computed together.
    return CellEmbeddings(made[:, : opened.output_dim], made[:, opened.output_dim :], provenance)


def _block(rows: Any, recipe: _Recipe, block_info: Any = None) -> npt.NDArray[np.float32]:
    """Embed a block: what :func:`map_blocks` calls, in any process and thread."""
    rows = _lazy.on_host(rows)
    first, n = int(block_info[None]["array-location"][0][0]), rows.shape[0]
    if n == 0:
        return np.empty((0, recipe.width), np.float32)
    if recipe.features is not None:
        rows = _anndata.columns_of(rows, _anndata.as_slice(np.flatnonzero(recipe.features.genes)))
    source = _anndata.of_rows(rows, recipe.where, recipe.columns, recipe.features, first)
    options = dataclasses.replace(recipe.options, threads=recipe.options.threads or _workers.threads())
    with _workers.kept.use(recipe.model, recipe.model.opened) as opened:
        cells = Cells(opened, source, options, (recipe.tokens, recipe.match))
        if not recipe.judged:
            with _log.kept_back() as texts:
                cells.survey()
            for text in texts:
                _warn(recipe.model.checksum, f"cells {first:,} to {first + n - 1:,}: {text}")
        embedding = np.empty((n, opened.output_dim), np.float32)
        arrays = {"embedding": embedding}
        if opened.dataset_dim:
            arrays["dataset_embedding"] = np.empty((n, opened.dataset_dim), np.float32)
        cells.run("embed", ArraySink(arrays), {"batch_size": options.batch_size or 0}, "Embedding")
    return embedding if len(arrays) == 1 else np.hstack(list(arrays.values()))


_warned: set[str] = set()
"""What this process has warned of, without the numbers."""


def _warn(key: str, text: str) -> None:
    """Warn, in the user's own process where a cluster computes; once in a process, not for every block."""
    kind = key + re.sub(r"[\d,.]+", "", text)
    if kind in _warned:
        _log.log.info(text)
        return
    _warned.add(kind)
    if "distributed" in sys.modules:
        import distributed

        distributed.warn(text, errors.DataWarning)
    else:
        _log.warn(text)
