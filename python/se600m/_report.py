"""What was seen in a data set on the way: warnings, log lines and provenance."""

from __future__ import annotations

import logging
import sys
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import errors

log = logging.getLogger("se600m")
log.addHandler(logging.NullHandler())

_PACKAGE = str(Path(__file__).parent)

_COUNTED = (
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
_MATCHED = ("n_genes", "n_matched", "n_by_id", "n_repeated", "n_unnamed", "n_close", "n_vocabulary")


def warn(message: str, category: type[Warning] = errors.DataWarning) -> None:
    """Warn at the line of the user's that called into the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class Report:
    """What was seen in a data set."""

    def __init__(self, where: str, n_cells: int, match: dict[str, Any]) -> None:
        self.where, self.n_cells, self.match = where, n_cells, match
        self.fill = ""
        self.n_valid = 0
        self.counted = dict.fromkeys(_COUNTED, 0)
        self.share: npt.NDArray[np.float32] = np.empty(n_cells, np.float32)
        """Share of each cell's summed values that genes known to the model carry."""
        self._fractional: list[float] = []

    def add(self, chunk: dict[str, Any]) -> None:
        """Add what Go reports of some cells."""
        self.fill, self.n_valid = chunk["fill"], chunk["n_valid"]
        for key in _COUNTED:
            self.counted[key] += chunk[key]
        if chunk["n_fractional_counts"]:
            self._fractional += [chunk["least_fractional"], chunk["most_fractional"]]

    @cached_property
    def median_share(self) -> float:
        """Median of the shares, once all cells are reported."""
        return float(np.median(self.share))

    def provenance(self) -> dict[str, Any]:
        """Give what is worth keeping with the embedding: text and numbers."""
        return {
            "fill": self.fill,
            "gene_column": self.match["column"],
            **{key: self.match[key] for key in _MATCHED},
            "n_valid": self.n_valid,
            "share_median": self.median_share,
            "share_min": float(self.share.min()),
            **self.counted,
        }

    def tell(self, expression: str, elsewhere: str | None) -> None:
        """Log what was found, and warn of what is likely to be wrong.

        Parameters
        ----------
        expression
            What the caller said that the values are.
        elsewhere
            The option that names a matrix which looks right, if this one does not.
        """
        self._tell_genes()
        c, n = self.counted, f"{self.n_cells:,} cells of {self.where}"
        if c["n_negative"]:
            way = f"{elsewhere} looks right" if elsewhere else "name a layer with them, or use_raw=True"
            warn(
                f"{c['n_negative']:,} negative values in {c['n_negative_cells']:,} of {n} were taken as zero, as the "
                f"reference does: scaled or corrected values are not expression. Embed counts or log1p values: {way}"
            )
            return  # what else is odd about such values follows from that
        if expression == "auto":
            self._tell_judgement(n)
        if expression == "log1p" and c["n_large_log1p"]:
            warn(
                f"expression='log1p', but {c['n_large_log1p']:,} of {n} hold values that no logarithm of counts "
                "reaches: expression='counts' if these are counts"
            )
        if expression == "counts" and c["n_log1p_like_counts"]:
            warn(
                f"expression='counts', but {c['n_log1p_like_counts']:,} of {n} hold small fractional values, as "
                "logarithms do: expression='log1p' if that is what they are"
            )
        if c["n_fractional_counts"]:
            self._tell_fractional(n, elsewhere)
        if c["n_empty"]:
            warn(
                f"{c['n_empty']:,} of {n} express no gene that the model knows: "
                "their embeddings carry no information, drop these cells"
            )

    def _tell_genes(self) -> None:
        m = self.match
        log.info(
            "%s of %s genes of %s are known to the model, by %s (%s by Ensembl id); they carry %.1f %% of a cell's "
            "values (median), %.1f %% at least",
            f"{m['n_matched']:,}",
            f"{m['n_genes']:,}",
            self.where,
            m["column"],
            f"{m['n_by_id']:,}",
            100 * self.median_share,
            100 * self.share.min(),
        )
        if m["n_close"] > max(1, m["n_matched"] // 20):
            examples = ", ".join(f"{s['given']!r} ({s['known']!r})" for s in m["close"])
            warn(
                f"{m['n_close']:,} names in {m['column']} are the model's genes but for case, punctuation or a "
                f"renaming, and were not taken: {examples}. Rename them if they are meant"
            )
        if m["n_repeated"] > max(1, m["n_matched"] // 100):
            warn(
                f"{m['n_repeated']:,} names in {m['column']} stand for a gene that an earlier one stands for, such as "
                f"{', '.join(map(repr, m['repeated']))}: each stays a token of its own, as in the reference"
            )
        if self.median_share < 0.5:
            warn(
                f"{m['n_matched']:,} of {m['n_genes']:,} genes of {self.where} are known to the model, and carry "
                f"{100 * self.median_share:.0f} % of a cell's values (median): these embeddings rest on little"
            )

    def _tell_judgement(self, n: str) -> None:
        c = self.counted
        if c["n_whole_log1p"]:
            warn(
                f"{c['n_whole_log1p']:,} of {n} hold small whole numbers only, as shallow counts do, and were taken "
                "for log1p values, as the reference takes them: expression='counts' if they are counts"
            )
        if c["n_counts"] and c["n_log1p"] > c["n_whole_log1p"]:
            warn(
                f"{c['n_counts']:,} of {n} were taken for raw counts and {c['n_log1p']:,} for log1p values, each "
                "judged on its own as the reference does: expression='counts' or 'log1p' decides for all"
            )

    def _tell_fractional(self, n: str, elsewhere: str | None) -> None:
        least, most = min(self._fractional), max(self._fractional)
        many = self.counted["n_fractional_counts"]
        if many > 1 and most - least <= 1e-3 * most:
            way = f"; {elsewhere} may have them" if elsewhere else ""
            warn(
                f"{many:,} of {n} hold fractional values that add up to {most:,.0f} in every cell: they are "
                f"normalised, but not logarithms, and were taken for counts. Embed counts or log1p values{way}"
            )
        else:
            warn(
                f"{many:,} of {n} hold fractional values too large for logarithms, and were taken for counts: "
                "right if they are counts corrected for ambient RNA, wrong if they are anything else"
            )
