"""Messages about a data set's genes: one log line, and warnings about what is likely to be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Totals = npt.NDArray[np.float64]
"""Sum of the values of each gene of the data set, ``[n_genes]``."""

_LEAST_SHARE = 0.01
"""Names that were not taken and carry this share of the values are worth a warning, however few they are."""

_DIFFERENT = 10
"""Columns of one gene whose totals differ by this factor are hardly the same kind of measurement."""

_LARGE = 5
"""The larger of them is also this many times the mean total of an expressed gene, as an antibody's counts are."""


def summary(match: dict[str, Any], where: str, median_share: float, least_share: float) -> str:
    """Say in a line what was found."""
    by = [f"{match['n_by_id']:,} by Ensembl id"]
    if match["n_renamed"]:
        by.append(f"{match['n_renamed']:,} by a newer or older symbol, such as {_pairs(match['renamed'][:1])}")
    said = (
        f"{match['n_matched']:,} of {match['n_genes']:,} genes of {where} are known to the model, by {match['column']} "
        f"({', '.join(by)}); they account for {100 * median_share:.1f} % of a cell's expression "
        f"(median), and for at least {100 * least_share:.1f} %"
    )
    if match["n_ids_unknown"]:
        said += f"; {match['n_ids_unknown']:,} human Ensembl ids belong to genes that the model does not have"
    if match["n_left_out"]:
        said += f"; {match['n_left_out']:,} names are other symbols of genes in another column and were ignored"
    features = match.get("features")
    if features is not None:
        said += f"; ignored because of their type in {features.column}: {features.listed()}"
    return said


def cautions(match: dict[str, Any], where: str, median_share: float, totals: Totals | None = None) -> list[str]:
    """List what is likely to be wrong with the genes.

    Parameters
    ----------
    match
        The report of :func:`se600m._genes.match`, with ``features``, the :class:`se600m._var.FeatureTypes` or None.
    where
        What the matrix is called.
    median_share
        Median over the cells of the share of their values that genes known to the model carry.
    totals
        Sum of the values of each gene, if it is known: what is lost is then weighed by what it carries.
    """
    found = [
        _repairs(match, totals),
        _left_out(match),
        _repeated(match, totals),
        _untyped(match),
        _little(match, where, median_share, totals),
    ]
    return [message for message in found if message]


def _repairs(match: dict[str, Any], totals: Totals | None) -> str:
    """Tell of names that would be the model's genes but for something that they have in common."""
    said, lines = [], []
    for number, repair in enumerate(match["repairs"]):
        share = _share(totals, match["repair_of"] == number)
        if repair["n"] <= max(1, match["n_matched"] // 20) and share < _LEAST_SHARE:
            continue
        carry = "" if totals is None else f" and account for {100 * share:.1f} % of the values"
        said.append(f"{repair['n']:,} have {repair['what']}, such as {_pairs(repair['examples'][:3])}{carry}")
        if repair["line"]:
            lines.append(repair["line"])
    if not said:
        return ""
    way = (
        f"If they are the same genes, rename them: {'; '.join(lines)}"
        if lines
        else "Rename them if they are the same genes"
    )
    names = f"names in {match['column']} are similar to genes of the model, but were not recognised"
    return f"{names}: {'; '.join(said)}. {way}"


def _left_out(match: dict[str, Any]) -> str:
    if match["n_left_out"] <= max(1, match["n_matched"] // 100):
        return ""
    return (
        f"{match['n_left_out']:,} names in {match['column']} are other symbols of genes in another column, "
        f"such as {_pairs(match['left_out'])}, and were ignored: add up the columns of a gene if they are parts of it"
    )


def _repeated(match: dict[str, Any], totals: Totals | None) -> str:
    different = (
        [] if totals is None or match.get("features") is not None else repeated_but_different(match["names"], totals)
    )
    if different:
        examples = ", ".join(f"{name!r} ({least:,.0f} and {most:,.0f})" for name, least, most in different[:3])
        return (
            f"{len(different):,} names in {match['column']} occur in columns with very different totals, such as "
            f"{examples}: these are different kinds of measurements, such as antibodies that are named after genes. "
            "Remove what is not gene expression, or mark what is with 'Gene Expression' in var['feature_types']"
        )
    if match["n_repeated"] <= max(1, match["n_matched"] // 100):
        return ""
    return (
        f"{match['n_repeated']:,} names in {match['column']} refer to the same gene as an earlier name, such as "
        f"{', '.join(map(repr, match['repeated']))}: each remains a separate token, as in arc-state"
    )


def repeated_but_different(names: list[str], totals: Totals) -> list[tuple[str, float, float]]:
    """Find names that stand for several columns of which one has far more than another, and more than genes have.

    Returns
    -------
    list
        (name, least total, largest total), the most different first.
    """
    if len(set(names)) == len(names):
        return []
    expressed = totals[totals > 0]
    large = _LARGE * float(expressed.mean()) if expressed.size else np.inf
    first: dict[str, int] = {}
    columns: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        if name and name in first:
            columns.setdefault(name, [first[name]]).append(column)
        else:
            first[name] = column
    found = []
    for name, several in columns.items():
        least, most = float(totals[several].min()), float(totals[several].max())
        if most >= large and most >= _DIFFERENT * max(least, 1e-300):
            found.append((name, least, most))
    return sorted(found, key=lambda pair: (-pair[2], pair[0]))


def _untyped(match: dict[str, Any]) -> str:
    features = match.get("features")
    if features is None or not features.untyped:
        return ""
    return (
        f"{features.untyped:,} columns have no type in {features.column}, where others have 'Gene Expression', and "
        "were ignored: fill in the type if they are genes"
    )


def _little(match: dict[str, Any], where: str, median_share: float, totals: Totals | None) -> str:
    """Tell if most of what the cells express is in columns that the model does not know."""
    if median_share >= 0.5:
        return ""
    rest = ""
    if totals is not None:
        tokens = match["tokens"]
        largest = np.argsort(np.where(tokens < 0, -totals, 0), kind="stable")[:3]
        names = [repr(match["names"][i]) for i in largest if tokens[i] < 0 and totals[i] > 0]
        rest = f". Most of the other expression is in {', '.join(names)}" if names else ""
    return (
        f"{match['n_matched']:,} of {match['n_genes']:,} genes of {where} are known to the model and account for "
        f"{100 * median_share:.0f} % of a cell's expression (median): the embeddings are unreliable{rest}"
    )


def _share(totals: Totals | None, columns: npt.NDArray[np.bool_]) -> float:
    """Share of all values that some columns carry; 0 if it is not known."""
    if totals is None:
        return 0.0
    whole = float(totals.sum())
    return float(totals[columns].sum()) / whole if whole > 0 else 0.0


def _pairs(suggestions: list[dict[str, str]]) -> str:
    return ", ".join(f"{s['given']!r} for {s['known']!r}" for s in suggestions)
