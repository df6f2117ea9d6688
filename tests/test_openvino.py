"""Models on OpenVINO, in fp32 and bf16: in processes of their own, as a process has one library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import OPENVINO
from se600m import _choices

pytestmark = [
    pytest.mark.skipif(
        not (OPENVINO.parent / "libonnxruntime_providers_openvino.so").exists(),
        reason="needs OpenVINO: se600m runtime install openvino",
    ),
    pytest.mark.skipif(
        not _choices.processor()[1] & {"avx512_bf16", "amx_bf16"}, reason="needs a processor with AVX512-BF16 or AMX"
    ),
]


@pytest.fixture(scope="session")
def child(tmp_path_factory):
    def run(task, *arguments):
        report = tmp_path_factory.mktemp("openvino") / "report.json"
        here = Path(__file__).parent
        done = subprocess.run(
            [sys.executable, here / "openvino_child.py", task, report, *map(str, arguments)],
            capture_output=True, text=True, timeout=280, check=False,
            env=os.environ | {
                "SE600M_ORT_LIBRARY": str(OPENVINO), "PYTHONPATH": f"{here}{os.pathsep}{here.parent / 'tools'}",
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(report.read_text())

    return run


@pytest.fixture(scope="session")
def numbers(child, random_model):
    # Sentences may be so long that every layer is a part of its own; none are made.
    return child("numbers", random_model().folder, random_model(pad_length=1 << 20).folder)


@pytest.mark.parametrize("kind", ["small", "parted"])
def test_fp32_is_exact_and_bf16_close(numbers, kind):
    """What rounds twice as coarsely at each of 2 layers of width 32 is 1e-3 off; full width averages more."""
    assert numbers[kind]["fp32"] < 2e-6
    assert numbers[kind]["bf16"] > 0.999
    assert numbers[kind]["differs"], "bf16 was not computed in bf16"


@pytest.mark.parametrize("kind", ["small", "parted"])
def test_bf16_does_not_depend_on_batches_and_threads(numbers, kind):
    assert numbers[kind]["same"] == [True, True, True]


def test_everything_runs_in_bf16(numbers):
    assert numbers["cells"] > 0.999
    assert numbers["trace"] > 0.999
    assert numbers["contextual"] > 0.999
    assert 0 < numbers["decode"] < 0.1


def test_what_it_ran_on_is_told(numbers):
    assert numbers["names"] == ["openvino", "bf16", "openvino", "fp32", "cpu", "fp32"]
    assert numbers["one model"]
    assert numbers["provenance"]["provider"] == "openvino"
    assert numbers["provenance"]["precision"] == "bf16"


def test_ctrl_c_ends_work_in_its_middle(child, random_model):
    made = random_model(emsize=256, d_hid=256, nlayers=4, pad_length=2048)
    assert child("cancel", made.folder) == {"interrupted": True, "after it": "done"}


def test_a_session_that_is_closed_takes_no_signal_stack_away(child, random_model):
    """OpenVINO gives the thread that makes it a signal stack, and frees that on the thread that unmakes it."""
    assert child("signals", random_model().folder)["rounds"] == 6
