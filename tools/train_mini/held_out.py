"""Figures that settings are chosen by: of training cells that were held out, without any label.

Each figure stands beside that of 50 principal components of the same cells and values where they give one.
"""

from __future__ import annotations

import numpy as np
import torch
from cells import Cells, GeneFacts, log_normalised
from network import StateModel
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from views import Designs, Sentences, sentences

N_NEIGHBORS = 10
DEPTH = 3000
"""Counts a cell that a panel experiment has, or half of the cell's own if those are fewer."""


def embed(model: StateModel, s: Sentences, batch_cells: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and dataset embedding of sentences."""
    parts = []
    for i in range(0, len(s.genes), batch_cells):
        rows = (torch.from_numpy(a[i : i + batch_cells]) for a in (s.genes, s.values, s.multiplicity))
        parts.append(model(*rows)[:2])
    embedding, dataset = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return embedding, dataset


def neighbors(x: np.ndarray) -> np.ndarray:
    """Nearest other cells by cosine, ``[B, N_NEIGHBORS]``."""
    search = NearestNeighbors(n_neighbors=N_NEIGHBORS, metric="cosine").fit(x)
    return search.kneighbors(return_distance=False)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Share of nearest cells that two representations agree on."""
    pairs = zip(neighbors(a), neighbors(b), strict=True)
    return float(np.mean([len(set(x) & set(y)) / N_NEIGHBORS for x, y in pairs]))


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation across cells of each column; 0 where one is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.maximum(np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0), 1e-9)


def evaluate(
    model: StateModel, cells: Cells, designs: Designs, random: np.random.Generator, n_panels: int = 3
) -> dict[str, float]:
    """Measure a model on cells that it was not trained on; means over random panels of 760 genes."""
    whole = PCA(30, random_state=0).fit_transform(log_normalised(cells.counts, cells.totals))
    variable = np.argsort(-GeneFacts.of(cells, random).shared)[:300]
    figures = []
    for _ in range(n_panels):
        share = np.minimum(DEPTH / cells.totals, 0.5)
        first = random.binomial(cells.counts, share[:, None])
        second = random.binomial(cells.counts - first, (share / (1 - share))[:, None])
        totals = cells.totals * share
        panel, other = (designs.panel(760, random) for _ in range(2))
        embedding, dataset = embed(model, sentences(first, totals, panel, random))
        same_panel, _ = embed(model, sentences(second, totals, panel, random))
        other_panel, _ = embed(model, sentences(second, totals, other, random))
        components = PCA(min(50, len(cells) - 1), random_state=0).fit(log_normalised(first, totals)[:, panel.genes])
        pca, pca_second = (
            components.transform(log_normalised(part, totals)[:, panel.genes]) for part in (first, second)
        )
        genes, depth = torch.from_numpy(variable), torch.full((len(cells),), 4.0)
        decoded = model.decode(torch.from_numpy(embedding), genes, depth, torch.from_numpy(dataset)).numpy()
        measured = log_normalised(cells.counts - first, cells.totals - totals)[:, variable]
        correlation, seen = correlations(decoded, measured), np.isin(variable, panel.genes)
        figures.append(
            {
                "neighbours: panel and whole, full depth": overlap(embedding, whole),
                "  the same of principal components": overlap(pca, whole),
                "neighbours: two halves of the counts, one panel": overlap(embedding, same_panel),
                "  the same halves, principal components": overlap(pca, pca_second),
                "neighbours: two halves, two panels": overlap(embedding, other_panel),
                "decoded and measured expression, genes of the panel": correlation[seen].mean(),
                "decoded and measured expression, held-out genes": correlation[~seen].mean(),
                "R2 of decoded expression": 1 - np.mean((decoded - measured) ** 2 / measured.var(0)),
            }
        )
    return {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
