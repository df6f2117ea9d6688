"""What was seen in a data set: warnings, log lines and provenance."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _gene_report, _judgement, _native, _scales
from se600m._log import log, warn, warnings_as_error

COUNTED = (
    "n_counts",
    "n_log1p",
    "n_whole_log1p",
    "n_fractional_counts",
    "n_large_log1p",
    "n_log1p_like_counts",
    "n_empty",
    "n_negative",
    "n_negative_cells",
)
"""What is counted over all cells."""
_MATCHED = (
    "n_genes",
    "n_matched",
    "n_by_id",
    "n_renamed",
    "n_left_out",
    "n_numbered",
    "n_ids_unknown",
    "n_repeated",
    "n_unnamed",
    "n_vocabulary",
)


class Report:
    """What was seen in a data set."""

    def __init__(self, where: str, n_cells: int, match: dict[str, Any]) -> None:
        self.where, self.n_cells, self.match = where, n_cells, match
        self.fill = ""
        self.n_valid = 0
        self.counted = dict.fromkeys(COUNTED, 0)
        self.share: npt.NDArray[np.float32] = np.empty(n_cells, np.float32)
        """Share of each cell's summed values that genes known to the model carry."""
        self._fractional: list[float] = []
        self.largest = 0.0
        """The largest value."""
        n_genes = match["n_genes"]
        self.totals = np.zeros(n_genes)
        """Sum of each column, the genes that the model does not know included: what a column weighs."""
        self.squares = np.zeros(n_genes)
        """Sum of each column's squares, over cells with fractional values."""
        self.peaks = np.zeros(n_genes, np.float32)
        """Largest value of each column, over cells with fractional values."""
        self.sample = _scales.Sample(n_cells)
        """Cells that were looked at closely."""
        self.sparse = False
        """Whether the matrix is a sparse one."""

    @property
    def columns(self) -> dict[str, Any]:
        """The part of a job's request that has Go add up what is seen in each column."""
        return {
            "totals": _native.array(self.totals),
            "squares": _native.array(self.squares),
            "largest": _native.array(self.peaks),
        }

    def add(self, first: int, chunk: Any, said: dict[str, Any]) -> None:
        """Add what Go reports of a chunk of cells, which begins at row ``first``, and look closely at some of them."""
        self.fill, self.n_valid = said["fill"], said["n_valid"]
        self.largest = max(self.largest, said["largest"])
        for key in COUNTED:
            self.counted[key] += said[key]
        if said["n_fractional_counts"]:
            self._fractional += [said["least_fractional"], said["most_fractional"]]
        self.sparse = chunk.sparse
        self.sample.take(first, chunk.rows)

    @cached_property
    def median_share(self) -> float:
        """Median of the shares, once all cells are reported."""
        return float(np.median(self.share))

    def provenance(self) -> dict[str, Any]:
        """Give what is worth keeping with the embedding: text and numbers."""
        return {
            "fill": self.fill,
            **self.provenance_of_genes(),
            "n_valid": self.n_valid,
            "share_median": self.median_share,
            "share_min": float(self.share.min()),
            **self.counted,
        }

    def provenance_of_genes(self) -> dict[str, Any]:
        """Give the part of it that is about the genes, which is known before a cell is read."""
        features, chosen = self.match["features"], self.match.get("chosen")
        return {
            "gene_column": self.match["column"],
            **{key: self.match[key] for key in _MATCHED},
            "n_close": sum(repair["n"] for repair in self.match["repairs"]),
            "other_features": "" if features is None else features.listed(),
            "n_chosen": self.match["n_matched"] if chosen is None else chosen["n_entered"],
        }

    def tell(self, expression: str, elsewhere: str | None, *, strict: bool = False) -> None:
        """Log what was found, and warn of what is likely to be wrong. All cells must be reported.

        Parameters
        ----------
        expression
            What the caller said that the values are.
        elsewhere
            The option that names a matrix which looks right, if this one does not.
        strict
            Raise an error instead of warning.

        Raises
        ------
        SuspiciousDataError
            With the texts of all warnings, if ``strict``.
        """
        with warnings_as_error(strict):
            self._tell_genes()
            seen = self.seen
            for note in _judgement.notes(seen):
                log.info(note)
            for message in _judgement.warnings(seen, expression, elsewhere):
                warn(message)

    @property
    def suspicious(self) -> bool:
        """Whether the values look wrong, so that another matrix of the data set may be the right one."""
        return _judgement.suspicious(self.seen)

    @cached_property
    def seen(self) -> _judgement.Seen:
        """What was seen of the values, once all cells are reported."""
        return _judgement.Seen(
            self.where,
            self.sparse,
            self.n_cells,
            self.counted,
            (min(self._fractional), max(self._fractional)) if self._fractional else None,
            self.largest,
            self.sample.evidence(),
            self.totals,
            self.squares,
            self.peaks,
            self.match.get("chosen") is not None,
        )

    def _tell_genes(self) -> None:
        log.info(_gene_report.summary(self.match, self.where, self.median_share, float(self.share.min())))
        for caution in _gene_report.cautions(self.match, self.where, self.median_share, self.totals):
            warn(caution)
