"""Vector search on LanceDB: what is stored, what is found, what is refused."""

import json
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext
from unittest import mock

import anndata
import numpy as np
import pandas as pd
import pytest

import se600m
from se600m import _cells, _embedded, _index, _lance, _nearest_files, _representations, errors
from se600m._journal import Journal
from test_neighbors import gaussian, names

lancedb = pytest.importorskip("lancedb", reason="vector search needs lancedb (the extra index)")
pa = pytest.importorskip("pyarrow")
import pyarrow.parquet  # noqa: E402

MADE_WITH = {"model": "tiny", "model_checksum": "a" * 64, "precision": "fp32", "fill": "expected", "seed": 0}


def cells(n, seed=0, width=24, offset=1.0, noted=MADE_WITH, **obs):
    adata = anndata.AnnData(np.zeros((n, 1), np.float32), obs=pd.DataFrame(obs, index=names(n)))
    adata.obsm["X_state"] = gaussian(n, width, seed) + np.float32(offset)
    if noted is not None:
        adata.uns["X_state"] = dict(noted)
    return adata


def labelled(n, seed=0, **more):
    kinds = np.array(["T", "B", "NK"])[np.random.default_rng(seed).integers(0, 3, n)]
    return cells(n, seed, cell_type=pd.Categorical(kinds, ["T", "B", "NK"]), **more)


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "made" / "atlas.lance")


def stored(uri):
    """The table as anyone reads it, in the order of the keys."""
    folder, name = os.path.split(uri)
    table = lancedb.connect(folder).open_table(name.removesuffix(".lance"))
    return table.to_arrow().sort_by([("dataset", "ascending"), ("obs_names", "ascending")])


# -- what is stored ----------------------------------------------------------------------------


def test_a_table_has_vectors_names_obs_and_where_they_are_from(uri):
    adata = cells(
        7,
        cell_type=pd.Categorical(["T", "B", None, "T", "B", "T", "T"]),
        depth=np.arange(7),
        score=[0.5, np.nan, 1, 2, 3, 4, 5],
        flag=[True, False] * 3 + [True],
        text=pd.array(["a", None, *"bcdef"], "string"),
        **{"percent.mt": np.ones(7, np.float32), "dataset": ["x"] * 7, "nothing": [None] * 7},
    )
    before = adata.copy()
    done = se600m.index(adata, uri)
    assert (done.n_added, done.n_replaced, done.n_cells, done.uri) == (7, 0, 7, uri)
    table = stored(uri)
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "obs_names": "string",
        "dataset": "string",
        "vector": "fixed_size_list<item: float>[24]",
        "cell_type": "string",
        "depth": "int64",
        "score": "double",
        "flag": "bool",
        "text": "string",
        "percent_mt": "float",
        "obs_dataset": "string",
        "nothing": "string",
    }
    assert np.array_equal(np.stack(table["vector"].to_numpy()), adata.obsm["X_state"])
    assert table["obs_names"].to_pylist() == list(adata.obs_names)
    assert table["cell_type"].to_pylist() == ["T", "B", None, "T", "B", "T", "T"]
    assert table["score"].to_pylist()[:3] == [0.5, None, 1]
    assert json.loads(table.schema.metadata[b"se600m"]) == {"use_rep": "X_state", **MADE_WITH}
    assert before.obs.equals(adata.obs)
    assert list(adata.obsm) == ["X_state"]


def test_chosen_columns(uri):
    se600m.index(cells(3, a=[1, 2, 3], b=[1, 2, 3]), uri, obs=["b"])
    assert stored(uri).column_names == ["obs_names", "dataset", "vector", "b"]


def test_cells_are_appended_once_and_replaced_if_asked_for(uri):
    se600m.index(labelled(30), uri)
    more = labelled(40, 1)
    with pytest.raises(
        errors.DestinationExistsError, match=r"30 of 40 cells are .*'cell 0': .*overwrite=True.*dataset"
    ):
        se600m.index(more, uri)
    assert len(stored(uri)) == 30
    done = se600m.index(more, uri, overwrite=True)
    assert (done.n_added, done.n_replaced, done.n_cells) == (10, 30, 40)
    want = more[np.argsort(more.obs_names)]
    table = stored(uri)
    assert table["obs_names"].to_pylist() == list(want.obs_names)
    assert np.array_equal(np.stack(table["vector"].to_numpy()), want.obsm["X_state"])
    assert se600m.index(labelled(20), uri, dataset="b").n_cells == 60


