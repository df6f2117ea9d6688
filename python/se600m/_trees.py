"""HDF5 files and zarr stores as what both are: trees of groups and arrays, with attributes.

AnnData's elements have the same names, attributes and arrays in both, so that a tree can be copied from one to the
other without knowing what its elements mean. Arrays are copied some rows at a time.
Only what both store in different ways, such as text in tables of ``uns``, goes through anndata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from anndata.io import read_elem, write_elem

from se600m import _extras, errors
from se600m._row_file import Rows

_AT_ONCE = 64 << 20
"""Bytes that are copied at once."""

ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}
"""Attributes with which anndata marks an array."""

STRINGS = {"encoding-type": "string-array", "encoding-version": "0.2.0"}
"""Attributes with which it marks an array of text."""


def as_text(value: Any) -> str:
    """Read text, which HDF5 may give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def encoding(element: Any) -> str:
    """Say what anndata calls an element's kind; "" if it is not marked."""
    return as_text(element.attrs.get("encoding-type", ""))


def zarr() -> Any:
    """Import zarr.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    return _extras.module("zarr", "zarr", "zarr stores require")


def open_zarr(place: str | os.PathLike[str]) -> Any:
    """Open a zarr store for reading: a folder, or an address that fsspec knows.

    In a folder all elements are looked up, also those that the metadata at the root, kept together, does not name.
    """
    place = os.fspath(place)
    return zarr().open_group(place, mode="r", use_consolidated=False if os.path.isdir(place) else None)


def new_zarr(path: Path, zarr_format: int) -> Any:
    """Make a zarr store in a folder."""
    return zarr().open_group(str(path), mode="w", zarr_format=zarr_format)


def change_zarr(path: Path) -> Any:
    """Open a zarr store in a folder for changing it. Metadata that is kept together at its root is left out."""
    return zarr().open_group(str(path), mode="r+", use_consolidated=False)


def is_consolidated(path: Path) -> bool:
    """Whether a store keeps the metadata of all its elements together at its root, too."""
    if (path / ".zmetadata").exists():
        return True
    try:
        return bool(json.loads((path / "zarr.json").read_text()).get("consolidated_metadata"))
    except (OSError, ValueError, AttributeError):
        return False


def consolidate(path: Path) -> None:
    """Have a store keep the metadata of all its elements together at its root, too."""
    zarr().consolidate_metadata(str(path))


def size_and_time(place: str, found: Any) -> tuple[int, int]:
    """Add up the bytes of a zarr element's files, and find the youngest; (0, 0) if they are not on this machine.

    For an array in memory, which has no path, all files of the store count.
    """
    size = youngest = 0
    for folder, _, names in os.walk(Path(place) / getattr(found, "path", "")):
        for name in names:
            status = os.stat(os.path.join(folder, name))
            size, youngest = size + status.st_size, max(youngest, status.st_mtime_ns)
    return size, youngest


def compression_of(root: Any) -> dict[str, Any]:
    """Give the compression of the matrix of an AnnData in HDF5, for arrays beside it."""
    matrix = root.get("X")
    values = matrix.get("data") if isinstance(matrix, h5py.Group) else matrix
    if not isinstance(values, h5py.Dataset) or values.compression is None:
        return {}
    return {"compression": values.compression, "compression_opts": values.compression_opts}


# -- copies ----------------------------------------------------------------------------------------


def check(source: Any, *, to_zarr: bool) -> None:
    """Make sure that what is in a group can be copied to zarr, or to HDF5, before there is work to lose.

    Raises
    ------
    DestinationError
        An element can't be expressed there. The message names it.
    """
    with _named(source, to_zarr):
        for value in source.attrs.values():
            (_as_json if to_zarr else _as_attribute)(value)
        if to_zarr and hasattr(source, "shape"):
            _check_array(source)
    if not hasattr(source, "shape"):
        for name in source:
            check(source[name], to_zarr=to_zarr)


def copy(source: Any, target: Any) -> None:
    """Copy what is in a group, in HDF5 or zarr, into an empty group in HDF5 or zarr."""
    _copy_attributes(source, target)
    for name in source:
        item = source[name]
        if not hasattr(item, "shape"):
            copy(item, target.create_group(name))
            continue
        with _named(item, _is_zarr(target)):
            _copy_array(item, target, name)


def copy_group(source: Any, target: h5py.File, name: str) -> None:
    """Copy a group, in HDF5 or zarr, into an HDF5 file under a name that is free there."""
    if _is_zarr(source):
        copy(source, target.create_group(name))
    else:
        target.copy(source, target, name=name, expand_soft=True, expand_external=True)


@contextmanager
def _named(item: Any, to_zarr: bool) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, NotImplementedError) as error:
        raise errors.DestinationError(
            f"{item.name} can't be written in {'zarr' if to_zarr else 'HDF5'}: {' '.join(str(error).split())}. Choose "
            "an OUT of IN's own kind"
        ) from error


def _is_zarr(group: Any) -> bool:
    return not isinstance(group, h5py.HLObject)


def _copy_attributes(source: Any, target: Any) -> None:
    # All are read before one is written: h5py holds its lock while it goes through attributes, and zarr writes in
    # threads of its own, which wait for that lock if they happen to free an object of h5py.
    for key, value in list(source.attrs.items()):
        target.attrs[key] = _as_json(value) if _is_zarr(target) else _as_attribute(value)


def _as_json(value: Any) -> Any:
    """Write an attribute of HDF5 as zarr does, in JSON."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return [_as_json(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, h5py.Reference | h5py.RegionReference):
        raise TypeError("it has a reference to another element")
    return value


