"""The forward pass against an independent float64 implementation, stage by stage."""

import numpy as np
import pytest

import oracle
import se600m
from conftest import RandomModel

VARIANTS = [
    pytest.param({"encoding": "soft-bins"}, id="soft-bins"),
    pytest.param({"encoding": "soft-bins", "dataset_correction": False}, id="soft-bins, no dataset token"),
    pytest.param({"encoding": "scale"}, id="scale"),
    pytest.param({"encoding": "scale", "dataset_correction": False}, id="scale, no dataset token"),
    pytest.param({"encoding": "none"}, id="none"),
    pytest.param({"nhead": 1, "nlayers": 1, "pad_length": 64}, id="1 head, 1 layer"),
    pytest.param(
        {"nhead": 7, "emsize": 56, "d_hid": 20, "output_dim": 70, "nlayers": 3}, id="7 heads, widths all different"
    ),
    pytest.param({"nhead": 16, "emsize": 64, "nlayers": 16}, id="16 layers, 16 heads"),
    pytest.param({"nhead": 4, "pad_length": 2048}, id="2048 slots"),
]


def expected(made: RandomModel, gene_indices, values):
    return oracle.forward(
        made.state, made.table, made.dims.nhead, gene_indices, values,
        encoding=made.encoding, dataset_correction=made.dataset_correction,
    )  # fmt: skip


@pytest.mark.parametrize("options", VARIANTS)
def test_embedding_and_every_stage_match_the_oracle(random_model, immune, options):
    made = random_model(**options)
    cells = immune[:3].copy()
    sentences = made.model.tokenize(cells, fill="shared")
    embedding, dataset = made.model.embed_sentences(sentences.gene_indices, sentences.expression_values)
    trace = made.model.trace_sentences(sentences.gene_indices, sentences.expression_values)
    se600m.embed(cells, model=made.model, fill="shared")
    for cell in range(3):
        want = expected(made, sentences.gene_indices[cell], sentences.expression_values[cell])
        assert list(trace) == list(want)
        for stage, values in want.items():
            np.testing.assert_allclose(
                trace[stage][cell], values, rtol=2e-5, atol=2e-5 * max(1, np.abs(values).max()), err_msg=stage
            )
        assert np.abs(embedding[cell] - want["embedding"]).max() <= 1e-5
        assert np.array_equal(cells.obsm["X_state"][cell], embedding[cell])
        if made.dataset_correction:
            np.testing.assert_allclose(dataset[cell], want["dataset_embedding"], rtol=1e-4, atol=1e-5)
            assert np.array_equal(cells.obsm["X_state_dataset"][cell], dataset[cell])
        else:
            assert dataset is None
            assert "X_state_dataset" not in cells.obsm


@pytest.mark.parametrize("encoding", ["soft-bins", "scale"])
def test_multiplicity_stands_for_repeated_tokens(random_model, encoding):
    made = random_model(encoding=encoding)
    random = np.random.default_rng(5)
    genes = random.permutation(len(made.genes))[:40].astype(np.int32)
    values = random.gamma(1, 2, 40).astype(np.float32)
    times = random.integers(1, 6, 40)
    indices = np.concatenate([[made.model.cls_index], genes]).astype(np.int32)
    values = np.concatenate([[0.5], values]).astype(np.float32)
    times = np.concatenate([[1], times])
    merged, merged_dataset = made.model.embed_sentences([indices], [values], [times])
    repeated, repeated_dataset = made.model.embed_sentences([np.repeat(indices, times)], [np.repeat(values, times)])
    assert np.abs(merged - repeated).max() <= 1e-6
    np.testing.assert_allclose(merged_dataset, repeated_dataset, rtol=1e-5, atol=1e-6)
    want = expected(made, np.repeat(indices, times), np.repeat(values, times))
    assert np.abs(merged[0] - want["embedding"]).max() <= 1e-5


def test_multiplicity_zero_leaves_a_slot_out(random_model):
    made = random_model(encoding="soft-bins")
    indices = np.array([[made.model.cls_index, 3, 1, 4, 1, 5]], np.int32)
    values = np.array([[1, 9, 8, 7, 6, 5]], np.float32)
    padded, _ = made.model.embed_sentences(indices, values, [[1, 1, 1, 1, 0, 0]])
    short, _ = made.model.embed_sentences(indices[:, :4], values[:, :4])
    assert np.abs(padded - short).max() <= 1e-6
    trace = made.model.trace_sentences(indices, values, [[1, 1, 1, 1, 0, 0]])
    assert np.abs(trace["embedding"] - short).max() <= 1e-5


