"""Several files as one collection: the rows that each file alone has, below each other, in runs that go on."""

import anndata
import numpy as np
import pandas as pd
import pytest

import se600m
from conftest import need_zarr
from se600m import _embed_collection, _file_run, _joined_obs, _journal, errors

FILES = ("a.h5ad", "b.h5ad", "c.h5ad")
BIG = 2**60 + 1
"""An id that float64 does not have."""
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
            part.obs["depth"] = BIG + np.arange(part.n_obs)
            part.obs["doublet"] = [True, False, True]
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
    assert list(adata.obs["depth"][9:12]) == [BIG, BIG + 1, BIG + 2] and adata.obs["depth"].isna().sum() == 17
    assert list(adata.obs["doublet"][9:12]) == [True, False, True] and adata.obs["doublet"].isna().sum() == 17
    assert (str(adata.obs["depth"].dtype), str(adata.obs["doublet"].dtype)) == ("Int64", "boolean")
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


WHOLE, FRACTIONS = np.array([BIG, -1]), np.array([0.5, np.nan])
COLUMNS = {
    "the same": ([WHOLE, WHOLE], "int64", [BIG, -1, BIG, -1]),
    "missing": ([WHOLE, None], "Int64", [BIG, -1, None, None]),
    "narrow": ([np.int8([1, 2]), None], "Int8", [1, 2, None, None]),
    "several widths": ([np.int8([1, 2]), np.uint16([3, 4])], "int32", [1, 2, 3, 4]),
    "with and without sign": ([WHOLE, np.uint64([1, 2])], "int64", [BIG, -1, 1, 2]),
    "without sign": ([np.uint64([2**64 - 1, 0]), None], "UInt64", [2**64 - 1, 0, None, None]),
    "missing values": ([pd.array([BIG, None]), WHOLE], "Int64", [BIG, None, BIG, -1]),
    "small ones and fractions": ([np.array([1, 2]), FRACTIONS], "float64", [1, 2, 0.5, None]),
    "large ones and whole floats": ([WHOLE, np.array([7, np.nan])], "Int64", [BIG, -1, 7, None]),
    "truth values": ([np.array([True, False]), None], "boolean", [True, False, None, None]),
    "all truth values": ([np.array([True, False])] * 2, "bool", [True, False, True, False]),
    "numbers": ([np.float32([1.5, 2]), None], "float32", [1.5, 2, None, None]),
    "categories": ([pd.Categorical([1, 2]), None], "category", [1, 2, None, None]),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_keep_their_values(case, tmp_path):
    columns, kind, want = COLUMNS[case]
    tables = [pd.DataFrame({} if c is None else {"id": c}, index=[f"{i}a", f"{i}b"]) for i, c in enumerate(columns)]
    joined = _joined_obs.joined(["x.h5ad", "y.h5ad"], tables)
    joined.write_h5ad(tmp_path / "out.h5ad")
    for obs in (joined.obs, anndata.read_h5ad(tmp_path / "out.h5ad").obs):
        assert str(obs["id"].dtype) == kind
        assert [None if pd.isna(value) else value for value in obs["id"]] == want
        assert list(obs["source_file"]) == ["x", "x", "y", "y"]


@pytest.mark.parametrize("other", [FRACTIONS, np.array([1e300, 0]), np.uint64([2**64 - 1, 0])])
def test_a_column_that_no_type_can_have(other):
    tables = [pd.DataFrame({"id": column}, index=["a", "b"]) for column in (WHOLE, other)]
    with pytest.raises(errors.DataError, match=r"obs\['id'\] has whole numbers .*too large.*int64, (float|uint)64"):
        _joined_obs.joined(["x.h5ad", "y.h5ad"], tables)


@pytest.mark.parametrize(
    "places, names",
    [
        (["p/a.b.h5ad", "a.c.H5AD"], ["a.b", "a.c"]),
        (["a.b.zarr/", "s3://bucket/a.zarr"], ["a.b", "a"]),
        (["filtered.v1.2", "x.mtx.gz"], ["filtered.v1.2", "x"]),
        (["p/a.h5ad", "q/a.h5ad", "b.h5ad"], ["p/a.h5ad", "q/a.h5ad", "b.h5ad"]),
        (["a.h5ad", "a.zarr"], ["a.h5ad", "a.zarr"]),
        ([".h5ad", "a.h5"], [".h5ad", "a"]),
    ],
)
def test_names_of_files(places, names):
    assert _joined_obs.names_of(places) == names


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
    assert error.value.__notes__ == [f"1 of 3 files are kept in {folder()!r}: go on with resume=True"]
    runs.clear()


def folder(name="out.h5ad"):
    return str(_journal.folder_of(se600m_path(name)))


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
    changed = rf"^'a\.h5ad': '{folder()}' can't be resumed, .*time of change was .*overwrite=True"
    with pytest.raises(errors.ResumeError, match=changed):
        embed(files, "out.h5ad", model, resume=True)
    assert runs == []
    embed(files, "out.h5ad", model, overwrite=True)
    assert runs == files


def test_rows_of_a_file_that_are_gone(stopped, files, model):
    _journal.Path(folder(), "00001.npz").unlink()
    gone = rf"'{folder()}' can't be resumed: the rows of 'a\.h5ad' are missing or damaged\. Start again with overwrite"
    with pytest.raises(errors.ResumeError, match=gone):
        embed(files, "out.h5ad", model, resume=True)


def test_what_is_kept_is_told_of_the_whole(files, want, model, told, monkeypatch):
    """The folder, and the numbers, are those that the user knows; the command goes on with all files."""
    append, places = _journal.Journal.append, []

    def stops(self, values):
        append(self, values)
        if self.folder.name == "00002.npz.partial" and self.done == 2:
            raise KeyboardInterrupt

    words = ["embed", *files, "out.npy", "--model", str(model.directory), "--fill", "independent", "--seed", "5"]
    with monkeypatch.context() as patch:
        patch.setattr(_journal.Journal, "append", stops)
        patch.setattr(_embed_collection._resumable.Pace, "__call__", lambda _: 1)
        patch.setattr(_embed_collection._files, "check_space", lambda place, *_: places.append(place))
        code, said = told(*words)
    kept = f"1 of 3 files and 2 of 3 rows of 'b.h5ad' are kept in {folder('out.npy')!r}: go on with --resume"
    assert code == 130
    assert said.splitlines()[-2:] == [f"stopped; {kept}", f"  se600m {' '.join(words)} --resume"]
    assert set(places) == {se600m_path("out.npy")}, "what is said of a disk that is full"
    part = _journal.Path(folder("out.npy"), "00002.npz.partial")
    (part / "embedding").rename(part / "gone")
    with pytest.raises(errors.ResumeError) as error:
        embed(files, "out.npy", model, resume=True)
    assert str(error.value).startswith(f"'b.h5ad': {folder('out.npy')!r} can't be resumed: 'embedding' is missing. ")
    (part / "gone").rename(part / "embedding")
    assert told(*words, "--resume")[0] == 0
    assert np.array_equal(np.load("out.npy"), want)


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
    fails(errors.OptionError, r"src is a set, which has no fixed order: give a list, such as sorted\(src\)", set(files))
    fails(errors.OptionError, "src is a set", frozenset(files))
    fails(errors.OptionError, "src=.* is neither a path nor a list", dict.fromkeys(files))
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
