"""Files that appear whole or not at all, in places that are looked at before there is work to lose."""

import os
import pickle
import re
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anndata
import numpy as np
import pytest

import se600m
from conftest import IMMUNE
from se600m import _files, _keep, cli, errors

ROOT = os.geteuid() == 0


def drafts(folder):
    return [p for p in folder.rglob("*") if p.name.endswith(".unfinished")]


def check(path, *, overwrite=False):
    return _files.check(Path(path), "OUT", overwrite=overwrite, suffixes=(".h5ad", ".npy"))


# -- looked at beforehand --------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder with whatever a path can lead to."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "file.npy").write_bytes(b"years of work")
    (tmp_path / "link.npy").symlink_to("file.npy")
    (tmp_path / "dangling.npy").symlink_to("folder/new.npy")
    (tmp_path / "nowhere.npy").symlink_to("file.npy/new.npy")
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    (tmp_path / "null.npy").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe.npy")
    return tmp_path


WRONG = [
    pytest.param("out.csv", errors.OptionError, r"'out\.csv': give a path that ends in \.h5ad or \.npy", id="suffix"),
    pytest.param("out", errors.OptionError, "ends in", id="no suffix"),
    pytest.param("folder", errors.DestinationError, r"which is a folder: .*'folder/cells\.h5ad'", id="folder"),
    pytest.param("folder.npy", errors.DestinationError, "which is a folder", id="folder with a suffix"),
    pytest.param("file.npy", errors.DestinationExistsError, "which already exists: .*--overwrite", id="file"),
    pytest.param("link.npy", errors.DestinationExistsError, "'link.npy', which already exists", id="link"),
    pytest.param("file.npy/out.npy", errors.DestinationError, r"file\.npy' is a file, not a folder", id="under a file"),
    pytest.param("file.npy/a/out.npy", errors.DestinationError, "is a file, not a folder", id="far under a file"),
    pytest.param("nowhere.npy", errors.DestinationError, "is a file, not a folder", id="link to under a file"),
    pytest.param("loop.npy", errors.DestinationError, "symbolic links", id="loop"),
    pytest.param("null.npy", errors.DestinationError, "device or a pipe", id="device"),
    pytest.param("pipe.npy", errors.DestinationError, "device or a pipe", id="pipe"),
    pytest.param(
        "/proc/none/out.npy", errors.DestinationError, r"nothing can be written .*'/proc'", id="no new folder"
    ),
    pytest.param("/proc/out.npy", errors.DestinationError, r"nothing can be written .*'/proc'", id="no new file"),
    pytest.param(f"{'n' * 300}.npy", errors.DestinationError, "name too long", id="long name"),
]


@pytest.mark.parametrize("path, error, message", WRONG)
def test_a_place_that_cannot_be_written(places, path, error, message):
    before = sorted(places.rglob("*"))
    with pytest.raises(error, match=f"(?i)OUT is .*{message}"):
        check(path)
    assert sorted(places.rglob("*")) == before


@pytest.mark.parametrize(
    "path, real",
    [
        ("new.npy", "new.npy"),
        ("a/b/new.npy", "a/b/new.npy"),
        ("dangling.npy", "folder/new.npy"),
        ("folder/../x.h5ad", "x.h5ad"),
    ],
)
def test_a_place_that_can_be_written(places, path, real):
    before = sorted(places.rglob("*"))
    assert check(path) == places / real
    assert sorted(places.rglob("*")) == before, "looking changes nothing"


def test_overwriting_is_for_files_alone(places):
    assert check("file.npy", overwrite=True) == check("link.npy", overwrite=True) == places / "file.npy"
    for path in ("folder.npy", "null.npy", "pipe.npy"):
        with pytest.raises(errors.DestinationError):
            check(path, overwrite=True)


@pytest.mark.skipif(ROOT, reason="root writes everywhere")
def test_permissions(places):
    (places / "file.npy").chmod(0o444)
    with pytest.raises(errors.DestinationError, match=r"write-protected.*chmod u\+w"):
        check("file.npy", overwrite=True)
    (places / "folder").chmod(0o555)
    with pytest.raises(errors.DestinationError, match=r"nothing can be written .*folder': Permission denied"):
        check("folder/new.npy")


