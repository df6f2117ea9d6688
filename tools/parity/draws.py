"""The whole pipeline against the reference's own run-to-run noise.

The reference draws unexpressed genes and breaks ties from an unseeded generator, so no two of its runs
agree. What can be asked of another implementation is that it lies among those runs, or nearer to their mean.
"""

from __future__ import annotations

import anndata
import numpy as np
from reference import Reference
from report import Report
from scipy.spatial.distance import cdist, pdist

import se600m


def runs_of(reference: Reference, adata: anndata.AnnData, n_runs: int) -> np.ndarray:
    """Run the reference's whole pipeline several times: ``[n_runs, n_cells, output_dim]``."""
    runs, collator = [], reference.collator(adata)
    for seed in range(n_runs):
        drawn = collator.draw(seed)
        runs.append(reference.embed(drawn.tokens, drawn.values)[0])
        print(f"\r  reference run {seed + 1} of {n_runs}", end="", flush=True)
    print()
    return np.stack(runs)


def ours_of(model: se600m.Model, adata: anndata.AnnData, fill: str, n_seeds: int) -> np.ndarray:
    """Embed with several seeds: ``[n_seeds, n_cells, output_dim]``."""
    return np.stack([model.compute(adata, fill=fill, seed=seed, progress=False).embedding for seed in range(n_seeds)])


def mean_distance(some: np.ndarray, others: np.ndarray, *, itself: bool = False) -> float:
    """Mean over cells of the distance between two runs of the same cell."""
    total = 0.0
    for cell in range(some.shape[1]):
        distances = pdist(some[:, cell]) if itself else cdist(some[:, cell], others[:, cell])
        total += distances.mean()
    return total / some.shape[1]


def distance_error(run: np.ndarray, mean: np.ndarray) -> float:
    """Relative error of all cell-to-cell distances, as a root mean square."""
    want = pdist(mean)
    return float(np.linalg.norm(pdist(run) - want) / np.linalg.norm(want))


def neighbours(cells: np.ndarray, k: int = 5) -> list[set[int]]:
    """Find the k nearest cells of every cell."""
    distances = cdist(cells, cells)
    np.fill_diagonal(distances, np.inf)
    return [set(row) for row in np.argsort(distances, axis=1, kind="stable")[:, :k]]


def overlap(run: np.ndarray, mean: np.ndarray) -> float:
    """Share of the 5 nearest neighbours that two embeddings have in common."""
    return float(np.mean([len(a & b) / 5 for a, b in zip(neighbours(run), neighbours(mean), strict=True)]))


def transcriptome(report: Report, name: str, model: se600m.Model, reference: Reference, adata: anndata.AnnData) -> None:
    """Judge `shared` and `independent` where there is a valid gene for every slot."""
    n_mean, n_single = 16, 8
    report.section(f"{name}, whole pipeline, {adata.n_obs} cells, {n_mean + n_single} reference runs")
    runs = runs_of(reference, adata, n_mean + n_single)
    own = mean_distance(runs, runs, itself=True)
    report.tell("reference: its own seed-to-seed distance", own)
    found = {fill: ours_of(model, adata, fill, 8) for fill in ("shared", "independent")}
    for fill, ours in found.items():
        ratio = mean_distance(ours, runs) / own
        report.at_most(f"{fill} (8 seeds): distance to the reference's runs, of that", ratio, 1.05)
    # The mean is of 16 runs; single runs are others, which it does not contain.
    mean, singles = runs[:n_mean].mean(0), runs[n_mean:]
    for what, measure, bar in (
        ("error of cell-to-cell distances", distance_error, report.at_most),
        ("overlap of 5 nearest neighbours", overlap, report.at_least),
    ):
        single = float(np.mean([measure(run, mean) for run in singles]))
        report.tell(f"{what}, a single reference run (mean of {n_single})", single)
        bar(
            f"{what}, shared (mean of 8 seeds)", float(np.mean([measure(run, mean) for run in found["shared"]])), single
        )
        independent = float(np.mean([measure(run, mean) for run in found["independent"]]))
        report.tell(f"{what}, independent (mean of 8 seeds)", independent)


def panel(report: Report, name: str, model: se600m.Model, reference: Reference, adata: anndata.AnnData) -> None:
    """Judge `expected` where there are fewer valid genes than slots."""
    n_runs = 32
    report.section(f"{name}, whole pipeline, {adata.n_obs} cells, {n_runs} reference runs")
    runs = runs_of(reference, adata, n_runs)
    mean = runs.mean(0)
    made = model.compute(adata, progress=False)
    expected = made.embedding
    report.tell("fill chosen", made.provenance["fill"])
    distances = np.linalg.norm(runs - mean, axis=2).mean(1)
    best = float(distances.min())
    report.tell("single reference runs, distance to their mean: nearest", best)
    report.tell("single reference runs, distance to their mean: mean", float(distances.mean()))
    report.at_most("expected: distance to the mean", float(np.linalg.norm(expected - mean, axis=1).mean()), best)
    own = mean_distance(runs, runs, itself=True)
    # A seed of "shared" is one draw for all cells: it takes many for a mean over draws.
    for fill, n_seeds in (("shared", 32), ("independent", 4)):
        ratio = mean_distance(ours_of(model, adata, fill, n_seeds), runs) / own
        report.at_most(f"{fill} ({n_seeds} seeds): distance to the reference's runs, of their own", ratio, 1.05)
