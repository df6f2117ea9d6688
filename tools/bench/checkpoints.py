"""Random checkpoints and cells.

Run as a script, it writes one checkpoint: checkpoints.py PATH full|tiny|narrow|least LAYERS
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np

import se600m
from statefiles import Dims, Row, config_text, random_state, save_ckpt

FULL = Dims(
    n_genes=19_790, token_dim=5120, emsize=2048, d_hid=2048, nhead=16, nlayers=16, output_dim=2048, pad_length=2048,
    num_datasets=14_420,
)  # fmt: skip
"""SE-600M's own."""
TINY = Dims(n_genes=19_790, token_dim=64, emsize=96, d_hid=128, nhead=4, nlayers=3, output_dim=80, pad_length=2048)
"""Small enough that everything around the model counts."""
LEAST = replace(TINY, emsize=16, d_hid=16, nhead=2, nlayers=1, output_dim=16)
"""Next to nothing in ONNX Runtime: what is left is everything outside it."""
NARROW = replace(TINY, emsize=32, d_hid=32, nhead=2, nlayers=2, output_dim=32)
"""A millisecond or so a cell of a panel."""
DIMS = {"full": FULL, "tiny": TINY, "narrow": NARROW, "least": LEAST}


def needed_flop(dims: Dims, tokens: float) -> float:
    """Count the operations that a cell's embedding needs, the dataset token among its tokens.

    The last layer needs two queries, whose work and the head's are too little to count.
    """
    d = dims.emsize
    layer = 8 * tokens * d * d + 4 * tokens * d * dims.d_hid + 4 * tokens * tokens * d
    return (dims.nlayers - 1) * layer


def write(path: Path, name: str, nlayers: int) -> None:
    """Write a random checkpoint over the vocabulary of the model in the package."""
    dims = replace(DIMS[name], nlayers=nlayers)
    known = se600m.load_model().genes
    genes = [*known, *(f"ABSENT{i}" for i in range(dims.n_genes))][: dims.n_genes]
    table = np.random.default_rng(2).standard_normal((dims.n_genes, dims.token_dim), np.float32)
    rows = {gene: Row(table, i) for i, gene in enumerate(genes)}
    save_ckpt(path, random_state(dims, 1), dims, config_text(dims), rows)


def panel() -> anndata.AnnData:
    """Read scanpy's pbmc68k_reduced: 765 genes, log1p values, from .raw. scanpy itself is not imported."""
    package = Path(importlib.util.find_spec("scanpy").origin).parent
    return anndata.read_h5ad(package / "datasets" / "10x_pbmc68k_reduced.h5ad").raw.to_adata()


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
