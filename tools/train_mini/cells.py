"""The training cells: counts of the genes that the model learns, and what is known of each gene."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import anndata
import numpy as np
from scipy import sparse

MIN_CELLS = 5
"""Genes seen in fewer cells are left out: nothing is to be learned of them."""
NONCODING = re.compile(
    r"^(LINC\d|MIR\d|MIRLET|SNOR|SNHG|RNU\d|RN7|RNA5|SCARNA|Y_RNA|C\d+orf\d+-|FAM\d+[A-Z]*\d*P$)|"
    r"-(AS|IT|OT|DT)\d*$|^[A-Z]{1,3}[A-Z]*\d{5,}\.\d+$|^(RP|CT[A-D]|AC|AL|AP|XX|KB|GS|LA|LL)\d*[A-Z]*-\S+\.\d+$|\.\d+$|"
    r"^(RPL|RPS)\w*P\d+$|_"
)
"""Symbols that don't look like protein-coding genes: State's gene embeddings are of proteins."""


@dataclass(frozen=True)
class Cells:
    """Raw counts ``[n_cells, n_genes]`` of the vocabulary's ``genes``, and ``totals`` ``[n_cells]`` of all genes."""

    counts: np.ndarray
    totals: np.ndarray
    genes: list[str]

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows: np.ndarray) -> Cells:
        return replace(self, counts=self.counts[rows], totals=self.totals[rows])


def read_cells(path: Path) -> Cells:
    """Read raw counts from ``X`` of an h5ad file with gene symbols as ``var_names``."""
    adata = anndata.read_h5ad(path)
    counts = sparse.csr_matrix(adata.X)
    if counts.nnz == 0 or counts.data.min() < 0 or np.any(counts.data % 1):
        raise SystemExit(
            f"{path}: X holds values that are no counts, such as {counts.data.min(initial=0)}: give raw counts"
        )
    seen = np.asarray((counts > 0).sum(0)).ravel() >= MIN_CELLS
    symbols = adata.var_names.astype(str)
    kept = seen & ~symbols.duplicated() & np.array([not NONCODING.search(s) for s in symbols])
    if not kept.any():
        raise SystemExit(
            f"{path}: none of {len(symbols)} genes is in {MIN_CELLS} cells and has a protein-coding gene's symbol"
        )
    totals = np.asarray(counts.sum(1)).ravel()
    return Cells(counts[:, kept].toarray().astype(np.int64), totals, list(symbols[kept]))


def log_normalised(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """``log1p`` of counts per 10,000."""
    return np.log1p(counts * (1e4 / np.maximum(totals, 1))[:, None]).astype(np.float32)


@dataclass(frozen=True)
class GeneFacts:
    """What the cells tell of each gene ``[n_genes]``, in log-normalised values.

    ``shared`` is the covariance between two halves of each cell's counts: variance that is not counting noise.
    """

    mean: np.ndarray
    variance: np.ndarray
    shared: np.ndarray

    @classmethod
    def of(cls, cells: Cells, random: np.random.Generator) -> GeneFacts:
        """Measure them."""
        half = random.binomial(cells.counts, 0.5)
        a, b = (log_normalised(part, cells.totals / 2) for part in (half, cells.counts - half))
        whole = log_normalised(cells.counts, cells.totals)
        return cls(whole.mean(0), whole.var(0), ((a - a.mean(0)) * (b - b.mean(0))).mean(0))


def initial_embeddings(cells: Cells, facts: GeneFacts, width: int, random: np.random.Generator) -> np.ndarray:
    """Start gene embeddings ``[n_genes, width]`` as loadings of the cells' principal components.

    The last column is the same for all: sentences take rows at unit length, and in a row of small loadings, of a
    gene that tells little, it is most of that.
    """
    spread = np.sqrt(facts.variance + 0.1)
    z = (log_normalised(cells.counts, cells.totals) - facts.mean) / spread
    _, components = np.linalg.eigh(z.astype(np.float64) @ z.T)  # of cells: there are fewer than genes
    rows = z.T @ components[:, ::-1][:, : width - 1]  # loadings times singular values
    rows /= np.sqrt((rows**2).mean(0)) ** 0.5  # the first components less, all the others more
    rows /= spread[:, None]
    rows /= np.sqrt(np.mean((rows**2).sum(1)))
    rows += random.standard_normal(rows.shape) * 0.02 / np.sqrt(width)  # no two genes the same
    return np.hstack([rows, np.ones((len(rows), 1))]).astype(np.float32)
