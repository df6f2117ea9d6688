"""The State embedding model in float64 numpy, written from its definition (docs/model.md) alone.

Slow and plain: one sentence at a time, no folding, no fusion, every token through every layer.
"""

import math

import numpy as np
from scipy.special import erf

EPS = 1e-5


def _linear(state, name, x):
    return x @ state[f"{name}.weight"].astype(np.float64).T + state[f"{name}.bias"]


def _norm(state, name, x):
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * state[f"{name}.weight"] + state[f"{name}.bias"]
    )


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _skip(state, name, x):
    h = np.maximum(_linear(state, f"{name}.intermediate_dense", x), 0)
    return _norm(state, f"{name}.layer_norm", x + _linear(state, f"{name}.dense", h))


def _head(state, x):
    return _linear(state, "decoder.1", _skip(state, "decoder.0", x))


def _projection(state, e):
    x = _norm(state, "encoder.1", _linear(state, "encoder.0", e))
    return x / (1 + np.exp(-x))


def gene_embeddings(state, table, tokens):
    """Projection of the table's rows, which are not normalised here, [k, emsize]."""
    return _projection(state, table[np.asarray(tokens)].astype(np.float64))


def decode(state, table, embedding, tokens, *, read_depth=None, dataset_embedding=None):
    """Predicted log1p expression, [n, k]: every pair of a cell and a gene on its own, in one piece."""
    genes = gene_embeddings(state, table, tokens)
    predicted = np.empty((len(embedding), len(genes)))
    for cell, vector in enumerate(np.asarray(embedding, np.float64)):
        for gene, token in enumerate(genes):
            parts = [token, vector]
            if read_depth is not None:
                parts.append([read_depth[cell]])
            if dataset_embedding is not None:
                parts.append(dataset_embedding[cell])
            x = _skip(state, "binary_decoder.0", np.concatenate(parts))
            predicted[cell, gene] = _linear(state, "binary_decoder.2", _skip(state, "binary_decoder.1", x))[0]
    return predicted


