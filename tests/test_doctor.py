"""info and doctor: what a model and a machine are."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import se600m
from se600m import _doctor, cli, errors


def test_info(random_model):
    made = random_model()
    shown = se600m.info(made.model)
    assert shown.name == "model"
    assert shown.checksum == made.model.checksum
    assert shown.size == sum(p.stat().st_size for p in made.model.directory.rglob("*") if p.is_file())
    assert "[B, 301, 32]" in repr(shown)
    assert made.model.checksum in repr(shown)
    default = se600m.info()
    assert default.name in repr(shown), "the models in the package are named"
    assert default.card.startswith("# ")
    with pytest.raises(errors.ModelNotFoundError, match="nothing"):
        se600m.info("nothing")


def test_doctor_finds_this_machine_well():
    diagnosis = se600m.doctor()
    assert diagnosis.ok, diagnosis
    shown = repr(diagnosis)
    for part in (
        "se600m-go",
        "ONNX Runtime",
        f"{len(os.sched_getaffinity(0))} usable cores",
        "works, on cpu",
        "device cuda",
    ):
        assert part in shown
    assert len(shown.splitlines()) == len(diagnosis)


def test_as_json(monkeypatch):
    monkeypatch.setattr(_doctor._choices, "processor", lambda: ("a processor", set()))
    diagnosis = se600m.doctor()
    told = json.loads(diagnosis.to_json())
    assert told["ok"] is True
    assert told["versions"]["se600m-go"] == se600m.__version__
    assert told["versions"]["numpy"] == np.__version__
    checks = {check["name"]: check for check in told["checks"]}
    assert list(checks) == [check.name for check in diagnosis]
    assert checks["processor"]["found"].startswith("a processor")
    assert se600m.load_model("se-mini").checksum in checks["default model"]["found"]
    for name, check in checks.items():
        assert set(check) == {"name", "ok", "found", "available"}
        assert check["available"] or name.startswith(("NVIDIA", "device", "lib")), "what is missing is optional"
        assert check["available"] != check["found"].startswith(("not available", "none; `se600m runtime install cuda`"))


def test_doctor_names_what_is_wrong(monkeypatch, tmp_path):
    def version(name):
        return "1.0" if name in ("onnxruntime", "onnxruntime-gpu", "anndata", "numpy", "scipy", "pandas") else missing()

    def missing():
        raise _doctor.importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(_doctor.importlib.metadata, "version", version)
    locked = tmp_path / "locked"
    locked.write_text("a file where the cache should be")
    monkeypatch.setenv("SE600M_CACHE", str(locked / "cache"))
    diagnosis = se600m.doctor()
    assert not diagnosis.ok
    wrong = {check.name: check.found for check in diagnosis if not check.ok}
    assert "onnxruntime 1.0, onnxruntime-gpu 1.0 overwrite each other" in wrong["its Python packages"]
    assert not {"cache", "default model"} & set(wrong), "the package works without a cache"
    said = {check.name: check.found for check in diagnosis}["cache"]
    assert str(locked / "cache") in said
    assert "Set SE600M_CACHE to a writable folder" in said
    assert repr(diagnosis).count("!!") == len(wrong)


def test_the_command_fails_where_embedding_does():
    done = subprocess.run(
        [sys.executable, "-m", "se600m.cli", "doctor"], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"SE600M_ORT_LIBRARY": "/nowhere/libonnxruntime.so"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "!!  ONNX Runtime" in done.stdout
    assert "/nowhere/libonnxruntime.so" in done.stdout


def test_the_command_fails_in_json_too(capsys, monkeypatch):
    def missing():
        raise errors.RuntimeLibraryError("no library")

    monkeypatch.setattr(_doctor, "_runtime", missing)
    monkeypatch.setattr(sys, "argv", ["se600m", "doctor", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert [check["name"] for check in told["checks"] if not check["ok"]] == ["ONNX Runtime"]
