"""The reference, arc-state, as a side of the benchmark. It runs in the environment that ``make parity`` makes."""

from __future__ import annotations

import importlib.metadata
import logging
import time
import warnings
from typing import Any

import anndata
import numpy as np
import torch
from state.emb import Inference
from state.emb.data import create_dataloader
from worker import serve

opened: dict[str, Inference] = {}
loaders: dict[str, Any] = {}


def load(model: str) -> dict[str, Any]:
    """Open a checkpoint, ready to run."""
    inference = opened["it"] = Inference()
    inference.load_model(model)
    return {
        "arc-state": importlib.metadata.version("arc-state"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def embed(cells: str, out: str | None = None) -> dict[str, Any]:
    """Read cells and embed them, by the function behind ``state emb transform``."""
    embeddings = opened["it"].encode_adata(cells)
    if out:
        np.save(out, embeddings)
    return {"cells": len(embeddings)}


def prepare(cells: str) -> dict[str, Any]:
    """Make the loader for some cells, with the worker that is its own default."""
    inference = opened["it"]
    adata = anndata.read_h5ad(cells)
    loaders[cells] = create_dataloader(
        inference._vci_conf,
        adata=adata,
        adata_name="cells",
        protein_embeds=inference.protein_embeds,
        precision=torch.float32,
        gene_column=None,
    )
    return {"cells": adata.n_obs}


def encode(cells: str) -> dict[str, Any]:
    """Run the model on everything that the loader gives: ``embed`` without reading, set-up and what ends workers."""
    loader = loaders[cells]
    start = time.perf_counter()
    n = sum(len(batch) for batch, _ in opened["it"].encode(loader))
    return {"cells": n, "seconds": time.perf_counter() - start}


def tokenize(cells: str) -> dict[str, Any]:
    """Draw every cell's sentence."""
    loader = loaders[cells]
    start = time.perf_counter()
    n = sum(len(batch[0]) for batch in loader)
    return {"cells": n, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    serve(load=load, embed=embed, prepare=prepare, encode=encode, tokenize=tokenize)
