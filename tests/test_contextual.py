"""Contextual gene embeddings, against the oracle, the trace graph and themselves."""

import sys

import anndata
import h5py
import numpy as np
import pytest

import oracle
from se600m import ContextualGeneEmbeddings, errors

# Half of the immune genes are in the vocabulary: what is said about that is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore::se600m.errors.DataWarning")

VARIANTS = [
    pytest.param({}, id="soft-bins"),
    pytest.param({"dataset_correction": False}, id="no dataset token"),
    pytest.param({"encoding": "scale"}, id="scale"),
    pytest.param({"encoding": "none", "nlayers": 1}, id="1 layer, no expression"),
    pytest.param({"emsize": 56, "nhead": 7, "d_hid": 20, "output_dim": 70, "nlayers": 3}, id="widths all different"),
]


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("kind, fill", [("transcriptome", "shared"), ("panel", "expected")])
def test_every_slot_matches_the_oracle(random_model, immune, pbmc, options, kind, fill):
    made = random_model(**options)
    adata = immune[:3] if kind == "transcriptome" else few_genes(pbmc[:3])
    got = made.model.contextual_gene_embeddings(adata, fill=fill)
    sentences = made.model.tokenize(adata, fill=fill)
    assert isinstance(got, ContextualGeneEmbeddings)
    assert np.array_equal(got.gene_indices, sentences.gene_indices)
    assert (got.embeddings.shape, got.embeddings.dtype) == ((*got.gene_indices.shape, made.dims.emsize), np.float32)
    for cell in range(3):
        indices, values = sentences.gene_indices[cell], sentences.expression_values[cell]
        if fill == "shared":
            want = oracle.forward(
                made.state, made.table, made.dims.nhead, indices, values,
                encoding=made.encoding, dataset_correction=made.dataset_correction,
            )[f"layer_{made.dims.nlayers}"]  # fmt: skip
        else:  # multiplicities that are no whole numbers: the trace graph has been compared with the oracle
            trace = made.model.trace_sentences([indices], [values], sentences.multiplicity[[cell]])
            want = trace[f"layer_{made.dims.nlayers}"][0]
        want = want[: got.gene_indices.shape[1]]
        np.testing.assert_allclose(got.embeddings[cell], want, rtol=2e-5, atol=2e-5 * np.abs(want).max())


def few_genes(pbmc):
    """A panel of 200 genes that are expressed in some of a few cells."""
    x = pbmc.raw.X
    some = np.argsort(-np.asarray((x > 0).sum(axis=0)).ravel(), kind="stable")[:200]
    return anndata.AnnData(x[:, some], obs=pbmc.obs, var=pbmc.raw.var.iloc[some])


@pytest.mark.parametrize("fill", ["shared", "none"])
@pytest.mark.parametrize("dims", [{}, {"token_dim": 13, "emsize": 33, "nhead": 3, "d_hid": 45, "pad_length": 131}])
@pytest.mark.parametrize("correction", [True, False])
def test_the_same_bits_whatever_the_batches_threads_and_company(random_model, immune, fill, dims, correction):
    model = random_model(dataset_correction=correction, **dims).model
    want = model.contextual_gene_embeddings(immune, fill=fill)
    present = np.unique(want.gene_indices[:, 1:30])
    genes = [model.genes[t] for t in present[:40] if 0 <= t < model.cls_index]
    chosen = model.contextual_gene_embeddings(immune, genes, fill=fill)
    for batch_size in (1, 3, 64):
        for threads in (1, 2, 5):
            options = {"fill": fill, "batch_size": batch_size, "threads": threads}
            got = model.contextual_gene_embeddings(immune, **options)
            assert np.array_equal(got.embeddings, want.embeddings, equal_nan=True), options
            assert np.array_equal(got.gene_indices, want.gene_indices)
            got = model.contextual_gene_embeddings(immune, genes, **options)
            assert np.array_equal(got, chosen, equal_nan=True), options
    alone = model.contextual_gene_embeddings(immune[[7]], fill=fill)
    assert np.array_equal(alone.embeddings[0], want.embeddings[7], equal_nan=True)


