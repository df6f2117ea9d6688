"""A quick pass over all cells before anything is computed: what is wrong is known in the first seconds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _anndata, _chunks, _native, errors
from se600m._report import Report
from se600m._words import many, verb

_MOST_PATTERNS = 64
"""More sets of genes that cells lack are no trace of an outer join; as many are kept (embed.NotFinite)."""


def survey(
    source: _anndata.Expression,
    report: Report,
    request: dict[str, Any],
    progress: _native.Progress | None = None,
    timings: _chunks.Timings | None = None,
) -> None:
    """Look over all cells and complete a report of them, as embedding would, but without running the model.

    Data on disk that does not lie ready in memory is read once for this, and once more for what follows.

    Parameters
    ----------
    source
        The cells.
    report
        What is to be completed. Afterwards :meth:`Report.tell` may be called.
    request
        Describes model, tokens and choices for Go.
    progress
        Is told how many cells are done.
    timings
        Adds up where time goes.

    Raises
    ------
    NotFiniteError
        Values are NaN or infinite. The message says how many, where the first one is, and what to do.
    """
    missing = _NotFinite(np.zeros(source.n_genes, np.int64))
    columns = {**report.columns, "not_finite": _native.array(missing.of_genes)}
    with closing(_chunks.read_ahead(source.chunks(), timings)) as chunks:
        for first, chunk in chunks:
            cells = {"matrix": chunk.request, "first_row": source.offset + first}
            share = _native.array(report.share[first : first + chunk.n_cells])
            seen = _native.run("survey", request | columns | cells | {"share": share}, progress)
            report.add(first, chunk, seen["report"])
            if seen["not_finite"] is not None:
                missing.add(source.offset + first, seen["not_finite"])
                missing.nan = chunk.nan
    if missing.n_cells:
        raise errors.NotFiniteError(missing.message(source))


@dataclass
class _NotFinite:
    """Values that are NaN or infinite, or too large."""

    of_genes: npt.NDArray[np.int64]
    """Their number in each column."""
    n_nan: int = 0
    n_infinite: int = 0
    n_too_large: int = 0
    n_cells: int = 0
    n_whole_cells: int = 0
    patterns: set[str] = field(default_factory=set)
    nan: str = "NaN"
    """What a user calls a NaN here: NaN, masked or NA."""
    first: tuple[int, int, str] | None = None
    """Cell, gene and value of the first one."""

    def add(self, first_row: int, seen: dict[str, Any]) -> None:
        """Add those of a chunk; chunks come in order."""
        self.n_nan += seen["n_nan"]
        self.n_infinite += seen["n_infinite"]
        self.n_too_large += seen["n_too_large"]
        self.n_cells += seen["n_cells"]
        self.n_whole_cells += seen["n_whole_cells"]
        self.patterns = set(sorted(self.patterns | set(seen["patterns"]))[: _MOST_PATTERNS + 1])
        if self.first is None:
            self.first = (first_row + seen["cell"], seen["gene"], seen["value"])

    def message(self, source: _anndata.Expression) -> str:
        """Say where the first value is, how many there are, and the way out."""
        assert self.first is not None
        cell, gene, value = self.first
        where, name = source.where, source.columns[0].names[gene]
        value = {
            "NaN": self.nan,
            "+Inf": "infinite",
            "-Inf": "-infinite, like the logarithm of 0: use np.log1p for logarithms of counts",
        }.get(value, f"{value}, which is too large for a 32-bit float and larger than any count")
        of_cell = "" if source.obs_names is None else f"cell {source.obs_names[cell]!r}, "
        place = f"{where}[{cell}, {source.column_of(gene)}] ({of_cell}gene {name!r}) is {value}"
        n = self.n_nan + self.n_infinite + self.n_too_large
        if n == 1 and self.nan == "NaN":
            way = "replace it, or drop the cell or the gene, before embedding"
            return f"{place}. {way.capitalize()}" if ":" in value else f"{place}: {way}"
        kinds = [
            f"{count:,} {kind}"
            for count, kind in ((self.n_nan, self.nan), (self.n_infinite, "infinite"), (self.n_too_large, "too large"))
            if count
        ]
        n_genes = int((self.of_genes > 0).sum())
        total = (
            f"{place}. In total, {' and '.join(kinds)} {'value' if n == 1 else 'values'} {verb(n, 'are')} in "
            f"{n_genes:,} of {many(source.n_genes, 'gene')} and {self.n_cells:,} of {many(source.n_cells, 'cell')}"
        )
        return f"{total}: {self._way(source)}"

    def _way(self, source: _anndata.Expression) -> str:
        if self.nan != "NaN":
            return f"fill them, for example with {'.filled(0)' if self.nan == 'masked' else '.fillna(0)'}"
        only_nan = not self.n_infinite and not self.n_too_large
        if not only_nan:
            return "replace them, or drop the cells or the genes, before embedding"
        whole_genes = int((self.of_genes == source.n_cells).sum())
        if self.n_whole_cells == self.n_cells:
            these, them = ("this cell has", "it") if self.n_cells == 1 else ("these cells have", "them")
            return (
                f"{these} no other value, as after dividing an empty cell by its sum. Drop {them}, for example "
                "with sc.pp.filter_cells(adata, min_counts=1), before normalising"
            )
        if whole_genes == int((self.of_genes > 0).sum()):
            these, them = ("this gene has", "it") if whole_genes == 1 else ("these genes have", "them")
            return (
                f"{these} no other value in any cell, as after dividing by a standard deviation of 0. Drop "
                f"{them}, or embed counts or log1p values"
            )
        if self._like_an_outer_join():
            return (
                "the same genes are missing in whole groups of cells, as after an outer join of data sets with "
                'different genes. Join them with anndata.concat(..., join="outer", fill_value=0), or keep only '
                'the genes that all have, with join="inner"'
            )
        return "replace them, or drop the cells or the genes, before embedding"

    def _like_an_outer_join(self) -> bool:
        """Whether groups of cells lack the same genes; by chance hardly two cells would."""
        return len(self.patterns) <= _MOST_PATTERNS and self.n_cells >= 2 * len(self.patterns)
