"""The package of this repository on the GPU, as a side of the benchmark."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
from worker import serve

import se600m

opened: dict[str, se600m.Model] = {}
sentences: dict[str, np.ndarray] = {}
cells_read: dict[str, anndata.AnnData] = {}


def convert(source: str, target: str) -> dict[str, Any]:
    """Convert a checkpoint, as a user does once."""
    se600m.convert(source, target, progress=False)
    return {}


def tokens(model: str, cells: str, out: str) -> dict[str, Any]:
    """Write the sentences of a file of cells, with the fill policy "shared"."""
    adata = anndata.read_h5ad(cells)
    made = se600m.load_model(model, device="cpu", precision="fp32").tokenize(adata, fill="shared")
    np.savez(out, gene_indices=made.gene_indices, expression_values=made.expression_values)
    return {"cells": len(made.lengths), "length": made.gene_indices.shape[1]}


def load(model: str, device: str, precision: str, tokens: str, cells: str) -> dict[str, Any]:
    """Open a model, and read sentences and cells."""
    opened["it"] = se600m.load_model(model, device=device, precision=precision)
    with np.load(tokens) as arrays:
        sentences.update(arrays)
    cells_read["it"] = anndata.read_h5ad(cells)
    it = opened["it"]
    return {
        "se600m": se600m.__version__,
        "onnxruntime": it.runtime_version,
        "device": it.device,
        "precision": it.precision,
    }


def embed(cells: int, batch: int | None = None, out: str | None = None) -> dict[str, Any]:
    """Embed sentences from memory into memory; batches as the package makes them unless their size is given."""
    rows = np.arange(cells) % len(sentences["gene_indices"])
    some = {name: values[rows] for name, values in sentences.items()}
    start = time.perf_counter()
    embedding, _ = opened["it"].embed_sentences(**some, batch_size=batch)
    seconds = time.perf_counter() - start
    if out:
        np.save(out, embedding)
    return {"cells": cells, "seconds": seconds}


def whole(cells: int) -> dict[str, Any]:
    """Embed an AnnData in memory, everything included that a user's call does."""
    adata = cells_read["it"]
    many = anndata.AnnData(sp.csr_matrix(adata.X[np.arange(cells) % adata.n_obs]))
    many.var_names = adata.var_names
    start = time.perf_counter()
    opened["it"].compute(many, fill="shared", progress=False)
    return {"cells": cells, "seconds": time.perf_counter() - start}


def import_torch() -> dict[str, Any]:
    """Import torch, before this package loads libraries of CUDA: a process has one copy of each."""
    import torch

    return {"torch": torch.__version__}


def busy(cells: int, batch: int | None = None) -> dict[str, Any]:
    """Embed sentences under torch's tracer, which sees every kernel of the process: the share of time that one ran."""
    import torch
    from trace_file import busy_share

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as tracer:
        embed(cells, batch)
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        tracer.export_chrome_trace(str(path))
        return busy_share(json.loads(path.read_text()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(convert=convert, tokens=tokens, load=load, embed=embed, whole=whole, import_torch=import_torch, busy=busy)
