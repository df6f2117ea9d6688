"""The AnnData that a result is written into: looked at before the model runs, changed whole or not at all."""

import subprocess
import sys
import textwrap
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

import se600m
from conftest import IMMUNE
from se600m import _cells, _destination, errors
from test_embed import assert_unchanged, snapshot

N = 16


@pytest.fixture
def immune(immune):
    """Few cells: numbers are not what is looked at here."""
    return immune[:N].copy()


@pytest.fixture
def no_run(monkeypatch):
    """Any start of the model's work is a failure."""

    def started(*_args):
        raise AssertionError("the model ran before the destination was looked at")

    monkeypatch.setattr(_cells, "embed", started)


@pytest.fixture
def backed(immune, tmp_path):
    immune.write_h5ad(tmp_path / "cells.h5ad")
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    yield adata
    adata.file.close()


# -- backed files ----------------------------------------------------------------------------------


def test_a_view_of_a_backed_file_is_refused_before_the_model_runs(backed, no_run):
    view = backed[3:7]
    for embed in (se600m.embed, se600m.load_model().embed):
        with pytest.raises(errors.DataError, match=r"view .*backed by a file.*copy=True.*adata\.to_memory\(\)"):
            embed(view)
    assert view.is_view
    assert list(backed.obsm) == []


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_backed_file_takes_the_embedding_in_memory(immune, tmp_path, mode):
    immune.write_h5ad(tmp_path / "cells.h5ad")
    before = (tmp_path / "cells.h5ad").read_bytes()
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed=mode)
    se600m.embed(adata)
    se600m.embed(immune)
    assert adata.isbacked
    assert np.array_equal(adata.obsm["X_state"], immune.obsm["X_state"])
    adata.file.close()
    if mode == "r":
        assert (tmp_path / "cells.h5ad").read_bytes() == before


def test_a_copy_of_a_backed_file_is_in_memory(backed, immune):
    """Whole, or a view of it: the way out that the error names."""
    se600m.embed(immune)
    want = immune.obsm["X_state"]
    for cells, rows in ((backed, slice(None)), (backed[3:7], slice(3, 7))):
        result = se600m.embed(cells, copy=True)
        assert not result.isbacked
        assert np.array_equal(result.obsm["X_state"], want[rows])
        assert (immune.X[rows] != result.X).nnz == 0
        assert list(backed.obsm) == []
        assert backed.isbacked
        assert backed.file.is_open, "it is as it was"


def test_what_the_way_out_says_works(backed):
    in_memory = backed[3:7].to_memory()
    se600m.embed(in_memory)
    assert len(in_memory.obsm["X_state"]) == 4


@pytest.mark.parametrize("options", [{}, {"copy": True}, {"use_raw": True}, {"layer": "counts"}])
def test_a_backed_file_that_was_moved_is_named(immune, tmp_path, options, monkeypatch):
    immune.layers["counts"], immune.raw = immune.X, immune
    immune.write_h5ad(tmp_path / "cells.h5ad")
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    view, model = adata[:3], se600m.load_model()
    adata.file.close()
    (tmp_path / "cells.h5ad").rename(tmp_path / "moved.h5ad")
    calls = [
        lambda: model.embed(adata, **options), lambda: se600m.embed(adata, **options),
        lambda: model.embed(view, **options | {"copy": True}), lambda: se600m.embed(view, **options | {"copy": True}),
    ]  # fmt: skip
    if "copy" not in options:
        calls += [lambda: se600m.tokenize(adata, **options), lambda: model.compute(adata, **options)]
    monkeypatch.setattr("se600m._embed.load_model", None)  # is not called
    for call in calls:
        with pytest.raises(errors.DataError, match=r"cells\.h5ad' .*\(No such file or directory\): if .*read_h5ad"):
            call()


def test_a_file_that_is_moved_while_it_is_open(backed, tmp_path):
    (tmp_path / "cells.h5ad").rename(tmp_path / "moved.h5ad")
    with pytest.raises(errors.DataError, match=r"cells\.h5ad' .*\(No such file or directory\)"):
        se600m.embed(backed, copy=True)
    assert backed.file.is_open
    se600m.embed(backed)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layer": "count"}, "layer='count' is not in adata.layers, .*did you mean 'counts'"),
        ({"use_raw": True}, r"adata\.raw is None"),
        ({"layer": "counts", "use_raw": True}, "select two matrices"),
        ({"gene_column": "symbl"}, "gene_column='symbl' is not in var, .*did you mean 'symbol'"),
    ],
)
def test_what_to_read_is_checked_before_a_model_is_looked_for(immune, options, message, monkeypatch):
    immune.layers["counts"], immune.var["symbol"] = immune.X, immune.var_names
    monkeypatch.setattr("se600m._embed.load_model", None)  # is not called
    for function in (se600m.embed, se600m.tokenize):
        with pytest.raises((errors.DataError, errors.OptionError), match=message):
            function(immune, model="nowhere", **options)


