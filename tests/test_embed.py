"""embed() on AnnData: what it writes, what it leaves alone, what it says."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import se600m
from conftest import IMMUNE
from se600m import _native, errors


def snapshot(adata):
    """Everything in an AnnData that embed could have touched."""
    return {
        "X": adata.X.copy(), "obs": adata.obs.copy(), "var": adata.var.copy(),
        "keys": [sorted(getattr(adata, part)) for part in ("obsm", "varm", "obsp", "varp", "layers", "uns")],
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
    assert (embedding.dtype, embedding.shape) == (np.float32, (24, 64))
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)
    assert immune.obsm["X_state_dataset"].shape == (24, 10)
    made_with = immune.uns["X_state"]
    assert made_with["model"] == "se-mini-untrained"
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
    made = random_model(nlayers=1)
    one, two = se600m.load_model(made.folder), se600m.load_model(str(made.folder))
    assert one is two
    se600m.embed(immune, model=one)
    one.close()
    with pytest.raises(errors.ModelClosedError, match="model"):
        se600m.embed(immune, model=one)
    again = se600m.load_model(made.folder)
    assert again is not one
    se600m.embed(immune, model=again)


def test_dimension_flow():
    model = se600m.load_model()
    flow = model.dimension_flow()
    assert [stage.name for stage in flow] == [
        "cell",
        "cell sentence",
        "gene embedding lookup",
        "projection",
        "transformer, 2 layers",
        "CLS extraction",
        "adata.obsm",
    ]
    assert flow[2].shape == "[B, 2048, 32]"
    text, table = repr(flow), flow._repr_html_()
    assert len(text.splitlines()) == 7
    assert table.count("<tr>") == 8
    assert "[B, 2048, 32]" in text
    assert "[B, 2048, 32]" in table
    assert "se-mini-untrained" in repr(model)
    assert "se-mini-untrained" in model._repr_html_()


# -- what it says ------------------------------------------------------------------------------


def test_negative_values_are_told(pbmc):
    with pytest.warns(UserWarning, match=r"[\d,]+ negative values in 24 of 24 cells of adata\.X .*use_raw=True"):
        se600m.embed(pbmc)


def test_cells_judged_differently_are_told(immune):
    immune.X = immune.X.copy()
    cell = immune.X[3].copy()
    cell.data = np.log1p(cell.data)
    immune.X[3] = cell
    with pytest.warns(UserWarning, match=r"23 of 24 cells of adata\.X were taken for raw counts and 1 for log1p"):
        se600m.embed(immune)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        se600m.embed(immune, expression="counts")


def test_cells_without_expression_are_told(immune):
    x = immune.X.tolil()
    x[5] = 0
    immune.X = x.tocsr()
    with pytest.warns(UserWarning, match="1 of 24 cells .* express no gene"):
        se600m.embed(immune, expression="counts")
    assert np.all(np.isfinite(immune.obsm["X_state"]))


def test_progress(immune, capsys):
    se600m.embed(immune, progress=True)
    shown = capsys.readouterr().err
    assert "Embedding with se-mini-untrained" in shown
    assert "24/24" in shown
    se600m.embed(immune)
    assert capsys.readouterr().err == "", "no bar where nobody watches"


# -- wrong input: a named error, and nothing has changed ----------------------------------------


def nan(adata):
    adata.X = adata.X.copy()
    adata.X.data[adata.X.indptr[4] + 2] = np.nan


def no_genes_known(adata):
    adata.var_names = [f"ENSG{i:011d}" for i in range(adata.n_vars)]


WRONG = [
    pytest.param(None, {"model": "se-600"}, errors.ModelNotFoundError, "'se-600'.*se-mini-untrained", id="model name"),
    pytest.param(None, {"device": "cuda"}, errors.DeviceError, "libonnxruntime_providers_cuda", id="no CUDA here"),
    pytest.param(
        None, {"device": "tensorrt"}, errors.DeviceError, "libonnxruntime_providers_tensorrt", id="no TensorRT here"
    ),
    pytest.param(None, {"device": "gpu"}, errors.DeviceError, "'?\"?gpu.*cuda:N", id="device"),
    pytest.param(None, {"device": 0}, errors.OptionError, "device=0", id="device, a number"),
    pytest.param(None, {"precision": "int3"}, errors.OptionError, "precision='int3'.*fp32", id="precision"),
    pytest.param(None, {"fill": "zeros"}, errors.OptionError, "zeros.*shared", id="fill"),
    pytest.param(None, {"fill": "expected"}, errors.OptionError, "expected.*2047.*shared", id="fill that doesn't suit"),
    pytest.param(None, {"expression": "cpm"}, errors.OptionError, "cpm.*log1p", id="expression"),
    pytest.param(None, {"seed": -1}, errors.OptionError, "seed=-1", id="seed"),
    pytest.param(None, {"seed": 1.5}, errors.OptionError, "seed=1.5", id="seed, not whole"),
    pytest.param(None, {"batch_size": 0}, errors.OptionError, "batch_size=0", id="batch size"),
    pytest.param(None, {"threads": "all"}, errors.OptionError, "threads='all'", id="threads"),
    pytest.param(None, {"key_added": ""}, errors.OptionError, "key_added=''", id="key"),
    pytest.param(None, {"min_coverage": 30}, errors.OptionError, "min_coverage=30", id="coverage, a percentage"),
    pytest.param(None, {"min_coverage": 0.99}, errors.GeneCoverageError, r"of 32786 genes .*99\.0 %", id="coverage"),
    pytest.param(None, {"layer": "count"}, errors.DataError, "layer='count'", id="layer"),
    pytest.param(None, {"layer": "counts", "use_raw": True}, errors.OptionError, "two matrices", id="layer and raw"),
    pytest.param(None, {"use_raw": True}, errors.DataError, r"adata\.raw is None", id="no raw"),
    pytest.param(None, {"gene_column": "symbols"}, errors.DataError, "gene_column='symbols'", id="gene column"),
    pytest.param(nan, {}, errors.NotFiniteError, r"adata\.X\[4, \d+\] \(cell 'Cell_5', gene '", id="NaN"),
    pytest.param(no_genes_known, {}, errors.GeneCoverageError, "ENSG00000000000.*Ensembl", id="Ensembl ids"),
]


@pytest.mark.parametrize("spoil, options, error, message", WRONG)
def test_wrong_input(immune, spoil, options, error, message):
    if spoil:
        spoil(immune)
    before = snapshot(immune)
    with pytest.raises(error, match=message):
        se600m.embed(immune, **options)
    assert_unchanged(immune, before)
    assert issubclass(error, errors.SE600MError)


def test_not_an_anndata(immune):
    with pytest.raises(errors.DataError, match="DataFrame"):
        se600m.embed(immune.obs)


def test_no_cells_no_genes(immune):
    with pytest.raises(errors.DataError, match="no cells"):
        se600m.embed(immune[:0])
    with pytest.raises(errors.DataError, match="no genes"):
        se600m.embed(immune[:, :0])


def test_too_few_genes(immune):
    known = immune.var_names[immune.var_names.isin(se600m.load_model().genes)]
    with pytest.raises(errors.TooFewGenesError, match="3 valid genes"):
        se600m.embed(immune[:, known[:3]])
    common = known[np.argsort(-np.asarray(immune[:, known].X.sum(0)).ravel(), kind="stable")[:4]]
    se600m.embed(immune[:, common].copy(), expression="counts")


@pytest.mark.parametrize(
    "given, message",
    [
        pytest.param(([[0, 1]], [[1, 1]]), "slot 0 must be", id="no [CLS]"),
        pytest.param(([["a"]], [[1]]), "whole numbers", id="text"),
        pytest.param(([1, 2], [1, 2]), "whole numbers", id="one dimension"),
        pytest.param(([[19579, 10**6]], [[1, 1]]), "not in the vocabulary", id="past the vocabulary"),
        pytest.param(([[19579, 2**40]], [[1, 1]]), "past the vocabulary", id="past int32"),
        pytest.param(([[19579, 1]], [[1, np.nan]]), "slot 1: expression value is NaN", id="NaN"),
        pytest.param(([[19579, 1]], [[1, 1, 1]]), r"expression_values is \[1, 3\]", id="shapes"),
        pytest.param(([[19579, 1]], [[1, 1]], [[1, -1]]), "multiplicity is -1", id="multiplicity"),
    ],
)
def test_wrong_sentences(given, message):
    with pytest.raises(errors.OptionError, match=message):
        se600m.load_model().embed_sentences(*given)


# -- stopping ----------------------------------------------------------------------------------


def test_ctrl_c_stops_within_a_second_and_leaves_everything(random_model, immune):
    model = random_model(pad_length=2048, emsize=512, d_hid=512, nlayers=6).model
    many = anndata.concat([immune] * 20)
    before = snapshot(many)
    se600m.embed(immune[:1].copy(), model=model)  # opens the graph
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(1.0, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        se600m.embed(many, model=model)
    assert time.monotonic() - pressed[0] < 1.0
    assert_unchanged(many, before)
    se600m.embed(immune[:2].copy(), model=model)  # nothing is broken
    assert _native.call("Version")


def test_an_error_in_the_progress_bar_stops_the_job(immune, monkeypatch):
    class Broken(Exception):
        pass

    def update(*_):
        raise Broken

    with pytest.raises(Broken):
        source = {"source": "x", "destination": "y"}
        _native.run(
            "convert", source | {"name": "", "config": "", "protein_embeddings": "", "overwrite": False}, update
        )
    se600m.embed(immune)


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
