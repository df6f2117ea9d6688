"""Embeddings in files, and predictions from them in files: what ``se600m decode`` does."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem

from se600m import (
    _decode,
    _files,
    _formats,
    _h5ad,
    _journal,
    _native,
    _options,
    _outputs,
    _resumable,
    _stored,
    _trees,
    errors,
)
from se600m._chunks import Rest
from se600m._model import Model
from se600m._row_file import Rows, unmapped

_OLD_CATEGORIES = "__categories"
"""Where anndata before 0.8 kept the categories of columns."""
_NAMES_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Embedded:
    """Embedded cells, as they were stored."""

    embedding: Any
    """In memory or on the disk, ``[n_cells, width]``."""
    dataset: Any
    """The dataset embedding, or None."""
    obs: Any
    """The table of cells: a DataFrame, or the group of a file that has it; None if cells have numbers alone."""
    path: Path
    """The file that they are in."""
    seen: tuple[int, ...] | None
    """What the system says of the file; None for a folder."""
    stored: _stored.Stored | None = None
    """The file, if it is open."""

    def close(self) -> None:
        """Close the file."""
        if self.stored is not None:
            self.stored.close()

    def check_unchanged(self) -> None:
        """Make sure that the file is the one that was opened.

        Raises
        ------
        DataError
            It was changed, replaced or removed.
        """
        _stored.check_same(self.path, self.seen)

    def identity(self) -> dict[str, Any]:
        """Describe the embedding so that a change is seen: size and time of change, and samples of the values."""
        arrays = [unmapped(array) for array in (self.embedding, self.dataset) if array is not None]
        seen = _trees.size_and_time(str(self.path), self.embedding) if self.seen is None else self.seen
        return {
            "the input's size": seen[0],
            "the input's time of change": seen[1],
            "its number of cells": self.embedding.shape[0],
            "its values": _stored.digest_of(arrays),
        }


def read_npy(path: Path) -> Embedded:
    """Map an embedding saved by numpy."""
    seen = _stored.status_of(path)
    try:
        embedding = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise errors.DataError(f"{str(path)!r} can't be read as npy: {_files.reason(error)}") from error
    if embedding.ndim != 2 or embedding.dtype.kind != "f":
        raise errors.DataError(
            f"{str(path)!r} has {embedding.dtype} {list(embedding.shape)}, not an embedding [n_cells, width]"
        )
    return Embedded(embedding, None, None, path, seen)


def check_kind(path: Path, key: str, modality: str | None) -> None:
    """Make sure that options about the cells of a file are not given for an embedding alone."""
    if path.suffix != ".npy":
        return
    for name, given in (("key_added", None if key == _options.KEY else key), ("modality", modality)):
        if given is not None:
            raise errors.OptionError(
                f"{name}={given!r} chooses among the elements of a file of cells, but {str(path)!r} is an embedding "
                "alone: leave it out"
            )


def read(path: Path, key: str, modality: str | None, *, with_obs: bool) -> Embedded:
    """Find an embedding, and the dataset embedding if it was stored beside it, in the cells of a file.

    In h5ad and zarr files they stay on the disk, and so does ``obs``, which is left out unless it is wanted.
    """
    seen = _stored.status_of(path)
    stored = _stored.opened(path) if modality is None else None
    obsm = None if stored is None else stored.root.get("obsm")
    if stored is None or obsm is None or not all(_stored.is_array(obsm[name]) for name in _keys(key) if name in obsm):
        return _of_obsm(_formats.read(path, modality=modality, backed=True), key, path, seen)
    _check_key(key, obsm)
    obs = stored.root["obs"] if with_obs else None
    if obs is not None and _OLD_CATEGORIES in obs:  # to which its columns have references
        obs = pd.DataFrame(read_elem(obs))
    return Embedded(obsm[key], obsm.get(f"{key}_dataset"), obs, path, seen, stored)


def _keys(key: str) -> tuple[str, str]:
    return key, f"{key}_dataset"


def _check_key(key: str, obsm: Any) -> None:
    if key not in obsm:
        raise errors.DataError(
            f"obsm has no {key!r}, only {sorted(obsm)}: embed the cells first, or choose another key (key_added=...)"
        )


def _of_obsm(adata: AnnData, key: str, path: Path, seen: tuple[int, ...] | None) -> Embedded:
    """Take an embedding, and the dataset embedding if it was stored beside it, from ``adata.obsm``."""
    _check_key(key, adata.obsm)
    dataset = adata.obsm.get(f"{key}_dataset")
    arrays = (np.asarray(adata.obsm[key]), None if dataset is None else np.asarray(dataset))
    return Embedded(*arrays, adata.obs, path, seen)


def check(embedded: Embedded, genes: Sequence[str], destination: Path, *, resume: bool = False) -> None:
    """Make sure that predictions can be written, before a model is opened."""
    if not embedded.embedding.shape[0]:
        raise errors.DataError("the AnnData has no cells (n_obs = 0)")
    # They are on the disk twice in the end; those of an earlier run are there.
    copies = 1 if resume and _journal.folder_of(destination).exists() else 2
    _files.check_space(destination, copies * 4 * embedded.embedding.shape[0] * len(genes), "OUT")
    if isinstance(embedded.obs, pd.DataFrame) and destination.suffix == ".h5ad":
        _h5ad.check_writable(AnnData(obs=embedded.obs))
    elif embedded.obs is not None and destination.suffix == ".h5ad":
        _trees.check(embedded.obs, to_zarr=False)


def write(
    model: Model,
    embedded: Embedded,
    genes: Sequence[str],
    destination: Path,
    *,
    resume: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> None:
    """Predict expression into an ``.npy`` or ``.h5ad`` file, some cells at a time. It appears whole or not at all.

    Predictions are kept on the way (see :mod:`se600m._journal`).

    Parameters
    ----------
    resume
        Go on with those of an earlier run, if it has left any.
    options
        ``read_depth`` and ``threads`` of :meth:`se600m.Model.decode`.
    """
    model.gene_embeddings(genes)  # names an unknown gene
    embedded.check_unchanged()
    decoding = _decode.Decoding(model._opened, embedded.embedding, genes, **_with_dataset(model, embedded), **options)
    arrays = {"output": _journal.Array("float32", decoding.shape[1:])}
    known = {
        "the command": "decode",
        **embedded.identity(),
        **_resumable.of_model(model._opened),
        "the genes": hashlib.sha256(repr(list(genes)).encode()).hexdigest()[:16],
        "read_depth": options.get("read_depth"),
    }
    with _journal.Journal.open(destination, known, decoding.shape[0], arrays, resume=resume) as journal:
        try:
            _predict(decoding, embedded, journal, progress)
            with _files.told("OUT", destination), _files.appearing(destination) as draft:
                if destination.suffix == ".npy":
                    _outputs.write_npy(draft, journal.rows("output"))
                else:
                    _write_h5ad(model, embedded, genes, draft, journal.rows("output"), options.get("read_depth"))
                embedded.check_unchanged()
                journal.note_output(draft)
            _files.sync(destination)
        except BaseException as error:
            _journal.kept_note(error, journal)
            raise
        journal.remove()


def _with_dataset(model: Model, embedded: Embedded) -> dict[str, Any]:
    """Give the dataset embedding to a decoder that needs it and does not find it in the last columns."""
    takes = model.config.get("decoder")
    if not takes or not takes["dataset_dim"] or embedded.embedding.shape[1:] != (model.output_dim,):
        return {}
    if embedded.dataset is None:
        raise errors.DataError(
            "this model's decoder also needs the dataset embedding, which IN does not have: embed the cells "
            "again, into an h5ad file or with with_dataset_embedding=True"
        )
    return {"dataset_embedding": embedded.dataset}


def _predict(decoding: _decode.Decoding, embedded: Embedded, journal: _journal.Journal, progress: bool | None) -> None:
    """Make the predictions that are missing."""
    pace = _resumable.Pace()
    sink = _resumable.JournalSink(journal, pace, embedded.check_unchanged, lambda: None)
    if journal.done < journal.n_rows:
        rest = Rest(decoding.cells, journal.done, lambda: min(pace(), decoding.rows_at_once))
        decoding.write(sink, progress, rest)


def _write_h5ad(
    model: Model, embedded: Embedded, genes: Sequence[str], path: Path, rows: Rows, read_depth: float | None
) -> None:
    made_with = {"model": model.name, "model_checksum": model.checksum, "package": f"se600m-go {_native.version()}"}
    noted = made_with if read_depth is None else made_with | {"read_depth": read_depth}
    obs = embedded.obs if isinstance(embedded.obs, pd.DataFrame) else pd.DataFrame(index=pd.Index([], dtype=object))
    AnnData(obs=obs, var=pd.DataFrame(index=list(genes)), uns={"decoded": noted}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if embedded.obs is None:
            _number_cells(file["obs"], len(rows))
        elif embedded.obs is not obs:
            del file["obs"]
            _trees.copy_group(embedded.obs, file, "obs")
        if "X" in file:
            del file["X"]
        x = file.create_dataset("X", rows.shape, np.float32)
        x.attrs.update(_trees.ARRAY)
        for part in _trees.blocks(rows):
            x[part] = rows[part]


def _number_cells(obs: h5py.Group, n: int) -> None:
    """Have cells without a table of their own named "0", "1" and so on."""
    name = _trees.as_text(obs.attrs["_index"])
    del obs[name]
    names = obs.create_dataset(name, (n,), h5py.string_dtype())
    names.attrs.update(_trees.STRINGS)
    for first in range(0, n, _NAMES_AT_ONCE):
        last = min(first + _NAMES_AT_ONCE, n)
        names[first:last] = np.array([str(i) for i in range(first, last)], object)