# -- results that nobody would hold ----------------------------------------------------------------

UNHELD = [
    "se600m.embed(adata[:5])",
    "se600m.embed(adata[:, :20_000])",
    "se600m.embed(adata=adata[:5])",
    "se600m.embed(adata.copy(), key_added='X_other')",
    "se600m.embed(anndata.read_h5ad(path))",
    "model.embed(adata[:5])",
    "se600m.transfer_labels(embedded[:5], embedded, 'label', key_added='new')",
    "se600m.transfer_labels(embedded.copy(), embedded, 'label', key_added='new')",
]


@pytest.fixture
def names(immune, tmp_path):
    embedded = immune.copy()
    se600m.embed(embedded)
    embedded.obs["label"] = pd.Categorical(["a", "b"] * (N // 2))
    return {
        "se600m": se600m, "anndata": anndata, "adata": immune, "path": IMMUNE, "model": se600m.load_model(),
        "embedded": embedded,
    }  # fmt: skip


@pytest.mark.parametrize("line", UNHELD)
def test_a_result_that_would_be_lost_is_refused(names, line, no_run):
    with pytest.raises(
        errors.DataError, match=r"would be lost.*temporary object.*subset = adata\[:, genes\]\.copy\(\).*copy=True"
    ):
        exec(line, names)


HELD = [
    "view = adata[:5]; se600m.embed(view); assert 'X_state' in view.obsm",
    "box = [adata[:5]]; se600m.embed(box[0]); assert 'X_state' in box[0].obsm",
    "box = {'a': adata[:5].copy()}\nfor part in box.values(): se600m.embed(part)\nassert 'X_state' in box['a'].obsm",
    "class Study: pass\nstudy = Study(); study.cells = adata[:5].copy(); se600m.embed(study.cells)",
    "assert 'X_state' in se600m.embed(adata[:5], copy=True).obsm",
    "import functools; view = adata[:5]; functools.partial(se600m.embed, key_added='x')(view); view.obsm['x']",
    "view = adata[:5]; se600m.embed(*[view]); view.obsm['X_state']",
    "view = adata[:5]; se600m.embed(**{'adata': view}); view.obsm['X_state']",
    "def inner(cells): se600m.embed(cells); return cells\ninner(adata[:5]).obsm['X_state']",
    "def inner(cells=adata[:5]): se600m.embed(cells); return cells\ninner().obsm['X_state']",
    "view = adata[:5]; model.embed(view); view.obsm['X_state']",
    "view = embedded[:5]; se600m.transfer_labels(view, embedded, 'label', key_added='new'); view.obs['new']",
    "se600m.transfer_labels(embedded, embedded[:5], 'label', k=3, key_added='new')",
]


@pytest.mark.parametrize("lines", HELD)
def test_what_somebody_holds_is_embedded(names, lines):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata says that the view becomes a copy
        exec(lines, names)


SCRIPT = """
    import warnings; warnings.simplefilter("ignore")
    import anndata, se600m
    adata = anndata.read_h5ad({path!r})[:3].copy()
    view = adata[:2]
    se600m.embed(view)
    assert "X_state" in view.obsm
    try:
        se600m.embed(adata[:2])
    except se600m.errors.DataError as error:
        assert "would be lost" in str(error)
    else:
        raise AssertionError("nothing was said")
    print("done")
"""


@pytest.mark.parametrize("traced", [False, True])
def test_in_a_script_and_in_ipython(traced):
    """Cells of IPython are compiled on their own; a debugger or a coverage tool keeps other references."""
    script = textwrap.dedent(SCRIPT).format(path=str(IMMUNE))
    shell = (
        "from IPython.core.interactiveshell import InteractiveShell as S\n"
        f"S.instance().run_cell({script!r}).raise_error()"
    )
    for code in (script, shell):
        if traced:  # then the interpreter may hold an argument until the call ends: named ones must still pass
            code = "import sys; sys.settrace(lambda *_: None)\n" + code.replace("raise AssertionError", "print")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert "done" in done.stdout


# -- what others wrote -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part, key, key_added",
    [
        pytest.param("obsm", "X_pca", "X_pca", id="obsm"),
        pytest.param("uns", "neighbors", "neighbors", id="uns"),
        pytest.param("obsm", "X_state_dataset", "X_state", id="dataset embedding"),
    ],
)
def test_what_others_wrote_is_replaced_only_if_asked(immune, monkeypatch, part, key, key_added):
    theirs = np.ones((N, 2)) if part == "obsm" else {"params": {"n_neighbors": 15}}
    getattr(immune, part)[key] = theirs
    before = snapshot(immune)
    with monkeypatch.context() as patch:
        patch.setattr(_cells, "embed", None)  # is not called
        for embed in (se600m.embed, se600m.load_model().embed):
            for copy in (False, True):
                with pytest.raises(errors.DestinationExistsError, match=rf"{part}\['{key}'\] exists.*overwrite=True"):
                    embed(immune, key_added=key_added, copy=copy)
    assert_unchanged(immune, before)
    se600m.embed(immune, key_added=key_added, overwrite=True)
    assert immune.obsm[key_added].dtype == np.float32


def test_ones_own_result_is_replaced_without_a_word(immune):
    """A notebook that is run again, and what is left of a result after a file."""
    se600m.embed(immune, seed=1)
    first = immune.obsm["X_state"]
    se600m.embed(immune, seed=2)
    assert not np.array_equal(immune.obsm["X_state"], first)
    assert immune.uns["X_state"]["seed"] == 2


def test_of_an_earlier_result_nothing_stays(immune):
    se600m.embed(immune)
    assert "X_state_dataset" in immune.obsm
    se600m.embed(immune, with_dataset_embedding=True)
    assert list(immune.obsm) == ["X_state"], "the dataset embedding of the first result would look like the second's"


@pytest.mark.parametrize("again", [False, True])
def test_a_dataset_embedding_that_others_wrote_stays(immune, again):
    """Beside an embedding that has its own dataset embedding in its last columns, or that has none."""
    se600m.embed(immune, with_dataset_embedding=True)
    assert immune.uns["X_state"]["with_dataset_embedding"] is True
    theirs = immune.obsm["X_state_dataset"] = np.ones((N, se600m.load_model().dataset_dim), np.float32)
    if again:
        se600m.embed(immune, with_dataset_embedding=True)
    else:
        with pytest.raises(
            errors.DestinationExistsError, match=r"obsm\['X_state_dataset'\] exists and was not written"
        ):
            se600m.embed(immune)
    assert immune.obsm["X_state_dataset"] is theirs
    se600m.embed(immune, overwrite=True)
    assert immune.uns["X_state"]["with_dataset_embedding"] is False
    assert not np.array_equal(immune.obsm["X_state_dataset"], theirs)
    se600m.embed(immune)


def test_without_a_record_nobody_is_named_as_the_writer(immune, no_run):
    """anndata.concat leaves uns out."""
    immune.obsm["X_state"] = np.ones((N, 2))
    both = anndata.concat({"a": immune, "b": immune}, index_unique="-")
    assert "X_state" in both.obsm
    assert "X_state" not in both.uns
    with pytest.raises(
        errors.DestinationExistsError,
        match=r"obsm\['X_state'\] exists and there is no record in adata\.uns\['X_state'\] of where.*overwrite=True",
    ):
        se600m.embed(both)


CHANGED = {
    "another type": lambda x: x.astype(np.float64),
    "other columns": lambda x: x[:, :50],
    "other values": lambda x: x - x.mean(0),
    "a table": lambda x: pd.DataFrame(x, index=[str(i) for i in range(len(x))]),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_result_that_was_changed_is_its_owners(immune, change):
    immune.obs_names = [str(i) for i in range(N)]
    se600m.embed(immune)
    immune.obsm["X_state"] = CHANGED[change](immune.obsm["X_state"])
    with pytest.raises(errors.DestinationExistsError, match=r"obsm\['X_state'\] exists and has been changed since"):
        se600m.embed(immune)
    se600m.embed(immune, overwrite=True)
    some = immune[3:9].copy()
    se600m.embed(some)  # fewer cells are no change
    del some.obsm["X_state"]
    se600m.embed(some)


def test_what_was_read_from_a_file_is_still_ones_own(immune, tmp_path):
    for name, options in (("apart", {}), ("both", {"with_dataset_embedding": True})):
        se600m.embed(immune, **options)
        immune.write_h5ad(tmp_path / f"{name}.h5ad")
        again = anndata.read_h5ad(tmp_path / f"{name}.h5ad")
        for options in ({"with_dataset_embedding": True}, {}):
            se600m.embed(again, **options)


KEYS = ["", ".", "..", "a/b", "/", "a\0b", "\ud800", 3, None]


@pytest.mark.parametrize("key", KEYS)
def test_keys_that_no_file_can_have_are_refused(immune, no_run, key):
    for embed in (se600m.embed, se600m.load_model().embed):
        with pytest.raises(errors.OptionError, match=r"key_added=.* is not a valid key for adata\.obsm: "):
            embed(immune, key_added=key)
    if key is not None:  # the key of the labels
        immune.obsm["X_state"], immune.obs["x"] = np.ones((N, 2)), "label"
        with pytest.raises(errors.OptionError, match=r"key_added=.* is not a valid key for adata\.obs: "):
            se600m.transfer_labels(immune, immune, "x", key_added=key)


def test_switches_are_switches(immune, no_run, tmp_path):
    """Text is none: "no" would be true."""
    model = se600m.load_model()
    labelled = immune.copy()
    labelled.obsm["X_state"], labelled.obs["x"] = np.ones((N, 2)), "label"
    embedding = np.zeros((1, model.output_dim + model.dataset_dim))
    cells = ("use_raw", "strict", "progress")
    calls = [
        (lambda **o: se600m.embed(immune, **o), (*cells, "with_dataset_embedding", "copy", "overwrite")),
        (lambda **o: model.embed(immune, **o), (*cells, "with_dataset_embedding", "copy", "overwrite")),
        (lambda **o: model.compute(immune, **o), cells),
        (lambda **o: se600m.tokenize(immune, **o), cells),
        (lambda **o: model.tokenize(immune, **o), cells),
        (lambda **o: model.trace(immune, **o), cells),
        (lambda **o: model.contextual_gene_embeddings(immune, **o), (*cells, "overwrite")),
        (lambda **o: model.decode(embedding, "LYZ", **o), ("progress",)),
        (lambda **o: se600m.nearest(labelled, **o), ("progress",)),
        (
            lambda **o: se600m.transfer_labels(labelled, labelled, "x", key_added="y", **o),
            ("progress", "copy", "overwrite"),
        ),
        (se600m.load_model, ("progress",)),
        (lambda **o: se600m.convert(tmp_path, tmp_path / "new", **o), ("overwrite", "progress")),
    ]
    for call, names in calls:
        for name in names:
            with pytest.raises(errors.OptionError, match=f"{name}='no' is not True or False"):
                call(**{name: "no"})


# -- writing fails all the same --------------------------------------------------------------------


class Refuses(dict):
    def __setitem__(self, key, value):
        raise ValueError("no room\nfor this")


def test_an_embedding_that_cannot_be_written_is_kept(immune, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = snapshot(immune)
    want = se600m.embed(immune, copy=True)
    with monkeypatch.context() as patch:
        patch.setattr(anndata.AnnData, "uns", property(lambda _: Refuses()))
        with pytest.raises(errors.DestinationError, match=r"\(no room for this\).*saved in .*numpy\.load") as raised:
            se600m.embed(immune)
    assert_unchanged(immune, before)
    (kept,) = tmp_path.glob("*.npy")
    assert str(kept) in str(raised.value)
    width = want.obsm["X_state"].shape[1]
    assert f"numpy.load({str(kept)!r})[:, :{width}]" in str(raised.value)
    assert np.array_equal(np.load(kept)[:, :width], want.obsm["X_state"])
    assert np.array_equal(np.load(kept)[:, width:], want.obsm["X_state_dataset"])


def test_writing_is_whole_or_not_at_all(immune, monkeypatch):
    immune.obsm["old"] = np.zeros((N, 1))
    immune.uns["gone"] = 1
    before = snapshot(immune)
    with pytest.raises(ValueError):
        _destination.write(
            immune,
            {"obsm": {"old": np.ones((N, 2)), "new": np.ones((N, 2)), "wrong": np.ones((3, 2))}},
            {"uns": ["gone"]},
        )
    assert_unchanged(immune, before)
    assert immune.obsm["old"].shape == (N, 1)
