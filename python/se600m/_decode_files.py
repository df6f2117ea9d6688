"""Embeddings in files, and predictions from them in files: what ``se600m decode`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem

from se600m import _files, _formats, _h5ad, _native, _stored, _trees, errors
from se600m._model import Model


@dataclass(frozen=True)
class Embedded:
    """Embedded cells, as they were stored."""

    embedding: Any
    """In memory or on the disk, ``[n_cells, width]``."""
    dataset: Any
    """The dataset embedding, or None."""
    obs: pd.DataFrame


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
    return Embedded(embedding, None, pd.DataFrame(index=[str(i) for i in range(len(embedding))]))


def read(path: Path, key: str, modality: str | None, *, with_obs: bool) -> Embedded:
    """Find an embedding, and the dataset embedding if it was stored beside it, in the cells of a file.

    In h5ad and zarr files they stay on the disk. ``obs`` is read if it is wanted; otherwise it is empty.
    """
    stored = _stored.opened(path) if modality is None else None
    obsm = None if stored is None else stored.root.get("obsm")
    if stored is None or obsm is None or not all(_stored.is_array(obsm[name]) for name in _keys(key) if name in obsm):
        return read_obsm(_formats.read(path, modality=modality, backed=True), key)
    _check_key(key, obsm)
    obs = pd.DataFrame(read_elem(stored.root["obs"])) if with_obs else pd.DataFrame(index=range(stored.n_obs))
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
    if destination.suffix == ".h5ad":
        _h5ad.check_writable(AnnData(obs=embedded.obs))


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
    import h5py

    made_with = {"model": model.name, "model_checksum": model.checksum, "package": f"se600m-go {_native.version()}"}
    if "read_depth" in options:
        made_with["read_depth"] = options["read_depth"]
    AnnData(obs=embedded.obs, var=pd.DataFrame(index=list(genes)), uns={"decoded": made_with}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        x = file.create_dataset("X", (embedded.embedding.shape[0], len(genes)), np.float32)
        x.attrs.update(_trees.ARRAY)
        model.decode(embedded.embedding, genes, out=x, **options)
