"""Messages about a data set's genes: one log line, and warnings about what is likely to be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from se600m._words import many, verb

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
    chosen = match.get("chosen")
    they = "it accounts" if match["n_matched"] == 1 else "they account"
    if chosen is not None:
        n = chosen["n_entered"]
        they = f"{n:,} {verb(n, 'were')} chosen, which {'accounts' if n == 1 else 'account'}"
    by = [f"{match['n_by_id']:,} by Ensembl id"]
    if match["n_renamed"]:
        by.append(f"{match['n_renamed']:,} by a newer or older symbol, such as {_pairs(match['renamed'][:1])}")
    said = (
        f"{_known(match, where)} known to the model, by {match['column']} "
        f"({', '.join(by)}); {they} for "
        f"{100 * median_share:.1f} % of a cell's expression "
        f"(median), and for at least {100 * least_share:.1f} %"
    )
    if n := match["n_ids_unknown"]:
        said += f"; {many(n, 'human Ensembl id')} {verb(n, 'belong')} to genes that the model does not have"
    if n := match["n_left_out"]:
        said += f"; {_other_symbols(n, match['column'])} and {verb(n, 'were')} ignored"
    if n := match["n_numbered"]:
        said += f"; {many(n, 'gene')} {verb(n, 'were')} found without the number that var_names_make_unique has added"
    if match["kind"]:
        said += f"; {match['kind']}"
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
        _left_out(match, totals),
        _repeated(match, totals),
        _untyped(match),
        _little(match, where, median_share, totals),
        _absent(match),
    ]
    return [message for message in found if message]


def _repairs(match: dict[str, Any], totals: Totals | None) -> str:
    """Tell of names that would be the model's genes but for something that they have in common."""
    said, lines = [], []
    for number, repair in enumerate(match["repairs"]):
        share = _share(totals, match["repair_of"] == number)
        if repair["n"] <= max(1, match["n_matched"] // 20) and share < _LEAST_SHARE:
            continue
        carry = _carried(repair["n"], share, totals)
        have = verb(repair["n"], "have")
        said.append(f"{repair['n']:,} {have} {repair['what']}, such as {_pairs(repair['examples'][:3])}{carry}")
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


def _left_out(match: dict[str, Any], totals: Totals | None) -> str:
    n, share = match["n_left_out"], _share(totals, match["is_left_out"])
    if n <= max(1, match["n_matched"] // 100) and share < _LEAST_SHARE:
        return ""
    return (
        f"{_other_symbols(n, match['column'])}, such as {_pairs(match['left_out'])}, and {verb(n, 'were')} ignored"
        f"{_carried(n, share, totals)}: add up the columns of a gene if they are parts of it"
    )


def _other_symbols(n: int, column: str) -> str:
    are = "is another symbol of a gene" if n == 1 else "are other symbols of genes"
    return f"{many(n, 'name')} in {column} {are} in another column"


def _carried(n: int, share: float, totals: Totals | None) -> str:
    """Say what share of the values some names carry, if it is known."""
    return "" if totals is None else f" and {verb(n, 'account')} for {100 * share:.1f} % of the values"


def _known(match: dict[str, Any], where: str) -> str:
    return f"{match['n_matched']:,} of {many(match['n_genes'], 'gene')} of {where} {verb(match['n_matched'], 'are')}"


def _repeated(match: dict[str, Any], totals: Totals | None) -> str:
    different = []
    if totals is not None and match.get("features") is None:
        different = repeated_but_different(match["names"], match["first_of"], totals)
    if different:
        n = len(different)
        return (
            f"{many(n, 'name')} in {match['column']} {verb(n, 'occur')} in columns with very different totals, such as "
            f"{', '.join(different[:3])}: these are different kinds of measurements, such as antibodies that are named "
            "after genes. Remove what is not gene expression, or mark what is with 'Gene Expression' in "
            "var['feature_types']"
        )
    n = match["n_repeated"]
    if n <= max(1, match["n_matched"] // 100):
        return ""
    return (
        f"{many(n, 'name')} in {match['column']} {verb(n, 'refer')} to the same gene as an earlier name, such as "
        f"{', '.join(map(repr, match['repeated']))}: each remains a separate token, as in arc-state"
    )


def repeated_but_different(names: list[str], first_of: npt.NDArray[np.int32], totals: Totals) -> list[str]:
    """Find names that stand for several columns of which one has far more than another, and more than genes have.

    A name and the same with a number, "CD4" and "CD4-1", were one before names were made unique: ``first_of`` has
    the first of them for each column.

    Returns
    -------
    list
        Names with their least and largest totals, such as ``'CD4' (12) and 'CD4-1' (90,000)``, the most different
        first.
    """
    expressed = totals[totals > 0]
    large = _LARGE * float(expressed.mean()) if expressed.size else np.inf
    columns: dict[int, list[int]] = {}
    for column in np.flatnonzero(first_of != np.arange(len(names))):
        first = int(first_of[column])
        if names[first]:
            columns.setdefault(first, [first]).append(int(column))
    found = []
    for several in columns.values():
        least, most = several[int(np.argmin(totals[several]))], several[int(np.argmax(totals[several]))]
        if totals[most] >= large and totals[most] >= _DIFFERENT * max(totals[least], 1e-300):
            found.append((-totals[most], _with_totals(names, totals, sorted((least, most)))))
    return [said for _, said in sorted(found)]


def _with_totals(names: list[str], totals: Totals, columns: list[int]) -> str:
    amounts = [f"{totals[column]:,.0f}" for column in columns]
    if len({names[column] for column in columns}) == 1:
        return f"{names[columns[0]]!r} ({' and '.join(amounts)})"
    return " and ".join(f"{names[column]!r} ({amount})" for column, amount in zip(columns, amounts, strict=True))


def _untyped(match: dict[str, Any]) -> str:
    features = match.get("features")
    if features is None or not features.untyped:
        return ""
    n = features.untyped
    return (
        f"{many(n, 'column')} {verb(n, 'have')} no type in {features.column}, where others have 'Gene Expression', and "
        f"{verb(n, 'were')} ignored: fill in the type if {'it is a gene' if n == 1 else 'they are genes'}"
    )


def _little(match: dict[str, Any], where: str, median_share: float, totals: Totals | None) -> str:
    """Tell if most of what the cells express is in columns that the model does not know."""
    if median_share >= 0.5 or match.get("chosen") is not None:  # few genes were meant
        return ""
    rest = ""
    if totals is not None:
        tokens = match["tokens"]
        largest = np.argsort(np.where(tokens < 0, -totals, 0), kind="stable")[:3]
        names = [repr(match["names"][i]) for i in largest if tokens[i] < 0 and totals[i] > 0]
        rest = f". Most of the other expression is in {', '.join(names)}" if names else ""
    if match["kind"]:
        rest = f". {match['kind'][0].upper()}{match['kind'][1:]}{rest}"
    return (
        f"{_known(match, where)} known to the model and {verb(match['n_matched'], 'account')} for "
        f"{100 * median_share:.0f} % of a cell's expression (median): the embeddings are unreliable{rest}"
    )


def _absent(match: dict[str, Any]) -> str:
    """Tell of chosen genes that the data set does not have."""
    chosen = match.get("chosen")
    if chosen is None or not chosen["absent"]:
        return ""
    n = len(chosen["absent"])
    return (
        f"{n:,} of {many(chosen['n'], 'chosen gene')} {verb(n, 'are')} not in the data set, such as "
        f"{', '.join(map(repr, chosen['absent'][:3]))}: the sentences have no slot with {'its' if n == 1 else 'their'} "
        "expression"
    )


def _share(totals: Totals | None, columns: npt.NDArray[np.bool_]) -> float:
    """Share of all values that some columns carry; 0 if it is not known."""
    if totals is None:
        return 0.0
    whole = float(totals.sum())
    return float(totals[columns].sum()) / whole if whole > 0 else 0.0


def _pairs(suggestions: list[dict[str, str]]) -> str:
    return ", ".join(f"{s['given']!r} for {s['known']!r}" for s in suggestions)
