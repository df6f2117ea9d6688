"""The commands nearest and transfer-labels: from files to files, with the numbers of the functions."""

import re
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

import se600m
from se600m import _nearest, errors
from test_neighbors import cells, gaussian

KINDS = np.array(["T", "B", "NK"])


@pytest.fixture
def given(tmp_path):
    """Paths of 12 cells and of 40 labelled ones, and both."""
    adata, reference = cells(gaussian(12, 24)), cells(gaussian(40, 24, 1))
    adata.obs["sample"] = "s"
    reference.obs["cell_type"] = pd.Categorical(KINDS[np.arange(40) % 3], KINDS)
    reference.obs_names = [f"known {i}" for i in range(40)]
    for name, data in (("in", adata), ("ref", reference)):
        data.write_h5ad(tmp_path / f"{name}.h5ad")
    return str(tmp_path / "in.h5ad"), str(tmp_path / "ref.h5ad"), adata, reference


def test_the_nearest_cells(given, tmp_path, told):
    source, known, adata, reference = given
    want = se600m.nearest(adata, reference, k=4)
    out = {suffix: tmp_path / f"out.{suffix}" for suffix in ("csv", "parquet", "npz")}
    for suffix in ("csv", "parquet"):
        status, err = told("nearest", source, known, str(out[suffix]), "-k", "4", "--columns", "cell_type")
        assert (status, err.strip()) == (0, f"nearest 4 of 12 cells in {out[suffix]}")
    csv, parquet = pd.read_csv(out["csv"], float_precision="round_trip"), pd.read_parquet(out["parquet"])
    assert list(csv) == ["query", "rank", "obs_names", "distance", "cell_type"]
    assert list(csv["query"]) == list(np.repeat(adata.obs_names, 4))
    assert list(csv["rank"][:5]) == [1, 2, 3, 4, 1]
    for table in (csv, parquet):
        assert list(table["obs_names"]) == list(reference.obs_names[want.indices.ravel()])
        assert np.array_equal(table["distance"], want.distances.ravel())
        assert list(table["cell_type"]) == list(reference.obs["cell_type"].iloc[want.indices.ravel()])
    assert told("nearest", source, known, str(out["npz"]), "--k", "4")[0] == 0
    with np.load(out["npz"]) as arrays:
        assert np.array_equal(arrays["indices"], want.indices)
        assert np.array_equal(arrays["distances"], want.distances)
        assert list(arrays["obs_names"]) == list(adata.obs_names)
        assert list(arrays["reference_names"]) == list(reference.obs_names)


def test_a_file_among_itself(given, tmp_path, told, monkeypatch):
    """The same file under two names: a cell is not its own neighbour."""
    source, _, adata, _ = given
    monkeypatch.chdir(tmp_path)
    assert told("nearest", source, "in.h5ad", "out.npz", "-k", "3")[0] == 0
    with np.load("out.npz") as arrays:
        assert np.array_equal(arrays["indices"], se600m.nearest(adata, k=3).indices)


def test_labels(given, tmp_path, told):
    source, known, adata, reference = given
    se600m.transfer_labels(adata, reference, "cell_type", k=5, weights="similarity")
    options = ("--label", "cell_type", "-k", "5", "--weights", "similarity")
    out = {suffix: str(tmp_path / f"out.{suffix}") for suffix in ("csv", "parquet", "h5ad")}
    for path in out.values():
        status, err = told("transfer-labels", source, known, path, *options)
        assert (status, err.strip()) == (0, f"cell_type of 12 cells in {path}")
    csv = pd.read_csv(out["csv"])
    assert list(csv) == ["query", "cell_type", "cell_type_confidence"]
    assert list(csv["query"]) == list(adata.obs_names)
    assert list(csv["cell_type"]) == list(adata.obs["cell_type"])
    assert np.array_equal(csv["cell_type_confidence"].astype(np.float32), adata.obs["cell_type_confidence"])
    assert list(pd.read_parquet(out["parquet"])["cell_type"]) == list(adata.obs["cell_type"])
    written = anndata.read_h5ad(out["h5ad"])
    pd.testing.assert_frame_equal(written.obs, adata.obs, check_column_type=False, check_dtype=False)
    assert list(written.obs["cell_type"].cat.categories) == list(KINDS)
    assert np.array_equal(written.obsm["X_state"], adata.obsm["X_state"])
    assert told("transfer-labels", source, known, out["csv"], *options, "--overwrite", "--key-added", "kind")[0] == 0
    assert list(pd.read_csv(out["csv"]))[1:] == ["kind", "kind_confidence"]


