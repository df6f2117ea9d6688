"""Contextual gene embeddings from file to file: those of the cells in memory, byte for byte, however a run is ended."""

import os
import re
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

import se600m
from conftest import need_zarr
from se600m import _contextual_file, _formats, _outputs, _resumable, errors
from se600m._journal import Journal
from test_formats import tenx_v3

N = 24
# Half of the genes are in the vocabulary: what is said about that is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore::se600m.errors.DataWarning")


@pytest.fixture(scope="session")
def made(random_model):
    return random_model(nlayers=1, pad_length=64)


@pytest.fixture
def cells(tmp_path, monkeypatch, immune):
    monkeypatch.chdir(tmp_path)
    adata = immune[:, :3000].copy()
    adata.layers["other"] = adata.X.copy()
    adata.var["names"] = adata.var_names
    adata.write_h5ad("in.h5ad")
    return anndata.read_h5ad("in.h5ad")


@pytest.fixture
def genes(made, cells):
    """Three genes of the first cell's sentence, in an order of their own."""
    tokens = made.model.tokenize(cells).gene_indices[0, 1:40:15]
    return sorted(made.model.genes[token] for token in tokens)[::-1]


def write(made, dst="out.npy", genes=None, *, src="in.h5ad", **options):
    common = {"model": made.model, "progress": False, "memory": "60kB"}
    return se600m.contextual_file(src, dst, genes, **(common | options))


def content(path):
    """Everything in a file, or in the files of a folder."""
    path = Path(path)
    if path.is_file():
        return path.read_bytes()
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


class Stop(Exception):
    """What ends a run in these tests."""


def stop(monkeypatch, owner, name, after=0):
    """Have a function end the run; after some calls that have done their work, if any."""
    function, calls = getattr(owner, name), []

    def stopped(*args, **options):
        if after:
            function(*args, **options)
        calls.append(args)
        if len(calls) >= after:
            raise Stop

    monkeypatch.setattr(owner, name, stopped)


@pytest.fixture
def halfway(made, cells, genes, monkeypatch):
    """A run that was ended after three chunks."""
    with monkeypatch.context() as patch, pytest.raises(Stop) as stopped:
        stop(patch, Journal, "append", 3)
        write(made, genes=genes, memory="2kB")
    (note,) = stopped.value.__notes__
    assert note.endswith(f"of 24 rows are kept in {str(Path('out.npy.partial').resolve())!r}: go on with resume=True")
    assert sorted(os.listdir()) == ["in.h5ad", "out.npy.partial"]
    return int(note.split()[0])


# -- what is written -------------------------------------------------------------------------------


@pytest.mark.parametrize("fill, chosen", [("shared", True), ("independent", True), ("shared", False), ("none", False)])
def test_the_group_of_cells_in_memory_whatever_the_chunks(made, cells, genes, fill, chosen):
    need_zarr()
    genes = genes if chosen else None
    made.model.contextual_gene_embeddings(cells, genes, out="want.zarr", fill=fill)
    counts = set()
    for memory in ("1kB", "60kB", "512MB"):
        done = write(made, "out.zarr", genes, fill=fill, memory=memory, overwrite=True)
        assert content("out.zarr") == content("want.zarr")
        counts.add(done.report["chunks"])
    assert max(counts) == N and min(counts) <= 2
    embeddings = need_zarr().open_group("out.zarr", mode="r")["embeddings"]
    assert done.shape == embeddings.shape
    assert (done.path, done.genes) == (Path("out.zarr").resolve(), genes)
    assert sorted(os.listdir()) == ["in.h5ad", "out.zarr", "want.zarr"]


def test_chosen_genes_as_an_array_of_numpy(made, cells, genes):
    want = made.model.contextual_gene_embeddings(cells, genes, layer="other")
    done = write(made, genes=genes, layer="other", report="run.json")
    assert np.load("out.npy").tobytes() == want.tobytes()
    assert (done.shape, done.report["n_cells"]) == (want.shape, N)
    assert Path("run.json").exists()


