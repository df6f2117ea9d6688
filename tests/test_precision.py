"""precision="int8": how far from exact, and where it is in force."""

import numpy as np
import pytest

import oracle
import se600m
from se600m import errors


@pytest.fixture
def folder(random_model):
    return random_model(emsize=128, nhead=4, d_hid=192, nlayers=6, output_dim=64, pad_length=300).folder


def cosines(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("fill", ["shared", "none"])
def test_int8_is_close_and_no_more(folder, immune, fill):
    exact = se600m.load_model(folder).compute(immune, fill=fill).embedding
    close = se600m.load_model(folder, precision="int8").compute(immune, fill=fill).embedding
    assert not np.array_equal(close, exact)
    assert cosines(close, exact).min() >= 0.998
    np.testing.assert_allclose(np.linalg.norm(close, axis=1), 1, rtol=1e-6)


def test_a_layer_in_int8_is_what_rounding_makes_of_it(random_model, immune, monkeypatch):
    """Against the definition with weights rounded by output channel and inputs by token, attention exact."""
    made = random_model(emsize=128, nhead=4, d_hid=192, nlayers=1, output_dim=64, pad_length=300)
    sentences = made.model.tokenize(immune[:1])
    stages = made.model.trace_sentences(sentences.gene_indices, sentences.expression_values)
    got = se600m.load_model(made.folder, precision="int8").contextual_gene_embeddings(immune[:1]).embeddings[0]

    def rounded(values):
        scale = np.abs(values).max(-1, keepdims=True) / 127
        return np.round(values / scale) * scale

    def linear(state, name, x):
        return rounded(x) @ rounded(state[f"{name}.weight"].astype(np.float64)).T + state[f"{name}.bias"]

    monkeypatch.setattr(oracle, "_linear", linear)
    want = oracle._layer(made.state, "transformer_encoder.layers.0.", stages["tokens"][0].astype(np.float64), 4)[:-1]
    off = np.abs(stages["layer_1"][0, :-1] - want).mean()
    assert off > 1e-3
    assert np.abs(got - want).mean() <= off / 20  # where float32 rounds to another whole number


def test_what_has_no_8_bit_form_is_exact(folder, immune):
    exact, int8 = se600m.load_model(folder), se600m.load_model(folder, precision="int8")
    sentences = exact.tokenize(immune[:2])
    for stage, values in exact.trace_sentences(sentences.gene_indices, sentences.expression_values).items():
        assert np.array_equal(
            int8.trace_sentences(sentences.gene_indices, sentences.expression_values)[stage], values
        ), stage
    genes = exact.genes[:5]
    assert np.array_equal(int8.gene_embeddings(genes), exact.gene_embeddings(genes))


def test_the_precision_is_told(folder, immune):
    model = se600m.load_model(folder, precision="int8")
    assert model.precision == "int8"
    assert "int8" in repr(model)
    se600m.embed(immune, model=model)
    assert immune.uns["X_state"]["precision"] == "int8"


def test_models_are_shared_by_what_auto_stands_for(folder):
    auto = se600m.load_model(folder)
    assert auto.precision == "fp32"
    assert se600m.load_model(folder, precision="fp32")._opened is auto._opened
    assert se600m.load_model(folder, device="cpu")._opened is auto._opened
    assert se600m.load_model(folder, precision="int8")._opened is not auto._opened


def test_unknown_precisions(folder):
    for precision in ("INT8", "", "fp8"):
        with pytest.raises(errors.OptionError, match=f'precision="{precision}" is not one of'):
            se600m.load_model(folder, precision=precision)
    with pytest.raises(errors.OptionError, match="precision=8"):
        se600m.load_model(folder, precision=8)
