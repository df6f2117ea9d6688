"""Predictions from file to file: what is read stays on the disk, and tables of cells are copied as they are."""

from contextlib import closing
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

import se600m
from conftest import need_zarr
from se600m import _decode_files, _resumable, errors
from se600m._journal import Journal

GENES = ["MS4A1", "CD3D", "LYZ"]


@pytest.fixture(scope="module")
def model():
    return se600m.load_model()


@pytest.fixture
def embedded(immune, model):
    """Cells with a table of many types, and their embedding with the dataset embedding beside it."""
    adata = immune[:9].copy()
    adata.obs = pd.DataFrame(
        {
            "type": pd.Categorical(["T", "B", None] * 3, ["T", "B", "NK"]),
            "id": pd.array([2**60 + 1, None, 3] * 3, "Int64"),
            "share": np.linspace(0, 1, 9, dtype=np.float32),
            "text": [f"é {i}" for i in range(9)],
        },
        index=[f"cell {i}" for i in range(9)],
    )
    model.embed(adata)
    return adata


@pytest.fixture
def unmapped(monkeypatch):
    """No value of a mapped file is touched, which would stay in the memory of the process."""
    for name in ("__getitem__", "__setitem__", "__array_wrap__"):
        monkeypatch.setattr(np.memmap, name, lambda *_: pytest.fail("a mapped value"), raising=False)


def decode(model, source, out, key="X_state"):
    read = _decode_files.read_npy(source) if source.suffix == ".npy" else None
    read = read or _decode_files.read(source, key, None, with_obs=out.suffix == ".h5ad")
    with closing(read):
        _decode_files.check(read, GENES, out)
        _decode_files.write(model, read, GENES, out)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("out", ["out.npy", "out.h5ad"])
def test_from_stored_cells(embedded, model, tmp_path, monkeypatch, unmapped, suffix, out):
    if suffix == ".zarr":
        need_zarr()
    want = model.decode(embedded.obsm["X_state"], GENES, dataset_embedding=embedded.obsm["X_state_dataset"])
    getattr(embedded, f"write_{suffix[1:]}")(tmp_path / f"in{suffix}")
    with monkeypatch.context() as patch:
        patch.setattr(_decode_files, "read_elem", lambda *_: pytest.fail("the table of cells was loaded"))
        decode(model, tmp_path / f"in{suffix}", tmp_path / out)
    if out == "out.npy":
        assert (tmp_path / out).read_bytes()[-want.nbytes :] == want.tobytes()
        return
    found = anndata.read_h5ad(tmp_path / out)
    assert np.array_equal(found.X, want)
    assert list(found.var_names) == GENES
    again = (anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr)(tmp_path / f"in{suffix}")
    pd.testing.assert_frame_equal(found.obs, again.obs)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("out", ["out.npy", "out.h5ad"])
def test_from_numbers_alone(embedded, model, tmp_path, monkeypatch, unmapped, order, out):
    both = np.hstack([embedded.obsm["X_state"], embedded.obsm["X_state_dataset"]])
    want = model.decode(both, GENES)
    np.save(tmp_path / "in.npy", np.asarray(both, order=order))
    monkeypatch.setattr(_decode_files, "_NAMES_AT_ONCE", 4)
    decode(model, tmp_path / "in.npy", tmp_path / out)
    if out == "out.npy":
        assert (tmp_path / out).read_bytes()[-want.nbytes :] == want.tobytes()
        return
    found = anndata.read_h5ad(tmp_path / out)
    assert np.array_equal(found.X, want)
    assert list(found.obs_names) == [str(i) for i in range(9)] and found.obs.shape == (9, 0)


def test_categories_as_anndata_wrote_them_before(embedded, model, tmp_path):
    """Columns refer to another place in the file, and a copy of the reference would lead nowhere."""
    embedded.obs = embedded.obs[["type", "share"]]
    embedded.write_h5ad(tmp_path / "in.h5ad")
    with h5py.File(tmp_path / "in.h5ad", "r+") as file:
        obs = file["obs"]
        obs.attrs["encoding-version"] = "0.1.0"
        codes, categories = obs["type/codes"][:], obs["type/categories"][:]
        del obs["type"]
        kept = obs.create_group("__categories").create_dataset("type", data=categories, dtype=h5py.string_dtype())
        obs["type"] = codes
        obs["type"].attrs["categories"] = kept.ref
    decode(model, tmp_path / "in.h5ad", tmp_path / "out.h5ad")
    found = anndata.read_h5ad(tmp_path / "out.h5ad").obs
    assert [None if pd.isna(value) else value for value in found["type"]] == ["T", "B", None] * 3
    assert np.array_equal(found["share"], embedded.obs["share"])


