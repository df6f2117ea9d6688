"""Embeddings in files, and predictions from them in files: what ``se600m decode`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem

from se600m import _files, _formats, _h5ad, _native, _stored, _trees, errors
from se600m._model import Model

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


def read_npy(path: Path) -> Embedded:
    """Map an embedding saved by numpy."""
    try:
        embedding = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise errors.DataError(f"{str(path)!r} can't be read as npy: {_files.reason(error)}") from error
    if embedding.ndim != 2 or embedding.dtype.kind != "f":
        raise errors.DataError(
            f"{str(path)!r} has {embedding.dtype} {list(embedding.shape)}, not an embedding [n_cells, width]"
        )
    return Embedded(embedding, None, None)


def read(path: Path, key: str, modality: str | None, *, with_obs: bool) -> Embedded:
    """Find an embedding, and the dataset embedding if it was stored beside it, in the cells of a file.

    In h5ad and zarr files they stay on the disk, and so does ``obs``, which is left out unless it is wanted.
    """
    stored = _stored.opened(path) if modality is None else None
    obsm = None if stored is None else stored.root.get("obsm")
    if stored is None or obsm is None or not all(_stored.is_array(obsm[name]) for name in _keys(key) if name in obsm):
        return read_obsm(_formats.read(path, modality=modality, backed=True), key)
    _check_key(key, obsm)
    obs = stored.root["obs"] if with_obs else None
    if obs is not None and _OLD_CATEGORIES in obs:  # to which its columns have references
        obs = pd.DataFrame(read_elem(obs))
    return Embedded(obsm[key], obsm.get(f"{key}_dataset"), obs)


def _keys(key: str) -> tuple[str, str]:
    return key, f"{key}_dataset"


def _check_key(key: str, obsm: Any) -> None:
    if key not in obsm:
        raise errors.DataError(
            f"obsm has no {key!r}, only {sorted(obsm)}: embed the cells first, or choose another key (key_added=...)"
        )


def read_obsm(adata: AnnData, key: str) -> Embedded:
    """Take an embedding, and the dataset embedding if it was stored beside it, from ``adata.obsm``."""
    _check_key(key, adata.obsm)
    dataset = adata.obsm.get(f"{key}_dataset")
    return Embedded(np.asarray(adata.obsm[key]), None if dataset is None else np.asarray(dataset), adata.obs)


def check(embedded: Embedded, genes: Sequence[str], destination: Path) -> None:
    """Make sure that predictions can be written, before a model is opened."""
    if not embedded.embedding.shape[0]:
        raise errors.DataError("the AnnData has no cells (n_obs = 0)")
    _files.check_space(destination, 4 * embedded.embedding.shape[0] * len(genes), "OUT")
    if isinstance(embedded.obs, pd.DataFrame) and destination.suffix == ".h5ad":
        _h5ad.check_writable(AnnData(obs=embedded.obs))
    elif embedded.obs is not None and destination.suffix == ".h5ad":
        _trees.check(embedded.obs, to_zarr=False)


def write(model: Model, embedded: Embedded, genes: Sequence[str], destination: Path, **options: Any) -> None:
    """Predict expression into an ``.npy`` or ``.h5ad`` file, some cells at a time. It appears whole or not at all."""
    model.gene_embeddings(genes)  # names an unknown gene
    takes = model.config.get("decoder")
    if takes and takes["dataset_dim"] and embedded.embedding.shape[1:] == (model.output_dim,):
        if embedded.dataset is None:
            raise errors.DataError(
                "this model's decoder also needs the dataset embedding, which IN does not have: embed the cells "
                "again, into an h5ad file or with with_dataset_embedding=True"
            )
        options["dataset_embedding"] = embedded.dataset
    shape = (embedded.embedding.shape[0], len(genes))
    with _files.told("OUT", destination), _files.appearing(destination) as draft:
        if destination.suffix == ".npy":
            out = np.lib.format.open_memmap(draft, mode="w+", dtype=np.float32, shape=shape)
            with draft.open("rb+") as file:  # a disk that is full later would end the process, with SIGBUS
                os.posix_fallocate(file.fileno(), 0, draft.stat().st_size)
            model.decode(embedded.embedding, genes, out=out, **options)
            out.flush()
        else:
            _write_h5ad(model, embedded, genes, draft, **options)


def _write_h5ad(model: Model, embedded: Embedded, genes: Sequence[str], path: Path, **options: Any) -> None:
    made_with = {"model": model.name, "model_checksum": model.checksum, "package": f"se600m-go {_native.version()}"}
    if "read_depth" in options:
        made_with["read_depth"] = options["read_depth"]
    obs = embedded.obs if isinstance(embedded.obs, pd.DataFrame) else pd.DataFrame(index=pd.Index([], dtype=object))
    AnnData(obs=obs, var=pd.DataFrame(index=list(genes)), uns={"decoded": made_with}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if embedded.obs is None:
            _number_cells(file["obs"], embedded.embedding.shape[0])
        elif embedded.obs is not obs:
            del file["obs"]
            _trees.copy_group(embedded.obs, file, "obs")
        if "X" in file:
            del file["X"]
        x = file.create_dataset("X", (embedded.embedding.shape[0], len(genes)), np.float32)
        x.attrs.update(_trees.ARRAY)
        model.decode(embedded.embedding, genes, out=x, **options)


def _number_cells(obs: h5py.Group, n: int) -> None:
    """Have cells without a table of their own named "0", "1" and so on."""
    name = _trees.as_text(obs.attrs["_index"])
    noted = dict(obs[name].attrs)
    del obs[name]
    names = obs.create_dataset(name, (n,), h5py.string_dtype())
    names.attrs.update(noted)
    for first in range(0, n, _NAMES_AT_ONCE):
        last = min(first + _NAMES_AT_ONCE, n)
        names[first:last] = np.array([str(i) for i in range(first, last)], object)