@pytest.mark.parametrize("fill", ["shared", "independent", "none"])
def test_chunks_change_nothing(random_model, immune, fill, monkeypatch):
    model = random_model().model
    want = model.contextual_gene_embeddings(immune, fill=fill)
    monkeypatch.setattr("se600m._slots._CHUNK_VALUES", 5 * 300 * 32)
    for adata in (immune, dense(immune)):
        got = model.contextual_gene_embeddings(adata, fill=fill)
        assert np.array_equal(got.embeddings, want.embeddings, equal_nan=True)
        assert np.array_equal(got.gene_indices, want.gene_indices)


def dense(adata):
    return anndata.AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var)


def test_chosen_genes_are_taken_from_their_slots(random_model, immune):
    model = random_model().model
    whole = model.contextual_gene_embeddings(immune)
    first = whole.gene_indices[0]
    genes = [int(first[3]), int(first[290]), int(first[3])]
    never = next(t for t in range(model.cls_index) if t not in whole.gene_indices)
    genes.insert(1, never)
    got = model.contextual_gene_embeddings(immune, [model.genes[t] for t in genes])
    assert (got.shape, got.dtype) == ((24, 4, 32), np.float32)
    assert np.isnan(got[:, 1]).all()
    n_absent = 0
    for cell in range(24):
        for place, token in enumerate(genes):
            slots = np.flatnonzero(whole.gene_indices[cell] == token)
            if len(slots):
                assert np.array_equal(got[cell, place], whole.embeddings[cell, slots[0]])
            else:
                n_absent += 1
                assert np.isnan(got[cell, place]).all()
    assert n_absent > 24, "some cell lacks a gene that another one has"


def test_past_the_end_of_a_sentence(random_model, immune):
    model = random_model(pad_length=2048).model
    cells = dense(immune[:4])
    cells.X[3] = 0
    sentences = model.tokenize(cells, fill="none")
    got = model.contextual_gene_embeddings(cells, fill="none")
    for cell, length in enumerate(sentences.lengths):
        assert length < 2048
        assert np.isfinite(got.embeddings[cell, :length]).all()
        assert np.isnan(got.embeddings[cell, length:]).all()
        assert np.array_equal(got.gene_indices[cell, :length], sentences.gene_indices[cell, :length])
        assert (got.gene_indices[cell, length:] == -1).all()
    assert (sentences.lengths[3], got.gene_indices[3, 0]) == (1, model.cls_index), "[CLS] alone"


def test_a_gene_with_two_columns_is_the_higher_one(random_model, immune):
    model = random_model().model
    adata = dense(immune[:3])
    names = adata.var_names.to_numpy(str).copy()
    known = np.flatnonzero(np.isin(names, model.genes))
    low, high = known[10], known[20]
    names[low] = names[high]
    adata.var_names = names
    adata.X[:, low], adata.X[:, high] = 60, 3000
    sentences = model.tokenize(adata)
    token = model.genes.index(names[high])
    slots = np.flatnonzero(sentences.gene_indices[0] == token)
    assert len(slots) == 2
    got = model.contextual_gene_embeddings(adata, names[high])
    whole = model.contextual_gene_embeddings(adata)
    assert np.array_equal(got[0, 0], whole.embeddings[0, slots[0]])
    assert sentences.expression_values[0, slots[0]] > sentences.expression_values[0, slots[1]]


@pytest.mark.parametrize("with_genes", [True, False])
def test_to_a_zarr_group(random_model, immune, tmp_path, monkeypatch, zarr, with_genes):
    model = random_model().model
    genes = model.genes[5:8] if with_genes else None
    want = model.contextual_gene_embeddings(immune, genes)
    monkeypatch.setattr("se600m._slots._CHUNK_VALUES", 5 * 300 * 32)
    path = tmp_path / "deep" / "genes.zarr"
    got = model.contextual_gene_embeddings(immune, genes, out=path)
    group = zarr.open_group(path, mode="r")
    array = got if with_genes else got.embeddings
    assert isinstance(array, zarr.Array)
    assert np.array_equal(array[:], want if with_genes else want.embeddings, equal_nan=True)
    assert np.array_equal(group["embeddings"][:], array[:], equal_nan=True)
    assert (group.attrs["model"], group.attrs["model_checksum"]) == (model.name, model.checksum)
    if with_genes:
        assert group.attrs["genes"] == genes
    else:
        assert np.array_equal(group["gene_indices"][:], want.gene_indices)
        assert np.array_equal(got.gene_indices, want.gene_indices)
    with pytest.raises(errors.DestinationExistsError, match=r"genes\.zarr"):
        model.contextual_gene_embeddings(immune, genes, out=str(path))
    again = model.contextual_gene_embeddings(immune[:2].copy(), genes, out=str(path), overwrite=True)
    assert (again if with_genes else again.embeddings).shape[0] == 2
    assert [p.name for p in path.parent.iterdir()] == ["genes.zarr"], "no leftovers"


