"""Matrices that are computed when they are asked for, and what is no AnnData at all."""

import importlib
import logging
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from se600m import _anndata, _lazy, _not_anndata, errors


class Array:
    """What is used of a dask array: shape, blocks of rows, slices, compute. Counts what is computed."""

    __module__ = "dask.array.core"

    def __init__(self, values, rows, first=0, counted=None):
        self.values, self.first, self.counted = values, first, [] if counted is None else counted
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        whole, rest = divmod(values.shape[0], rows)
        self.chunks = ((rows,) * whole + (rest,) * bool(rest), (values.shape[1],))

    def __getitem__(self, rows):
        return Array(self.values[rows], max(1, self.values[rows].shape[0]), rows.start, self.counted)

    def compute(self):
        self.counted.append((self.first, self.shape[0]))
        return self.values


@pytest.fixture
def cells(immune):
    adata = immune[:11, :3000].copy()
    return adata


@pytest.mark.parametrize("make", [lambda x: x.toarray(), sp.csr_matrix, sp.csc_matrix, sp.csr_array])
@pytest.mark.parametrize("rows", [1, 4, 11])
@pytest.mark.parametrize("order", [slice(None), [7, 2, 3, 9, 4, 10, 0, 2], slice(1, 9, 2)])
def test_rows_of_blocks(cells, make, rows, order):
    values = sp.csr_matrix(cells.X)
    blocks = _lazy.matrix(Array(make(values), rows), "x")
    want = values.toarray()[order]
    got = blocks[np.array(order) if isinstance(order, list) else order]
    assert np.array_equal(got.toarray() if sp.issparse(got) else got, want)


def test_each_block_is_computed_once(cells, monkeypatch, caplog):
    array = Array(sp.csr_matrix(cells.X), 4)
    monkeypatch.setattr(anndata.AnnData, "X", property(lambda _: array))
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", 2 * cells.n_vars)
    with caplog.at_level(logging.INFO, logger="se600m"):
        source = _anndata.read(cells, layer=None, use_raw=False, gene_column=None)
    assert "adata.X is a dask array, which is computed in 3 blocks of cells" in caplog.text
    assert array.counted == [], "nothing is computed before it is needed"
    assert sum(chunk.n_cells for _, chunk in source.chunks()) == 11
    assert array.counted == [(0, 4), (4, 4), (8, 3)]


def test_dask_arrays_that_are_no_matrix():
    unknown = SimpleNamespace(ndim=2, shape=(float("nan"), 3), compute=None)
    flat = SimpleNamespace(ndim=1, shape=(3,), compute=None)
    for array, says in (
        (unknown, "unknown shape: call its method compute_chunk_sizes"),
        (flat, "1 dimensions, not cells"),
    ):
        kind = type("Array", (SimpleNamespace,), {"__module__": "dask.array.core"})
        with pytest.raises(errors.DataError, match=says):
            _lazy.matrix(kind(**vars(array)), "adata.X")


@pytest.mark.parametrize("chunk", [3, 11])
def test_dask_itself(cells, chunk, random_model):
    dask = importlib.import_module("dask.array")
    model = random_model(pad_length=300).model
    want = model.compute(cells, expression="counts").embedding
    x = sp.csr_matrix(cells.X)
    for values in (x, x.toarray()):
        lazy = anndata.AnnData(dask.from_array(values, chunks=(chunk, 1000), asarray=False), cells.obs, cells.var)
        assert np.array_equal(model.compute(lazy, expression="counts").embedding, want)
        view = lazy[[7, 2, 9]]
        assert np.array_equal(model.compute(view, expression="counts").embedding, want[[7, 2, 9]])
        lazy.layers["counts"] = lazy.X
        assert np.array_equal(model.compute(lazy, layer="counts", expression="counts").embedding, want)


def test_read_lazy(cells, tmp_path, random_model, zarr, read_lazy):
    """Tables in xarray, too; all genes are seen."""
    model = random_model(pad_length=300).model
    cells.raw = cells.copy()
    cells.var["symbol"] = cells.var_names
    cells.write_h5ad(tmp_path / "a.h5ad")
    cells.write_zarr(tmp_path / "a.zarr")
    want = model.compute(cells, expression="counts").embedding
    for name in ("a.h5ad", "a.zarr"):
        lazy = read_lazy(tmp_path / name)
        assert not isinstance(lazy.var, pd.DataFrame)
        assert np.array_equal(model.compute(lazy, expression="counts").embedding, want)
        assert np.array_equal(model.compute(lazy[2:9], expression="counts").embedding, want[2:9])
        assert np.array_equal(model.compute(lazy, gene_column="symbol", expression="counts").embedding, want)
        assert np.array_equal(model.compute(lazy, use_raw=True, expression="counts").embedding, want)
        model.embed(lazy, expression="counts")
        assert np.array_equal(lazy.obsm["X_state"], want)


