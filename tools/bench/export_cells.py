"""Writes tests/data/immune559.h5ad and its genes' tokens as gocore/internal/benchcells reads them.

export_cells.py OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata
import numpy as np

import se600m

ROOT = Path(__file__).resolve().parents[2]


def main(path: Path) -> None:
    """Write sizes, indptr, tokens, indices and values, little-endian."""
    adata = anndata.read_h5ad(ROOT / "tests" / "data" / "immune559.h5ad")
    token_of = {gene: token for token, gene in enumerate(se600m.load_model().genes)}
    tokens = np.array([token_of.get(gene, -1) for gene in adata.var_names], "<i4")
    sizes = np.array([*adata.shape, adata.X.nnz], "<i8")
    with path.open("wb") as file:
        for part in (
            sizes,
            adata.X.indptr.astype("<i8"),
            tokens,
            adata.X.indices.astype("<i4"),
            adata.X.data.astype("<f4"),
        ):
            part.tofile(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