@pytest.mark.parametrize(
    "out, overwrite, error, message",
    [
        pytest.param("thesis", False, errors.DestinationExistsError, "overwrite=True", id="folder"),
        pytest.param("thesis", True, errors.DestinationExistsError, "not a zarr group", id="folder of another kind"),
        pytest.param("file/genes.zarr", False, errors.DestinationError, "is a file, not a folder", id="under a file"),
        pytest.param("/proc/genes.zarr", False, errors.DestinationError, "nothing can be written", id="no new folder"),
    ],
)
def test_a_path_is_looked_at_before_the_model_runs(
    random_model, immune, tmp_path, monkeypatch, out, overwrite, error, message
):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("se600m._contextual.Cells", None)  # is not called
    with pytest.raises(error, match=message):
        random_model().model.contextual_gene_embeddings(immune, out=tmp_path / out, overwrite=overwrite)


@pytest.mark.parametrize("kind", ["numpy", "float16", "memmap", "h5py", "zarr"])
def test_into_an_array(random_model, immune, tmp_path, monkeypatch, request, kind):
    model = random_model().model
    want = model.contextual_gene_embeddings(immune)
    monkeypatch.setattr("se600m._slots._CHUNK_VALUES", 5 * 300 * 32)
    shape = want.embeddings.shape
    match kind:
        case "numpy":
            out = np.zeros(shape, np.float32)
        case "float16":
            out = np.zeros(shape, np.float16)
        case "memmap":
            out = np.memmap(tmp_path / "out", np.float32, "w+", shape=shape)
        case "h5py":
            out = h5py.File(tmp_path / "out.h5", "w").create_dataset("x", shape, np.float32, chunks=(2, 100, 32))
        case "zarr":
            zarr = request.getfixturevalue("zarr")
            out = zarr.create_array(tmp_path / "out.zarr", shape=shape, chunks=(2, 100, 32), dtype="float32")
    got = model.contextual_gene_embeddings(immune, out=out)
    assert got.embeddings is out
    assert np.array_equal(out[:], want.embeddings.astype(out.dtype), equal_nan=True)


@pytest.mark.usefixtures("zarr")
def test_an_error_leaves_no_group(random_model, immune, tmp_path):
    cells = dense(immune[:8])
    cells.X[6, 5] = np.nan
    with pytest.raises(errors.NotFiniteError, match=r"\[6, 5\]"):
        random_model().model.contextual_gene_embeddings(cells, out=tmp_path / "genes.zarr")
    assert list(tmp_path.iterdir()) == []


def test_without_zarr(random_model, immune, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)  # as Python marks what can't be imported
    with pytest.raises(errors.MissingPackageError, match=r"pip install 'se600m-go\[zarr\]'"):
        random_model().model.contextual_gene_embeddings(immune[:1], out=tmp_path / "genes.zarr")


def test_wrong_calls(random_model, immune):
    model = random_model().model
    with pytest.raises(errors.UnknownGeneError, match="'MS4A1'"):
        model.contextual_gene_embeddings(immune[:1], ["ms4a1"])
    with pytest.raises(errors.OptionError, match=r"out has shape \[1, 2, 32\], but the result has shape \[1, 1, 32\]"):
        model.contextual_gene_embeddings(immune[:1], ["MS4A1"], out=np.zeros((1, 2, 32)))
    with pytest.raises(errors.OptionError, match="fill"):
        model.contextual_gene_embeddings(immune[:1], fill="some")
    with pytest.raises(errors.OptionError, match="batch_size=0"):
        model.contextual_gene_embeddings(immune[:1], batch_size=0)