def test_expression_values_matter_and_none_ignores_them(random_model):
    for encoding, matters in (("soft-bins", True), ("scale", True), ("none", False)):
        model = random_model(encoding=encoding).model
        indices = [[model.cls_index, 3, 1, 4]]
        one, _ = model.embed_sentences(indices, [[1, 9, 8, 7]])
        other, _ = model.embed_sentences(indices, [[1, 2, 8, 7]])
        assert np.array_equal(one, other) != matters


@pytest.fixture(scope="module")
def full_width(tmp_path_factory) -> RandomModel:
    """SE-600M's own dimensions, but 2 layers and fewer genes than its 19,790: token_dim 5120, emsize 2048."""
    genes = [f"G{i}" for i in range(8192)]
    return RandomModel(
        tmp_path_factory.mktemp("full") / "width", genes, seed=600, token_dim=5120, emsize=2048, d_hid=2048, nhead=16,
        nlayers=2, output_dim=2048, pad_length=2048,
    )  # fmt: skip


def test_full_width(full_width, immune):
    """Every stage at SE-600M's width, and the same bits whatever the batch and the threads."""
    model = full_width.model
    flow = [stage.shape for stage in model.dimension_flow()]
    assert flow == [
        "[n_genes]",
        "[B, 2048] × 2",
        "[B, 2048, 5120]",
        "[B, 2049, 2048]",
        "[B, 2049, 2048]",
        "[B, 2048]",
        "[n_cells, 2048]",
    ]
    few = np.argsort(np.asarray((immune.X > 0).sum(1)).ravel(), kind="stable")[:4]
    cells = immune[few].copy()
    cells.var_names = [f"G{i}" for i in np.random.default_rng(1).permutation(cells.n_vars)]
    sentences = model.tokenize(cells[:1])
    assert (sentences.fill, sentences.gene_indices.shape) == ("shared", (1, 2048))
    trace = model.trace_sentences(sentences.gene_indices, sentences.expression_values)
    assert {name: values.shape for name, values in trace.items()} == {
        "gene_embedding": (1, 2048, 5120),
        "projection": (1, 2049, 2048),
        "tokens": (1, 2049, 2048),
        "layer_1": (1, 2049, 2048),
        "layer_2": (1, 2049, 2048),
        "head": (1, 2049, 2048),
        "embedding": (1, 2048),
        "dataset_embedding": (1, 10),
    }
    want = expected(full_width, sentences.gene_indices[0], sentences.expression_values[0])
    for stage, values in want.items():
        scale = max(1, np.abs(values).max())
        # Scores of random weights are so large at this width that what the projection rounds, 1e-6, is 6e-5 a layer on.
        assert np.abs(trace[stage][0] - values).max() <= 1e-4 * scale, stage
    contextual = model.contextual_gene_embeddings(cells[:1])
    assert np.array_equal(contextual.gene_indices, sentences.gene_indices)
    layer = want["layer_2"][:2048]
    assert np.abs(contextual.embeddings[0] - layer).max() <= 1e-4 * np.abs(layer).max()
    genes, both = model.genes[:3], np.concatenate([trace["embedding"], trace["dataset_embedding"]], axis=1)
    decoded = oracle.decode(
        full_width.state, full_width.table, trace["embedding"], range(3), read_depth=[4],
        dataset_embedding=trace["dataset_embedding"],
    )  # fmt: skip
    np.testing.assert_allclose(model.decode(both, genes), decoded, rtol=1e-4, atol=1e-5)
    se600m.embed(cells, model=model, fill="none")
    short = cells.obsm["X_state"].copy()
    for options in ({"batch_size": 1}, {"batch_size": 3, "threads": 1}):
        se600m.embed(cells, model=model, fill="none", **options)
        assert np.array_equal(cells.obsm["X_state"], short), options
    embedding, _ = model.embed_sentences(sentences.gene_indices, sentences.expression_values)
    assert np.abs(embedding[0] - want["embedding"]).max() <= 1e-5
    model.close()
