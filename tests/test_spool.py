"""Rows of a matrix that lies on disk column by column: right, read once, in little memory, nothing left behind."""

import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata.io import sparse_dataset

import se600m
from se600m import _anndata, _spool, errors

N_CELLS, N_GENES = 211, 97


@pytest.fixture(scope="module")
def values():
    x = np.random.default_rng(0).poisson(0.5, (N_CELLS, N_GENES)).astype(np.float32)
    x[5] = 0
    x[:, 9] = 0
    return x


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Several slabs, several parts, and a file rather than memory."""
    monkeypatch.setattr(_spool, "_SLAB", 500)
    monkeypatch.setattr(_spool, "_PART", 700)
    monkeypatch.setattr(_spool, "_IN_MEMORY", 1)
    monkeypatch.setattr(_spool, "_GAP", 60)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def unsorted(x):
    """CSC with every column's rows in falling order."""
    x = sp.csc_matrix(x)
    for i in range(x.shape[1]):
        column = slice(x.indptr[i], x.indptr[i + 1])
        x.indices[column], x.data[column] = x.indices[column][::-1].copy(), x.data[column][::-1].copy()
    return x


def stored_twice(x):
    x = sp.csc_matrix(x)
    return sp.csc_matrix((np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), x.indptr * 2), shape=x.shape)


KINDS = {"sorted": sp.csc_matrix, "unsorted": unsorted, "stored twice": stored_twice}


def write(matrix, path, **options):
    with h5py.File(path, "w") as file:
        anndata.io.write_elem(file, "X", matrix, dataset_kwargs=options)
    return sparse_dataset(h5py.File(path, "r")["X"])


def opened(path):
    """Give the files that this process has open and that are no longer in their folder."""
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(fd))
        except OSError:
            continue
    return [link for link in links if link.startswith(str(path))]


SELECTIONS = {
    "all": (None, slice(None)),
    "some cells": (np.array([3, 4, 100, 200]), slice(None)),
    "another order": (np.random.default_rng(1).permutation(N_CELLS), slice(None)),
    "repeated cells": (np.array([7, 7, 200, 5, 7, 0, 210]), slice(None)),
    "some genes": (np.arange(N_CELLS), np.array([0, 1, 50, 96])),
    "genes in another order": (np.arange(50), np.array([96, 3, 50, 9])),
    "a range of genes": (np.arange(N_CELLS), slice(20, 30)),
    "a mask of genes": (np.arange(N_CELLS), np.arange(N_GENES) % 3 == 0),
    "no genes": (np.arange(3), slice(0, 0)),
}


