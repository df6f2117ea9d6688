"""h5ad files: an embedding added to a copy, and whether anndata can write a data set at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from anndata import AnnData
from anndata.io import write_elem

from se600m import _files, errors


def is_h5ad(path: Path) -> bool:
    """Whether a file is HDF5 with an AnnData in it, old or new."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            kind = file.attrs.get("encoding-type", "anndata")
            return kind == "anndata" and "obs" in file and "var" in file
    except OSError:  # cut off, say: what reads it says so
        return False


@dataclass(frozen=True)
class Contents:
    """What an h5ad file has to choose from."""

    layers: tuple[str, ...]
    has_raw: bool
    columns: tuple[str, ...] | None
    """Columns of ``var``, or of that of ``.raw``; None if the file does not list any."""


def contents(path: Path, *, use_raw: bool) -> Contents:
    """List what an h5ad file has to choose from, without reading it."""
    with h5py.File(path, "r") as file:
        layers, raw = file.get("layers"), file.get("raw", file.get("raw.X"))
        var = file.get("raw/var" if use_raw else "var")
        columns = None if var is None else var.attrs.get("column-order")
        return Contents(
            tuple(layers) if isinstance(layers, h5py.Group) else (),
            raw is not None,
            tuple(map(str, columns)) if isinstance(columns, np.ndarray) else None,
        )


def copy_with(
    source: Path, draft: Path, added: Mapping[str, Mapping[str, Any]], drop: Mapping[str, Iterable[str]]
) -> None:
    """Copy an h5ad file and write elements into the copy, such as ``{"obsm": {"X_state": embedding}}``.

    Elements to ``drop`` are taken out of it. All other elements stay as they are in the file, those that anndata
    would not write included. Arrays are compressed as the file's matrix is.
    """
    shutil.copyfile(source, draft)
    with h5py.File(draft, "r+") as file:
        compression = _compression(file)
        for part, items in added.items():
            group = _group(file, part)
            for key, value in items.items():
                if group.get(key, getlink=True) is not None:
                    del group[key]
                write_elem(group, key, value, dataset_kwargs=compression if isinstance(value, np.ndarray) else {})
        for part, keys in drop.items():
            for key in keys:
                file[part].pop(key, None)


def _group(file: h5py.File, part: str) -> h5py.Group:
    """Find or make the group of a part; nothing outside the file is written into."""
    if isinstance(file.get(part, getlink=True), h5py.ExternalLink):
        linked = file[part]
        del file[part]
        file.copy(linked, part)
    if part not in file:
        write_elem(file, part, {})
    if isinstance(file[part], h5py.Dataset):  # anndata before 0.7 kept all arrays of obsm as columns of one table
        table = file[part][()]
        del file[part]
        write_elem(file, part, {name: np.ascontiguousarray(table[name]) for name in table.dtype.names or ()})
    return file[part]


def _compression(file: h5py.File) -> dict[str, Any]:
    matrix = file.get("X")
    values = matrix.get("data") if isinstance(matrix, h5py.Group) else matrix
    if not isinstance(values, h5py.Dataset) or values.compression is None:
        return {}
    return {"compression": values.compression, "compression_opts": values.compression_opts}


def check_writable(adata: AnnData) -> None:
    """Make sure that anndata can write everything but the matrices of a data set, by writing it into memory.

    Raises
    ------
    DestinationError
        With what anndata says.
    """
    try:
        shell = AnnData(obs=adata.obs.copy(), var=adata.var.copy(), uns=dict(adata.uns))
        for part in ("obsm", "varm"):
            getattr(shell, part).update(dict(getattr(adata, part)))
        shell.strings_to_categoricals()  # as it does before it writes
        with h5py.File("not on any disk", "w", driver="core", backing_store=False) as file:
            write_elem(file, "adata", shell)
            if adata.raw is not None:
                raw = adata.raw.var.copy()
                shell.strings_to_categoricals(raw)
                write_elem(file, "raw", raw)
    except Exception as error:
        raise errors.DestinationError(
            f"anndata can't write these cells as h5ad: {_files.reason(error)}. Correct this, or write only the result, "
            "with an OUT that ends in .npy"
        ) from error
