"""Nearest cells and labels from cells of another file, in files: `se600m nearest` and `se600m transfer-labels`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from se600m import (
    _destination,
    _embedded,
    _extras,
    _files,
    _label_files,
    _nearest,
    _neighbors,
    _obs_columns,
    _options,
    errors,
)

_COLUMNS = ("query", "rank", "obs_names", "distance")
"""The columns that a table of nearest cells always has."""


def write_nearest(
    source: str,
    reference: str,
    destination: Path,
    *,
    overwrite: bool,
    columns: Sequence[str] = (),
    use_rep: str,
    modality: str | None,
    **options: Any,
) -> int:
    """Find the nearest cells of every cell of a file, and write them. The file appears whole or not at all.

    Parameters
    ----------
    source, reference
        Files with embedded cells. If they are the same file, the other cells of it are searched.
    destination
        ``.csv`` and ``.parquet``: a row per nearest cell, with the columns ``query``, ``rank`` (from 1),
        ``obs_names`` and ``distance``, and the chosen ones. ``.npz``: ``indices`` (rows of the reference),
        ``distances``, ``obs_names`` and ``reference_names``.
    columns
        Columns of the reference's ``obs`` to write for every nearest cell, into a table. One whose name the table
        has already gets ``obs_`` before it.
    use_rep, modality, options
        See :func:`se600m.nearest`.

    Returns
    -------
    int
        Number of cells whose nearest ones were searched for.
    """
    options["k"], options["threads"] = _nearest.checked_search(options["k"], options["threads"])
    place = _checked(source, reference, destination, (".csv", ".parquet", ".npz"), overwrite=overwrite)
    if columns and place.suffix == ".npz":
        raise errors.OptionError("columns are written into a table: give an OUT.csv or OUT.parquet, or leave them out")
    with _both(source, reference, use_rep, modality) as (adata, known):
        for name in columns:
            if name not in known.obs.columns:
                listed = [str(column) for column in known.obs.columns]
                near = _options.did_you_mean(name, tuple(listed))
                raise errors.DataError(f"the reference's obs has no column {name!r}, only {listed}{near}")
        named = _obs_columns.beside(_COLUMNS, columns)
        found = _neighbors.nearest(adata, known, use_rep=use_rep, **options)
        with _files.told("OUT", place), _files.appearing(place) as draft:
            if place.suffix == ".npz":
                _write_arrays(draft, found, adata, known)
            else:
                _write_table(draft, _as_table(found, adata, known, named))
        return int(adata.n_obs)


def write_labels(
    source: str,
    reference: str,
    destination: Path,
    *,
    overwrite: bool,
    label: str,
    key_added: str | None,
    k: int,
    weights: str,
    use_rep: str,
    modality: str | None,
    threads: int | None,
) -> int:
    """Label the cells of a file by their nearest cells in another one, and write the labels, whole or not at all.

    Parameters
    ----------
    source, reference
        Files with embedded cells. They may be the same file.
    destination
        ``.h5ad``: a copy of the cells with the labels and their confidence in ``obs``. ``.csv`` and ``.parquet``: a row
        per cell.
    label, key_added, k, weights, use_rep, modality, threads
        See :func:`se600m.transfer_labels`; ``label`` is its ``key``.

    Returns
    -------
    int
        Number of cells that were searched for.
    """
    k, threads = _nearest.checked_search(k, threads, weights)
    if key_added is not None:
        _destination.check_key(key_added, "obs")
    place = _checked(source, reference, destination, (".h5ad", ".csv", ".parquet"), overwrite=overwrite)
    as_copy = place.suffix == ".h5ad"
    if as_copy:
        _label_files.check_copy(source, place)
    columns = _destination.labels_of(label if key_added is None else key_added)
    with _both(source, reference, use_rep, modality) as (adata, known):
        vote = _neighbors.Vote(adata, known, label, k=k, use_rep=use_rep, weights=weights)
        if as_copy:
            _destination.check_labels(adata, columns[0], overwrite=overwrite, copy=False)
        values = vote(threads, None)
        with _files.told("OUT", place), _files.appearing(place) as draft:
            if as_copy:
                _label_files.write_copy(draft, source, dict(zip(columns, values, strict=True)))
            else:
                named = _obs_columns.beside(("query",), columns).values()
                _write_table(draft, pd.DataFrame({"query": _names(adata), **dict(zip(named, values, strict=True))}))
        return int(adata.n_obs)


def _checked(source: str, reference: str, destination: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> Path:
    place = _files.check(destination, "OUT", overwrite=overwrite, suffixes=suffixes)
    for name, path in (("IN", source), ("REFERENCE", reference)):
        _files.check_other_than(path, destination, name)
    if place.suffix == ".parquet":
        _extras.module("pyarrow.parquet", "parquet", "writing Parquet requires")
    return place


@contextmanager
def _both(source: str, reference: str, use_rep: str, modality: str | None) -> Iterator[tuple[AnnData, AnnData]]:
    """Open cells and their reference, whose embeddings stay on the disk; one AnnData if both are the same file."""
    tables = [_embedded.is_parquet(path) for path in (source, reference)]
    # A table has no modalities, but the file beside it may have.
    modalities = [None if is_table and not all(tables) else modality for is_table in tables]
    with _embedded.opened(source, use_rep, modalities[0]) as adata:
        if source == reference or _files.same(source, reference):
            yield adata, adata
            return
        with _embedded.opened(reference, use_rep, modalities[1]) as known:
            yield adata, known


def _names(adata: AnnData) -> Any:
    return np.asarray(adata.obs_names.astype(str), object)


def _as_table(found: _nearest.NearestCells, adata: AnnData, known: AnnData, columns: Mapping[str, str]) -> pd.DataFrame:
    n, k = found.indices.shape
    rows = found.indices.ravel()
    own = (
        np.repeat(_names(adata), k),
        np.tile(np.arange(1, k + 1, dtype=np.int32), n),
        _names(known)[rows],
        found.distances.ravel(),
    )
    chosen = {named: known.obs[name].array[rows] for name, named in columns.items()}
    return pd.DataFrame(dict(zip(_COLUMNS, own, strict=True)) | chosen)


def _write_arrays(draft: Path, found: _nearest.NearestCells, adata: AnnData, known: AnnData) -> None:
    with draft.open("wb") as file:
        np.savez(
            file,
            indices=found.indices,
            distances=found.distances,
            obs_names=_names(adata).astype(str),
            reference_names=_names(known).astype(str),
        )


def _write_table(draft: Path, table: pd.DataFrame) -> None:
    if draft.suffix == ".csv":
        table.to_csv(draft, index=False)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), draft, compression="zstd")
