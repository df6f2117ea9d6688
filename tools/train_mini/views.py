"""Simulated data sets: fewer counts and fewer genes of the training cells, as sentences of the model.

A view of some cells is what another experiment would have made of them: a random panel or the whole
transcriptome, raw counts or log-normalised values, less depth. Its sentences are those that the package
makes under ``fill="expected"``, but for a sample of the unexpressed genes standing for all of them,
which keeps training cheap and unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAD_LENGTH = 2048
RAW_ABOVE = 35
"""A cell whose largest value is greater holds raw counts; else it is taken as log1p already."""
DATASETS = ("panel, counts", "panel, log-normalised", "whole, counts", "whole, log-normalised")


@dataclass(frozen=True)
class Sentences:
    """Sentences ``[B, S]``: slot 0 is [CLS]; multiplicity 0 is padding."""

    genes: np.ndarray
    values: np.ndarray
    multiplicity: np.ndarray


@dataclass(frozen=True)
class Design:
    """What one simulated data set measures."""

    genes: np.ndarray
    normalised: bool
    dataset: int


class Designs:
    """Draws simulated data sets over a vocabulary."""

    def __init__(self, interest: np.ndarray, panel_sizes: tuple[int, int], whole: float) -> None:
        """``interest`` ``[n_genes]`` says how much likelier a gene is to be on a panel than another."""
        self.log_interest = np.log(interest)
        self.panel_sizes = np.log(panel_sizes)
        self.whole = whole

    def draw(self, random: np.random.Generator) -> Design:
        """Draw a panel or, with the probability ``whole``, the whole transcriptome."""
        normalised = bool(random.random() < 0.5)
        n_genes = len(self.log_interest)
        if random.random() < self.whole:
            return Design(np.arange(n_genes), normalised, 2 + normalised)
        size = min(n_genes, int(np.exp(random.uniform(*self.panel_sizes))))
        return Design(self.some(size, random.uniform(0, 1.5), random), normalised, int(normalised))

    def panel(self, size: int, random: np.random.Generator) -> Design:
        """Draw a panel of log-normalised values."""
        return Design(self.some(size, 1.0, random), True, 1)

    def some(self, size: int, bias: float, random: np.random.Generator) -> np.ndarray:
        """Draw genes without replacement, with probabilities of interest ** bias."""
        keys = bias * self.log_interest + random.gumbel(size=len(self.log_interest))
        return np.argpartition(-keys, size - 1)[:size]


def tokens_values(counts: np.ndarray, totals: np.ndarray, normalised: bool) -> np.ndarray:
    """Values that the model takes as log1p, ``[B, n]``, of a data set of counts or of log-normalised values."""
    if normalised:
        return np.log1p(counts * (1e4 / np.maximum(totals, 1))[:, None])
    raw = counts.max(1, keepdims=True) > RAW_ABOVE
    return np.where(raw, np.log1p(counts), counts)


def sentences(
    counts: np.ndarray,
    totals: np.ndarray,
    design: Design,
    random: np.random.Generator,
    n_top: int = PAD_LENGTH,
    n_rest: int = PAD_LENGTH,
    n_unexpressed: int = PAD_LENGTH,
) -> Sentences:
    """Make sentences of cells.

    ``counts`` ``[B, n_genes]`` are those of the whole vocabulary, ``totals`` ``[B]`` of all genes. The
    ``n_top`` most expressed genes of a cell stand for themselves; of the other expressed ones about
    ``n_rest`` stand for all, and of the unexpressed ones about ``n_unexpressed``.
    """
    slots = PAD_LENGTH - 1
    x = tokens_values(counts[:, design.genes], totals, design.normalised).astype(np.float32)
    order = np.argsort(-x + random.random(x.shape[1], np.float32) * 1e-6, axis=1)
    x = np.take_along_axis(x, order, 1)
    n_expressed = np.minimum((x > 0).sum(1, keepdims=True), slots)
    n_zero = x.shape[1] - n_expressed
    place = np.arange(x.shape[1])[None]
    chance = np.where(
        place < n_expressed,
        np.where(place < n_top, 1, n_rest / np.maximum(n_expressed - n_top, 1)),
        np.where(x > 0, 0, n_unexpressed / np.maximum(n_zero, 1)),
    )
    taken = random.random(x.shape, np.float32) < chance
    zero = taken & (place >= n_expressed)
    rest = taken & (place >= n_top) & ~zero
    times = np.where(zero, (slots - n_expressed) / np.maximum(zero.sum(1, keepdims=True), 1), taken.astype(np.float32))
    times = np.where(rest, np.maximum(n_expressed - n_top, 1) / np.maximum(rest.sum(1, keepdims=True), 1), times)
    total = x.sum(1, keepdims=True)
    values = np.where(total > 0, 100 * x / np.maximum(total, 1e-9), 100 / x.shape[1])
    cls_value = values[np.arange(len(x)), np.argmax(order == random.integers(x.shape[1]), axis=1)]
    length = int(taken.sum(1).max())
    kept = np.argsort(~taken, axis=1, kind="stable")[:, :length]
    genes, values, times = (np.take_along_axis(a, kept, 1) for a in (design.genes[order], values, times))
    first = np.zeros((len(x), 1))
    return Sentences(
        np.hstack([first, genes]).astype(np.int64),
        np.hstack([cls_value[:, None], values]).astype(np.float32),
        np.hstack([first + 1, times]).astype(np.float32),
    )
