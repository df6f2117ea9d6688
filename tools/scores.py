"""How well a representation of cells tells their types apart, and predicted from measured expression."""

from __future__ import annotations

from collections.abc import Callable

import anndata
import numpy as np
import numpy.typing as npt
import scanpy as sc
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, adjusted_rand_score, f1_score, normalized_mutual_info_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

SEEDS = range(5)
"""Splits into folds and runs of Leiden depend on chance: scores are means over these seeds."""

N_NEIGHBORS = 15


def classification(values: npt.ArrayLike, labels: npt.ArrayLike, metric: str) -> tuple[float, float]:
    """Accuracy and macro-F1 of 15 nearest neighbours over five stratified folds.

    Parameters
    ----------
    values
        ``[n_cells, width]``.
    labels
        ``[n_cells]``, at least five cells of each.
    metric
        Distance between cells: ``"cosine"`` or ``"euclidean"``.
    """
    classifier = KNeighborsClassifier(N_NEIGHBORS, metric=metric, algorithm="brute")
    scores = []
    for seed in SEEDS:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        predicted = cross_val_predict(classifier, values, labels, cv=folds)
        scores.append((accuracy_score(labels, predicted), f1_score(labels, predicted, average="macro")))
    accuracy, f1 = np.mean(scores, axis=0)
    return float(accuracy), float(f1)


def cell_graph(values: npt.NDArray[np.float32], metric: str) -> anndata.AnnData:
    """Scanpy's graph of 15 nearest neighbours, in an AnnData of its own."""
    cells = anndata.AnnData(obsm={"X": values})
    sc.pp.neighbors(cells, N_NEIGHBORS, use_rep="X", metric=metric, random_state=0)
    return cells


def matched_leiden(cells: anndata.AnnData, n_clusters: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Leiden clusters at the resolution that gives ``n_clusters`` of them, int64 ``[n_cells]``.

    ``cells`` has a graph of neighbours, and stays as it is.
    The resolution is found by halving. Where no resolution gives the number (a graph never has fewer
    clusters than parts that hang together), the nearest number that was met is what is returned.
    """

    def leiden(resolution: float) -> npt.NDArray[np.int64]:
        options = {"flavor": "igraph", "n_iterations": 2, "directed": False}
        clustered = sc.tl.leiden(cells, resolution, random_state=seed, copy=True, **options)
        return clustered.obs["leiden"].to_numpy().astype(np.int64)

    return nearest_count(leiden, n_clusters)


def nearest_count(cluster: Callable[[float], npt.NDArray[np.int64]], n_clusters: int) -> npt.NDArray[np.int64]:
    """Find the resolution, from 1/128 to 128, at which ``cluster`` gives a number of clusters, or nearly."""
    low, high = -7.0, 7.0
    best, missed_by = np.empty(0, np.int64), np.inf
    for _ in range(30):
        middle = (low + high) / 2
        clusters = cluster(2.0**middle)
        excess = len(np.unique(clusters)) - n_clusters
        if abs(excess) < missed_by:
            best, missed_by = clusters, abs(excess)
        if excess == 0:
            break
        low, high = (middle, high) if excess < 0 else (low, middle)
    return best


def clustering(values: npt.NDArray[np.float32], labels: npt.ArrayLike, metric: str) -> tuple[float, float, list[int]]:
    """ARI and NMI of Leiden clusters, as many as there are labels; and how many clusters there were."""
    cells = cell_graph(values, metric)
    n_labels = len(np.unique(labels))
    runs = [matched_leiden(cells, n_labels, seed) for seed in SEEDS]
    ari = np.mean([adjusted_rand_score(labels, clusters) for clusters in runs])
    nmi = np.mean([normalized_mutual_info_score(labels, clusters) for clusters in runs])
    return float(ari), float(nmi), sorted({len(np.unique(clusters)) for clusters in runs})


def correlations(predicted: npt.NDArray[np.float32], measured: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Spearman correlation over cells, one a gene, ``[n_genes]``; both are ``[n_cells, n_genes]``.

    A prediction that is the same for every cell tells nothing of them: 0.
    """
    flat = np.ptp(predicted, axis=0) == 0
    return np.array(
        [
            0.0 if flat[gene] else spearmanr(predicted[:, gene], measured[:, gene]).statistic
            for gene in range(measured.shape[1])
        ]
    )