def test_columns_of_several_files_are_joined(uri):
    se600m.index(cells(3, a=[1, 2, 3]), uri)
    done = se600m.index(cells(2, b=["x", "y"], a=[7.0, 8.0]), uri, dataset="other")
    assert done.n_cells == 5
    table = stored(uri).select(["a", "b"]).to_pydict()
    assert table == {"a": [1, 2, 3, 7, 8], "b": [None, None, None, "x", "y"]}
    with pytest.raises(errors.DataError, match=r"obs\['a'\] has values of type string, but .* is int64"):
        se600m.index(cells(2, a=["x", "y"]), uri, dataset="third")


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_names_that_repeat_are_told_apart_by_batch(uri):
    adata = cells(6, sample=["a", "a", "a", "b", "b", "b"])
    adata.obs.index = ["1", "2", "3"] * 2
    with pytest.raises(errors.DataError, match=r"3 names in obs_names are repeated, such as '1'.*batch_key="):
        se600m.index(adata, uri)
    se600m.index(adata, uri, batch_key="sample")
    table = stored(uri)
    assert table["dataset"].to_pylist() == list("aaabbb")
    found = se600m.query(adata, uri, k=1)
    assert list(found.datasets[:, 0]) == list("aaabbb")


@pytest.mark.parametrize("first", [True, False], ids=["new table", "more cells"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_an_error_half_way_leaves_the_table_as_it_was(uri, monkeypatch, first, overwrite):
    monkeypatch.setattr(_index, "_BATCH_VALUES", 24 * 10)
    if not first:
        se600m.index(labelled(40), uri)
    before = None if first else stored(uri)
    bad = labelled(100, 2, extra=np.arange(100))
    bad.obsm["X_state"][57, 3] = np.nan
    if not overwrite:
        bad.obs_names = [f"new {i}" for i in range(100)]
    with pytest.raises(errors.NotFiniteError, match=r"cell 57 \('(cell|new) 57'\) has a NaN"):
        se600m.index(bad, uri, overwrite=overwrite)
    if first:
        assert not os.path.exists(uri)
    else:
        assert stored(uri).equals(before)
    bad.obsm["X_state"][57, 3] = 0
    assert se600m.index(bad, uri, overwrite=overwrite).n_cells == (100 if first or overwrite else 140)


@pytest.mark.parametrize("first", [True, False], ids=["new table", "more cells"])
def test_ctrl_c_leaves_the_table_as_it_was(uri, monkeypatch, first):
    if not first:
        se600m.index(labelled(40), uri)
    before = None if first else stored(uri)
    part, seen = _index._obs_columns.part, []

    def interrupted(values, first, last, kind):
        seen.append(first)
        if first == 20:  # in a thread of LanceDB, which the main thread waits for
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.1)
        return part(values, first, last, kind)

    monkeypatch.setattr(_index, "_BATCH_VALUES", 24 * 10)
    monkeypatch.setattr(_index._obs_columns, "part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        se600m.index(cells(1000, 3, extra=["x"] * 1000), uri, dataset="b")
    assert max(seen) < 990
    if first:
        assert not os.path.exists(uri)
    else:
        assert stored(uri).equals(before)


# -- files -------------------------------------------------------------------------------------


def test_a_file_is_read_some_rows_at_a_time(uri, tmp_path, monkeypatch):
    adata = labelled(90)
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    read = []
    rows = _representations.Representation._read
    monkeypatch.setattr(_representations, "_BLOCK_VALUES", 24 * 20)
    monkeypatch.setattr(_representations.Representation, "_read", lambda s, a, b: read.append((a, b)) or rows(s, a, b))
    se600m.index(path, uri)
    assert read == [(0, 20), (20, 40), (40, 60), (60, 80), (80, 90)]
    want = se600m.query(adata, uri, k=3)
    found = se600m.query(path, uri, k=3)
    assert np.array_equal(found.distances, want.distances)
    assert np.array_equal(found.names, want.names)


def test_cells_without_an_embedding_are_embedded_by_the_model_named(uri, tmp_path, immune):
    adata = immune[:12].copy()
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    with pytest.raises(errors.DataError, match=r"no obsm\['X_state'\]: name the model .*model="):
        se600m.index(path, uri)
    se600m.index(path, uri, model="se-mini", dataset="file")
    se600m.index(adata, uri, model="se-mini", dataset="memory", obs=[])
    assert "X_state" not in adata.obsm
    assert not [name for name in os.listdir(os.path.dirname(uri)) if "embedding" in name]
    se600m.embed(adata, model="se-mini")
    found = se600m.query(adata, uri, k=2)
    assert np.all(found.distances == 0)
    assert [list(row) for row in found.datasets] == [["file", "memory"]] * 12
    se600m.index(adata, uri, model="se-mini", dataset="checked", obs=[])
    adata.uns["X_state"]["model_checksum"] = "b" * 64
    with pytest.raises(errors.DataError, match=r"another model .* than model='se-mini'"):
        se600m.index(adata, uri, model="se-mini", dataset="other", obs=[])


# -- what is asked for is what happens ---------------------------------------------------------

AS_NOTED = MADE_WITH | {
    **{"layer": "counts", "use_raw": False, "gene_column": "var['symbol']", "expression": "auto"},
    **{"min_coverage": 0.2, "strict": np.bool_(True), "genes": "all", "provider": "cuda:0,cuda:1"},
}


@pytest.mark.parametrize(
    "options",
    [
        {"layer": "counts", "gene_column": "symbol", "fill": "expected", "precision": "fp32", "genes": None},
        {"fill": "auto", "gene_column": None, "precision": "auto", "device": "auto", "strict": False},
        {"seed": 7, "min_coverage": 0.1, "strict": True, "use_raw": False, "expression": "auto"},
        {"threads": 2, "batch_size": 3, "memory": "1GB", "resume": True, "progress": False},
    ],
    ids=["as noted", "left open", "what holds", "of speed"],
)
def test_an_embedding_that_is_as_asked_for_is_indexed(uri, options):
    assert se600m.index(cells(5, noted=AS_NOTED), uri, **options).n_cells == 5


@pytest.mark.parametrize(
    "options, says",
    [
        (
            {"fill": "shared"},
            r"fill='shared' would have no effect: .* made with fill='expected'\. Leave it out",
        ),
        ({"seed": 3, "fill": "shared"}, r"fill='shared' would"),
        ({"layer": None}, r"layer=None would have no effect: .* layer='counts'"),
        ({"use_raw": True}, r"use_raw=True would have no effect: .* use_raw=False"),
        ({"gene_column": "id"}, r"gene_column='id' would have no effect: .* the names of genes in var\['symbol'\]"),
        ({"genes": ["LYZ"]}, r"genes=\.\.\. would have no effect: .* all genes"),
        ({"expression": "counts"}, r"expression='counts' would have no effect: .* expression='auto'"),
        ({"min_coverage": 0.5}, r"min_coverage=0\.5 would have no effect: .* min_coverage=0\.2"),
        ({"precision": "int8"}, r"precision='int8' would have no effect: .* precision='fp32'"),
        ({"device": "cpu"}, r"device='cpu' would have no effect: .* device='cuda:0,cuda:1'"),
        (
            {"precision": "int8", "layer": "x"},
            r"layer='x' and precision='int8' would have no effect: .* made with layer='counts' and precision='fp32'\. "
            r"Leave them out to take the embedding as it is, or give model=\.\.\. and another use_rep=\.\.\., under",
        ),
        ({"checkpoint": "a.ckpt"}, r"checkpoint='a\.ckpt' is of a model, but none is named: give model="),
        ({"memory": "much"}, "memory='much' is not an amount"),
    ],
)
def test_an_embedding_that_is_not_as_asked_for_is_an_error(uri, options, says):
    with pytest.raises(errors.OptionError, match=says):
        se600m.index(cells(5, noted=AS_NOTED), uri, **options)
    assert not os.path.exists(uri)


def test_seeds_count_where_something_was_drawn_and_nothing_noted_is_no_match(uri):
    drawn = cells(5, noted=AS_NOTED | {"fill": "shared"})
    with pytest.raises(errors.OptionError, match=r"seed=3 would have no effect: .* seed=0"):
        se600m.index(drawn, uri, seed=3)
    with pytest.raises(errors.OptionError, match=r"strict=True would .* has no record of how it was made"):
        se600m.index(cells(5, noted=None), uri, strict=True)
    with pytest.raises(errors.OptionError, match=r"layer='counts' would have no effect: .* no layer"):
        se600m.index(cells(5, noted=AS_NOTED | {"layer": ""}), uri, layer="counts")
    with pytest.raises(errors.OptionError, match=r"genes=\.\.\. would have no effect: .* other genes"):
        se600m.index(cells(5, noted=AS_NOTED | {"genes": "3 chosen (abc)"}), uri, genes=["LYZ"])


def test_the_command_asks_for_what_was_typed_alone(uri, tmp_path, told):
    path = str(tmp_path / "cells.h5ad")
    cells(5, noted=AS_NOTED | {"fill": "shared", "seed": 5, "use_raw": True}).write_h5ad(path)
    for words, says in (
        (
            ["--seed", "0"],
            "error: --seed 0 would have no effect: the embedding in obsm['X_state'] was made with --seed 5.",
        ),
        (["--fill", "none"], "--fill none would have no effect"),
        (["--genes", "LYZ"], "--genes ... would have no effect: the embedding in obsm['X_state'] was made with all"),
        (["--layer", "x"], "or give --model ... and another --key ..., under which the cells are embedded first"),
    ):
        status, said = told("index", path, uri, *words)
        assert (status, says in said) == (1, True), said
    assert not os.path.exists(uri)
    assert told("index", path, uri, "--seed", "5", "--threads", "1")[0] == 0


# -- an embedding that was made, and a table that could not be written ---------------------------


def full_once(monkeypatch):
    """Have the disk be full when the table is written for the first time."""
    create, calls = _lance.create, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise errors.DestinationError("'atlas.lance' could not be written: No space left on device")
        return create(*arguments)

    monkeypatch.setattr(_lance, "create", full)


def test_the_same_command_goes_on_with_an_embedding_that_was_made(uri, tmp_path, immune, told, monkeypatch):
    path = str(tmp_path / "cells.h5ad")
    immune[:6].copy().write_h5ad(path)
    full_once(monkeypatch)
    call = ["index", path, uri, "--model", "se-mini", "--seed", "3"]
    status, said = told(*call)
    folder = f"{uri}.embedding.npy.partial"
    assert status == 1
    assert f"No space left on device. 6 of 6 rows are kept in {folder!r}: go on with --resume" in said
    assert os.listdir(os.path.dirname(uri)) == [os.path.basename(folder)]
    status, said = told(*call)
    assert (status, "go on with --resume, or start again with --overwrite" in said) == (1, True), said
    status, said = told(*call[:-1], "4", "--resume")
    assert (status, "seed was 3 and is 4" in said) == (1, True), said
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", lambda *_: pytest.fail("cells were embedded again"))
        assert told(*call, "--resume")[0] == 0
    assert os.listdir(os.path.dirname(uri)) == [os.path.basename(uri)]
    want = se600m.load_model("se-mini").compute(immune[:6].copy(), seed=3).embedding
    assert np.array_equal(np.stack(stored(uri)["vector"].to_numpy()), want[np.argsort(immune.obs_names[:6])])


def test_what_an_earlier_run_has_left_is_thrown_away_with_overwrite(uri, tmp_path, immune, monkeypatch):
    path = tmp_path / "cells.h5ad"
    immune[:3].copy().write_h5ad(path)
    full_once(monkeypatch)
    with pytest.raises(errors.DestinationError, match="No space left") as raised:
        se600m.index(path, uri, model="se-mini")
    assert raised.value.__notes__[0].startswith("3 of 3 rows are kept in ")
    assert se600m.index(path, uri, model="se-mini", seed=1, overwrite=True).n_cells == 3
    assert os.listdir(os.path.dirname(uri)) == ["atlas.lance"]
    theirs = f"{uri}.embedding.npy"
    with open(theirs, "w") as file:
        file.write("mine")
    with pytest.raises(errors.DestinationExistsError, match=r"embedding\.npy' exists, .*remove or rename it"):
        se600m.index(path, uri, model="se-mini", dataset="b")
    assert os.path.getsize(theirs) == 4


def test_an_embedding_in_memory_is_saved_if_the_table_can_t_be_written(uri, immune, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    full_once(monkeypatch)
    adata = immune[:3].copy()
    with pytest.raises(errors.DestinationError, match=r"No space left.*The embedding was saved in .*numpy\.load"):
        se600m.index(adata, uri, model="se-mini")
    (saved,) = tmp_path.glob("se600m-embedding-*.npy")
    assert np.array_equal(np.load(saved), se600m.load_model("se-mini").compute(adata).embedding)


@pytest.mark.parametrize("in_memory", [True, False], ids=["AnnData", "file"])
def test_a_table_that_does_not_take_the_cells_is_named_before_they_are_embedded(
    uri, tmp_path, immune, monkeypatch, in_memory
):
    se600m.index(cells(5, noted=MADE_WITH | {"fill": "shared"}), uri)
    adata = immune[:3].copy()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.setattr(_cells.Cells, "run", lambda *_, **__: pytest.fail("cells were embedded"))
    with pytest.raises(errors.DataError, match=r"atlas\.lance' can't be used: it has vectors of another model"):
        se600m.index(adata if in_memory else tmp_path / "cells.h5ad", uri, model="se-mini", dataset="b")
    assert os.listdir(os.path.dirname(uri)) == ["atlas.lance"]


def test_an_approximate_index_that_can_t_be_built_says_that_the_cells_are_in_the_table(uri, monkeypatch):
    table = type(lancedb.connect(os.path.dirname(uri)).create_table("x", [{"x": 1}]))

    def broken(*_args, **_options):
        raise RuntimeError("lance error: no space")

    monkeypatch.setattr(table, "create_index", broken)
    with pytest.raises(errors.DestinationError, match=r"the cells are in .*: lance error: no space\. Index them again"):
        se600m.index(cells(5), uri, ann=True)
    assert len(stored(uri)) == 5


def test_arrow_in_and_out(uri, tmp_path):
    adata = labelled(20)
    values = pa.FixedSizeListArray.from_arrays(pa.array(adata.obsm["X_state"].ravel()), 24)
    table = pa.table({"obs_names": list(adata.obs_names), "X_state": values, "cell_type": list(adata.obs["cell_type"])})
    table = table.replace_schema_metadata({"se600m": json.dumps({"X_state": MADE_WITH})})
    se600m.index(table, uri)
    found = se600m.query(table, uri, k=2, columns=["cell_type"])
    assert found.obs_names.tolist() == found.names[:, 0].tolist() == list(adata.obs_names)
    out = found.to_arrow()
    assert out.column_names == ["query", "rank", "obs_names", "dataset", "distance", "cell_type"]
    assert out["rank"].to_pylist() == [1, 2] * 20
    assert out["distance"].to_numpy().tolist() == found.distances.ravel().tolist()
    types = adata.obs["cell_type"]
    assert out["cell_type"].to_pylist() == [types[name] for name in found.names.ravel()]
    path = tmp_path / "cells.parquet"
    pyarrow.parquet.write_table(table, path)
    assert np.array_equal(se600m.query(path, uri, k=2).names, found.names)
    for given in (table, path):
        with pytest.raises(errors.DataError, match="no column 'X_other'"):
            se600m.query(given, uri, use_rep="X_other")


def test_a_parquet_file_is_read_some_rows_at_a_time(uri, tmp_path, monkeypatch):
    """Its vectors are never all in memory, and whole numbers stay what they are beside missing ones."""
    adata = cells(20)
    rows = [None if i == 7 else row for i, row in enumerate(adata.obsm["X_state"])]
    vectors = {
        name: pa.array(some, pa.list_(pa.float32(), 24))
        for name, some in (("X_state", list(adata.obsm["X_state"])), ("gaps", rows))
    }
    ids = pa.array([2**60 + 1, None] * 10, pa.int64())
    flags = pa.array([True, None] * 10, pa.bool_())
    table = pa.table({"obs_names": list(adata.obs_names), "id": ids, "flag": flags, **vectors})
    path = tmp_path / "cells.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=6)
    monkeypatch.setattr(_embedded, "_VALUES", 24 * 4)
    monkeypatch.setattr(_representations, "_BLOCK_VALUES", 24 * 5)
    monkeypatch.setattr(np.memmap, "__getitem__", lambda *_: pytest.fail("a mapped value"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    se600m.index(path, uri, obs=["id", "flag"])
    made = stored(uri).to_pydict()
    order = np.argsort(adata.obs_names)
    assert np.array_equal(np.array(made["vector"], np.float32), adata.obsm["X_state"][order])
    assert (made["id"], made["flag"]) == ([ids[int(i)].as_py() for i in order], [flags[int(i)].as_py() for i in order])
    for given in (table, path):
        with pytest.raises(
            errors.DataError, match=r"'gaps' is .*, 1 of them missing, not lists of a fixed size without"
        ):
            se600m.query(given, uri, use_rep="gaps")
    with (
        monkeypatch.context() as patch,
        pytest.raises(errors.DestinationError, match=r"temporary file, which needs .*TMPD"),
    ):
        patch.setattr("shutil.disk_usage", lambda _: mock.Mock(total=10**9, free=5))
        se600m.query(path, uri)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["cells.parquet", "made"], "no temporary file is left"


# -- what is found -----------------------------------------------------------------------------


def test_what_is_found_is_what_nearest_finds(uri, monkeypatch):
    monkeypatch.setattr(_lance, "_READ_VALUES", 24 * 16)
    monkeypatch.setattr(_lance, "_BLOCK_VALUES", 24 * 50)
    reference, adata = labelled(300, 1), cells(40, 2)
    se600m.index(reference, uri)
    found = se600m.query(adata, uri, k=9, label="cell_type", weights="similarity")
    want = se600m.nearest(adata, reference, k=9)
    assert np.array_equal(found.distances, want.distances)
    assert np.array_equal(found.names, np.asarray(reference.obs_names)[want.indices])
    se600m.transfer_labels(adata, reference, "cell_type", k=9, weights="similarity")
    assert list(found.labels) == list(adata.obs["cell_type"])
    assert np.array_equal(found.confidence, adata.obs["cell_type_confidence"])


def test_how_a_table_came_about_changes_nothing(tmp_path):
    reference = labelled(120, 1)
    reference.obsm["X_state"] = reference.obsm["X_state"][np.arange(120) % 10]  # ties
    adata = cells(15, 2)
    one, other = str(tmp_path / "one.lance"), str(tmp_path / "other.lance")
    se600m.index(reference, one)
    for rows in (slice(80, 120), slice(0, 50), slice(50, 80)):
        se600m.index(reference[rows].copy(), other)
    se600m.index(reference[30:90].copy(), other, overwrite=True)
    a, b = (se600m.query(adata, uri, k=30, label="cell_type") for uri in (one, other))
    assert np.array_equal(a.names, b.names)
    assert np.array_equal(a.distances, b.distances)
    assert list(a.labels) == list(b.labels)
    ordered = [(d, n) for d, n in zip(a.distances[0], a.names[0], strict=True)]
    assert ordered == sorted(ordered)


def test_only_labelled_cells_vote_and_a_condition_chooses(uri):
    reference = labelled(60, 1, tissue=["lung", "gut"] * 30)
    reference.obs.loc[reference.obs_names[:30], "cell_type"] = None
    se600m.index(reference, uri)
    adata = cells(9, 2)
    found = se600m.query(adata, uri, k=30, label="cell_type")
    assert set(found.names.ravel()) == set(reference.obs_names[30:])
    found = se600m.query(adata, uri, k=15, label="cell_type", where="tissue = 'gut' OR tissue = 'nowhere'")
    assert set(found.names.ravel()) == set(reference.obs_names[31::2])
    with pytest.raises(errors.OptionError, match="k=16 is too large: there are 15 cells"):
        se600m.query(adata, uri, k=16, label="cell_type", where="tissue = 'gut'")
    with pytest.raises(errors.OptionError, match=r"where=.tisue = 1. can't be used: .*tisue"):
        se600m.query(adata, uri, where="tisue = 1")


def test_the_approximate_index_selects_and_distances_are_exact(uri):
    reference = labelled(600, 1, width=32)
    se600m.index(reference, uri)
    adata = cells(12, 2, width=32)
    with pytest.raises(errors.OptionError, match=r"approximate=True, but .* has no approximate index.*ann=True"):
        se600m.query(adata, uri, approximate=True)
    new = labelled(5, 3, width=32)
    se600m.index(new, uri, dataset="new", ann=True)
    want = se600m.query(adata, uri, k=5, label="cell_type")
    # With every cell selected, all of the nearest are found.
    found = se600m.query(adata, uri, k=5, label="cell_type", approximate=True, refine=121, nprobes=1000)
    assert np.array_equal(found.names, want.names)
    assert np.array_equal(found.distances, want.distances)
    assert list(found.labels) == list(want.labels)
    some = se600m.query(adata, uri, k=5, approximate=True)
    assert np.all(some.distances >= want.distances)
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(some.names, want.names, strict=True)]) > 0.5


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noted, says",
    [
        (
            MADE_WITH | {"model": "other", "model_checksum": "b" * 64},
            r"model 'tiny'\) than .*\(model 'other'",
        ),
        (MADE_WITH | {"precision": "int8"}, "precision fp32 and int8"),
        (None, "not noted what embedded these cells, but the table came from se600m"),
    ],
    ids=["model", "precision", "unknown"],
)
def test_a_table_of_another_model_or_precision_is_refused(uri, noted, says):
    se600m.index(cells(20), uri)
    other = cells(20, noted=noted)
    with pytest.raises(errors.DataError, match=says):
        se600m.query(other, uri, k=3)
    with pytest.raises(errors.DataError, match=says):
        se600m.index(other, uri, dataset="other")
    assert len(stored(uri)) == 20


def test_another_fill_is_refused_in_a_table_and_warned_of_in_a_search(uri):
    se600m.index(cells(20), uri)
    other = cells(20, noted=MADE_WITH | {"fill": "shared"})
    with pytest.raises(errors.DataError, match="fill expected and shared"):
        se600m.index(other, uri, dataset="other")
    with pytest.warns(errors.DataWarning, match="fill=shared and expected"):
        se600m.query(other, uri, k=3)


def test_other_widths_are_refused(uri):
    se600m.index(cells(20, noted=None), uri)
    with pytest.raises(errors.DataError, match="vectors are 24 wide, and those of these cells 25"):
        se600m.query(cells(20, width=25, noted=None), uri, k=3)


@pytest.mark.parametrize("given", ["atlas", "atlas.lance/", "a b.lance", "db://cloud/atlas.lance", ".lance"])
def test_paths_of_tables(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    if given == "atlas.lance/":
        assert se600m.index(cells(3), given).n_cells == 3
        return
    with pytest.raises(errors.OptionError, match=r"not the path or address of a table.*NAME\.lance"):
        se600m.index(cells(3), given)
    assert os.listdir(tmp_path) == []


def test_what_is_no_table_stays(tmp_path):
    folder = tmp_path / "mine.lance"
    folder.mkdir()
    (folder / "thesis.txt").write_text("all of it")
    with pytest.raises(errors.DestinationExistsError, match="not a table of LanceDB"):
        se600m.index(cells(3), folder)
    lancedb.connect(tmp_path).create_table("theirs", [{"x": 1}])
    with pytest.raises(errors.DataError, match=r"se600m\.index did not write"):
        se600m.query(cells(3), tmp_path / "theirs.lance")
    with pytest.raises(errors.DataError, match="there is no table"):
        se600m.query(cells(3), tmp_path / "missing.lance")
    assert (folder / "thesis.txt").exists()


def test_columns_that_no_table_can_have(uri):
    with pytest.raises(errors.DataError, match=r"obs\['mixed'\] can't be a column.*astype\(str\)"):
        se600m.index(cells(2, mixed=[1, "a"]), uri)
    with pytest.raises(errors.DataError, match=r"'a\.b' and 'a b' of obs would both be named 'a_b'"):
        se600m.index(cells(2, **{"a.b": [1, 2], "a b": [1, 2]}), uri)
    with pytest.raises(errors.OptionError, match=r"no column 'celltype'.*did you mean \"cell_type\""):
        se600m.index(labelled(2), uri, obs=["celltype"])
    assert not os.path.exists(uri)


def test_without_lancedb_it_is_named(uri, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(errors.MissingPackageError, match=r"pip install 'se600m-go\[index\]'"):
        se600m.index(cells(2), uri)


# -- the commands ------------------------------------------------------------------------------


def test_the_commands(tmp_path, told):
    reference, adata = labelled(50, 1), cells(10, 2, sample=["s"] * 10)
    reference.write_h5ad(tmp_path / "atlas.h5ad")
    adata.write_h5ad(tmp_path / "new.h5ad")
    atlas, new, table = (str(tmp_path / name) for name in ("atlas.h5ad", "new.h5ad", "atlas.lance"))
    status, err = told("index", atlas, table)
    assert (status, err.strip()) == (0, f"50 cells added: 50 in {table}, version 1")
    status, err = told("index", atlas, table)
    assert status == 1
    assert "50 of 50 cells are in" in err
    assert "replace what is there with --overwrite" in err
    assert "name the data set of these (--dataset" in err
    want = se600m.query(adata, table, k=4, label="cell_type")
    out = {suffix: str(tmp_path / f"out.{suffix}") for suffix in ("csv", "parquet", "h5ad")}
    assert told("query", new, table, out["csv"], "-k", "4", "--columns", "cell_type")[0] == 0
    csv = pd.read_csv(out["csv"], float_precision="round_trip")
    assert list(csv["obs_names"]) == list(want.names.ravel())
    assert np.array_equal(csv["distance"], want.distances.ravel())
    assert told("query", new, table, out["parquet"], "-k", "4", "--label", "cell_type")[0] == 0
    assert list(pd.read_parquet(out["parquet"])["cell_type"]) == list(want.labels)
    status, err = told("query", new, table, out["h5ad"], "-k", "4")
    assert "give --label" in err
    assert told("query", new, table, out["h5ad"], "-k", "4", "--label", "cell_type")[0] == 0
    written = anndata.read_h5ad(out["h5ad"])
    assert list(written.obs) == ["sample", "cell_type", "cell_type_confidence"]
    assert list(written.obs["cell_type"]) == list(want.labels)
    assert np.array_equal(written.obsm["X_state"], adata.obsm["X_state"])
    status, err = told("query", new, table, out["csv"])
    assert status == 1
    assert "--overwrite" in err
    status, err = told("query", new, table, str(tmp_path / "x.csv"), "--key", "X_pca")
    assert "--key X_pca is not in adata.obsm" in err


def test_options_of_a_search_that_would_do_nothing(uri, tmp_path, told):
    adata = labelled(20)
    se600m.index(adata, uri)
    for options, says in (
        ({"refine": 5}, "refine=5 is for approximate=True"),
        ({"weights": "similarity"}, r"weights='similarity' is for a vote on labels: give label="),
        ({"modality": "rna"}, "modality='rna', but cells in memory have no modalities"),
        ({"approximate": True, "refine": 1 << 70}, "refine=.* is not a whole number from 1 to 1,048,576"),
        ({"approximate": True, "nprobes": 1 << 70}, "nprobes=.* is not a whole number from 1 to 1,048,576"),
        ({"k": 21}, "k=21 is too large: there are 20 cells to search in the table"),
        ({"k": 10**15, "approximate": True}, "k=1000000000000000 is too large"),
    ):
        with pytest.raises(errors.OptionError, match=says):
            se600m.query(adata, uri, **options)
    with pytest.raises(errors.OptionError, match=r"modality='rna', but .*no modalities"):
        se600m.index(adata, uri, modality="rna", dataset="b")
    # Whatever the file is: what is wrong is said before it is read.
    call = ["query", "no.h5ad", uri, str(tmp_path / "out.csv")]
    for words, says in (
        (["--refine", "5"], "--refine 5 is for --approximate: add that, or leave it out"),
        (["--weights", "similarity"], "--weights similarity is for a vote on labels: give --label ..., or"),
        (["--label", "a", "--columns", "a,b"], "--columns a,b is for a row per nearest cell, but --label a writes one"),
        (["--threads", "0"], "--threads 0 is not"),
    ):
        status, err = told(*call, *words)
        assert (status, says in err) == (1, True), err
    assert not (tmp_path / "out.csv").exists()


def test_a_modality_is_of_the_file_that_has_some(monkeypatch):
    says = r"modality='rna', but 'a\.parquet' is a table, which has no modalities: leave the option out"
    for first, second in (("a.parquet", "a.parquet"), ("a.parquet", "b.parquet")):
        with (
            pytest.raises(errors.OptionError, match=says),
            _nearest_files._both(first, second, "X_state", "rna"),
        ):
            pass
    seen = []
    monkeypatch.setattr(_embedded, "opened", lambda path, _, modality: seen.append(modality) or nullcontext())
    for first, second in (("a.parquet", "b.h5mu"), ("a.h5mu", "b.parquet"), ("a.h5mu", "b.h5mu")):
        with _nearest_files._both(first, second, "X_state", "rna"):
            pass
    assert seen == [None, "rna", "rna", None, "rna", "rna"]


def test_labels_in_a_copy_go_into_a_column_of_their_own(tmp_path, told):
    reference, adata = labelled(50, 1, query="q", rank="r"), cells(10, 2, cell_type=["mine"] * 10)
    adata.obs_names.name = "barcode"
    reference.write_h5ad(tmp_path / "atlas.h5ad")
    adata.write_h5ad(tmp_path / "new.h5ad")
    atlas, new, table, out = (str(tmp_path / name) for name in ("atlas.h5ad", "new.h5ad", "atlas.lance", "out.h5ad"))
    assert told("index", atlas, table)[0] == 0
    for words, message in (
        ([], "obs['cell_type'] exists and was not written by se600m: choose another --key-added, or replace it with"),
        (["--key-added", "barcode"], "'barcode', under which obs has the names of the cells"),
        (["--key-added", "_index"], "--key-added _index is not a valid key"),
    ):
        status, err = told("query", new, table, out, "--label", "cell_type", *words)
        assert status == 1
        assert message in err
    assert not (tmp_path / "out.h5ad").exists()
    assert told("query", new, table, out, "--label", "cell_type", "--key-added", "kind")[0] == 0
    written = anndata.read_h5ad(out)
    assert list(written.obs) == ["cell_type", "kind", "kind_confidence"]
    assert list(written.obs_names) == list(adata.obs_names)
    assert set(written.obs["kind"]) <= {"T", "B", "NK"}
    assert told("query", out, table, out + ".h5ad", "--label", "cell_type", "--key-added", "kind")[0] == 0
    csv = str(tmp_path / "out.csv")
    assert told("query", new, table, csv, "-k", "2", "--columns", "query,rank")[0] == 0
    found = pd.read_csv(csv)
    assert list(found)[:5] == ["query", "rank", "obs_names", "dataset", "distance"]
    assert list(found["rank"]) == [1, 2] * 10
    assert set(found["obs_query"]) == {"q"}
    assert told("query", new, table, csv, "--label", "query", "--overwrite")[0] == 0
    assert list(pd.read_csv(csv)) == ["query", "obs_query", "query_confidence"]
    status, err = told("query", new, table, csv, "--key-added", "kind", "--overwrite")
    assert "--key-added kind is for the label of each cell: give --label" in err
