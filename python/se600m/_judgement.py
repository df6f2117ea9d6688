"""Messages about a data set whose values are not suitable for the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from se600m import _scales
from se600m._scales import Evidence, number, plain
from se600m._words import many, verb

_LEAST_DEPTH = 50
"""No cell is normalised to a smaller total: logarithms of such values are the values themselves."""

_LARGEST_COUNT = 1e9
"""No gene is counted more often in a cell."""

_LARGEST_LOG2 = 20
"""No log2 of a count per million is larger."""

_BASE = "the base does not matter to the model, which uses each gene's share of the cell's total"


@dataclass(frozen=True)
class Seen:
    """What was seen of the values of a data set."""

    where: str
    """What the matrix is called, such as ``adata.X``."""
    sparse: bool
    n_cells: int
    counted: dict[str, int]
    """The numbers of cells that Go reports (embed.Report)."""
    fractional: tuple[float, float] | None
    """Bounds of the sums over cells of fractional values taken as counts."""
    largest: float
    evidence: Evidence | None
    totals: npt.NDArray[np.float64]
    """Sum of each column, of its squares, and its largest value; empty if they were not asked for."""
    squares: npt.NDArray[np.float64]
    peaks: npt.NDArray[np.float32]
    chosen: bool
    """Whether only chosen genes enter the sentences."""

    @property
    def cells(self) -> str:
        """What the cells are called."""
        return f"{many(self.n_cells, 'cell')} of {self.where}"

    def some(self, which: str, do: str = "") -> str:
        """Say how many of the cells Go has counted, and what they do, in the form for many."""
        n = self.counted[which]
        return f"{n:,} of {self.cells}" + (f" {verb(n, do)}" if do else "")

    def line(self, formula: str) -> str:
        """Write the line that puts something else in the place of the matrix; X stands for it."""
        if self.where == "adata.raw.X":
            return f"adata = adata.raw.to_adata(), then adata.X = {formula.replace('X', 'adata.X')}"
        return f"{self.where} = {formula.replace('X', self.where)}"


def suspicious(seen: Seen) -> bool:
    """Whether another matrix of the data set may be the right one."""
    c, e = seen.counted, seen.evidence
    if c["n_negative"] or c["n_fractional_counts"] or _binary(seen) or _scaled_genes(seen) or (e and e.ranks):
        return True
    if seen.largest > _LARGEST_COUNT:
        return True
    if e is None:
        return False
    if e.transform is None:
        return _imputed(seen)
    return not _right(e)


def _right(e: Evidence) -> bool:
    """Whether values are counts, or logarithms of counts of some depth."""
    if e.transform is _scales.LINEAR:
        return _is_one(e)
    return e.transform is not None and e.transform.is_log and not _shallow(e)


def _is_one(e: Evidence) -> bool:
    return e.one_unit is not None and abs(e.one_unit - 1) <= 1e-4


def _shallow(e: Evidence) -> bool:
    """Whether what the logarithm was taken of is too little for counts or for any depth."""
    if e.unit is None:
        return e.total is not None and e.total < _LEAST_DEPTH / 5
    return e.median_total < _LEAST_DEPTH and e.unit[1] < 0.1


def warnings(seen: Seen, expression: str, elsewhere: str | None) -> Iterator[str]:
    """Say what is likely to be wrong with the values.

    Parameters
    ----------
    seen
        What was seen.
    expression
        What the caller said that the values are.
    elsewhere
        The option that names a matrix which looks right, if this one does not.
    """
    c = seen.counted
    if c["n_negative"]:
        way = f"try {elsewhere}" if elsewhere else "choose a layer with them, or use_raw=True"
        yield (
            f"{many(c['n_negative'], 'negative value')} in {seen.some('n_negative_cells')} "
            f"{verb(c['n_negative'], 'were')} set to zero, as "
            f"arc-state does. Scaled or corrected values are not expression. Embed counts or log1p values: {way}"
        )
        return  # what else is odd about such values follows from that
    made = _made(seen, expression, elsewhere)
    if made is not None:
        yield from made
    else:
        yield from _judged(seen, expression, elsewhere)
    if c["n_empty"]:
        which = "none of the chosen genes" if seen.chosen else "no gene that the model knows"
        yield (
            f"{seen.some('n_empty', 'express')} {which}: "
            + (
                "its embedding has no meaning, so drop it"
                if c["n_empty"] == 1
                else "their embeddings have no meaning, so drop these cells"
            )
        )


def notes(seen: Seen) -> Iterator[str]:
    """Say what is worth a log line, but no warning."""
    e = seen.evidence
    if e is not None and e.transform in (_scales.LOG2, _scales.LOG10) and not seen.counted["n_counts"]:
        yield (
            f"the values of {seen.where} are most likely {e.transform.name}: {e.shown_by()}. They are used "
            f"unchanged: {_BASE}"
        )


def _made(seen: Seen, expression: str, elsewhere: str | None) -> list[str] | None:
    """Say what follows from how the values were made; None if that is not known, or if they are as they should be."""
    e = seen.evidence
    if e is None:
        return None
    if _binary(seen):
        return [_binary_warning(seen, elsewhere)]
    if e.ranks:
        return [_ranks_warning(seen, elsewhere)]
    if e.transform is None:
        if _scaled_genes(seen):
            return [_scaled_genes_warning(seen, elsewhere)]
        if _imputed(seen):
            return [_imputed_warning(seen, elsewhere), *_judged(seen, expression, elsewhere)]
        return None
    if e.transform.is_log:
        return _logarithms(seen, e, expression, elsewhere)
    if e.transform is not _scales.LINEAR:
        return [_other_transform(seen, e, elsewhere)]
    if _is_one(e):
        return None
    return _not_logarithms(seen, e, elsewhere)


def _taken(seen: Seen) -> str:
    counts, logs = seen.counted["n_counts"], seen.counted["n_log1p"]
    if not counts or not logs:
        return "They were treated as raw counts" if counts else "They were treated as log1p values"
    return f"{seen.some('n_counts', 'were')} treated as raw counts and {logs:,} as log1p values"


def _way(elsewhere: str | None) -> str:
    """Name the place of counts or log1p values, if there is one."""
    return f": try {elsewhere}" if elsewhere else ""


def _binary(seen: Seen) -> bool:
    whole = seen.counted["n_whole_log1p"] == seen.counted["n_log1p"]
    return seen.largest == 1 and whole and seen.evidence is not None and seen.evidence.whole


def _binary_warning(seen: Seen, elsewhere: str | None) -> str:
    return (
        f"all values of the {seen.cells} are 0 or 1, so that the detected genes of a cell have no order for "
        f"the model, which reads the genes with the highest expression first. Embed counts or log1p values"
        f"{_way(elsewhere)}"
    )


def _ranks_warning(seen: Seen, elsewhere: str | None) -> str:
    assert seen.evidence is not None
    return (
        f"the values of {seen.where} are most likely ranks: {seen.evidence.in_all}, each "
        f"gene's value is its rank in the cell. {_taken(seen)}, so that the order of the genes is right but their "
        f"expression is not. Embed counts or log1p values{_way(elsewhere)}"
    )


def _logarithms(seen: Seen, e: Evidence, expression: str, elsewhere: str | None) -> list[str] | None:
    assert e.transform is not None
    if _shallow(e):
        line = _back(seen, e, _undo(e.transform))
        return [
            f"the values of {seen.where} are most likely {e.transform.name} of values that add up to "
            f"{number(e.median_total)} per cell (median). The logarithms of such small values are nearly the values "
            "themselves, but the model expects logarithms of counts, or of counts normalised to a depth such as "
            f"10,000. Embed counts or log1p values{_way(elsewhere)}{', or use' if elsewhere else ':'} {line}"
        ]
    c = seen.counted
    wrong = c["n_counts"]
    if not wrong:
        return []
    if wrong > c["n_fractional_counts"] + c["n_log1p_like_counts"]:
        return None  # some cells hold whole numbers, and so are counts indeed
    said = "expression='counts', but " if expression == "counts" else ""
    base = "" if e.transform is _scales.LOG1P else f" ({_BASE})"
    line = "" if e.transform is _scales.LOG1P else f", or convert them to log1p values: {_natural(seen, e.transform)}"
    return [
        f"{said}{seen.some('n_counts', 'were')} treated as raw counts, but the values are most likely logarithms, "
        f"{e.transform.name}: {e.shown_by()}. Use expression='log1p' for all cells{base}{line}"
    ]


def _natural(seen: Seen, transform: _scales.Transform) -> str:
    return seen.line(f"X * np.log({2 if transform is _scales.LOG2 else 10})")


def _undo(transform: _scales.Transform) -> str:
    return {
        _scales.LOG1P: "np.expm1(X)",
        _scales.LOG2: "np.expm1(X * np.log(2))",
        _scales.LOG10: "np.expm1(X * np.log(10))",
    }[transform]


def _other_transform(seen: Seen, e: Evidence, elsewhere: str | None) -> str:
    assert e.transform is not None
    if e.transform is _scales.LOG1P_TWICE:
        return (
            f"the logarithm of {seen.where} was most likely taken twice: {e.shown_by()}. {_taken(seen)}. "
            f"Undo one of the two: {seen.line('np.expm1(X)')}"
        )
    what, inner = {
        _scales.SQRT: ("square roots", "X.power(2)" if seen.sparse else "X**2"),
        _scales.ARCSINH: ("inverse hyperbolic sines", "np.sinh(X)"),
    }[e.transform]
    way = f"{_way(elsewhere)}{', or use' if elsewhere else ':'} {_back(seen, e, inner)}"
    if e.transform is _scales.SQRT and e.unit is None:
        what, way = "square roots, or cells scaled to the same length", _way(elsewhere)
    return (
        f"the values of {seen.where} are most likely {what}: {e.shown_by()}. {_taken(seen)}. "
        f"Embed counts or log1p values{way}"
    )


def _back(seen: Seen, e: Evidence, undone: str) -> str:
    """Write the line that makes counts, or log1p values where cells were normalised, of what a transform left."""
    if e.one_unit is not None:
        by = "" if _is_one(e) else f" / {plain(e.one_unit)}"
        return seen.line(f"np.rint({undone}{by})")
    return seen.line(_logarithm(undone, e.median_total))


def _logarithm(undone: str, total: float) -> str:
    """Write the formula of log1p values; what adds up to too little for logarithms is scaled to 10,000 first."""
    by = "" if total >= _LEAST_DEPTH else f" * {plain(1e4 / total)}"
    return f"np.log1p({undone}{by})"


def _not_logarithms(seen: Seen, e: Evidence, elsewhere: str | None) -> list[str] | None:
    """Say what of counts that were divided or multiplied, of which no logarithm was taken."""
    if e.one_unit is not None:
        return [
            f"the values of {seen.where} are most likely counts times {number(e.one_unit)}: all are whole multiples "
            f"of it {e.in_cells}. {_taken(seen)}. Embed the counts"
            f"{_way(elsewhere)}{', or use' if elsewhere else ':'} {_back(seen, e, 'X')}"
        ]
    if e.total is not None:
        if seen.counted["n_fractional_counts"] == seen.counted["n_counts"] > 0:
            return None  # all cells were looked at for that
        way = _way(elsewhere) or f": {_back(seen, e, 'X')}"
        return [
            f"the values of {seen.where} add up to {number(e.total)} {e.in_cells}: they "
            f"are normalised, but not log-transformed. {_taken(seen)}. Embed counts or log1p values{way}"
        ]
    assert e.unit is not None
    low, high = e.unit
    return [
        f"the values of {seen.where} are most likely counts that were divided by a different number for each cell, "
        f"such as its total, its volume or a size factor: {e.in_cells} they are whole "
        f"multiples of one number, {number(low)} to {number(high)}, and add up to {number(e.median_total)} (median). "
        f"{_taken(seen)}. Embed the counts"
        + (_way(elsewhere) or ": multiply each cell by its number again, or divide it by its smallest value")
    ]


def _scaled_genes(seen: Seen) -> str | None:
    """Say to what each gene was scaled, if all were."""
    expressed = seen.totals > 0
    n = int(expressed.sum())
    if n < 20 or seen.n_cells < 20 or (seen.evidence is not None and seen.evidence.whole):
        return None
    if np.mean(np.abs(seen.peaks[expressed] - 1) < 1e-5) > 0.8:
        return "a largest value of 1"
    of_squares = seen.squares[expressed] - seen.totals[expressed] ** 2 / seen.n_cells
    for ddof in (0, 1):
        deviation = np.sqrt(np.maximum(of_squares, 0) / (seen.n_cells - ddof))
        # scanpy's scale cuts off at max_value, which lowers the deviation of rare genes.
        if np.mean(np.abs(deviation - 1) < 1e-3) > 0.6:
            return "a standard deviation of 1"
    return None


def _scaled_genes_warning(seen: Seen, elsewhere: str | None) -> str:
    return (
        f"the genes of {seen.where} were most likely scaled separately: nearly all have {_scaled_genes(seen)} over "
        f"the {many(seen.n_cells, 'cell')}, so that the genes of a cell can no longer be compared. {_taken(seen)}. "
        f"Embed counts or log1p values{_way(elsewhere)}"
    )


def _imputed(seen: Seen) -> bool:
    return _share_expressed(seen) > 0.9


def _share_expressed(seen: Seen) -> float:
    """Give the share of the genes which any cell expresses that a cell expresses; 0 where that tells nothing."""
    e, n_expressed = seen.evidence, int((seen.totals > 0).sum())
    if e is None or e.transform is not None or e.whole or n_expressed < 1000 or seen.n_cells < 20:
        return 0.0
    return e.median_expressed / n_expressed


def _imputed_warning(seen: Seen, elsewhere: str | None) -> str:
    return (
        f"cells of {seen.where} express {100 * _share_expressed(seen):.0f} % of all expressed genes (median), with "
        "fractional values. This is normal for bulk samples, but in single cells such values are imputed or predicted, "
        f"and the model expects measured values. Embed counts or log1p values{_way(elsewhere)}"
    )


def _judged(seen: Seen, expression: str, elsewhere: str | None) -> Iterator[str]:
    """Say what is odd about how single cells were judged."""
    c = seen.counted
    if expression == "auto":
        if c["n_whole_log1p"]:
            were = verb(c["n_whole_log1p"], "were")
            yield (
                f"{seen.some('n_whole_log1p', 'have')} only small whole numbers, as shallow counts do, and {were} "
                "treated as log1p values, as in arc-state: use expression='counts' if they are counts"
            )
        if c["n_counts"] and c["n_log1p"] > c["n_whole_log1p"]:
            yield (
                f"{seen.some('n_counts', 'were')} treated as raw counts and {c['n_log1p']:,} as log1p values, "
                "because each is judged separately, as in arc-state: use expression='counts' or 'log1p' for all"
            )
    if expression == "log1p":
        if c["n_whole_log1p"]:
            yield (
                f"expression='log1p', but {seen.some('n_whole_log1p', 'have')} only whole numbers, as counts do: "
                "use expression='counts' if they are counts"
            )
        elif c["n_large_log1p"] and seen.largest > _LARGEST_LOG2:
            yield (
                f"expression='log1p', but {seen.some('n_large_log1p', 'have')} values too large for logarithms of "
                "counts: use expression='counts' if they are counts"
            )
    if expression == "counts" and c["n_log1p_like_counts"]:
        yield (
            f"expression='counts', but {seen.some('n_log1p_like_counts', 'have')} small fractional values, as "
            "logarithms do: use expression='log1p' if they are logarithms"
        )
    if seen.largest > _LARGEST_COUNT:
        yield (
            f"the largest value of {seen.where} is {number(seen.largest)}, but no gene is counted more than "
            f"{number(_LARGEST_COUNT)} times in a cell. Embed counts or log1p values{_way(elsewhere)}"
        )
    elif c["n_fractional_counts"]:
        yield _fractional(seen, elsewhere)


def _fractional(seen: Seen, elsewhere: str | None) -> str:
    assert seen.fractional is not None
    least, most = seen.fractional
    n = seen.counted["n_fractional_counts"]
    have, were = seen.some("n_fractional_counts", "have"), verb(n, "were")
    if n > 1 and most - least <= 1e-3 * most:
        way = _way(elsewhere) or ": " + seen.line(_logarithm("X", most))
        return (
            f"{have} fractional values that add up to {most:,.0f} in every cell: they are "
            f"normalised, but not log-transformed, and were treated as counts. Embed counts or log1p values{way}"
        )
    if seen.largest <= _LARGEST_LOG2:
        return (
            f"{have} fractional values too large for natural logarithms and {were} treated as counts. "
            "This is right for counts corrected for ambient RNA. If they are logarithms to base 2, use "
            f"expression='log1p' ({_BASE}), or convert them to log1p values: {seen.line('X * np.log(2)')}"
        )
    return (
        f"{have} fractional values too large for logarithms and {were} treated as counts. "
        "This is right for counts corrected for ambient RNA, or counts estimated by RSEM, kallisto or alevin, and "
        "wrong for anything else"
    )
