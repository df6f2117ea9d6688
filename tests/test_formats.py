"""Files of cells: what is read gives the same cells whatever holds them, and what is not is named, with the way out."""

import gzip
import io
import lzma
import os
import pickle
import re
import sqlite3
import tarfile
import warnings
import zipfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

import se600m
from conftest import need_zarr
from se600m import _formats, _read_errors, errors


@pytest.fixture
def cells(immune):
    """6 cells × 2,000 genes, with ids."""
    adata = immune[:6, :2000].copy()
    adata.obs = pd.DataFrame(index=adata.obs_names)
    adata.var = pd.DataFrame({"gene_ids": [f"ENSG{i:011d}" for i in range(2000)]}, index=adata.var_names)
    adata.uns, adata.obsm = {}, {}
    adata.X = sp.csr_matrix(adata.X)
    return adata


def same(got, want):
    assert isinstance(got, anndata.AnnData)
    assert got.shape == want.shape
    assert list(got.obs_names) == list(want.obs_names)
    assert list(got.var_names) == list(want.var_names)
    assert np.array_equal(sp.csr_matrix(got.X).toarray(), sp.csr_matrix(want.X).toarray())
    if "gene_ids" in got.var:
        assert list(got.var["gene_ids"]) == list(want.var["gene_ids"])


# -- what is read ------------------------------------------------------------------------------


def tenx_group(group, adata):
    """Genes × cells by columns, as Cell Ranger stores it."""
    x = sp.csr_matrix(adata.X)
    group["data"], group["indices"], group["indptr"] = x.data.astype(np.int32), x.indices, x.indptr
    group["shape"] = np.array(adata.shape[::-1], np.int32)
    group["barcodes"] = np.array(adata.obs_names, "S")
    return group


def tenx_v3(path, adata):
    with h5py.File(path, "w") as file:
        features = tenx_group(file.create_group("matrix"), adata).create_group("features")
        features["id"], features["name"] = np.array(adata.var["gene_ids"], "S"), np.array(adata.var_names, "S")
        features["feature_type"] = np.array(["Gene Expression"] * adata.n_vars, "S")
        features["genome"] = np.array(["GRCh38"] * adata.n_vars, "S")
        features["_all_tag_keys"] = np.array(["genome"], "S")


def tenx_v2(path, adata, genomes=("GRCh38",)):
    with h5py.File(path, "w") as file:
        for genome in genomes:
            group = tenx_group(file.create_group(genome), adata)
            group["genes"], group["gene_names"] = np.array(adata.var["gene_ids"], "S"), np.array(adata.var_names, "S")


def mtx_folder(folder, adata, *, prefix="", zipped=False, old=False, by_cells=False):
    folder.mkdir(parents=True, exist_ok=True)

    def put(name, content):
        name = f"{prefix}{name}"
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)

    matrix = io.BytesIO()
    scipy.io.mmwrite(matrix, sp.coo_matrix(adata.X if by_cells else adata.X.T))
    put("matrix.mtx", matrix.getvalue())
    put("barcodes.tsv", "".join(f"{name}\n" for name in adata.obs_names).encode())
    rows = zip(adata.var["gene_ids"], adata.var_names, strict=True)
    end = "" if old else "\tGene Expression"
    put("genes.tsv" if old else "features.tsv", "".join(f"{i}\t{name}{end}\n" for i, name in rows).encode())


def mudata_file(path, **modalities):
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "MuData", "0.1.0"
        file.create_group("mod")
        for name, adata in modalities.items():
            anndata.io.write_elem(file["mod"], name, adata)


def old_h5ad(path, adata):
    """As anndata 0.6 wrote it: obs and var are arrays of records, and nothing has an encoding."""
    x = sp.csr_matrix(adata.X)
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group["data"], group["indices"], group["indptr"] = x.data, x.indices, x.indptr
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", x.shape
        file["obs"] = np.array([(name,) for name in adata.obs_names], [("index", "S40")])
        file["var"] = np.array(
            [(name, i) for name, i in zip(adata.var_names, adata.var["gene_ids"], strict=True)],
            [("index", "S40"), ("gene_ids", "S40")],
        )


