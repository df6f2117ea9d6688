"""Cell sentences of real cells obey the reference's rules, for every fill policy."""

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import oracle
import se600m

FILLS = ["shared", "independent", "expected", "none"]


def dense(adata, use_raw=False):
    x = adata.raw.X if use_raw else adata.X
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def check(model, adata, fill, use_raw=False, **options):
    sentences = model.tokenize(adata, fill=fill, use_raw=use_raw, **options)
    names = adata.raw.var_names if use_raw else adata.var_names
    place = {gene: i for i, gene in enumerate(model.genes)}
    if "MKI67IP" in place and "MKI67IP" not in names:
        place["NIFK"] = place["MKI67IP"]  # the only gene of the panel that was renamed since
    tokens = np.array([place.get(name, -1) for name in names])
    for cell, x in enumerate(dense(adata, use_raw)):
        length = sentences.lengths[cell]
        oracle.check_sentence(
            x, tokens, pad_length=model.dimensions["pad_length"], cls=model.cls_index, fill=sentences.fill,
            gene_indices=sentences.gene_indices[cell, :length],
            expression_values=sentences.expression_values[cell, :length],
            multiplicity=sentences.multiplicity[cell, :length],
        )  # fmt: skip
        assert np.all(sentences.multiplicity[cell, length:] == 0)
        assert np.all(sentences.gene_indices[cell, length:] == model.cls_index)
    return sentences


@pytest.mark.parametrize("fill", ["shared", "independent", "none"])
@pytest.mark.parametrize("pad_length", [64, 300, 2048])
def test_whole_transcriptomes(random_model, immune, fill, pad_length):
    sentences = check(random_model(pad_length=pad_length).model, immune, fill)
    assert sentences.fill == fill
    if fill != "none":
        assert sentences.gene_indices.shape == (24, pad_length)
        assert np.all(sentences.lengths == pad_length)


@pytest.mark.parametrize("fill", FILLS)
def test_panels(pbmc, fill):
    model = se600m.load_model()
    sentences = check(model, pbmc, fill, use_raw=True)
    n_valid = len(set(pbmc.raw.var_names) & set(model.genes)) + 1  # and one under another symbol (see check)
    width = n_valid + 1 if fill in ("expected", "none") else 2048
    assert sentences.gene_indices.shape == (24, width)


def test_auto_is_shared_for_transcriptomes_and_expected_for_panels(random_model, immune, pbmc):
    model = se600m.load_model()
    assert model.tokenize(immune).fill == "shared"
    assert model.tokenize(pbmc, use_raw=True).fill == "expected"


def panel(model, x):
    """Cells of a data set with the model's first genes, as many as x has columns."""
    x = np.asarray(x, np.float32)
    adata = anndata.AnnData(x)
    adata.var_names = model.genes[: x.shape[1]]
    return adata


def test_as_many_valid_genes_as_slots_are_all_taken_once(random_model):
    model = random_model(pad_length=64).model
    adata = panel(model, np.random.default_rng(0).poisson(0.5, (5, 63)))
    for fill in FILLS[:3]:
        sentences = check(model, adata, fill)
        assert np.array_equal(np.sort(sentences.gene_indices[:, 1:], axis=1), np.tile(np.arange(63), (5, 1))), fill


@pytest.mark.parametrize("n_genes", [4, 5, 62, 63, 64, 65])
@pytest.mark.parametrize("fill", FILLS)
def test_edges_around_the_number_of_slots(random_model, n_genes, fill):
    model = random_model(pad_length=64).model
    x = np.random.default_rng(n_genes).poisson(0.7, (6, n_genes))
    x[0] = 0  # no expression
    x[1] = 1 + np.arange(n_genes)  # every gene expressed
    x[2] = 0
    x[2, 1] = 7  # one gene
    adata = panel(model, x)
    if fill == "expected" and n_genes > 63:
        with pytest.raises(se600m.errors.OptionError, match=r"room for 63, but there are 6[45] valid genes"):
            model.tokenize(adata, fill=fill)
        return
    check(model, adata, fill)


def test_ties_at_the_cut_are_drawn_by_the_seed(random_model):
    model = random_model(pad_length=64).model
    adata = panel(model, np.ones((2, 500)))
    one, other = check(model, adata, "shared"), check(model, adata, "shared", seed=1)
    assert np.array_equal(one.gene_indices[0], one.gene_indices[1])
    assert set(one.gene_indices[0]) != set(other.gene_indices[0])
    drawn = check(model, adata, "independent")
    assert set(drawn.gene_indices[0]) != set(drawn.gene_indices[1])


