"""Several files as one collection: the rows that each file alone has, below each other, in runs that go on."""

import anndata
import numpy as np
import pandas as pd
import pytest

import se600m
from conftest import need_zarr
from se600m import _embed_collection, _file_run, _journal, errors

FILES = ("a.h5ad", "b.h5ad", "c.h5ad")
OPTIONS = {"fill": "independent", "seed": 5, "progress": False}
"""A draw that depends on the row within the file."""


@pytest.fixture(scope="module")
def model(random_model):
    return random_model(nlayers=1, pad_length=64).model


@pytest.fixture
def files(immune, tmp_path, monkeypatch):
    """Three files, whose genes stand in different orders and whose obs have different columns."""
    monkeypatch.chdir(tmp_path)
    parts = [immune[:9, :600], immune[9:12, 599::-1], immune[12:20, :600]]
    for name, part in zip(FILES, parts, strict=True):
        part = part.copy()
        part.obs = pd.DataFrame({"type": pd.Categorical(["T"] * part.n_obs)}, index=part.obs_names)
        if name == "b.h5ad":
            part.obs["depth"] = np.arange(part.n_obs)
        part.write_h5ad(name)
    return list(FILES)


@pytest.fixture
def want(files, model):
    return np.vstack([model.compute(anndata.read_h5ad(name), **OPTIONS).embedding for name in files])


def embed(files, out, model, **options):
    return se600m.embed_file(files, out, model=model, **(OPTIONS | options))


def test_rows_are_those_of_each_file_alone(files, want, model):
    done = embed(files, "out.npy", model)
    assert np.array_equal(np.load("out.npy"), want)
    assert (done.n_cells, done.n_columns) == want.shape
    assert [one["input"] for one in done.report["files"]] == files
    assert done.report["n_cells"] == 20 and done.report["seconds"]["total"] > 0
    assert not _journal.folder_of(done.path).exists()


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_an_anndata_with_obs_and_without_a_matrix(files, want, model, suffix):
    if suffix == ".zarr":
        need_zarr()
    embed(files, f"out{suffix}", model, key_added="X_other")
    adata = (anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr)(f"out{suffix}")
    assert adata.shape == (20, 0) and adata.X is None
    assert np.array_equal(adata.obsm["X_other"], want)
    assert list(adata.obs["source_file"]) == ["a"] * 9 + ["b"] * 3 + ["c"] * 8
    assert set(adata.obs["type"]) == {"T"}
    assert list(adata.obs["depth"][9:12]) == [0, 1, 2] and adata.obs["depth"].isna().sum() == 17
    assert list(adata.obs_names[:9]) == list(anndata.read_h5ad("a.h5ad").obs_names)
    noted = adata.uns["X_other"]
    alone = [model.compute(anndata.read_h5ad(name), **OPTIONS).provenance for name in files]
    assert noted["n_counts"] == sum(one["n_counts"] for one in alone)
    assert noted["model_checksum"] == alone[0]["model_checksum"] and noted["fill"] == "independent"
    assert list(noted["files"]["path"]) == files and list(noted["files"]["n_cells"]) == [9, 3, 8]
    assert list(noted["files"]["share_median"]) == [one["share_median"] for one in alone]
    assert noted["share_min"] == min(one["share_min"] for one in alone)


def test_a_table(files, want, model):
    pytest.importorskip("pyarrow")
    embed(tuple(files), "out.parquet", model)
    table = pd.read_parquet("out.parquet")
    assert np.array_equal(np.stack(table["X_state"]), want)
    assert list(table["source_file"]) == ["a"] * 9 + ["b"] * 3 + ["c"] * 8
    assert table["obs_names"].is_unique


def test_names_that_occur_twice(files, model, caplog):
    adata = anndata.read_h5ad("c.h5ad")
    adata.obs_names = [*anndata.read_h5ad("a.h5ad").obs_names[:2], *adata.obs_names[2:]]
    adata.write_h5ad("c.h5ad")
    embed(files, "out.h5ad", model)
    names = anndata.read_h5ad("out.h5ad").obs_names
    assert names.is_unique and [name[-2:] for name in names] == ["-a"] * 9 + ["-b"] * 3 + ["-c"] * 8
    assert "2 names of cells occur in several files" in caplog.text