def test_what_the_system_says_of_permissions_is_believed(places, monkeypatch):
    """As above, for root, whom the system lets write anything."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(errors.DestinationError, match="write-protected"):
            check("file.npy", overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 12345)
        places.chmod(0o1777)
        with pytest.raises(errors.DestinationError, match="belongs to another user"):
            check("file.npy", overwrite=True)


def test_room_on_the_disk(places, monkeypatch):
    usage = type("Usage", (), {"total": 10**12, "free": 3 * 10**9})
    monkeypatch.setattr(_files.shutil, "disk_usage", lambda _: usage)
    _files.check_space(places / "a" / "b.npy", 3 * 10**9, "OUT")
    with pytest.raises(errors.DestinationError, match=r"needs about 4\.2 GB, but only 3\.0 GB are free"):
        _files.check_space(places / "a" / "b.npy", 4_200_000_000, "OUT")
    usage.total = usage.free = 0  # a file system that does not tell
    _files.check_space(places / "b.npy", 10**12, "OUT")


@pytest.mark.parametrize(
    "n_bytes, text", [(0, "0.0 kB"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (1_234_000_000_000, "1,234.0 GB")]
)
def test_bytes_for_people(n_bytes, text):
    assert _files.size(n_bytes) == text


# -- written whole or not at all -------------------------------------------------------------------


def test_a_link_stays_a_link(places):
    for link, real in (("link.npy", "file.npy"), ("dangling.npy", "folder/new.npy")):
        with _files.appearing(places / link) as draft:
            draft.write_bytes(b"new")
        assert (places / link).is_symlink()
        assert (places / real).read_bytes() == b"new"
    assert drafts(places) == []


def test_permissions_stay_and_new_files_follow_the_umask(places):
    (places / "file.npy").chmod(0o640)
    old = os.umask(0o027)
    try:
        for name in ("file.npy", "new.npy"):
            with _files.appearing(places / name) as draft:
                draft.write_bytes(b"x")
        with _files.appearing(places / "new", folder=True) as draft:
            (draft / "x").write_text("x")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE((places / name).stat().st_mode) for name in ("file.npy", "new.npy", "new")]
    assert modes == [0o640, 0o640, 0o750]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_nothing(tmp_path, error, folder):
    with (
        pytest.raises(error if isinstance(error, type) else OSError),
        _files.appearing(tmp_path / "a" / "b" / "out.npy", folder=folder) as draft,
    ):
        (draft / "x" if folder else draft).write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == [], "neither a draft nor folders that were made for it"


def test_folders_that_others_use_by_now_stay(tmp_path):
    with pytest.raises(KeyboardInterrupt), _files.appearing(tmp_path / "a" / "b" / "out.npy"):
        (tmp_path / "a" / "theirs").write_text("x")
        raise KeyboardInterrupt
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["theirs"]


def test_a_long_name_is_a_name(tmp_path):
    for name in (f"{'n' * 250}.npy", f"{'é' * 125}.npy"):
        with _files.appearing(tmp_path / name) as draft:
            draft.write_bytes(b"x")
        assert (tmp_path / name).read_bytes() == b"x"


def test_a_folder_replaces_a_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    with pytest.raises(ValueError), _files.appearing(tmp_path / "out", folder=True):
        raise ValueError
    assert os.listdir(tmp_path / "out") == ["old"]
    with _files.appearing(tmp_path / "out", folder=True) as draft:
        (draft / "new").write_text("x")
    assert os.listdir(tmp_path / "out") == ["new"]
    assert os.listdir(tmp_path) == ["out"]


def test_only_a_folder_of_the_same_kind_is_replaced(tmp_path):
    options = {"option": "overwrite=True", "replaceable": "zarr.json", "kind": "a zarr group"}
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    (tmp_path / "file").write_text("years of work")
    for name in ("thesis", "file"):
        with pytest.raises(errors.DestinationExistsError, match=r"exists: .*overwrite=True"):
            _files.check_folder(tmp_path / name, "out", overwrite=False, **options)
        with pytest.raises(errors.DestinationExistsError, match="not a zarr group, so it is not replaced"):
            _files.check_folder(tmp_path / name, "out", overwrite=True, **options)
    (tmp_path / "thesis" / "zarr.json").write_text("{}")
    assert _files.check_folder(tmp_path / "thesis", "out", overwrite=True, **options) == tmp_path / "thesis"


HALF = """
    import sys, time
    from pathlib import Path
    from se600m import _files
    with _files.appearing(Path(sys.argv[1])) as draft:
        draft.write_bytes(b"half")
        print("half", flush=True)
        time.sleep(600)
