"""The package of this repository, as a side of the benchmark."""

from __future__ import annotations

import time
import warnings
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
from worker import forget_peak, peak_memory, resident_memory, serve

import se600m
from se600m import _native

models: dict[str, se600m.Model] = {}


def convert(source: str, target: str) -> dict[str, Any]:
    """Convert a checkpoint, as a user does once."""
    se600m.convert(source, target, progress=False)
    return {}


def load(model: str, precision: str = "auto") -> dict[str, Any]:
    """Open a model with its session: one sentence of one gene is run."""
    opened = models["it"] = se600m.load_model(model, precision=precision)
    opened.embed_sentences([[opened.cls_index, 0]], [[0.0, 100.0]])
    return {
        "se600m": se600m.__version__,
        "onnxruntime": opened.runtime_version,
        "device": opened.device,
        "precision": opened.precision,
    }


def embed(cells: str, out: str | None = None, threads: int | None = None) -> dict[str, Any]:
    """Read cells and embed them."""
    adata = anndata.read_h5ad(cells)
    se600m.embed(adata, model=models["it"], threads=threads, progress=False)
    if out:
        np.save(out, adata.obsm["X_state"])
    return {"cells": adata.n_obs}


def lengths(cells: str) -> dict[str, Any]:
    """Tell the mean number of tokens of a cell, the dataset token included."""
    sentences = models["it"].tokenize(anndata.read_h5ad(cells))
    return {"tokens": float(sentences.lengths.mean()) + (models["it"].dataset_dim > 0), "fill": sentences.fill}


tiled: dict[tuple[str, int], anndata.AnnData] = {}


def tile(cells: str, times: int) -> dict[str, Any]:
    """Bring a file of cells into memory, several times over."""
    adata = anndata.read_h5ad(cells)
    many = anndata.AnnData(sp.csr_matrix(sp.vstack([adata.X] * times)))
    many.var_names = adata.var_names
    tiled[cells, times] = many
    values = many.X.nnz / many.n_obs
    return {"cells": many.n_obs, "values": values, "input_bytes": many.X.nnz * 8}


def tokenize(cells: str, times: int, threads: int | None = None) -> dict[str, Any]:
    """Tokenise cells in memory, output included."""
    adata = tiled[cells, times]
    start = time.perf_counter()
    sentences = models["it"].tokenize(adata, threads=threads)
    seconds = time.perf_counter() - start
    written = sum(a.nbytes for a in (sentences.gene_indices, sentences.expression_values, sentences.multiplicity))
    return {"cells": adata.n_obs, "seconds": seconds, "output_bytes": written}


def scale(cells: str, n_cells: int, times: int = 1) -> dict[str, Any]:
    """Embed many cells in memory, several times; tell the memory that it takes beyond cells and embeddings."""
    adata = next(adata for (path, _), adata in tiled.items() if path == cells)
    some = anndata.AnnData(sp.csr_matrix(adata.X[:n_cells]))
    some.var_names = adata.var_names
    forget_peak()
    before = resident_memory()
    start = time.perf_counter()
    for _ in range(times):
        made = models["it"].compute(some, progress=False)
    seconds = (time.perf_counter() - start) / times
    output = made.embedding.nbytes + (0 if made.dataset_embedding is None else made.dataset_embedding.nbytes)
    return {"cells": n_cells, "seconds": seconds, "beyond": peak_memory() - before - output}


def border(calls: int = 20_000, jobs: int = 200) -> dict[str, Any]:
    """Time the crossing to Go: a call, a job that has next to nothing to do, and 4 MB each way by address."""
    start = time.perf_counter()
    for _ in range(calls):
        _native.version()
    call = (time.perf_counter() - start) / calls
    model = models["it"]
    handle = model._opened.handle
    n = 1024
    zeros = np.zeros((n, n), np.float32)
    tokens = np.arange(n, dtype=np.int32)
    request = {
        "model": handle, "first_row": 0, "tokens": _native.array(tokens), "expression": "counts", "fill": "none",
        "seed": 0, "threads": 0,
        "matrix": {"kind": "dense", "n_cells": n, "n_genes": n, "cell_stride": n, "gene_stride": 1,
                   "data": _native.array(zeros.reshape(-1))},
    }  # fmt: skip
    start = time.perf_counter()
    for _ in range(jobs):
        _native.plan(handle, tokens, "none")
    job = (time.perf_counter() - start) / jobs
    # Cells of zeros: four megabytes are read, and one slot a cell and its padding written.
    width = _native.plan(handle, tokens, "none")["max_length"]
    arrays = {
        "gene_indices": np.empty((n, width), np.int32),
        "expression_values": np.empty((n, width), np.float32),
        "multiplicity": np.empty((n, width), np.float32),
        "lengths": np.empty(n, np.int32),
    }
    request |= {name: _native.array(values) for name, values in arrays.items()} | {"length": width}
    copies = []
    for _ in range(10):
        start = time.perf_counter()
        _native.run("tokenize", request)
        copies.append(time.perf_counter() - start)
    return {"call": call, "job": job, "megabytes": min(copies)}


def nearest(queries: str, reference: str, k: int) -> dict[str, Any]:
    """Find the nearest rows of rows, float32 in .npy files; reading them is not counted."""
    cells = [anndata.AnnData(np.zeros((len(x), 1)), obsm={"X_state": x}) for x in map(np.load, (queries, reference))]
    start = time.perf_counter()
    se600m.nearest(*cells, k=k, progress=False)
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(
        convert=convert,
        load=load,
        embed=embed,
        lengths=lengths,
        tile=tile,
        tokenize=tokenize,
        scale=scale,
        border=border,
        nearest=nearest,
    )