@pytest.fixture
def runs(monkeypatch):
    """The files whose cells are embedded."""
    seen = []
    run = _file_run.FileRun.__call__

    def noted(self):
        seen.append(self.src)
        return run(self)

    monkeypatch.setattr(_embed_collection.FileRun, "__call__", noted)
    return seen


@pytest.fixture
def stopped(files, model, monkeypatch, runs):
    """A run that is interrupted after the rows of the second file are there."""
    run = _file_run.FileRun.__call__

    def stops(self):
        made = run(self)
        if len(runs) == 2:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as error:
        patch.setattr(_embed_collection.FileRun, "__call__", stops)
        embed(files, "out.h5ad", model)
    assert error.value.__notes__[-1].startswith("1 of 3 files are kept in ")
    runs.clear()


def test_files_that_are_done_are_not_embedded_again(stopped, files, want, model, runs):
    with pytest.raises(errors.DestinationExistsError, match="resume=True"):
        embed(files, "out.h5ad", model)
    done = embed(files, "out.h5ad", model, resume=True)
    assert runs == ["b.h5ad", "c.h5ad"], "b was done, but the collection did not know"
    assert np.array_equal(anndata.read_h5ad("out.h5ad").obsm["X_state"], want)
    assert [one["input"] for one in done.report["files"]] == files


def test_going_on_with_something_else(stopped, files, model, runs):
    with pytest.raises(errors.ResumeError, match=r"the files was \['a.h5ad', 'b.h5ad', 'c.h5ad'\] and is"):
        embed(files[::-1], "out.h5ad", model, resume=True)
    with pytest.raises(errors.ResumeError, match="the key was 'X_state' and is 'X'"):
        embed(files, "out.h5ad", model, resume=True, key_added="X")
    with pytest.raises(errors.ResumeError, match="seed was 5 and is 6"):
        embed(files, "out.h5ad", model, resume=True, seed=6)
    adata = anndata.read_h5ad("a.h5ad")
    adata.X = adata.X * 2
    adata.write_h5ad("a.h5ad")
    with pytest.raises(errors.ResumeError, match=r"00001.npz' can't be resumed.*time of change was"):
        embed(files, "out.h5ad", model, resume=True)
    assert runs == []
    embed(files, "out.h5ad", model, overwrite=True)
    assert runs == files


def test_one_file_takes_the_place_of_several(stopped, model):
    """What is left of a collection has folders in it."""
    (_journal.folder_of(se600m_path("out.h5ad")) / "00003.npz.partial").mkdir()
    with pytest.raises(errors.ResumeError, match="the command was 'embed several files' and is 'embed'"):
        se600m.embed_file("a.h5ad", "out.h5ad", model=model, resume=True)
    se600m.embed_file("a.h5ad", "out.h5ad", model=model, overwrite=True)
    assert anndata.read_h5ad("out.h5ad").n_obs == 9


def se600m_path(name):
    return _journal.Path(name).resolve()


def test_a_run_that_was_ended_while_it_cleared_away(files, want, model, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_journal.Journal, "remove", _clears_not)
        embed(files, "out.npy", model)
    embed(files, "out.npy", model, resume=True)
    assert np.array_equal(np.load("out.npy"), want)
    assert not _journal.folder_of(se600m_path("out.npy")).exists()


def _clears_not(journal):
    if journal.folder.name == "out.npy.partial":
        raise KeyboardInterrupt
    _journal.shutil.rmtree(journal.folder)