def test_cells_that_are_read_into_memory_are_worked_on_in_parts(made, cells, monkeypatch):
    """However many are read at once: their vectors would take thousands of times the memory of the cells."""
    cells.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(cells.n_vars)]
    tenx_v3(Path("in.h5"), cells)
    sizes, memory = [], _resumable.JournalSink.memory

    def noted(self, rows):
        arrays = memory(self, rows)
        sizes.append(sum(array.nbytes for array in arrays.values()))
        return arrays

    monkeypatch.setattr(_resumable.JournalSink, "memory", noted)
    need_zarr()
    write(made, "out.zarr", src="in.h5", memory="120kB")
    assert len(sizes) > 4 and max(sizes) <= 40_000
    made.model.contextual_gene_embeddings(_formats.read(Path("in.h5")), out="want.zarr")
    assert content("out.zarr") == content("want.zarr")


# -- runs that are ended ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["genes to npy", "genes to zarr", "slots to zarr"])
def test_ended_after_any_chunk_and_gone_on_with_in_other_chunks(made, cells, genes, monkeypatch, kind):
    out = f"out.{kind[-4:].strip()}"
    genes = genes if kind.startswith("genes") else None
    if out == "out.zarr":
        need_zarr()
    small, large = ("2kB", "5kB") if genes else ("30kB", "120kB")
    write(made, out, genes)
    want = content(out)
    n_chunks = write(made, out, genes, memory=small, overwrite=True).report["chunks"]
    assert n_chunks > 4
    for n in (1, 2, n_chunks // 2, n_chunks):
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stop(patch, Journal, "append", n)
            write(made, out, genes, memory=small, overwrite=True)
        assert content(out) == want, "the earlier output stays until the new one is whole"
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stop(patch, Journal, "append", 1) if n < n_chunks else stop(patch, _resumable, "run")
            write(made, out, genes, memory=large, resume=True, overwrite=True)
        done = write(made, out, genes, memory=small, resume=True, overwrite=True, batch_size=3, threads=1)
        assert done.report["resumed_from"] > 0
        assert content(out) == want
        assert sorted(os.listdir()) == ["in.h5ad", out]


def test_nothing_is_computed_twice(made, halfway, genes, cells, jobs):
    done = write(made, genes=genes, resume=True)
    assert done.report["resumed_from"] == halfway
    assert sum(job.total for job in jobs.ended) == N - halfway
    jobs.ended.clear()
    assert np.load("out.npy").tobytes() == made.model.contextual_gene_embeddings(cells, genes).tobytes()


@pytest.mark.parametrize("moment", ["before the draft", "in the draft", "before the rows go"])
def test_an_end_while_the_output_is_put_together(made, cells, genes, monkeypatch, moment):
    owner, name, after = {
        "before the draft": (_contextual_file._Contextual, "assemble", 0),
        "in the draft": (_outputs, "write_npy", 1),
        "before the rows go": (Journal, "remove", 0),
    }[moment]
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop(patch, owner, name, after)
        write(made, genes=genes)
    there = moment == "before the rows go"
    assert sorted(os.listdir()) == ["in.h5ad", *["out.npy"] * there, "out.npy.partial"]
    assert write(made, genes=genes, resume=True).report["resumed_from"] == N
    assert np.load("out.npy").tobytes() == made.model.contextual_gene_embeddings(cells, genes).tobytes()
    assert sorted(os.listdir()) == ["in.h5ad", "out.npy"]


def test_without_resume_what_is_left_is_named(made, halfway, genes, cells):
    with pytest.raises(
        errors.DestinationExistsError, match=r"out\.npy\.partial' has the rows .*resume=True.*overwrite=T"
    ):
        write(made, genes=genes)
    assert write(made, genes=genes, overwrite=True).report["resumed_from"] == 0
    assert np.load("out.npy").tobytes() == made.model.contextual_gene_embeddings(cells, genes).tobytes()


def other_values():
    with h5py.File("in.h5ad", "r+") as file:
        file["X/data"][:100] += 1


CHANGES = {
    "order of genes": ({"genes": slice(None, None, -1)}, r"genes was '3 chosen \(\w+\)' and is '3 chosen \(\w+\)'"),
    "fewer genes": ({"genes": slice(2)}, r"genes was '3 chosen \(\w+\)' and is '2 chosen \(\w+\)'"),
    "seed": ({"seed": 3}, "seed was 0 and is 3"),
    "fill": ({"fill": "independent"}, "fill was 'auto' and is 'independent'"),
    "layer": ({"layer": "other"}, "layer was none and is 'other'"),
    "gene_column": ({"gene_column": "names"}, "gene_column was none and is 'names'"),
    "model": ({"model": 5}, "model_checksum was "),
    "values": (other_values, "its values was "),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_named(made, random_model, halfway, genes, change):
    spoil, says = CHANGES[change]
    options = {"genes": genes}
    if callable(spoil):
        spoil()
    elif change == "model":
        options["model"] = random_model(nlayers=1, pad_length=64, seed=5).model
    else:
        options |= {name: genes[value] if name == "genes" else value for name, value in spoil.items()}
    before = content("out.npy.partial")
    with pytest.raises(errors.ResumeError, match=f"out.npy.partial' can't be resumed, .*{says}.*overwrite=True"):
        write(made, resume=True, **options)
    assert content("out.npy.partial") == before


def test_every_slot_and_chosen_genes_are_told_apart(made, cells, genes, monkeypatch):
    need_zarr()
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop(patch, Journal, "append", 1)
        write(made, "out.zarr")
    with pytest.raises(errors.ResumeError, match=r"genes was 'all' and is '3 chosen"):
        write(made, "out.zarr", genes, resume=True)


def test_rows_of_another_command_are_refused(made, cells, genes, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop(patch, Journal, "append", 1)
        se600m.embed_file("in.h5ad", "out.npy", model=made.model, progress=False)
    with pytest.raises(errors.ResumeError, match="the command was 'embed' and is 'contextual'"):
        write(made, genes=genes, resume=True)


# -- wrong calls -----------------------------------------------------------------------------------


def test_wrong_calls_leave_nothing(made, cells, monkeypatch):
    need_zarr()
    with pytest.raises(errors.UnknownGeneError, match="'MS4A1'"):
        write(made, genes=["ms4a1"])
    with pytest.raises(errors.OptionError, match=r"OUT is 'out\.h5ad': give a path that ends in \.zarr or \.npy"):
        write(made, "out.h5ad")
    with monkeypatch.context() as patch:
        patch.setattr(_contextual_file.FileRun, "__call__", None)  # is not called
        with pytest.raises(errors.OptionError, match=r"\.npy.*choose some \(genes=\.\.\.\), or write \.zarr"):
            write(made)
        with pytest.raises(errors.OptionError, match="genes is a set"):
            write(made, genes={"MS4A1"})
        cells.write_zarr("in.zarr")
        with pytest.raises(errors.DestinationError, match=r"'in\.zarr', which is also IN: .*the cells would be lost"):
            write(made, "in.zarr", src="in.zarr", overwrite=True)
        patch.setitem(sys.modules, "zarr", None)  # as Python marks what can't be imported
        with pytest.raises(errors.MissingPackageError, match=r"pip install 'se600m-go\[zarr\]'"):
            write(made, "out.zarr")
    assert sorted(os.listdir()) == ["in.h5ad", "in.zarr"]


# -- the command -----------------------------------------------------------------------------------


def test_the_command(told, made, cells, genes, monkeypatch):
    assert made.model.directory.exists()
    call = ["contextual", "in.h5ad", "out.npy", "--genes", ",".join(genes), "--model", str(made.folder)]
    with monkeypatch.context() as patch:
        append = Journal.append

        def interrupted(self, values):
            append(self, values)
            raise KeyboardInterrupt

        patch.setattr(Journal, "append", interrupted)
        status, said = told(*call, "--memory", "2kB")
    assert status == 130
    assert re.search(r"stopped; \d+ of 24 rows are kept in '.*out\.npy\.partial': go on with --resume", said)
    assert said.splitlines()[-1].endswith(" --memory 2kB --resume")
    status, said = told(*call)
    assert status == 1 and "has the rows of an earlier run" in said and "--resume" in said
    status, said = told(*call, "--resume")
    assert (status, said.splitlines()[-1]) == (0, "24 cells × 3 genes × 32 in out.npy")
    assert np.load("out.npy").tobytes() == made.model.contextual_gene_embeddings(cells, genes).tobytes()
    status, said = told("contextual", "in.h5ad", "every.npy")
    assert status == 1 and "choose some (--genes ...), or write .zarr" in said
