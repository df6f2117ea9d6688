"""The same bits, whatever the batches, the threads, the order of cells and the company they are in."""

import anndata
import numpy as np
import pytest

import se600m


def embedded(adata, model, **options):
    adata = adata.copy()
    se600m.embed(adata, model=model, **options)
    return np.hstack([adata.obsm[key] for key in ("X_state", "X_state_dataset") if key in adata.obsm])


def cells(immune, pbmc, kind):
    if kind == "transcriptome":
        return immune, {}
    return pbmc, {"use_raw": True}


CASES = [
    pytest.param("transcriptome", fill, correction, id=f"{fill}, {'' if correction else 'no '}dataset token")
    for fill in ("shared", "independent", "none")
    for correction in (True, False)
] + [
    pytest.param("panel", fill, correction, id=f"panel, {fill}, {'' if correction else 'no '}dataset token")
    for fill in ("shared", "expected", "none")
    for correction in (True, False)
]


def same_in_all_batches_and_threads(adata, model, options):
    """Check that embeddings are the same, and give them."""
    want = embedded(adata, model, **options)
    for batch_size in (1, 3, 64):
        for threads in (1, 2, 5):
            got = embedded(adata, model, batch_size=batch_size, threads=threads, **options)
            assert np.array_equal(got, want), (batch_size, threads)
    return want


@pytest.mark.parametrize("kind, fill, correction", CASES)
def test_batches_and_threads(random_model, immune, pbmc, kind, fill, correction):
    adata, options = cells(immune, pbmc, kind)
    model = random_model(pad_length=2048 if kind == "panel" else 300, dataset_correction=correction).model
    options |= {"fill": fill}
    same_in_all_batches_and_threads(adata, model, options)


@pytest.mark.parametrize("kind, fill", [("transcriptome", "shared"), ("transcriptome", "none"), ("panel", "expected")])
def test_int8(random_model, immune, pbmc, kind, fill):
    """One scale a token: neither the batch nor another cell's values matter."""
    adata, options = cells(immune, pbmc, kind)
    folder = random_model(pad_length=2048 if kind == "panel" else 300).folder
    model = se600m.load_model(folder, precision="int8")
    options |= {"fill": fill}
    want = same_in_all_batches_and_threads(adata, model, options)
    assert np.array_equal(embedded(adata[5:12], model, **options), want[5:12])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_several_threads_in_one_run(random_model, precision):
    """Wide models take several threads for a run, which divide every product among them, however small."""
    folder = random_model(emsize=512, d_hid=64, nhead=16, nlayers=2, pad_length=300).folder
    model = se600m.load_model(folder, precision=precision)
    rng = np.random.default_rng(0)
    for n_slots in (2, 5, 20, 60, 100, 137, 300):
        genes = np.stack([rng.permutation(len(model.genes))[:n_slots] for _ in range(3)]).astype(np.int32)
        genes[:, 0] = model.cls_index
        values = rng.random(genes.shape, np.float32) * 5
        want = np.hstack(model.embed_sentences(genes, values, threads=1, batch_size=1))
        for threads in (1, 2, 7, 32):
            for n in (1, 3):
                got = np.hstack(model.embed_sentences(genes[:n], values[:n], threads=threads, batch_size=n))
                assert np.array_equal(got, want[:n]), (n_slots, threads, n)
    cells = anndata.AnnData(rng.poisson(0.3, (3, 250)).astype(np.float32))
    cells.var_names = model.genes[:250]
    for fill in ("shared", "expected", "none"):
        options = {"fill": fill, "min_coverage": 0}
        for compute in (
            lambda **how: model.compute(cells, **how).embedding,
            lambda **how: model.attention(cells, **how).attention,
            lambda **how: model.contextual_gene_embeddings(cells, model.genes[:3], **how),
        ):
            want = compute(threads=1, batch_size=1, **options)
            for how in ({"threads": 1, "batch_size": 3}, {"threads": 2, "batch_size": 3}, {"threads": 32}):
                assert np.array_equal(compute(**how, **options), want, equal_nan=True), (fill, how)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("encoding", ["soft-bins", "scale", "none"])
@pytest.mark.parametrize("n_cells", [7, 24])
def test_odd_widths(random_model, immune, encoding, n_cells, precision):
    """Widths that fill no vector register: a kernel's last elements must be computed like the others."""
    folder = random_model(
        encoding=encoding, token_dim=13, emsize=33, nhead=3, d_hid=45, output_dim=21, pad_length=131
    ).folder
    model = se600m.load_model(folder, precision=precision)
    for fill in ("shared", "none"):
        want = embedded(immune[:n_cells], model, fill=fill)
        for batch_size in (1, 2, 3, 5, 64):
            assert np.array_equal(embedded(immune[:n_cells], model, fill=fill, batch_size=batch_size), want), batch_size


@pytest.mark.parametrize("kind, fill", [("transcriptome", "shared"), ("transcriptome", "none"), ("panel", "expected")])
def test_order_subsets_and_company(random_model, immune, pbmc, kind, fill):
    adata, options = cells(immune, pbmc, kind)
    model = random_model(pad_length=2048 if kind == "panel" else 300).model
    options |= {"fill": fill}
    want = embedded(adata, model, **options)
    order = np.random.default_rng(0).permutation(adata.n_obs)
    assert np.array_equal(embedded(adata[order], model, **options), want[order])
    assert np.array_equal(embedded(adata[5:12], model, **options), want[5:12])
    for cell in (0, 7):
        assert np.array_equal(embedded(adata[[cell]], model, **options), want[[cell]])
    twice = anndata.AnnData(
        adata.raw.X[[3, 3, 4, 3]] if kind == "panel" else adata.X[[3, 3, 4, 3]],
        var=adata.raw.var if kind == "panel" else adata.var,
    )
    rows = embedded(twice, model, fill=fill)
    assert np.array_equal(rows, want[[3, 3, 4, 3]])


def test_independent_draws_differ_by_row_and_seed(random_model, immune):
    model = random_model(pad_length=2048).model
    one = embedded(immune, model, fill="independent")
    assert np.array_equal(one, embedded(immune, model, fill="independent"))
    assert not np.array_equal(one, embedded(immune, model, fill="independent", seed=1))
    assert not np.array_equal(one[5:6], embedded(immune[5:6], model, fill="independent"))


def test_the_seed_changes_shared_fill_and_not_expected(random_model, immune, pbmc):
    model = random_model(pad_length=2048).model
    assert not np.array_equal(embedded(immune, model), embedded(immune, model, seed=7))
    panel = {"model": model, "use_raw": True}
    assert np.array_equal(embedded(pbmc, **panel), embedded(pbmc, seed=7, **panel))


def test_matrix_kinds(random_model, immune):
    """The same values in another container give the same bits."""
    model = random_model(pad_length=300).model
    want = embedded(immune, model)
    values = immune.X.toarray()
    kinds = {
        "dense C": values,
        "dense F": np.asfortranarray(values),
        "csc": immune.X.tocsc(),
        "float64": immune.X.astype(np.float64),
        "int32": values.astype(np.int32),
        "strided": np.repeat(values, 2, axis=1)[:, ::2],
        "reversed, a negative stride": values[::-1].copy()[::-1],
    }
    for kind, x in kinds.items():
        adata = anndata.AnnData(x, var=immune.var)
        assert np.array_equal(embedded(adata, model), want), kind
