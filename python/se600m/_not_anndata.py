"""Objects that are given instead of an AnnData, and how to convert them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from se600m._words import a

_READERS = {
    ".zarr": "anndata.read_zarr({0!r})",
    ".h5mu": 'mudata.read_h5mu({0!r}).mod["rna"]',
    ".h5": "scanpy.read_10x_h5({0!r})",
    ".loom": "anndata.io.read_loom({0!r}, sparse=True)",
    ".csv": "anndata.io.read_csv({0!r}), with .T if each row is a gene",
    ".tsv": "anndata.io.read_csv({0!r}, delimiter='\\t'), with .T if each row is a gene",
    ".txt": "anndata.io.read_csv({0!r}, delimiter='\\t'), with .T if each row is a gene",
}
_IN_R = (".rds", ".rdata", ".rda", ".qs", ".qs2", ".h5seurat")


def what_it_is(given: Any) -> str:
    """Name the kind of an object: its class, with the package where that helps."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if given is None:
        return "None"
    kind, package = type(given), type(given).__module__.partition(".")[0]
    shown = ("h5py", "zarr", "torch", "spatialdata", "polars", "xarray", "dask", "cupy", "tensorflow", "jax")
    return a(f"{package}.{kind.__name__}" if package in shown else kind.__name__)


def way_to_anndata(given: Any) -> str:
    """Say how to get from what was given to an AnnData."""
    name = type(given).__name__
    if isinstance(given, str | bytes | os.PathLike):
        return _from_path(os.fsdecode(given))
    if given is None:
        return "many scanpy functions modify their AnnData in place and return None: pass the AnnData itself"
    if isinstance(given, type):
        return "pass an instance of it"
    if name == "MuData":
        names = [str(name) for name in getattr(given, "mod", {})]
        rna = [name for name in names if re.sub(r"[^a-z]", "", name.lower()) in ("rna", "gex")]
        return f'pass one of its modalities, such as mdata.mod["{(rna or names or ["rna"])[0]}"]'
    if name == "Raw":
        return "pass the AnnData that it belongs to, with use_raw=True"
    if name == "SpatialData":
        return 'pass one of its tables, such as sdata.tables["table"]'
    if name == "AnnCollection":
        return "only embed takes a collection: pass its AnnDatas one by one, or join them with anndata.concat(adatas)"
    if name == "AnnCollectionView":
        return "embed the collection itself, or its AnnDatas one by one"
    if name == "AnnLoader":
        return "embed the AnnData that it loads from, with loader.dataset or before the loader is made"
    if name in ("SingleCellExperiment", "SummarizedExperiment"):
        return "convert it with its method to_anndata()"
    if name in ("Group", "File") and type(given).__module__.startswith(("h5py", "zarr")):
        return "read it first with anndata.io.read_elem(group), or anndata.read_h5ad or anndata.read_zarr of its path"
    if isinstance(given, Mapping) or name == "AnnDataSet":
        return "embed its values one by one"
    if isinstance(given, Sequence | set | frozenset):
        return "embed them one by one, or join them first with anndata.concat(adatas)"
    return "make one with anndata.AnnData(X, obs, var), cells × genes, gene symbols as var_names"


def _from_path(given: str) -> str:
    path = Path(given)
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] == [".gz"] and suffixes[:1] == [".h5ad"]:
        there = given[:-3]
        return (
            f"unpack the file, `gunzip -k {given}`, and read it with anndata.read_h5ad({there!r}), {_as_it_is(there)}"
        )
    suffix = next((s for s in reversed(suffixes) if s != ".gz"), "")
    if suffix in _IN_R:
        from se600m._kinds import IN_R

        return f"this is a file from R: {IN_R}"
    if suffix == ".mtx" or any((path / name).is_file() for name in ("matrix.mtx", "matrix.mtx.gz")):
        folder = given if path.is_dir() else str(path.parent)
        return f"read the folder first with scanpy.read_10x_mtx({folder!r}), {_as_it_is(folder)}"
    call = _READERS.get(suffix, "anndata.read_h5ad({0!r})").format(given)
    read_by_us = suffix in (".zarr", ".h5mu", ".h5") or suffix not in _READERS
    return f"read the file first with {call}" + (f", {_as_it_is(given)}" if read_by_us else "")


def _as_it_is(path: str) -> str:
    return f"or embed the file with se600m.embed_file({path!r}, 'embedded.h5ad')"