def _heads(state, prefix, x, nhead):
    n, d = x.shape
    return (
        part.reshape(n, nhead, d // nhead).swapaxes(0, 1)
        for part in np.split(_linear(state, prefix + "qkv_proj", x), 3, -1)
    )


def attention_of_cls(state, layer, x, nhead, multiplicity):
    """Attention of the first of the tokens that enter a layer (from 1) to all of them, as the mean over the heads.

    A token that stands for several equal ones has the sum of their weights.
    """
    q, k, _ = _heads(state, f"transformer_encoder.layers.{layer - 1}.", x, nhead)
    scores = q[:, 0, None] @ k.swapaxes(1, 2) / math.sqrt(x.shape[1] // nhead)
    e = np.asarray(multiplicity, np.float64) * np.exp(scores[:, 0] - scores.max())
    return (e / e.sum(-1, keepdims=True)).mean(0)


def _layer(state, prefix, x, nhead):
    n, d = x.shape
    q, k, v = _heads(state, prefix, x, nhead)
    mixed = _softmax(q @ k.swapaxes(1, 2) / math.sqrt(d // nhead)) @ v
    h = _norm(state, prefix + "norm1", x + _linear(state, prefix + "out_proj", mixed.swapaxes(0, 1).reshape(n, d)))
    f = _linear(state, prefix + "linear1", h)
    f = f * 0.5 * (1 + erf(f / math.sqrt(2)))
    return _norm(state, prefix + "norm2", h + _linear(state, prefix + "linear2", f))


def forward(state, table, nhead, gene_indices, expression_values, *, encoding="soft-bins", dataset_correction=True):
    """Every stage for one sentence whose slot 0 is [CLS]."""
    genes = table[np.asarray(gene_indices)[1:]].astype(np.float64)
    genes /= np.maximum(np.linalg.norm(genes, axis=1, keepdims=True), 1e-12)
    e = np.concatenate([state["cls_token"], genes])
    values = np.asarray(expression_values, np.float64)[:, None]
    stages = {"gene_embedding": e}
    if encoding == "scale":
        e = e * np.concatenate([[[1.0]], values[1:]])
        stages["scaled_gene_embedding"] = e
    if dataset_correction:
        e = np.concatenate([e, state["dataset_token"]])
    x = _projection(state, e)
    x = x * math.sqrt(x.shape[1])
    stages["projection"] = x
    if encoding == "soft-bins":
        h = _linear(state, "count_encoder.0", values)
        bins = _softmax(_linear(state, "count_encoder.2", np.where(h > 0, h, 0.01 * h))) @ state["bin_encoder.weight"]
        x = x + np.concatenate([bins, np.zeros((len(x) - len(bins), x.shape[1]))])
    stages["tokens"] = x
    for i in range(sum(name.endswith("qkv_proj.weight") for name in state)):
        x = _layer(state, f"transformer_encoder.layers.{i}.", x, nhead)
        stages[f"layer_{i + 1}"] = x
    head = stages["head"] = _head(state, x)
    stages["embedding"] = head[0] / np.linalg.norm(head[0])
    if dataset_correction:
        stages["dataset_embedding"] = _linear(state, "dataset_embedder", head[-1])
    return stages


def log1p_values(x):
    """One cell's values, over all genes of the data set, as the reference takes them."""
    x = np.maximum(np.asarray(x, np.float64), 0)
    raw = x.max() > 35 or int(np.expm1(np.minimum(x, 35)).sum()) > 5_000_000
    return np.log1p(x) if raw else x


def check_sentence(x, tokens, *, pad_length, cls, gene_indices, expression_values, multiplicity, fill, cls_position=3):
    """Assert that a sentence is one that the reference's rules allow (or the fill policy's own)."""
    x, tokens = log1p_values(x), np.asarray(tokens)
    valid = tokens >= 0
    x, tokens = x[valid], tokens[valid]
    shares = 100 * x / x.sum() if x.sum() > 0 else np.full(len(x), 100 / len(x))
    indices, values, times = (np.asarray(a) for a in (gene_indices, expression_values, multiplicity))
    slots = pad_length - 1

    assert indices[0] == cls
    assert times[0] == 1
    np.testing.assert_allclose(values[0], shares[cls_position], rtol=1e-5, atol=1e-6)

    # Which gene a token is: symbols that stand twice share a token, so compare (token, value) pairs.
    n_expressed = int((x > 0).sum())
    n_taken = min(n_expressed, slots)
    order = np.argsort(-x, kind="stable")[:n_taken]
    np.testing.assert_allclose(values[1 : n_taken + 1], shares[order], rtol=1e-5)
    assert np.all(times[1 : n_taken + 1] == 1)
    cut = x[order[-1]] if n_taken else np.inf
    above = order[x[order] > cut]
    assert sorted(indices[1 : len(above) + 1]) == sorted(tokens[above])
    assert set(indices[len(above) + 1 : n_taken + 1]) <= set(tokens[x == cut])
    assert len(set(indices[1 : n_taken + 1])) == n_taken or len(set(tokens)) < len(tokens)

    filled, each = indices[n_taken + 1 :], times[n_taken + 1 :]
    unexpressed = tokens[x == 0]
    unexpressed_value = 0 if x.sum() > 0 else 100 / len(x)
    np.testing.assert_allclose(values[n_taken + 1 :], unexpressed_value, rtol=1e-5)
    assert set(filled) <= set(unexpressed)
    free = slots - n_taken
    match fill:
        case "none":
            assert len(filled) == 0
        case "expected":
            assert sorted(filled) == sorted(unexpressed)
            np.testing.assert_allclose(each.sum(), free if len(unexpressed) else 0, rtol=1e-5)
            assert len(set(each)) <= 1
        case "shared" | "independent":
            assert len(filled) == (free if len(unexpressed) else 0)
            assert np.all(each == 1)
            if len(tokens) >= slots and len(set(tokens)) == len(tokens):
                assert len(set(filled)) == len(filled)  # without replacement
        case _:
            raise AssertionError(fill)
