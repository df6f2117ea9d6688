"""A picture of an embedding as SVG: its first two principal components over some of the cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from se600m._words import many

MOST_CELLS = 2000
"""Cells that are shown at most."""
_WIDTH, _HEIGHT, _MARGIN = 640, 440, 28
_COLOURS = (
    "#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#a0673f", "#9b59b6", "#b7b500", "#e73f74",
    "#4b8f8c",
)  # fmt: skip
"""After Okabe and Ito, and more; all can be seen on white and on black."""
_REST = "#888888"
_FAVOURITES = (
    "cell_type", "celltype", "cell_types", "celltypes", "cell_ontology_class", "annotation", "label", "labels",
    "bulk_labels", "leiden", "louvain", "cluster", "clusters",
)  # fmt: skip
_MOST_CATEGORIES = 200


@dataclass(frozen=True)
class Picture:
    """Cells as points.

    Attributes
    ----------
    points
        The first two principal components, ``[n, 2]``.
    explained
        The shares of the variance that they carry.
    groups
        The group of each cell, and the name of the column, if the cells have any.
    n_cells
        Number of cells, of which these are some.
    """

    points: npt.NDArray[np.float64]
    explained: tuple[float, float]
    groups: pd.Categorical[Any] | None
    column: str | None
    n_cells: int


def shown(n_cells: int) -> npt.NDArray[np.int64]:
    """Choose the cells that are shown: evenly spaced, so that the choice is always the same."""
    return np.unique(np.linspace(0, n_cells - 1, min(n_cells, MOST_CELLS)).astype(np.int64))


def draw(embedding: Any, column_of: Callable[[npt.NDArray[np.int64]], tuple[str, Any] | None]) -> Picture | None:
    """Compute a picture of an embedding; None if there are too few cells for one.

    Parameters
    ----------
    embedding
        Rows, ``[n_cells, width]``, in memory or mapped from the disk.
    column_of
        Gives the name and values of a column of ``obs`` for some cells, or None.
    """
    from scipy.sparse.linalg import ArpackError, svds

    n_cells, width = embedding.shape
    if n_cells < 4 or width < 4:
        return None
    cells = shown(n_cells)
    rows = np.concatenate([embedding[cell : cell + 1] for cell in cells.tolist()]).astype(np.float64)
    rows = rows - rows.mean(0)
    variance = float((rows**2).sum())
    if variance == 0 or not np.isfinite(variance):
        return None
    start = np.random.default_rng(0).standard_normal(min(rows.shape))
    try:
        left, values, right = svds(rows, k=2, v0=start)
    except ArpackError:  # no picture is no reason to fail
        return None
    order = np.argsort(-values)
    signs = np.sign([axis[np.argmax(np.abs(axis))] for axis in right[order]])
    points = np.asarray(left[:, order] * values[order] * signs, np.float64)
    first, second = (float(v) for v in values[order] ** 2 / variance)
    found = column_of(cells)
    name, groups = (None, None) if found is None else (found[0], pd.Categorical(found[1]))
    return Picture(points, (first, second), groups, name, n_cells)


def best_column(categories: dict[str, int]) -> str | None:
    """Choose the column of ``obs`` that colours cells, by how many categories each has: cell types if there are any."""
    fitting = {name: n for name, n in categories.items() if 2 <= n <= _MOST_CATEGORIES}
    names = {name.lower().replace(" ", "_").replace(".", "_"): name for name in reversed(fitting)}
    for favourite in _FAVOURITES:
        if favourite in names:
            return names[favourite]
    for part in ("cell_type", "celltype"):
        for plain, name in names.items():
            if part in plain:
                return name
    return next((name for name, n in fitting.items() if n <= len(_COLOURS)), None)


def svg(picture: Picture) -> tuple[str, list[tuple[str, str, int]]]:
    """Draw a picture as SVG; gives its text, and the legend: colour, name, number of cells."""
    n = len(picture.points)
    legend, of_cell = _legend(picture)
    low, high = picture.points.min(0), picture.points.max(0)
    scale = (np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN) / np.where(high > low, high - low, 1)
    x, y = (_MARGIN + (picture.points - low) * scale).T
    y = _HEIGHT - y
    groups = []
    # The largest group first, so that small ones are not hidden.
    for code in sorted(range(len(legend)), key=lambda c: -legend[c][2]):
        colour, name, _ = legend[code]
        inside = "".join(f'<circle cx="{x[i]:.1f}" cy="{y[i]:.1f}" r="2.6"/>' for i in np.flatnonzero(of_cell == code))
        groups.append(f'<g fill="{colour}"><title>{escape(name)}</title>{inside}</g>')
    first, second = (f"PC{i + 1} ({100 * share:.0f} % of the variance)" for i, share in enumerate(picture.explained))
    by, cells = "" if picture.column is None else f", coloured by {picture.column}", many(n, "cell")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="picture-title picture-text">'
        f'<title id="picture-title">Principal components of the embedding</title>'
        f'<desc id="picture-text">{cells} by the first two principal components of the embedding{escape(by)}.'
        "</desc>"
        f'<rect class="frame" x="1" y="1" width="{_WIDTH - 2}" height="{_HEIGHT - 2}" rx="4"/>'
        f'<g fill-opacity="0.75">{"".join(groups)}</g>'
        f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{first}</text>'
        f'<text transform="translate(16 {_HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{second}</text></svg>',
        legend,
    )


def _legend(picture: Picture) -> tuple[list[tuple[str, str, int]], npt.NDArray[np.int64]]:
    """Give each group a colour, the most frequent ones of their own; gives the entry of each cell, too."""
    n = len(picture.points)
    if picture.groups is None:
        return [(_COLOURS[0], "cells", n)], np.zeros(n, np.int64)
    codes = np.asarray(picture.groups.codes, np.int64)
    counts = np.bincount(codes[codes >= 0], minlength=len(picture.groups.categories))
    often = [int(c) for c in np.argsort(-counts, kind="stable")[: len(_COLOURS)] if counts[c]]
    entries = [(_COLOURS[i], str(picture.groups.categories[c]), int(counts[c])) for i, c in enumerate(often)]
    place = np.full(len(picture.groups.categories) + 1, len(often), np.int64)  # the last is that of cells without one
    place[often] = np.arange(len(often))
    of_cell = place[codes]
    rest = int((of_cell == len(often)).sum())
    if rest:
        others = int(np.count_nonzero(counts)) - len(often)
        entries.append((_REST, f"{others} other groups" if others > 0 else "no group", rest))
    return entries, of_cell