def _as_attribute(value: Any) -> Any:
    """Write an attribute of zarr as HDF5 does."""
    if value is None:
        return h5py.Empty("f4")
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return np.array(value, dtype=h5py.string_dtype())
        return np.array(value)
    if isinstance(value, Mapping):
        raise TypeError("it has an attribute with attributes of its own")
    return value


def _is_text(array: Any) -> bool:
    if isinstance(array, h5py.Dataset):
        return h5py.check_string_dtype(array.dtype) is not None and array.dtype.kind == "O"
    return array.dtype.kind in "OTU"


def _copy_array(source: Any, target: Any, name: str) -> None:
    if encoding(source) == "rec-array" and _is_zarr(source) != _is_zarr(target):
        write_elem(target, name, read_elem(source))  # text in them is stored differently
        return
    if encoding(source) == "null" or source.shape is None:  # zarr has no array without a shape
        made = target.create_array(name, shape=(), dtype="bool") if _is_zarr(target) else _empty(target, name)
        _copy_attributes(source, made)
        return
    text = _is_text(source)
    new = _new_in_zarr if _is_zarr(target) else _new_in_hdf5
    made = new(source, target, name, text)
    for part in parts(source):
        values = source[part]
        made[part] = _texts(values) if text else values
    _copy_attributes(source, made)


def _texts(values: Any) -> Any:
    """Give text as both take it: an array of Python's strings."""
    if isinstance(values, bytes | str):
        return values.decode() if isinstance(values, bytes) else values
    values = np.asarray(values, object)
    made = np.empty(values.shape, object)
    made.ravel()[:] = [v.decode() if isinstance(v, bytes) else str(v) for v in values.ravel()]
    return made if made.shape else made[()]


def _empty(target: h5py.Group, name: str) -> h5py.Dataset:
    target[name] = h5py.Empty("f")
    return target[name]


def _check_array(source: Any) -> None:
    """Make sure that zarr has such arrays."""
    if encoding(source) in ("null", "rec-array"):
        return
    if source.shape is None:
        raise TypeError("it is an array without a shape")
    if source.dtype.hasobject and not _is_text(source):
        raise TypeError(f"its values are of type {source.dtype}")


def _new_in_zarr(source: Any, target: Any, name: str, text: bool) -> Any:
    rows = 0 if not source.shape else _rows_at_once(source)
    chunks = tuple(source.chunks) if source.chunks else None
    if chunks is None and source.shape:
        chunks = (max(1, min(rows, source.shape[0])), *(max(1, n) for n in source.shape[1:]))
    if chunks is not None:
        chunks = tuple(max(1, n) for n in chunks)
    options: dict[str, Any] = {} if chunks is None else {"chunks": chunks}
    return target.create_array(name, shape=source.shape, dtype=str if text else source.dtype, **options)


def _new_in_hdf5(source: Any, target: Any, name: str, text: bool) -> Any:
    dtype = h5py.string_dtype() if text else source.dtype
    options: dict[str, Any] = {}
    if source.shape and all(source.shape):
        chunks = tuple(min(int(c), int(n)) for c, n in zip(source.chunks, source.shape, strict=True))
        options = {"chunks": chunks}
        if not text and np.prod(source.shape) * source.dtype.itemsize > 1 << 16:
            options["compression"] = "gzip"  # what is in zarr is compressed, too
    return target.create_dataset(name, shape=source.shape, dtype=dtype, **options)


def _rows_at_once(array: Any) -> int:
    per_row = max(1, (array.dtype.itemsize or 32) * int(np.prod(array.shape[1:], dtype=np.int64)))
    rows = max(1, _AT_ONCE // per_row)
    chunk = int((array.chunks or (1,))[0]) or 1
    return rows // chunk * chunk or chunk


def parts(array: Any) -> Iterator[Any]:
    """Give what takes an array apart into rows that fit into memory."""
    if not array.shape:
        yield ()
        return
    if not all(array.shape):
        return
    rows = _rows_at_once(array)
    for first in range(0, array.shape[0], rows):
        yield slice(first, min(first + rows, array.shape[0]))


def blocks(rows: Rows) -> Iterator[slice]:
    """Take rows apart into parts that fit into memory."""
    per_row = max(1, int(np.prod(rows.shape[1:], dtype=np.int64)) * rows.itemsize)
    step = max(1, _AT_ONCE // per_row)
    for first in range(0, len(rows), step):
        yield slice(first, min(first + step, len(rows)))
