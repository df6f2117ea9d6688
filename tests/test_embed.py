"""embed() on AnnData: what it writes, what it leaves alone, what it says."""

import subprocess
import sys
import textwrap
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from conftest import IMMUNE
from jobs import was_cancelled_in_the_middle
from se600m import _models, _opened, errors


def snapshot(adata):
    """Everything in an AnnData that embed could have touched."""
    return {
        "X": adata.X.copy(), "obs": adata.obs.copy(), "var": adata.var.copy(),
        "keys": [sorted(map(str, getattr(adata, part))) for part in ("obsm", "varm", "obsp", "varp", "layers", "uns")],
    }  # fmt: skip


def assert_unchanged(adata, before):
    after = snapshot(adata)
    same = np.array_equal
    if sp.issparse(before["X"]):
        for part in ("data", "indices", "indptr"):
            assert same(getattr(before["X"], part), getattr(after["X"], part), equal_nan=part == "data")
    else:
        assert same(before["X"], after["X"], equal_nan=True)
    assert before["obs"].equals(after["obs"])
    assert before["var"].equals(after["var"])
    assert before["keys"] == after["keys"]


def test_embed_writes_obsm_and_provenance_and_nothing_else(immune):
    before = snapshot(immune)
    assert se600m.embed(immune) is None
    embedding = immune.obsm["X_state"]
    assert (embedding.dtype, embedding.shape) == (np.float32, (24, se600m.load_model().output_dim))
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)
    assert immune.obsm["X_state_dataset"].shape == (24, 10)
    made_with = immune.uns["X_state"]
    assert made_with["model"] == "se-mini"
    assert made_with["model_checksum"] == se600m.load_model().checksum
    assert made_with["package"] == f"se600m-go {se600m.__version__}"
    assert made_with["fill"] == "shared"
    assert made_with["provider"] == "cpu"
    assert made_with["n_counts"] == 24
    assert made_with["n_genes"] == 32_786
    assert made_with["n_matched"] == immune.var_names.isin(se600m.load_model().genes).sum()
    for part, keys in (("obsm", ["X_state", "X_state_dataset"]), ("uns", ["X_state"])):
        for key in keys:
            del getattr(immune, part)[key]
    assert_unchanged(immune, before)


def test_the_result_survives_a_file(immune, tmp_path):
    se600m.embed(immune)
    immune.write_h5ad(tmp_path / "x.h5ad")
    back = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert np.array_equal(back.obsm["X_state"], immune.obsm["X_state"])
    assert {k: str(v) for k, v in back.uns["X_state"].items()} == {k: str(v) for k, v in immune.uns["X_state"].items()}


def test_copy_leaves_the_original_alone(immune):
    before = snapshot(immune)
    result = se600m.embed(immune, copy=True, key_added="X_other")
    assert_unchanged(immune, before)
    assert sorted(result.obsm) == ["X_other", "X_other_dataset"]
    assert "X_other" in result.uns


def test_names_that_no_gene_has_move_none_of_the_others(immune):
    """A line break, a null or half a surrogate pair in a name is still one name."""
    want = se600m.tokenize(immune).gene_indices
    strange = immune.copy()
    unknown = np.flatnonzero(~immune.var_names.isin(se600m.load_model().genes))[:4]
    names = list(immune.var_names)
    for gene, name in zip(unknown, ["two\nlines", "nu\0ll", "half \ud800", ""], strict=True):
        names[gene] = name
    strange.var_names = pd.Index(names, dtype=object)  # text of Arrow, which pandas 3 would choose, has no half pairs
    assert np.array_equal(se600m.tokenize(strange).gene_indices, want)


def test_equal_values_are_embedded_the_same_in_any_company(random_model):
    """Each different value of a batch is embedded once: alone it must come out as among others."""
    model = random_model(encoding="soft-bins").model
    rng = np.random.default_rng(0)
    indices = rng.integers(0, len(model.genes), (5, 60)).astype(np.int32)
    indices[:, 0] = model.cls_index
    values = rng.random((5, 60), np.float32)
    for equal in (0, 0.3, 100):
        values[0] = equal
        together, _ = model.embed_sentences(indices, values)
        alone, _ = model.embed_sentences(indices[:1], values[:1])
        assert np.array_equal(alone[0], together[0])


def test_layers_raw_and_gene_columns(immune, pbmc):
    se600m.embed(immune)
    want = immune.obsm["X_state"]
    moved = anndata.AnnData(sp.csr_matrix(immune.shape), obs=immune.obs, var=immune.var)
    moved.layers["counts"] = immune.X
    moved.var["symbol"] = moved.var_names
    moved.var_names = [f"gene {i}" for i in range(moved.n_vars)]
    se600m.embed(moved, layer="counts", gene_column="symbol")
    assert np.array_equal(moved.obsm["X_state"], want)
    moved.var["symbol"] = moved.var["symbol"].astype("category")
    se600m.embed(moved, layer="counts", gene_column="symbol")
    assert np.array_equal(moved.obsm["X_state"], want)
    raw = anndata.AnnData(pbmc.raw.X, obs=pbmc.obs, var=pbmc.raw.var)
    se600m.embed(raw)
    se600m.embed(pbmc, use_raw=True)
    assert np.array_equal(raw.obsm["X_state"], pbmc.obsm["X_state"])
    assert pbmc.uns["X_state"]["fill"] == "expected"


