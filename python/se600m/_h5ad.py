"""h5ad files: what they have, places in them that are written into, and whether anndata can write a data set."""

from __future__ import annotations

from pathlib import Path

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


def group(file: h5py.File, part: str) -> h5py.Group:
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


def remove(part: h5py.Group, key: str) -> None:
    """Take an element out of a group, if it is there. What a link leads to stays."""
    if part.get(key, getlink=True) is not None:
        del part[key]


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
