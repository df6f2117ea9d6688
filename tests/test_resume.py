"""Runs that are ended on the way, in any way, and go on: the result is that of a run that was not, byte for byte."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
import typer.main

import se600m
from se600m import _journal, _outputs, _resumable, _shards, _stored, cli, errors
from se600m._journal import Array, Journal

N = 48
MEMORY = "15kB"
"""Of 48 cells a few are in a chunk then."""
COMMAND = [sys.executable, "-m", "se600m.cli"]
KILLS = int(os.environ.get("SE600M_KILLS", "2"))
"""How often a run is killed at a random moment; 20 for a thorough test."""


@pytest.fixture(scope="session")
def made(random_model):
    return random_model(nlayers=1, pad_length=64)


@pytest.fixture
def folder(tmp_path, monkeypatch, _immune):
    monkeypatch.chdir(tmp_path)
    _immune[:N, :3000].write_h5ad("in.h5ad")
    return tmp_path


@pytest.fixture
def want(made, folder):
    return made.model.compute(anndata.read_h5ad("in.h5ad")).embedding


def embed(made, dst="out.npy", *, src="in.h5ad", **options):
    return se600m.embed_file(src, dst, **({"model": made.model, "progress": False, "memory": MEMORY} | options))


class Stop(Exception):
    """What ends a run in these tests."""


def stop_after(monkeypatch, n_chunks, error=Stop):
    """End a run after some chunks are kept."""
    append = Journal.append

    def appended(self, values):
        append(self, values)
        if self.n_chunks == n_chunks:
            raise error

    monkeypatch.setattr(Journal, "append", appended)


@pytest.fixture
def halfway(made, folder, monkeypatch):
    """A run that was ended after three chunks."""
    with monkeypatch.context() as patch, pytest.raises(Stop) as stopped:
        stop_after(patch, 3)
        embed(made)
    (note,) = stopped.value.__notes__
    assert note.endswith(f"of 48 rows are kept in {str(folder / 'out.npy.partial')!r}: go on with resume=True")
    return int(note.split()[0])


def test_it_goes_on_where_it_was(made, halfway, want, jobs):
    assert 0 < halfway < N
    done = embed(made, resume=True, batch_size=3, threads=1)
    assert done.report["resumed_from"] == halfway
    assert sum(job.total for job in jobs.ended) == N - halfway, "nothing is computed, or checked, twice"
    assert np.load("out.npy").tobytes() == want.tobytes()
    assert sorted(os.listdir()) == ["in.h5ad", "out.npy"]


def test_without_resume_what_is_left_is_named(made, halfway, want):
    with pytest.raises(
        errors.DestinationExistsError, match=r"out\.npy\.partial' has the rows .*resume=True.*overwrite=T"
    ):
        embed(made)
    done = embed(made, overwrite=True)
    assert done.report["resumed_from"] == 0
    assert np.load("out.npy").tobytes() == want.tobytes()


def test_resume_without_anything_to_go_on_with_begins(made, folder, want):
    Path("out.npy.partial").mkdir()
    (Path("out.npy.partial") / "journal.jsonl").write_text('{"format"')  # killed in its first moment
    assert embed(made, resume=True).report["resumed_from"] == 0
    os.unlink("out.npy")
    assert embed(made, resume=True).report["resumed_from"] == 0
    assert np.load("out.npy").tobytes() == want.tobytes()
    with pytest.raises(errors.DestinationExistsError, match=r"already exists"):
        embed(made, resume=True)


def test_an_end_between_the_output_and_the_last_of_the_rows(made, folder, want, monkeypatch):
    """The output is there, and what it was made from is, too."""

    def ended(out):
        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(Journal, "remove", lambda _: (_ for _ in ()).throw(Stop))
            embed(made, out, in_place=out is None)

    ended("out.npy")
    with pytest.raises(errors.DestinationExistsError, match=r"out\.npy', which already exists"):
        embed(made)
    assert embed(made, resume=True).report["resumed_from"] == N
    assert np.load("out.npy").tobytes() == want.tobytes()
    ended(None)
    assert anndata.read_h5ad("in.h5ad").obsm["X_state"].tobytes() == want.tobytes()
    with pytest.raises(
        errors.DestinationExistsError, match=r"'in\.h5ad' has the result already: .*Remove 'in.h5ad.par"
    ):
        embed(made, None, in_place=True, resume=True)


def other_values(_):
    with h5py.File("in.h5ad", "r+") as file:
        file["X/data"][:100] += 1


def other_time(_):
    os.utime("in.h5ad", (1, 1))


def other_cells(_):
    anndata.read_h5ad("in.h5ad")[: N - 1].copy().write_h5ad("in.h5ad")


CHOSEN = ["TNFRSF4", "CPSF3L", "ATAD3C", "RER1", "TNFRSF25", "TNFRSF9"]
CHANGES = {
    "seed": ({"seed": 3}, "seed was 0 and is 3"),
    "fill": ({"fill": "independent"}, "fill was 'auto' and is 'independent'"),
    "expression": ({"expression": "counts"}, "expression was 'auto' and is 'counts'"),
    "gene_column": ({"gene_column": "names"}, "gene_column was none and is 'names'"),
    "layer": ({"layer": "other"}, "layer was none and is 'other'"),
    "genes": (
        {"genes": ["TNFRSF4", "CPSF3L", "ATAD3C", "RER1", "TNFRSF25", "TNFRSF9"]},
        r"genes was 'all' and is '6 chosen \(",
    ),
    "model": ({"model": "other"}, "model_checksum was "),
    "precision": ({"model": "int8"}, "precision was 'fp32' and is 'int8'"),
    "values": (other_values, "its values was "),
    "time": (other_time, "the input's time of change was "),
    "cells": (other_cells, "its number of cells was 48 and is 47"),
}


@pytest.fixture
def adata_with_more(folder):
    adata = anndata.read_h5ad("in.h5ad")
    adata.layers["other"] = adata.X.copy()
    adata.var["names"] = adata.var_names
    adata.write_h5ad("in.h5ad")


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_named(made, random_model, adata_with_more, halfway, change):
    spoil, says = CHANGES[change]
    options = {} if callable(spoil) else dict(spoil)
    if callable(spoil):
        spoil(None)
    if options.get("model") == "other":
        options["model"] = random_model(nlayers=1, pad_length=64, seed=5).model
    elif options.get("model") == "int8":
        options["model"] = se600m.load_model(made.folder, precision="int8")
    before = {path.name: path.read_bytes() for path in Path("out.npy.partial").iterdir()}
    with pytest.raises(errors.ResumeError, match=f"out.npy.partial' can't be resumed, .*{says}.*overwrite=True"):
        embed(made, resume=True, **options)
    assert {path.name: path.read_bytes() for path in Path("out.npy.partial").iterdir()} == before


# -- ends from outside -----------------------------------------------------------------------------


def start(made, *more, memory=MEMORY):
    arguments = ["embed", "in.h5ad", "out.npy", "--model", str(made.folder), "--memory", memory, *more]
    return subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)


def lines():
    try:
        return Path("out.npy.partial/journal.jsonl").read_bytes().count(b'"crc"')
    except OSError:
        return 0


def wait_for(process, n_chunks):
    end = time.monotonic() + 100
    while process.poll() is None and lines() < n_chunks and time.monotonic() < end:
        time.sleep(0.001)


def test_killed_at_random_moments(made, folder, want):
    """With SIGKILL, after a number of chunks and a while; then the same command with --resume."""
    assert made.model.directory.exists()
    chance, killed = random.Random(KILLS), 0
    n_chunks = 0
    while killed < KILLS:
        process = start(made, *(["--resume"] if Path("out.npy.partial").exists() else []), memory="6kB")
        n_chunks = n_chunks + chance.randrange(1, 4)
        wait_for(process, n_chunks)
        time.sleep(chance.random() * 0.01)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        n_chunks = lines()
        if process.returncode == 0:  # it was through: from the beginning again
            assert np.load("out.npy").tobytes() == want.tobytes()
            os.unlink("out.npy")
            n_chunks = 0
    process = start(made, "--resume")
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    assert np.load("out.npy").tobytes() == want.tobytes()
    assert sorted(os.listdir()) == ["in.h5ad", "out.npy"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_keep_what_is_done_and_print_the_command(folder, random_model, number):
    slow = random_model(pad_length=300, emsize=256, d_hid=256, nlayers=2)
    assert slow.model.directory.exists()
    os.rename("in.h5ad", "my cells.h5ad")
    arguments = ["embed", "my cells.h5ad", "out.npy", "--model", str(slow.folder), "--memory", "6kB"]
    process = subprocess.Popen([*COMMAND, *arguments, "--json-progress"], stderr=subprocess.PIPE, text=True)
    wait_for(process, 2)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 128 + number, stderr
    said = stderr.splitlines()
    assert "of 48 rows are kept in " in said[-2], stderr
    assert said[-1].startswith("  se600m embed 'my cells.h5ad' out.npy --model ")
    assert said[-1].endswith(" --memory 6kB --json-progress --resume")
    events = [json.loads(line) for line in said if line.startswith("{")]
    saved = [event for event in events if event["event"] == "saved"]
    assert [event["chunk"] for event in saved] == list(range(1, len(saved) + 1))
    assert {event["file"] for event in saved} == {"my cells.h5ad"}
    working = [event for event in events if event.get("task", "").startswith("Embedding")]
    assert all({"done", "total", "rate", "eta_s", "unit"} <= set(event) for event in working)
    embed(slow, src="my cells.h5ad", resume=True)
    assert np.load("out.npy").tobytes() == slow.model.compute(anndata.read_h5ad("my cells.h5ad")).embedding.tobytes()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fills_up(made, folder, monkeypatch, want, error):
    write, calls = os.pwrite, []

    def full(file, values, offset):
        calls.append(offset)
        if len(calls) > 12:
            write(file, values[: len(values) // 2], offset)  # as a disk does that is full
            raise OSError(error, os.strerror(error))
        return write(file, values, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(
            errors.DestinationError, match=rf"partial' can't be written: {os.strerror(error)}.*are kept"
        ):
            embed(made)
    before = Path("in.h5ad").read_bytes()
    done = embed(made, resume=True)
    assert 0 < done.report["resumed_from"] < N
    assert np.load("out.npy").tobytes() == want.tobytes()
    assert Path("in.h5ad").read_bytes() == before


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def replaced(path):
    shutil.copy(path, "new")
    os.replace("new", path)


@pytest.mark.parametrize(
    "spoil, says",
    [
        (cut, r"went from [\d,]+ to [\d,]+ bytes"),
        (replaced, "was changed or replaced"),
        (os.unlink, "is gone"),
    ],
)
def test_an_input_that_changes_under_the_run(made, folder, monkeypatch, spoil, says):
    chunks, append = [], Journal.append

    def appended(self, values):
        append(self, values)
        chunks.append(self.done)
        if len(chunks) == 2:
            spoil("in.h5ad")

    monkeypatch.setattr(Journal, "append", appended)
    with pytest.raises(errors.DataError, match=f"'in.h5ad' {says} while it was read") as raised:
        embed(made)
    assert len(chunks) == 2
    assert f"{chunks[-1]} of 48 rows are kept" in raised.value.__notes__[0]


def test_a_folder_that_is_gone_is_no_longer_the_same(tmp_path):
    """Chunks that zarr does not find are zeros for it."""
    (tmp_path / "cells.zarr").mkdir()
    seen = _stored.status_of(tmp_path / "cells.zarr")
    _stored.check_same(tmp_path / "cells.zarr", seen)
    (tmp_path / "cells.zarr").rmdir()
    with pytest.raises(errors.DataError, match=r"cells\.zarr' is gone while it was read: .*overwrite=True"):
        _stored.check_same(tmp_path / "cells.zarr", seen)


def test_two_at_once(made, halfway):
    folder = _journal.folder_of(Path("out.npy").resolve())
    lock = _journal._locked(folder)
    try:
        with pytest.raises(errors.DestinationError, match="another process works on"):
            embed(made, resume=True)
        with pytest.raises(errors.DestinationError, match="another process works on"):
            embed(made, overwrite=True)
    finally:
        os.close(lock)
    assert embed(made, resume=True).report["resumed_from"] == halfway


# -- the journal -----------------------------------------------------------------------------------

ARRAYS = {"a": Array("float32", (3,)), "b": Array("int32", ())}


def values(first, last):
    n = np.arange(first, last)
    return {"a": np.stack([n, n + 0.5, -n], axis=1).astype(np.float32), "b": n.astype(np.int32)}


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "out", {"seed": 0}, 10, ARRAYS) as journal:
        journal.note(seen={"n": 1})
        for first, last in ((0, 3), (3, 4), (4, 7)):
            journal.append(values(first, last))
    return tmp_path / "out"


def reopened(path, **options):
    return Journal.open(path, {"seed": 0}, 10, ARRAYS, resume=True, **options)


def test_rows_of_a_journal(journal):
    with reopened(journal) as again:
        assert (again.done, again.n_chunks, again.notes) == (7, 3, {"seen": {"n": 1}})
        again.append(values(7, 10))
        assert all(np.array_equal(again.rows(name), values(0, 10)[name]) for name in ARRAYS)
        again.remove()
    assert not _journal.folder_of(journal).exists()


@pytest.mark.parametrize("n_bytes", range(1, 120, 7))
def test_a_line_that_was_cut_off_is_not_counted(journal, n_bytes):
    path = _journal.folder_of(journal) / "journal.jsonl"
    os.truncate(path, path.stat().st_size - n_bytes)
    with reopened(journal) as again:
        assert again.done in (0, 3, 4)
        again.append(values(again.done, 10))
    with reopened(journal) as again:
        assert again.done == 10
        assert np.array_equal(again.rows("b"), np.arange(10))


def test_what_rows_depend_on_is_compared_both_ways(journal):
    """An option that only one of the two runs has is a difference, too."""
    for now, named in (({"seed": 0, "fill": "none"}, "fill was none and is 'none'"), ({}, "seed was 0 and is none")):
        with pytest.raises(errors.ResumeError, match=named):
            Journal.open(journal, now, 10, ARRAYS, resume=True)


def test_rows_are_on_the_disk_before_the_journal_names_them(journal, monkeypatch):
    synced, fdatasync = [], os.fdatasync

    def noted(file):
        synced.append(Path(os.readlink(f"/proc/self/fd/{file}")).name)
        fdatasync(file)

    with reopened(journal) as again:
        monkeypatch.setattr(os, "fdatasync", noted)
        again.append(values(7, 8))
    assert synced == ["a", "b", "journal.jsonl"]


def test_rows_that_the_disk_lost_are_made_again(journal):
    path = _journal.folder_of(journal) / "a"
    spoiled = bytearray(path.read_bytes())
    spoiled[3 * 12] ^= 1
    path.write_bytes(spoiled)
    with reopened(journal) as again:
        assert again.done == 3
    os.truncate(path, 3)
    with reopened(journal) as again:
        assert again.done == 0


def test_chunks_that_are_larger_than_a_system_reads_at_once(journal, monkeypatch):
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda file, n, offset: read(file, min(n, 16), offset))
    monkeypatch.setattr(_journal, "_AT_ONCE", 16)
    with reopened(journal) as again:
        assert again.done == 7


def test_a_journal_that_is_of_no_use(journal):
    folder = _journal.folder_of(journal)
    (folder / "b").unlink()
    with pytest.raises(errors.ResumeError, match=r"can't be resumed: 'b' is missing\. Start again with overwrite=True"):
        reopened(journal)
    with pytest.raises(errors.ResumeError, match="its arrays have other shapes"):
        Journal.open(journal, {"seed": 0}, 11, ARRAYS, resume=True)
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text(json.dumps({"format": 99}) + "\n" + "".join(lines[1:]))
    with pytest.raises(errors.ResumeError, match="another version of se600m"):
        reopened(journal)


def test_a_part_tells_of_the_whole(tmp_path, monkeypatch):
    whole = Journal.open(tmp_path / "out", {"seed": 0}, 3, {"n": Array("int64", ())}, unit="file")
    place, part = whole.folder / "00001.npz", _journal.Part(whole, "a.h5ad")
    journal = Journal.open(place, {"seed": 0}, 10, ARRAYS, part=part)
    assert journal.kept() == ""
    journal.append(values(0, 3))
    kept = f"3 of 10 rows of 'a.h5ad' are kept in {str(whole.folder)!r}: go on with resume=True"
    assert journal.kept() == kept
    whole.append({"n": np.array([4])})
    assert journal.kept() == f"1 of 3 files and {kept}"
    with monkeypatch.context() as patch, pytest.raises(errors.DestinationError) as full:
        patch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        journal.append(values(3, 4))
    assert str(full.value) == (
        f"{str(whole.folder)!r} can't be written: No space left on device. 1 of 3 files and {kept}"
    )
    journal.close()
    with pytest.raises(errors.ResumeError, match=rf"^'{whole.folder}' can't be resumed, .*: seed was 0 and is 1\."):
        Journal.open(place, {"seed": 1}, 10, ARRAYS, resume=True, part=part)
    error = KeyboardInterrupt()
    for one in (whole, whole):
        _journal.kept_note(error, one)
    assert error.__notes__ == [f"1 of 3 files are kept in {str(whole.folder)!r}: go on with resume=True"], "once"
    whole.remove()


def test_which_gpu_it_was_does_not_matter(made, folder):
    """Rows are of a kind of device: a job that is put back into the queue gets another one, and a cluster has many."""
    kinds = {}
    for device in ("cuda:0", "cuda:1", "cuda:0,cuda:1", "cuda", "cpu", "tensorrt:0"):
        kinds[device] = _resumable.device_kind(made.model._opened.as_on(device, "fp16", "1"))
    assert kinds == {name: "cuda" for name in list(kinds)[:4]} | {"cpu": "cpu", "tensorrt:0": "tensorrt"}


def test_the_pace_follows_the_speed():
    pace = _resumable.Pace()
    assert pace() == 16
    pace.took(16, 0.001)
    assert pace() == 128, "it grows a step at a time"
    pace.took(128, 64.0)
    assert pace() == 120
    pace.took(120, 1e6)
    assert pace() == 1


# -- shards ----------------------------------------------------------------------------------------


def tree_of(path):
    from test_embed_file import tree

    return tree(path)


def test_shards_are_merged_to_what_one_run_writes(made, folder, want):
    embed(made, "whole.h5ad")
    shards = [f"shard{i}.npz" for i in (1, 2, 3)]
    for number, shard in enumerate(shards, 1):
        done = embed(made, shard, shard=f"{number}/3", fill="auto")
        assert done.n_cells == 16
    with np.load(shards[1]) as second:
        assert np.array_equal(second["embedding"], want[16:32])
    for out in ("merged.npy", "merged.h5ad", "merged.parquet"):
        done = se600m.merge_shards(out, [shards[2], shards[0], shards[1]])
        assert done.n_cells == N
    assert np.load("merged.npy").tobytes() == want.tobytes()
    assert tree_of("merged.h5ad") == tree_of("whole.h5ad")
    assert os.path.exists("shard1.npz"), "they stay"
    os.rename("in.h5ad", "moved.h5ad")
    other = anndata.read_h5ad("moved.h5ad")
    other.obs_names = [f"other {name}" for name in other.obs_names]
    other.write_h5ad("other.h5ad")
    other[:9].copy().write_h5ad("few.h5ad")
    for wrong, says in (("other.h5ad", "has other cells than the shards"), ("few.h5ad", "has 9 cells, but .* of 48")):
        with pytest.raises(errors.DataError, match=says):
            se600m.merge_shards("again.h5ad", shards, src=wrong)
    with pytest.raises(errors.DataError, match=r"in\.h5ad' does not exist"):
        se600m.merge_shards("again.h5ad", shards)
    with pytest.raises(errors.OptionError, match=r"src='moved\.h5ad' is of no use for an \.npy file.*leave it out"):
        se600m.merge_shards("again.npy", shards, src="moved.h5ad")
    se600m.merge_shards("again.h5ad", shards, src="moved.h5ad")
    assert tree_of("again.h5ad") == tree_of("whole.h5ad")


def test_shards_of_independent_fills_are_those_of_the_whole(made, folder):
    """What is drawn for a cell depends on its number in the file, not in the shard."""
    options = {"fill": "independent", "with_dataset_embedding": True}
    embed(made, "whole.npy", **options)
    for number in (1, 2):
        embed(made, f"{number}.npz", shard=(number, 2), **options)
    se600m.merge_shards("merged.npy", ["1.npz", "2.npz"])
    assert Path("merged.npy").read_bytes() == Path("whole.npy").read_bytes()


def test_shards_that_do_not_belong_together(made, folder):
    for number in (1, 2, 3):
        embed(made, f"{number}.npz", shard=(number, 3))
    embed(made, "seed.npz", shard=(2, 3), seed=7)
    embed(made, "half.npz", shard=(2, 2))
    embed(made, "key.npz", shard=(2, 3), key_added="other")
    Path("no.npz").write_bytes(b"PK no")
    data = Path("3.npz").read_bytes()
    Path("cut.npz").write_bytes(data[: len(data) // 2])
    np.savez("theirs.npz", embedding=np.ones((2, 2)))
    for shards, says in (
        (["1.npz", "3.npz"], "1 shard of 3 is missing: 2/3"),
        (["1.npz"], "2 shards of 3 are missing: 2/3, 3/3"),
        (["1.npz", "2.npz", "2.npz", "3.npz"], "are both shard 2/3: give each once"),
        (["1.npz", "seed.npz", "3.npz"], "not of the same run: seed is 0 and 7"),
        (["1.npz", "half.npz"], "of 3 and of 2 shards"),
        (["1.npz", "key.npz", "3.npz"], "the key is 'X_state' and 'other'"),
        (["1.npz", "2.npz", "cut.npz"], r"'cut\.npz' is not a shard .* cut off"),
        (["no.npz"], r"'no\.npz' is not a shard"),
        (["theirs.npz"], r"'theirs\.npz' is not a shard"),
        (["nothing.npz"], r"'nothing\.npz' does not exist"),
    ):
        with pytest.raises(errors.DataError, match=says):
            se600m.merge_shards("out.npy", shards)
    assert not Path("out.npy").exists()
    for wrong in ("0/3", "4/3", "3", "a/b", (1, 0), 5):
        with pytest.raises(errors.OptionError, match="is not a part such as '3/16'"):
            embed(made, "out.npz", shard=wrong)
    with pytest.raises(errors.OptionError, match="use fewer shards"):
        embed(made, "out.npz", shard=(1, 100))
    with pytest.raises(errors.OptionError, match=r"ends in \.npz"):
        embed(made, "out.npy", shard=(1, 2))


@pytest.mark.parametrize("which", [0, 1], ids=["the first", "a later one"])
def test_what_one_shard_alone_notes_is_a_difference(made, folder, which):
    for number in (1, 2):
        embed(made, f"{number}.npz", shard=(number, 2))
    with np.load(f"{which + 1}.npz") as file:
        arrays = dict(file)
    record = json.loads(arrays["record"].tobytes())
    for spoil, says in (
        (lambda r: r["identity"].update(more=None), r"more is (not noted and None|None and not noted)\."),
        (lambda r: r["identity"].pop("seed"), r"seed is (not noted and 0|0 and not noted)\."),
        (
            lambda r: arrays.pop("dataset_embedding"),
            r"its arrays is \[.*'dataset_embedding float32\[10\]'.* and \[|and \[",
        ),
    ):
        changed = json.loads(json.dumps(record))
        spoil(changed)
        _outputs.write_npz(Path("spoiled.npz"), arrays | {"record": np.frombuffer(json.dumps(changed).encode(), "u1")})
        shards = ["1.npz", "2.npz"]
        shards[which] = "spoiled.npz"
        with pytest.raises(errors.DataError, match=f"not of the same run: {says}"):
            se600m.merge_shards("out.npy", shards)
    assert not Path("out.npy").exists()


def test_parts_cover_all_rows():
    for n in (16, 17, 100, 1001):
        ends = [_shards.Shard(i, 16).rows(n) for i in range(1, 17)]
        assert [0, *(last for _, last in ends)] == [*(first for first, _ in ends), n]
        assert {last - first for first, last in ends} <= {n // 16, n // 16 + 1}


def test_a_shard_that_is_resumed_and_the_command(made, folder, want, monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_after(patch, 2)
        embed(made, "1.npz", shard="1/2")
    embed(made, "1.npz", shard="1/2", resume=True)
    call = ["embed", "in.h5ad", "2.npz", "--shard", "2/2", "--model", str(made.folder)]
    for arguments in (call, ["merge", "out.npy", "1.npz", "2.npz"]):
        typer.main.get_command(cli.app)(arguments, standalone_mode=False)
    assert "48 cells × 20 of 2 shards in out.npy" in capsys.readouterr().err
    assert np.load("out.npy").tobytes() == want.tobytes()
