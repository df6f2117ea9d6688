"""The se600m command."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import termios

import anndata
import h5py
import numpy as np
import pytest
import typer.main

import se600m
import statefiles
from conftest import IMMUNE
from se600m import _formats, cli, errors

COMMAND = [sys.executable, "-m", "se600m.cli"]
WITH_DATASET = "--with-dataset-embedding"


def test_immune559(tmp_path):
    """In processes: 559 finite rows of unit length, and the same bytes from fewer cells in other batches."""
    width = se600m.load_model().output_dim
    few = tmp_path / "few.h5ad"
    anndata.read_h5ad(IMMUNE)[:16].write_h5ad(few)
    outputs = [tmp_path / "one.h5ad", tmp_path / "two.h5ad"]
    runs = ((IMMUNE, 559, []), (few, 16, ["--batch-size", "5", "--threads", "1"]))
    for (source, n, options), output in zip(runs, outputs, strict=True):
        done = subprocess.run(
            [*COMMAND, "embed", source, output, *options], capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr
        last = done.stderr.splitlines()[-1]
        assert f"{n} cells × {width}" in last
        assert last.endswith(", with se-mini, a small demonstration model: choose another with --model")
    embeddings = [anndata.read_h5ad(output).obsm["X_state"] for output in outputs]
    assert embeddings[0].shape == (559, width)
    assert np.all(np.isfinite(embeddings[0]))
    np.testing.assert_allclose(np.linalg.norm(embeddings[0], axis=1), 1, rtol=1e-6)
    assert embeddings[0][:16].tobytes() == embeddings[1].tobytes()
    assert len(np.unique(embeddings[0], axis=0)) == 559
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few.h5ad", "one.h5ad", "two.h5ad"]
    with h5py.File(outputs[0]) as written, h5py.File(IMMUNE) as original:
        for part in ("data", "indices", "indptr"):
            assert np.array_equal(written[f"X/{part}"], original[f"X/{part}"])


def test_options_reach_embed(tmp_path, pbmc, run):
    source, output = tmp_path / "in.h5ad", tmp_path / "deep" / "out.h5ad"
    pbmc.write_h5ad(source)
    done = run("embed", source, output, "--use-raw", "--key", "X_se", "--seed", 3, "--fill", "shared")
    assert done.returncode == 0, done.stderr
    made_with = anndata.read_h5ad(output).uns["X_se"]
    assert (made_with["seed"], made_with["fill"]) == (3, "shared")


def test_warnings_are_one_line(tmp_path, pbmc, run):
    source = tmp_path / "in.h5ad"
    pbmc.write_h5ad(source)
    done = run("embed", source, tmp_path / "out.h5ad")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if line.startswith("warning:") and "negative values" in line]
    done = run("embed", source, tmp_path / "strict.h5ad", "--strict")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error:") and "negative values" in line]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad"]


def read(path, key="X_state"):
    return np.load(path) if path.suffix == ".npy" else anndata.read_h5ad(path).obsm[key]


def test_the_embedding_alone_and_with_the_dataset_embedding(tmp_path, immune, run):
    width = se600m.load_model().output_dim
    both = width + se600m.load_model().dataset_dim
    immune.write_h5ad(tmp_path / "in.h5ad")
    for name, options in (("a.h5ad", []), ("a.npy", []), ("b.h5ad", [WITH_DATASET]), ("b.npy", [WITH_DATASET])):
        done = run("embed", tmp_path / "in.h5ad", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
        assert f"24 cells × {both if options else width}" in done.stderr
    a, b = read(tmp_path / "a.npy"), read(tmp_path / "b.npy")
    assert (a.shape, b.shape, a.dtype) == ((24, width), (24, both), np.float32)
    assert np.array_equal(a, read(tmp_path / "a.h5ad"))
    assert np.array_equal(b, read(tmp_path / "b.h5ad"))
    assert np.array_equal(b[:, :width], a)
    assert np.array_equal(b[:, width:], read(tmp_path / "a.h5ad", "X_state_dataset"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5ad", "a.npy", "b.h5ad", "b.npy", "in.h5ad"]


def test_checkpoint_and_gene_table(tmp_path, random_model, immune, run):
    """The options that choose what is opened reach the model."""
    made = random_model()
    folder = tmp_path / "folder"
    for name in ("one.ckpt", "two.ckpt"):
        statefiles.save_ckpt(folder / name, made.state, made.dims, made.config, made.rows)
    table = tmp_path / "half.pt"
    statefiles.save_torch(table, {gene: made.rows[gene] for gene in made.genes[::2]})
    immune[:2].write_h5ad(tmp_path / "in.h5ad")
    call = ("embed", tmp_path / "in.h5ad", tmp_path / "out.h5ad", "--model", folder)
    assert "one.ckpt, two.ckpt" in run(*call).stderr
    done = run(*call, "--checkpoint", "two.ckpt", "--protein-embeddings", table)
    assert done.returncode == 0, done.stderr
    made_with = anndata.read_h5ad(tmp_path / "out.h5ad").uns["X_state"]
    assert (made_with["model"], made_with["n_vocabulary"]) == ("two", len(made.genes[::2]))
    assert "demonstration model" not in done.stderr
    done = run("convert", folder, tmp_path / "converted", "--checkpoint", "one.ckpt", "--protein-embeddings", table)
    assert done.returncode == 0, done.stderr
    assert "one.ckpt" in run("info", tmp_path / "converted").stdout


def test_decode(tmp_path, immune, run):
    """From embeddings as either file, stored either way, to predictions as either file."""
    model = se600m.load_model()
    genes = ["MS4A1", "CD3D", "LYZ"]
    cells = model.embed(immune, copy=True)
    both = model.embed(immune, with_dataset_embedding=True, key_added="X_se", copy=True)
    cells.write_h5ad(tmp_path / "apart.h5ad")
    both.write_h5ad(tmp_path / "both.h5ad")
    np.save(tmp_path / "both.npy", both.obsm["X_se"])
    (tmp_path / "genes.txt").write_text("MS4A1\n\nCD3D\nLYZ\n")
    want = model.decode(both.obsm["X_se"], genes)
    for source, options in (
        ("apart.h5ad", ["--genes", "MS4A1,CD3D,LYZ"]),
        ("both.h5ad", ["--key", "X_se", "--genes-file", tmp_path / "genes.txt"]),
        ("both.npy", ["--genes", "MS4A1, CD3D, LYZ", "--threads", "1"]),
    ):
        for suffix in (".npy", ".h5ad"):
            target = tmp_path / f"out-{source}{suffix}"
            done = run("decode", tmp_path / source, target, *options)
            assert done.returncode == 0, done.stderr
            assert "24 cells × 3 genes" in done.stderr
            if suffix == ".npy":
                assert np.array_equal(np.load(target), want)
                continue
            out = anndata.read_h5ad(target)
            assert np.array_equal(out.X, want)
            assert list(out.var_names) == genes
            assert out.uns["decoded"]["model_checksum"] == model.checksum
            if source.endswith(".h5ad"):
                assert out.obs.equals(anndata.read_h5ad(tmp_path / source).obs)
    deep = run("decode", tmp_path / "both.npy", tmp_path / "deep.npy", "--genes", "MS4A1", "--read-depth", "6")
    assert deep.returncode == 0, deep.stderr
    assert np.array_equal(np.load(tmp_path / "deep.npy"), model.decode(both.obsm["X_se"], "MS4A1", read_depth=6))


@pytest.mark.parametrize(
    "args, message",
    [
        pytest.param(["e.h5ad", "o.npy"], "either --genes A,B,C or --genes-file", id="no genes"),
        pytest.param(
            ["e.h5ad", "o.npy", "--genes", "LYZ", "--genes-file", "g.txt"], "either --genes", id="genes twice"
        ),
        pytest.param(["e.h5ad", "o.npy", "--genes-file", "no.txt"], "'no.txt' can't be read", id="no file of genes"),
        pytest.param(["e.h5ad", "o.npy", "--genes", "lyz"], "'LYZ'", id="unknown gene"),
        pytest.param(["e.h5ad", "o.npy", "--genes", ","], "genes is empty", id="no gene among commas"),
        pytest.param(
            ["e.h5ad", "o.npy", "--genes", "LYZ", "--key", "X"], "obsm has no 'X', only ['X_state']", id="key"
        ),
        pytest.param(
            ["e.h5ad", "o.npy", "--genes", "LYZ"], "also needs the dataset embedding", id="no dataset embedding"
        ),
        pytest.param(["e.h5ad", "o.csv", "--genes", "LYZ"], "ends in .h5ad or .npy", id="output of another kind"),
        pytest.param(["e.npz", "o.npy", "--genes", "LYZ"], "'e.npz' is a file of numpy arrays", id="another kind"),
        pytest.param(["no.h5ad", "o.npy", "--genes", "LYZ"], "no.h5ad", id="no h5ad"),
        pytest.param(["no.npy", "o.npy", "--genes", "LYZ"], "'no.npy' can't be read as npy", id="no npy"),
        pytest.param(["bad.npy", "o.npy", "--genes", "LYZ"], "has a NaN or infinite value in row 1", id="NaN"),
        pytest.param(["flat.npy", "o.npy", "--genes", "LYZ"], "not an embedding", id="one-dimensional"),
    ],
)
def test_wrong_calls_of_decode(tmp_path, args, message, run):
    width = se600m.load_model().output_dim
    both = width + se600m.load_model().dataset_dim
    adata = anndata.AnnData(np.zeros((2, 1), np.float32), obsm={"X_state": np.zeros((2, width), np.float32)})
    adata.write_h5ad(tmp_path / "e.h5ad")
    np.save(tmp_path / "bad.npy", np.array([[0.0] * both, [np.nan] * both]))
    np.save(tmp_path / "flat.npy", np.zeros(both))
    np.savez(tmp_path / "e.npz", x=np.zeros(3))
    before = sorted(p.name for p in tmp_path.iterdir())
    done = run("decode", *args, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error:")
    assert message in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before, "nothing is left behind"


def test_without_a_command_the_help_is_shown(told):
    for words in ((), ("runtime",), ("cache",)):
        status, err, out = told(*words, with_output=True)
        assert status == 2
        assert re.search(r"Usage: .*se600m", out + err)  # click words how the tests were started, too
        assert "error" not in err


def test_convert_and_info(tmp_path, random_model, run):
    target = tmp_path / "converted"
    done = run("convert", random_model().folder, target, "--name", "mine")
    assert done.returncode == 0, done.stderr
    shown = run("info", target)
    assert shown.returncode == 0
    assert shown.stdout.startswith("mine (")
    assert "[B, 301, 32]" in shown.stdout
    again = run("convert", random_model().folder, target)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert "in the package: se-mini" in run("info").stdout


@pytest.mark.parametrize(
    "args, message",
    [
        pytest.param(["embed", "no.h5ad", "out.h5ad"], "no.h5ad", id="no such file"),
        pytest.param(["embed", "text.h5ad", "out.h5ad"], "'text.h5ad' is a text file", id="not h5ad"),
        pytest.param(["embed", IMMUNE, "out.csv"], "ends in .h5ad", id="output of another kind"),
        pytest.param(["embed", IMMUNE], "OUT.h5ad", id="no output"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--model", "SE"], "SE-600M can be downloaded once", id="model"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--device", "cuda"], "libonnxruntime_providers_cuda", id="device"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--seed", "x"], "'--seed'", id="seed"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--sed", "1"], "--sed", id="option"),
        pytest.param(["convert", "nowhere", "out"], "nowhere", id="no checkpoint"),
        pytest.param(["info", "nothing"], "MODEL nothing is neither", id="no model"),
        pytest.param(["embd"], "embd", id="command"),
    ],
)
def test_wrong_calls_end_in_one_clear_line(tmp_path, args, message, run):
    (tmp_path / "text.h5ad").write_text("hello")
    done = run(*args, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error:")
    assert [p.name for p in tmp_path.iterdir()] == ["text.h5ad"], "nothing is left behind"


CELLS = ["embed", "out.h5ad"], ["embed", "out.npy"], ["tokenize", "out.npz"]
WRONG_OPTIONS = [
    (["--fill", "shard"], 'fill="shard" is not one of'),
    (["--expression", "cpm"], 'expression="cpm" is not one of'),
    (["--threads", "0"], "threads=0 is not"),
    (["--seed", "-1"], "seed=-1 is not"),
    (["--min-coverage", "3"], "min_coverage=3"),
    (["--model", "SE-600M"], "SE-600M can be downloaded once you accept"),
    (["--model", "nowhere/x"], "model='nowhere/x' "),
    (["--protein-embeddings", "no.pt"], "protein_embeddings='no.pt' does not exist"),
    (["--layer", "count"], "layer='count' is not in adata.layers, .*'counts'"),
    (["--layer", "counts", "--use-raw"], "select two matrices"),
    (["--use-raw"], "adata.raw is None"),
    (["--gene-column", "symbl"], "gene_column='symbl' is not in var, .*'symbol'"),
]
EMBED_OPTIONS = [
    (["--batch-size", "0"], "batch_size=0 is not"),
    (["--device", "cuda"], "cuda"),
    (["--device", "gpu"], 'did you mean "cuda"'),
    (["--precision", "float16"], 'did you mean "fp16"'),
    (["--key", ".."], "key_added='..' is not a valid key"),
]
DECODE_OPTIONS = [
    (["--threads", "0"], "threads=0 is not"),
    (["--read-depth", "nan"], "read_depth=nan is not a read depth"),
    (["--read-depth=-1"], "read_depth=-1.0 is not a read depth"),
    (["--genes", ","], "genes is empty"),
    (["--device", "cuda"], "cuda"),
    (["--model", "SE-600M"], "SE-600M can be downloaded once you accept"),
]
BEFORE_READING = [
    *((name, out, *wrong) for name, out in CELLS for wrong in WRONG_OPTIONS),
    *(("embed", "out.npy", *wrong) for wrong in EMBED_OPTIONS),
    *(("decode", "out.npy", *wrong) for wrong in DECODE_OPTIONS),
]


@pytest.fixture(scope="module")
def with_a_layer(tmp_path_factory):
    adata = anndata.read_h5ad(IMMUNE)[:2].copy()
    adata.layers["counts"], adata.var["symbol"] = adata.X, adata.var_names
    path = tmp_path_factory.mktemp("cells") / "in.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.mark.parametrize("name, out, options, message", BEFORE_READING)
def test_wrong_options_are_named_before_a_file_is_read(
    tmp_path, monkeypatch, with_a_layer, name, out, options, message
):
    def read(*_args, **_options):
        raise AssertionError("the file was read")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_formats, "read", read)
    genes = ["--genes", "LYZ"] if name == "decode" and "--genes" not in options else []
    with pytest.raises(errors.SE600MError, match=message):
        typer.main.get_command(cli.app)([name, str(with_a_layer), out, *genes, *options], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_what_to_read_is_chosen_in_the_file(tmp_path, with_a_layer, run):
    options = ("--layer", "counts", "--gene-column", "symbol")
    done = run("embed", with_a_layer, tmp_path / "out.npy", *options)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(
        read(tmp_path / "out.npy"), se600m.embed(anndata.read_h5ad(with_a_layer), copy=True).obsm["X_state"]
    )
    done = run("embed", with_a_layer, tmp_path / "out.npy", "--overwrite", "--use-raw", "--fill", "shared")
    assert done.returncode == 1
    assert "error: --use-raw, but adata.raw is None: leave it out" in done.stderr


def test_ctrl_c_leaves_no_file(tmp_path, random_model):
    slow = random_model(pad_length=2048, emsize=512, d_hid=512, nlayers=6)
    assert slow.model.directory.exists()
    shown, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen(
        [*COMMAND, "embed", str(IMMUNE), str(tmp_path / "out.h5ad"), "--model", str(slow.folder), "--batch-size", "2"],
        stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    said = ""
    try:
        while not (counts := re.findall(r"Embedding[^\r\n]* (\d+)/559", said)) or int(counts[-1]) == 0:
            said += os.read(shown, 1 << 16).decode()  # ends with an error where the process does
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # how the end of a terminal is told
            while part := os.read(shown, 1 << 16):
                said += part.decode()
        process.wait(60)
    finally:
        process.kill()
        os.close(shown)
    assert process.returncode == 130, said
    assert "nothing was written" in said
    assert int(re.findall(r"Embedding[^\r\n]* (\d+)/559", said)[-1]) < 559, "it was not stopped, it had ended"
    assert os.listdir(tmp_path) == []
