"""Nearest cells and label transfer, against scikit-learn."""

import os
import subprocess
import sys
import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from sklearn.metrics.pairwise import cosine_distances
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

import se600m
from jobs import was_cancelled_in_the_middle
from se600m import _library, _native, _representations, errors
from test_embed import assert_unchanged, snapshot


def cells(embedding, key="X_state", **obs):
    """An AnnData with an embedding."""
    n = embedding.shape[0]
    adata = anndata.AnnData(np.zeros((n, 1), np.float32), obs=pd.DataFrame(obs, index=names(n)))
    adata.obsm[key] = embedding
    return adata


def names(n):
    return [f"cell {i}" for i in range(n)]


def gaussian(n, width, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


@pytest.fixture(scope="module")
def _pbmc():
    adata = sc.datasets.pbmc68k_reduced()
    assert adata.obsm["X_pca"].shape == (700, 50)
    return adata


@pytest.fixture
def pbmc(_pbmc):
    """700 cells with an embedding by PCA and labels: the first 500 as reference, the others to label."""
    return _pbmc[500:].copy(), _pbmc[:500].copy()


# -- nearest cells -----------------------------------------------------------------------------


def repeated(n, width):
    return gaussian(n, width)[np.arange(n) % 10]


def zeros(n, width):
    return np.zeros((n, width), np.float32)


NEAREST = [
    pytest.param(gaussian(120, 50), gaussian(400, 50, 1), 15, id="two sets"),
    pytest.param(gaussian(1, 50), gaussian(400, 50, 1), 15, id="one cell"),
    pytest.param(gaussian(30, 50), gaussian(1, 50, 1), 1, id="one reference cell"),
    pytest.param(gaussian(30, 7), gaussian(90, 7, 1), 90, id="every reference cell"),
    pytest.param(gaussian(150, 2058), gaussian(300, 2058, 1), 15, id="wide"),
    pytest.param(gaussian(150, 2058) + 50, gaussian(300, 2058, 1) + 50, 15, id="almost one direction"),
    pytest.param(repeated(60, 33), repeated(200, 33), 30, id="cells that repeat"),
    pytest.param(np.vstack([gaussian(9, 5), zeros(3, 5)]), np.vstack([gaussian(9, 5), zeros(9, 5)]), 18, id="zeros"),
    pytest.param(gaussian(30, 12).astype(np.float64), gaussian(99, 12, 1).astype(np.float64), 9, id="float64"),
    pytest.param(gaussian(30, 12) * 1e-12, gaussian(99, 12, 1) * 1e12, 9, id="short and long"),
]


@pytest.mark.parametrize("queries, reference, k", NEAREST)
def test_distances_are_scikit_learns(queries, reference, k):
    found = se600m.nearest(cells(queries), cells(reference), k=k)
    assert (found.indices.dtype, found.distances.dtype) == (np.int64, np.float64)
    assert found.indices.shape == found.distances.shape == (len(queries), k)
    # In float64: scikit-learn in float32 is off by 1e-6 itself where cells lie in almost one direction.
    queries, reference = queries.astype(np.float64), reference.astype(np.float64)
    want, _ = NearestNeighbors(n_neighbors=k, metric="cosine").fit(reference).kneighbors(queries)
    np.testing.assert_allclose(found.distances, want, rtol=0, atol=1e-6)
    every = cosine_distances(queries, reference)
    np.testing.assert_allclose(found.distances, np.take_along_axis(every, found.indices, 1), rtol=0, atol=1e-6)
    assert all(len(set(row)) == k for row in found.indices)
    ordered = np.lexsort((found.indices, found.distances), axis=-1)
    assert np.array_equal(ordered, np.broadcast_to(np.arange(k), ordered.shape)), "nearest first, ties by the lower row"


def test_distances_are_those_of_float32_in_scikit_learn_too(pbmc):
    adata, reference = pbmc
    x, y = adata.obsm["X_pca"], reference.obsm["X_pca"]
    want, indices = NearestNeighbors(n_neighbors=15, metric="cosine").fit(y).kneighbors(x)
    found = se600m.nearest(adata, reference, use_rep="X_pca")
    np.testing.assert_allclose(found.distances, want, rtol=0, atol=1e-6)
    assert np.array_equal(found.indices, indices)


def test_cells_that_repeat_go_by_their_rows():
    found = se600m.nearest(cells(repeated(10, 33)), cells(repeated(200, 33)), k=30)
    assert np.array_equal(found.indices[:, :20], np.arange(10)[:, None] + np.arange(0, 200, 10))
    assert np.all(found.distances[:, :20] == 0)


def test_within_a_set_a_cell_is_not_its_own_neighbour(pbmc):
    adata, _ = pbmc
    found = se600m.nearest(adata, use_rep="X_pca", k=7)
    want, indices = NearestNeighbors(n_neighbors=7, metric="cosine").fit(adata.obsm["X_pca"]).kneighbors()
    np.testing.assert_allclose(found.distances, want, rtol=0, atol=1e-6)
    assert np.array_equal(found.indices, indices)
    again = se600m.nearest(adata, adata, use_rep="X_pca", k=7)
    assert np.array_equal(again.indices, found.indices)
    others = se600m.nearest(adata, use_rep="X_pca", k=adata.n_obs - 1).indices
    assert np.array_equal(np.sort(others[3]), np.delete(np.arange(adata.n_obs), 3))


def test_threads_and_company_change_nothing():
    queries, reference = gaussian(700, 131) + 3, gaussian(900, 131, 1) + 3
    want = se600m.nearest(cells(queries), cells(reference), threads=1)
    for threads in (None, 2, 5):
        found = se600m.nearest(cells(queries), cells(reference), threads=threads)
        assert np.array_equal(found.indices, want.indices)
        assert np.array_equal(found.distances, want.distances)
    some = se600m.nearest(cells(queries[101:104]), cells(reference))
    assert np.array_equal(some.indices, want.indices[101:104])
    assert np.array_equal(some.distances, want.distances[101:104])


def test_kinds_of_embeddings():
    values = gaussian(40, 6)
    want = se600m.nearest(cells(values), k=5)
    kinds = {
        "DataFrame": pd.DataFrame(values, index=names(40)),
        "column by column": np.asfortranarray(values),
        "strided": np.repeat(values, 2, axis=1)[:, ::2],
        "big-endian": values.astype(">f4"),
        "float64": values.astype(np.float64),
    }
    for kind, embedding in kinds.items():
        found = se600m.nearest(cells(embedding), k=5)
        assert np.array_equal(found.distances, want.distances), kind
    view = cells(np.vstack([values, values]))[:40]
    assert np.array_equal(se600m.nearest(view, k=5).distances, want.distances)


def test_embedded_cells_find_themselves(immune):
    se600m.embed(immune)
    found = se600m.nearest(immune[5:9], immune, k=2)
    assert np.array_equal(found.indices[:, 0], np.arange(5, 9))
    assert np.all(found.distances[:, 0] == 0)


# -- label transfer ----------------------------------------------------------------------------


def similarity(distances):
    return np.maximum(1 - distances, 0)


@pytest.mark.parametrize("weights, theirs", [("uniform", "uniform"), ("similarity", similarity)])
@pytest.mark.parametrize("k", [1, 6, 15])
def test_labels_are_those_of_scikit_learns_classifier(pbmc, weights, theirs, k):
    adata, reference = pbmc
    del adata.obs["bulk_labels"]
    before = snapshot(adata)
    assert se600m.transfer_labels(adata, reference, "bulk_labels", k=k, use_rep="X_pca", weights=weights) is None
    classifier = KNeighborsClassifier(k, metric="cosine", weights=theirs)
    # Its ties go to the lowest class: with codes for classes, that is the first category.
    classifier.fit(reference.obsm["X_pca"], reference.obs["bulk_labels"].cat.codes)
    labels, confidence = adata.obs.pop("bulk_labels"), adata.obs.pop("bulk_labels_confidence")
    assert list(labels.cat.codes) == list(classifier.predict(adata.obsm["X_pca"]))
    assert labels.dtype == reference.obs["bulk_labels"].dtype
    assert confidence.dtype == np.float32
    shares = classifier.predict_proba(adata.obsm["X_pca"]).max(1)
    np.testing.assert_allclose(confidence, shares, rtol=0, atol=1e-6)
    assert_unchanged(adata, before)


def test_labels_are_mostly_right(pbmc):
    adata, reference = pbmc
    se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca", key_added="transferred")
    right = adata.obs["transferred"].astype(str) == adata.obs["bulk_labels"].astype(str)
    sure = adata.obs["transferred_confidence"] > 0.8
    assert right.mean() > 0.7
    assert right[sure].mean() > right[~sure].mean(), "confidence means something"


def test_threads_change_no_label(pbmc):
    adata, reference = pbmc
    results = [
        se600m.transfer_labels(
            adata, reference, "bulk_labels", use_rep="X_pca", key_added="x", weights="similarity", threads=t, copy=True
        ).obs[["x", "x_confidence"]]
        for t in (1, 2, 5)
    ]
    assert results[0].equals(results[1])
    assert results[0].equals(results[2])


def test_copy_and_overwriting(pbmc):
    adata, reference = pbmc
    before = snapshot(adata)
    result = se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca", key_added="new", copy=True)
    assert {"new", "new_confidence"} <= set(result.obs)
    for options in ({}, {"key_added": "bulk_labels"}, {"key_added": "bulk_labels", "copy": True}):
        with pytest.raises(errors.DestinationExistsError, match=r"obs\['bulk_labels'\] exists.*overwrite=True"):
            se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca", **options)
    assert_unchanged(adata, before)
    se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca", overwrite=True)
    assert list(adata.obs["bulk_labels"]) == list(result.obs["new"])
    se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca")  # one's own result, again
    del adata.obs["bulk_labels"]
    with pytest.raises(errors.DestinationExistsError, match=r"obs\['bulk_labels_confidence'\] exists"):
        se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca")


@pytest.mark.parametrize(
    "labels, confidence",
    [
        pytest.param(["a"] * 24, np.full(24, 0.5, np.float32), id="labels that are text"),
        pytest.param(pd.Categorical(["a"] * 24), np.full(24, 0.5), id="float64"),
        pytest.param(pd.Categorical(["a"] * 24), np.full(24, 50, np.float32), id="per cent"),
    ],
)
def test_columns_that_others_wrote_are_told_from_ones_own(labels, confidence):
    adata = labelled(gaussian(24, 4))
    adata.obs["x"], adata.obs["x_confidence"] = labels, confidence
    with pytest.raises(errors.DestinationExistsError, match=r"obs\['x'\] exists"):
        se600m.transfer_labels(adata, labelled(), "t", key_added="x")


def test_labels_for_a_backed_file(tmp_path):
    reference = labelled()
    labelled(gaussian(24, 4)).write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    with pytest.raises(errors.DataError, match=r"view .*backed by a file.*copy=True"):
        view = backed[:5]
        se600m.transfer_labels(view, reference, "t", key_added="x")
    result = se600m.transfer_labels(backed[:5], reference, "t", key_added="x", copy=True)
    se600m.transfer_labels(backed, reference, "t", key_added="x")
    assert list(result.obs["x"]) == list(backed.obs["x"][:5])
    backed.file.close()


def test_labels_survive_a_file(pbmc, tmp_path):
    adata, reference = pbmc
    se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca", key_added="x")
    adata.write_h5ad(tmp_path / "x.h5ad")
    back = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert back.obs["x"].equals(adata.obs["x"])
    assert back.obs["x_confidence"].equals(adata.obs["x_confidence"])


def test_cells_without_a_label_do_not_vote(pbmc):
    adata, reference = pbmc
    missing = np.random.default_rng(0).random(reference.n_obs) < 0.4
    se600m.transfer_labels(adata, reference[~missing], "bulk_labels", use_rep="X_pca", key_added="want")
    reference.obs.loc[missing, "bulk_labels"] = np.nan
    reference.obsm["X_pca"][missing] = np.nan  # they are not even looked at
    se600m.transfer_labels(adata, reference, "bulk_labels", use_rep="X_pca", key_added="got")
    assert list(adata.obs["got"]) == list(adata.obs["want"])
    assert np.array_equal(adata.obs["got_confidence"], adata.obs["want_confidence"])


def test_missing_labels_are_filled_in(pbmc):
    adata, _ = pbmc
    codes = adata.obs["bulk_labels"].cat.codes.to_numpy()
    missing = np.arange(adata.n_obs) % 5 == 0
    adata.obs.loc[missing, "bulk_labels"] = np.nan
    se600m.transfer_labels(adata, adata, "bulk_labels", use_rep="X_pca", key_added="filled")
    embedding = adata.obsm["X_pca"]
    classifier = KNeighborsClassifier(15, metric="cosine").fit(embedding[~missing], codes[~missing])
    assert list(adata.obs["filled"].cat.codes[missing]) == list(classifier.predict(embedding[missing]))


def test_a_cell_has_no_part_in_its_own_vote(pbmc):
    adata, _ = pbmc
    se600m.transfer_labels(adata, adata, "bulk_labels", use_rep="X_pca", key_added="other", k=1)
    found = se600m.nearest(adata, use_rep="X_pca", k=1).indices[:, 0]
    assert list(adata.obs["other"]) == list(adata.obs["bulk_labels"].iloc[found])


def test_ties_go_to_the_first_category():
    x, y = [1.0, 0.0], [0.0, 1.0]
    adata, reference = cells(np.array([[1.0, 1.0]])), cells(np.array([x, y, x, y]))
    reference.obs["t"] = pd.Categorical(["b", "a", "b", "a"], categories=["unused", "b", "a"], ordered=True)
    se600m.transfer_labels(adata, reference, "t", k=4)
    assert adata.obs["t"].iloc[0] == "b"
    assert adata.obs["t"].dtype == reference.obs["t"].dtype
    assert adata.obs["t_confidence"].iloc[0] == 0.5


def test_a_cell_unlike_all_others_gets_no_label_by_similarity():
    adata = cells(np.array([[-1.0, 0.0], [1.0, 0.1]]))
    reference = cells(np.array([[1.0, 0.0]]), t=["a"])
    se600m.transfer_labels(adata, reference, "t", k=1, weights="similarity")
    assert adata.obs["t"].isna().tolist() == [True, False]
    assert adata.obs["t_confidence"].tolist() == [0, 1]


@pytest.mark.parametrize(
    "labels, want",
    [
        pytest.param(["z", "a", "a"], "a", id="text"),
        pytest.param([True, False, False], False, id="bools"),
        pytest.param([7, -3, -3], -3, id="whole numbers"),
        pytest.param(pd.array(["z", "a", None], dtype="string"), "a", id="strings with NA"),
        pytest.param(pd.array([7, -3, None], dtype="Int64"), -3, id="whole numbers with NA"),
        pytest.param(pd.array([True, False, None], dtype="boolean"), False, id="bools with NA"),
        pytest.param(["z", "a", None], "a", id="text with None"),
    ],
)
def test_kinds_of_labels(labels, want, tmp_path):
    adata, reference = cells(np.array([[0.0, 1.0]])), cells(np.array([[1.0, 0.0], [0.1, 1.0], [0.2, 1.0]]))
    reference.obs["t"] = labels
    se600m.transfer_labels(adata, reference, "t", k=1)
    assert adata.obs["t"].iloc[0] == want
    assert isinstance(adata.obs["t"].dtype, pd.CategoricalDtype)
    adata.write_h5ad(tmp_path / "out.h5ad")
    assert anndata.read_h5ad(tmp_path / "out.h5ad").obs["t"].iloc[0] == want


# -- what it says ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*known to the model")  # it knows every second gene
def test_other_models_are_told(immune, random_model):
    other = immune.copy()
    se600m.embed(immune)
    se600m.embed(other, model=random_model(output_dim=se600m.load_model().output_dim).model)
    text = r"adata \(model 'se-mini'\) and reference \(model .*different models.*same model"
    with pytest.warns(errors.DataWarning, match=text) as told:
        se600m.nearest(immune, other)
    assert told[0].filename == __file__
    other.obs["t"] = "a"
    with pytest.warns(errors.DataWarning, match="different models"):
        se600m.transfer_labels(immune, other, "t")
    del other.uns["X_state"]
    se600m.nearest(immune, other)  # nothing is known, nothing is said


def made_with(**noted):
    embedded = cells(gaussian(20, 4))
    embedded.uns["X_state"] = {"model": "m", "model_checksum": "a" * 64, "precision": "fp32", "fill": "shared"} | noted
    embedded.uns["X_state"].setdefault("seed", 0)
    return embedded


@pytest.mark.parametrize(
    "other, says",
    [
        ({"precision": "int8"}, "precision=fp32 and int8"),
        ({"fill": "none"}, "fill=shared and none"),
        ({"seed": 1}, "seed=0 and 1"),
        ({"precision": "bf16", "seed": 7}, "precision=fp32 and bf16, seed=0 and 7"),
    ],
)
def test_other_options_are_told(other, says):
    with pytest.warns(errors.DataWarning, match=f"different options \\({says}\\).*same options") as told:
        se600m.nearest(made_with(), made_with(**other))
    assert [one.filename for one in told if one.category is errors.DataWarning] == [__file__]


@pytest.mark.parametrize("same", [{}, {"share_median": 0.7}, {"threads": 2}, {"provider": "openvino"}])
def test_what_changes_no_numbers_is_not_told(same):
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.DataWarning)
        se600m.nearest(made_with(), made_with(**same))
        se600m.nearest(made_with(fill="expected"), made_with(fill="expected", seed=3))  # it draws nothing


