"""Files that stay on the disk: every kind of input into every kind of output, and everything else stays as it is."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata.io import read_elem

import se600m
from conftest import need_zarr
from se600m import _copying, _inputs, _resumable, _stored, _trees, errors
from se600m._journal import Journal
from se600m._options import CellOptions
from test_h5ad import elements, nullable_names, odd_values, rename_index_of_raw, unknown_elements

N = 24


def tree(path):
    """Everything in an HDF5 file or a zarr store: attributes, types and values, as far as both have them."""
    found = {}

    def plain(value):
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        if isinstance(value, np.ndarray) and not value.ndim:
            return plain(value.item())
        if isinstance(value, np.ndarray | list):
            return [plain(v) for v in (value.tolist() if isinstance(value, np.ndarray) else value)]
        return value.item() if isinstance(value, np.generic) else value

    def look(group, name):
        attributes = {k: plain(v) for k, v in group.attrs.items()}
        if attributes.get("encoding-type") == "null":
            found[name] = attributes
            return
        if hasattr(group, "shape"):
            kind = "table" if group.dtype.names else "text" if group.dtype.kind in "OTU" else str(group.dtype)
            found[name] = (attributes, kind, tuple(group.shape), plain(group[()]))
            return
        found[name] = attributes
        for key in group:
            look(group[key], f"{name}/{key}")

    if Path(path).is_dir():
        look(need_zarr().open_group(str(path), mode="r", use_consolidated=False), "")
    else:
        with h5py.File(path) as file:
            look(file, "")
    return found


def others(path, key="X_state"):
    """Everything but what was added."""
    ours = (f"/obsm/{key}", f"/obsm/{key}_dataset", f"/uns/{key}")
    return {name: what for name, what in tree(path).items() if not name.startswith(ours)}


@pytest.fixture(scope="session")
def made(random_model):
    """A small model."""
    return random_model(nlayers=1, pad_length=64)


@pytest.fixture(scope="session")
def cells(_immune):
    """24 cells × 600 genes with a layer, .raw and elements of many encodings."""
    adata = _immune[:N, :600].copy()
    adata.obs = pd.DataFrame(
        {"type": pd.Categorical(["a", "b"] * 12), "n": np.arange(N), "nullable": pd.array([1, None] * 12, "Int64")},
        index=[f"cell {i} ä" for i in range(N)],
    )
    adata.raw = adata.copy()
    adata.layers["dense"] = adata.X.toarray()
    adata.layers["by column"] = sp.csc_matrix(adata.X)
    adata.obsm["X_pca"] = np.ones((N, 3))
    adata.obsp["distances"] = sp.identity(N, format="csr")
    if tuple(map(int, anndata.__version__.split(".")[:2])) >= (0, 12):
        adata.uns["log1p"] = {"base": None}  # older versions can't write that
    adata.uns["rank_genes_groups"] = {
        "names": np.rec.fromarrays([["MS4A1", "CD79A"], ["LYZ", "é"]], names=["a", "b"]),
        "scores": np.rec.fromarrays([[1.5, 0.5], [2.5, 1.0]], names=["a", "b"]),
    }
    adata.uns |= {"neighbors": {"params": {"n": 15, "metric": "cosine"}}, "colors": np.array(["red", "blue"])}
    return adata


@pytest.fixture
def want(made, cells):
    return made.model.embed(cells, copy=True).obsm["X_state"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(adata, path):
    if path.endswith(".h5ad"):
        adata.write_h5ad(path)
        return
    zarr = need_zarr()
    version = 2 if "v2" in path else 3
    with (
        zarr.config.set({"default_zarr_format": version}),
        anndata.settings.override(zarr_write_format=version),
    ):
        adata.write_zarr(path)


def embedding(path, key="X_state"):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".parquet":
        return np.stack(pd.read_parquet(path)[key])
    return (anndata.read_h5ad if path.suffix == ".h5ad" else anndata.read_zarr)(path).obsm[key]


def embed(made, src, dst=None, **options):
    return se600m.embed_file(src, dst, model=made.model, progress=False, **options)


# -- every input, every output -----------------------------------------------------------------------


@pytest.mark.parametrize("source", ["in.h5ad", "in-v2.zarr", "in-v3.zarr"])
def test_every_output_of_every_input(folder, made, cells, want, source):
    write(cells, source)
    before = others(source)
    outputs = ["out.npy", "out.h5ad", "out.parquet"]
    if importlib.util.find_spec("zarr") is not None:
        outputs.append("out.zarr")
    for out in outputs:
        done = embed(made, source, out, memory="5kB")
        assert done.report["chunks"] > 2
        assert np.array_equal(embedding(done.path), want)
        if out.endswith((".h5ad", ".zarr")):
            assert others(out) == before
            back = anndata.read_h5ad(out) if out.endswith(".h5ad") else anndata.read_zarr(out)
            pd.testing.assert_frame_equal(back.obs, cells.obs)
            assert back.uns["X_state"]["model"] == made.model.name
    assert others(source) == before
    table = pd.read_parquet("out.parquet")
    assert list(table.columns) == ["obs_names", "X_state", "X_state_dataset"]
    assert list(table["obs_names"]) == list(cells.obs_names)
    assert not [p for p in os.listdir(folder) if "partial" in p or "unfinished" in p]


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_in_place(folder, made, cells, want, kind):
    source = f"in.{kind}"
    write(cells, source)
    before = others(source)
    done = embed(made, source, in_place=True)
    assert done.path == folder / source
    assert np.array_equal(embedding(done.path), want)
    assert others(source) == before
    again = embed(made, source, in_place=True, key_added="second")
    assert np.array_equal(embedding(again.path, "second"), want)
    assert os.listdir(folder) == [source]


@pytest.mark.parametrize("spoil", [rename_index_of_raw, nullable_names, odd_values, unknown_elements])
def test_what_others_wrote_is_carried_over(folder, made, cells, want, spoil):
    write(cells, "in.h5ad")
    spoil(Path("in.h5ad"))
    before = elements("in.h5ad")
    for out in ("out.h5ad", None):
        embed(made, "in.h5ad", out, in_place=out is None)
        after = elements(out or "in.h5ad")
        assert {k: v for k, v in after.items() if k in before} == before
        with h5py.File(out or "in.h5ad") as file:
            assert np.array_equal(file["obsm/X_state"][()], want)


def test_names_of_cells_as_pandas_3_has_them(folder, made, cells, monkeypatch):
    """They are read where they are asked for; missing ones are read, too."""
    write(cells, "in.h5ad")
    nullable_names(Path("in.h5ad"))
    with monkeypatch.context() as patch:
        patch.setattr(_stored, "read_elem", lambda *_: pytest.fail("all names were loaded"))
        with _stored.Stored("in.h5ad") as stored:
            assert stored.obs_names[3:6] == list(cells.obs_names[3:6])
            digest = stored.obs_names.digest()
    with h5py.File("in.h5ad", "r+") as file:
        file["obs"][file["obs"].attrs["_index"]]["mask"][1] = True
    with _stored.Stored("in.h5ad") as stored:
        assert stored.obs_names[2] == cells.obs_names[2]
        assert stored.obs_names.digest() != digest
    embed(made, "in.h5ad", "out.parquet")
    assert list(pd.read_parquet("out.parquet")["obs_names"][2:]) == list(cells.obs_names[2:])


def test_elements_that_zarr_does_not_know_are_carried_over(folder, made, cells, want):
    zarr = need_zarr()
    write(cells, "in.zarr")
    group = zarr.open_group("in.zarr").create_group("hologram")
    group.attrs.update({"encoding-type": "hologram", "encoding-version": "9.9.9", "nested": {"a": [1, 2]}})
    before = others("in.zarr")
    embed(made, "in.zarr", "out.zarr")
    assert others("out.zarr") == before
    with pytest.raises(errors.DestinationError, match=r"/hologram can't be written in HDF5: .*of IN's own kind"):
        embed(made, "in.zarr", "out.h5ad")
    assert sorted(os.listdir(folder)) == ["in.zarr", "out.zarr"]


def test_an_address(folder, made, cells, want):
    zarr = need_zarr()
    pytest.importorskip("fsspec")
    cells.write_zarr(zarr.open_group("memory://bucket/cells.zarr", mode="w").store)
    embed(made, "memory://bucket/cells.zarr", "out.h5ad")
    assert np.array_equal(embedding(folder / "out.h5ad"), want)
    pd.testing.assert_frame_equal(anndata.read_h5ad("out.h5ad").obs, cells.obs)
    with pytest.raises(errors.DataError, match="can't be opened as zarr"):
        embed(made, "memory://bucket/nothing.zarr", "other.npy")


@pytest.mark.parametrize("options", [{"layer": "dense"}, {"layer": "by column"}, {"use_raw": True}], ids=str)
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_matrices(folder, made, cells, want, kind, options):
    adata = cells.copy()
    adata.X = None
    write(adata, f"in.{kind}")
    done = embed(made, f"in.{kind}", "out.npy", memory="100kB", **options)
    assert np.array_equal(embedding(done.path), want)
    with pytest.raises(errors.DataError, match=r"adata\.X is None"):
        embed(made, f"in.{kind}", "other.npy")


def test_the_same_as_in_memory(folder, made, cells):
    """Options, provenance, other features, the dataset embedding in the last columns."""
    adata = cells.copy()
    adata.var["feature_types"] = ["Gene Expression"] * 500 + ["Antibody Capture"] * 100
    for options in (
        {"seed": 3, "fill": "independent"},
        {"with_dataset_embedding": True, "key_added": "X_se", "expression": "counts"},
    ):
        write(adata, "in.h5ad")
        embed(made, "in.h5ad", "out.h5ad", overwrite=True, memory="20kB", **options)
        back, memory = anndata.read_h5ad("out.h5ad"), made.model.embed(adata, copy=True, **options)
        key = options.get("key_added", "X_state")
        assert sorted(back.obsm) == sorted(memory.obsm)
        assert all(np.array_equal(back.obsm[name], memory.obsm[name]) for name in memory.obsm)
        assert {k: str(v) for k, v in back.uns[key].items()} == {k: str(v) for k, v in memory.uns[key].items()}


def test_what_an_earlier_run_left_is_replaced(folder, made, cells):
    write(cells, "in.h5ad")
    embed(made, "in.h5ad", in_place=True)
    embed(made, "in.h5ad", in_place=True, with_dataset_embedding=True)
    assert sorted(anndata.read_h5ad("in.h5ad").obsm) == ["X_pca", "X_state"]
    with pytest.raises(errors.DestinationExistsError, match=r"obsm\['X_pca'\] exists"):
        embed(made, "in.h5ad", in_place=True, key_added="X_pca")


def test_warnings_and_the_report(folder, made, cells):
    adata = cells.copy()
    adata.X = sp.csr_matrix(-adata.X)
    write(adata, "in.h5ad")
    with pytest.warns(errors.DataWarning, match="negative values"):
        done = embed(made, "in.h5ad", "out.npy", report="run.json")
    written = json.loads(Path("run.json").read_text())
    assert written == json.loads(json.dumps(done.report))
    assert any("negative values" in text for text in written["warnings"])
    assert (written["n_cells"], done.n_columns) == (N, made.model.output_dim)
    assert written["provenance"]["n_negative_cells"] == N
    with pytest.raises(errors.NotFiniteError, match=r"adata\.X\[2, 5\] \(cell 'cell 2 ä', gene '.*'\) is NaN"):
        x = cells.X.toarray()
        x[2, 5] = np.nan
        adata.X = x
        write(adata, "nan.h5ad")
        embed(made, "nan.h5ad", "nan.npy", memory="10kB")
    assert not Path("nan.npy.partial").exists()


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "memory, n_bytes", [(1, 1), ("512MB", 512 * 10**6), ("2 GiB", 2 << 30), ("1.5k", 1500), ("0.5 gb", 5 * 10**8)]
)
def test_amounts_of_memory(memory, n_bytes):
    assert _resumable.memory_of(memory) == n_bytes


@pytest.mark.parametrize("memory", [0, -1, True, None, "much", "5 apples", "0MB", "9" * 400, 1 << 90])
def test_what_is_no_amount_of_memory(memory):
    with pytest.raises(errors.OptionError, match="is not an amount of memory"):
        _resumable.memory_of(memory)


def test_rows_that_are_full_are_read_in_smaller_chunks(folder, cells):
    """Their number follows from indptr."""
    full = sp.vstack([sp.csr_matrix((10, 600), dtype=np.float32), np.ones((10, 600), np.float32)], format="csr")
    anndata.AnnData(full, var=cells.var).write_h5ad("in.h5ad")
    given = _inputs.read("in.h5ad")
    source = given.expression(CellOptions(), 600 * 8 * 2, 0)
    assert [chunk.n_cells for _, chunk in source.chunks()] == [12, 2, 2, 2, 2]
    source = given.expression(CellOptions(), 600 * 8 * 2, 600 * 8)  # results count, too
    assert max(chunk.n_cells for _, chunk in source.chunks()) == 2
    given.close()


BIG = """
    import sys
    import se600m
    model = se600m.load_model(sys.argv[1])
    se600m.embed_file("small.h5ad", "small.npy", model=model)
    before = se600m.embed_file("small.h5ad", "again.npy", model=model).report["peak_memory_bytes"]
    big = se600m.embed_file("big.h5ad", "big.npy", model=model, memory="32MB")
    print((big.report["peak_memory_bytes"] - before) / 1e6)