@pytest.mark.parametrize("chunks", [None, (64,), (10_000,)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_rows_are_those_of_the_matrix(values, small, tmp_path, selection, kind, chunks):
    cells, genes = SELECTIONS[selection]
    options = {} if chunks is None else {"chunks": chunks}
    spool = _spool.Spool(write(KINDS[kind](values), tmp_path / "x.h5", **options), "adata.X", cells, genes)
    want = (values if cells is None else values[cells])[:, genes]
    for step in (1000, 13, 1):
        rows = [spool.rows(first, min(first + step, len(want)))[:, genes] for first in range(0, len(want), step)]
        assert all(sp.issparse(r) and r.format == "csr" for r in rows)
        assert np.array_equal(sp.vstack(rows).toarray(), want)
    last = len(want) - 1
    assert np.array_equal(spool.rows(last, last + 1)[:, genes].toarray(), want[last:])
    assert list(small.iterdir()) == []


def test_rows_of_a_zarr_group(values, small, tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    anndata.io.write_elem(group, "X", sp.csc_matrix(values))
    spool = _spool.Spool(sparse_dataset(group["X"]), "adata.X", None, slice(None))
    assert np.array_equal(spool.rows(0, N_CELLS).toarray(), values)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "int64"])
def test_values_keep_their_type(values, small, tmp_path, dtype):
    spool = _spool.Spool(write(sp.csc_matrix(values.astype(dtype)), tmp_path / "x.h5"), "adata.X", None, slice(None))
    rows = spool.rows(0, N_CELLS)
    assert rows.dtype == dtype
    assert np.array_equal(rows.toarray(), values)


def backed(values, genes, path):
    anndata.AnnData(sp.csc_matrix(values), var=pd.DataFrame(index=genes)).write_h5ad(path)
    return anndata.read_h5ad(path, backed="r")


def count_reads(monkeypatch):
    """Count the stored values that are read from disk."""
    read = {"data": 0, "indices": 0}
    get = h5py.Dataset.__getitem__

    def counted(self, *args, **options):
        found = get(self, *args, **options)
        name = self.name.rsplit("/", 1)[-1]
        if name in read and not self.name.startswith(("/obs", "/var")):
            read[name] += np.size(found)
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    return read


def test_each_value_is_read_once(random_model, small, monkeypatch, tmp_path):
    """Whatever is done with the cells: the pass before, and the embedding in chunks."""
    model = random_model(pad_length=300).model
    values = np.random.default_rng(0).poisson(0.5, (N_CELLS, N_GENES)) + 0.0
    adata = backed(values, model.genes[:N_GENES], tmp_path / "x.h5ad")
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", 20 * N_GENES)
    read = count_reads(monkeypatch)
    got = model.compute(adata, expression="counts").embedding
    nnz = np.count_nonzero(values)
    assert read == {"data": nnz, "indices": nnz}
    in_memory = anndata.AnnData(values, var=adata.var)
    assert np.array_equal(got, model.compute(in_memory, expression="counts").embedding)
    read.update(data=0, indices=0)
    view = adata[::7, 20:60]
    assert np.array_equal(
        model.compute(view, expression="counts").embedding,
        model.compute(in_memory[::7, 20:60].copy(), expression="counts").embedding,
    )
    few = np.count_nonzero(values[:, 20:60])
    assert read == {"data": few, "indices": few}
    adata.file.close()
    assert opened(small) == []
    assert list(small.iterdir()) == []


def test_a_better_matrix_is_looked_for_without_reading_one(random_model, small, monkeypatch, tmp_path):
    model = random_model(pad_length=300).model
    values = np.random.default_rng(0).poisson(0.5, (N_CELLS, N_GENES)) + 0.0
    adata = backed(values, model.genes[:N_GENES], tmp_path / "x.h5ad")
    adata.layers["scaled"] = values - 1
    monkeypatch.setattr(_anndata, "_SAMPLE", 1)
    read = count_reads(monkeypatch)
    with pytest.warns(errors.DataWarning, match=r"try adata\.X \(no layer, use_raw=False\)"):
        model.compute(adata, layer="scaled")
    assert read["data"] == 1024
    adata.file.close()


def test_memory_is_bounded(tmp_path):
    """A file of 160 MB in values and indices is read with a few megabytes."""
    path = tmp_path / "x.h5ad"
    rows, columns = 20_000, 1000
    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(0, rows, (columns, rows), np.int32), axis=1).ravel()
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csc_matrix", "encoding-version": "0.1.0", "shape": (rows, columns)})
        group["indices"], group["indptr"] = indices, np.arange(columns + 1) * rows
        group["data"] = np.ones(len(indices), np.float32)
    code = f"""
        import resource, h5py, numpy as np
        from anndata.io import sparse_dataset
        from se600m import _spool
        _spool._SLAB, _spool._PART, _spool._IN_MEMORY = 1 << 16, 1 << 18, 1
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        matrix = sparse_dataset(h5py.File({str(path)!r})["X"])
        spool = _spool.Spool(matrix, "adata.X", None, slice(None))
        before, total = peak(), 0
        for first in range(0, {rows}, 250):
            total += spool.rows(first, first + 250).sum()
        assert total == {rows * columns}, total
        print((peak() - before) // 1024)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=True, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert int(out.stdout) < 64, "megabytes more than before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.h5ad"]


def test_it_is_logged_once(values, small, tmp_path, caplog):
    spool = _spool.Spool(write(sp.csc_matrix(values), tmp_path / "x.h5"), "adata.X", None, slice(None))
    with caplog.at_level(logging.INFO, "se600m"):
        spool.rows(0, 3)
        spool.rows(3, 9)
    (record,) = caplog.records
    assert "adata.X is stored by column on disk (CSC)" in record.message
    assert f"a temporary file of 0.0 GB in {small}" in record.message


def test_no_room(values, small, tmp_path, monkeypatch):
    spool = _spool.Spool(write(sp.csc_matrix(values), tmp_path / "x.h5"), "adata.X", None, slice(None))
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(
            errors.DataError,
            match=r"adata\.X is stored by column on disk .* no space: .* variable TMPDIR to .*, or write .* CSR",
        ):
            spool.rows(0, 3)

    class Full(tempfile.SpooledTemporaryFile):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "SpooledTemporaryFile", Full)
        with pytest.raises(errors.DataError, match="has no space: set the environment variable TMPDIR"):
            spool.rows(0, 3)
    assert np.array_equal(spool.rows(0, 3).toarray(), values[:3])


def test_an_interrupted_pass_leaves_nothing(values, small, tmp_path, monkeypatch):
    spool = _spool.Spool(write(sp.csc_matrix(values), tmp_path / "x.h5"), "adata.X", None, slice(None))
    write_slab, calls = _spool.Spool._write_slab, 0

    def interrupted(self, *args):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return write_slab(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(_spool.Spool, "_write_slab", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spool.rows(0, 3)
    assert opened(small) == []
    assert np.array_equal(spool.rows(0, N_CELLS).toarray(), values)
    assert len(opened(small)) == 1
    del spool
    assert opened(small) == []


@pytest.mark.parametrize("row", [N_CELLS, -1])
def test_a_damaged_matrix(values, small, tmp_path, row):
    matrix = sp.csc_matrix(values)
    matrix.indices[700] = row
    spool = _spool.Spool(write(matrix, tmp_path / "x.h5"), "adata.X", None, slice(None))
    with pytest.raises(errors.DataError, match=rf"adata\.X is damaged: it refers to row {row} of {N_CELLS}"):
        spool.rows(0, 3)


def test_an_error_names_a_cell_of_the_file(random_model, small, tmp_path):
    model = random_model(pad_length=300).model
    values = np.ones((N_CELLS, N_GENES))
    values[200, 90] = np.nan
    adata = backed(values, model.genes[:N_GENES], tmp_path / "x.h5ad")
    with pytest.raises(errors.NotFiniteError, match=r"adata\.X\[200, 90\] \(cell '200'"):
        se600m.embed(adata, model=model)
    adata.file.close()
    assert opened(small) == []
