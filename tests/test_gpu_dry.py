"""Models on stand-in GPUs, whose kernels do nothing (tests/standin_gpu): in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest

from conftest import IMMUNE

STANDIN = os.environ.get("SE600M_STANDIN_GPU", "")
pytestmark = pytest.mark.skipif(not STANDIN, reason="needs stand-ins for NVIDIA's libraries: make test-gpu-dry")


@pytest.fixture
def child(tmp_path):
    def run(task, *arguments, without=(), **gpu):
        """Run a task where some libraries are missing, and with STANDIN_GPU_… set."""
        libraries = tmp_path / "libraries"
        libraries.mkdir()
        for library in Path(STANDIN).iterdir():
            if library.name not in without:
                (libraries / library.name).symlink_to(library)
        report = tmp_path / "report.json"
        here = Path(__file__).parent
        done = subprocess.run(
            [sys.executable, here / "gpu_child.py", task, report, *map(str, arguments)],
            capture_output=True, text=True, timeout=120, check=False,
            env=os.environ | {f"STANDIN_GPU_{name.upper()}": str(value) for name, value in gpu.items()} | {
                "LD_LIBRARY_PATH": str(libraries), "SE600M_CUDA_PATH": str(libraries),
                "SE600M_STANDIN_GPU": str(libraries),
                "PYTHONPATH": os.pathsep.join([str(here), str(here.parent / "tools"), *sys.path]),
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(report.read_text())

    return run


@pytest.mark.parametrize(("device", "name"), [("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:3", "cuda:3")])
def test_cells_are_embedded_on_the_device_that_is_asked_for(child, random_model, device, name):
    said = child("embed", random_model().folder, device, count=4)
    assert said == {"device": name, "provider": name, "precision": "fp16", "shape": [6, 20], "largest": 0.0}


def test_auto_is_the_gpu_where_it_can_be_used(child, random_model):
    said = child("embed", random_model().folder, "auto")
    assert (said["device"], said["precision"]) == ("cuda:0", "fp16")


@pytest.mark.parametrize(
    "gpu", [{"count": 0}, {"driver": 12080}, {"without": ["libcuda.so.1"]}, {"without": ["libcudnn.so.9"]}],
    ids=["no device", "old driver", "no driver", "no cuDNN"],
)  # fmt: skip
def test_auto_is_the_processor_where_it_can_not(child, random_model, gpu):
    said = child("embed", random_model().folder, "auto", **gpu)
    assert (said["device"], said["precision"]) == ("cpu", "fp32")
    assert said["largest"] > 0


def test_a_list_of_devices(child, random_model):
    said = child("embed", random_model().folder, "cuda:0,cuda:1", count=2)
    assert (said["device"], said["provider"]) == ("cuda:0,cuda:1", "cuda:0,cuda:1")


def test_the_gpu_build_also_runs_on_the_processor(child, random_model):
    cells = anndata.read_h5ad(IMMUNE)[:6].copy()
    want = random_model().model.embed(cells, copy=True).obsm["X_state"]
    np.testing.assert_allclose(child("cpu", random_model().folder), want, atol=2e-6)


@pytest.mark.parametrize(
    ("device", "gpu", "words"),
    [
        ("cuda:4", {"count": 4}, ["4"]),
        ("cuda", {"count": 0}, ["no CUDA-capable device"]),
        ("cuda", {"driver": 12080}, ["driver"]),
        ("cuda", {"without": ["libcuda.so.1"]}, ["libcuda.so.1"]),
        ("cuda", {"without": ["libcublas.so.13"]}, ["libcublas.so.13"]),
        ("cuda", {"without": ["libcudnn.so.9"]}, ["libcudnn.so"]),
    ],
    ids=["number", "no device", "old driver", "no driver", "no cuBLAS", "no cuDNN"],
)
def test_what_is_missing_is_named_and_the_data_stays(child, random_model, device, gpu, words):
    said = child("fail", random_model().folder, device, **gpu)
    assert said["obsm"] == said["uns"] == []
    for word in [*words, device]:
        assert word in said["text"], said


def test_memory_that_is_too_small_for_one_cell(child, random_model):
    said = child("fail", random_model().folder, "cuda", memory=1 << 16)
    assert said["error"] == "OutOfMemoryError"
    assert "memory" in said["text"]
    assert said["obsm"] == said["uns"] == []


def test_doctor_and_the_estimate_of_the_time_name_the_gpu(child, random_model):
    said = child("told", random_model().folder, "cuda:1", count=2)
    assert said["on"].startswith("cuda:1, ")
    assert said["on"].endswith(", fp16")
    assert said["faster"] == []
    driver = said["doctor"]["NVIDIA driver"]
    assert "supports CUDA up to 13." in driver
    assert "cuda:0 is a " in driver
    assert "cuda:1 is a " in driver
    assert "compute capability 9.0" in driver
    assert said["doctor"]["device cuda"] == "cuda:0"