"""


def test_memory_is_bounded(folder, made, cells):
    """240 MB of values are read with 32 MB of memory for them, and some for what works on them."""
    assert made.model.directory.exists()
    write(cells, "small.h5ad")
    n, per_row = 60_000, 500
    with h5py.File("big.h5ad", "w") as file, h5py.File("small.h5ad") as small:
        small.copy("var", file)
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        anndata.io.write_elem(file, "obs", pd.DataFrame(index=[str(i) for i in range(n)]))
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n, 600]})
        x["indptr"] = np.arange(n + 1) * per_row
        data = x.create_dataset("data", (n * per_row,), np.float32)
        indices = x.create_dataset("indices", (n * per_row,), np.int32)
        for first in range(0, n * per_row, 10_000 * per_row):
            data[first : first + 10_000 * per_row] = 1
            indices[first : first + 10_000 * per_row] = np.tile(np.arange(per_row, dtype=np.int32), 10_000)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BIG), str(made.folder)],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 120


# -- inputs that are no files to stream ---------------------------------------------------------------


def test_files_that_are_read_into_memory(folder, made, cells, want):
    """MuData, here; its modality is written as an h5ad file or a zarr store of its own."""
    with h5py.File("in.h5mu", "w") as file:
        file.attrs["encoding-type"] = "MuData"
        anndata.io.write_elem(file.create_group("mod"), "rna", cells)
    for out in ("out.h5ad", "out.npy", "out.parquet"):
        assert np.array_equal(embedding(embed(made, "in.h5mu", out).path), want)
    embed(made, "in.h5mu", "shard.npz", shard=(1, 2), modality="rna")
    with pytest.raises(errors.OptionError, match=r"in_place=True, but .* is not an h5ad file or a zarr store"):
        embed(made, "in.h5mu", in_place=True)


def test_damaged_matrices(folder, made, cells):
    write(cells, "in.h5ad")
    with h5py.File("in.h5ad", "r+") as file:
        file["X/indptr"][3] = file["X/indptr"][5]
    with pytest.raises(errors.DataError, match=r"adata\.X is damaged: its indptr does not rise"):
        embed(made, "in.h5ad", "out.npy")
    write(cells, "in.h5ad")
    with h5py.File("in.h5ad", "r+") as file:
        file["X"].attrs["shape"] = [N, 5]
    with pytest.raises(errors.DataError, match=r"damaged: adata\.X is 24 × 5, but there are 24 cells and 600 genes"):
        embed(made, "in.h5ad", "out.npy")


def test_a_zarr_store_keeps_its_metadata_together_if_it_did(folder, made, cells):
    zarr = need_zarr()
    write(cells, "in.zarr")
    for together in (True, False):
        if together:
            zarr.consolidate_metadata("in.zarr")
        else:
            write(cells, "other.zarr")
        source = "in.zarr" if together else "other.zarr"
        had = _trees.is_consolidated(Path(source))
        embed(made, source, "out.zarr", overwrite=True)
        assert _trees.is_consolidated(Path("out.zarr")) == had
        assert "X_state" in anndata.read_zarr("out.zarr").obsm


def test_a_copy_of_a_file(folder, monkeypatch):
    monkeypatch.setattr(_copying, "_BLOCK", 1000)
    Path("one").write_bytes(os.urandom(10_001))
    with _copying.Copy(Path("one"), Path("two")) as copy:
        assert copy.finish().read_bytes() == Path("one").read_bytes()
        os.replace("two", "three")
    assert sorted(os.listdir()) == ["one", "three"]
    with _copying.Copy(Path("one"), Path("two")) as copy:
        pass
    assert sorted(os.listdir()) == ["one", "three"], "nobody took it"
    with _copying.Copy(Path("none"), Path("two")) as copy, pytest.raises(FileNotFoundError):
        copy.finish()


def test_a_disk_on_which_the_copy_has_no_room(folder, made, cells, want, monkeypatch):
    """It is found out about with the next rows, which are kept."""
    write(cells, "in.h5ad")
    failed = threading.Event()

    def full(*_):
        failed.set()
        raise OSError(28, "No space left on device")

    append = Journal.append

    def appended(self, values):
        append(self, values)
        assert failed.wait(20)
        time.sleep(0.05)

    with monkeypatch.context() as patch:
        patch.setattr(os, "sendfile", full)
        patch.setattr(Journal, "append", appended)
        with pytest.raises(
            errors.DestinationError, match=r"out\.h5ad', which could not be .*: No space left .*are kept in"
        ):
            embed(made, "in.h5ad", "out.h5ad", memory="5kB")
    assert 0 < embed(made, "in.h5ad", "out.h5ad", resume=True).report["resumed_from"] < N
    assert np.array_equal(embedding(folder / "out.h5ad"), want)
    assert sorted(os.listdir()) == ["in.h5ad", "out.h5ad"]


def test_parquet_without_its_package(folder, made, cells, monkeypatch):
    write(cells, "in.h5ad")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(errors.MissingPackageError, match=r"pip install 'se600m-go\[parquet\]'"):
        embed(made, "in.h5ad", "out.parquet")


def test_old_files(folder, made, cells, want):
    write(cells, "in.h5ad")
    with h5py.File("in.h5ad", "r+") as file:
        del file.attrs["encoding-type"], file.attrs["encoding-version"]  # as anndata 0.7 writes it
        del file["layers/dense"].attrs["encoding-type"], file["layers/dense"].attrs["encoding-version"]
    assert np.array_equal(embedding(embed(made, "in.h5ad", "dense.npy", layer="dense").path), want)
    with h5py.File("in.h5ad", "r+") as file:
        file.move("X", "elsewhere")
        x = file.create_group("X")  # as versions before
        for name in ("data", "indices", "indptr"):
            x[name] = file["elsewhere"][name]
        del file["elsewhere"]
        x.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": [N, 600]})
    assert _stored.opened("in.h5ad") is None
    given = _inputs.read("in.h5ad")
    assert given.in_memory.shape == cells.shape
    assert given.is_h5ad


# -- sentences and predictions -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_sentences(folder, made, cells, kind):
    write(cells, f"in.{kind}")
    want = made.model.tokenize(cells)
    done = se600m.tokenize_file(f"in.{kind}", "out.npz", model=made.model, memory="10kB")
    assert done.report["chunks"] > 2
    assert (done.n_cells, done.n_slots, done.fill) == (*want.gene_indices.shape, want.fill)
    with np.load("out.npz") as arrays:
        assert sorted(arrays.files) == ["expression_values", "gene_indices", "lengths", "multiplicity"]
        for name in arrays.files:
            assert np.array_equal(arrays[name], getattr(want, name))
            assert arrays[name].dtype == getattr(want, name).dtype


def test_predictions_of_embeddings_that_stay_on_the_disk(folder, made, cells, monkeypatch):
    from se600m import _decode_files

    need_zarr()
    monkeypatch.setattr("se600m._decode._CHUNK_VALUES", 100)
    write(cells, "in.h5ad")
    embed(made, "in.h5ad", "apart.h5ad")
    embed(made, "in.h5ad", "apart.zarr")
    genes = made.genes[:3]
    memory = made.model.embed(cells, copy=True)
    want = made.model.decode(memory.obsm["X_state"], genes, dataset_embedding=memory.obsm["X_state_dataset"])
    for source in ("apart.h5ad", "apart.zarr"):
        embedded = _decode_files.read(Path(source), "X_state", None, with_obs=True)
        assert not isinstance(embedded.embedding, np.ndarray)
        pd.testing.assert_frame_equal(pd.DataFrame(read_elem(embedded.obs)), cells.obs)
        for out in (folder / "out.npy", folder / "out.h5ad"):
            _decode_files.check(embedded, genes, out)
            _decode_files.write(made.model, embedded, genes, out)
        assert np.array_equal(np.load("out.npy"), want)
        assert np.array_equal(anndata.read_h5ad("out.h5ad").X, want)
    with pytest.raises(errors.DataError, match=r"obsm has no 'X_other', only \['X_pca', 'X_state'"):
        _decode_files.read(Path("apart.h5ad"), "X_other", None, with_obs=False)


def test_attributes_are_written_without_the_lock_of_h5py(tmp_path):
    """zarr writes in threads, which may free objects of h5py; they would wait for the lock, and zarr for them."""

    class Target:
        def __init__(self):
            self.attrs = self
            self.written = {}

        def __setitem__(self, key, value):
            def free():
                with h5py._objects.phil:
                    self.written[key] = value

            thread = threading.Thread(target=free, daemon=True)
            thread.start()
            thread.join(30)
            assert key in self.written

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs.update({"a": "b", "c": "d"})
        target = Target()
        _trees._copy_attributes(file, target)
    assert target.written == {"a": "b", "c": "d"}