def test_zarr_arrays(cells, tmp_path, random_model, zarr):
    model = random_model(pad_length=300).model
    want = model.compute(cells, expression="counts").embedding
    array = zarr.create_array(str(tmp_path / "x.zarr"), data=sp.csr_matrix(cells.X).toarray(), chunks=(4, 500))
    lazy = anndata.AnnData(obs=cells.obs, var=cells.var, layers={"counts": array})
    for adata, rows in ((lazy, slice(None)), (lazy[[7, 2, 9]], [7, 2, 9])):
        assert np.array_equal(model.compute(adata, layer="counts", expression="counts").embedding, want[rows])


# -- no AnnData --------------------------------------------------------------------------------


def kind(name, module="__main__", **attributes):
    return type(name, (), {"__module__": module, **attributes})()


@pytest.mark.parametrize(
    "given, says",
    [
        ("cells.h5ad", r"a str: read the file first with anndata\.read_h5ad\('cells\.h5ad'\), or .*embed_file"),
        (b"cells.h5ad", r"a bytes: .*read_h5ad\('cells\.h5ad'\)"),
        ("cells.zarr", r"anndata\.read_zarr\('cells\.zarr'\)"),
        ("cells.h5mu", r"mudata\.read_h5mu\('cells\.h5mu'\)\.mod\[\"rna\"\]"),
        ("filtered.h5", r"scanpy\.read_10x_h5\('filtered\.h5'\)"),
        ("d/matrix.mtx.gz", r"read the folder first with scanpy\.read_10x_mtx\('d'\)"),
        ("cells.h5ad.gz", r"`gunzip -k cells\.h5ad\.gz`, and read it with anndata\.read_h5ad\('cells\.h5ad'\)"),
        ("cells.loom", r"anndata\.io\.read_loom\('cells\.loom', sparse=True\)$"),
        ("cells.csv", r"anndata\.io\.read_csv\('cells\.csv'\), with \.T if each row is a gene$"),
        ("seurat.rds", r"a file from R: in R, .*write_h5ad\(as_AnnData"),
        ("seurat.h5Seurat", "a file from R"),
        (None, "None: many scanpy functions modify their AnnData in place"),
        (anndata.AnnData, "the class AnnData: pass an instance of it"),
        (anndata.AnnData(np.ones((2, 2), np.float32)).to_df(), r"a DataFrame: make one with anndata\.AnnData\(X"),
        (np.ones((2, 2)), "an ndarray: make one"),
        (sp.csr_matrix((2, 2)), "a csr_matrix: make one"),
        ([], r"a list: embed them one by one, or join them first with anndata\.concat\(adatas\)"),
        ({}, "a dict: embed its values one by one"),
        (kind("MuData", mod={"prot": 0, "RNA": 1}), r'a MuData: .*mdata\.mod\["RNA"\]'),
        (kind("MuData", mod={"prot": 0}), r'mdata\.mod\["prot"\]'),
        (kind("SpatialData", "spatialdata._core"), r'a spatialdata\.SpatialData: .*sdata\.tables\["table"\]'),
        (kind("AnnCollection", "anndata.experimental"), r"an? AnnCollection: .*anndata\.concat\(adatas\)"),
        (kind("AnnCollectionView", "anndata.experimental"), r"AnnCollectionView: .*one by one"),
        (kind("AnnLoader", "anndata.experimental"), "AnnLoader: embed the AnnData that it loads from"),
        (kind("SingleCellExperiment", "singlecellexperiment"), r"SingleCellExperiment: .*to_anndata\(\)"),
        (kind("Group", "h5py._hl.group"), r"h5py\.Group: .*read_elem\(group\)"),
        (kind("Tensor", "torch"), r"a torch\.Tensor: make one with"),
    ],
)  # fmt: skip
def test_what_is_no_anndata_is_named(given, says):
    with pytest.raises(errors.DataError, match="expected an AnnData, not .*" + says.removeprefix("an? ")):
        se600m.embed(given, model="se-mini")
    assert _not_anndata.way_to_anndata(given)


def test_raw_is_not_an_anndata(immune):
    immune.raw = immune.copy()
    with pytest.raises(errors.DataError, match="a Raw: pass the AnnData that it belongs to, with use_raw=True"):
        se600m.embed(immune.raw, model="se-mini")
