"""How the values of a matrix were most likely made: counts, logarithms to some base, or something else.

Counts leave traces. Whatever was done to a cell's values, one after the other, undoing it gives whole multiples of
one number again: 1 for counts, 10,000 / depth for log1p values normalised to 10,000. And where cells were normalised,
undoing what came after gives the same total in every cell. A sample of cells shows both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_N_SAMPLED = 64
"""Cells that are looked at closely."""

_MOST_MULTIPLE = 30
"""Larger multiples of the smallest value are not looked at: rounding of values blurs them."""

_NEAR = 0.03
"""What counts as a whole multiple. One in seventeen values of any kind is as near to one by chance."""

_EXACT = 3e-3
"""Mean distance from whole multiples that rounding of values can explain."""

_SHARE = 0.95
"""Share of the multiples that must be whole, and of the cells that must agree in a number."""

_LEAST_MULTIPLES = 20
"""As few multiples that are whole, over all sampled cells, are no chance."""

_MOST_STEPS = 200
"""A step is measured by values of up to so many of it, which rounding hardly blurs."""

_ALL_STEPS = 10_000
"""Values of up to so many steps must be whole multiples of it."""

_FIRST_STEPS = 30
"""The smallest of many counts is no larger."""

_LEAST_DIFFERENT = 5
"""So many of them must differ: equal values of a cell are whole multiples together, or none of them is."""

_SAME = 1e-3
"""Numbers of cells are the same if they differ by less than this part."""


@dataclass(frozen=True)
class Transform:
    """Something that is done to counts, or to counts that were divided or multiplied."""

    name: str
    """What it is called by a user."""
    undone: str
    """How a formula that undoes it for a value x is written."""
    undo: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    is_log: bool = False
    """Whether it is log(1 + x) to some base. The base makes no difference to a model that reads shares."""


LINEAR = Transform("counts", "x", lambda x: x)
LOG1P = Transform("log(1 + x)", "exp(x) - 1", np.expm1, is_log=True)
LOG2 = Transform("log2(1 + x)", "2**x - 1", lambda x: np.expm1(x * np.log(2)), is_log=True)
LOG10 = Transform("log10(1 + x)", "10**x - 1", lambda x: np.expm1(x * np.log(10)), is_log=True)
SQRT = Transform("square roots", "x**2", np.square)
LOG1P_TWICE = Transform("log(1 + log(1 + x))", "exp(exp(x) - 1) - 1", lambda x: np.expm1(np.expm1(x)))
ARCSINH = Transform("inverse hyperbolic sines", "sinh(x)", np.sinh)

# Of several that fit equally well the first counts: whole numbers are whole after many a transform.
TRANSFORMS = (LINEAR, LOG1P, LOG2, LOG10, SQRT, LOG1P_TWICE, ARCSINH)


@dataclass(frozen=True)
class Evidence:
    """What a sample of cells tells about how its values were made."""

    n_cells: int
    """Cells that were looked at."""
    n_agree: int
    """Those of them that show the same."""
    transform: Transform | None
    """What was done to counts, as far as it can be told."""
    unit: tuple[float, float] | None
    """Bounds over cells of what one count has become once the transform is undone; None: values are no multiples."""
    total: float | None
    """What each cell adds up to once the transform is undone, if it is the same in all; else None."""
    median_total: float
    """The median of that over cells, the same or not; 0 without a transform."""
    whole: bool
    """All values are whole numbers."""
    ranks: bool
    """Each cell's values are the ranks of themselves."""
    median_expressed: float
    """Number of genes that a cell expresses (median)."""

    @property
    def one_unit(self) -> float | None:
        """What one count has become, if it is the same in all cells."""
        if self.unit is None or self.unit[1] - self.unit[0] > _SAME * self.unit[1]:
            return None
        return (self.unit[0] + self.unit[1]) / 2

    @property
    def in_cells(self) -> str:
        """Say how many of the cells show it."""
        if self.n_cells == 1:
            return "in the sampled cell"
        return f"in {self.n_agree:,} of {self.n_cells:,} sampled cells"

    @property
    def in_all(self) -> str:
        """Say that all of the cells show it."""
        return self.in_cells if self.n_cells == 1 else f"in all {self.n_cells:,} sampled cells"

    def shown_by(self) -> str:
        """Say what the transform was recognised by."""
        assert self.transform is not None
        what, cells = self.transform.undone, self.in_cells
        if self.total is not None:
            return f"{what} adds up to {number(self.total)} {cells}"
        return f"{what} gives whole multiples of one number {cells}, as counts are multiples of 1"