def test_reordering_genes_changes_the_cls_value_alone(random_model, immune):
    model = random_model(pad_length=2048).model
    order = np.random.default_rng(0).permutation(immune.n_vars)
    # The [CLS] slot carries the fourth valid gene: bring one there that most cells express.
    known = np.flatnonzero(immune.var_names.isin(model.genes))
    common = known[np.asarray(immune.X[:, known].sum(0)).argmax()]
    order = np.concatenate([known[known != common][:3], [common], order[~np.isin(order, known[known != common][:3])]])
    order = order[np.sort(np.unique(order, return_index=True)[1])]
    for fill in ("shared", "independent", "none"):
        one, other = model.tokenize(immune, fill=fill), model.tokenize(immune[:, order].copy(), fill=fill)
        assert np.array_equal(one.gene_indices, other.gene_indices)
        assert np.array_equal(one.expression_values[:, 1:], other.expression_values[:, 1:])
        assert (one.expression_values[:, 0] != other.expression_values[:, 0]).mean() > 0.9


def test_a_cell_is_judged_raw_or_log1p_on_all_its_genes(random_model):
    """Also on those that the model does not know."""
    model = random_model(pad_length=64).model
    x = np.zeros((2, 10), np.float32)
    x[:, :8] = [3, 1, 2, 0, 5, 0, 1, 0]
    x[1, 9] = 36  # more than any log1p value, on a gene out of the vocabulary
    adata = panel(model, x)
    adata.var_names = [*model.genes[:8], "out", "out of the vocabulary"]
    sentences = check(model, adata, "none")
    shares = {3: 25.0, 5: 500 / 12}
    assert sentences.expression_values[0, 1] == np.float32(shares[5])
    logs = np.log1p([3, 1, 2, 5, 1])
    np.testing.assert_allclose(sentences.expression_values[1, 1], 100 * np.log(6) / logs.sum(), rtol=1e-6)


def test_expression_overrides_the_decision(random_model, immune):
    model = random_model(pad_length=64).model
    x = np.random.default_rng(3).poisson(1.0, (4, 100))  # shallow counts: treated as log1p values
    auto, counts = (model.tokenize(panel(model, x), expression=e, fill="none") for e in ("auto", "counts"))
    logs = model.tokenize(panel(model, np.log1p(x)), expression="log1p", fill="none")
    np.testing.assert_allclose(counts.expression_values, logs.expression_values, rtol=1e-6)
    assert not np.allclose(auto.expression_values, counts.expression_values)


def test_a_symbol_that_stands_twice_stays_two_genes(random_model):
    model = random_model(pad_length=64).model
    adata = panel(model, [[0, 4, 2, 1, 3, 0]])
    adata.var_names = ["unknown", *model.genes[:2], model.genes[0], *model.genes[2:4]]
    sentences = check(model, adata, "none", min_coverage=0)
    assert list(sentences.gene_indices[0, : sentences.lengths[0]]) == [model.cls_index, 0, 2, 1, 0]
    assert np.all(np.diff(sentences.expression_values[0, 1:]) < 0)


def test_tokenize_is_what_embed_reads(random_model, immune):
    made = random_model(pad_length=300)
    for fill in ("shared", "independent"):
        se600m.embed(immune, model=made.model, fill=fill, seed=4)
        sentences = se600m.tokenize(immune, model=made.model, fill=fill, seed=4)
        embedding, _ = made.model.embed_sentences(sentences.gene_indices, sentences.expression_values)
        assert np.array_equal(immune.obsm["X_state"], embedding)


@pytest.mark.parametrize("n_genes", [2046, 2047, 2048])
@pytest.mark.parametrize("fill", FILLS)
def test_edges_at_full_length(random_model, n_genes, fill):
    """As many valid genes as slots, one fewer and one more."""
    model = random_model(pad_length=2048).model
    x = np.random.default_rng(n_genes).poisson(0.7, (4, n_genes)).astype(np.float32)
    x[0] = 0  # no expression
    x[1] = 1 + np.arange(n_genes) % 30  # every gene expressed
    x[2] = 0
    x[2, 1] = 7  # one gene
    adata = panel(model, x)
    if fill == "expected" and n_genes > 2047:
        with pytest.raises(se600m.errors.OptionError, match="room for 2,047, but there are 2,048 valid genes"):
            model.tokenize(adata, fill=fill)
        return
    check(model, adata, fill)
    assert model.tokenize(adata).fill == ("expected" if n_genes < 2047 else "shared")
    se600m.embed(adata, model=model, fill=fill)
    assert np.all(np.isfinite(adata.obsm["X_state"]))


def test_three_valid_genes_are_too_few_and_four_are_enough(random_model):
    model = random_model(pad_length=2048).model
    x = np.array([[3, 0, 1, 2], [0, 0, 0, 0]], np.float32)
    with pytest.raises(se600m.errors.TooFewGenesError, match="3 valid genes"):
        model.tokenize(panel(model, x[:, :3]))
    for fill in FILLS:
        check(model, panel(model, x), fill)
