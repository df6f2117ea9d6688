"""The attention of [CLS] to genes, against the oracle and itself."""

import h5py
import numpy as np
import pytest

import oracle
from se600m import CLSAttention, errors
from test_contextual import VARIANTS, few_genes

# Half of the immune genes are in the vocabulary: what is said about that is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore::se600m.errors.DataWarning")


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("kind, fill", [("transcriptome", "shared"), ("panel", "expected")])
def test_every_layer_matches_the_oracle(random_model, immune, pbmc, options, kind, fill):
    """From the tokens that enter a layer, as the trace graph has them, which is compared with the oracle elsewhere."""
    made = random_model(**options)
    model, n = made.model, made.dims.nlayers
    adata = immune[:2] if kind == "transcriptome" else few_genes(pbmc[:2])
    trace = model.trace(adata, fill=fill)
    want = {}
    for layer in range(1, n + 1):
        x = trace["tokens" if layer == 1 else f"layer_{layer - 1}"].astype(np.float64)
        extra = x.shape[1] - trace["multiplicity"].shape[1]
        times = np.pad(trace["multiplicity"], ((0, 0), (0, extra)), constant_values=1)
        some = [oracle.attention_of_cls(made.state, layer, x[i], made.dims.nhead, times[i]) for i in range(2)]
        np.testing.assert_allclose(np.sum(some, axis=1), 1)
        want[layer] = np.stack(some)[:, : x.shape[1] - extra]
        assert want[layer].std() > 1e-5, "all the same: nothing would be compared"
    want["mean"] = np.mean(list(want.values()), axis=0)
    for layer, weights in want.items():
        got = model.attention(adata, attention_layer=layer, fill=fill)
        assert isinstance(got, CLSAttention)
        assert np.array_equal(got.gene_indices, trace["gene_indices"])
        assert got.attention.dtype == np.float32
        np.testing.assert_allclose(got.attention, weights, rtol=2e-4, atol=1e-8)
    assert np.array_equal(model.attention(adata, fill=fill).attention, model.attention(adata, None,
                          attention_layer=n, fill=fill).attention)  # fmt: skip


def with_copies(model, immune):
    """Three cells with short sentences: 40 genes, 5 of them in two columns; the genes, and how to read them."""
    twice = immune[:3].copy()
    vocabulary = set(model.genes)
    most = twice.var_names[np.argsort(-np.asarray(twice.X.sum(0)).ravel(), kind="stable")]
    known = [name for name in most if name in vocabulary][:40]
    twice = twice[:, known + known[:5]].copy()
    twice.var["symbol"] = known + known[:5]
    twice.var_names = [f"column {i}" for i in range(45)]
    return twice, known, {"gene_column": "symbol", "fill": "none", "expression": "counts"}


def test_copies_are_added_up(random_model, immune):
    """A gene with two columns has two slots, and the sum of what they have."""
    made = random_model()
    twice, known, options = with_copies(made.model, immune)
    slots = made.model.attention(twice, **options)
    got = made.model.attention(twice, [*known, made.model.genes[-1]], **options)
    for cell in range(3):
        for place, name in enumerate(known):
            there = slots.gene_indices[cell] == made.model.genes.index(name)
            if not there.any():
                assert np.isnan(got[cell, place])
            else:
                np.testing.assert_allclose(got[cell, place], slots.attention[cell][there].sum(), rtol=1e-6)
    assert max(np.bincount(row[row >= 0]).max() for row in slots.gene_indices) == 2
    assert np.isnan(got[:, -1]).all()
    ends = slots.gene_indices == -1
    assert ends.any()
    assert np.array_equal(np.isnan(slots.attention), ends)


def test_the_genes_of_a_cell_by_name(random_model, immune):
    """The end of a short sentence, [CLS] itself and copies of a gene are no rows of their own."""
    made = random_model()
    cells, known, options = with_copies(made.model, immune)
    found = made.model.attention(cells, **options)
    assert (found.gene_indices == -1).any()
    for cell in range(3):
        tokens, weights = found.gene_indices[cell], found.attention[cell]
        got = found.of_cell(cell)
        assert got.dtype == np.float32
        assert got.is_monotonic_decreasing
        assert got.index.is_unique
        want = {made.model.genes[token]: weights[tokens == token].sum() for token in tokens[1:] if token >= 0}
        assert set(want) == set(got.index)
        np.testing.assert_allclose(got, [want[gene] for gene in got.index], rtol=1e-6)
        np.testing.assert_allclose(got.sum(), np.nansum(weights[1:]), rtol=1e-5)
        assert set(got.index) <= set(known)


@pytest.mark.parametrize("correction", [True, False])
@pytest.mark.parametrize("fill", ["shared", "none"])
def test_the_same_bits_whatever_the_batches_threads_and_company(random_model, immune, fill, correction):
    model = random_model(dataset_correction=correction).model
    want = model.attention(immune, fill=fill).attention
    for batch_size, threads in ((1, 1), (3, 2), (64, 5)):
        got = model.attention(immune, fill=fill, batch_size=batch_size, threads=threads)
        assert np.array_equal(got.attention, want, equal_nan=True)
    some = model.attention(immune[5:6], fill=fill).attention
    assert np.array_equal(some, want[5:6, : some.shape[1]], equal_nan=True)


def test_an_array_on_the_disk_is_written_in_parts(random_model, immune, tmp_path, monkeypatch):
    from se600m import _slots

    model = random_model().model
    genes = [model.genes[t] for t in np.unique(model.tokenize(immune[:1]).gene_indices)[:7]]
    want = model.attention(immune, genes)
    monkeypatch.setattr(_slots, "_CHUNK_VALUES", 5 * 7)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        out = file.create_dataset("attention", want.shape, np.float32)
        assert model.attention(immune, genes, out=out) is out
        assert np.array_equal(out[:], want, equal_nan=True)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"attention_layer": 0}, errors.OptionError, "attention_layer=0 is not a whole number from 1 to 2"),
        ({"attention_layer": 3}, errors.OptionError, "attention_layer=3 is not"),
        (
            {"attention_layer": "last"},
            errors.OptionError,
            "='last' is neither .* from 1 to 2, nor 'mean'",
        ),
        ({"genes": "NOT A GENE"}, errors.UnknownGeneError, "'NOT A GENE'"),
        ({"out": np.empty((2, 2), np.float32)}, errors.SE600MError, "out"),
        ({"layer": "count"}, errors.DataError, "layer='count' is not in adata.layers"),
    ],
)
def test_wrong_calls(random_model, immune, options, error, message):
    with pytest.raises(error, match=message):
        random_model().model.attention(immune, **options)