def test_a_model_is_shared_and_can_be_closed(immune, random_model):
    made = random_model(nlayers=1, seed=71)  # a model that no other test of this process has opened
    one, two = se600m.load_model(made.folder), se600m.load_model(str(made.folder))
    assert one._opened is two._opened, "they share their memory"
    se600m.embed(immune, model=one)
    one.close()
    with pytest.raises(errors.ModelClosedError, match="model"):
        se600m.embed(immune, model=one)
    se600m.embed(immune, model=two)  # another's model stays open
    two.close()
    assert not [key for key in _opened._opened if key[0] == str(one.directory)], "nobody holds its memory any more"
    again = se600m.load_model(made.folder)
    se600m.embed(immune, model=again)


def test_dimension_flow():
    model = se600m.load_model()
    flow = model.dimension_flow()
    assert [stage.name for stage in flow] == [
        "cell",
        "cell sentence",
        "gene embedding lookup",
        "projection",
        f"transformer, {model.dimensions['nlayers']} layers",
        "CLS extraction",
        "adata.obsm",
    ]
    lookup = f"[B, 2048, {model.dimensions['token_dim']}]"
    assert flow[2].shape == lookup
    text, table = repr(flow), flow._repr_html_()
    assert len(text.splitlines()) == 7
    assert table.count("<tr>") == 8
    assert lookup in text
    assert lookup in table
    assert "se-mini" in repr(model)
    assert "se-mini" in model._repr_html_()


# -- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", [None, False, True])
def test_the_default_model_warns_once_that_there_is_a_better_one(progress, immune):
    _models._notice.cache_clear()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        se600m.load_model("se-mini", progress=progress)  # asked for by name
        se600m.info()
        se600m.doctor()
        assert not [w for w in seen if w.category is errors.DefaultModelWarning]
        for _ in range(2):
            se600m.load_model(progress=progress)
            se600m.embed(immune[:2], copy=True, progress=progress)
    (said,) = [w for w in seen if w.category is errors.DefaultModelWarning]
    assert "se-mini" in str(said.message)
    assert "`se600m download SE-600M`" in str(said.message)
    assert said.filename == __file__, "it points at the user's line"


def test_the_default_model_may_be_an_error_each_time():
    _models._notice.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.DefaultModelWarning)
        for _ in range(2):
            with pytest.raises(errors.DefaultModelWarning, match="no model was named"):
                se600m.load_model()
        se600m.load_model("se-mini")


def test_what_the_caller_decides_is_not_warned_of(immune):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        se600m.embed(immune, model="se-mini", expression="counts")


def test_cells_without_expression_are_embedded(immune):
    x = immune.X.tolil()
    x[5] = 0
    immune.X = x.tocsr()
    se600m.embed(immune)
    assert np.all(np.isfinite(immune.obsm["X_state"]))
    assert immune.uns["X_state"]["n_empty"] == 1


def test_progress(immune, capsys):
    se600m.embed(immune, progress=True)
    shown = capsys.readouterr().err
    assert "Embedding with se-mini" in shown
    assert "24/24" in shown
    se600m.embed(immune)
    assert capsys.readouterr().err == "", "no bar where nobody watches"


# -- stopping ----------------------------------------------------------------------------------


def test_ctrl_c_stops_in_the_middle_and_leaves_everything(random_model, immune, jobs):
    model = random_model(pad_length=2048, emsize=512, d_hid=512, nlayers=6).model
    many = anndata.concat([immune] * 20, index_unique="-")
    before = snapshot(many)
    jobs.interrupt()
    with pytest.raises(KeyboardInterrupt):
        se600m.embed(many, model=model, batch_size=2)
    assert was_cancelled_in_the_middle(jobs)
    assert_unchanged(many, before)
    se600m.embed(immune[:2], model=model, copy=True)  # nothing is broken
    assert jobs.ended[-1].outcome == "done"


@pytest.mark.parametrize("when", ["as a job begins", "in its middle"])
def test_an_error_in_the_progress_bar_stops_the_job(random_model, immune, monkeypatch, jobs, when):
    class Broken(Exception):
        pass

    def update(bar, n=1):
        bar.n += n
        if when == "as a job begins" or 0 < bar.n < bar.total:
            raise Broken

    model = random_model(pad_length=2048, emsize=512, d_hid=512, nlayers=6).model
    before = snapshot(immune)
    with monkeypatch.context() as broken, pytest.raises(Broken):
        broken.setattr("se600m._progress.tqdm.update", update)
        se600m.embed(immune, model=model, batch_size=1, progress=True)
    # A job that has just begun may have ended by itself.
    assert jobs.ended[-1].outcome in (("canceled", "done") if when == "as a job begins" else ("canceled",))
    assert jobs.ended[-1].done < immune.n_obs
    assert (jobs.ended[-1].done > 0) == (when == "in its middle")
    assert_unchanged(immune, before)
    se600m.embed(immune[:2], model=model, copy=True, progress=True)
    assert jobs.ended[-1].outcome == "done"


def test_a_forked_process_gets_an_error_instead_of_a_hang(tmp_path):
    script = tmp_path / "fork.py"
    script.write_text(
        textwrap.dedent(f"""
        import anndata, multiprocessing, se600m
        adata = anndata.read_h5ad({str(IMMUNE)!r})[:2].copy()
        se600m.embed(adata)
        def child(queue):
            try:
                se600m.embed(adata)
            except se600m.errors.ForkError as error:
                queue.put(str(error))
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        print(queue.get(timeout=60))
        process.join()
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "spawn" in done.stdout
