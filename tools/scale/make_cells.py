"""Write an h5ad file of synthetic sparse cells, some cells at a time: input for measure.py.

    python tools/scale/make_cells.py cells.h5ad --cells 1000000

Every cell expresses as many genes, counts are geometric, and all of it follows from the seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

N_GENES = 20_011  # a prime: steps of any size visit every gene once
AT_ONCE = 5_000


def genes() -> list[str]:
    """Names of the genes."""
    return [f"GENE{i}" for i in range(N_GENES)]


def write(path: Path, n_cells: int, per_cell: int, seed: int, compression: str | None) -> None:
    """Write the file."""
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        names = pd.Index([f"CELL{i}" for i in range(n_cells)])
        write_elem(file, "obs", pd.DataFrame({"batch": np.arange(n_cells, dtype=np.int32) % 7}, index=names))
        write_elem(file, "var", pd.DataFrame(index=genes()))
        for part in ("obsm", "varm", "obsp", "varp", "layers", "uns"):
            write_elem(file, part, {})
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, N_GENES]})
        x["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * per_cell
        n = n_cells * per_cell
        options = {"chunks": (min(n, 1 << 18),), "compression": compression}
        data = x.create_dataset("data", (n,), np.float32, **options)
        indices = x.create_dataset("indices", (n,), np.int32, **options)
        for first in range(0, n_cells, AT_ONCE):
            last = min(first + AT_ONCE, n_cells)
            begin = random.integers(0, N_GENES, (last - first, 1))
            step = random.integers(1, N_GENES, (last - first, 1))
            of_cells = np.sort((begin + step * np.arange(per_cell)) % N_GENES, axis=1)
            indices[first * per_cell : last * per_cell] = of_cells.ravel()
            data[first * per_cell : last * per_cell] = random.geometric(0.4, of_cells.size)


def main() -> None:
    """Read the command line, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes-per-cell", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compression", choices=["gzip", "lzf"])
    given = parser.parse_args()
    write(given.path, given.cells, given.genes_per_cell, given.seed, given.compression)
    print(f"{given.cells:,} cells × {N_GENES:,} genes, {given.path.stat().st_size / 1e9:.2f} GB, in {given.path}")


if __name__ == "__main__":
    main()
