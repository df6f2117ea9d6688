"""Files that the rows of a run are put together in: a copy of the input with them, or they alone."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from anndata.io import write_elem

from se600m import _extras, _h5ad, _trees, errors
from se600m._copying import Copy
from se600m._inputs import Input
from se600m._row_file import Rows

SUFFIXES = (".h5ad", ".zarr", ".npy", ".parquet")
_NAMES = "obs_names"
"""The column of a table that has the names of the cells."""


@dataclass(frozen=True)
class Result:
    """What a run made, row by row."""

    arrays: Mapping[str, Rows]
    """Arrays for ``obsm``, mapped from the disk, by key. The first is the embedding."""
    uns: Mapping[str, Any]
    """What is noted about them, by key."""
    drop: Sequence[str] = field(default=())
    """Keys of ``obsm`` that an earlier run left."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """What a table says of each cell besides its name: text, by the name of the column."""


def check_key(suffix: str, key: str, labels: Sequence[str] = ()) -> None:
    """Make sure that a key is not the name of another column of a table (see :attr:`Result.labels`)."""
    if suffix == ".parquet" and key in (_NAMES, *labels):
        raise errors.OptionError(
            f"key_added={key!r} can't be a column of the Parquet file, which has another one of this name: choose "
            "another key_added, or write .h5ad, .zarr or .npy"
        )


def check(suffix: str, cells: Input) -> None:
    """Make sure that the elements of the input can be copied into the kind of file that a suffix says.

    Raises
    ------
    DestinationError
        One can't.
    MissingPackageError
        It requires zarr, which is not installed.
    """
    if suffix not in (".h5ad", ".zarr"):
        return
    if cells.stored is None:
        if not (suffix == ".h5ad" and cells.is_h5ad):
            _h5ad.check_writable(cells.in_memory)
    elif cells.stored.is_zarr != (suffix == ".zarr"):
        _trees.check(cells.stored.root, to_zarr=suffix == ".zarr")
    if suffix == ".zarr":
        _trees.zarr()


def copied_early(suffix: str, cells: Input) -> Path | None:
    """Give the file of which the output is a copy with a result in it, if that is so."""
    return Path(cells.place) if suffix == ".h5ad" and cells.is_h5ad else None


def write(draft: Path, suffix: str, cells: Input, result: Result, copy: Copy | None = None) -> None:
    """Write a result as the kind of file that a suffix says.

    Parameters
    ----------
    draft
        What is written: a path where nothing is, or an empty folder for zarr.
    cells
        The input, whose other elements are copied as they are.
    copy
        A copy of the file that :func:`copied_early` gives, which is taken.
    """
    if suffix == ".npy":
        write_npy(draft, next(iter(result.arrays.values())))
    elif suffix == ".parquet":
        _write_parquet(draft, result, cells.obs_names)
    elif suffix == ".h5ad":
        _write_h5ad(draft, cells, result, copy)
    else:
        _write_zarr(draft, cells, result)


def _write_h5ad(draft: Path, cells: Input, result: Result, copy: Copy | None) -> None:
    if copy is not None:
        os.replace(copy.finish(), draft)
    elif cells.is_h5ad:
        with Copy(Path(cells.place), draft.with_suffix(".copy")) as made:
            os.replace(made.finish(), draft)
    elif cells.stored is not None:
        with h5py.File(draft, "w") as file:
            _trees.copy(cells.stored.root, file)
    else:
        cells.in_memory.write_h5ad(draft)
    with h5py.File(draft, "r+") as file:
        add_to_hdf5(file, result)


def add_to_hdf5(file: h5py.File, result: Result) -> None:
    """Write a result into an h5ad file."""
    obsm = _h5ad.group(file, "obsm")
    compression = _trees.compression_of(file)
    for key, rows in result.arrays.items():
        _h5ad.remove(obsm, key)
        # Chunks of whole rows: they are written once, and read back some cells at a time.
        chunks = (max(1, min(len(rows), (1 << 20) // max(1, rows.shape[1] * rows.itemsize))), rows.shape[1])
        options = {**compression, "chunks": chunks} if compression and rows.size else {}
        made = obsm.create_dataset(key, rows.shape, rows.dtype, **options)
        made.attrs.update(_trees.ARRAY)
        for part in _trees.blocks(rows):
            made[part] = rows[part]
    for key in result.drop:
        _h5ad.remove(obsm, key)
    uns = _h5ad.group(file, "uns")
    for key, noted in result.uns.items():
        _h5ad.remove(uns, key)
        write_elem(uns, key, noted)


def _write_zarr(draft: Path, cells: Input, result: Result) -> None:
    consolidated = True
    if cells.stored is None:
        cells.in_memory.write_zarr(draft)
    elif os.path.isdir(cells.place):
        shutil.copytree(cells.place, draft, dirs_exist_ok=True)
        consolidated = _trees.is_consolidated(draft)
    else:
        root = cells.stored.root
        version = root.metadata.zarr_format if cells.stored.is_zarr else 3
        _trees.copy(root, _trees.new_zarr(draft, version))
    root = _trees.change_zarr(draft)
    for part in ("obsm", "uns"):
        if part not in root:
            write_elem(root, part, {})
    obsm, uns = root["obsm"], root["uns"]
    for key in (*result.arrays, *result.drop):
        if key in obsm:
            del obsm[key]
    for key, rows in result.arrays.items():
        step = max(1, min(len(rows), (1 << 22) // max(1, rows.shape[1] * rows.itemsize)))
        made = obsm.create_array(key, shape=rows.shape, dtype=rows.dtype, chunks=(step, max(1, rows.shape[1])))
        made.attrs.update(_trees.ARRAY)
        for part in _trees.parts(made):
            made[part] = rows[part]
    for key, noted in result.uns.items():
        if key in uns:
            del uns[key]
        write_elem(uns, key, noted)
    if consolidated:
        _trees.consolidate(draft)


def write_npy(draft: Path, rows: Rows) -> None:
    """Write an array as numpy does, some rows at a time."""
    with draft.open("wb") as file:
        for block in npy(rows):
            file.write(block)


def npy(rows: Rows) -> Iterator[memoryview | bytes]:
    """Give the bytes of an npy file, some rows at a time."""
    head = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(head, described)
    yield head.getvalue()
    for part in _trees.blocks(rows):
        yield memoryview(np.ascontiguousarray(rows[part]).data).cast("B")


def write_npz(draft: Path, arrays: Mapping[str, Rows]) -> None:
    """Write arrays as numpy does, some rows at a time. They are not compressed, so that rows can be read alone."""
    with zipfile.ZipFile(draft, "w") as archive:
        for name, rows in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                for block in npy(rows):
                    file.write(block)


def parquet() -> Any:
    """Import pyarrow's part for Parquet.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    return _extras.module("pyarrow.parquet", "parquet", "Parquet requires")


