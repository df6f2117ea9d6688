"""Expression decoding and gene embeddings, against the oracle and against themselves."""

import h5py
import numpy as np
import pandas as pd
import pytest

import oracle
from conftest import RandomModel
from jobs import was_cancelled_in_the_middle
from se600m import _progress, errors

VARIANTS = [
    pytest.param({}, id="read depth, dataset embedding"),
    pytest.param({"read_depth": False}, id="dataset embedding"),
    pytest.param({"dataset_correction": False}, id="read depth"),
    pytest.param({"read_depth": False, "dataset_correction": False}, id="neither"),
    pytest.param({"encoding": "scale"}, id="scale"),
    pytest.param({"encoding": "none", "dataset_correction": False}, id="no expression"),
    pytest.param(
        {"emsize": 33, "nhead": 3, "d_hid": 45, "output_dim": 71, "token_dim": 13}, id="widths all different and odd"
    ),
]


def cells(made: RandomModel, n, seed=0):
    """Embeddings of unit length, dataset embeddings and read depths, as far as the decoder takes them."""
    random = np.random.default_rng(seed)
    embedding = random.standard_normal((n, made.dims.output_dim)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    options = {}
    if made.read_depth:
        options["read_depth"] = random.uniform(1, 6, n).astype(np.float32)
    if made.dataset_correction:
        options["dataset_embedding"] = random.standard_normal((n, 10)).astype(np.float32)
    return embedding, options


@pytest.mark.parametrize("options", VARIANTS)
def test_decode_matches_the_oracle(random_model, options):
    made = random_model(**options)
    embedding, given = cells(made, 7)
    tokens = [3, 1, 4000, 1, 59]
    got = made.model.decode(embedding, [made.genes[t] for t in tokens], **given)
    want = oracle.decode(made.state, made.table, embedding, tokens, **given)
    assert (got.shape, got.dtype) == ((7, 5), np.float32)
    assert np.ptp(want) > 1
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", VARIANTS)
def test_gene_embeddings_match_the_oracle(random_model, options):
    made = random_model(**options)
    every = made.model.gene_embeddings()
    assert (every.shape, every.dtype) == ((len(made.genes), made.dims.emsize), np.float32)
    want = oracle.gene_embeddings(made.state, made.table, np.arange(len(made.genes)))
    np.testing.assert_allclose(every, want, rtol=1e-5, atol=1e-5)
    some = made.model.gene_embeddings([made.genes[7], made.genes[2], made.genes[7]])
    assert np.array_equal(some, every[[7, 2, 7]])
    assert np.array_equal(made.model.gene_embeddings(made.genes[5]), every[[5]])


ODD = {"token_dim": 13, "emsize": 33, "nhead": 3, "d_hid": 45, "output_dim": 21}
WIDE = {"emsize": 512, "output_dim": 300, "nlayers": 1}


@pytest.mark.parametrize(
    "dims", [pytest.param({}, id="even"), pytest.param(ODD, id="odd"), pytest.param(WIDE, id="wide")]
)
@pytest.mark.parametrize("correction", [True, False])
def test_a_value_depends_on_its_cell_and_gene_alone(random_model, dims, correction):
    """The same bits whatever the other cells and genes, the blocks they make, and the threads."""
    made = random_model(dataset_correction=correction, **dims)
    n, k = (40, 12) if dims == WIDE else (230, 40)  # 230 × 40 pairs of a narrow model are two blocks
    model, genes = made.model, made.genes[:k]
    embedding, options = cells(made, n)
    want = model.decode(embedding, genes, **options)

    def rows(chosen):
        return {name: values[chosen] for name, values in options.items()}

    for threads in (1, 2, 3, 7):
        assert np.array_equal(model.decode(embedding, genes, threads=threads, **options), want), threads
        for cell, gene in ((0, 0), (n - 1, k - 1), (5, 9)):
            alone = model.decode(embedding[[cell]], genes[gene], threads=threads, **rows([cell]))
            assert alone[0, 0] == want[cell, gene], (cell, gene, threads)
    for n_cells, n_genes in ((1, 2), (2, 1), (1, k), (n, 1), (3, 3), (17, 5), (n // 2, k - 1), (n - 1, 7)):
        got = model.decode(embedding[-n_cells:], genes[:n_genes], **rows(slice(n - n_cells, None)))
        assert np.array_equal(got, want[-n_cells:, :n_genes]), (n_cells, n_genes)
    order = np.random.default_rng(1).permutation(n)
    assert np.array_equal(model.decode(embedding[order], genes[::-1], **rows(order)), want[order][:, ::-1])


def test_progress_and_chunks(random_model, monkeypatch):
    """More pairs than a block, more rows than a chunk: progress counts every value once."""
    made = random_model()
    embedding, options = cells(made, 301)
    genes = made.genes[:77]
    want = made.model.decode(embedding, genes, **options)
    monkeypatch.setattr("se600m._decode._CHUNK_VALUES", 1000)
    bars = []
    close = _progress.tqdm.close

    def keep(bar):
        bars.append((bar.n, bar.total))
        close(bar)

    monkeypatch.setattr("se600m._progress.tqdm.close", keep)
    assert np.array_equal(made.model.decode(embedding, genes, progress=True, **options), want)
    assert bars[0] == (301 * 77, 301 * 77)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "strided", "memmap", "h5py", "zarr"])
def test_results_stream_into_what_is_given(random_model, tmp_path, monkeypatch, request, kind):
    made = random_model()
    embedding, options = cells(made, 50)
    genes = made.genes[:9]
    want = made.model.decode(embedding, genes, **options)
    monkeypatch.setattr("se600m._decode._CHUNK_VALUES", 160)  # 8 rows, 20 wide
    match kind:
        case "strided":
            out = np.zeros((50, 18), np.float32)[:, ::2]
        case "memmap":
            out = np.lib.format.open_memmap(tmp_path / "out.npy", mode="w+", dtype=np.float32, shape=want.shape)
        case "h5py":
            out = h5py.File(tmp_path / "out.h5", "w").create_dataset("x", want.shape, np.float32, chunks=(3, 4))
        case "zarr":
            zarr = request.getfixturevalue("zarr")
            out = zarr.create_array(tmp_path / "out.zarr", shape=want.shape, chunks=(3, 4), dtype="float32")
        case _:
            out = np.zeros(want.shape, kind)
    assert made.model.decode(embedding, genes, out=out, **options) is out
    assert np.array_equal(out[:], want.astype(out.dtype))
    if kind == "memmap":
        out.flush()
        assert np.array_equal(np.load(tmp_path / "out.npy"), want)


@pytest.mark.parametrize("kind", ["in memory", "h5py", "zarr"])
def test_embeddings_are_read_where_they_are(random_model, tmp_path, monkeypatch, request, kind):
    """The two forms in which cells are stored, and arrays that are not in memory, give the same."""
    made = random_model()
    embedding, options = cells(made, 30)
    genes = made.genes[:4]
    want = made.model.decode(embedding, genes, **options)
    both = np.hstack([embedding, options.pop("dataset_embedding")])
    monkeypatch.setattr("se600m._decode._CHUNK_VALUES", 200)
    match kind:
        case "in memory":
            forms = [both, both.tolist(), both.astype(np.float64), np.asfortranarray(both)]
        case "h5py":
            forms = [h5py.File(tmp_path / "e.h5", "w").create_dataset("e", data=both)]
        case "zarr":
            forms = [request.getfixturevalue("zarr").create_array(tmp_path / "e.zarr", data=both)]
    for form in forms:
        assert np.array_equal(made.model.decode(form, genes, **options), want), type(form)


def test_read_depth(random_model):
    made = random_model()
    embedding, options = cells(made, 3)
    dataset = options["dataset_embedding"]
    model, genes = made.model, made.genes[:3]
    plain = model.decode(embedding, genes, dataset_embedding=dataset)
    assert np.array_equal(plain, model.decode(embedding, genes, dataset_embedding=dataset, read_depth=4))
    assert np.array_equal(plain, model.decode(embedding, genes, dataset_embedding=dataset, read_depth=[4.0] * 3))
    deeper = model.decode(embedding, genes, dataset_embedding=dataset, read_depth=[4, 5, 4])
    assert np.array_equal(deeper != plain, [[False] * 3, [True] * 3, [False] * 3])


def test_decoding_what_embed_wrote(random_model, immune):
    """From cells to predicted expression, with the embedding stored in either way."""
    made = random_model()
    cells = immune[:4].copy()
    made.model.embed(cells)
    genes = made.genes[:3]
    apart = made.model.decode(cells.obsm["X_state"], genes, dataset_embedding=cells.obsm["X_state_dataset"])
    both = made.model.embed(immune[:4].copy(), with_dataset_embedding=True, copy=True)
    assert both.obsm["X_state"].shape == (4, made.dims.output_dim + 10)
    assert "X_state_dataset" not in both.obsm
    np.testing.assert_array_equal(both.obsm["X_state"][:, :-10], cells.obsm["X_state"])
    np.testing.assert_array_equal(both.obsm["X_state"][:, -10:], cells.obsm["X_state_dataset"])
    assert np.array_equal(made.model.decode(both.obsm["X_state"], genes), apart)


def test_a_model_without_the_part(random_model, immune):
    made = random_model(decoder=False)
    assert made.model.gene_embeddings(made.genes[:2]).shape == (2, 32)
    assert not (made.model.directory / "decoder.bin").exists()
    with pytest.raises(errors.NotInModelError, match=r"no expression decoder.*binary_decoder"):
        made.model.decode(np.zeros((1, 20), np.float32), made.genes[:1])
    plain = random_model(dataset_correction=False)
    with pytest.raises(errors.NotInModelError, match="no dataset embedding"):
        plain.model.embed(immune[:1], with_dataset_embedding=True)


def test_unknown_genes(random_model):
    model = random_model().model
    assert "MS4A1" in model.genes
    for genes, message in (
        (["MS4A1", "ms4a1"], "gene 'ms4a1' is not among .* nearest symbol is 'MS4A1'"),
        (["MS4A1X", "", "MS4A1X"], r"gene 'MS4A1X' .*\(and 1 other unknown gene\).*'MS4A1'"),
    ):
        for look in (model.gene_embeddings, lambda g: model.decode(np.zeros((1, 30)), g)):
            with pytest.raises(errors.UnknownGeneError, match=message):
                look(genes)


@pytest.mark.parametrize(
    "change, message",
    [
        pytest.param({"embedding": np.zeros((3, 19))}, r"\[3, 19\].*20 wide, or 30", id="width"),
        pytest.param({"embedding": np.zeros(20)}, r"\[20\].*\[n_cells, width\]", id="one-dimensional"),
        pytest.param(
            {"embedding": np.full((3, 20), np.nan)}, "embedding has a NaN or infinite value in row 0", id="NaN"
        ),
        pytest.param(
            {"dataset_embedding": np.full((3, 10), np.inf)},
            "dataset_embedding has a NaN or infinite value in row 0",
            id="infinite",
        ),
        pytest.param({"dataset_embedding": None}, "also needs the dataset embedding", id="dataset embedding missing"),
        pytest.param(
            {"dataset_embedding": np.zeros((3, 9))}, r"\[3, 9\], not \[3, 10\]", id="dataset embedding's width"
        ),
        pytest.param({"embedding": np.zeros((3, 30))}, "embedding already contains it", id="dataset embedding twice"),
        pytest.param({"genes": []}, "genes is empty", id="no genes"),
        pytest.param({"genes": [3]}, "contains 3: give gene symbols", id="a number for a gene"),
        pytest.param({"read_depth": [1, 2]}, r"read_depth has shape \[2\].*3 cells", id="read depths"),
        pytest.param({"read_depth": np.nan}, "read_depth=nan is not .* from 0", id="read depth NaN"),
        pytest.param({"read_depth": 1e300}, r"read_depth=1e\+300 is not .* finite", id="read depth past float32"),
        pytest.param({"read_depth": -2}, r"read_depth=-2\.0 is not a read depth.*from 0", id="read depth below 0"),
        pytest.param({"read_depth": [4, 3, -0.5]}, r"read_depth=-0\.5 of cell 2 is not", id="one read depth below 0"),
        pytest.param({"read_depth": "4"}, "read_depth='4' is not a number", id="a number as text"),
        pytest.param({"read_depth": True}, "read_depth=True is not a number", id="read depth True"),
        pytest.param({"read_depth": [[4], [4, 4]]}, "is not a number or one number per cell", id="ragged read depths"),
        pytest.param({"read_depth": "deep"}, "'deep' is not a number", id="read depth text"),
        pytest.param({"threads": 0}, "threads=0", id="threads"),
        pytest.param(
            {"out": np.zeros((3, 3), np.float32)},
            r"out has shape \[3, 3\], but the result has shape \[3, 2\]",
            id="out's shape",
        ),
        pytest.param(
            {"out": np.zeros((3, 2), int)}, "out has type int64, but the result is float32", id="out of whole numbers"
        ),
        pytest.param({"out": [[0.0] * 2] * 3}, "out is a list", id="out is a list"),
        pytest.param({"out": np.broadcast_to(np.float32(0), (3, 2))}, "read-only", id="out is read-only"),
    ],
)
def test_wrong_calls(random_model, change, message):
    made = random_model()
    embedding, options = cells(made, 3)
    call = {"embedding": embedding, "genes": made.genes[:2], **options} | change
    with pytest.raises(errors.OptionError, match=message):
        made.model.decode(**call)


def test_what_the_decoder_does_not_take(random_model):
    plain = random_model(read_depth=False, dataset_correction=False)
    embedding, _ = cells(plain, 2)
    with pytest.raises(errors.OptionError, match=r"does not use read_depth \(model.rda"):
        plain.model.decode(embedding, plain.genes[:1], read_depth=5)
    with pytest.raises(errors.OptionError, match="decoder does not use it"):
        plain.model.decode(embedding, plain.genes[:1], dataset_embedding=np.zeros((2, 10)))
    with pytest.raises(errors.OptionError, match=r"are 20 wide$"):
        plain.model.decode(np.zeros((2, 30)), plain.genes[:1])


def test_ctrl_c_ends_decoding_and_the_model_goes_on(random_model, jobs):
    made = random_model(**WIDE)
    embedding, options = cells(made, 2000)
    jobs.interrupt()
    with pytest.raises(KeyboardInterrupt):
        made.model.decode(embedding, made.genes[:1000], progress=True, **options)
    assert was_cancelled_in_the_middle(jobs)
    one = {name: values[:1] for name, values in options.items()}
    assert np.isfinite(made.model.decode(embedding[:1], made.genes[:1], **one)).all()


def test_data_frames(random_model):
    """obsm may hold one."""
    made = random_model()
    embedding, options = cells(made, 5)
    want = made.model.decode(embedding, made.genes[:2], **options)
    frame = pd.DataFrame(embedding, index=list("abcde"))
    assert np.array_equal(made.model.decode(frame, made.genes[:2], **options), want)