"""


def test_drafts_of_the_dead_are_cleared_away_and_those_of_the_living_stay(tmp_path):
    out, other = tmp_path / "out.npy", tmp_path / "other.npy"
    running = []
    try:
        for path in (out, out, other):
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(HALF), str(path)], stdout=subprocess.PIPE, text=True
            )
            running.append(process)
            assert process.stdout.readline() == "half\n"
        assert len(drafts(tmp_path)) == 3
        for process in (running[0], running[2]):
            process.kill()
            process.wait()
        assert len(drafts(tmp_path)) == 3
        with _files.appearing(out) as draft:
            draft.write_bytes(b"whole")
        assert out.read_bytes() == b"whole"
        left = drafts(tmp_path)
        assert len(left) == 2, "the living one's, and that of another name"
    finally:
        for process in running:
            process.kill()
            process.communicate()
    for path in (out, other):
        with _files.appearing(path) as draft:
            draft.write_bytes(b"whole")
    assert drafts(tmp_path) == []


# -- a result that can't be written is kept --------------------------------------------------------


def test_a_result_is_kept_where_there_is_room(tmp_path, monkeypatch):
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    nowhere, room = tmp_path / "nowhere", tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    kept = _keep.kept_on_failure(values, None, "X_mine", "out.npy", beside=nowhere)
    with pytest.raises(errors.DestinationError, match=r"out\.npy could not be written \(no luck\)") as raised, kept:
        raise RuntimeError("no\nluck")
    (kept,) = room.iterdir()
    assert f"Load its 3 cells, in the same order, with adata.obsm['X_mine'] = numpy.load({str(kept)!r})" in str(
        raised.value
    )
    assert np.array_equal(np.load(kept), values)
    assert raised.value.__cause__ is not None

    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    there_is_none = _keep.kept_on_failure(values, None, "X_mine", "out.npy", beside=nowhere)
    with (
        pytest.raises(errors.DestinationError, match="could not be saved in a file either: there is no space"),
        there_is_none,
    ):
        raise OSError(28, "No space left on device")
    assert list(room.iterdir()) == [kept]


# -- the command -----------------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "se600m.cli"]


def command(*args, **options):
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Something to read for each command, and a folder that must stay as it is."""
    monkeypatch.chdir(tmp_path)
    adata = anndata.read_h5ad(IMMUNE)[:4].copy()
    adata.write_h5ad("in.h5ad")
    model = se600m.load_model()
    np.save("in.npy", np.zeros((4, model.output_dim + model.dataset_dim), np.float32))
    return tmp_path


