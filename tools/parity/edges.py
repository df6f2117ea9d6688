"""Cells at the edge of the rules, where the reference fails and this package does not, or says why it does."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
from reference import Reference
from report import Report

import se600m


def _cells(genes: list[str], x: np.ndarray) -> anndata.AnnData:
    adata = anndata.AnnData(x)
    adata.var_names = genes
    return adata


def _outcome(action) -> str:
    """Run something and tell how it ended."""
    try:
        action()
    except Exception as error:  # whatever the reference ends in is the finding
        return type(error).__name__
    return "embedded"


def edges(report: Report, model: se600m.Model, reference: Reference) -> None:
    """Tell how both sides end, and compare the numbers where both have some."""
    report.section("cells at the edge, reference / ours")
    random = np.random.default_rng(4)
    genes = model.genes[:100]
    counts = random.poisson(2.0, (2, 100)).astype(np.float32)
    empty = np.zeros((2, 100), np.float32)
    everywhere = random.uniform(0.1, 3, (2, 100)).astype(np.float32)
    one_absent = everywhere.copy()
    one_absent[:, 0] = 0
    with_nan = counts.copy()
    with_nan[0, 5] = np.nan
    negative = counts.copy()
    negative[:, :10] = -1
    for what, data in (
        ("3 valid genes", _cells([*genes[:3], *(f"UNKNOWN{i}" for i in range(97))], one_absent)),
        ("a panel's cell that expresses every gene", _cells(genes, everywhere)),
        ("a cell without expression", _cells(genes, empty)),
        ("a cell without expression, whole numbers", _cells(genes, empty.astype(np.int64))),
        ("NaN", _cells(genes, with_nan)),
        ("negative values", _cells(genes, negative)),
    ):
        drawn = []
        theirs = _outcome(lambda data=data, drawn=drawn: drawn.append(reference.collator(data).draw(0)))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours = _outcome(lambda data=data: model.compute(data, min_coverage=0))
            ours += ", with a warning" if any(w.category is se600m.errors.DataWarning for w in caught) else ""
            report.tell(what, f"{theirs} / {ours}")
            if drawn and ours.startswith("embedded"):
                values = model.tokenize(data, fill="independent", min_coverage=0).expression_values
                error = np.abs(np.sort(values, axis=1) - np.sort(drawn[0].values, axis=1)).max()
                report.at_most("  its expression values: largest error", float(error), 1e-5)
