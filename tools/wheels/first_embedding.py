"""The first embedding in a new environment, and then a file by the command line, and `se600m doctor --json`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import anndata
import numpy as np

import se600m

N_CELLS = 50


def cells() -> anndata.AnnData:
    """Make raw counts of the default model's genes."""
    genes = list(se600m.load_model().genes)[:2000]
    random = np.random.default_rng(0)
    counts = random.poisson(random.gamma(0.3, 10, (N_CELLS, len(genes)))).astype(np.float32)
    adata = anndata.AnnData(counts)
    adata.var_names = genes
    return adata


def command(*arguments: str) -> str:
    """Run the command that this environment has."""
    return subprocess.run(
        [Path(sys.executable).parent / "se600m", *arguments], capture_output=True, text=True, check=True
    ).stdout


def checked(embedding: np.ndarray) -> np.ndarray:
    """Make sure that it is an embedding."""
    assert embedding.shape[0] == N_CELLS
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    return embedding


def embedded() -> tuple[anndata.AnnData, np.ndarray]:
    """Embed as a first script would."""
    adata = cells()
    se600m.embed(adata)
    return adata, checked(adata.obsm.pop("X_state"))


def check(version: str) -> None:
    """Embed the same cells by the command line, and ask the doctor."""
    assert se600m.__version__ == version, f"{se600m.__version__} is installed, not {version}"
    assert Path(sys.prefix) in Path(se600m.__file__).parents, f"{se600m.__file__} is not this environment's"
    adata, embedding = embedded()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "cells.h5ad"), Path(folder, "embedded.h5ad")
        adata.write_h5ad(source)
        command("embed", str(source), str(target))
        np.testing.assert_array_equal(anndata.read_h5ad(target).obsm["X_state"], embedding)
    assert json.loads(command("doctor", "--json"))["ok"]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "embed":
        embedded()
    else:
        check(sys.argv[2])
