"""The search for nearest cells among rows that come in blocks, the vote on labels, and how embeddings compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _chunks, _library, _native, _progress, errors
from se600m._log import warn
from se600m._options import checked_threads, flag_or_none, whole
from se600m._representations import Representation

Numbered = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""Rows to search, ``[n, width]``, and their numbers. Rows with a negative number are left out."""


@dataclass(frozen=True)
class NearestCells:
    """The nearest cells of every cell, nearest first.

    Attributes
    ----------
    indices
        Rows of the reference, int64 ``[n_cells, k]``.
    distances
        Their cosine distances, from 0 to 2, float64 ``[n_cells, k]``.
    """

    indices: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def search(
    queries: Representation,
    reference: Callable[[], Iterator[tuple[int, Numbered]]],
    n_reference: int,
    progress: bool | None,
    title: str,
    *,
    k: int,
    leave_out_self: bool = False,
    threads: int | None = None,
) -> Iterator[tuple[slice, NearestCells]]:
    """Yield the nearest cells of some cells after others. Ties go by the lower number.

    Parameters
    ----------
    reference
        Begins to read the cells to search, and gives (how many came before, rows). It is called for every block of
        queries.
    n_reference
        How many cells it reads.
    leave_out_self
        A cell is not its own neighbour, which is the row with its number.

    Raises
    ------
    NotFiniteError
        A value is NaN or infinite. It has the number of the cell, and whether that is one of the reference.
    """
    progress = flag_or_none("progress", progress)
    options = {"k": k, "leave_out_self": leave_out_self, "threads": checked_threads(threads) or 0}
    _library.open_for_products()
    with _progress.bar(progress, title, queries.n_cells) as update:
        for first, some in queries.blocks():
            rows = slice(first, first + len(some))
            own = np.arange(rows.start, rows.stop, dtype=np.int64)
            found = _blank(len(some), k)
            with closing(_chunks.read_ahead(reference())) as blocks:
                for before, (numbers, block) in blocks:
                    told = _of_whole(update, first, before, len(block), n_reference)
                    _add(found, (own, some), (numbers, block), options, told)
            yield rows, found


def among(query: npt.NDArray[np.float32], number: int, candidates: Numbered, k: int) -> NearestCells:
    """Find the nearest cells of one cell, ``[1, width]``, among some candidates, of which there are k at least."""
    _library.open_for_products()
    found = _blank(1, k)
    options = {"k": k, "leave_out_self": False, "threads": 1}
    _add(found, (np.array([number], np.int64), query), candidates, options)
    return found


def _blank(n: int, k: int) -> NearestCells:
    return NearestCells(np.full((n, k), -1, np.int64), np.full((n, k), np.inf))


def _add(
    found: NearestCells,
    queries: Numbered,
    reference: Numbered,
    options: dict[str, Any],
    told: _native.Progress | None = None,
) -> None:
    """Go on with a search, in a block of the reference."""
    request = options | {
        "queries": _rows(*queries),
        "reference": _rows(*reference),
        "indices": _native.array(found.indices),
        "distances": _native.array(found.distances),
    }
    _native.run("nearest", request, told)


def _rows(numbers: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Describe rows of a set to Go. The caller keeps both arrays."""
    return {"values": _native.array(values), "width": values.shape[1], "numbers": _native.array(numbers)}


def _of_whole(update: _native.Progress, before: int, first: int, n_rows: int, n_reference: int) -> _native.Progress:
    """Make of the progress of a job, which compares cells with some rows of the reference, that of the whole search."""

    def told(done: int, total: int) -> None:
        if total:
            update(before + (first * total + n_rows * done) // n_reference, before + total)

    return told


def not_finite(what: str) -> errors.NotFiniteError:
    """Say that the embedding of a cell has a value that is not finite."""
    return errors.NotFiniteError(
        f"{what} has a NaN or a value that is infinite as float32: drop the cell, or embed it again"
    )


def check_weights(weights: Any) -> None:
    """Check how votes are weighted."""
    if weights not in ("uniform", "similarity"):
        raise errors.OptionError(f"weights={weights!r} is not one of 'uniform', 'similarity'")


def checked_search(k: Any, threads: Any, weights: Any = "uniform") -> tuple[int, int | None]:
    """Check the options of a search before files are read; gives ``k`` and ``threads``."""
    check_weights(weights)
    return whole("k", k, 1), checked_threads(threads)


def vote(
    found: NearestCells,
    codes: npt.NDArray[np.int32],
    n_labels: int,
    weights: str,
    winners: npt.NDArray[np.int32],
    confidence: npt.NDArray[np.float32],
) -> None:
    """Have nearest cells vote on labels (see :func:`se600m.transfer_labels`).

    Parameters
    ----------
    codes
        The label of each number; -1 for none.
    winners, confidence
        What is written: the label of each cell, and the share of the votes for it.
    """
    request = {
        "indices": _native.array(found.indices),
        "distances": _native.array(found.distances),
        "labels": _native.array(codes),
        "n_labels": n_labels,
        "weights": weights,
        "winners": _native.array(winners),
        "confidence": _native.array(confidence),
    }
    _native.run("vote", request)


# -- what embeddings were made with ----------------------------------------------------------------

Noted = Mapping[str, Any]
"""What embed noted about an embedding."""


def made_with(adata: AnnData, use_rep: str) -> dict[str, Any]:
    """Read what embed noted about an embedding; empty for others."""
    noted = adata.uns.get(use_rep)
    return dict(noted) if isinstance(noted, Mapping) else {}


def model_of(noted: Noted) -> str:
    """Name the model in brackets, if it is known."""
    return f" (model {str(noted['model'])!r})" if "model" in noted else ""


def differ(a: Noted, b: Noted, key: str) -> bool:
    """Whether something is noted about both, and differs."""
    return key in a and key in b and str(a[key]) != str(b[key])


def different_options(
    a: Noted, b: Noted, names: tuple[str, ...] = ("precision", "fill", "seed", "genes")
) -> list[tuple[str, str]]:
    """List options that differ, with both values: ``("fill", "shared and expected")``. Seeds count where one draws."""
    drawn = {"shared", "independent"} & {str(a.get("fill")), str(b.get("fill"))}
    return [(key, f"{a[key]!s} and {b[key]!s}") for key in names if differ(a, b, key) and (key != "seed" or drawn)]


def warn_of_differences(first: tuple[str, Noted], second: tuple[str, Noted]) -> None:
    """Warn of embeddings whose distances mean nothing, or less, by what embed noted about the two."""
    (one, a), (other, b) = first, second
    if differ(a, b, "model_checksum"):
        warn(
            f"{one}{model_of(a)} and {other}{model_of(b)} were embedded with different models (checksums "
            f"{str(a['model_checksum'])[:12]} and {str(b['model_checksum'])[:12]}), so that distances "
            "between them are meaningless: embed both with the same model"
        )
        return
    if options := different_options(a, b):
        listed = ", ".join(f"{name}={values}" for name, values in options)
        warn(
            f"{one} and {other} were embedded with different options ({listed}), which increases "
            "the distances between them: embed both with the same options"
        )
