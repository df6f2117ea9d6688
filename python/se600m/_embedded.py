"""Embedded cells of any kind that can be indexed or searched for: as an AnnData whose embedding may be on the disk."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData
from anndata.io import read_elem

from se600m import _inputs, _lance, _lazy, _not_anndata, _stored, errors


@contextmanager
def opened(cells: Any, use_rep: str, modality: str | None = None) -> Iterator[AnnData]:
    """Give cells as an AnnData with ``obs``, and what is under ``use_rep`` in ``obsm`` and ``uns``, if it is there.

    Parameters
    ----------
    cells
        An AnnData, a table of Arrow, or the path of a file of cells or of a Parquet file. The embedding of an h5ad or
        zarr file stays on the disk.

    Raises
    ------
    DataError
        They are of another kind.
    """
    if isinstance(cells, AnnData):
        yield _shell(_lazy.table(cells.obs), use_rep, cells.obsm.get(use_rep), cells.uns.get(use_rep))
    elif isinstance(cells, str | os.PathLike):
        path = os.fspath(cells)
        if path.endswith(".parquet") and "://" not in path:
            yield _of_table(_read_parquet(Path(path).expanduser()), use_rep)
            return
        given = _inputs.read(path, modality)
        try:
            yield _of_file(given, use_rep)
        finally:
            given.close()
    elif hasattr(cells, "schema") and hasattr(cells, "column_names"):
        yield _of_table(cells, use_rep)
    else:
        raise errors.DataError(
            "cells must be an AnnData, the path of a file, or a table of pyarrow with embedded cells, not "
            f"{_not_anndata.what_it_is(cells)}"
        )


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


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise errors.DataError(f"{str(path)!r} can't be read as Parquet: {_lance.first_line(error)}") from error


def _of_table(table: Any, use_rep: str) -> AnnData:
    """Read a table as :func:`se600m.embed_file` writes one: names, embedding, and what was noted about it."""
    import pyarrow as pa

    for name in ("obs_names", use_rep):
        if name not in table.column_names:
            raise errors.DataError(
                f"the table has no column {name!r}, only {table.column_names}: it needs 'obs_names', and the "
                f"embedding as a column of lists of a fixed size, {use_rep!r}"
            )
    kind = table.schema.field(use_rep).type
    if not pa.types.is_fixed_size_list(kind) or table.column(use_rep).null_count:
        raise errors.DataError(f"the table's column {use_rep!r} is {kind}, not lists of a fixed size without gaps")
    columns = [name for name in table.column_names if name not in ("obs_names", use_rep)]
    obs = table.select(columns).to_pandas()
    obs.index = pd.Index(table.column("obs_names").to_pylist(), dtype=object)
    try:
        noted = json.loads((table.schema.metadata or {}).get(b"se600m", b"{}")).get(use_rep)
    except (ValueError, AttributeError):
        noted = None
    return _shell(obs, use_rep, _lance.matrix(table.column(use_rep), kind.list_size), noted)