def _write_parquet(draft: Path, result: Result, obs_names: Any) -> None:
    """Write a table: names of the cells, other labels, then each array as a column of lists, as wide as the array.

    Lists of a fixed size are what vector stores, polars, DuckDB and pandas take embeddings as. 2,048 columns of one
    number each would take longer to open than to read. The provenance is in the table's metadata, under ``se600m``.
    """
    written = parquet()
    import pyarrow as pa

    fields = [pa.field(name, pa.string()) for name in (_NAMES, *result.labels)]
    fields += [
        pa.field(key, pa.list_(pa.float32(), rows.shape[1]), nullable=False) for key, rows in result.arrays.items()
    ]
    schema = pa.schema(fields, metadata={"se600m": json.dumps(dict(result.uns), default=_plain)})
    embedding = next(iter(result.arrays.values()))
    with written.ParquetWriter(draft, schema, compression="zstd") as writer:
        for part in _trees.blocks(embedding):
            texts = (obs_names, *result.labels.values())
            columns: list[Any] = [pa.array(list(text[part]), pa.string()) for text in texts]
            for rows in result.arrays.values():
                values = pa.array(np.ascontiguousarray(rows[part]).ravel())
                columns.append(pa.FixedSizeListArray.from_arrays(values, rows.shape[1]))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


class SideBySide:
    """Arrays of rows, side by side, without a copy."""

    def __init__(self, arrays: list[Rows]) -> None:
        self._arrays = arrays
        self.dtype = arrays[0].dtype
        self.itemsize = arrays[0].itemsize
        self.shape = (len(arrays[0]), sum(array.shape[1] for array in arrays))
        self.size = self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        return np.hstack([array[rows] for array in self._arrays])