def number(value: float) -> str:
    """Write a number as people do: 10,000 and 0.001, rounded to six digits."""
    rounded = float(f"{value:.6g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1e4 or rounded == int(rounded) else f"{rounded:g}"


def plain(value: float) -> str:
    """Write a number as Python reads it, rounded to six digits."""
    return number(value).replace(",", "")


class Sample:
    """Some cells of a data set, spread evenly over it, collected chunk by chunk.

    Which cells are taken depends on the size of the data set alone.
    """

    def __init__(self, n_cells: int) -> None:
        n = min(_N_SAMPLED, n_cells)
        self._wanted = np.unique(np.linspace(0, n_cells - 1, n).astype(np.int64)) if n else np.empty(0, np.int64)
        self._cells: list[npt.NDArray[np.float64]] = []

    def take(self, first: int, rows: Any) -> None:
        """Take the wanted cells out of the rows from ``first`` on: a CSR matrix or an array."""
        for row in self._wanted[(self._wanted >= first) & (self._wanted < first + rows.shape[0])] - first:
            if not isinstance(rows, np.ndarray):
                stored = slice(rows.indptr[row], rows.indptr[row + 1])
                _, gene = np.unique(rows.indices[stored], return_inverse=True)  # a gene may be stored twice
                all_values = np.bincount(gene, rows.data[stored]).astype(np.float64)
            else:
                all_values = np.asarray(rows[row], np.float64).ravel()
            values = all_values[all_values > 0]
            if values.size and np.isfinite(values).all():
                self._cells.append(values)

    def evidence(self) -> Evidence | None:
        """Tell how the values were made; None if no cell has any."""
        cells = self._cells
        if not cells:
            return None
        whole = all(np.array_equal(values, np.round(values)) for values in cells)
        step = _step(np.unique(np.concatenate(cells)))
        if whole or step is not None:  # neither are logarithms
            fit: _Fit | None = _counts(cells, step or 1.0)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                fit = _best([fit for fit in (_fit(transform, cells) for transform in TRANSFORMS) if fit is not None])
        return Evidence(
            n_cells=len(cells),
            n_agree=fit.n_agree if fit else 0,
            transform=fit.transform if fit else None,
            unit=fit.unit if fit else None,
            total=fit.total if fit else None,
            median_total=fit.median_total if fit else 0.0,
            whole=whole,
            ranks=all(_are_ranks(values) for values in cells),
            median_expressed=float(np.median([values.size for values in cells])),
        )


@dataclass(frozen=True)
class _Fit:
    """How well the undoing of a transform gives counts or the same totals."""

    transform: Transform
    residual: float | None
    """Mean distance of multiples from whole numbers; None if they are none."""
    unit: tuple[float, float] | None
    spread: float | None
    """Relative spread of the totals; None if they differ."""
    total: float | None
    median_total: float
    n_agree: int
    """Cells that show it, by their totals or by their multiples."""


def _step(values: npt.NDArray[np.float64]) -> float | None:
    """Find the number that all of some rising values are whole multiples of, as counts times a constant are."""
    step = float(values[0])
    while True:  # as Euclid's algorithm does, with room for rounding
        small = values[values <= _MOST_STEPS * step]
        if small.size < 3 or small[0] > _FIRST_STEPS * step:
            return None
        rest = np.abs(small - step * np.round(small / step))
        rest = rest[rest > _NEAR * step]
        if not rest.size:
            break
        step = float(rest.min())
    step = float(small.sum() / np.round(small / step).sum())
    multiples = values[values <= _ALL_STEPS * step] / step
    if np.abs(multiples - np.round(multiples)).max() > _NEAR:
        return None
    # Values of any kind that were rounded, to some decimals or in few bits, are multiples, too.
    rounded = min(abs(np.log10(step) % -1), abs(np.log2(step) % -1)) < 1e-9
    return None if rounded and step < 1 and multiples[0] > 3.5 else step


def _counts(cells: list[npt.NDArray[np.float64]], step: float) -> _Fit:
    """Describe cells that hold whole multiples of one number."""
    median_total = float(np.median([values.sum() for values in cells]))
    return _Fit(LINEAR, 0.0, (step, step), None, None, median_total, len(cells))


def _fit(transform: Transform, cells: list[npt.NDArray[np.float64]]) -> _Fit | None:
    undone = [transform.undo(values) for values in cells]
    totals = np.array([values.sum() for values in undone])
    if not np.isfinite(totals).all():
        return None
    units, distances, n_different = [], [], 0
    for original, values in zip(cells, undone, strict=True):
        unit, multiples = _multiples(values)
        if transform is LINEAR and np.array_equal(original, np.round(original)):
            unit, multiples = 1.0, original  # counts, of which none may be 1
        units.append(unit)
        distances.append(_from_whole(multiples))
        n_different += len(np.unique(multiples.round(2)))
    of_all = np.concatenate(distances)
    near = of_all[of_all < _NEAR]
    enough = len(of_all) >= _LEAST_MULTIPLES and n_different >= _LEAST_DIFFERENT
    whole = enough and len(near) >= _SHARE * len(of_all)
    if transform is LINEAR and whole and near.mean() > _EXACT:
        whole = False  # counts of which a little was taken away, such as ambient RNA
    low, high = np.quantile(units, [0.5 - _SHARE / 2, 0.5 + _SHARE / 2], method="nearest")
    median = float(np.median(totals))
    # A few cells may be of another kind, but of three none.
    apart = np.abs(totals / median - 1)
    spread = float(np.quantile(apart, _SHARE, method="higher")) if len(cells) > 2 else np.inf
    if spread <= _SAME:
        n_agree = int((apart <= _SAME).sum())
    else:
        n_agree = sum(not d.size or (d < _NEAR).mean() >= _SHARE for d in distances)
    return _Fit(
        transform,
        float(near.mean()) if whole else None,
        (float(low), float(high)) if whole else None,
        spread if spread <= _SAME else None,
        median if spread <= _SAME else None,
        median,
        n_agree,
    )


def _multiples(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """Find the number that a cell's values are multiples of, and the multiples.

    The smallest value is one count, or two or three in a cell without a gene of one. What is as small as that is a
    whole multiple by definition, and shows nothing.
    """
    found: tuple[float, npt.NDArray[np.float64]] | None = None
    smallest = float(values.min())
    others = values[values > smallest * (1 + _NEAR)]
    for count in (1, 2, 3):
        unit = smallest / count
        multiples = others / unit
        multiples = multiples[(multiples > 1.5) & (multiples <= _MOST_MULTIPLE)]
        if found is None or _are_whole(multiples) > _are_whole(found[1]):
            found = unit, multiples
        if multiples.size == 0 or _are_whole(multiples):
            break
    assert found is not None
    return found


def _from_whole(multiples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.abs(multiples - np.round(multiples))


def _are_whole(multiples: npt.NDArray[np.float64]) -> bool:
    return bool(multiples.size and (_from_whole(multiples) < _NEAR).mean() >= _SHARE)


def _best(fits: list[_Fit]) -> _Fit | None:
    """Choose the transform that fits best; None if none fits, or if all do."""
    multiples = [fit for fit in fits if fit.residual is not None]
    if multiples:
        least = min(fit.residual for fit in multiples if fit.residual is not None)
        return next(fit for fit in multiples if fit.residual is not None and fit.residual <= least + 1e-4)
    same = [fit for fit in fits if fit.spread is not None]
    # Cells that are alike have the same totals whatever is done to them.
    if len(same) > 1:
        least = min(fit.spread for fit in same if fit.spread is not None)
        same = [fit for fit in same if fit.spread is not None and fit.spread <= max(10 * least, 1e-6)]
    return same[0] if len(same) == 1 else None


def _are_ranks(values: npt.NDArray[np.float64]) -> bool:
    if len(np.unique(values)) <= 10:
        return False
    ranked = pd.Series(values)
    return any(np.array_equal(values, ranked.rank(method=way)) for way in ("average", "min", "max"))
