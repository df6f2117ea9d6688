"""The cache: what a conversion is found by, made once, listed, cleared; and what happens where nothing can be kept."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import errors_table
import se600m
import statefiles
from conftest import RandomModel
from se600m import _cache, _conversions, _fingerprints, _models, errors

COMMAND = [sys.executable, "-m", "se600m.cli"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of its own."""
    monkeypatch.setenv("SE600M_CACHE", str(tmp_path / "cache"))
    _cache.temporary.cache_clear()  # what stood in for another cache
    return tmp_path / "cache"


@pytest.fixture
def made(tmp_path, cache) -> RandomModel:
    return RandomModel(tmp_path / "checkpoint", [f"G{i}" for i in range(50)], pad_length=64)


@pytest.fixture
def converted(monkeypatch):
    """The destinations that were converted to, one after the other."""
    done = []
    convert = _models.convert

    def counted(source, destination, **options):
        convert(source, destination, **options)
        done.append(Path(destination))

    monkeypatch.setattr(_models, "convert", counted)
    return done


# -- what a conversion is found by -------------------------------------------------------------


def touch(folder):
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return folder


def moved(folder):
    (folder.parent / "elsewhere").mkdir()
    return folder.rename(folder.parent / "elsewhere" / folder.name)


def copied(folder):
    return shutil.copytree(folder, folder.parent / "copy" / folder.name)


def linked(folder):
    """As Hugging Face's cache has files: links into a folder of contents."""
    target = folder.parent / "links" / folder.name
    target.mkdir(parents=True)
    for path in folder.iterdir():
        (target / path.name).symlink_to(path)
    return target


def with_company(folder):
    (folder / "notes.txt").write_text("?")
    (folder / "README.md").write_text("?")
    (folder / "optimizer.pt").write_bytes(b"?")
    return folder


def another_checkpoint_beside_it(folder):
    shutil.copy(folder / "model.safetensors", folder / "epoch=9.safetensors")
    return folder


def the_file_itself(folder):
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    "change", [touch, moved, copied, linked, with_company, another_checkpoint_beside_it, the_file_itself]
)  # fmt: skip
def test_what_does_not_change_a_checkpoint_converts_nothing_anew(made, converted, change):
    first = _models.resolve(made.folder)
    again = _models.resolve(change(made.folder))
    assert converted == [first]
    assert _conversions.key(json.loads((again / "config.json").read_text())["source"]["sha256"].values()) in first.name


def change_weight(made):
    """One bit in the middle of the weights, with the old size and the old times."""
    path = made.folder / "model.safetensors"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_config(made):
    path = made.folder / "config.yaml"
    path.write_text(path.read_text().replace("pad_length: 64", "pad_length: 32"))


def change_genes(made):
    rows = {gene.replace("G17", "H17"): row for gene, row in made.rows.items()}
    statefiles.save_torch(made.folder / "protein_embeddings.pt", rows)


@pytest.mark.parametrize("change", [change_weight, change_config, change_genes])
@pytest.mark.parametrize("large", [False, True])
def test_a_changed_file_is_never_served_from_before(made, converted, monkeypatch, change, large):
    if large:  # its SHA-256 is kept from one time to the next
        monkeypatch.setattr(_fingerprints, "_LARGE", 0)
        monkeypatch.setattr(_fingerprints, "_SETTLED", -1)
    first = _models.resolve(made.folder)
    assert _models.resolve(made.folder) == first
    change(made)
    second = _models.resolve(made.folder)
    assert converted == [first, second]
    assert second != first


def test_the_choice_among_checkpoints_and_gene_tables_counts(made, converted, tmp_path):
    statefiles.save_ckpt(
        made.folder / "b.ckpt", statefiles.random_state(made.dims, seed=9), made.dims, made.config, made.rows
    )
    table = tmp_path / "other.pt"
    statefiles.save_torch(table, {gene: made.rows[gene] for gene in made.genes[:30]})
    places = {
        _models.resolve(made.folder, checkpoint=checkpoint, protein_embeddings=genes)
        for checkpoint in (None, "b.ckpt")
        for genes in (None, table)
    }
    assert len(places) == len(converted) == 4