def test_labels_of_the_user_are_replaced_only_if_asked_for(given, tmp_path, told):
    source, known, _, _ = given
    options = ("--label", "cell_type", "--key-added", "sample")
    out = str(tmp_path / "out.h5ad")
    status, err = told("transfer-labels", source, known, out, *options)
    assert status == 1
    assert "obs['sample'] exists and was not written by se600m" in err
    assert "choose another --key-added, or replace it with --overwrite" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.h5ad", "ref.h5ad"]
    assert told("transfer-labels", source, known, str(tmp_path / "out.csv"), *options)[0] == 0
    assert told("transfer-labels", source, known, out, *options, "--overwrite")[0] == 0
    assert set(anndata.read_h5ad(out).obs["sample"]) <= set(KINDS)


@pytest.mark.parametrize(
    "words, message",
    [
        pytest.param(
            ["--key-added", "_index"], "--key-added _index is not a valid key .* need this name", id="reserved"
        ),
        pytest.param(["--key-added", "__categories"], "__categories is not a valid key", id="of anndata 0.7"),
        pytest.param(["--key-added", "barcode"], "'barcode', under which obs has the names of the cells", id="index"),
        pytest.param(["--key-added", "bar"], "'bar_confidence', under which", id="confidence"),
        pytest.param(["--key-added", "a/b"], "--key-added a/b is not a valid key .* slash", id="slash"),
    ],
)
def test_names_of_cells_are_never_replaced(given, tmp_path, told, words, message, monkeypatch):
    source, known, adata, _ = given
    adata.obs_names.name = "bar_confidence" if words[1] == "bar" else "barcode"
    adata.write_h5ad(source)
    monkeypatch.setattr(_nearest, "search", None)  # what is wrong is known before the search
    for overwrite in ([], ["--overwrite"]):
        out = str(tmp_path / "out.h5ad")
        status, err = told("transfer-labels", source, known, out, "--label", "cell_type", *words, *overwrite)
        assert status == 1
        assert re.search(message, err), err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.h5ad", "ref.h5ad"]


def test_columns_with_the_names_of_a_table_are_kept_apart(given, tmp_path, told):
    source, known, adata, reference = given
    for name in ("query", "rank", "distance", "obs_names"):
        reference.obs[name] = [f"{name} {i}" for i in range(40)]
    reference.write_h5ad(known)
    out = str(tmp_path / "out.csv")
    assert told("nearest", source, known, out, "-k", "2", "--columns", "query,rank,distance,obs_names,query")[0] == 0
    table = pd.read_csv(out)
    own = ["query", "rank", "obs_names", "distance"]
    assert list(table) == [*own, "obs_query", "obs_rank", "obs_distance", "obs_obs_names"]
    rows = [int(name.removeprefix("known ")) for name in table["obs_names"]]
    assert list(table["obs_rank"]) == [f"rank {row}" for row in rows]
    assert list(table["rank"]) == [1, 2] * 12
    options = ("--label", "query", "--overwrite")
    assert told("transfer-labels", source, known, out, *options)[0] == 0
    labels = pd.read_csv(out)
    assert list(labels) == ["query", "obs_query", "query_confidence"]
    assert list(labels["query"]) == list(adata.obs_names)
    assert set(labels["obs_query"]) <= set(reference.obs["query"])
    reference.obs["obs_rank"] = "x"
    reference.write_h5ad(known)
    status, err = told("nearest", source, known, str(tmp_path / "o.csv"), "--columns", "rank,obs_rank")
    assert status == 1
    assert "'rank' and 'obs_rank' of obs would both be named 'obs_rank'" in err


