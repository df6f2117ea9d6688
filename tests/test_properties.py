"""Any AnnData: its cells are read as those of a plain dense float32 matrix are, or there is an error of ours.

The examples are drawn by hypothesis, the same ones in every run.
"""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from se600m import _cells, errors
from se600m._options import CellOptions

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def examples(n):
    """So many examples, the same in every run."""
    return settings(max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=SLOW)


REAL = ["float32", "float64", "float16", "bool"] + [
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
]
OTHER = [">f4", ">i8", "longdouble", "complex64", "object", "U3", "datetime64[s]"]


def columns_first(x):
    return np.asfortranarray(x)


def every_second(x):
    return np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2]


def backwards(x):
    return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]


def unsorted(x):
    """CSR with the columns of each row in falling order."""
    x = sp.csr_matrix(x)
    for first, last in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        x.indices[first:last], x.data[first:last] = x.indices[first:last][::-1].copy(), x.data[first:last][::-1].copy()
    x.has_sorted_indices = False
    return x


def in_parts(x):
    """CSR that stores each value twice: as zero, and whole."""
    x = sp.csr_matrix(x)
    data = np.column_stack([np.zeros_like(x.data), x.data]).ravel()
    return sp.csr_matrix((data, np.repeat(x.indices, 2), x.indptr * 2), shape=x.shape)


def with_long_indices(x):
    x = sp.csr_matrix(x)
    x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    return x


FORMS = [
    np.ascontiguousarray, columns_first, every_second, backwards, np.ma.masked_array,
    sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array, unsorted, in_parts, with_long_indices,
]  # fmt: skip

VALUES = {
    "counts": lambda random, shape: random.negative_binomial(1, 0.1, shape).clip(0, 120),
    "few counts": lambda random, shape: random.poisson(0.2, shape),
    "log1p": lambda random, shape: np.log1p(random.negative_binomial(1, 0.1, shape)).round(2),
    "of either sign": lambda random, shape: random.normal(0, 2, shape).round(2),
    "large": lambda random, shape: random.integers(0, 2**63, shape),
}
SPECIAL = st.floats(width=32) | st.sampled_from([1e38, 3e38, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1.0])

ODD_NAMES = ["", "\ud800", "a\nb", "\x00", "CD3D\x00", "ENSG00000167286", "Cd3d", "nan"]
NAMES = st.text(max_size=8) | st.sampled_from(ODD_NAMES)


@pytest.fixture(scope="module")
def model(random_model):
    return random_model(nlayers=1, pad_length=16, emsize=8, d_hid=8, token_dim=8, output_dim=6).model


@st.composite
def matrices(draw):
    """Values of some kind, cells × genes, some of which may be special."""
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    values = VALUES[draw(st.sampled_from(sorted(VALUES)))](random, shape)
    special = draw(st.just([]) | st.lists(SPECIAL, max_size=3))
    if special:
        values = values.astype(np.float64)
        values.flat[random.integers(0, values.size, len(special))] = special
    return values


@st.composite
def held(draw):
    """A matrix in some form and type, and what a plain one of float32 holds."""
    values = draw(matrices())
    dtype = np.dtype(draw(st.sampled_from(REAL + OTHER)))
    form = draw(st.sampled_from(FORMS))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        typed = values.astype("int64" if dtype.kind == "M" else dtype).astype(dtype)
        plain = typed.astype(np.float32) if dtype.kind in "fiub" else None
        try:
            matrix = form(typed)
        except (TypeError, ValueError):  # scipy has no matrices of this type
            matrix = typed
    return matrix, plain


def names_of(data, model, n):
    """Genes of the model, in some order, with others and repeated ones between them."""
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    names = random.choice(model.genes[:400], n).astype(object)
    others = data.draw(st.lists(NAMES, max_size=min(n, 4)))
    names[random.choice(n, len(others), replace=False)] = others
    return pd.Index(names, dtype=object)


def state(adata):
    """Everything in an AnnData that could have been touched."""
    raw = [] if adata.raw is None else [adata.raw.X]
    parts = []
    for x in [adata.X, *adata.layers.values(), *raw]:
        parts += [part.tobytes() for part in ((x.data, x.indices, x.indptr) if sp.issparse(x) else (np.asarray(x),))]
    keys = [
        sorted(map(str, getattr(adata, part)))
        for part in ("obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns")
    ]
    return parts, keys, adata.obs_names.tolist(), adata.var_names.tolist()


