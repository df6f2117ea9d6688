"""Compares live with the reference, arc-state 0.11.1, and ends in a table.

    make parity [ARGS="--cells my.h5ad --checkpoint SE-600M --n-cells 60 --report parity.md"]

Exit code 1 if a bar does not hold.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp
from checkpoints import Random, as_ckpt
from draws import panel, transcriptome
from edges import edges
from full_size import full_size
from live import own_differences, same_numbers
from quirks import quirks
from reference import Reference
from report import Report

import se600m
from statefiles import Dims

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "python" / "se600m" / "models" / "se-mini"


def pbmc68k() -> anndata.AnnData:
    """Read scanpy's pbmc68k_reduced: log1p values of a panel, from .raw. scanpy itself is not imported.

    The reference knows a model's own symbols alone, so the one gene that was renamed since is given under that of
    the model in the package.
    """
    package = Path(importlib.util.find_spec("scanpy").origin).parent
    adata = anndata.read_h5ad(package / "datasets" / "10x_pbmc68k_reduced.h5ad").raw.to_adata()
    adata.var_names = adata.var_names.str.replace(r"^NIFK$", "MKI67IP", regex=True)
    return adata


def some_of(adata: anndata.AnnData, n_cells: int) -> anndata.AnnData:
    """Take cells spread over the whole file."""
    rows = np.unique(np.linspace(0, adata.n_obs - 1, n_cells).astype(int))
    some = adata[rows].copy()
    some.X = sp.csr_matrix(some.X)
    return some


def random_checkpoint(path: Path) -> Path:
    """Write a random model of moderate size over the vocabulary of the model in the package."""
    genes = se600m.load_model().genes
    dims = Dims(len(genes), 64, emsize=96, d_hid=128, nhead=4, nlayers=3, output_dim=80, pad_length=2048)
    Random(dims, genes, seed=600, dataset_correction=True).save_ckpt(path)
    return path


def compare(
    report: Report, checkpoint: Path, cells_name: str, cells: anndata.AnnData, n_cells: int, folder: Path
) -> None:
    """Compare everything that can be compared on one checkpoint."""
    report.model = checkpoint.stem
    model, reference = se600m.load_model(checkpoint), Reference(as_ckpt(checkpoint, folder / "reference.ckpt"))
    whole, pbmc = some_of(cells, n_cells), some_of(pbmc68k(), n_cells)
    same_numbers(report, cells_name, model, reference, whole, panel=False)
    same_numbers(report, "pbmc68k", model, reference, pbmc, panel=True)
    own_differences(report, model, whole)
    quirks(report, model, whole)
    edges(report, model, reference)
    transcriptome(report, cells_name, model, reference, whole)
    panel(report, "pbmc68k", model, reference, pbmc)


def main() -> int:
    """Run every comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    immune = ROOT / "tests" / "data" / "immune559.h5ad"
    parser.add_argument("--cells", type=Path, default=immune, help="whole transcriptomes: counts, or log1p values")
    parser.add_argument("--n-cells", type=int, default=60, help="cells of each data set")
    parser.add_argument(
        "--checkpoint",
        action="append",
        help="a State checkpoint to compare on, or 'random'; by default 'random' and the model in the package",
    )
    parser.add_argument("--skip", choices=["live", "full-size"], action="append", default=[], help="leave a part out")
    parser.add_argument("--report", type=Path, help="write the table as markdown, too")
    args = parser.parse_args()

    report = Report()
    cells = anndata.read_h5ad(args.cells)
    with tempfile.TemporaryDirectory(prefix="se600m-parity-") as scratch:
        os.environ["SE600M_CACHE"] = str(Path(scratch) / "cache")
        if "live" not in args.skip:
            for number, name in enumerate(args.checkpoint or ["random", MINI]):
                folder = Path(scratch) / str(number)
                folder.mkdir()
                checkpoint = random_checkpoint(folder / "random.ckpt") if name == "random" else Path(name)
                compare(report, checkpoint, args.cells.stem, cells, args.n_cells, folder)
        if "full-size" not in args.skip:
            report.model = "SE-600M's size"
            full_size(report, cells)
    report.show()
    if args.report:
        args.report.write_text(report.markdown())
    return 0 if report.passed else 1


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for noisy in ("lightning.pytorch", "lightning.fabric", "torch"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    sys.exit(main())
