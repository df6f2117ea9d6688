"""Embedded cells of any kind that can be indexed or searched for: as an AnnData whose embedding may be on the disk."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem

from se600m import _files, _inputs, _lance, _lazy, _not_anndata, _stored, errors
from se600m._row_file import unmapped

_VALUES = 1 << 22
"""Values of a Parquet file that are read at once (16 MB)."""


@contextmanager
def opened(cells: Any, use_rep: str, modality: str | None = None) -> Iterator[AnnData]:
    """Give cells as an AnnData with ``obs``, and what is under ``use_rep`` in ``obsm`` and ``uns``, if it is there.

    Parameters
    ----------
    cells
        An AnnData, a table of Arrow, or the path of a file of cells or of a Parquet file. The embedding of an h5ad or
        zarr file stays on the disk; that of a Parquet file is unpacked into a temporary file.

    Raises
    ------
    DataError
        They are of another kind.
    OptionError
        They have no modalities.
    """
    path = os.fspath(cells) if isinstance(cells, str | os.PathLike) else None
    if modality is not None and (path is None or is_parquet(path)):
        what = "cells in memory have" if path is None else f"{path!r} is a table, which has"
        raise errors.OptionError(f"modality={modality!r}, but {what} no modalities: leave the option out")
    if isinstance(cells, AnnData):
        yield _shell(_lazy.table(cells.obs), use_rep, cells.obsm.get(use_rep), cells.uns.get(use_rep))
    elif path is not None:
        if is_parquet(path):
            with _read_parquet(Path(path).expanduser(), use_rep) as (table, vectors):
                yield _of_table(table, use_rep, vectors)
            return
        given = _inputs.read(path, modality)
        try:
            yield _of_file(given, use_rep)
        finally:
            given.close()
    elif hasattr(cells, "schema") and hasattr(cells, "column_names"):
        yield _of_table(cells, use_rep, _vectors(cells, use_rep))
    else:
        raise errors.DataError(
            "cells must be an AnnData, the path of a file, or a table of pyarrow with embedded cells, not "
            f"{_not_anndata.what_it_is(cells)}"
        )


def is_parquet(path: str) -> bool:
    """Whether a path is that of a Parquet file, by its name."""
    return path.endswith(".parquet") and "://" not in path


def _shell(obs: pd.DataFrame, use_rep: str, embedding: Any, noted: Any) -> AnnData:
    with warnings.catch_warnings():  # of names that repeat, about which there is an error or an option
        warnings.simplefilter("ignore", UserWarning)
        shell = AnnData(obs=pd.DataFrame(obs))
    if embedding is not None:
        shell.obsm[use_rep] = embedding
    if noted is not None:
        shell.uns[use_rep] = noted
    return shell


def _of_file(given: _inputs.Input, use_rep: str) -> AnnData:
    if given.stored is None:
        adata = given.in_memory
        return _shell(adata.obs, use_rep, adata.obsm.get(use_rep), adata.uns.get(use_rep))
    root = given.stored.root
    found = root["obsm"][use_rep] if "obsm" in root and use_rep in root["obsm"] else None
    if found is not None and not _stored.is_array(found):
        found = read_elem(found)
    return _shell(read_elem(root["obs"]), use_rep, found, given.under(use_rep).uns.get(use_rep))


@contextmanager
def _read_parquet(path: Path, use_rep: str) -> Iterator[tuple[Any, npt.NDArray[np.float32]]]:
    """Read a Parquet file without its embedding, which is mapped from a temporary file; of a folder, all is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="se600m-") as folder:
        try:
            if path.is_dir():
                table = pq.read_table(path)
                vectors = _vectors(table, use_rep)
            else:
                # Without a buffer, all of a column in a group of rows would be read at once.
                with pq.ParquetFile(path, buffer_size=1 << 20) as file:
                    vectors = _unpacked(file, path, use_rep, Path(folder))
                    table = file.read(columns=[name for name in file.schema_arrow.names if name != use_rep])
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, errors.SE600MError):
                raise
            raise errors.DataError(f"{str(path)!r} can't be read as Parquet: {_lance.first_line(error)}") from error
        yield table, vectors


def _unpacked(file: Any, path: Path, use_rep: str, folder: Path) -> npt.NDArray[np.float32]:
    """Copy an embedding into a file and map that: rows of Parquet can be read in their order only."""
    shape = (file.metadata.num_rows, _width(file.schema_arrow, use_rep))
    if (short := _files.too_little_room(folder, 4 * math.prod(shape))) is not None:
        raise errors.DestinationError(
            f"the embedding of {str(path)!r} is unpacked into a temporary file, which needs {short}: free some space, "
            "or name a folder of another disk in the environment variable TMPDIR"
        )
    mapped = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, shape)
    rows, first = unmapped(mapped, to_write=True), 0
    for batch in file.iter_batches(max(1, _VALUES // shape[1]), columns=[use_rep]):
        with _files.told("the temporary file", folder / "vectors.npy"):
            rows[first : first + len(batch)] = _matrix(batch.column(0), use_rep, shape[1])
        first += len(batch)
    return mapped


def _width(schema: Any, use_rep: str) -> int:
    """Make sure that a table has names and an embedding; gives the width of that."""
    import pyarrow as pa

    for name in ("obs_names", use_rep):
        if name not in schema.names:
            raise errors.DataError(
                f"the table has no column {name!r}, only {schema.names}: it needs 'obs_names', and the "
                f"embedding as a column of lists of a fixed size, {use_rep!r}"
            )
    kind = schema.field(use_rep).type
    if not pa.types.is_fixed_size_list(kind):
        raise _no_vectors(use_rep, kind)
    return int(kind.list_size)


def _no_vectors(use_rep: str, kind: Any) -> errors.DataError:
    return errors.DataError(f"the table's column {use_rep!r} is {kind}, not lists of a fixed size without gaps")


def _matrix(column: Any, use_rep: str, width: int) -> npt.NDArray[np.float32]:
    if column.null_count:
        raise _no_vectors(use_rep, f"{column.type}, {column.null_count:,} of them missing")
    return _lance.matrix(column, width)


def _vectors(table: Any, use_rep: str) -> npt.NDArray[np.float32]:
    width = _width(table.schema, use_rep)
    return _matrix(table.column(use_rep), use_rep, width)


def _of_table(table: Any, use_rep: str, vectors: npt.NDArray[np.float32]) -> AnnData:
    """Take a table as :func:`se600m.embed_file` writes one: names, and what was noted about the embedding."""
    columns = [name for name in table.column_names if name not in ("obs_names", use_rep)]
    obs, types = table.select(columns).to_pandas(), _with_missing()
    for name in columns:
        if table.column(name).null_count and table.schema.field(name).type in types:
            obs[name] = table.column(name).to_pandas(types_mapper=types.get).array
    obs.index = pd.Index(table.column("obs_names").to_pylist(), dtype=object)
    try:
        noted = json.loads((table.schema.metadata or {}).get(b"se600m", b"{}")).get(use_rep)
    except (ValueError, AttributeError):
        noted = None
    return _shell(obs, use_rep, vectors, noted)


def _with_missing() -> dict[Any, Any]:
    """Give the types of pandas that have missing values, where its plain ones become float64 or objects beside one."""
    import pyarrow as pa

    names = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    ours = [pd.api.types.pandas_dtype(name.replace("int", "Int").replace("u", "U")) for name in names]
    whole = {getattr(pa, name)(): kind for name, kind in zip(names, ours, strict=True)}
    return whole | {pa.bool_(): pd.BooleanDtype()}