READ = {
    "h5ad": ("a.h5ad", lambda path, a: a.write_h5ad(path)),
    "h5ad of anndata 0.6": ("a.h5ad", old_h5ad),
    "h5ad with the name of another kind": ("a.csv", lambda path, a: a.write_h5ad(path)),
    "h5ad without a suffix": ("cells", lambda path, a: a.write_h5ad(path)),
    "zarr": ("a.zarr", lambda path, a: need_zarr() and a.write_zarr(path)),
    "zarr with another name": ("folder", lambda path, a: need_zarr() and a.write_zarr(path)),
    "10x v3": ("a.h5", tenx_v3),
    "10x v2": ("a.h5", tenx_v2),
    "10x with the name of an h5ad": ("a.h5ad", tenx_v3),
    "mtx folder": ("folder", mtx_folder),
    "mtx folder, zipped": ("folder", lambda path, a: mtx_folder(path, a, zipped=True)),
    "mtx folder before Cell Ranger 3": ("folder", lambda path, a: mtx_folder(path, a, old=True)),
    "mtx folder with a prefix": ("folder", lambda path, a: mtx_folder(path, a, prefix="GSM1_pbmc_", zipped=True)),
    "mtx folder, cells × genes": ("folder", lambda path, a: mtx_folder(path, a, by_cells=True)),
    "h5mu": ("a.h5mu", lambda path, a: mudata_file(path, prot=a[:, :3], rna=a)),
    "h5mu of one modality": ("a.h5mu", lambda path, a: mudata_file(path, other=a)),
    "h5mu with gex": ("a.h5mu", lambda path, a: mudata_file(path, airr=a[:, :3], GEX=a)),
}


@pytest.mark.parametrize("kind", READ)
def test_the_same_cells_from_each_kind(tmp_path, cells, kind):
    name, write = READ[kind]
    write(tmp_path / name, cells)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of anndata's calls of pandas
        got = _formats.read(tmp_path / name)
    same(got, cells)
    if "10x" in kind or "mtx" in kind:
        assert sp.isspmatrix_csr(got.X)
    if "v3" in kind:
        assert set(got.var["feature_types"]) == {"Gene Expression"}
        assert set(got.var["genome"]) == {"GRCh38"}


def test_what_mudata_and_zarr_write_is_read(tmp_path, cells):
    """Another package's own writing, if it is here; the layout in zarr in any case."""
    group = need_zarr().open_group(str(tmp_path / "m.zarr"), mode="w", zarr_format=2)
    group.attrs["encoding-type"] = "MuData"
    mod = group.create_group("mod")
    for name, adata in (("atac", cells[:, :9].copy()), ("rna", cells)):
        anndata.io.write_elem(mod, name, adata)
    same(_formats.read(tmp_path / "m.zarr"), cells)
    same(_formats.read(tmp_path / "m.zarr", modality="atac"), cells[:, :9])


def test_a_modality_by_its_name(tmp_path, cells):
    mudata_file(tmp_path / "a.h5mu", tcell=cells[:3].copy(), bcell=cells[3:].copy())
    same(_formats.read(tmp_path / "a.h5mu", modality="bcell"), cells[3:])
    with pytest.raises(errors.DataError, match=r"modalities 'bcell', 'tcell', none of .*--modality NAME"):
        _formats.read(tmp_path / "a.h5mu")
    with pytest.raises(errors.OptionError, match=r"modality='rna' is not in .* which has 'bcell', 'tcell'"):
        _formats.read(tmp_path / "a.h5mu", modality="rna")
    cells.write_h5ad(tmp_path / "a.h5ad")
    need_zarr()
    cells.write_zarr(tmp_path / "a.zarr")
    tenx_v3(tmp_path / "a.h5", cells)
    mtx_folder(tmp_path / "mtx", cells)
    for name in ("a.h5ad", "a.zarr", "a.h5", "mtx"):
        with pytest.raises(errors.OptionError, match=r"modality='rna', but .*no modalities: leave"):
            _formats.read(tmp_path / name, modality="rna")


