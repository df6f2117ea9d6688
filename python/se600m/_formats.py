"""Files of cells: their kind, which is recognised by content, and how to read them or convert them.

File names are not trusted: the first bytes of a file, or the top level of an HDF5 or zarr file, show its kind.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import json
import os
import re
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import h5py

from se600m import _kinds, _tenx, errors
from se600m._log import log
from se600m._read_errors import cause

if TYPE_CHECKING:
    from anndata import AnnData

_RNA = ("rna", "gex", "geneexpression", "transcriptome", "transcriptomics", "scrna", "snrna")
"""Names of the modality with genes, in small letters."""


def read(path: str | os.PathLike[str], *, modality: str | None = None, backed: bool = False) -> AnnData:
    """Read a file or a folder of cells.

    Supported are h5ad, zarr, matrices of Cell Ranger (HDF5, or a folder with ``matrix.mtx``) and one modality of
    MuData (h5mu, zarr).

    Parameters
    ----------
    path
        The file or folder.
    modality
        Modality of a MuData; by default the one named rna or gex, or the only one.
    backed
        Leave the matrix of an h5ad on the disk.

    Raises
    ------
    DataError
        The file does not exist, or is of another kind: the message names the kind and says how to convert it.
    MissingPackageError
        zarr is needed, but not installed.
    """
    path = Path(path).expanduser()
    _must_be_there(path)
    try:
        with warnings.catch_warnings():
            # Names that stand twice are judged, and reported, when genes are looked up.
            warnings.filterwarnings("ignore", "(Variable|Observation) names are not unique")
            # What an old file should look like now is nothing that its reader can do something about.
            warnings.simplefilter("ignore", anndata.OldFormatWarning)
            warnings.filterwarnings("ignore", category=FutureWarning, module="anndata")
            adata = _read_folder(path, modality) if path.is_dir() else _read_file(path, modality, backed)
    except errors.SE600MError:
        raise
    except MemoryError:
        raise errors.DataError(
            f"{str(path)!r} does not fit into memory: convert it to an h5ad file, some cells at a time; such files are "
            "read from the disk"
        ) from None
    except Exception as error:
        raise errors.DataError(f"{str(path)!r} can't be read: {cause(error)}") from error
    return adata


def _must_be_there(path: Path) -> None:
    given = str(path)
    if re.match(r"^(https?|ftp|s3|gs|az|hf):/+", given):
        raise errors.DataError(f"{given!r} is a network address: download the file first")
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.listdir(path)
        elif stat.S_ISREG(mode):
            path.open("rb").close()
        else:
            raise errors.DataError(f"{given!r} is neither a file nor a folder: give a file or a folder with cells")
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise errors.DataError(f"{given!r} is a link to {os.readlink(path)!r}, which does not exist") from error
        raise errors.DataError(f"{given!r} does not exist{_near(path)}") from error
    except OSError as error:
        why = "you do not have permission to read it" if error.errno in (errno.EACCES, errno.EPERM) else error.strerror
        raise errors.DataError(f"{given!r} can't be opened: {why}") from error


def _near(path: Path) -> str:
    import difflib

    with contextlib.suppress(OSError):
        near = difflib.get_close_matches(path.name, os.listdir(path.parent), 1, 0.75)
        if near:
            return f", but {str(path.parent / near[0])!r} does"
    return ""


# -- files -------------------------------------------------------------------------------------


def _read_file(path: Path, modality: str | None, backed: bool) -> AnnData:
    head = _kinds.first_bytes(path)
    if h5py.is_hdf5(path) or head.startswith(_kinds.HDF5):
        return _read_hdf5(path, modality, backed)
    kind, way_out = _kinds.kind_of(path, head)
    raise errors.DataError(f"{str(path)!r} is {kind}: {way_out}")


# -- HDF5 --------------------------------------------------------------------------------------


def _read_hdf5(path: Path, modality: str | None, backed: bool) -> AnnData:
    if importlib.util.find_spec("hdf5plugin") is not None:
        importlib.import_module("hdf5plugin")  # which makes more compressions readable

    with h5py.File(path) as file:
        attrs, keys = _attrs(file.attrs), set(file)
        encoding = attrs.get("encoding-type", "")
        if encoding == "MuData" or "mod" in keys:
            return _read_modality(path, file, modality)
        if _tenx.is_matrix(file):
            _no_modality(path, modality, "a Cell Ranger matrix")
            return _tenx.read_h5(path, file)
        if encoding != "anndata" and not {"obs", "var"} <= keys:
            kind, way_out = _kind_of_hdf5(path, file, attrs, keys)
            raise errors.DataError(f"{str(path)!r} is {kind}: {way_out}")
    _no_modality(path, modality, "an h5ad file")
    return anndata.read_h5ad(path, backed="r" if backed else None)


def _no_modality(path: Path, modality: str | None, what: str) -> None:
    if modality is not None:
        raise errors.OptionError(
            f"modality={modality!r}, but {str(path)!r} is {what}, which has no modalities: leave the option out"
        )


def _attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): value.decode() if isinstance(value, bytes) else value for key, value in attrs.items()}


def _kind_of_hdf5(path: Path, file: h5py.File, attrs: dict[str, Any], keys: set[str]) -> tuple[str, str]:
    name = str(path)
    if isinstance(file.get("matrix"), h5py.Dataset) and {"row_attrs", "col_attrs"} <= keys:
        return (
            "a loom file",
            f"convert it once in Python (pip install loompy), anndata.io.read_loom({name!r}, sparse=True)"
            '.write_h5ad("cells.h5ad")',
        )
    if {"cell.names", "meta.data"} <= keys or "assays" in keys:
        return (
            "a Seurat file (h5Seurat)",
            f'convert it once in R, SeuratDisk::Convert("{name}", dest = "h5ad"), or {_kinds.IN_R}',
        )
    if {"barcode_idx", "umi"} <= keys:
        return "Cell Ranger's molecule_info.h5", "use filtered_feature_bc_matrix.h5 from the same folder"
    if "encoding-type" in attrs:
        return (
            f"only an element of an AnnData ({attrs['encoding-type']})",
            "create an AnnData with it, and write that with adata.write_h5ad",
        )
    if any(str(k).startswith("MATLAB") for k in attrs) or "#refs#" in keys:
        return "a MATLAB file", _kinds.own_reader("h5py.File", name)
    if "pandas_type" in {k for key in keys for k in file[key].attrs}:
        return "a pandas table (HDFStore)", _kinds.table("pandas.read_hdf", name)
    if "keras_version" in attrs or "model_weights" in keys:
        return "a Keras model", "give a file with cells instead"
    listed = ", ".join(map(repr, sorted(keys)[:8])) + (", …" if len(keys) > 8 else "")
    return (
        f"an HDF5 file without cells ({listed or 'it is empty'})",
        "an h5ad file has X, obs and var, and a 10x .h5 file has matrix/barcodes and matrix/features",
    )


def _read_modality(path: Path, group: Any, wanted: str | None) -> AnnData:
    """Read one modality of a MuData, in HDF5 or zarr."""
    names = [str(name) for name in group["mod"]]
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in names}
    found = next((plain[name] for name in _RNA if name in plain), names[0] if len(names) == 1 else None)
    if wanted is not None:
        if wanted not in names:
            raise errors.OptionError(
                f"modality={wanted!r} is not in {str(path)!r}, which has {', '.join(map(repr, names))}"
            )
        found = wanted
    if found is None:
        raise errors.DataError(
            f"{str(path)!r} is a MuData with the modalities {', '.join(map(repr, names))}, none of which is named "
            "rna or gex: choose the one with gene expression with --modality NAME"
        )
    log.info("%s is a MuData: reading the modality %r of %s", path, found, ", ".join(map(repr, names)))
    adata: AnnData = anndata.io.read_elem(group["mod"][found])
    return adata


# -- folders -----------------------------------------------------------------------------------


def _read_folder(path: Path, modality: str | None) -> AnnData:
    names = set(os.listdir(path))
    if names & {"zarr.json", ".zgroup", ".zattrs"}:
        return _read_zarr(path, modality)
    prefixes = _tenx.prefixes(path)
    if len(prefixes) == 1:
        _no_modality(path, modality, "a Cell Ranger folder")
        return _tenx.read_folder(path, prefixes[0])
    kind, way_out = _kind_of_folder(path, names, prefixes)
    raise errors.DataError(f"{str(path)!r} is {kind}: {way_out}")


def _kind_of_folder(path: Path, names: set[str], prefixes: list[str]) -> tuple[str, str]:
    if prefixes:
        listed = ", ".join(repr(prefix) for prefix in prefixes[:6])
        return (
            f"a folder with {len(prefixes)} matrices ({listed})",
            "put matrix.mtx, barcodes.tsv and features.tsv of each one into its own folder",
        )
    for inside in ("filtered_feature_bc_matrix.h5", "filtered_feature_bc_matrix", "filtered_gene_bc_matrices", "outs"):
        if inside in names:
            return "an output folder of Cell Ranger", f"give {str(path / inside)!r} instead"
    if any(name.startswith("__tiledb") for name in names):
        return "a TileDB-SOMA experiment", 'in Python, tiledbsoma.io.to_anndata(experiment, "RNA").write_h5ad(...)'
    if "config.json" in names or any(name.endswith((".safetensors", ".ckpt")) for name in names):
        return "a folder with a model", "give a file with cells, and this folder with --model"
    cells = sorted(n for n in names if n.endswith((".h5ad", ".zarr", ".h5mu", ".h5")))
    if cells:
        listed = ", ".join(map(repr, cells[:6])) + (", …" if len(cells) > 6 else "")
        return "a folder", f"give one of the files in it: {listed}"
    inside_of = sorted(p.parent.name for pattern in ("matrix.mtx", "matrix.mtx.gz") for p in path.glob(f"*/{pattern}"))
    if inside_of:
        return "a folder of matrix folders", f"give one of them, such as {str(path / inside_of[0])!r}"
    return (
        "an empty folder" if not names else "a folder without cells",
        "a zarr folder has zarr.json or .zgroup, a Cell Ranger folder has matrix.mtx, barcodes.tsv and features.tsv",
    )


def _read_zarr(path: Path, modality: str | None) -> AnnData:
    attrs, keys = _zarr_attrs(path), {p.name for p in path.iterdir() if p.is_dir()}
    encoding = str(attrs.get("encoding-type", ""))
    is_mudata = encoding == "MuData" or "mod" in keys
    if not is_mudata and encoding != "anndata" and not {"obs", "var"} <= keys:
        kind, way_out = _kind_of_zarr(path, attrs, keys)
        raise errors.DataError(f"{str(path)!r} is {kind}: {way_out}")
    if importlib.util.find_spec("zarr") is None:
        raise errors.MissingPackageError(
            f"{str(path)!r} is a zarr folder, which requires the package zarr: pip install 'se600m-go[zarr]'"
        )
    if is_mudata:
        import zarr

        return _read_modality(path, zarr.open_group(str(path), mode="r"), modality)
    _no_modality(path, modality, "an AnnData in zarr")
    return anndata.io.read_zarr(str(path))


def _zarr_attrs(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return dict(json.loads((path / "zarr.json").read_text()).get("attributes", {}))
    with contextlib.suppress(OSError, ValueError, TypeError):
        return dict(json.loads((path / ".zattrs").read_text()))
    return {}


def _kind_of_zarr(path: Path, attrs: dict[str, Any], keys: set[str]) -> tuple[str, str]:
    tables = sorted(p.name for p in (path / "tables").glob("*") if p.is_dir()) if "tables" in keys else []
    if tables:
        return "a SpatialData", f"give a table in it, such as {str(path / 'tables' / tables[0])!r}"
    parents = [p for p in path.parents if (p / "zarr.json").is_file() or (p / ".zgroup").is_file()]
    if parents:
        return f"a part of the zarr folder {str(parents[-1])!r}", "give that folder instead"
    encoding = attrs.get("encoding-type")
    if encoding:
        return f"only an element of an AnnData in zarr ({encoding})", "write the whole AnnData with write_zarr"
    return (
        f"a zarr folder without cells ({', '.join(map(repr, sorted(keys)[:8])) or 'it is empty'})",
        "an AnnData in zarr has X, obs and var",
    )