def outcome(model, adata, **options):
    """What becomes of cells: arrays, or the class of the error, which must be one of ours; neither changes anything."""
    before = state(adata)
    try:
        sentences = model.tokenize(adata, **options)
        computed = model.compute(adata, **options)
    except errors.SE600MError as error:
        assert str(error).strip()
        assert not isinstance(error, errors.InternalError), error
        assert state(adata) == before
        with pytest.raises(errors.SE600MError):  # perhaps another one: tokenize needs no look over the cells
            model.embed(adata, **options)
        assert state(adata) == before
        return type(error)
    assert state(adata) == before
    arrays = (sentences.gene_indices, sentences.expression_values, sentences.multiplicity, computed.embedding)
    assert all(np.isfinite(array).all() for array in arrays)
    return [array.tobytes() for array in arrays]


def annotated(matrix, names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand twice
        return anndata.AnnData(matrix, var=pd.DataFrame(index=names))


@examples(100)
@given(data=st.data())
def test_what_holds_the_values_changes_nothing(model, data):
    matrix, plain = data.draw(held())
    names = names_of(data, model, matrix.shape[1])
    fill = data.draw(st.sampled_from(["auto", "shared", "independent", "expected", "none"]))
    options = {"min_coverage": 0.0, "fill": fill, "expression": data.draw(st.sampled_from(["auto", "counts", "log1p"]))}
    try:
        adata = annotated(matrix, names)
    except (TypeError, ValueError):  # anndata itself refuses it
        return
    got = outcome(model, adata, **options)
    if plain is None:
        assert got is errors.DataError or issubclass(got, errors.DataError), got
    else:
        assert got == outcome(model, annotated(plain, names), **options)


@examples(40)
@given(data=st.data())
def test_views_layers_and_raw_change_nothing(model, data):
    matrix, plain = data.draw(held().filter(lambda pair: pair[1] is not None))
    names = names_of(data, model, matrix.shape[1])
    place = data.draw(st.sampled_from(["view", "view of columns", "layer", "raw"]))
    options = {"min_coverage": 0.0, "fill": data.draw(st.sampled_from(["shared", "expected"]))}
    try:
        adata = annotated(matrix, names)
        if place.startswith("view"):
            cells = data.draw(st.lists(st.integers(0, adata.n_obs - 1), min_size=1, max_size=6))
            genes = data.draw(st.lists(st.integers(0, adata.n_vars - 1), min_size=1, max_size=30, unique=True))
            genes = genes if place == "view of columns" else list(range(adata.n_vars))
            plain, names, adata = plain[cells][:, genes], names[genes], adata[cells][:, genes]
        elif place == "layer":
            adata = annotated(np.ones(matrix.shape, np.float32), names)
            adata.layers["held"] = matrix
            options["layer"] = "held"
        else:
            adata.raw = adata.copy()
            adata = adata[:, :1].copy()
            options["use_raw"] = True
    except (TypeError, ValueError):  # anndata or scipy refuses it
        return
    got = outcome(model, adata, **options)
    options.pop("layer", None)
    options.pop("use_raw", None)
    assert got == outcome(model, annotated(plain, names), **options)


@examples(40)
@given(st.lists(NAMES, max_size=12), st.integers(0, 2**16), st.sampled_from(["shared", "expected", "none"]))
def test_names_that_no_gene_has_change_no_sentence(model, junk, seed, fill):
    """Columns that name no gene of the model, of zeros, wherever they stand."""
    random = np.random.default_rng(seed)
    genes = random.choice(model.genes[:400], 20, replace=False)
    values = random.poisson(1.5, (3, 20)).astype(np.float32)
    options = {"min_coverage": 0.0, "fill": fill}
    want = outcome(model, annotated(values, pd.Index(genes, dtype=object)), **options)
    looked = annotated(np.ones((1, 20 + len(junk)), np.float32), pd.Index([*genes, *junk], dtype=object))
    tokens = _cells.Cells(model._opened, looked, CellOptions(min_coverage=0.0)).tokens
    unknown = [name for name, token in zip(junk, tokens[20:], strict=True) if token < 0]
    order = random.permutation(20 + len(unknown))
    names = np.array([*genes, *unknown], object)[order]
    wide = np.hstack([values, np.zeros((3, len(unknown)), np.float32)])[:, order]
    got = outcome(model, annotated(wide, pd.Index(names, dtype=object)), **options)
    known = [name for name in names if name in set(genes)]
    places = [list(genes).index(name) for name in known]
    again = outcome(model, annotated(values[:, places], pd.Index(known)), **options)
    assert got == again
    assert isinstance(want, list) == isinstance(got, list)
