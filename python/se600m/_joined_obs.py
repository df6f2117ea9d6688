"""The tables of cells (obs) of several files as one, without a value being changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData

from se600m import _log, errors
from se600m._words import many

LABEL = "source_file"
"""The column that tells which file a cell is from."""
_SUFFIXES = (".h5ad", ".h5mu", ".h5", ".hdf5", ".zarr", ".mtx.gz", ".mtx")
"""What a name of a file may end in that says no more than its kind."""
_EXACT = 2**53
"""Up to here, whole numbers are exact as float64."""


def joined(places: Sequence[str], tables: Sequence[pd.DataFrame]) -> AnnData:
    """Put the tables of files one below the other. Columns that a file lacks have missing values for its cells.

    Whole numbers stay whole numbers, and truth values stay those: where a file lacks the column, it gets the type of
    pandas that has missing values, instead of float64, which has no more than 53 bits for an id.

    Parameters
    ----------
    places
        The files as they were given.
    tables
        Their ``obs``, whose index has the names of the cells.

    Returns
    -------
    AnnData
        ``obs`` alone, with the column ``source_file``. Names of cells that are in several files have that of their file
        appended, and so do all others then.

    Raises
    ------
    DataError
        No type has all the values of a column.
    """
    counted = Counter(name for table in tables for name in set(table.index))
    repeated = sum(n > 1 for n in counted.values())
    if repeated:
        _log.notice(f"{many(repeated, 'name')} of cells occur in several files: the file's name is appended to all")
    shells = [AnnData(obs=table) for table in _as_one_type(tables)]
    unique = "-" if repeated else None
    return anndata.concat(shells, join="outer", label=LABEL, keys=names_of(places), index_unique=unique)


def names_of(places: Sequence[str]) -> list[str]:
    """Name files by their names without suffix; by their whole paths if two would have the same name."""
    names = [_name(place) for place in places]
    return names if len(set(names)) == len(names) else list(places)


def _name(place: str) -> str:
    name = PurePath(place.rstrip("/")).name
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)] or place


def _as_one_type(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Give columns that are numbers or truth values one type in all tables, which has all of their values."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    kinds: dict[Any, Any] = {}
    for name in names:
        columns = [table[name] for table in tables if name in table.columns]
        if all(isinstance(column, pd.Series) for column in columns):
            kinds[name] = _common(name, columns, len(columns) < len(tables))
    chosen = {name: kind for name, kind in kinds.items() if kind is not None}
    return [table.astype({n: kind for n, kind in chosen.items() if n in table.columns}) for table in tables]


def _common(name: Any, columns: Sequence[pd.Series[Any]], missing: bool) -> Any:
    """Choose the type of a column of several files; None leaves it to pandas, as for text and categories."""
    missing = missing or any(bool(column.isna().any()) for column in columns)
    if all(isinstance(column.dtype, pd.BooleanDtype) or column.dtype == np.dtype(bool) for column in columns):
        return pd.BooleanDtype() if missing else np.dtype(bool)
    whole = [column for column in columns if pd.api.types.is_integer_dtype(column.dtype)]
    others = [column for column in columns if not pd.api.types.is_integer_dtype(column.dtype)]
    if not whole or not all(pd.api.types.is_float_dtype(column.dtype) for column in others):
        return None
    plain: list[Any] = [getattr(column.dtype, "numpy_dtype", column.dtype) for column in columns]
    common = np.result_type(*plain)
    if others and all(abs(int(end)) <= _EXACT for column in whole for end in _ends(column)):
        return common
    if common.kind == "f":  # for int64 beside uint64, too
        common = _whole_type(name, columns)
    return _nullable(common) if missing else common


def _ends(column: pd.Series[Any]) -> list[Any]:
    """Give the least and the largest value, or nothing if there is none."""
    there = column.dropna()
    return [there.min(), there.max()] if len(there) else []


def _whole_type(name: Any, columns: Sequence[pd.Series[Any]]) -> np.dtype[Any]:
    """Choose the type of whole numbers that has all values, although some may be stored as float64."""
    ends = [end for column in columns for end in _ends(column)]
    fractions = any(bool((column.dropna() % 1 != 0).any()) for column in columns)
    for kind in (np.int64, np.uint64):
        info = np.iinfo(kind)
        if not fractions and all(info.min <= int(end) <= info.max for end in ends):
            return np.dtype(kind)
    raise errors.DataError(
        f"obs[{name!r}] has whole numbers in some files that are too large for the type of the others "
        f"({', '.join(dict.fromkeys(str(column.dtype) for column in columns))}): give it one type in all files, such "
        f"as obs[{name!r}].astype(str)"
    )


def _nullable(kind: np.dtype[Any]) -> Any:
    """Give the type of pandas that also has missing values."""
    return pd.api.types.pandas_dtype(kind.name.replace("int", "Int").replace("u", "U"))
