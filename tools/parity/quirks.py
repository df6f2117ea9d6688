"""How much the reference's quirks, which are kept, move an embedding."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
from report import Report

import se600m


def quirks(report: Report, model: se600m.Model, adata: anndata.AnnData) -> None:
    """Measure the [CLS] slot's value and the decision for each cell, raw or log1p."""
    report.section("quirks that are kept, by their effect")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", se600m.errors.DataWarning)
        made = model.compute(adata, progress=False)
        embedding, seen = made.embedding, made.provenance
        between = float(np.linalg.norm(embedding - np.roll(embedding, 1, axis=0), axis=1).mean())
        report.tell("for comparison, distance between neighbouring cells of the file, mean", between)

        # The slot carries the fourth valid gene: put the genes in another order, and nothing else changes.
        turned = model.compute(adata[:, ::-1].copy(), progress=False).embedding
        moved = np.linalg.norm(embedding - turned, axis=1)
        report.tell("[CLS] slot's value, genes in reverse order: distance, mean", float(moved.mean()))
        common = np.argsort(-np.asarray((adata.X > 0).sum(0)).ravel(), kind="stable")
        common = model.compute(adata[:, common].copy(), progress=False).embedding
        moved = np.linalg.norm(embedding - common, axis=1)
        report.tell("[CLS] slot's value, commonest genes first: distance, mean", float(moved.mean()))

        if not np.array_equal(adata.X.data, np.round(adata.X.data)):
            report.tell("counts taken for log1p values", "these cells hold no counts")
            return
        report.tell("cells of counts taken for log1p values", f"{seen['n_log1p']} of {adata.n_obs}")
        thinned = adata.copy()
        random = np.random.default_rng(0)
        thinned.X.data = random.binomial(thinned.X.data.astype(np.int64), 0.1).astype(np.float32)
        thinned.X.eliminate_zeros()
        made = model.compute(thinned, progress=False)
        auto, seen = made.embedding, made.provenance
        counts = model.compute(thinned, expression="counts", progress=False).embedding
        report.tell("the same, of a tenth of the depth", f"{seen['n_log1p']} of {adata.n_obs}")
        moved = np.linalg.norm(auto - counts, axis=1)
        report.tell("  their distance to expression='counts', mean", float(moved[moved > 0].mean()))
