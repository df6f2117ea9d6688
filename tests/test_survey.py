"""The pass over all cells before anything is computed: its report, and what it says in time."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

import se600m
from se600m import _anndata, _log, _native, _survey, errors
from se600m._cells import Cells
from se600m._chunks import ArraySink, Job, run_chunks
from se600m._options import CellOptions

COLUMNS = ("totals", "squares", "peaks")


def cells(model, adata, expression="auto", **options):
    return Cells(model._opened, adata, CellOptions(expression=expression, min_coverage=0, **options))


def surveyed(model, adata, expression="auto", progress=None, **options):
    those = cells(model, adata, expression, **options)
    _survey.survey(those.source, those.report, those.request, progress)
    return those.report


def embedded(model, adata, expression="auto"):
    """Report what an embed job sees."""
    those = cells(model, adata, expression)
    out = {"embedding": np.empty((adata.n_obs, model.output_dim), np.float32), "share": those.report.share}
    run_chunks(those, ArraySink(out), Job("embed", those.request | {"batch_size": 0}), report=those.add)
    return those.report


def kinds(immune):
    x = immune.X.toarray().astype(np.float64)
    few = x[:, np.sort(np.argsort(-x.sum(0))[:900])]
    yield "counts", few
    yield "log1p", np.log1p(few)
    yield "judged one by one", np.vstack([few[:12], np.log1p(few[12:])])
    yield "normalised", few / few.sum(1, keepdims=True) * 1e5
    yield "fractional", few * 1.0371
    yield "negative", few - 1
    yield "empty cells", few * (np.arange(24)[:, None] % 5 != 0)


@pytest.mark.parametrize("expression", ["auto", "counts", "log1p"])
def test_the_report_is_that_of_embedding(immune, random_model, monkeypatch, expression):
    model = random_model(pad_length=300).model
    names = immune.var_names[np.sort(np.argsort(-immune.X.toarray().sum(0))[:900])]
    for kind, values in kinds(immune):
        adata = anndata.AnnData(values.astype(np.float32), var=pd.DataFrame(index=names))
        want = embedded(model, adata, expression)
        for chunk_values in (1 << 25, 5 * 900):
            monkeypatch.setattr(_anndata, "_CHUNK_VALUES", chunk_values)
            for held in (adata, anndata.AnnData(sp.csc_matrix(adata.X), var=adata.var)):
                got = surveyed(model, held, expression)
                assert got.provenance() == want.provenance(), kind
                assert np.array_equal(got.share, want.share), kind
                assert got.largest == want.largest, kind
                assert got._fractional == want._fractional or len(got._fractional) > 2, kind
                assert got.seen.fractional == want.seen.fractional, kind


def test_columns_are_weighed(immune, random_model, monkeypatch):
    model = random_model(pad_length=300).model
    x = immune.X.toarray().astype(np.float64)
    whole = surveyed(model, immune, threads=1)
    assert np.array_equal(whole.totals, x.sum(0))
    assert not whole.squares.any(), "nothing more is asked of counts"
    assert not whole.peaks.any()
    immune.X = sp.csc_matrix(immune.X)
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", 3 * 3300)
    parts = surveyed(model, immune, threads=3)
    assert all(np.array_equal(getattr(whole, name), getattr(parts, name)) for name in COLUMNS)
    log1p = immune.copy()
    sc.pp.log1p(log1p)
    fractional = surveyed(model, log1p)
    logs = np.log1p(immune.X.toarray())
    np.testing.assert_allclose(fractional.totals, logs.sum(0), rtol=1e-6)
    np.testing.assert_allclose(fractional.squares, (logs**2).sum(0), rtol=1e-5)
    np.testing.assert_allclose(fractional.peaks, logs.max(0), rtol=1e-6)


def test_tokenizing_reports_what_a_survey_does(immune, random_model):
    """Tokenizing is as quick as a survey, so that none goes before it."""
    model = random_model(pad_length=300).model
    for adata in (immune, sc.pp.log1p(immune, copy=True)):
        want = surveyed(model, adata)
        those = cells(model, adata)
        made = []

        def keep(first, chunk, said, made=made, those=those):
            those.add(first, chunk, said)
            made.append(said)

        n, width = adata.n_obs, those.plan()["max_length"]
        out = {"gene_indices": np.empty((n, width), np.int32), "expression_values": np.empty((n, width), np.float32),
               "multiplicity": np.empty((n, width), np.float32), "lengths": np.empty(n, np.int32),
               "share": those.report.share}  # fmt: skip
        those.run("tokenize", ArraySink(out), {"length": width, **those.report.columns}, "", keep)
        assert those.report.provenance() == want.provenance()
        assert those.report.largest == want.largest
        np.testing.assert_allclose(those.report.totals, want.totals, rtol=1e-12)
        assert np.array_equal(those.report.share, want.share)
        assert len(made) == 1


def test_progress_and_cancelling(immune, random_model, monkeypatch):
    model = random_model(pad_length=300).model
    immune.X = sp.csc_matrix(immune.X)
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", 7 * 3300)
    seen = []
    surveyed(model, immune, progress=lambda done, total: seen.append((done, total)))
    ends = [b for b, after in zip(seen, [*seen[1:], (0, 0)], strict=True) if after == (0, 0)]
    assert len(ends) > 2
    assert sum(done for done, _ in ends) == 24
    calls = 0

    def stop(done, total):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        surveyed(model, immune, progress=stop)
    assert calls == 2


def test_everything_is_said_before_the_model_runs(immune, monkeypatch):
    """Nothing is embedded where a warning is an error, nor where a value is no number."""
    se600m.load_model()  # converts it
    kinds = []
    run = _native.run
    monkeypatch.setattr(_native, "run", lambda kind, *args: kinds.append(kind) or run(kind, *args))
    scaled = immune.copy()
    scaled.X = scaled.X.toarray() - 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.DataWarning)
        with pytest.raises(errors.DataWarning, match="negative values"):
            se600m.embed(scaled)
    scaled.X[23, -1] = np.nan
    with pytest.raises(errors.NotFiniteError, match=r"adata\.X\[23, 32785\]"):
        se600m.embed(scaled)
    assert set(kinds) == {"survey"}
    assert not scaled.obsm


def test_what_is_not_finite_is_counted_over_all_chunks(random_model, monkeypatch):
    model = random_model(pad_length=300).model
    x = np.ones((40, 500), np.float64)
    x[np.arange(10, 30), np.arange(10, 30)] = np.nan
    x[35, 7] = np.inf
    x[36, 7] = -1e300
    adata = anndata.AnnData(x, var=pd.DataFrame(index=model.genes[:500]))
    messages = set()
    for held in (x, sp.csr_matrix(x), sp.csc_matrix(x)):
        for chunk_values in (1 << 25, 500 * 3):
            monkeypatch.setattr(_anndata, "_CHUNK_VALUES", chunk_values)
            adata.X = held
            with pytest.raises(errors.NotFiniteError) as raised:
                surveyed(model, adata)
            messages.add(str(raised.value))
    assert messages == {
        f"adata.X[10, 10] (cell '10', gene {model.genes[10]!r}) is NaN. In total, 20 NaN and 1 infinite and 1 too "
        "large values are in 21 of 500 genes and 22 of 40 cells: replace them, or drop the cells or the genes, before "
        "embedding"
    }


@pytest.mark.parametrize("groups", [2, 3, 7])
@pytest.mark.parametrize("chunk_values", [1 << 25, 500 * 9])
def test_an_outer_join_is_recognised(random_model, monkeypatch, groups, chunk_values):
    monkeypatch.setattr(_anndata, "_CHUNK_VALUES", chunk_values)
    model = random_model(pad_length=300).model
    sets = [
        anndata.AnnData(np.ones((11, 400), np.float32), var=pd.DataFrame(index=model.genes[10 * i : 400 + 10 * i]))
        for i in range(groups)
    ]
    joined = anndata.concat(sets, join="outer", index_unique="-")
    with pytest.raises(
        errors.NotFiniteError,
        match=r'outer join.*fill_value=0\), or keep only the genes that all have, with join="inner"',
    ):
        surveyed(model, joined)
    # The way out is one.
    surveyed(model, anndata.concat(sets, join="outer", index_unique="-", fill_value=0))
    surveyed(model, anndata.concat(sets, join="inner", index_unique="-"))


def test_values_missing_by_chance_are_no_outer_join(random_model):
    model = random_model(pad_length=300).model
    x = np.ones((200, 500), np.float32)
    x[np.random.default_rng(0).random(x.shape) < 0.01] = np.nan
    adata = anndata.AnnData(x, var=pd.DataFrame(index=model.genes[:500]))
    with pytest.raises(errors.NotFiniteError, match="replace them, or drop the cells or the genes"):
        surveyed(model, adata)


def test_strict_makes_one_error_of_all_warnings(immune, random_model):
    model = random_model(pad_length=300).model
    x = immune.X.toarray()
    x[5] = 0
    x[7] = np.log1p(x[7])
    report = surveyed(model, anndata.AnnData(x, var=immune.var))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        report.tell("auto", None)
    messages = [str(w.message) for w in seen]
    assert len(messages) == 3  # judged one by one, an empty cell, few known genes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(errors.SuspiciousDataError) as raised:
            report.tell("auto", None, strict=True)
    assert str(raised.value) == "\n".join(messages)
    assert isinstance(raised.value, errors.DataError)


def test_strict_says_nothing_of_what_is_right(immune, random_model):
    model = random_model(pad_length=300).model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surveyed(model, immune[:, model.genes], "counts").tell("counts", None, strict=True)


def test_strict_ends_with_its_block():
    with pytest.raises(RuntimeError, match="another"), _log.warnings_as_error(True):
        _log.warn("kept")
        raise RuntimeError("another error comes first")
    with pytest.warns(errors.DataWarning, match="said"):
        _log.warn("said")
    with pytest.warns(errors.DataWarning, match="said"), _log.warnings_as_error(False):
        _log.warn("said")
    with pytest.raises(errors.SuspiciousDataError, match="one\ntwo"), _log.warnings_as_error(True):
        _log.warn("one")
        _log.warn("two")