def test_the_command_reads_them(tmp_path, cells, run):
    """One kind of each reader, through the command, gives the embedding of the h5ad."""
    want = cells.copy()
    se600m.embed(want, model="se-mini", min_coverage=0)
    tenx_v3(tmp_path / "a.h5", cells)
    mudata_file(tmp_path / "b.h5mu", x=cells, y=cells[:2].copy())
    for source, options in (("a.h5", []), ("b.h5mu", ["--modality", "x"])):
        out = tmp_path / f"{source}.npy"
        done = run("embed", tmp_path / source, out, "--model", "se-mini", "--min-coverage", "0", *options)
        assert done.returncode == 0, done.stderr
        assert np.array_equal(np.load(out), want.obsm["X_state"])


@pytest.mark.parametrize("kind", ["a truncated h5ad", "nothing", "a web page", "h5ad, gzip", "csv", "an empty folder"])
def test_the_command_names_the_others_in_one_line(tmp_path, cells, kind, run):
    name, write, says = NOT_READ[kind]
    write(tmp_path / name, cells)
    before = sorted(tmp_path.rglob("*"))
    done = run("embed", tmp_path / name, tmp_path / "out.h5ad", "--model", "se-mini")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.search(f"^error: .*{says}", line)
    assert sorted(tmp_path.rglob("*")) == before


# -- what is not -------------------------------------------------------------------------------


def text(content):
    return lambda path, _: path.write_text(content)


def raw(content):
    return lambda path, _: path.write_bytes(content)


def zipped(**members):
    def write(path, _):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("__", "/"), content)

    return write


def hdf5(*groups, **attrs):
    def write(path, _):
        with h5py.File(path, "w") as file:
            file.attrs.update(attrs)
            for name in groups:
                file.create_group(name)

    return write


def loom(path, _):
    with h5py.File(path, "w") as file:
        file["matrix"] = np.ones((3, 2))
        file.create_group("row_attrs")
        file.create_group("col_attrs")


def tar(path, adata):
    adata.write_h5ad(path.with_name("inside.h5ad"))
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        archive.add(path.with_name("inside.h5ad"))


def whole(path, adata):
    adata.write_h5ad(path)
    return path.read_bytes()


def packed(compress):
    return lambda path, adata: path.write_bytes(compress(whole(path.with_name("w.h5ad"), adata)))


