"""Sparse matrices that refer to what is not there, as damaged or hostile files have them.

scipy believes what a file says, and its code in C would read and write past the end of its memory.
"""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from se600m import errors

N_CELLS, N_GENES = 6, 40


def place_past_the_end(x):
    x.indices[3] = 1 << 28


def place_just_past_the_end(x):
    x.indices[3] = x.shape[1] if x.format == "csr" else x.shape[0]


def place_before_the_start(x):
    x.indices[3] = -5


def falling(x):
    x.indptr[2] = x.indptr[3] + 2


def more_than_there_is(x):
    x.indptr[-1] += 1 << 20


def before_the_start(x):
    x.indptr[0] = -8


DAMAGES = [
    place_past_the_end, place_just_past_the_end, place_before_the_start, falling, more_than_there_is, before_the_start,
]  # fmt: skip
SAYS = (
    r"is damaged: (it refers to (gene|cell|row) -?\d+ of \d+|its indptr does not rise|values of the rows)"
    r"|is damaged: the rows .* have"
    r"|adata\.X can't be read: (Last value of index pointer|index pointer should)"  # by anndata, from a backed file
)


@pytest.fixture(scope="module")
def model(random_model):
    return random_model(nlayers=1).model


@pytest.fixture
def cells(model):
    def make(form):
        values = np.random.default_rng(0).poisson(1.0, (N_CELLS, N_GENES)).astype(np.float32)
        return anndata.AnnData(form(values), var=pd.DataFrame(index=model.genes[:N_GENES]))

    return make


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, sp.csr_array], ids=["csr", "csc", "csr array"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_in_memory(cells, model, form, damage):
    for way in ("X", "layer", "raw", "view", "genes"):
        adata = cells(form)
        options, held = {}, adata.X
        if way == "layer":
            adata.layers["counts"] = held = adata.X.copy()
            options = {"layer": "counts"}
        elif way == "raw":
            adata.raw = adata.copy()
            held = adata.raw.X
            options = {"use_raw": True}
        elif way == "view":
            adata = adata[[4, 0, 2]]
        elif way == "genes":
            options = {"genes": model.genes[5:9]}
        damage(held)
        for call in (model.compute, model.tokenize):
            with pytest.raises(errors.DataError, match=SAYS):
                call(adata, **options)
        if way in ("X", "layer", "raw"):
            parts = (held.data, held.indices, held.indptr)
            before = [part.copy() for part in parts]
            with pytest.raises(errors.DataError, match=SAYS):
                se600m.embed(adata, model=model, **options)
            assert all(np.array_equal(part, was) for part, was in zip(parts, before, strict=True))
            assert not adata.obsm
            assert not adata.uns


def spoil(path, damage):
    """Damage the matrix of an h5ad file."""
    with h5py.File(path, "r+") as file:
        group = file["X"]
        of_rows = group.attrs["encoding-type"] == "csr_matrix"
        x = (sp.csr_matrix if of_rows else sp.csc_matrix)(tuple(group.attrs["shape"]))
        x.data, x.indices, x.indptr = (np.asarray(group[part]) for part in ("data", "indices", "indptr"))
        damage(x)
        group["indices"][...], group["indptr"][...] = x.indices, x.indptr


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix], ids=["csr", "csc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_in_a_file(tmp_path, cells, model, form, damage):
    path, out = tmp_path / "cells.h5ad", tmp_path / "out.npy"
    cells(form).write_h5ad(path)
    spoil(path, damage)
    with pytest.raises(errors.SE600MError, match=SAYS):
        se600m.embed_file(path, out, model=model)
    assert not out.exists()
    backed = anndata.read_h5ad(path, backed="r")
    try:
        with pytest.raises(errors.DataError, match=SAYS):
            model.compute(backed)
    finally:
        backed.file.close()


def test_many_values_that_take_no_room_on_the_disk(tmp_path, cells, model):
    """A row of 2^40 zeros is a file of some kilobytes: nothing was ever written."""
    path = tmp_path / "cells.h5ad"
    cells(sp.csr_matrix).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        group = file["X"]
        for name in ("data", "indices"):
            dtype = group[name].dtype
            del group[name]
            group.create_dataset(name, (1 << 40,), dtype, chunks=(1 << 20,))
        indptr = np.asarray(group["indptr"], np.int64)
        indptr[-1] = 1 << 40
        del group["indptr"]
        group["indptr"] = indptr
    with pytest.raises(errors.SE600MError, match=r"is damaged: the rows \d to 5 have [\d,]+ values of 40 genes"):
        se600m.embed_file(path, tmp_path / "out.npy", model=model)
