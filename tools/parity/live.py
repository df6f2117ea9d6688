"""What must be the same number for number: sentences, the forward pass, gene embeddings, the decoder."""

from __future__ import annotations

import anndata
import numpy as np
from reference import Reference, Sentences
from report import Report

import se600m


def largest_relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """Largest error as a share of the largest value."""
    return float(np.abs(got - want).max() / np.abs(want).max())


def with_cls(model: se600m.Model, drawn: Sentences) -> np.ndarray:
    """Put ``[CLS]`` where the reference names the gene whose value it carries."""
    indices = drawn.tokens.astype(np.int32)
    indices[:, 0] = model.cls_index
    return indices


def compare_draws(model: se600m.Model, adata: anndata.AnnData, drawn: Sentences, fill: str) -> list[bool]:
    """Tell for each cell whether the reference could have drawn our sentence.

    The value of ``[CLS]`` is the same; tokens and values above the value at the cut are the same multiset; at
    the cut there are as many tokens, all genes of the data set with that value.
    """
    ours = model.tokenize(adata, fill=fill, min_coverage=0)
    token_of = {gene: i for i, gene in enumerate(model.genes)}
    known = {token_of[gene] for gene in adata.var_names if gene in token_of}
    same = []
    for cell in range(adata.n_obs):
        indices, values = ours.gene_indices[cell], ours.expression_values[cell]
        want_indices, want_values = drawn.tokens[cell], drawn.values[cell]
        cut = want_values[1:].min() * (1 + 1e-5)
        above, want_above = values[1:] > cut, want_values[1:] > cut
        ranked, want_ranked = (np.sort(i[1:][a]) for i, a in ((indices, above), (want_indices, want_above)))
        same.append(
            np.isclose(values[0], want_values[0], rtol=1e-5, atol=1e-7)
            and np.array_equal(ranked, want_ranked)
            and len(values) == len(want_values)
            and np.allclose(np.sort(values[1:]), np.sort(want_values[1:]), rtol=1e-5, atol=1e-7)
            and set(indices[1:][~above]) <= known - set(ranked)
        )
    return same


def continuous(adata: anndata.AnnData, seed: int, n_expressed: int) -> anndata.AnnData:
    """Cells over the same genes whose values are all different: log1p values and raw ones in turn."""
    random = np.random.default_rng(seed)
    x = np.zeros((8, adata.n_vars), np.float32)
    for row, cell in enumerate(x):
        genes = random.choice(adata.n_vars, n_expressed, replace=False)
        values = random.permutation(np.linspace(0.01, 6, n_expressed))  # far apart, as float32, too
        cell[genes] = np.expm1(values) if row % 2 else values
    made = anndata.AnnData(x)
    made.var_names = adata.var_names
    return made


def same_numbers(
    report: Report, name: str, model: se600m.Model, reference: Reference, adata: anndata.AnnData, *, panel: bool
) -> None:
    """Compare sentences and everything computed from identical ones."""
    report.section(f"{name}, {adata.n_obs} cells × {adata.n_vars:,} genes")
    collator = reference.collator(adata)
    drawn = collator.draw(seed=0)
    seen = model.compute(adata[:1].copy(), min_coverage=0, progress=False).provenance
    report.all_of("valid genes", seen["n_valid"], collator.n_valid)
    for fill in ("independent",) if panel else ("shared", "independent"):
        same = compare_draws(model, adata, drawn, fill)
        report.all_of(f"sentences, fill={fill}: above the cut, at the cut, [CLS]", sum(same), len(same))
    if not panel:
        cells = continuous(adata, seed=1, n_expressed=min(12_000, adata.n_vars))
        ours, theirs = model.tokenize(cells, min_coverage=0), reference.collator(cells).draw(seed=0)
        same = [
            np.array_equal(ours.gene_indices[i, 1:], theirs.tokens[i, 1:])
            and np.allclose(ours.expression_values[i], theirs.values[i], rtol=1e-5)
            for i in range(cells.n_obs)
        ]
        report.all_of("sentences of continuous values, whole", sum(same), len(same))
    indices = with_cls(model, drawn)
    embedding, dataset = model.embed_sentences(indices, drawn.values)
    want, want_dataset = reference.embed(drawn.tokens, drawn.values)
    cosine = (embedding.astype(np.float64) * want).sum(1)
    cosine /= np.linalg.norm(embedding, axis=1) * np.linalg.norm(want, axis=1)
    report.at_most("same tokens: largest error of the embedding", np.abs(embedding - want).max(), 2e-5)
    report.at_least("same tokens: least cosine", cosine.min(), 0.999999)
    report.at_most("same tokens: dataset embedding, relative", largest_relative_error(dataset, want_dataset), 1e-4)
    some = model.genes[:: max(1, len(model.genes) // 200)]
    report.at_most(
        f"gene embeddings ({len(some)} genes), relative",
        largest_relative_error(model.gene_embeddings(some), reference.gene_embeddings(some)),
        1e-4,
    )
    report.at_most(
        f"decoder ({adata.n_obs} × {len(some)}), relative",
        largest_relative_error(
            model.decode(want, some, dataset_embedding=want_dataset), reference.decode(want, some, 4.0, want_dataset)
        ),
        1e-4,
    )


def own_differences(report: Report, model: se600m.Model, adata: anndata.AnnData) -> None:
    """Measure what the deliberate shortcuts change: folding, and merging equal tokens."""
    report.section("shortcuts against the long way, on our side")
    sentences = model.tokenize(adata, fill="shared")
    indices, values = sentences.gene_indices[:4], sentences.expression_values[:4]
    embedding, _ = model.embed_sentences(indices, values)
    trace = model.trace_sentences(indices, values)["embedding"]
    report.at_most(
        "folded table, pruned last layer, fused operators: largest error", np.abs(embedding - trace).max(), 2e-5
    )
    doubled = np.concatenate([indices, indices[:, 1:]], axis=1), np.concatenate([values, values[:, 1:]], axis=1)
    times = np.full(indices.shape, 2, np.float32)
    times[:, 0] = 1
    long, _ = model.embed_sentences(*doubled)
    merged, _ = model.embed_sentences(indices, values, times)
    report.at_most("equal tokens merged, multiplicity 2: largest error", np.abs(long - merged).max(), 2e-5)
    report.tell("  for comparison, doubled tokens against single ones", float(np.abs(long - embedding).max()))
