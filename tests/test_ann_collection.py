"""Collections of AnnDatas: each gets the rows that it has alone, or none gets any."""

import itertools

import numpy as np
import pytest
from anndata.experimental import AnnCollection

import se600m
from se600m import _ann_collection, _cells, _destination, errors


@pytest.fixture(scope="module")
def model(random_model):
    return random_model(nlayers=1, pad_length=64).model


@pytest.fixture
def adatas(immune):
    """Two AnnDatas, whose genes stand in different orders."""
    return [immune[:6, :600].copy(), immune[6:10, 599::-1].copy()]


@pytest.mark.parametrize("joined", [None, "inner"])
def test_each_part_has_its_rows(adatas, model, joined):
    adatas[0].obsm["X_pca"] = np.zeros((6, 2))
    adatas[1].obsm["X_pca"] = np.zeros((4, 2))
    collection = AnnCollection(adatas, join_vars="inner", join_obsm=joined)
    want = [model.compute(adata, fill="independent").embedding for adata in adatas]
    se600m.embed(collection, model=model, fill="independent")
    for adata, rows in zip(adatas, want, strict=True):
        assert np.array_equal(adata.obsm["X_state"], rows)
        assert adata.uns["X_state"]["fill"] == "independent"
    if joined == "inner":
        assert np.array_equal(collection.obsm["X_state"], np.vstack(want))
        assert collection.obsm["X_state_dataset"].shape == (10, model.dataset_dim)
    again = AnnCollection(adatas, join_vars="inner")
    assert np.array_equal(again[4:8].obsm["X_state"], np.vstack(want)[4:8])


def test_all_or_nothing(adatas, model, monkeypatch):
    collection = AnnCollection(adatas, join_vars="inner")
    embed, calls = _cells.embed, []

    def stops(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return embed(*args)

    monkeypatch.setattr(_cells, "embed", stops)
    with pytest.raises(KeyboardInterrupt):
        model.embed(collection)
    assert all("X_state" not in adata.obsm for adata in adatas)


def content(collection):
    """All that writing may change: names and what they stand for."""
    parts = [part for adata in collection.adatas for part in (adata.obsm, adata.uns)]
    return [dict(part) for part in [*parts, collection.obsm]]


def same(now, before):
    return all(a.keys() == b.keys() and all(a[key] is b[key] for key in a) for a, b in zip(now, before, strict=True))


@pytest.fixture
def written(adatas, model):
    """A collection that was embedded once, and results of another run, without dataset embeddings."""
    adatas[0].obsm["X_pca"], adatas[1].obsm["X_pca"] = np.zeros((6, 2)), np.zeros((4, 2))
    collection = AnnCollection(adatas, join_vars="inner", join_obsm="inner")
    se600m.embed(collection, model=model)
    other = [model.compute(adata, fill="independent", seed=4) for adata in adatas]
    return collection, [(one.embedding, None, one.provenance | {"with_dataset_embedding": False}) for one in other]


def test_writing_that_is_interrupted_anywhere_changes_nothing(written, monkeypatch):
    collection, made = written
    before, present = content(collection), _destination._present

    def interrupted(*args):
        if next(counted) == moment:
            raise KeyboardInterrupt
        return present(*args)

    monkeypatch.setattr(_destination, "_present", interrupted)
    for moment in range(100):
        counted = itertools.count()
        try:
            _ann_collection.write(collection, "X_state", made)
        except KeyboardInterrupt:
            assert same(content(collection), before), moment
        else:
            break
    assert moment == 8, "two AnnDatas and the joined rows: keys of obsm and uns, and one that goes"
    for adata, one in zip(collection.adatas, made, strict=True):
        assert adata.obsm["X_state"] is one[0] and "X_state_dataset" not in adata.obsm
    assert np.array_equal(collection.obsm["X_state"], np.vstack([one[0] for one in made]))
    assert "X_state_dataset" not in collection.obsm, "that of the earlier run"


def test_what_was_computed_is_kept_if_it_can_not_be_written(written, monkeypatch, tmp_path):
    collection, made = written
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = content(collection)
    made[1] = (made[1][0][:3], *made[1][1:])  # rows that do not fit
    with pytest.raises(errors.DestinationError, match=r"of the AnnDatas of a collection could not.*saved in") as raised:
        _ann_collection.write(collection, "X_state", made)
    assert same(content(collection), before)
    (kept,) = tmp_path.glob("*.npy")
    assert str(kept) in str(raised.value)
    assert np.array_equal(np.load(kept), np.vstack([one[0] for one in made]))


def test_joined_rows_of_others_are_not_replaced(written, model):
    collection, _ = written
    se600m.embed(collection, model=model, seed=3)  # its own are
    collection.obsm["X_state"] = theirs = np.ones((10, 3))
    with pytest.raises(
        errors.DestinationExistsError, match=r"collection\.obsm\['X_state'\] exists and has been changed"
    ):
        se600m.embed(collection, model=model)
    collection.obsm["X_mine"] = theirs
    with pytest.raises(errors.DestinationExistsError, match=r"collection\.obsm\['X_mine'\] exists.*overwrite=True"):
        se600m.embed(collection, model=model, key_added="X_mine")
    assert collection.obsm["X_state"] is theirs and collection.obsm["X_mine"] is theirs
    se600m.embed(collection, model=model, key_added="X_mine", overwrite=True)
    want = np.vstack([adata.obsm["X_mine"] for adata in collection.adatas])
    assert np.array_equal(collection.obsm["X_mine"], want)


def test_joined_rows_of_dask_arrays_are_not_computed(adatas, model):
    da = pytest.importorskip("dask.array")
    lazy = [adata.copy() for adata in adatas]
    for adata in lazy:
        adata.obsm["X_pca"] = np.zeros((adata.n_obs, 2))
        adata.X = da.from_array(adata.X, chunks=(3, adata.n_vars), asarray=False)
    collection = AnnCollection(lazy, join_vars="inner", join_obsm="inner")
    se600m.embed(collection, model=model)
    assert isinstance(collection.obsm["X_state"], da.Array)
    want = np.vstack([model.compute(adata).embedding for adata in adatas])
    assert np.array_equal(collection.obsm["X_state"].compute(scheduler="sync"), want)


def test_what_is_wrong_is_found_first(adatas, model, immune, monkeypatch):
    monkeypatch.setattr(_cells, "embed", lambda *_: pytest.fail("the model ran"))
    collection = AnnCollection(adatas, join_vars="inner")
    with pytest.raises(errors.OptionError, match="copy=True, but a collection"):
        se600m.embed(collection, model=model, copy=True)
    with pytest.raises(errors.DataError, match="embed the collection itself"):
        se600m.embed(collection[:3], model=model)
    with pytest.raises(errors.SE600MError, match="only embed takes a collection"):
        model.tokenize(collection)
    adatas[1].obsm["X_other"] = np.ones((4, 3))
    with pytest.raises(errors.DestinationExistsError, match="X_other"):
        model.embed(collection, key_added="X_other")
    small = AnnCollection([adatas[0], immune[10:12, :40].copy()], join_vars="inner")
    with pytest.raises(
        errors.OptionError, match="'shared' for AnnData 0 of the collection and 'expected' for AnnData 1"
    ):
        model.embed(small)
