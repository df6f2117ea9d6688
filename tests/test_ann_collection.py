"""Collections of AnnDatas: each gets the rows that it has alone, or none gets any."""

import numpy as np
import pytest
from anndata.experimental import AnnCollection

import se600m
from se600m import _cells, errors


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
