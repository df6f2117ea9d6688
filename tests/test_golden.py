"""The reference's numbers on its own tokens, and its rules on its own draws: see golden/README.md."""

import json
from pathlib import Path

import anndata
import numpy as np
import pytest

import se600m
from conftest import IMMUNE
from se600m import errors

# The cells are few and odd on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::se600m.errors.DataWarning")

GOLDEN = Path(__file__).parent / "golden"
FIXTURES = sorted(p.name for p in GOLDEN.iterdir() if p.is_dir())


class Golden:
    """A checkpoint, opened here, and what the reference made of it."""

    def __init__(self, name: str) -> None:
        self.model = se600m.load_model(GOLDEN / name)
        with np.load(GOLDEN / name / "expected.npz") as arrays:
            self.expected = dict(arrays)

    def __getitem__(self, key: str) -> np.ndarray:
        return self.expected[key]

    @property
    def gene_indices(self) -> np.ndarray:
        """The reference's tokens; its slot 0 names the gene whose value [CLS] carries."""
        tokens = self["tokens"].copy()
        tokens[:, 0] = self.model.cls_index
        return tokens

    @property
    def gene_names(self) -> list[str]:
        return [self.model.genes[i] for i in self["genes"]]


@pytest.fixture(scope="module", params=FIXTURES)
def golden(request) -> Golden:
    return Golden(request.param)


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    assert got.shape == want.shape
    assert got.dtype == np.float32
    return float(np.abs(got - want).max() / np.abs(want).max())


def test_there_is_a_fixture_for_every_case():
    dimensions = [Golden(name).model.dimensions for name in FIXTURES]
    assert {d["nhead"] for d in dimensions} >= {1, 4, 7, 16}
    assert {d["pad_length"] for d in dimensions} >= {64, 300, 2048}
    assert {d["dataset_dim"] for d in dimensions} == {0, 10}
    assert all(len({d["emsize"], d["d_hid"], d["output_dim"]}) == 3 for d in dimensions)
    assert json.loads((GOLDEN / "made_with.json").read_text())["arc-state"] == "0.11.1"


def test_embedding(golden):
    embedding, dataset = golden.model.embed_sentences(golden.gene_indices, golden["values"])
    want = golden["embedding"]
    assert embedding.shape == want.shape
    assert np.abs(embedding - want).max() <= 2e-5
    cosine = (
        (embedding.astype(np.float64) * want).sum(1) / np.linalg.norm(embedding, axis=1) / np.linalg.norm(want, axis=1)
    )
    assert cosine.min() >= 0.999999
    assert np.linalg.norm(want[0] - want[1]) > 0.01, "the cells' embeddings differ"
    if golden.model.dataset_dim:
        assert relative_error(dataset, golden["dataset_embedding"]) <= 1e-4
    else:
        assert dataset is None


def test_gene_embeddings(golden):
    assert relative_error(golden.model.gene_embeddings(golden.gene_names), golden["gene_embeddings"]) <= 1e-4


@pytest.mark.parametrize("key, read_depth", [("decoded_4", 4.0), ("decoded_7", 7.5)])
def test_decoder(golden, key, read_depth):
    dataset = golden.expected.get("dataset_embedding")
    got = golden.model.decode(golden["embedding"], golden.gene_names, read_depth=read_depth, dataset_embedding=dataset)
    assert relative_error(got, golden[key]) <= 1e-4
    assert not np.allclose(golden["decoded_4"], golden["decoded_7"])
    if dataset is not None:
        stored = np.concatenate([golden["embedding"], dataset], axis=1)
        assert np.array_equal(golden.model.decode(stored, golden.gene_names, read_depth=read_depth), got)


def pairs(indices, values):
    """A sentence as a multiset: tokens with their values, sorted."""
    order = np.lexsort((values, indices))
    return indices[order], values[order]


@pytest.mark.parametrize("fill", ["shared", "independent"])
def test_sentences_of_real_cells(golden, fill):
    """Above the value at the cut nothing is drawn; at the cut, as many tokens as the reference took."""
    cells = anndata.read_h5ad(IMMUNE)[golden["cells"]].copy()
    sentences = golden.model.tokenize(cells, fill=fill, min_coverage=0)
    assert sentences.gene_indices.shape == golden["tokens"].shape
    np.testing.assert_allclose(sentences.expression_values[:, 0], golden["values"][:, 0], rtol=1e-5)
    assert len(np.unique(golden["values"][:, 0])) > 1
    for indices, values, want_indices, want_values in zip(
        sentences.gene_indices[:, 1:],
        sentences.expression_values[:, 1:],
        golden["tokens"][:, 1:],
        golden["values"][:, 1:],
        strict=True,
    ):
        cut = want_values.min() * (1 + 1e-5)
        above, want_above = values > cut, want_values > cut
        got, want = pairs(indices[above], values[above]), pairs(want_indices[want_above], want_values[want_above])
        assert len(want[0]) > 20
        assert np.array_equal(got[0], want[0])
        np.testing.assert_allclose(got[1], want[1], rtol=1e-5)
        np.testing.assert_allclose(values[~above], want_values[~want_above], rtol=1e-5)


@pytest.mark.parametrize("fill", ["shared", "independent"])
def test_sentences_where_nothing_is_drawn(golden, fill):
    """Values that are all different leave no choice: whole sentences are the reference's."""
    cells = anndata.AnnData(golden["synthetic_x"])
    cells.var_names = golden["synthetic_genes"]
    sentences = golden.model.tokenize(cells, fill=fill)
    assert np.array_equal(sentences.gene_indices[:, 1:], golden["synthetic_tokens"][:, 1:])
    np.testing.assert_allclose(sentences.expression_values, golden["synthetic_values"], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
def test_cells_are_judged_raw_or_log1p_as_the_reference_does(dtype):
    with np.load(GOLDEN / "judged.npz") as arrays:
        x, raw = arrays[dtype], arrays[f"{dtype}_raw"]
    assert 0 < raw.sum() < len(raw), "cells on both sides"
    model = se600m.load_model()
    for row, is_raw in zip(x, raw, strict=True):
        cell = anndata.AnnData(row[None])
        cell.var_names = model.genes[: len(row)]
        seen = model.compute(cell).provenance
        assert (seen["n_counts"], seen["n_log1p"]) == (is_raw, not is_raw), np.expm1(row.astype(float)).sum()


def test_the_format_of_torch_before_1_6_is_refused_by_name():
    with pytest.raises(errors.CheckpointError, match=r"torch before 1\.6.*save it again"):
        se600m.load_model(GOLDEN / "legacy.ckpt")
