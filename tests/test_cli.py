"""The se600m command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

from conftest import IMMUNE

COMMAND = [sys.executable, "-m", "se600m.cli"]


def run(*args, **options):
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_immune559(tmp_path):
    """559 finite rows of unit length, and the same bytes again."""
    outputs = [tmp_path / "one.h5ad", tmp_path / "two.h5ad"]
    for output, options in zip(outputs, ([], ["--batch-size", "5", "--threads", "1"]), strict=True):
        done = run("embed", IMMUNE, output, *options)
        assert done.returncode == 0, done.stderr
        assert "559 cells × 64" in done.stderr
    embeddings = [anndata.read_h5ad(output).obsm["X_state"] for output in outputs]
    assert embeddings[0].shape == (559, 64)
    assert np.all(np.isfinite(embeddings[0]))
    np.testing.assert_allclose(np.linalg.norm(embeddings[0], axis=1), 1, rtol=1e-6)
    assert embeddings[0].tobytes() == embeddings[1].tobytes()
    assert len(np.unique(embeddings[0], axis=0)) == 559
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.h5ad", "two.h5ad"]
    with h5py.File(outputs[0]) as written, h5py.File(IMMUNE) as original:
        for part in ("data", "indices", "indptr"):
            assert np.array_equal(written[f"X/{part}"], original[f"X/{part}"])


def test_options_reach_embed(tmp_path, pbmc):
    source, output = tmp_path / "in.h5ad", tmp_path / "deep" / "out.h5ad"
    pbmc.write_h5ad(source)
    done = run("embed", source, output, "--use-raw", "--key", "X_se", "--seed", 3, "--fill", "shared")
    assert done.returncode == 0, done.stderr
    made_with = anndata.read_h5ad(output).uns["X_se"]
    assert (made_with["seed"], made_with["fill"]) == (3, "shared")


def test_warnings_are_one_line(tmp_path, pbmc):
    source = tmp_path / "in.h5ad"
    pbmc.write_h5ad(source)
    done = run("embed", source, tmp_path / "out.h5ad")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if line.startswith("warning:") and "negative values" in line]


def test_convert_and_info(tmp_path, random_model):
    target = tmp_path / "converted"
    done = run("convert", random_model().folder, target, "--name", "mine")
    assert done.returncode == 0, done.stderr
    shown = run("info", target)
    assert shown.returncode == 0
    assert "Model 'mine' on cpu, fp32" in shown.stdout
    assert "[B, 301, 32]" in shown.stdout
    again = run("convert", random_model().folder, target)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert "se-mini-untrained" in run("info").stdout


@pytest.mark.parametrize(
    "args, message",
    [
        pytest.param(["embed", "no.h5ad", "out.h5ad"], "no.h5ad", id="no such file"),
        pytest.param(["embed", "text.h5ad", "out.h5ad"], "can't be read as h5ad", id="not h5ad"),
        pytest.param(["embed", IMMUNE, "out.csv"], "ends in .h5ad", id="output of another kind"),
        pytest.param(["embed", IMMUNE], "OUT.h5ad", id="no output"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--model", "SE"], "'SE'", id="model"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--device", "cuda"], "libonnxruntime_providers_cuda", id="device"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--seed", "x"], "'--seed'", id="seed"),
        pytest.param(["embed", IMMUNE, "out.h5ad", "--sed", "1"], "--sed", id="option"),
        pytest.param(["convert", "nowhere", "out"], "nowhere", id="no checkpoint"),
        pytest.param(["info", "nothing"], "'nothing'", id="no model"),
        pytest.param(["embd"], "embd", id="command"),
    ],
)
def test_wrong_calls_end_in_one_clear_line(tmp_path, args, message):
    (tmp_path / "text.h5ad").write_text("hello")
    done = run(*args, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error:")
    assert [p.name for p in tmp_path.iterdir()] == ["text.h5ad"], "nothing is left behind"


def test_ctrl_c_leaves_no_file(tmp_path, random_model):
    slow = random_model(pad_length=2048, emsize=512, d_hid=512, nlayers=6)
    assert slow.model.directory.exists()
    process = subprocess.Popen(
        [*COMMAND, "embed", str(IMMUNE), str(tmp_path / "out.h5ad"), "--model", str(slow.folder)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # It is at work once ONNX Runtime's library is in its memory; a moment later it embeds.
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "libonnxruntime" not in maps.read_text():
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    pressed = time.monotonic()
    _, stderr = process.communicate(timeout=60)
    assert time.monotonic() - pressed < 3, "a second to stop, and the interpreter's own end"
    assert process.returncode == 130, stderr
    assert "nothing was written" in stderr
    assert os.listdir(tmp_path) == []
