"""Embedded cells in a table of LanceDB, for vector search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData

from se600m import (
    _embedded,
    _files,
    _lance,
    _made_embedding,
    _nearest,
    _obs_columns,
    _options,
    _progress,
    _resumable,
    _table_notes,
    errors,
)
from se600m._embed import ModelLike
from se600m._file_run import Opening, PathLike
from se600m._options import Devices, Precision, RunKeywords
from se600m._representations import Representation
from se600m._words import many, verb

_BATCH_VALUES = 1 << 22
"""Values of rows that are handed to LanceDB at once (16 MB)."""


@dataclass(frozen=True)
class IndexedCells:
    """Cells that were added to a table.

    Attributes
    ----------
    uri
        The table.
    n_added, n_replaced
        Number of cells that were new, and of cells that took the place of earlier ones of the same name.
    n_cells
        Number of cells that the table has now.
    version
        Version of the table, which LanceDB counts.
    """

    uri: str
    n_added: int
    n_replaced: int
    n_cells: int
    version: int


@_options.accepts(RunKeywords)
def index(
    cells: AnnData | PathLike | Any,
    uri: PathLike,
    *,
    use_rep: str = _options.KEY,
    obs: Sequence[str] | None = None,
    dataset: str | None = None,
    batch_key: str | None = None,
    overwrite: bool = False,
    ann: bool = False,
    model: ModelLike = None,
    checkpoint: str | None = None,
    protein_embeddings: PathLike | None = None,
    device: Devices = "auto",
    precision: Precision = "auto",
    modality: str | None = None,
    resume: bool = False,
    memory: int | str = _options.MEMORY,
    **options: Unpack[RunKeywords],
) -> IndexedCells:
    """Add embedded cells to a table of LanceDB, in which :func:`query` finds the nearest ones.

    The table is made if it is not there. All cells are added in one version of it, or none. It has the columns
    ``obs_names``, ``dataset`` and ``vector`` (float32 lists of a fixed size), and columns of ``obs``; how the vectors
    were made is in the metadata of its schema, under ``se600m``.

    Parameters
    ----------
    cells
        An AnnData; the path of a file that :func:`embed_file` reads; or a table of pyarrow, or the path of a Parquet
        file, with the columns ``obs_names`` and ``use_rep``. An embedding in an h5ad or zarr file is read some rows at
        a time.
    uri
        Path or address of the table, which ends in ``.lance``, such as ``"atlas.lance"`` or
        ``"s3://bucket/atlas.lance"``. Only one process at a time may write to it.
    use_rep
        Key of the embedding in ``obsm``.
    obs
        Columns of ``obs`` to store; all by default. Columns that the table does not have yet are added to it. In their
        names, characters other than letters, digits and underscores become underscores.
    dataset
        A name for these cells as a whole. Cells are known by their data set and their name in ``obs_names``, so that
        cells of different files may have the same name. Without it, the column ``dataset`` is empty.
    batch_key
        Column of ``obs`` to take instead, where cells of several batches have the same names.
    overwrite
        Replace cells of the table that have the same data set and name. Without it, they are an error. Without
        ``resume``, throw away what an earlier run has left beside the table.
    ann
        Build an approximate index (IVF_PQ, cosine distance) over all cells of the table afterwards, for
        ``query(..., approximate=True)``.
    model, checkpoint, protein_embeddings, device, precision
        Model with which cells without an embedding are embedded first (see :func:`load_model`). Those with an embedding
        must have it by this model, in this precision and on this kind of device, as far as they are named.
    modality
        Modality of a MuData file; by default the one named rna or gex.
    resume, memory
        For embedding the cells of a file: see :func:`embed_file`. Until all are in the table, their embeddings are kept
        beside it, in the folder ``uri + ".embedding.npy.partial"``, from where the same call with ``resume=True`` goes
        on, whatever has ended it.
    layer, use_raw, gene_column, genes, expression, fill, seed, batch_size, threads, min_coverage, strict, progress
        For embedding: see :func:`embed`. If the cells have an embedding, it must have been made with those of them that
        are named and can change it; the others (``batch_size``, ``threads``) have nothing to do then.

    Returns
    -------
    IndexedCells
        How many cells were added.

    Raises
    ------
    DataError
        The table has vectors of another model, precision, fill policy, seed or choice of genes, or of another width;
        names of cells are repeated; or there is no embedding and no model is named.
    OptionError
        The cells have an embedding that was made with other options than those that are named.
    DestinationExistsError
        Cells are in the table already.
    MissingPackageError
        The extra ``index`` is not installed.

    Examples
    --------
    >>> se600m.embed(reference)
    >>> se600m.index(reference, "atlas.lance", dataset="atlas").n_added
    100
    """
    chosen = _options.cell_options("index", RunKeywords, options)
    _resumable.memory_of(memory)
    for name, value in {"overwrite": overwrite, "ann": ann, "resume": resume}.items():
        _options.flag(name, value)
    _check_datasets(dataset, batch_key)
    place = _lance.place_of(uri)
    opening = Opening(model, device, precision, checkpoint, protein_embeddings)
    if model is not None:
        opening.check()
    for name, file in {"checkpoint": checkpoint, "protein_embeddings": protein_embeddings}.items():
        if model is None and file is not None:
            raise errors.OptionError(f"{name}={str(file)!r} is of a model, but none is named: give model=..., too")
    _lance.lancedb()
    _lance.check_writable(place)
    with ExitStack() as stack:
        adata = stack.enter_context(_embedded.opened(cells, use_rep, modality))
        keys = _keys(adata, dataset, batch_key)
        columns = _obs_columns.columns_of(adata.obs, obs)
        table = _lance.opened(place)
        new = _obs_columns.checked_against(columns, table)
        n_replaced = 0 if table is None else _check_present(table, keys, overwrite=overwrite)

        def check(n_cells: int, width: int, noted: Mapping[str, Any]) -> dict[str, Any]:
            """Make sure that the table takes cells; gives what it keeps of how they were embedded."""
            notes = _table_notes.kept(noted, use_rep)
            if table is not None:
                _table_notes.check_same(table, width, notes)
            if place.local is not None:
                _files.check_space(place.local, 4 * n_cells * width, "the table")
            return notes

        if use_rep in adata.obsm:
            noted = _nearest.made_with(adata, use_rep)
            _made_embedding.check_as_asked(noted, use_rep, opening, chosen, options)
        elif model is None:
            raise errors.DataError(
                f"the cells have no obsm[{use_rep!r}]: name the model to embed them with (model=...), or another "
                "key (use_rep=...)"
            )
        else:
            kept = Path(f"{place.name}.lance.embedding.npy" if place.local is None else f"{place.local}.embedding.npy")
            how = {"modality": modality, "resume": resume, "overwrite": overwrite, "memory": memory}
            making = _made_embedding.made_for(adata, cells, use_rep, opening, chosen, kept, check, **how)
            stack.enter_context(making)
        rows = Representation(adata, "adata", use_rep)
        notes = check(rows.n_cells, rows.width, _nearest.made_with(adata, use_rep))
        schema = _schema(rows.width, new) if table is None else _grown(table, new)
        with _progress.bar(chosen.progress, "Indexing", rows.n_cells) as update:
            batches = _batches(rows, keys, columns, schema, adata, update)
            if table is None:
                table = _lance.create(place, batches, schema, notes)
            else:
                table.write(batches, new, replace=n_replaced > 0)
        if ann:
            table.build_index()
    n = len(keys)
    return IndexedCells(place.given, n - n_replaced, n_replaced, table.n_rows, table.version)


def _check_datasets(dataset: Any, batch_key: Any) -> None:
    for name, value in {"dataset": dataset, "batch_key": batch_key}.items():
        if value is not None and (not isinstance(value, str) or not value):
            raise errors.OptionError(f"{name}={value!r} is not a name (text)")
    if dataset is not None and batch_key is not None:
        raise errors.OptionError(f"dataset={dataset!r} and batch_key={batch_key!r} exclude each other: choose one")


def _keys(adata: AnnData, dataset: str | None, batch_key: str | None) -> pd.DataFrame:
    """Give the data set and the name of every cell; a name that is repeated is an error."""
    if batch_key is not None and batch_key not in adata.obs.columns:
        raise errors.OptionError(f"batch_key={batch_key!r} is not in obs, which has {list(adata.obs.columns)}")
    sets: Any = (dataset or "") if batch_key is None else np.asarray(adata.obs[batch_key].astype(str))
    keys = pd.DataFrame({_lance.DATASET: sets, _lance.NAME: np.asarray(adata.obs_names.astype(str))})
    repeated = keys.duplicated()
    if repeated.any():
        n, name = int(repeated.sum()), keys[_lance.NAME][int(np.argmax(repeated))]
        raise errors.DataError(
            f"{many(n, 'name')} in obs_names {verb(n, 'are')} repeated, such as {name!r}, so that cells can't be told "
            "apart in the table: name the column of obs that tells their batches apart (batch_key=...), or rename "
            "them with adata.obs_names_make_unique()"
        )
    return keys


def _check_present(table: _lance.Table, keys: pd.DataFrame, *, overwrite: bool) -> int:
    """Count the cells that the table has already."""
    ours = {name: pd.Index(group) for name, group in keys.groupby(_lance.DATASET)[_lance.NAME]}
    found, example = 0, ""
    for batch in table.rows(_lance.KEY):
        theirs = batch.select(_lance.KEY).to_pandas()
        for name, group in theirs.groupby(_lance.DATASET)[_lance.NAME]:
            if name in ours:
                same = group[group.isin(ours[name])]
                found, example = found + len(same), example or (str(same.iloc[0]) if len(same) else "")
    if found and not overwrite:
        raise errors.DestinationExistsError(
            f"{found:,} of {many(len(keys), 'cell')} {verb(found, 'are')} in {table.place.given!r} already, such as "
            f"{example!r}: replace what is there with overwrite=True or, if those are other cells of the same names, "
            "name the data set of these (dataset=...)"
        )
    return found


def _schema(width: int, fields: list[Any]) -> Any:
    import pyarrow as pa

    own = [pa.field(name, pa.string(), nullable=False) for name in (_lance.NAME, _lance.DATASET)]
    return pa.schema([*own, pa.field(_lance.VECTOR, pa.list_(pa.float32(), width), nullable=False), *fields])


def _grown(table: _lance.Table, fields: list[Any]) -> Any:
    import pyarrow as pa

    return pa.schema([*table.schema, *fields])


def _batches(
    rows: Representation, keys: pd.DataFrame, columns: dict[str, Any], schema: Any, adata: AnnData, update: Any
) -> Iterator[Any]:
    """Give rows as LanceDB takes them."""
    import pyarrow as pa

    step = max(1, _BATCH_VALUES // rows.width)
    for start, block in rows.blocks():
        for begin in range(0, len(block), step):
            some = block[begin : begin + step]
            first, last = start + begin, start + begin + len(some)
            if not np.isfinite(some).all():
                cell = first + int(np.argmin(np.isfinite(some).all(1)))
                raise _nearest.not_finite(f"the embedding of cell {cell} ({adata.obs_names[cell]!r})")
            made: list[Any] = []
            for field in schema:
                if field.name == _lance.VECTOR:
                    made.append(pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), rows.width))
                elif field.name in _lance.KEY:
                    made.append(pa.array(keys[field.name].iloc[first:last], pa.string()))
                elif field.name in columns:
                    made.append(_obs_columns.part(columns[field.name], first, last, field.type))
                else:
                    made.append(pa.nulls(len(some), field.type))
            yield pa.record_batch(made, schema=schema)
            update(last, rows.n_cells)
