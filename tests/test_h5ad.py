"""An embedding is added to a copy of an h5ad file; everything else in the file stays as it is, whatever it is."""

import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from conftest import IMMUNE
from se600m import _h5ad, _outputs, errors
from test_output_files import drafts


def elements(path):
    """Everything in a file: attributes, types, values, and how it is stored."""
    found = {}

    def look(name, item):
        attributes = {k: repr(v) for k, v in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            value = item[()]
            value = value.tolist() if hasattr(value, "tolist") else value
            found[name] = (attributes, str(item.dtype), item.shape, repr(value), item.compression, item.chunks)
        else:
            found[name] = (attributes, "group")

    with h5py.File(path) as file:
        look("/", file)
        file.visititems(look)
    return found


def copy_with(source, target, added):
    """A copy of a file with elements added to it, as an output is put together."""
    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        _outputs.add_to_hdf5(file, _outputs.Result(added.get("obsm", {}), added.get("uns", {})))


def added(path, key="X_state"):
    return {
        name
        for name in elements(path)
        if name.split("/")[:2] in (["obsm", key], ["obsm", f"{key}_dataset"], ["uns", key])
    }


def assert_only_added(source, target, key="X_state"):
    before, after = elements(source), elements(target)
    new = added(target, key)
    assert {f"obsm/{key}", f"uns/{key}"} <= new
    assert {name: after[name] for name in after if name not in new | {"obsm", "uns"}} == {
        name: before[name] for name in before if name not in added(source, key) | {"obsm", "uns"}
    }


def rename_index_of_raw(path):
    """As SeuratDisk writes it: raw/var has a column named _index."""
    with h5py.File(path, "r+") as file:
        var = file["raw/var"]
        names = anndata.io.read_elem(var[var.attrs["_index"]])
        del var[var.attrs["_index"]]
        for name in ("features", "_index"):
            var.create_dataset(name, data=names, dtype=h5py.string_dtype())
            var[name].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        var.attrs["_index"] = "features"
        var.attrs["column-order"] = ["_index"]


def nullable_names(path):
    """As anndata 0.13 writes the names of pandas 3."""
    with h5py.File(path, "r+") as file:
        for part in ("obs", "var", "raw/var"):
            table, column = file[part], file[part].attrs["_index"]
            names = np.asarray(anndata.io.read_elem(table[column]), object)
            del table[column]
            group = table.create_group(column)
            group.attrs.update({"encoding-type": "nullable-string-array", "encoding-version": "0.1.0"})
            group.create_dataset("values", data=names, dtype=h5py.string_dtype())
            group.create_dataset("mask", data=np.zeros(len(names), bool))
            for name, kind in (("values", "string-array"), ("mask", "array")):
                group[name].attrs.update({"encoding-type": kind, "encoding-version": "0.2.0"})


def unknown_elements(path):
    """Encodings of a later version, and elements that are no part of an AnnData."""
    with h5py.File(path, "r+") as file:
        group = file.create_group("from_the_future")
        group.attrs.update({"encoding-type": "hologram", "encoding-version": "9.9.9"})
        group.create_dataset("values", data=np.arange(5), compression="gzip")
        file.create_dataset("note", data="years of work")
        file["soft"] = h5py.SoftLink("/obs")
        file.attrs["mine"] = [1, 2, 3]


def odd_values(path):
    """Categories that no cell has, and codes of none."""
    with h5py.File(path, "r+") as file:
        column = file["obs"].create_group("odd")
        column.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": True})
        column.create_dataset("categories", data=["b", "a", "", "×"], dtype=h5py.string_dtype())
        column["categories"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        column.create_dataset("codes", data=np.array([-1, 3, 0, -1], np.int8))
        column["codes"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        order = list(file["obs"].attrs["column-order"])
        file["obs"].attrs["column-order"] = np.array([*order, "odd"], dtype=h5py.string_dtype())


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adata = anndata.read_h5ad(IMMUNE)[:4].copy()
    adata.raw = adata.copy()
    adata.obsm["X_pca"] = np.ones((4, 3))
    adata.uns["neighbors"] = {"params": {"n_neighbors": 15}}
    adata.write_h5ad("in.h5ad", compression="gzip")
    return Path("in.h5ad")


@pytest.mark.parametrize("spoil", [rename_index_of_raw, nullable_names, odd_values])
def test_everything_else_stays_as_it_is(source, spoil, run):
    spoil(source)
    adata = anndata.read_h5ad(source)
    if spoil is rename_index_of_raw:
        with pytest.raises(ValueError, match="_index"):
            adata.write_h5ad("other.h5ad")  # what this is for
        Path("other.h5ad").unlink(missing_ok=True)
    done = run("embed", source, "out.h5ad")
    assert done.returncode == 0, done.stderr
    assert_only_added(source, "out.h5ad")
    back = anndata.read_h5ad("out.h5ad")
    se600m.embed(adata)
    for name in ("X_state", "X_state_dataset"):
        assert np.array_equal(back.obsm[name], adata.obsm[name])
    assert {k: str(v) for k, v in back.uns["X_state"].items()} == {k: str(v) for k, v in adata.uns["X_state"].items()}
    assert drafts(Path()) == []


def test_what_anndata_cannot_even_read_stays_as_it_is(source):
    unknown_elements(source)
    added = {"obsm": {"X_state": np.ones((4, 96), np.float32)}, "uns": {"X_state": {"model": "m", "seed": 0}}}
    copy_with(source, Path("out.h5ad"), added)
    assert_only_added(source, "out.h5ad")
    with h5py.File("out.h5ad") as file:
        assert isinstance(file.get("soft", getlink=True), h5py.SoftLink)


def test_arrays_are_compressed_as_the_file_is(source):
    anndata.read_h5ad(source).write_h5ad("plain.h5ad")
    for path, compression in ((source, "gzip"), ("plain.h5ad", None)):
        draft = Path("out.h5ad")
        copy_with(Path(path), draft, {"obsm": {"X_state": np.ones((4, 96), np.float32)}})
        with h5py.File(draft) as file:
            assert file["obsm/X_state"].compression == compression
            assert file["obsm/X_state"].attrs["encoding-type"] == "array"


def test_an_earlier_result_is_replaced_and_nothing_of_it_stays(source, run):
    assert run("embed", source, "one.h5ad").returncode == 0
    done = run("embed", "one.h5ad", "two.h5ad", "--with-dataset-embedding", "--seed", 3)
    assert done.returncode == 0, done.stderr
    two = anndata.read_h5ad("two.h5ad")
    assert sorted(two.obsm) == ["X_pca", "X_state"]
    assert two.uns["X_state"]["seed"] == 3
    assert_only_added("one.h5ad", "two.h5ad")


def test_a_file_of_anndata_before_0_7(source):
    """obsm was one table with an array a column; groups had no marks."""
    with h5py.File(source, "r+") as file:
        del file["obsm"]
        table = np.zeros(4, dtype=[("X_pca", np.float32, (3,)), ("X_umap", np.float64, (2,))])
        table["X_pca"], table["X_umap"] = np.arange(12).reshape(4, 3), np.arange(8).reshape(4, 2)
        file.create_dataset("obsm", data=table)
        del file["uns"]
    copy_with(source, Path("out.h5ad"), {"obsm": {"X_state": np.ones((4, 2))}, "uns": {"X_state": {"a": 1}}})
    back = anndata.read_h5ad("out.h5ad")
    assert sorted(back.obsm) == ["X_pca", "X_state", "X_umap"]
    assert np.array_equal(back.obsm["X_pca"], np.arange(12).reshape(4, 3))
    assert back.uns["X_state"]["a"] == 1


def test_a_file_that_is_linked_to_is_not_written_into(source):
    with h5py.File("other.h5", "w") as file:
        file.create_group("shared").create_dataset("X_umap", data=np.ones((4, 2)))
    with h5py.File(source, "r+") as file:
        del file["obsm"]
        file["obsm"] = h5py.ExternalLink("other.h5", "/shared")
    before = Path("other.h5").read_bytes()
    copy_with(source, Path("out.h5ad"), {"obsm": {"X_state": np.ones((4, 2))}})
    assert Path("other.h5").read_bytes() == before
    with h5py.File("out.h5ad") as file:
        assert sorted(file["obsm"]) == ["X_state", "X_umap"]


def test_which_files_are_h5ad(source, tmp_path):
    assert _h5ad.is_h5ad(source)
    (tmp_path / "text.h5ad").write_text("hello")
    with h5py.File("10x.h5", "w") as file:
        file.create_group("matrix")
    with h5py.File("multi.h5mu", "w") as file:
        file.attrs["encoding-type"] = "MuData"
        file.create_group("obs")
        file.create_group("var")
    for name in ("text.h5ad", "10x.h5", "multi.h5mu", "none.h5ad", "."):
        assert not _h5ad.is_h5ad(Path(name))


# -- what anndata writes itself --------------------------------------------------------------------


def mixed(adata):
    adata.obs["mixed"] = pd.Series([1, "a", None, b"b"], index=adata.obs_names, dtype=object)


def index_column_of_raw(adata):
    raw = adata.copy()
    raw.var["_index"] = raw.var_names
    adata.raw = raw


def not_storable(adata):
    adata.uns["plot"] = {"figure": object()}


@pytest.mark.parametrize("spoil, names", [(mixed, "mixed"), (index_column_of_raw, "_index"), (not_storable, "figure")])
def test_what_anndata_cannot_write_is_found_beforehand(spoil, names):
    adata = anndata.AnnData(sp.random(4, 5, 0.5, "csr", np.float32))
    adata.obs["cluster"] = ["a", "b", "a", "b"]
    _h5ad.check_writable(adata)
    spoil(adata)
    before = list(adata.obs)
    with pytest.raises(errors.DestinationError, match=rf"anndata can't write .*{names}.*\.npy"):
        _h5ad.check_writable(adata)
    assert list(adata.obs) == before
    assert adata.obs["cluster"].dtype != "category", "it is as it was"


def test_decode_finds_that_beforehand(source, monkeypatch):
    from se600m import _decode_files

    obs = pd.DataFrame({"mixed": pd.Series([1, "a"], dtype=object)})
    obs.index = ["0", "1"]
    embedded = _decode_files.Embedded(np.zeros((2, 106), np.float32), None, obs, Path("in.h5ad"), None)
    with pytest.raises(errors.DestinationError, match="anndata can't write"):
        _decode_files.check(embedded, ["LYZ"], Path("out.h5ad").resolve())
    _decode_files.check(embedded, ["LYZ"], Path("out.npy").resolve())
