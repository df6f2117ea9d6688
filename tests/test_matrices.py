"""The same values give the same bits, whatever holds them: kind of matrix × type × place."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from se600m import _anndata, errors

N_CELLS, N_GENES = 11, 700


@pytest.fixture(scope="module")
def counts(_immune):
    """Counts that every type can hold."""
    values = _immune.X[:N_CELLS].toarray()
    busiest = np.argsort(-values.sum(0), kind="stable")[:N_GENES]
    return np.minimum(values[:, np.sort(busiest)], 120).astype(np.int64), _immune.var_names[np.sort(busiest)]


def unsorted(x):
    """CSR with every row's indices in falling order."""
    x = sp.csr_matrix(x)
    for i in range(x.shape[0]):
        row = slice(x.indptr[i], x.indptr[i + 1])
        x.indices[row], x.data[row] = x.indices[row][::-1].copy(), x.data[row][::-1].copy()
    x.has_sorted_indices = False
    return x


def duplicated(x):
    """CSR that stores every value in two parts, far from each other."""
    x = sp.csr_matrix(x)
    part = (x.data // 2).astype(x.dtype)
    rows = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    order = np.argsort(np.concatenate([rows, rows]), kind="stable")
    data = np.concatenate([part, x.data - part])[order]
    return sp.csr_matrix((data, np.concatenate([x.indices, x.indices])[order], x.indptr * 2), shape=x.shape)


def long_indices(x):
    x = sp.csr_matrix(x)
    x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    return x


def stored_zeros(x):
    x = sp.csr_matrix(x)
    x.data = np.append(x.data, np.zeros(5, x.dtype))
    x.indices = np.append(x.indices, np.arange(5, dtype=x.indices.dtype))
    x.indptr[-1] += 5
    return x


# Every kind in every place where it can be; on disk there are three.
KINDS = {
    "dense, C order": np.ascontiguousarray,
    "dense, F order": np.asfortranarray,
    "dense, every second column of a wider one": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "dense, negative strides": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "dense, not aligned": lambda x: np.frombuffer(b"?" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "dense, another byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "masked array, nothing masked": np.ma.masked_array,
    "csr": sp.csr_matrix,
    "csr array": sp.csr_array,
    "csr, unsorted indices": unsorted,
    "csr, duplicate indices": duplicated,
    "csr, int64 indices": long_indices,
    "csr, stored zeros": stored_zeros,
    "csc": sp.csc_matrix,
    "csc array": sp.csc_array,
    "csc, duplicate indices": lambda x: duplicated(x.T).T,
}
DTYPES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
ON_DISK = {"dense, C order", "csr", "csc"}
SPARSE_TYPES = {"float16": "scipy has no float16"}


def cases():
    for kind in KINDS:
        for dtype in DTYPES:
            if "cs" in kind and dtype in SPARSE_TYPES:
                continue
            for place in ("memory", "view", "layer", "raw", "backed", "backed view", "backed raw"):
                if place.startswith("backed") and kind not in ON_DISK:
                    continue
                yield pytest.param(kind, dtype, place, id=f"{kind}, {dtype}, {place}")


@pytest.fixture(scope="module")
def want(counts, random_model):
    values, genes = counts
    adata = anndata.AnnData(values.astype(np.float32), var=pd.DataFrame(index=genes))
    model = random_model(pad_length=300).model
    se600m.embed(adata, model=model, expression="counts")
    return adata.obsm["X_state"]


@pytest.mark.parametrize("kind, dtype, place", list(cases()))
def test_the_same_values_give_the_same_bits(counts, random_model, want, tmp_path, monkeypatch, kind, dtype, place):
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", 4 * N_GENES)  # several chunks
    values, genes = counts
    matrix = KINDS[kind](values.astype(dtype))
    var = pd.DataFrame(index=genes)
    rows = slice(None)
    options = {}
    if place in ("layer", "raw", "backed raw"):
        adata = anndata.AnnData(np.zeros_like(values, np.float32), var=var)
        if place == "layer":
            adata.layers["counts"] = matrix
            options["layer"] = "counts"
        else:
            adata.raw = anndata.AnnData(matrix, var=var)
            options["use_raw"] = True
    else:
        adata = anndata.AnnData(matrix, var=var)
    if place.startswith("backed"):
        adata.write_h5ad(tmp_path / "x.h5ad")
        adata = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
        assert adata.isbacked
    if place.endswith("view"):
        rows = np.array([7, 2, 3, 9, 4, 10, 0])
        adata = adata[rows]
        assert adata.is_view
    made = random_model(pad_length=300).model.compute(adata, expression="counts", **options)
    assert np.array_equal(made.embedding, want[rows])
    assert made.provenance["n_counts"] == len(want[rows])
    if place.startswith("backed"):
        adata.file.close()


def blocks_stored_twice(x):
    """BSR whose blocks are stored in two parts."""
    whole = sp.bsr_matrix(x, blocksize=(1, 1))
    part = (whole.data // 2).astype(x.dtype)
    rows = np.repeat(np.arange(x.shape[0]), np.diff(whole.indptr))
    order = np.argsort(np.concatenate([rows, rows]), kind="stable")
    data, indices = np.concatenate([part, whole.data - part])[order], np.concatenate([whole.indices] * 2)[order]
    return sp.bsr_matrix((data, indices, whole.indptr * 2), shape=x.shape)


def with_na_types(name):
    return lambda x: pd.DataFrame(x).astype(name)


FOREIGN = {
    "COO": sp.coo_matrix,
    "COO array": sp.coo_array,
    "LIL": sp.lil_matrix,
    "DOK": sp.dok_matrix,
    "DIA": sp.dia_matrix,
    "BSR": sp.bsr_matrix,
    "BSR, blocks stored twice": blocks_stored_twice,
    "np.matrix": np.matrix,
    "np.memmap": lambda x: x.view(np.memmap),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "data frame": pd.DataFrame,
    "data frame of several types": lambda x: pd.DataFrame(x).astype({0: "float32", 1: "uint8", 2: "int64"}),
    "data frame with types that have NA": with_na_types("Int64"),
    "data frame of sparse columns": lambda x: pd.DataFrame(x).astype(pd.SparseDtype("float64", 0)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_kinds_that_anndata_itself_may_refuse(counts, random_model, want, monkeypatch, kind):
    """AnnData has held COO matrices and data frames as layers in some versions."""
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", 4 * N_GENES)
    values, genes = counts
    adata = anndata.AnnData(np.zeros_like(values, np.float32), var=pd.DataFrame(index=genes))
    foreign = FOREIGN[kind](values.astype(np.int8) if "twice" in kind else values)
    monkeypatch.setattr(anndata.AnnData, "X", property(lambda _: foreign))
    model = random_model(pad_length=300).model
    assert np.array_equal(model.compute(adata, expression="counts").embedding, want)


@pytest.mark.parametrize("kind", [sp.coo_array, sp.coo_matrix])
def test_coo_duplicates_do_not_overflow(kind):
    """Two parts of 100 are 200, also where the type ends at 127."""
    place = (np.array([1, 0, 0, 0]), np.array([2, 5, 5, 1]))
    rows = _anndata.Chunk(kind((np.array([3, 100, 100, 7], np.int8), place), shape=(2, 8)), "x")
    assert rows.request["kind"] == "csr"
    data, indices, indptr = rows._keep
    assert (list(data), list(indices), list(indptr)) == ([100, 100, 7, 3], [5, 5, 1, 2], [0, 3, 4])


def test_a_row_that_is_repeated_without_a_copy(counts, random_model, want):
    """As np.broadcast_to makes it, with strides of zero."""
    values, genes = counts
    x = np.broadcast_to(values[3].astype(np.float32), (4, N_GENES))
    assert x.strides[0] == 0
    adata = anndata.AnnData(np.zeros((4, N_GENES), np.float32), var=pd.DataFrame(index=genes))
    adata.layers["same"] = x
    embedding = random_model(pad_length=300).model.compute(adata, layer="same", expression="counts").embedding
    assert np.array_equal(embedding, want[[3, 3, 3, 3]])


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_whole_numbers_past_what_a_float64_holds_exactly(dtype):
    """They are rounded once, to float32, and stay finite."""
    x = np.array([[2**53 + 1, 2**62 + 2**38, 7]], dtype)
    for held in (x, sp.csr_matrix(x)):
        chunk = _anndata.Chunk(held, "x")
        assert chunk.request["data"]["dtype"] == dtype
        assert np.array_equal(chunk._keep[0].ravel(), x.ravel())


def test_true_stored_twice_is_true(counts, random_model):
    values, genes = counts
    model = random_model(pad_length=300).model
    once = sp.csr_matrix(values > 0)
    twice = sp.csr_matrix((np.repeat(once.data, 2), np.repeat(once.indices, 2), once.indptr * 2), shape=once.shape)
    assert twice.nnz == 2 * once.nnz
    one, two = (
        model.compute(anndata.AnnData(x, var=pd.DataFrame(index=genes)), expression="counts").embedding
        for x in (once, twice)
    )
    assert np.array_equal(one, two)
    assert twice.nnz == 2 * once.nnz, "the user's matrix is as it was"


def test_bool_is_zero_and_one(counts, random_model):
    values, genes = counts
    model = random_model(pad_length=300).model
    one, two = (
        model.compute(anndata.AnnData(x, var=pd.DataFrame(index=genes)), expression="counts").embedding
        for x in (values > 0, (values > 0).astype(np.float32))
    )
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    "matrix, message",
    [
        pytest.param(np.ones((3, 9), complex), "complex128", id="complex"),
        pytest.param(sp.csr_matrix(np.ones((3, 9), complex)), "complex128", id="sparse complex"),
        pytest.param(np.full((3, 9), "1"), "<U1, which are not .*, convert them, for example with .astype", id="text"),
        pytest.param(
            np.ones((3, 9), object), r"object, which .*, convert them, for example with \.astype\(np", id="objects"
        ),
        pytest.param(np.ones((3, 9), "datetime64[s]"), "datetime64", id="dates"),
        pytest.param(np.ones((3, 9), [("a", "f4")]), r"\[\('a', '<f4'\)\]", id="structured"),
        pytest.param(pd.DataFrame(np.full((3, 9), "1")), "object|str", id="data frame of text"),
        pytest.param(
            pd.DataFrame(np.full((3, 9), "a")).astype("category"), "object|str", id="data frame of categories"
        ),
        pytest.param(
            np.ma.masked_less(np.arange(27.0).reshape(3, 9), 2),
            r"X\[0, 0\] .* is masked\. In total, 2 masked values are in 2 of 9 genes and 1 of 3 cells: fill .*\.filled",
            id="masked values",
        ),
        pytest.param(
            np.ma.masked_equal(np.arange(27).reshape(3, 9), 26),
            r"X\[2, 8\] .* is masked\. In total, 1 masked value is in .*\.filled\(0\)",
            id="a masked whole number",
        ),
        pytest.param(
            pd.DataFrame(np.arange(27).reshape(3, 9)).astype("Int64").replace(4, pd.NA),
            r"X\[0, 4\] .* is NA\. In total, 1 NA value is in 1 of 9 genes and 1 of 3 cells: fill .*\.fillna\(0\)",
            id="NA",
        ),
        pytest.param(type("Rows", (), {"shape": (3, 9), "__getitem__": lambda self, _: self})(), "Rows", id="foreign"),
    ],
)
def test_matrices_that_are_none(random_model, monkeypatch, matrix, message):
    model = random_model(pad_length=300).model
    adata = anndata.AnnData(np.ones((3, 9), np.float32), var=pd.DataFrame(index=model.genes[:9]))
    monkeypatch.setattr(anndata.AnnData, "X", property(lambda _: matrix))
    with pytest.raises(errors.DataError, match=message):
        model.embed(adata, expression="counts")


def test_a_matrix_in_memory_is_not_copied(counts):
    values, genes = counts
    for x in (values.astype(np.float32), sp.csr_matrix(values)):
        adata = anndata.AnnData(x, var=pd.DataFrame(index=genes))
        source = _anndata.read(adata, layer=None, use_raw=False, gene_column=None)
        ((_, chunk),) = source.chunks()
        data = adata.X.data if sp.issparse(adata.X) else adata.X
        address = data.ctypes.data if sp.issparse(adata.X) else adata.X.ctypes.data
        assert chunk.request["data"]["address"] == address


def test_a_view_is_read_in_chunks_and_stays_a_view(counts, random_model, monkeypatch):
    values, genes = counts
    adata = anndata.AnnData(sp.csr_matrix(values), var=pd.DataFrame(index=genes))
    view = adata[::2, 10:600]
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", 2 * N_GENES)
    source = _anndata.read(view, layer=None, use_raw=False, gene_column=None)
    sizes = [chunk.n_cells for _, chunk in source.chunks()]
    assert sum(sizes) == view.n_obs
    assert max(sizes) < view.n_obs
    random_model(pad_length=300).model.compute(view, expression="counts")
    assert view.is_view