def test_an_embedding_that_is_cut_off(embedded, model, tmp_path):
    both = np.hstack([embedded.obsm["X_state"], embedded.obsm["X_state_dataset"]])
    np.save(tmp_path / "in.npy", both)
    read = _decode_files.read_npy(tmp_path / "in.npy")
    with (tmp_path / "in.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(errors.DataError, match=r"embedding: rows 0 to 8 can't be read: '.*in\.npy' ends before row 9"):
        model.decode(read.embedding, GENES)
    with pytest.raises(errors.DataError, match=r"in\.npy' went from [\d,]+ to 200 bytes while it was read"):
        _decode_files.write(model, read, GENES, tmp_path / "out.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


# -- runs that are ended on the way ------------------------------------------------------------


@pytest.fixture
def ended(embedded, model, tmp_path, monkeypatch):
    """A file, and a function that runs the command in two steps of two cells until it is interrupted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_resumable.Pace, "__call__", lambda _: 2)
    embedded.write_h5ad("in.h5ad")
    append = Journal.append

    def run(do, n_chunks=2):
        def stops(self, values):
            append(self, values)
            if self.n_chunks == n_chunks:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", stops)
            return do()

    return run


COMMAND = ["--genes", ",".join(GENES)]


@pytest.mark.parametrize("out", ["out.npy", "out.h5ad"])
def test_it_goes_on_where_it_was(ended, told, monkeypatch, out):
    call = ["decode", "in.h5ad", out, *COMMAND]
    code, said = ended(lambda: told(*call))
    assert code == 130
    kept = f"stopped; 4 of 9 rows are kept in {str(Path(f'{out}.partial').resolve())!r}: go on with --resume"
    assert said.splitlines()[-2:] == [kept, f"  se600m {' '.join(call)} --resume"]
    code, said = told(*call)
    assert code == 1 and "out." in said and ".partial' has the rows of an earlier run" in said
    written, append = [], Journal.append
    monkeypatch.setattr(
        Journal, "append", lambda self, values: written.append(len(values["output"])) or append(self, values)
    )
    assert told(*call, "--resume")[0] == 0
    assert written == [2, 2, 1], "the rest alone"
    assert told("decode", "in.h5ad", f"whole.{out}", *COMMAND)[0] == 0
    assert Path(out).read_bytes() == Path(f"whole.{out}").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == sorted(["in.h5ad", out, f"whole.{out}"])


def test_what_has_changed_is_named(ended, model, told, embedded):
    ended(lambda: told("decode", "in.h5ad", "out.npy", *COMMAND))
    read = _decode_files.read(Path("in.h5ad"), "X_state", None, with_obs=False)
    for genes, options, says in (
        (GENES[::-1], {}, "the genes was '.*' and is '.*'"),
        (GENES, {"read_depth": 5.0}, r"read_depth was none and is 5\.0"),
    ):
        with pytest.raises(errors.ResumeError, match=f"out.npy.partial' can't be resumed, .*: {says}"):
            _decode_files.write(model, read, genes, Path("out.npy").resolve(), resume=True, **options)
    read.close()
    embedded.obsm["X_state"] = embedded.obsm["X_state"][::-1].copy()
    embedded.write_h5ad("in.h5ad")
    code, said = told("decode", "in.h5ad", "out.npy", *COMMAND, "--resume")
    assert code == 1 and "its values was" in said and "--overwrite" in said
    assert told("decode", "in.h5ad", "out.npy", *COMMAND, "--overwrite")[0] == 0
    want = model.decode(embedded.obsm["X_state"], GENES, dataset_embedding=embedded.obsm["X_state_dataset"])
    assert np.array_equal(np.load("out.npy"), want)


def test_an_input_that_changes_under_the_run(ended, model, monkeypatch):
    np.save("in.npy", np.hstack([np.ones((9, model.output_dim)), np.ones((9, model.dataset_dim))]).astype(np.float32))
    read, append = _decode_files.read_npy(Path("in.npy")), Journal.append

    def appended(self, values):
        append(self, values)
        Path("in.npy").touch()

    monkeypatch.setattr(Journal, "append", appended)
    with pytest.raises(errors.DataError, match=r"'in\.npy' was changed or replaced while it was read") as raised:
        _decode_files.write(model, read, GENES, Path("out.npy").resolve())
    assert raised.value.__notes__[0].startswith("2 of 9 rows are kept in ")
    assert not Path("out.npy").exists()


def test_an_end_between_the_output_and_the_last_of_the_rows(ended, told, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        assert told("decode", "in.h5ad", "out.npy", *COMMAND)[0] == 130
    before = Path("out.npy").read_bytes()
    assert told("decode", "in.h5ad", "out.npy", *COMMAND, "--resume")[0] == 0
    assert Path("out.npy").read_bytes() == before
    assert not Path("out.npy.partial").exists()
