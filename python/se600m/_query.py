"""Vector search: the nearest cells in a table of LanceDB, and their vote on labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from se600m import (
    _destination,
    _embedded,
    _lance,
    _nearest,
    _obs_columns,
    _options,
    _progress,
    _table_notes,
    errors,
)
from se600m._representations import Representation
from se600m._words import many, verb

_COLUMNS = ("query", "rank", _lance.NAME, _lance.DATASET, "distance")
"""The columns that a table of nearest cells always has."""

_REFINE = 10
"""How many times as many cells as are wanted the approximate index selects by default."""
_MOST = 1 << 20
"""More than any search has use for."""


@dataclass(frozen=True)
class FoundCells:
    """The nearest cells of a table for every cell, nearest first.

    Attributes
    ----------
    obs_names
        Names of the cells that were searched for, ``[n_cells]``.
    names, datasets
        Names and data sets of the nearest cells, text ``[n_cells, k]``.
    distances
        Their cosine distances, from 0 to 2, float64 ``[n_cells, k]``.
    labels
        The label with most votes for each cell, categorical ``[n_cells]``; None without ``label``.
    confidence
        Share of the votes for it, from 0 to 1, float32 ``[n_cells]``; None without ``label``.
    label
        Name of the column with the labels.
    """

    obs_names: npt.NDArray[np.object_]
    names: npt.NDArray[np.object_]
    datasets: npt.NDArray[np.object_]
    distances: npt.NDArray[np.float64]
    labels: pd.Categorical[Any] | None
    confidence: npt.NDArray[np.float32] | None
    label: str | None
    _found: Any
    """What was read of every nearest cell, row by row: a table of Arrow."""

    def to_arrow(self) -> Any:
        """Give a table of pyarrow with one row per nearest cell.

        Its columns are ``query`` (name of the cell that was searched for), ``rank`` (from 1), ``obs_names``,
        ``dataset``, ``distance`` (float64), and the columns that :func:`query` was asked for, of which one that is
        named like one of these gets ``obs_`` before its name.
        """
        import pyarrow as pa

        n, k = self.distances.shape
        own = (
            pa.array(np.repeat(self.obs_names, k), pa.string()),
            pa.array(np.tile(np.arange(1, k + 1, dtype=np.int32), n)),
            self._found.column(_lance.NAME),
            self._found.column(_lance.DATASET),
            pa.array(self.distances.ravel()),
        )
        named = _obs_columns.beside(_COLUMNS, [name for name in self._found.column_names if name not in _lance.KEY])
        chosen = {named[name]: self._found.column(name) for name in named}
        return pa.table(dict(zip(_COLUMNS, own, strict=True)) | chosen)

    def labels_to_arrow(self) -> Any:
        """Give a table of pyarrow with one row per cell: ``query``, the label, and its ``…_confidence``.

        Raises
        ------
        OptionError
            There was no vote.
        """
        import pyarrow as pa

        if self.labels is None:
            raise errors.OptionError("there was no vote on labels: give query(..., label=...)")
        named = _obs_columns.beside(("query",), _destination.labels_of(str(self.label))).values()
        labels = zip(named, (pa.array(self.labels), pa.array(self.confidence)), strict=True)
        return pa.table({"query": pa.array(self.obs_names, pa.string()), **dict(labels)})


def query(
    cells: AnnData | str | os.PathLike[str] | Any,
    uri: str | os.PathLike[str],
    *,
    k: int = 15,
    use_rep: str = _options.KEY,
    label: str | None = None,
    weights: str = "uniform",
    columns: Sequence[str] = (),
    where: str | None = None,
    approximate: bool = False,
    nprobes: int | None = None,
    refine: int | None = None,
    modality: str | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> FoundCells:
    """Find the nearest cells of every cell in a table that :func:`index` wrote, and have them vote on a label.

    Distances are cosine distances in float64, the same to the last bit as those of :func:`nearest`. Cells at the same
    distance go by their data set, then by their name. If the cells themselves are in the table, they are found as well.

    Parameters
    ----------
    cells
        Cells with an embedding by the table's model: see :func:`index`.
    uri
        Path or address of the table.
    k
        Number of nearest cells to find.
    use_rep
        Key of the embedding in ``obsm``.
    label
        Column of the table with labels. The nearest cells vote, as in :func:`transfer_labels`; cells of the table that
        have no label are not searched.
    weights
        ``"uniform"`` or ``"similarity"``: see :func:`transfer_labels`.
    columns
        Columns of the table to give for every nearest cell.
    where
        Search only the cells for which this condition in SQL is true, such as ``"tissue = 'lung'"``.
    approximate
        Use the approximate index of the table (``index(..., ann=True)``): it selects ``k × refine`` cells for each
        cell, which are compared exactly, so that some of the nearest may be missed. By default, each cell is compared
        with all cells of the table, whose vectors are read some at a time, once per 128 MB of ``cells``.
    nprobes
        How many partitions of the approximate index are searched; more are slower and miss less. By default, LanceDB
        chooses.
    refine
        How many times ``k`` cells the approximate index selects; 10 by default.
    modality
        Modality of a MuData file; by default the one named rna or gex.
    threads
        Number of threads; all cores by default. It affects the speed, not the result.
    progress
        Show a progress bar; by default in notebooks and terminals.

    Returns
    -------
    FoundCells
        Names, data sets and distances of the nearest cells, and labels; ``.to_arrow()`` gives a table.

    Raises
    ------
    DataError
        There is no such table, or its vectors are of another model, precision or width.
    OptionError
        ``k`` is too large, a column is not there, or ``approximate=True`` and there is no approximate index.

    Warns
    -----
    DataWarning
        The table was embedded with another fill policy, seed or choice of genes.

    Examples
    --------
    >>> se600m.embed(reference)
    >>> added = se600m.index(reference, "atlas.lance", dataset="atlas")
    >>> se600m.embed(adata)
    >>> found = se600m.query(adata, "atlas.lance", k=5, label="cell_type")
    >>> found.names.shape, len(found.labels)
    ((100, 5), 100)
    >>> found.to_arrow().column_names
    ['query', 'rank', 'obs_names', 'dataset', 'distance']
    """
    k, threads, nprobes, refine = checked(
        k=k, threads=threads, label=label, weights=weights, approximate=approximate, nprobes=nprobes, refine=refine
    )
    place = _lance.place_of(uri)
    table = _lance.opened(place)
    if table is None:
        raise errors.DataError(f"there is no table {place.given!r}: make it with se600m.index(cells, {place.given!r})")
    table.pin()
    _check_k(k, table.n_rows)
    wanted = list(dict.fromkeys(_column(table, name) for name in ([columns] if isinstance(columns, str) else columns)))
    _obs_columns.beside(_COLUMNS, wanted)
    voted = None if label is None else _label(table, label)
    if approximate and not table.has_index:
        raise errors.OptionError(
            f"approximate=True, but {place.given!r} has no approximate index: leave it out, or build one with "
            "se600m.index(..., ann=True)"
        )
    read = list(dict.fromkeys([*_lance.KEY, *wanted, *([] if voted is None else [voted])]))
    labelled = None if voted is None else f"`{voted}` IS NOT NULL"
    conditions = [part for part in (where, labelled) if part is not None]
    condition = (
        " AND ".join(f"({part})" for part in conditions) if len(conditions) > 1 else next(iter(conditions), None)
    )
    with _embedded.opened(cells, use_rep, modality) as adata:
        rows = Representation(adata, "adata", use_rep)
        noted = _nearest.made_with(adata, use_rep)
        _table_notes.check_same(table, rows.width, noted, to_search=True)
        _nearest.warn_of_differences(("adata", noted), ("the table", table.notes))
        search = (
            _Approximate(table, read, condition, nprobes, refine) if approximate else _Exact(table, read, condition)
        )
        try:
            found, indices, distances = search.run(rows, k, threads, progress)
        except errors.NotFiniteError as error:
            cell = error.cell  # type: ignore[attr-defined]
            raise _nearest.not_finite(f"the embedding of cell {cell} ({adata.obs_names[cell]!r})") from None
        names = np.asarray(adata.obs_names.astype(str), object)
    labels, confidence = (None, None) if voted is None else _vote(found, indices, distances, voted, weights)
    taken = found.take(indices.ravel())
    keys = [np.asarray(taken.column(name).to_pylist(), object).reshape(indices.shape) for name in _lance.KEY]
    kept = taken.select([*reversed(_lance.KEY), *wanted])
    return FoundCells(names, keys[1], keys[0], distances, labels, confidence, label, kept)


def checked(
    *,
    k: Any,
    threads: Any,
    label: str | None,
    weights: Any,
    approximate: Any,
    nprobes: Any,
    refine: Any,
    **_others: Any,
) -> tuple[int, int | None, int | None, int]:
    """Check what can be checked of the options of :func:`query` before files are read.

    Returns
    -------
    tuple
        ``k``, ``threads``, ``nprobes`` and ``refine``.
    """
    k, threads = _nearest.checked_search(k, threads, weights)
    if weights != "uniform" and label is None:
        raise errors.OptionError(f"weights={weights!r} is for a vote on labels: give label=..., or leave it out")
    _options.flag("approximate", approximate)
    for name, value in {"nprobes": nprobes, "refine": refine}.items():
        if value is not None and not approximate:
            raise errors.OptionError(f"{name}={value!r} is for approximate=True: add that, or leave it out")
    nprobes = None if nprobes is None else _options.whole("nprobes", nprobes, 1, _MOST)
    return k, threads, nprobes, _REFINE if refine is None else _options.whole("refine", refine, 1, _MOST)


def _check_k(k: int, n: int) -> None:
    if k > n:
        raise errors.OptionError(f"k={k} is too large: there {verb(n, 'are')} {many(n, 'cell')} to search in the table")


def _column(table: _lance.Table, name: Any) -> str:
    """Find a column of obs in a table, under its own name or the one that the table gave it."""
    for known in (str(name), _obs_columns.safe(name)):
        if known in table.columns:
            return known
    suggestion = _options.did_you_mean(str(name), tuple(table.columns))
    raise errors.OptionError(f"{table.place.given!r} has no column {name!r}, only {table.columns}{suggestion}")


def _label(table: _lance.Table, label: str) -> str:
    column = _column(table, label)
    kind = table.schema.field(column).type
    if str(kind) in ("float", "double", "halffloat"):
        raise errors.DataError(
            f"the table's column {column!r} has numbers ({kind}), not labels: store them as categories or as text"
        )
    return column


class _Exact:
    """A search in all cells of a table, which is read in blocks."""

    def __init__(self, table: _lance.Table, columns: list[str], where: str | None) -> None:
        self._table, self._columns, self._where = table, columns, where

    def run(
        self, queries: Representation, k: int, threads: int | None, progress: bool | None
    ) -> tuple[Any, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Give what was read of the cells, and the rows and distances of the nearest ones."""
        cells = self._table.read(self._columns, self._where).sort_by([(name, "ascending") for name in _lance.KEY])
        n = cells.num_rows
        _check_k(k, n)
        # Numbers are places in the order of the keys, so that ties don't depend on how the table came about.
        ids = cells.column(_lance.ROW).to_numpy()
        order = np.argsort(ids)
        ids = ids[order]

        def blocks() -> Iterator[tuple[int, _nearest.Numbered]]:
            before = 0
            for some, vectors in self._table.vectors(self._where):
                yield before, (order[np.searchsorted(ids, some)].astype(np.int64), vectors)
                before += len(some)

        indices, distances = np.empty((queries.n_cells, k), np.int64), np.empty((queries.n_cells, k))
        title = "Finding nearest cells"
        for rows, nearest in _nearest.search(queries, blocks, n, progress, title, k=k, threads=threads):
            indices[rows], distances[rows] = nearest.indices, nearest.distances
        return cells, indices, distances