def cut(path, adata):
    content = whole(path, adata)
    path.write_bytes(content[: len(content) // 2])


def newer(element, encoding, version="0.1.0"):
    def write(path, adata):
        adata.layers["counts"] = adata.X.copy()
        adata.write_h5ad(path)
        with h5py.File(path, "r+") as file:
            file[element].attrs["encoding-type"], file[element].attrs["encoding-version"] = encoding, version

    return write


def without(element):
    def write(path, adata):
        adata.write_h5ad(path)
        with h5py.File(path, "r+") as file:
            del file[element]

    return write


def scribbled(path, adata):
    """Compressed values that can't be unpacked."""
    adata.write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\x55" * chunk.size
    path.write_bytes(content)


def part_of_zarr(path, adata):
    need_zarr()
    adata.write_zarr(path.parent / "whole.zarr")
    path.symlink_to(path.parent / "whole.zarr" / "X")


def empty_zarr(path, _):
    need_zarr().open_group(str(path), mode="w")


def spatialdata(path, adata):
    group = need_zarr().open_group(str(path), mode="w", zarr_format=2)
    anndata.io.write_elem(group.create_group("tables"), "table", adata)


def database(path, _):
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (x)")


def folder(*names):
    def write(path, _):
        path.mkdir()
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text("?")

    return write


def mismatched(path, adata):
    mtx_folder(path, adata)
    (path / "barcodes.tsv").write_text("a\nb\n")


def no_barcodes(path, adata):
    mtx_folder(path, adata)
    (path / "barcodes.tsv").unlink()


def two_samples(path, adata):
    mtx_folder(path, adata, prefix="GSM1_")
    mtx_folder(path, adata, prefix="GSM2_")


def broken_matrix(path, adata):
    mtx_folder(path, adata)
    (path / "matrix.mtx").write_text("%%MatrixMarket matrix coordinate integer general\n3 3")


def parquet(path, _):
    path.write_bytes(b"PAR1" + bytes(40) + b"PAR1")


def fifo(path, _):
    os.mkfifo(path)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3443933\n"
R_OBJECT = b"X\n\x00\x00\x00\x03\x00\x04\x02\x01"
NOT_READ = {
    # kind: (name of the file, how it is made, what the message says)
    "nothing": ("a.h5ad", lambda *_: None, r"a\.h5ad' does not exist$"),
    "a name like another": ("a.h5ad", lambda path, a: a.write_h5ad(path.with_name("a2.h5ad")), r"does not exist, but '.*a2\.h5ad' does$"),  # noqa: E501
    "under a file": ("x/a.h5ad", lambda path, _: path.parent.write_text("?"), r"a\.h5ad' does not exist$"),
    "a dangling link": (
        "a.h5ad", lambda path, _: path.symlink_to("gone.h5ad"), "a link to 'gone.h5ad', which does not exist"
    ),
    "a pipe": ("a.h5ad", fifo, "neither a file nor a folder"),
    "an empty file": ("a.h5ad", raw(b""), r"empty \(0 bytes\).*get it again"),
    "a Git LFS pointer": ("a.h5ad", text(LFS), r"Git LFS pointer.* \(3,443,933 bytes\): run `git lfs pull`"),
    "a web page": ("a.h5ad", text("\n<!DOCTYPE html><html>Sign in</html>"), r"web page \(HTML\).*download the file"),
    "an error of a server": (
        "a.h5ad", text('<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'), r"of a server \(NoSuchKey\)"
    ),
    "JSON": ("a.h5ad", text('{"message": "Not Found"}'), "a JSON file"),
    "a truncated h5ad": ("a.h5ad", cut, r"cut off \([\d,]+ of [\d,]+ bytes\): its download"),
    "an h5ad that was cut off, zipped": ("a.h5ad.gz", lambda path, a: path.write_bytes(gzip.compress(b"x" * 999)[:20]),
                                         "gzip file that is damaged or cut off"),
    "an h5ad with damaged values": ("a.h5ad", scribbled, r"/X/?\w*: it is damaged .*get it again"),
    "an h5ad without a part": ("a.h5ad", without("X/indptr"), "has no 'indptr': the file is incomplete"),
    "an h5ad of a newer anndata": (
        "a.h5ad", newer("layers/counts", "csr_matrix", "9.0.0"),
        r"/layers/counts: is stored as 'csr_matrix', version 9\.0\.0, which requires a newer anndata than .*pip install"
    ),
    "an h5ad of a known newer anndata": (
        "a.h5ad", newer("obs", "accessor"), r"/obs: is stored as 'accessor'.* which requires anndata 0\.14 or newer: pip"  # noqa: E501
    ),
    "h5ad, gzip": ("a.h5ad.gz", packed(gzip.compress), r"with gzip: unpack it first, `gunzip -k .*\.h5ad\.gz`"),
    "h5ad, gzip with the name of an h5ad": ("a.h5ad", packed(gzip.compress), r"with gzip: .*`gunzip < .*a\.h5ad"),
    "h5ad, xz": ("a.h5ad.xz", packed(lzma.compress), "compressed with xz: unpack it first"),
    "h5ad, zstd": ("a.h5ad.zst", raw(b"\x28\xb5\x2f\xfd" + bytes(99)), "compressed with zstd"),
    "h5ad, zip": ("a.zip", zipped(**{"data__a.h5ad": "?"}), r"zip archive: unpack it first, .*'data/a\.h5ad'"),
    "a damaged zip": ("a.zip", raw(b"PK\x03\x04" + bytes(99)), "zip archive that is damaged or cut off"),
    "zarr, zip": ("a.zarr.zip", zipped(zarr_json="{}", **{"zarr.json": "{}"}), "zarr folder in a zip archive"),
    "tar": ("a.tar", tar, "tar archive: unpack it first, `tar xf"),
    "tar.gz": ("a.tar.gz", tar, "tar archive: unpack it first, `tar xf"),
    "loom": ("a.loom", loom, r"loom file: .*read_loom\('.*a\.loom', sparse=True\)"),
    "csv": ("a.csv", text("gene,c1,c2\nCD3D,1,2\n"), r"rows are cells or genes: .*read_csv\('.*a\.csv'\) if .*\.T if"),
    "tsv": ("a.tsv", text("gene\tc1\tc2\nCD3D\t1\t2\n"), r"rows are cells or genes: .*delimiter='\\t'\)"),
    "txt": ("a.txt", text("gene\tc1\tc2\nCD3D\t1\t2\n"), "rows are cells or genes"),
    "csv with a German Excel's semicolons": ("a.csv", text("Gen;Zelle\nCD3D;1\n"), "delimiter=';'"),
    "csv, gzip": ("a.csv.gz", raw(gzip.compress(b"gene,c1\nCD3D,1\n")), r"read_csv\('.*a\.csv\.gz'\)"),
    "csv with the name of an h5ad": ("a.h5ad", text("gene,c1\nCD3D,1\n"), "a text table"),
    "text": ("a.h5ad", text("hello"), "a text file that begins with 'hello'"),
    "RDS": ("a.rds", raw(gzip.compress(R_OBJECT)), r"R object \(RDS\).*Seurat.*write_h5ad\(as_AnnData"),
    "RDS, plain": ("a.rds", raw(R_OBJECT), r"R object \(RDS\)"),
    "RDS, xz": ("a.rds", raw(lzma.compress(R_OBJECT)), r"R object \(RDS\)"),
    "RDS with the name of an h5ad": ("a.h5ad", raw(gzip.compress(R_OBJECT)), r"R object \(RDS\)"),
    "RData": ("a.rda", raw(gzip.compress(b"RDX3\nX\n\x00\x00\x00\x03")), r"R workspace \(RData\)"),
    "qs": ("a.qs", raw(b"\x0b\x0e\x0a\x0c" + bytes(40)), r"R object \(qs\)"),
    "h5Seurat": ("a.h5seurat", hdf5("cell.names", "meta.data", "assays"), r"Seurat file .*SeuratDisk::Convert"),
    "parquet": ("a.parquet", parquet, r"Parquet table: .*pandas\.read_parquet"),
    "feather": ("a.feather", raw(b"ARROW1\x00\x00" + bytes(40)), r"Feather\) table: .*pandas\.read_feather"),
    "Excel": ("a.xlsx", zipped(**{"xl__workbook.xml": "<x/>"}), r"Excel workbook: .*pandas\.read_excel"),
    "npy": ("a.npy", lambda path, _: np.save(path, np.ones(3)), "numpy array, which has no gene names"),
    "npz": ("a.npz", lambda path, _: np.savez(path, x=np.ones(3)), "file of numpy arrays"),
    "sparse npz": ("a.npz", lambda path, a: sp.save_npz(path, a.X), "file of numpy arrays"),
    "mtx": ("a.mtx", lambda path, a: scipy.io.mmwrite(path, a.X), "Matrix Market.*give a folder with this file"),
    "mtx, gzip": (
        "a.mtx.gz", raw(gzip.compress(b"%%MatrixMarket matrix")), "Matrix Market.*give a folder with this file"
    ),
    "a pickle": ("a.pkl", lambda path, _: path.write_bytes(pickle.dumps([1])), "pickle, .*not opened"),
    "a database": ("a.db", database, "SQLite database"),
    "a checkpoint": ("a.ckpt", zipped(**{"archive__data.pkl": "?"}), r"PyTorch checkpoint: .*--model"),
    "MATLAB": ("a.mat", raw(b"MATLAB 5.0 MAT-file" + bytes(99)), r"MATLAB file: .*scipy\.io\.loadmat"),
    "bytes of no kind": ("a.h5ad", raw(bytes(range(1, 99))), r"not a file of cells \(it begins with 01 02 03"),
    "molecule_info.h5": ("a.h5", hdf5("barcode_idx", "umi"), r"molecule_info\.h5: use filtered_feature_bc_matrix\.h5"),
    "an element of AnnData": ("a.h5", hdf5("data", **{"encoding-type": "csr_matrix"}), r"element of an AnnData \(csr"),
    "any HDF5": ("a.h5", hdf5("alpha", "beta"), r"HDF5 file without cells \('alpha', 'beta'\)"),
    "an empty HDF5": ("a.h5", hdf5(), r"HDF5 file without cells \(it is empty\)"),
    "10x of two genomes": (
        "a.h5", lambda path, a: tenx_v2(path, a, ("GRCh38", "mm10")), r"genomes 'GRCh38', 'mm10': .*genome='GRCh38'"
    ),
    "an empty folder": ("a", folder(), "is an empty folder: a zarr folder has"),
    "a folder of other things": ("a", folder("notes.txt"), "is a folder without cells"),
    "a folder of h5ad": ("a", folder("x.h5ad", "y.h5ad"), r"a folder: give one of the files in it: 'x\.h5ad', 'y"),
    "a folder of Cell Ranger": ("outs", folder("filtered_feature_bc_matrix.h5"), r"give '.*outs/filtered_feature_bc_m"),
    "a folder of folders": ("a", folder("s1/matrix.mtx.gz", "s2/matrix.mtx.gz"), r"give one of them, such as '.*a/s1'"),
    "a folder with a model": ("a", folder("model.safetensors"), r"a folder with a model: .*--model"),
    "TileDB": ("a", folder("__tiledb_group.tdb"), "TileDB-SOMA"),
    "a folder of two samples": ("a", two_samples, r"2 matrices \('GSM1_', 'GSM2_'\): put"),
    "mtx without barcodes": ("a", no_barcodes, r"neither barcodes\.tsv nor barcodes\.tsv\.gz"),
    "mtx that does not belong": ("a", mismatched, r"2,000 × 6, but features\.tsv has 2,000 lines and barcodes\.tsv 2:"),
    "mtx that is cut off": ("a", broken_matrix, r"matrix\.mtx' can't be read"),
    "a part of a zarr folder": ("part", part_of_zarr, "an element of an AnnData in zarr|a part of the zarr folder"),
    "SpatialData": ("a.zarr", spatialdata, r"SpatialData: give a table in it, such as '.*tables/table'"),
    "an empty zarr": ("a.zarr", empty_zarr, "zarr folder without cells"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NOT_READ)
def test_what_is_not_read_is_named_in_one_line(tmp_path, cells, kind):
    name, write, says = NOT_READ[kind]
    path = tmp_path / name
    write(path, cells)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.SE600MError, match=says) as raised:
        _formats.read(path)
    message = str(raised.value)
    assert "\n" not in message
    assert name.rpartition("/")[2] in message
    assert len(message) < 600
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked or left behind"


def test_addresses_are_not_paths():
    for address in ("https://example.org/a.h5ad", "s3://bucket/a.zarr"):
        with pytest.raises(errors.DataError, match="is a network address: download the file first"):
            _formats.read(address)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "a.h5ad").write_text("?")
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(errors.DataError, match="can't be opened: you do not have permission to read it"):
        _formats.read(tmp_path / "a.h5ad")


def test_zarr_without_its_package(tmp_path, cells, monkeypatch):
    need_zarr()
    cells.write_zarr(tmp_path / "a.zarr")
    monkeypatch.setattr(_formats.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.MissingPackageError, match=r"zarr folder, .*pip install 'se600m-go\[zarr\]'"):
        _formats.read(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    "text, says",
    [
        ("Unable to synchronously open file (unable to lock file, errno = 11, error message = 'x')", "another process"),
        ("Can't synchronously read data (can't open directory (/usr/local/hdf5/lib/plugin). Please verify it)\n"
         "required filter 'blosc' is not registered", "pip install hdf5plugin"),
        ("Can't synchronously read data (inflate() failed)", "damaged"),
        ("Unable to synchronously open object (bad object header version number)", "damaged"),
        ("first line\nsecond line\nthird line", "first line$"),
        ("", "RuntimeError$"),
    ],
)  # fmt: skip
def test_what_h5py_says_in_many_lines_is_one(text, says):
    said = _read_errors.cause(RuntimeError(text))
    assert re.search(says, said)
    assert "\n" not in said
