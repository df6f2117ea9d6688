"""Labels of cells in files: as a table, or as columns of obs in a copy of the cells."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

from se600m import _files, _h5ad, _trees, errors
from se600m._copying import Copy


def check_copy(source: str, place: Path) -> None:
    """Make sure that there can be a copy of the cells for the labels."""
    given = Path(source).expanduser()
    if not _h5ad.is_h5ad(given):
        raise errors.OptionError(f"OUT.h5ad is a copy of IN, but {source!r} is not an h5ad file: give an OUT.csv")
    with h5py.File(given, "r") as file:
        if "column-order" not in file["obs"].attrs:
            raise errors.OptionError(
                f"OUT.h5ad is a copy of IN, but {source!r} is as anndata before 0.7 wrote it, where obs takes no "
                "further column: load it and save it again with anndata, or give an OUT.csv"
            )
    _files.check_space(place, given.stat().st_size, "OUT")


def write_copy(draft: Path, source: str, columns: Mapping[str, Any]) -> None:
    """Write a copy of an h5ad file that has these columns of obs, too."""
    with Copy(Path(source).expanduser(), draft.with_suffix(".copy")) as made:
        os.replace(made.finish(), draft)
    with h5py.File(draft, "r+") as file:
        obs = _h5ad.group(file, "obs")
        order = [_trees.as_text(name) for name in obs.attrs["column-order"]]
        for name, values in columns.items():
            _h5ad.remove(obs, name)
            write_elem(obs, name, values if isinstance(values, pd.Categorical) else np.asarray(values))
            order += [] if name in order else [name]
        obs.attrs.create("column-order", order, dtype=h5py.string_dtype())
