"""What is shipped: the sdist builds a wheel, and the wheel has what it should and no more."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command, cwd, **environment):
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, unpacked far from the repository."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "setup.py", "-q", "sdist", "-d", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (unpacked,) = (p for p in folder.iterdir() if p.is_dir())
    return unpacked


def test_the_sdist_has_no_binary_and_no_data(sdist):
    names = [str(p.relative_to(sdist)) for p in sdist.rglob("*") if p.is_file()]
    assert not [name for name in names if name.endswith((".so", ".h5ad", ".pyc"))]
    for needed in ("go.mod", "go.sum", "LICENSE", "setup.py", "pybind/doc.go", "gocore/onnx/onnxpb/onnx.pb.go"):
        assert needed in names


def test_the_wheel(sdist, tmp_path):
    run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ".", cwd=sdist
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        modes = {i.filename: i.external_attr >> 16 & 0o777 for i in archive.infolist()}
    top = {name.split("/")[0] for name in names}
    assert top == {"se600m", f"{wheel.name.split('-cp')[0]}.dist-info"}
    inside = sorted(name.removeprefix("se600m/") for name in names if name.startswith("se600m/"))
    (native,) = [name for name in inside if name.endswith(".so")]
    models = [name for name in inside if name.startswith("models/")]
    assert {Path(name).name for name in models} == {
        "README.md",
        "config.yaml",
        "model.safetensors",
        "protein_embeddings.pt",
    }
    modules = {str(p.relative_to(ROOT / "python" / "se600m")) for p in (ROOT / "python" / "se600m").glob("*.py")}
    assert set(inside) == {*modules, *models, native, "py.typed", "_se600m.pyi"}
    assert all(mode & 0o444 == 0o444 for mode in modes.values()), "everybody may read what is installed"
    assert wheel.stat().st_size < 10e6


def test_missing_prerequisites_are_named_at_once(sdist, tmp_path):
    """Without Go on PATH, both ways in say so, with the way to get it."""
    for tool in ("bash", "sh", "dirname", "sed", "gcc", "cc", "env"):
        for folder in os.environ["PATH"].split(os.pathsep):
            if (Path(folder) / tool).exists():
                (tmp_path / tool).symlink_to(Path(folder) / tool)
                break
    for command in (
        [sys.executable, "setup.py", "build_ext"],
        ["bash", str(ROOT / "tools" / "preflight.sh"), sys.executable],
    ):
        done = subprocess.run(
            command, cwd=sdist, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode != 0
        assert "https://go.dev/dl/" in done.stderr
        assert "C compiler" not in done.stderr