def test_a_file_of_anndata_0_6_takes_no_labels(given, tmp_path, told):
    source, known, _, _ = given
    with h5py.File(source, "r+") as file:  # obs as records
        del file["obs"]
        file["obs"] = np.array([(b"a", 1.0)] * 12, [("index", "S8"), ("depth", "f8")])
        del file.attrs["encoding-type"]
    status, err = told("transfer-labels", source, known, str(tmp_path / "out.h5ad"), "--label", "cell_type")
    assert status == 1
    assert "as anndata before 0.7 wrote it" in err
    assert "give an OUT.csv" in err


@pytest.mark.parametrize(
    "words, message",
    [
        pytest.param(["nearest", "IN", "REF", "out.h5ad"], "ends in .csv, .parquet or .npz", id="suffix"),
        pytest.param(["nearest", "IN", "REF", "in.csv"], "OUT is .*exists.*--overwrite", id="exists"),
        pytest.param(["nearest", "IN", "REF", "out.csv", "--columns", "celltype"], 'mean "cell_type"', id="column"),
        pytest.param(["nearest", "IN", "REF", "out.npz", "--columns", "cell_type"], "into a table", id="columns"),
        pytest.param(["nearest", "IN", "REF", "out.csv", "-k", "41"], "-?k 41 is too large: reference has 40", id="k"),
        pytest.param(["nearest", "no.h5ad", "no.h5ad", "out.csv", "-k", "0"], "-?k 0 is not a whole", id="k is 0"),
        pytest.param(["nearest", "no.h5ad", "no.h5ad", "out.csv", "--threads", "0"], "--threads 0 is", id="threads"),
        pytest.param(
            ["transfer-labels", "no.h5ad", "REF", "out.csv", "--label", "x", "--weights", "x"],
            "weights x",
            id="weights",
        ),
        pytest.param(["nearest", "IN", "no.h5ad", "out.csv"], "no.h5ad", id="no reference"),
        pytest.param(
            ["nearest", "IN", "REF", "out.csv", "--key", "X_pca"],
            "--key X_pca is not in adata.obsm, .* create it with `se600m embed IN --key X_pca`",
            id="key",
        ),
        pytest.param(["transfer-labels", "IN", "REF", "out.h5ad"], "--label", id="no label"),
        pytest.param(
            ["transfer-labels", "IN", "REF", "out.h5ad", "--label", "type"], "--label type is not in ref", id="label"
        ),
        pytest.param(
            ["transfer-labels", "IN", "REF", "in.csv", "--label", "cell_type"], "OUT is .*exists", id="labels exist"
        ),
        pytest.param(
            ["transfer-labels", "IN", "REF", "REF", "--label", "cell_type", "--overwrite"],
            "OUT is .*also REFERENCE",
            id="onto the reference",
        ),
        pytest.param(
            ["transfer-labels", "IN.npy", "REF", "out.h5ad", "--label", "cell_type"], "not an h5ad file", id="copy"
        ),
    ],
)
def test_wrong_calls(given, tmp_path, told, words, message, monkeypatch):
    source, known, _, _ = given
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.zeros((2, 24), np.float32))
    (tmp_path / "in.csv").write_text("mine")
    names = {"IN": source, "REF": known, "IN.npy": "in.npy"}
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, err = told(*(names.get(word, word) for word in words))
    assert status in (1, 2)
    assert re.search(message, err), err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_pyarrow_it_is_named(given, tmp_path, monkeypatch):
    from se600m import _nearest_files

    source, known, _, _ = given
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(errors.MissingPackageError, match=r"se600m-go\[parquet\]"):
        _nearest_files.write_nearest(
            source, known, tmp_path / "o.parquet", overwrite=False, use_rep="X_state", modality=None, k=3, threads=None
        )