def test_what_is_wrong_is_found_before_a_cell_is_embedded(files, model, immune, runs):
    def fails(kind, match, given=files, out="out.h5ad", **options):
        with pytest.raises(kind, match=match):
            embed(given, out, model, **options)
        assert runs == [] and not _journal.Path(f"{out}.partial").exists()

    fails(errors.OptionError, "src is an empty list", [])
    fails(errors.OptionError, "src=3 is neither a path nor a list of paths", 3)
    fails(errors.OptionError, "src has 3 among its files, which is not a path", ["a.h5ad", 3])
    fails(errors.DataError, "'./b.h5ad' is there twice|'b.h5ad' is there twice", [*files, "./b.h5ad"])
    fails(errors.DataError, "'d.h5ad' does not exist", [*files, "d.h5ad"])
    fails(errors.OptionError, "shard='1/2' is about one file", shard="1/2")
    fails(errors.OptionError, "in_place=True is about one file", in_place=True, out=None)
    fails(errors.OptionError, "there is no output", out=None)
    fails(errors.SE600MError, r"\.csv", out="out.csv")
    other = immune[:5, :600].copy()
    other.var_names = [f"LOC{i}" for i in range(600)]
    other.write_h5ad("d.h5ad")
    fails(errors.GeneCoverageError, "'d.h5ad'", [*files, "d.h5ad"])
    other = immune[:5, :600].copy()
    other.obs = pd.DataFrame({"source_file": ["x"] * 5}, index=other.obs_names)
    other.write_h5ad("d.h5ad")
    fails(errors.DataError, "'d.h5ad': obs has a column 'source_file' already", [*files, "d.h5ad"])
    immune[:5, :40].copy().write_h5ad("d.h5ad")
    fails(errors.OptionError, "fill='auto' is 'shared' for 'a.h5ad' and 'expected' for 'd.h5ad'", [*files, "d.h5ad"],
          fill="auto")  # fmt: skip


def test_a_page_about_all_files(files, model):
    embed(files, "out.npy", model, report="run.html")
    page = _journal.Path("run.html").read_text()
    assert "a.h5ad and 2 other files" in page and "coloured by <code>obs[" in page


def test_the_command_takes_files_then_the_output(files, want, model, told):
    words = ["--model", str(model.directory), "--fill", "independent", "--seed", "5"]
    code, said = told("embed", *files, "out.npy", *words)
    assert code == 0 and "20 cells × 20 in out.npy" in said
    assert np.array_equal(np.load("out.npy"), want)
    assert "is there twice" in told("embed", "a.h5ad", "a.h5ad", "other.npy", *words)[1]
    assert "--in-place is about one file, but several are given" in told("embed", *files, "--in-place", *words)[1]
    assert "there is no output" in told("embed", "a.h5ad", *words)[1]
    assert "there is no file to embed" in told("embed", *words)[1]


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_an_input_is_never_the_output(files, model, runs, suffix):
    """The output has no matrix: a pattern such as *.h5ad may name the output, too."""
    if suffix == ".zarr":
        need_zarr()
        anndata.read_h5ad("c.h5ad").write_zarr("c.zarr")
        files = [*files[:2], "c.zarr"]
    _journal.os.symlink(files[2], f"link{suffix}")
    for out in (files[2], f"link{suffix}"):
        for options in ({"overwrite": True}, {"overwrite": True, "resume": True}, {}):
            with pytest.raises(errors.DestinationError, match="is also one of the files to embed"):
                embed(files, out, model, **options)
    assert runs == []
    adata = (anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr)(files[2])
    assert adata.shape == (8, 600) and adata.X.nnz


@pytest.mark.parametrize("change", ["order", "number"])
def test_a_file_that_changes_before_its_turn(files, model, monkeypatch, change):
    run = _embed_collection.Collection._embed

    def changes(self, member, *rest):
        if member.place == "b.h5ad" and not changed:
            adata = anndata.read_h5ad("b.h5ad")
            (adata[::-1] if change == "order" else adata[:2]).copy().write_h5ad("b.h5ad")
            changed.append(True)
        return run(self, member, *rest)

    changed = []
    monkeypatch.setattr(_embed_collection.Collection, "_embed", changes)
    with pytest.raises(errors.DataError, match=r"'b\.h5ad' was changed during the run"):
        embed(files, "out.h5ad", model)
    assert not _journal.Path("out.h5ad").exists()
    embed(files, "out.h5ad", model, resume=True)
    want = np.vstack([model.compute(anndata.read_h5ad(name), **OPTIONS).embedding for name in files])
    adata = anndata.read_h5ad("out.h5ad")
    assert np.array_equal(adata.obsm["X_state"], want)
    assert list(adata.obs_names) == [n for name in files for n in anndata.read_h5ad(name).obs_names]
