"""Files of Cell Ranger and similar tools: matrices in HDF5, and folders with a Matrix Market file and two lists."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import pandas as pd
import scipy.io
import scipy.sparse as sp

from se600m import errors
from se600m._words import many

_COLUMNS = {"name": None, "id": "gene_ids", "feature_type": "feature_types"}
"""Columns of var by the names of datasets, as scanpy calls them."""
_V2 = {"barcodes", "data", "genes", "gene_names", "indices", "indptr", "shape"}
_V3 = {"barcodes", "data", "features", "indices", "indptr", "shape"}


def is_matrix(file: h5py.File) -> bool:
    """Whether an HDF5 file is a matrix of Cell Ranger's: a group ``matrix``, or before version 3 one a genome."""
    return _is_v3(file) or bool(genomes(file))


def _is_v3(file: h5py.File) -> bool:
    return isinstance(file.get("matrix"), h5py.Group) and set(file["matrix"]) >= _V3


def genomes(file: h5py.File) -> list[str]:
    """Name the genomes of a matrix of Cell Ranger before version 3."""
    return [name for name, group in file.items() if isinstance(group, h5py.Group) and set(group) >= _V2]


def read_h5(path: Path, file: h5py.File) -> anndata.AnnData:
    """Read a matrix in HDF5: cells × features, names of genes as var_names, the rest in var."""
    if _is_v3(file):
        group, features = file["matrix"], file["matrix/features"]
        columns = {
            name: _text(dataset)
            for name, dataset in features.items()
            if isinstance(dataset, h5py.Dataset) and name != "_all_tag_keys" and dataset.shape == features["id"].shape
        }
    else:
        names = genomes(file)
        if len(names) > 1:
            raise errors.DataError(
                f"{str(path)!r} has the genomes {', '.join(map(repr, names))}: read the human genome in Python, "
                f"adata = scanpy.read_10x_h5({str(path)!r}, genome={names[0]!r}), then adata.write_h5ad(...)"
            )
        group = file[names[0]]
        columns = {"name": _text(group["gene_names"]), "id": _text(group["genes"])}
    n_features, n_cells = group["shape"][...]
    # Genes × cells by columns is cells × genes by rows.
    x = sp.csr_matrix((group["data"][...], group["indices"][...], group["indptr"][...]), shape=(n_cells, n_features))
    return _adata(x, _text(group["barcodes"]), columns)


def _text(dataset: h5py.Dataset) -> list[str]:
    return [str(value) for value in dataset.asstr()[...]]


def _adata(x: Any, barcodes: list[str], columns: dict[str, list[str]]) -> anndata.AnnData:
    var = pd.DataFrame(
        {_COLUMNS.get(name, name): values for name, values in columns.items() if name != "name"},
        index=pd.Index(columns["name"], dtype=object),
    )
    return anndata.AnnData(x, obs=pd.DataFrame(index=pd.Index(barcodes, dtype=object)), var=var)


# -- folders -----------------------------------------------------------------------------------


def prefixes(folder: Path) -> list[str]:
    """List what stands before ``matrix.mtx`` in the names of a folder's files, as archives such as GEO put it."""
    ends = ("matrix.mtx", "matrix.mtx.gz")
    return sorted({p.name[: p.name.rindex("matrix.mtx")] for p in folder.iterdir() if p.name.endswith(ends)})


def read_folder(folder: Path, prefix: str) -> anndata.AnnData:
    """Read ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv`` or ``genes.tsv``, each as it is or gzipped."""

    def find(*names: str) -> Path:
        for name in names:
            for path in (folder / f"{prefix}{name}", folder / f"{prefix}{name}.gz"):
                if path.is_file():
                    return path
        raise errors.DataError(
            f"{str(folder)!r} has a {prefix}matrix.mtx, but neither {prefix}{names[0]} nor {prefix}{names[0]}.gz: "
            "a Cell Ranger folder has matrix.mtx, barcodes.tsv and features.tsv (or genes.tsv)"
        )

    matrix, barcodes = find("matrix.mtx"), find("barcodes.tsv")
    features = find("features.tsv", "genes.tsv")
    cells = [line[0] for line in _lines(barcodes)]
    rows = _lines(features)
    if not rows:
        raise errors.DataError(f"{str(features)!r} is empty")
    width = min(len(row) for row in rows)
    columns = {"name": [row[min(1, width - 1)] for row in rows]}
    if width > 1:
        columns["id"] = [row[0] for row in rows]
    if width > 2:
        columns["feature_type"] = [row[2] for row in rows]
    x = sp.csr_matrix(_read(matrix, scipy.io.mmread))
    if x.shape == (len(rows), len(cells)):
        x = x.T.tocsr()
    elif x.shape != (len(cells), len(rows)):
        raise errors.DataError(
            f"{str(matrix)!r} is {x.shape[0]:,} × {x.shape[1]:,}, but {features.name} has "
            f"{many(len(rows), 'line')} and {barcodes.name} {len(cells):,}: these files do not belong together"
        )
    return _adata(x, cells, columns)


def _read(path: Path, how: Callable[[Any], Any]) -> Any:
    try:
        return how(path)
    except (OSError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise errors.DataError(f"{str(path)!r} can't be read: {' '.join(str(error).split())}") from error


def _lines(path: Path) -> list[list[str]]:
    """Read the columns of a file of text; blank lines at the end count for nothing."""

    def read(path: Path) -> list[list[str]]:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return [line.rstrip("\r\n").split("\t") for line in file if line.strip()]

    return list(_read(path, read))