CALLS = {
    "embed": ("embed", "in.h5ad", "{}.h5ad"),
    "embed alone": ("embed", "in.h5ad", "{}.npy"),
    "tokenize": ("tokenize", "in.h5ad", "{}.npz"),
    "contextual": ("contextual", "in.h5ad", "{}.npy", "--genes", "LYZ"),
    "decode": ("decode", "in.npy", "{}.npy", "--genes", "LYZ"),
    "decode to h5ad": ("decode", "in.npy", "{}.h5ad", "--genes", "LYZ"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_command_looks_before_it_opens_a_model(inputs, call, monkeypatch, capsys):
    """In this process, where opening a model can be made an error."""

    def opened(*_args, **_options):
        raise AssertionError("the model was opened before OUT was looked at")

    monkeypatch.setattr(se600m, "load_model", opened)
    monkeypatch.setattr("se600m._embed.load_model", opened)
    filled = [part.format("taken") for part in call]
    (inputs / filled[2]).write_text("years of work")
    (inputs / "plain").write_text("x")
    before = sorted(inputs.rglob("*"))
    for out, message in (
        (filled[2], "which already exists: choose another path, or replace it with --overwrite"),
        (f"plain/{filled[2]}", "is a file, not a folder"),
        ("out.txt", "ends in"),
        (f"/proc/{filled[2]}", "nothing can be written in the folder '/proc'"),
    ):
        monkeypatch.setattr(sys, "argv", ["se600m", *filled[:2], out, *filled[3:]])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert ended.value.code == 1
        assert said.startswith("error: OUT is "), said
        assert message in said
        assert said.count("\n") == 1
    assert sorted(inputs.rglob("*")) == before
    assert (inputs / filled[2]).read_text() == "years of work"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_overwrite(inputs, call, run):
    filled = [part.format("taken") for part in call]
    (inputs / filled[2]).write_text("replace me")
    done = run(*filled, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert (inputs / filled[2]).read_bytes() != b"replace me"
    assert drafts(inputs) == []


def test_in_and_out_are_the_same_file(inputs, run):
    done = run("embed", "in.h5ad", "in.h5ad")
    assert "exists" in done.stderr
    done = run("embed", "in.h5ad", "in.h5ad", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "X_state" in anndata.read_h5ad("in.h5ad").obsm
    before = Path("in.npy").read_bytes()
    done = run("decode", "in.npy", "in.npy", "--genes", "LYZ", "--overwrite")
    assert "which is also IN: choose another path, or the embeddings would be lost" in done.stderr
    assert Path("in.npy").read_bytes() == before


def test_a_key_that_others_wrote_is_named_as_the_command_names_it(inputs, run):
    adata = anndata.read_h5ad("in.h5ad")
    adata.obsm["X_pca"] = np.zeros((4, 2))
    adata.write_h5ad("pca.h5ad")
    done = run("embed", "pca.h5ad", "out.h5ad", "--key", "X_pca")
    assert done.returncode == 1
    assert "obsm['X_pca'] exists" in done.stderr
    assert "choose another --key, or replace it with --overwrite" in done.stderr


def test_an_embedding_alone_has_no_key(inputs, told):
    for words in (["embed", "in.h5ad", "out.npy"], ["embed", "in.h5ad", "more.h5ad", "out.npy"]):
        status, said = told(*words, "--key", "X_pca")
        assert status == 1
        assert "--key X_pca is the name of an element of obsm, but an .npy file has the embedding alone" in said
    np.save("in.npy", np.zeros((4, 96), np.float32))
    for words, named in ((["--key", "X_pca"], "--key X_pca"), (["--modality", "rna"], "--modality rna")):
        status, said = told("decode", "in.npy", "out.npy", "--genes", "LYZ", *words)
        assert status == 1
        assert f"{named} chooses among the elements of a file of cells, but 'in.npy' is an embedding alone" in said
    assert sorted(os.listdir()) == ["in.h5ad", "in.npy"]


@pytest.mark.parametrize("suffix", [".npy", ".h5ad"])
def test_a_disk_that_fills_up_in_the_end(inputs, suffix):
    """Files may not grow beyond a limit: the file does, the rows alone do not. They are kept, and the run goes on."""
    model = se600m.load_model()
    rows = 4 * 4 * model.output_dim
    limit = 100 if suffix == ".npy" else 8000

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = command("embed", "in.h5ad", f"out{suffix}", preexec_fn=limited)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in done.stderr
    assert drafts(inputs) == []
    assert not (inputs / f"out{suffix}").exists()
    if suffix == ".npy":
        assert "out.npy.partial' can't be written: File too large" in line
        assert sorted(os.listdir(inputs)) == ["in.h5ad", "in.npy"]
        return
    assert rows < limit < Path("in.h5ad").stat().st_size
    assert "out.h5ad', which could not be written: File too large. 4 of 4 rows are kept in" in line
    assert "out.h5ad.partial': go on with --resume" in line
    again = command("embed", "in.h5ad", "out.h5ad", "--resume")
    assert again.returncode == 0, again.stderr
    assert anndata.read_h5ad("out.h5ad").obsm["X_state"].shape == (4, model.output_dim)
    assert sorted(os.listdir(inputs)) == ["in.h5ad", "in.npy", "out.h5ad"]


def test_names_are_shown_as_they_are(inputs):
    """Square brackets and colons are no markup, and a name that is no text is shown, too."""
    done = command("embed", "in.h5ad", "a[red]:smile:.npy")
    assert done.returncode == 0, done.stderr
    assert "in a[red]:smile:.npy" in done.stderr
    done = subprocess.run([*COMMAND, "embed", "in.h5ad", b"\xff.txt"], capture_output=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: OUT is ")


SLOW = """
    import signal, sys, time
    from se600m import cli, _outputs
    def slow(draft, rows):
        draft.write_bytes(b"half")
        print("half", flush=True)
        time.sleep(600)
    _outputs.write_npy = slow
    sys.argv = ["se600m", "embed", "in.h5ad", "out.npy"]
    cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_file_is_written_leaves_the_rows(inputs, number):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Under nohup, SIGHUP would be ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        assert process.stdout.readline() == "half\n"
        assert len(drafts(inputs)) == 1
        process.send_signal(number)
        _, stderr = process.communicate(timeout=250)
    finally:
        process.kill()
    assert process.returncode == 128 + number, stderr
    assert "stopped; 4 of 4 rows are kept in " in stderr
    assert stderr.splitlines()[-1] == "  se600m embed in.h5ad out.npy --resume"
    assert "Traceback" not in stderr
    assert sorted(os.listdir(inputs)) == ["in.h5ad", "in.npy", "out.npy.partial"]
    assert command("embed", "in.h5ad", "out.npy", "--resume").returncode == 0
    assert sorted(os.listdir(inputs)) == ["in.h5ad", "in.npy", "out.npy"]


def test_sigterm_while_the_model_runs(inputs, random_model):
    slow = random_model(pad_length=2048, emsize=512, d_hid=512, nlayers=6)
    assert slow.model.directory.exists()
    process = subprocess.Popen(
        [*COMMAND, "embed", str(IMMUNE), "out.h5ad", "--model", str(slow.folder)], stderr=subprocess.PIPE, text=True
    )
    try:
        maps = Path(f"/proc/{process.pid}/maps")
        while process.poll() is None and "libonnxruntime" not in maps.read_text():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=250)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert "stopped; nothing was written" in stderr
    assert sorted(os.listdir(inputs)) == ["in.h5ad", "in.npy"]


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_ignored(inputs, ignored):
    """As nohup arranges it."""
    code = textwrap.dedent(f"""
        import os, signal, sys
        signal.signal({int(ignored)}, signal.SIG_IGN)
        from se600m import cli, _outputs
        written = _outputs.write_npy
        def write(*args):
            os.kill(os.getpid(), {int(ignored)})
            written(*args)
        _outputs.write_npy = write
        sys.argv = ["se600m", "embed", "in.h5ad", "out.npy"]
        cli.main()
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (inputs / "out.npy").exists()


ENDS = [
    pytest.param(PermissionError(13, "Permission denied", "/x/y"), 1, "error: '/x/y': Permission denied", id="file"),
    pytest.param(OSError("the connection is lost"), 1, "error: the connection is lost", id="text alone"),
    pytest.param(OSError(5, "Input/output error"), 1, "error: Input/output error", id="no file"),
    pytest.param(MemoryError("Unable to\nallocate 3 GiB"), 1, r"error: not enough memory \(Unable to al", id="memory"),
    pytest.param(UnicodeEncodeError("ascii", "×", 0, 1, "no"), 1, "error: UnicodeEncodeError", id="text"),
    pytest.param(KeyError("gene\nname"), 1, "error: KeyError: .*bug in se600m.*SE600M_DEBUG=1", id="defect"),
    pytest.param(errors.DataError("two\nlines"), 1, "error: two lines", id="ours"),
    pytest.param(KeyboardInterrupt(), 130, "stopped; nothing was written", id="Ctrl-C"),
    pytest.param(BrokenPipeError(32, "Broken pipe"), 1, "", id="pipe"),
]  # fmt: skip


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("error, status, said", ENDS)
def test_whatever_ends_a_command_is_one_line(monkeypatch, error, status, said, debug):
    code = textwrap.dedent("""
        import pickle, sys
        import se600m
        from se600m import cli
        error = pickle.loads(bytes.fromhex(sys.argv[1]))
        def fails(*_, **__):
            raise error
        se600m.info = fails
        sys.argv = ["se600m", "info"]
        cli.main()
    """)
    env = {k: v for k, v in os.environ.items() if k != "SE600M_DEBUG"} | ({"SE600M_DEBUG": "1"} if debug else {})
    done = subprocess.run(
        [sys.executable, "-c", code, pickle.dumps(error).hex()],
        capture_output=True, text=True, timeout=120, check=False, env=env,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert ("Traceback" in done.stderr) == (debug and status == 1 and said != "")
    lines = done.stderr.splitlines()
    assert re.match(said, lines[-1] if lines else "")
    if not debug:
        assert len(lines) == bool(said)


def test_a_reader_that_has_gone_and_a_terminal_without_utf8(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m se600m.cli info | head -c 1; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    done = command("info", "se-mini", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
