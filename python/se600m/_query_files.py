"""Nearest cells and labels from a table, in files: what ``se600m query`` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

from se600m import _files, _h5ad, _inputs, _lance, _query, _trees, errors
from se600m._copying import Copy

_SUFFIXES = (".csv", ".parquet", ".h5ad")


def write(source: str, uri: str, destination: Path, *, overwrite: bool, label: str | None, **options: Any) -> int:
    """Search for cells of a file, and write what is found. The file appears whole or not at all.

    Parameters
    ----------
    source, uri, label, options
        See :func:`se600m.query`.
    destination
        ``.csv`` and ``.parquet``: a row per nearest cell or, with ``label``, a row per cell. ``.h5ad``: a copy of the
        input with the label in ``obs``.

    Returns
    -------
    int
        Number of cells that were searched for.
    """
    place = _files.check(destination, "OUT", overwrite=overwrite, suffixes=_SUFFIXES)
    _lance.lancedb()
    if os.path.exists(source) and place.exists() and os.path.samefile(source, place):
        raise errors.DestinationError(f"OUT is {str(destination)!r}, which is also IN: choose another path")
    if place.suffix == ".h5ad":
        if label is None:
            raise errors.OptionError("an h5ad file takes the label of each cell: give label=..., or an OUT.csv")
        _check_labels(source, label, overwrite=overwrite)
    found = _query.query(source, uri, label=label, **options)
    with _files.told("OUT", place), _files.appearing(place) as draft:
        if place.suffix == ".h5ad":
            _write_h5ad(draft, source, found)
        else:
            _write_table(draft, found.to_arrow() if label is None else found.labels_to_arrow())
    return len(found.obs_names)


def _write_table(draft: Path, table: Any) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    if draft.suffix == ".parquet":
        pyarrow.parquet.write_table(table, draft, compression="zstd")
        return
    for i, field in enumerate(table.schema):
        if str(field.type).startswith("dictionary"):
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    pyarrow.csv.write_csv(table, draft)


def _columns(label: str) -> tuple[str, str]:
    return label, f"{label}_confidence"


def _check_labels(source: str, label: str, *, overwrite: bool) -> None:
    """Make sure that the labels have a place in a copy of the input."""
    if not _h5ad.is_h5ad(Path(source).expanduser()):
        raise errors.OptionError(f"OUT.h5ad is a copy of IN, but {source!r} is not an h5ad file: give an OUT.csv")
    given = _inputs.read(source)
    try:
        obs = given.in_memory.obs if given.stored is None else given.stored.root["obs"]
        there = [name for name in _columns(label) if name in obs]
    finally:
        given.close()
    if there and not overwrite:
        raise errors.DestinationExistsError(
            f"obs[{there[0]!r}] exists: replace it in the copy with overwrite=True, or write an OUT.csv"
        )


def _write_h5ad(draft: Path, source: str, found: _query.FoundCells) -> None:
    with Copy(Path(source).expanduser(), draft.with_suffix(".copy")) as made:
        os.replace(made.finish(), draft)
    label, confidence = _columns(str(found.label))
    with h5py.File(draft, "r+") as file:
        obs = _h5ad.group(file, "obs")
        order = [_trees.as_text(name) for name in obs.attrs["column-order"]]
        for name, values in {label: found.labels, confidence: found.confidence}.items():
            _h5ad.remove(obs, name)
            write_elem(obs, name, values if isinstance(values, pd.Categorical) else np.asarray(values))
            order += [] if name in order else [name]
        obs.attrs.create("column-order", order, dtype=h5py.string_dtype())
