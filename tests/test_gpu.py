"""Models on a real GPU, against the processor in fp32 (make gpu).

Every test also runs on the processor, where it says nothing of GPUs but that the test itself works. What is measured is
noted with ``record_property`` and lands in the report of ``pytest --junitxml``.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import anndata
import numpy as np
import pytest

import se600m
from jobs import Ended
from se600m import _cuda_libraries, _library, _native, errors

STANDIN = bool(os.environ.get("SE600M_STANDIN_GPU"))
FULL_MODEL = os.environ.get("SE600M_FULL_MODEL", "")


def lacks(device: str) -> str:
    """Say why tests can't run on a device; "" if they can."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return ""
    if STANDIN:
        return "stand-ins for NVIDIA's libraries compute nothing"
    try:
        return _library.lacks_for_gpu(kind)
    except errors.SE600MError as error:
        return str(error)


def n_gpus() -> int:
    return 0 if lacks("cuda") else len(_native.describe_driver(_cuda_libraries.driver())["devices"])


@dataclass(frozen=True)
class Place:
    """Where a model runs, and how near to the processor's fp32 it must be."""

    device: str
    precision: str
    cosine: float
    """Least cosine similarity of an embedding. Small random models are more sensitive to bf16 than SE-600M's size."""
    token: float
    """Least cosine similarity of any token's vector."""
    error: float
    """Largest error of decoded expression, as a share of the largest value."""

    def open(self, path: object) -> se600m.Model:
        return se600m.load_model(path, device=self.device, precision=self.precision)


def place(device: str, precision: str, cosine: float, token: float, error: float) -> object:
    missing = lacks(device)
    marks = [] if device == "cpu" else [pytest.mark.gpu, pytest.mark.skipif(bool(missing), reason=missing)]
    return pytest.param(Place(device, precision, cosine, token, error), marks=marks, id=f"{device}, {precision}")


CPU = place("cpu", "fp32", 0.999999, 0.999999, 1e-5)
CUDA = [
    place("cuda", "fp32", 0.99999, 0.9999, 1e-3),
    place("cuda", "fp16", 0.9995, 0.999, 1e-2),
    place("cuda", "bf16", 0.999, 0.99, 5e-2),
]
TENSORRT = [place("tensorrt", "fp16", 0.9995, 0.999, 1e-2), place("tensorrt", "bf16", 0.999, 0.99, 5e-2)]
everywhere = pytest.mark.parametrize("at", [CPU, *CUDA, *TENSORRT])
on_cuda = pytest.mark.parametrize("at", [CPU, *CUDA])
once = pytest.mark.parametrize("at", [CPU, CUDA[1]])
only_cuda = pytest.mark.parametrize("at", CUDA[1:2])

# Half of the immune genes are in a random model's vocabulary: what is said about that is not the matter here.
pytestmark = [pytest.mark.filterwarnings("ignore::se600m.errors.DataWarning"), pytest.mark.timeout(600)]

# Heads as wide as SE-600M's, so that the kernels are the same.
WIDE = {"emsize": 256, "nhead": 2, "d_hid": 256, "output_dim": 256, "nlayers": 2, "pad_length": 1024}
MODELS = {
    "se-mini": None,
    "soft-bins": {},
    "no dataset token": {"dataset_correction": False},
    "scale": {"encoding": "scale"},
    "no expression": {"encoding": "none"},
}
models = pytest.mark.parametrize("kind", MODELS)


@pytest.fixture
def path(random_model, request):
    """Finds a model by its kind: what load_model takes. On the processor, random ones are small."""
    sizes = {} if request.node.callspec.params["at"].device == "cpu" else WIDE
    return lambda kind: kind if MODELS[kind] is None else random_model(**sizes, **MODELS[kind]).folder


@pytest.fixture
def immune(_immune):
    """Nine cells: the same tests run on the processor."""
    return _immune[:9].copy()


@pytest.fixture
def panel(immune):
    """The same cells with the 250 genes that are expressed in most: fewer than a sentence has slots."""
    cells = np.asarray((immune.X > 0).sum(axis=0)).ravel()
    return immune[:, np.sort(np.argsort(-cells, kind="stable")[:250])].copy()


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarities of vectors along the last axis, in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def near(got: np.ndarray, want: np.ndarray, least: float, note, name: str = "cosine") -> None:
    assert np.isfinite(got).all()
    found = float(cosines(got, want).min())
    note(name, found)
    assert found >= least