class _Approximate:
    """A search among cells that the approximate index of a table selects for each cell."""

    def __init__(
        self, table: _lance.Table, columns: list[str], where: str | None, nprobes: int | None, refine: int
    ) -> None:
        self._table, self._columns, self._where = table, columns, where
        self._nprobes, self._refine = nprobes, refine

    def run(
        self, queries: Representation, k: int, threads: int | None, progress: bool | None
    ) -> tuple[Any, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Give what was read of the nearest cells, and their rows in it and distances."""
        import pyarrow as pa

        kept, distances = [], np.empty((queries.n_cells, k))
        with _progress.bar(progress, "Finding nearest cells", queries.n_cells) as update:
            for first, block in queries.blocks():
                for i, row in enumerate(block):
                    some = self._candidates(row, k).sort_by([(name, "ascending") for name in _lance.KEY])
                    numbers = np.arange(some.num_rows, dtype=np.int64)
                    vectors = _lance.matrix(some.column(_lance.VECTOR), queries.width)
                    nearest = _nearest.among(block[i : i + 1], first + i, (numbers, vectors), k)
                    distances[first + i] = nearest.distances[0]
                    kept.append(some.select(self._columns).take(nearest.indices[0]))
                    update(first + i + 1, queries.n_cells)
        return pa.concat_tables(kept), np.arange(queries.n_cells * k).reshape(-1, k), distances

    def _candidates(self, row: npt.NDArray[np.float32], k: int) -> Any:
        found = self._table.candidates(row, k * self._refine, self._columns, self._where, self._nprobes)
        if found.num_rows < k:
            raise errors.OptionError(
                f"the approximate index found {found.num_rows} of k={k} cells: search more of it with a larger "
                "nprobes, or leave approximate=True out"
            )
        return found


def _vote(
    found: Any, indices: npt.NDArray[np.int64], distances: npt.NDArray[np.float64], label: str, weights: str
) -> tuple[pd.Categorical[Any], npt.NDArray[np.float32]]:
    labels = pd.Categorical(found.column(label).to_pandas())
    codes = np.ascontiguousarray(labels.codes, np.int32)
    winners, confidence = np.empty(len(indices), np.int32), np.empty(len(indices), np.float32)
    cells = _nearest.NearestCells(np.ascontiguousarray(indices), np.ascontiguousarray(distances))
    _nearest.vote(cells, codes, len(labels.categories), weights, winners, confidence)
    return pd.Categorical.from_codes(winners, dtype=labels.dtype), confidence