def test_provenance_survives_concatenation(immune):
    """What two halves have in common is kept, and is what nearest compares."""
    halves = [immune[:12].copy(), immune[12:].copy()]
    for half in halves:
        se600m.embed(half, seed=5, expression="counts")
    noted = anndata.concat(halves, uns_merge="same").uns["X_state"]
    for key in ("model", "model_checksum", "precision", "fill", "seed", "expression", "matrix", "gene_column"):
        assert noted[key] == halves[0].uns["X_state"][key], key
    assert noted["min_coverage"] == 0.1


def test_progress(capsys):
    se600m.nearest(cells(gaussian(300, 9)), progress=True)
    shown = capsys.readouterr().err
    assert "Finding nearest cells" in shown
    assert "300/300" in shown
    se600m.nearest(cells(gaussian(300, 9)))
    assert capsys.readouterr().err == "", "no bar where nobody watches"


# -- wrong input: a named error, and nothing has changed ----------------------------------------


def spoiled(value, row=3):
    embedding = gaussian(20, 4)
    embedding[row, 2] = value
    return embedding


def labelled(embedding=None, key="X_state"):
    embedding = gaussian(20, 4) if embedding is None else embedding
    n = len(embedding)
    return cells(embedding, key, t=["a", "b"] * (n // 2), age=np.arange(n) / 3, none=pd.Categorical([None] * n, ["a"]))


def with_model(adata, name):
    adata.uns["X_state"] = {"model": name, "model_checksum": name}
    return adata


WRONG = [
    pytest.param(labelled(), labelled(), {"k": 0}, errors.OptionError, "k=0", id="k, none"),
    pytest.param(labelled(), labelled(), {"k": 2.5}, errors.OptionError, r"k=2\.5", id="k, not whole"),
    pytest.param(labelled(), labelled(), {"k": 21}, errors.OptionError, "k=21 .*reference has 20 ", id="k"),
    pytest.param(labelled(), labelled(), {"threads": 0}, errors.OptionError, "threads=0", id="threads"),
    pytest.param(labelled(), labelled().obs, {}, errors.DataError, "reference .*AnnData.*DataFrame", id="reference"),
    pytest.param(gaussian(20, 4), labelled(), {}, errors.DataError, "adata .*AnnData.*ndarray", id="adata"),
    pytest.param(
        labelled(key="X_pca"), labelled(), {}, errors.DataError,
        r"'X_state' is not in adata\.obsm, which has \['X_pca'\]: create it with se600m\.embed\(adata\)$",
        id="not embedded",
    ),
    pytest.param(
        labelled(key="X_pca"), labelled(), {"use_rep": "X_pca"}, errors.DataError,
        r"'X_pca' is not in reference\.obsm, which has \['X_state'\]: create it with se600m\.embed\(reference, key_added='X_pca'\)$",  # noqa: E501
        id="reference not embedded",
    ),
    pytest.param(
        with_model(labelled(), "one"), with_model(labelled(gaussian(20, 5)), "two"), {}, errors.DataError,
        r"adata\.obsm\['X_state'\] is 4 wide \(model 'one'\), reference.* 5 \(model 'two'\): .*same model", id="widths",
    ),
    pytest.param(
        labelled(spoiled(np.nan)), labelled(), {}, errors.NotFiniteError, r"adata\.obsm.*\[3\] .*'cell 3'", id="NaN",
    ),
    pytest.param(
        labelled(), labelled(spoiled(np.inf, 7)), {}, errors.NotFiniteError, r"reference\.obsm.*\[7\] .*'cell 7'",
        id="infinite",
    ),
    pytest.param(
        labelled(spoiled(0).astype(np.float64) * 1e300), labelled(), {}, errors.NotFiniteError, "infinite as float32",
        id="too large",
    ),
    pytest.param(labelled(gaussian(20, 0)), labelled(), {}, errors.DataError, r"empty: \[20, 0\]", id="no width"),
    pytest.param(labelled()[:0], labelled(), {}, errors.DataError, r"empty: \[0, 4\]", id="no cells"),
    pytest.param(labelled(gaussian(20, 4).astype(complex)), labelled(), {}, errors.DataError, "complex", id="complex"),
    pytest.param(labelled(gaussian(20, 4)[..., None]), labelled(), {}, errors.DataError, r"\[20, 4, 1\]", id="3 axes"),
]  # fmt: skip


@pytest.mark.parametrize("adata, reference, options, error, message", WRONG)
def test_wrong_input(adata, reference, options, error, message):
    with pytest.raises(error, match=message):
        se600m.nearest(adata, reference, **options)
    keys = list(adata.obs) if isinstance(adata, anndata.AnnData) else None
    with pytest.raises(error, match=message):
        se600m.transfer_labels(adata, reference, "t", key_added="x", **options)
    assert keys is None or list(adata.obs) == keys


def test_wrong_sparse():
    adata = labelled()
    adata.obsm["X_state"] = sp.csr_matrix(gaussian(20, 4))
    with pytest.raises(errors.DataError, match=r"sparse: .*toarray\(\)"):
        se600m.nearest(adata)


def test_wrong_k_within_a_set():
    with pytest.raises(errors.OptionError, match=r"k=20 .*adata has 20 cells, and a cell is not its own neighbour"):
        se600m.nearest(labelled(), k=20)


@pytest.mark.parametrize(
    "key, options, error, message",
    [
        pytest.param("type", {}, errors.DataError, r"key='type' is not in reference\.obs, which has \['t', ", id="key"),
        pytest.param("none", {}, errors.DataError, r"no cell .* has a label in reference\.obs\['none'\]", id="none"),
        pytest.param("age", {}, errors.DataError, r"float64.*not labels.*astype\('category'\)", id="numbers"),
        pytest.param("t", {"weights": "gaussian"}, errors.OptionError, "weights='gaussian'.*similarity", id="weights"),
        pytest.param("t", {"key_added": ""}, errors.OptionError, "key_added=''", id="key_added"),
        pytest.param("some", {"k": 4}, errors.OptionError, "k=4 is too large: reference has 3 labelled cells", id="k"),
    ],
)
def test_wrong_transfer(key, options, error, message):
    adata, reference = cells(gaussian(5, 4)), labelled()
    reference.obs["some"] = pd.Categorical(["a"] * 3 + [None] * 17)
    with pytest.raises(error, match=message):
        se600m.transfer_labels(adata, reference, key, **options)
    assert list(adata.obs) == []


def test_transfer_needs_a_reference():
    with pytest.raises(errors.DataError, match=r"reference must be an AnnData.*, not None$"):
        se600m.transfer_labels(labelled(), None, "t")


def test_requests_that_make_no_sense():
    values = gaussian(6, 4)
    with pytest.raises(errors.InternalError, match='"queries" is missing'):
        _native.run("nearest", {})
    rows = {"values": _native.array(values), "width": 4, "numbers": _native.array(np.arange(6))}
    request = {
        "queries": rows,
        "reference": rows,
        "k": 2,
        "leave_out_self": False,
        "threads": 0,
        "indices": _native.array(np.empty(5, np.int64)),
        "distances": _native.array(np.empty(5, np.float64)),
    }
    with pytest.raises(errors.DataError, match="width 0"):
        _native.run("nearest", request | {"reference": rows | {"width": 0}})
    with pytest.raises(errors.InternalError, match='"float64" where "float32" belongs'):
        _native.run("nearest", request | {"queries": rows | {"values": request["distances"]}})
    with pytest.raises(errors.DataError, match="5 numbers for 6 rows"):
        _native.run("nearest", request | {"queries": rows | {"numbers": request["indices"]}})
    with pytest.raises(errors.DataError, match="5 indices and 5 distances, 2 for each of 6 queries are needed"):
        _native.run("nearest", request)


# -- stopping ----------------------------------------------------------------------------------


def test_ctrl_c_stops_in_the_middle_and_leaves_everything(jobs):
    embedding = gaussian(20_000, 2048)
    adata = cells(embedding, t=["a"] * len(embedding))
    jobs.interrupt()
    with pytest.raises(KeyboardInterrupt):
        se600m.transfer_labels(adata, adata, "t", key_added="x")
    assert was_cancelled_in_the_middle(jobs)
    assert list(adata.obs) == ["t"]
    assert _native.version()


# -- embeddings that are not in memory ----------------------------------------------------------


def in_hdf5(values, folder):
    file = h5py.File(folder / f"{len(values)}.h5", "w")
    return file.create_dataset("x", data=values, chunks=(5, values.shape[1]))


def in_zarr(values, folder):
    zarr = pytest.importorskip("zarr")
    path = str(folder / f"{len(values)}.zarr")
    array = zarr.open(path, mode="w", shape=values.shape, chunks=(7, 5), dtype=values.dtype)
    array[:] = values
    return array


def in_dask(values, folder):
    return pytest.importorskip("dask.array").from_array(values, chunks=(13, 9))


def mapped(values, folder):
    np.save(folder / f"{len(values)}.npy", values)
    return np.load(folder / f"{len(values)}.npy", mmap_mode="r")


def as_float64(values, folder):
    return values.astype(np.float64)


KINDS = [in_hdf5, in_zarr, in_dask, mapped, as_float64]


@pytest.fixture(params=[1, 7, 1000])
def block_rows(request, monkeypatch):
    """Embeddings that are not float32 in memory are read in blocks of so many rows."""
    monkeypatch.setattr(_representations, "_BLOCK_VALUES", request.param * 33)
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_change_nothing(kind, block_rows, tmp_path):
    values, other = repeated(21, 33) + gaussian(21, 33, 2) * 1e-4, gaussian(6, 33, 1)
    want = se600m.nearest(cells(other), cells(values), k=9)
    within = se600m.nearest(cells(values), k=9)
    reference = cells(kind(values, tmp_path))
    for found, wanted in (
        (se600m.nearest(cells(other), reference, k=9, threads=2), want),
        (se600m.nearest(cells(kind(other, tmp_path)), reference, k=9), want),
        (se600m.nearest(reference, k=9), within),
    ):
        assert np.array_equal(found.indices, wanted.indices)
        assert np.array_equal(found.distances, wanted.distances)


def test_labels_of_blocks(block_rows, tmp_path):
    values, queries = gaussian(60, 33), gaussian(8, 33, 1)
    missing = np.arange(60) % 3 == 0
    values[missing] = np.nan  # they are not looked at
    labels = pd.Categorical.from_codes(np.where(missing, -1, np.arange(60) % 4), list("abcd"))
    results = []
    for reference in (cells(values), cells(in_hdf5(values, tmp_path))):
        reference.obs["t"] = labels
        adata = cells(queries)
        se600m.transfer_labels(adata, reference, "t", k=7, weights="similarity")
        results.append(adata.obs)
    assert results[0].equals(results[1])


def test_a_lazy_anndata(tmp_path, read_lazy):
    pytest.importorskip("xarray")
    adata = cells(gaussian(50, 6), t=["a", "b"] * 25)
    adata.write_h5ad(tmp_path / "x.h5ad")
    want = se600m.nearest(adata, k=5)
    lazy = read_lazy(tmp_path / "x.h5ad")
    assert np.array_equal(se600m.nearest(lazy, k=5).distances, want.distances)
    assert np.array_equal(se600m.nearest(adata[:20], lazy, k=5).indices[:, 0], np.arange(20))


def test_float32_in_memory_is_not_copied():
    values = gaussian(9, 4)
    ((first, block),) = _representations.Representation(cells(values), "adata", "X_state").blocks()
    assert first == 0
    assert np.shares_memory(block, values)


def test_progress_over_blocks(capsys, monkeypatch):
    monkeypatch.setattr(_representations, "_BLOCK_VALUES", 100 * 9)
    se600m.nearest(cells(gaussian(300, 9).astype(np.float64)), progress=True)
    assert "300/300" in capsys.readouterr().err


def test_a_value_of_a_later_block_that_is_not_finite(block_rows, tmp_path):
    values = gaussian(20, 33)
    values[17, 3] = np.inf
    with pytest.raises(errors.NotFiniteError, match=r"reference\.obsm\['X_state'\]\[17\] .*'cell 17'"):
        se600m.nearest(cells(gaussian(9, 33)), cells(in_hdf5(values, tmp_path)), k=2)
    with pytest.raises(errors.NotFiniteError, match=r"adata\.obsm\['X_state'\]\[17\] .*'cell 17'"):
        se600m.nearest(cells(in_hdf5(values, tmp_path)), k=2)


class Unreadable:
    """An array whose later rows are gone."""

    shape, ndim, dtype = (20, 4), 2, np.dtype(np.float32)

    def __init__(self, act):
        self.act = act

    def __getitem__(self, rows):
        return self.act(gaussian(20, 4)[rows])


def gone(rows):
    raise OSError("Can't synchronously read data (inflate() failed)")


@pytest.mark.parametrize(
    "act, message",
    [
        pytest.param(gone, r"obsm\['X_state'\]: cells 0 to 19 can't be read: it is damaged", id="damaged"),
        pytest.param(lambda rows: rows[1:], r"gave \[19, 4\] .*\[20, 4\] was expected", id="shrunk"),
        pytest.param(sp.csr_matrix, r"is sparse", id="sparse blocks"),
    ],
)
def test_blocks_that_cannot_be_read(act, message):
    adata = cells(gaussian(20, 4))
    representation = _representations.Representation(adata, "adata", "X_state")
    representation._whole, representation._values = None, Unreadable(act)
    with pytest.raises(errors.DataError, match=message):
        list(representation.blocks())


def test_without_onnx_runtime_the_bits_are_the_same(tmp_path):
    """In processes of their own: a process keeps the library that it has loaded."""
    script = (
        "import sys, numpy as np, anndata, se600m\n"
        "values = np.random.default_rng(0).standard_normal((300, 257)).astype('f4')\n"
        "adata = anndata.AnnData(np.zeros((300, 1), 'f4'), obsm={'X_state': values})\n"
        "found = se600m.nearest(adata, k=20)\n"
        "np.savez(sys.argv[1], indices=found.indices, distances=found.distances)\n"
        "print(se600m._native.runtime_library())\n"
    )
    made, loaded = [], []
    for name, library in (("with", None), ("without", "/nowhere/libonnxruntime.so")):
        environment = os.environ if library is None else {**os.environ, "SE600M_ORT_LIBRARY": library}
        command = [sys.executable, "-c", script, str(tmp_path / f"{name}.npz")]
        loaded.append(
            subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
        )
        made.append(np.load(tmp_path / f"{name}.npz"))
    assert loaded[0]
    assert loaded[1] == ""
    assert all(np.array_equal(made[0][part], made[1][part]) for part in ("indices", "distances"))


def test_the_runtime_that_is_loaded_stands_in_the_way_of_no_other(monkeypatch):
    opened = []
    monkeypatch.delenv("SE600M_ORT_LIBRARY", raising=False)
    monkeypatch.setattr(_native, "runtime_library", lambda: "")
    monkeypatch.setattr(_native, "open_runtime", opened.append)
    there = {"cuda": "/cuda.so"}
    monkeypatch.setattr(_library, "_special", there.get)
    _library.open_for_products()
    there["openvino"] = "/openvino.so"
    _library.open_for_products()
    assert opened == ["/cuda.so"], "of two it is for the model to say which"