def test_the_same_weights_under_another_name_say_so_and_take_no_space(made, converted):
    """Lightning writes last.ckpt, a copy of another."""
    first = se600m.load_model(made.folder)
    other = shutil.copytree(made.folder, made.folder.parent / "other")
    second = se600m.load_model(other)
    assert len(converted) == 1
    assert (first.name, second.name) == ("checkpoint", "other")
    assert second.config["source"]["name"] == "other"
    assert second.checksum == first.checksum
    assert (second.directory / "weights.bin").samefile(first.directory / "weights.bin")
    indices, values = np.array([[first.cls_index, 1, 2]], np.int32), np.ones((1, 3), np.float32)
    assert np.array_equal(first.embed_sentences(indices, values)[0], second.embed_sentences(indices, values)[0])
    alone = made.folder.parent / "files" / "epoch=4.safetensors"
    alone.parent.mkdir()
    for path in made.folder.iterdir():
        shutil.copy(path, alone if path.suffix == ".safetensors" else alone.parent / path.name)
    third = se600m.load_model(alone)
    assert len(converted) == 1
    assert third.config["source"]["checkpoint"] == "epoch=4.safetensors"
    assert set(third.config["source"]["sha256"]) == {"epoch=4.safetensors", "config.yaml", "protein_embeddings.pt"}
    entries = _conversions.entries()
    assert [bool(entry.fault) for entry in entries] == [False] * 3
    assert sum(entry.size for entry in entries) < 1.5 * max(entry.size for entry in entries)


def test_a_copy_of_the_package_converts_its_model_once(cache, converted, tmp_path, monkeypatch):
    """As in another virtual environment."""
    first = _models.resolve("se-mini")
    shutil.copytree(_models.BUNDLED, tmp_path / "site-packages" / "models")
    monkeypatch.setattr(_models, "BUNDLED", tmp_path / "site-packages" / "models")
    assert _models.resolve("se-mini") == first
    assert converted == [first]


def test_large_files_are_hashed_once(made, converted, monkeypatch):
    monkeypatch.setattr(_fingerprints, "_LARGE", 1000)
    monkeypatch.setattr(_fingerprints, "_SETTLED", -1)
    read = []
    opened = Path.open

    def counting(self, mode="r", *args, **options):
        if mode == "rb" and self.parent == made.folder:
            read.append(self.name)
        return opened(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", counting)
    for _ in range(3):
        _models.resolve(made.folder, progress=False)
    assert read.count("model.safetensors") == 1
    assert read.count("config.yaml") == 3, "a small one is looked at each time"
    touch(made.folder)
    _models.resolve(made.folder, progress=False)
    assert read.count("model.safetensors") == 2
    assert len(converted) == 1
    _fingerprints.index_file().write_text("{")
    _models.resolve(made.folder, progress=False)
    assert read.count("model.safetensors") == 3, "a damaged index is none"
    assert len(converted) == 1


def test_a_file_that_has_just_changed_is_hashed_again(tmp_path, cache, monkeypatch):
    """Within the tick of a file system's clock the times of two versions are the same."""
    monkeypatch.setattr(_fingerprints, "_LARGE", 1)
    monkeypatch.setattr(_fingerprints, "_SETTLED", float("inf"))
    (tmp_path / "x").write_bytes(b"1234")
    (first,) = _fingerprints.sha256_of([tmp_path / "x"])
    assert not _fingerprints.index_file().exists()
    assert first == "03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4"


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, cache, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"1234")
    sizes = iter([1, 1, 2, 3])
    monkeypatch.setattr(_fingerprints, "_identity", lambda _: str(next(sizes)))
    with pytest.raises(errors.CheckpointError, match="changed while it was read: load it again"):
        _fingerprints.sha256_of([path])
    with pytest.raises(errors.CheckpointError, match="can't be read: No such file"):
        monkeypatch.undo()
        _fingerprints.sha256_of([tmp_path / "gone"])


def test_a_checkpoint_that_changes_while_it_is_converted_is_an_error(made, monkeypatch):
    convert = _models.convert

    def late(source, destination, **options):
        change_weight(made)
        convert(source, destination, **options)

    monkeypatch.setattr(_models, "convert", late)
    with pytest.raises(errors.CheckpointError, match="'checkpoint' changed while it was read"):
        _models.resolve(made.folder)
    assert not _conversions.entries()


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: (d / "weights.bin").write_bytes(b"x"),
        lambda d: (d / "genes.txt").unlink(),
        lambda d: (d / "config.json").write_text("{"),
        lambda d: (d / "config.json").unlink(),
        errors_table.change_config(format_version=1),
    ],
)
def test_a_damaged_conversion_is_made_again(made, converted, damage, caplog):
    place = _models.resolve(made.folder)
    damage(place)
    assert _models.resolve(made.folder) == place
    assert converted == [place, place]
    assert "is damaged and is made again" in caplog.text
    assert se600m.load_model(made.folder).directory == place
    assert [p.name for p in place.parent.iterdir() if not p.name.startswith(".locks")] == [place.name]