def exact(path: object) -> se600m.Model:
    return se600m.load_model(path, device="cpu", precision="fp32")


def sentences_of(model: se600m.Model, adata: anndata.AnnData, fill: str) -> dict[str, np.ndarray]:
    made = model.tokenize(adata, fill=fill)
    return {name: getattr(made, name) for name in ("gene_indices", "expression_values", "multiplicity")}


@everywhere
@models
@pytest.mark.parametrize("fill", ["shared", "expected"], ids=["dense", "weighted"])
def test_embeddings_of_the_same_tokens(at, kind, fill, path, immune, panel, record_property):
    want = exact(path(kind))
    tokens = sentences_of(want, (immune if fill == "shared" else panel)[:6], fill)
    if fill == "shared":
        del tokens["multiplicity"]  # so that there are none in the graph
    embedding, dataset = at.open(path(kind)).embed_sentences(**tokens)
    embedding_there, dataset_there = want.embed_sentences(**tokens)
    near(embedding, embedding_there, at.cosine, record_property)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-3)
    if dataset is not None:
        near(dataset, dataset_there, at.cosine, record_property, "cosine of dataset embeddings")


@everywhere
@pytest.mark.parametrize("fill", ["shared", "independent", "expected", "none"])
def test_fill_policies(at, fill, path, immune, panel, record_property):
    cells = panel if fill == "expected" else immune
    got, want = (m.compute(cells, fill=fill) for m in (at.open(path("soft-bins")), exact(path("soft-bins"))))
    near(got.embedding, want.embedding, at.cosine, record_property)
    assert got.provenance["fill"] == want.provenance["fill"] == fill
    assert got.provenance["precision"] == at.precision


@on_cuda
@models
@pytest.mark.parametrize("fill", ["shared", "expected"])
def test_contextual_gene_embeddings(at, kind, fill, path, immune, panel, record_property):
    cells = (immune if fill == "shared" else panel)[:3]
    here, there = at.open(path(kind)), exact(path(kind))
    got, want = (m.contextual_gene_embeddings(cells, fill=fill) for m in (here, there))
    assert np.array_equal(got.gene_indices, want.gene_indices)
    used = np.broadcast_to(want.embeddings.any(-1), want.gene_indices.shape)
    near(got.embeddings[used], want.embeddings[used], at.token, record_property)
    genes = list(cells.var_names[cells.var_names.isin(there.genes)][:3])
    got, want = (m.contextual_gene_embeddings(cells, genes, fill=fill) for m in (here, there))
    assert np.array_equal(np.isnan(got), np.isnan(want))
    used = ~np.isnan(want).any(-1)
    if used.any():
        near(got[used], want[used], at.token, record_property, "cosine of chosen genes")


@on_cuda
@models
def test_decoded_expression(at, kind, path, immune, record_property):
    here, there = at.open(path(kind)), exact(path(kind))
    made = there.compute(immune)
    genes = there.genes[:100]
    got, want = (m.decode(made.embedding, genes, dataset_embedding=made.dataset_embedding) for m in (here, there))
    found = float(np.abs(got - want).max() / np.abs(want).max())
    record_property("largest error, as a share of the largest value", found)
    assert found <= at.error


@everywhere
@pytest.mark.parametrize("fill", ["shared", "none"])
def test_two_runs_give_the_same_bits(at, fill, path, immune):
    first = at.open(path("soft-bins")).compute(immune, fill=fill)
    again = at.open(path("soft-bins")).compute(immune, fill=fill)
    assert np.array_equal(first.embedding, again.embedding)
    assert np.array_equal(first.dataset_embedding, again.dataset_embedding)


@everywhere
@pytest.mark.parametrize("fill", ["shared", "none"])
def test_how_many_cells_there_are_does_not_matter(at, fill, path, immune):
    model = at.open(path("soft-bins"))
    want = model.compute(immune, fill=fill).embedding
    for n in (1, 7):
        assert np.array_equal(model.compute(immune[:n], fill=fill).embedding, want[:n]), n


@everywhere
def test_ctrl_c_within_a_batch_and_between_two(at, random_model, immune, jobs):
    """All cells are one batch, long enough on a GPU in any precision to be under way when the key is pressed."""
    on_gpu = {"emsize": 1024, "nhead": 8, "d_hid": 1024, "output_dim": 64, "nlayers": 12, "pad_length": 2048}
    made = random_model(**on_gpu, token_dim=16) if at.device != "cpu" else random_model(**WIDE)
    model = at.open(made.folder)
    tokens = sentences_of(model, immune, "shared")
    del tokens["multiplicity"]
    tokens = {name: np.concatenate([values] * (1 if at.device == "cpu" else 8)) for name, values in tokens.items()}
    n = len(tokens["gene_indices"])
    want = model.embed_sentences(**tokens, batch_size=n)  # opens the session, too
    jobs.interrupt_a_batch()
    with pytest.raises(KeyboardInterrupt):
        model.embed_sentences(**tokens, batch_size=n)
    assert jobs.interruptions == 1
    # A GPU does what it was handed, and may have been handed the whole batch within milliseconds.
    assert jobs.ended[-1] == Ended(0, n, "canceled") or (at.device != "cpu" and jobs.ended[-1].outcome == "done")
    jobs.interrupt()
    with pytest.raises(KeyboardInterrupt):
        model.embed_sentences(**tokens, batch_size=n // 9)
    assert jobs.interruptions == 2
    assert jobs.ended[-1].outcome == "canceled"
    assert 0 < jobs.ended[-1].done < n
    again = model.embed_sentences(**tokens, batch_size=n)
    assert np.array_equal(again[0], want[0])


@only_cuda
def test_a_batch_that_is_too_large_is_halved(at, random_model, immune, caplog):
    """More cells at once than any kernel can have memory for: three times the tokens in 16 bits are the least."""
    made = random_model(emsize=2048, nhead=16, d_hid=2048, output_dim=64, nlayers=1, pad_length=2048, token_dim=16)
    model = at.open(made.folder)
    tokens = sentences_of(model, immune, "shared")
    del tokens["multiplicity"]
    memory = _native.describe_driver(_cuda_libraries.driver())["devices"][0]["memory"]
    n = memory // (3 * 2 * 2048 * 2048) + 1
    want, _ = model.embed_sentences(**tokens)
    many = {name: np.resize(values, (n, values.shape[1])) for name, values in tokens.items()}
    with caplog.at_level("WARNING", logger="se600m"):
        got, _ = model.embed_sentences(**many, batch_size=n)
    assert f"not enough memory for batches of {n} cells: going on with {(n + 1) // 2}" in caplog.text
    assert cosines(got, np.resize(want, got.shape)).min() >= at.cosine


@once
def test_two_models_at_once(at, path, immune, panel):
    """Each in a thread of its own, twice: what they give alone."""
    tasks = [(at.open(path(kind)), cells) for kind in ("soft-bins", "no dataset token") for cells in (immune, panel)]
    want = [model.compute(cells).embedding for model, cells in tasks]
    got: list[np.ndarray | None] = [None] * len(tasks)

    def work(i: int) -> None:
        got[i] = tasks[i][0].compute(tasks[i][1]).embedding

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(got, want, strict=True):
        assert np.array_equal(one, other)


@only_cuda
@pytest.mark.skipif(n_gpus() < 2, reason="needs two GPUs")
def test_two_gpus_give_what_one_gives(at, path, immune):
    one = at.open(path("soft-bins")).compute(immune, batch_size=4).embedding
    both = se600m.load_model(path("soft-bins"), device=["cuda:0", "cuda:1"], precision=at.precision)
    assert both.device == "cuda:0,cuda:1"
    assert np.array_equal(both.compute(immune, batch_size=4).embedding, one)


@only_cuda
def test_auto_is_the_gpu(at, path):
    model = se600m.load_model(path("se-mini"))
    assert (model.device, model.precision) == ("cuda:0", at.precision)
    found = {check.name: check.found for check in se600m.doctor()}
    assert "cuda:0 is a" in found["NVIDIA driver"]


@everywhere
@pytest.mark.skipif(not FULL_MODEL, reason="SE600M_FULL_MODEL names no model of full width")
def test_a_model_of_full_width(at, immune, record_property):
    want = exact(FULL_MODEL)
    tokens = sentences_of(want, immune[:4], "shared")
    got, _ = at.open(FULL_MODEL).embed_sentences(**tokens)
    near(got, want.embed_sentences(**tokens)[0], max(at.cosine, 0.9995), record_property)