# -- made once ---------------------------------------------------------------------------------

LOAD = """
import logging, sys
from se600m import _models
logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
convert = _models.convert
def told(*args, **options):
    convert(*args, **options)
    print("CONVERTED", flush=True)
_models.convert = told
print("AT", _models.resolve(sys.argv[1], progress=False))
"""


def start(script, *args, **options):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


def test_four_processes_convert_once(made, cache):
    processes = [start(LOAD, made.folder) for _ in range(4)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    said = [out for out, _ in outputs]
    assert sum(out.count("CONVERTED") for out in said) == 1
    assert len({out[out.index("AT") :] for out in said}) == 1
    assert len([p for p in (cache / "converted").iterdir() if p.name != ".locks"]) == 1


def test_a_process_that_waits_says_so_and_finds_what_the_other_made(made, cache, converted):
    """This process holds the lock until the other one says that it waits."""
    place = _models.resolve(made.folder)
    aside = cache / "aside"
    place.rename(aside)
    with _cache.locked(cache / "converted", place.name.rpartition("-")[2], "the test"):
        process = start(LOAD, made.folder)
        assert process.stdout.readline() == "waiting for another process to finish the conversion of checkpoint\n"
        aside.rename(place)
    said, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "CONVERTED" not in said
    assert f"AT {place}" in said


def test_threads_convert_once(made, converted):
    threads = [threading.Thread(target=_models.resolve, args=(made.folder,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(converted) == 1


def test_a_killed_process_leaves_no_lock(made, cache, converted):
    script = """
    import os, sys
    from se600m import _cache, _models
    def die(source, destination, **_):
        (destination.parent / f".{destination.name}.unfinished-123").mkdir()
        print("in", flush=True)
        os.kill(os.getpid(), 9)
    _models.convert = die
    _models.resolve(sys.argv[1], progress=False)
    """
    process = start(textwrap.dedent(script), made.folder)
    assert process.communicate(timeout=120)[0] == "in\n"
    assert process.returncode == -9
    place = _models.resolve(made.folder)
    assert converted == [place]
    left = [entry for entry in _conversions.entries() if entry.fault]
    assert [(entry.what, entry.fault) for entry in left] == [
        ("unfinished", "left over from a process that was stopped")
    ]
    assert _conversions.chosen([]) == left
    _conversions.remove(left[0])
    assert [entry.path for entry in _conversions.entries()] == [place]


def test_a_file_system_without_locks(made, converted, monkeypatch, caplog):
    def no_locks(*_args, **_options):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(_cache.filelock.FileLock, "acquire", no_locks)
    with caplog.at_level("INFO", logger="se600m"):
        place = _models.resolve(made.folder)
    assert converted == [place]
    assert "does not support locks" in caplog.text


# -- where nothing can be kept -----------------------------------------------------------------

# Embeds with the package's own model and with a checkpoint, and says where the conversions are.
USE = """
import importlib.metadata, logging, os, sys
import numpy as np
import se600m
from se600m import _library
logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
_library.open_runtime()
# What is needed later is imported now: Python's own folder may not be readable then.
importlib.metadata.version("numpy")
se600m.load_model, se600m.doctor
if os.getuid() == 0 and "as nobody" in sys.argv:  # root may write everywhere
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
for name in ("se-mini", sys.argv[1]):
    for _ in range(2):
        model = se600m.load_model(name, progress=False)
    cells = np.array([[model.cls_index, 1, 2]], np.int32)
    assert np.isfinite(model.embed_sentences(cells, np.ones((1, 3), np.float32))[0]).all()
    print("AT", model.directory, model.directory.exists())
print(se600m.doctor().ok)
for check in se600m.doctor():
    if check.name in ("cache", "default model"):
        print(check.ok, check.found)
"""


@pytest.fixture
def readable():
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory(prefix="se600m-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def read_only_home(folder):
    (folder / "home").mkdir(mode=0o555)
    return {"HOME": str(folder / "home"), "XDG_CACHE_HOME": "", "SE600M_CACHE": ""}


def no_home(folder):
    return {"HOME": str(folder / "home" / "nobody"), "XDG_CACHE_HOME": "", "SE600M_CACHE": ""}


def cache_that_is_a_file(folder):
    (folder / "file").write_text("?")
    return {"SE600M_CACHE": str(folder / "file")}


def cache_under_a_file(folder):
    return {"SE600M_CACHE": str(Path(cache_that_is_a_file(folder)["SE600M_CACHE"]) / "cache")}


@pytest.mark.parametrize("home", [read_only_home, no_home, cache_that_is_a_file, cache_under_a_file])
def test_models_work_where_nothing_can_be_kept(readable, home):
    made = RandomModel(readable / "checkpoint", [f"G{i}" for i in range(50)], pad_length=64)
    temporary = readable / "tmp"
    temporary.mkdir()
    temporary.chmod(0o777)
    environment = os.environ | home(readable) | {"TMPDIR": str(temporary)}
    for path in made.folder.iterdir():
        path.chmod(0o444)
    readable.chmod(0o555)
    process = start(USE, made.folder, "as nobody", env=environment)
    said, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, said + stderr
    places = [Path(line.split()[1]) for line in said.splitlines() if line.startswith("AT ")]
    assert len(places) == 2
    assert all(temporary in place.parents for place in places)
    assert said.count("is not writable") - said.count("each process converts") == 2, "once for each model"
    assert said.count("Set SE600M_CACHE to a writable folder") >= 3
    assert not list(temporary.glob("se600m-*")), "removed at the end of the process"
    assert "\nTrue\n" in said, "the self-check agrees that embedding works"


class Full:
    """A disk that is full while a conversion is written to some folders."""

    def __init__(self, monkeypatch, *folders):
        convert = _models.convert

        def on_a_full_disk(source, destination, **options):
            if any(folder in Path(destination).parents for folder in folders):
                raise errors.DestinationError(f"convert: write {destination}: no space left on device")
            convert(source, destination, **options)

        monkeypatch.setattr(_models, "convert", on_a_full_disk)


def test_a_full_disk(made, cache, monkeypatch, caplog):
    Full(monkeypatch, cache)
    model = se600m.load_model(made.folder)
    assert cache not in model.directory.parents
    assert _cache.temporary() in model.directory.parents
    assert "no space left on device" in caplog.text
    assert "Set SE600M_CACHE" in caplog.text
    assert _models.resolve(made.folder) == model.directory, "found again in this process"
    monkeypatch.undo()


def test_full_disks_everywhere(made, cache, monkeypatch):
    Full(monkeypatch, cache, Path("/"))
    with pytest.raises(errors.DestinationError, match=r"neither into the cache .*no space left.*set SE600M_CACHE to"):
        _models.resolve(made.folder)
    monkeypatch.setattr(_cache, "why_not_writable", lambda _: "Read-only file system")
    monkeypatch.setattr(_cache, "temporary", lambda: (_ for _ in ()).throw(FileNotFoundError("nowhere")))
    monkeypatch.setattr(_cache, "has_temporary", lambda: False)
    with pytest.raises(errors.DestinationError, match=r"Read-only file system\) nor into a temporary folder \(nowhere"):
        _models.resolve(made.folder)


def test_a_filled_cache_that_is_read_only_is_used(readable):
    made = RandomModel(readable / "checkpoint", [f"G{i}" for i in range(50)], pad_length=64)
    environment = os.environ | {"SE600M_CACHE": str(readable / "cache")}
    assert start(USE, made.folder, env=environment).wait(timeout=240) == 0
    for path in readable.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    process = start(USE, made.folder, "as nobody", env=environment)
    said, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, said + stderr
    assert said.count(f"AT {readable / 'cache'}") == 2
    for path in readable.rglob("*"):
        path.chmod(0o755)


def test_no_error_of_a_checkpoint_becomes_one_of_the_cache(made, cache):
    (made.folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(errors.CheckpointError):
        se600m.load_model(made.folder)
    assert not _conversions.entries()


# -- the command -------------------------------------------------------------------------------


def command(*args, stdin=subprocess.DEVNULL):
    return subprocess.run(
        [*COMMAND, "cache", *map(str, args)], capture_output=True, text=True, check=False, timeout=120, stdin=stdin
    )


@pytest.fixture
def filled(made, cache):
    """A cache with a model in use, one of an older format, a draft, and things of others."""
    _models.resolve(made.folder)
    old = cache / "converted" / "old-0123456789abcdef"
    shutil.copytree(_models.resolve(made.folder), old)
    errors_table.change_config(format_version=1, name="old")(old)
    (cache / "converted" / ".x-0000.unfinished-7").mkdir()
    (cache / "converted" / "mine").mkdir()
    (cache / "converted" / "mine" / "thesis.txt").write_text("years of work")
    (cache / "photos").mkdir()
    return cache


def left(cache):
    return sorted(p.name.partition("-")[0] for p in (cache / "converted").iterdir() if p.name != ".locks")


def test_list(filled):
    done = command("list")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.startswith(f"{filled}: 3 converted, ")
    model = next(line for line in lines if line.startswith("checkpoint-"))
    for part in ("checkpoint, from checkpoint", "MB", "last used 20", str(filled / "converted" / "checkpoint-")):
        assert part in model
    assert "unused" not in model
    assert f"(unused: format 1, the current format is {_conversions.FORMAT})" in next(
        x for x in lines if x.startswith("old-")
    )
    assert "(unused: left over from a process that was stopped)" in next(x for x in lines if x.startswith(".x"))
    assert "thesis" not in done.stdout
    assert "mine" not in done.stdout


def test_an_empty_cache_is_listed(cache):
    done = command("list")
    assert (done.returncode, done.stdout) == (0, f"{cache}: 0 converted, 0.0 MB\n")
    assert not cache.exists(), "looking makes nothing"
    for options in ([], ["--all"]):
        done = command("clear", *options)
        assert done.returncode == 0
        assert f"{cache} has no" in done.stderr


def test_runtimes_are_listed_with_the_command_that_removes_them(cache):
    (cache / "runtimes" / "cpu-1.0").mkdir(parents=True)
    (cache / "runtimes" / "cpu-1.0" / "manifest.json").write_text("{}")
    assert "`se600m runtime remove cpu` removes it" in command("list").stdout
    command("clear", "--all", "--yes")
    assert (cache / "runtimes" / "cpu-1.0").exists()


def test_clear_removes_what_is_not_used(filled):
    done = command("clear", "--yes")
    assert done.returncode == 0, done.stderr
    assert "removed 2, " in done.stderr
    assert left(filled) == ["checkpoint", "mine"]
    assert "no unused models" in command("clear", "--yes").stderr
    assert (filled / "photos").exists()


def test_clear_all_removes_every_conversion_and_nothing_else(filled):
    done = command("clear", "--all", "--yes")
    assert done.returncode == 0, done.stderr
    assert left(filled) == ["mine"]
    assert (filled / "converted" / "mine" / "thesis.txt").exists()
    assert (filled / "photos").exists()


@pytest.mark.parametrize("by", ["name of the model", "name of the folder", "path"])
def test_clear_by_name(filled, by):
    folder = next((filled / "converted").glob("checkpoint-*"))
    name = {"name of the model": "checkpoint", "name of the folder": folder.name, "path": folder}[by]
    assert command("clear", name, "--yes").returncode == 0
    assert left(filled) == [".x", "mine", "old"]


@pytest.mark.parametrize(
    "args, says",
    [
        (["nothing", "--yes"], r"'nothing' is not in the cache '.*', which has '.*', 'old-0123456789abcdef'"),
        (["old", "--all"], "give either names or --all, not both"),
        ([], "2 would be removed: confirm with --yes"),
    ],
)
def test_clear_refuses(filled, args, says):
    before = left(filled)
    done = command("clear", *args)
    assert done.returncode == 1
    assert re.search(says, done.stderr), done.stderr
    assert left(filled) == before


def test_clear_asks(filled):
    """At a terminal; no is the answer that one gets for pressing Enter."""
    for answer, after in ((b"\n", 4), (b"y\n", 2)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = command("clear", stdin=theirs)
        os.close(ours)
        os.close(theirs)
        assert "Remove 2, " in done.stderr
        assert len(left(filled)) == after


def test_what_is_being_converted_is_not_cleared(filled):
    draft = filled / "converted" / ".y-00ff.unfinished-8"
    draft.mkdir()
    with _cache.locked(filled / "converted", "00ff", "the test"):
        assert "(being converted)" in command("list").stdout
        command("clear", "--all", "--yes")
        assert draft.exists()
    command("clear", "--yes")
    assert not draft.exists()
