"""The libraries of CUDA: where they are found, which are refused, and that ONNX Runtime gets those that were found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cuda_files
from se600m import _cuda_libraries, _doctor, _library, _wheels, errors

CUDNN = _cuda_libraries.CUDA[-1]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without any library of CUDA."""
    for name in ("SE600M_CUDA_PATH", "CUDA_HOME", "CUDA_PATH", "LD_LIBRARY_PATH", "SE600M_ORT_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SE600M_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(_cuda_libraries, "_system_folders", lambda: [])
    monkeypatch.setattr(_cuda_libraries, "_loaded", lambda: [])
    return tmp_path


def where(device="cuda"):
    """Tell where everything was found; it must have been."""
    found, missing = _cuda_libraries.find(device)
    assert not missing
    assert [one.library for one in found] == list(_cuda_libraries.needed(device)), "in the order to load them"
    return {(one.origin, one.path.parent) for one in found}


def test_every_library_has_a_package_that_is_pinned():
    for library in _cuda_libraries.CUDA:
        assert len(_cuda_libraries.PACKAGES[library.package].sha256) == 64
    assert [library.package for library in _cuda_libraries.TENSORRT] == [None, None]


@pytest.mark.parametrize(
    ("place", "variable", "origin"),
    [
        ("named", "SE600M_CUDA_PATH", "SE600M_CUDA_PATH"),
        ("site/torch/lib", None, "torch"),
        ("site/nvidia/cu13/lib", None, "a Python package"),
        ("prefix/lib", "conda", "conda"),
        ("toolkit/lib64", "CUDA_HOME", "the system"),
        ("toolkit/targets/x86_64-linux/lib", "CUDA_PATH", "the system"),
        ("elsewhere", "LD_LIBRARY_PATH", "the system"),
        ("usr/lib", "ldconfig", "the system"),
    ],
)
def test_places(bare, monkeypatch, place, variable, origin):
    folder = cuda_files.libraries(bare / place)
    if variable == "conda":
        (bare / "prefix" / "conda-meta").mkdir()
    elif variable == "ldconfig":
        monkeypatch.setattr(_cuda_libraries, "_system_folders", lambda: [folder])
    elif variable is not None:
        monkeypatch.setenv(variable, str(bare / "toolkit" if variable.startswith("CUDA_") else folder))
    assert where() == {(origin, folder)}


def test_what_the_loader_of_the_system_knows(monkeypatch):
    said = (
        "2 libs found in cache `/etc/ld.so.cache'\n\tlibcudnn.so.9 (libc6,x86-64) => /opt/a/libcudnn.so.9\n"
        "\tlibcudart.so.13 (libc6,AArch64) => /opt/b/libcudart.so.13\n"
        "\tlibm.so.6 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib/libm.so.6\n"
    )
    done = subprocess.CompletedProcess([], 0, stdout=said)
    monkeypatch.setattr(_cuda_libraries.subprocess, "run", lambda *_args, **_options: done)
    monkeypatch.setattr(_cuda_libraries.shutil, "which", lambda *_args, **_options: "/sbin/ldconfig")
    assert _cuda_libraries._system_folders.__wrapped__() == [Path("/opt/a")]


def test_the_first_place_counts(bare, monkeypatch):
    system = cuda_files.libraries(bare / "system")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(system))
    site = cuda_files.libraries(bare / "site" / "nvidia" / "cu13" / "lib")
    assert where() == {("a Python package", site)}
    one = cuda_files.libraries(bare / "one", ["libcudart.so.13"])
    two = cuda_files.libraries(bare / "two" / "lib64", ["libcudnn.so.9"])
    monkeypatch.setenv("SE600M_CUDA_PATH", os.pathsep.join([str(one), str(bare / "two")]))
    assert where() == {("SE600M_CUDA_PATH", one), ("SE600M_CUDA_PATH", two), ("a Python package", site)}
    monkeypatch.setattr(_cuda_libraries, "_loaded", lambda: [system / "libcudart.so.13.0.96"])
    found, _ = _cuda_libraries.find()
    assert (found[0].origin, found[0].version) == ("loaded by this process", "13.0.96"), "another would not be asked"
    monkeypatch.setenv("SE600M_CUDA_PATH", str(bare / "nowhere"))
    with pytest.raises(errors.DeviceError, match=r"SE600M_CUDA_PATH names '.*nowhere', which is not a folder"):
        _cuda_libraries.find()


def test_a_driver_of_its_own(bare, monkeypatch):
    assert _cuda_libraries.driver() == ""
    compat = cuda_files.libraries(bare / "compat", ["libcuda.so.1"])
    monkeypatch.setenv("SE600M_CUDA_PATH", str(compat))
    assert _cuda_libraries.driver() == str(compat / "libcuda.so.1")


def test_what_is_missing_is_named_at_once(bare):
    cuda_files.libraries(bare / "site" / "torch" / "lib", ["libcublas.so.12", "libcurand.so.10", "libcudart.so.13"])
    with pytest.raises(errors.DeviceError) as told:
        _cuda_libraries.paths("cuda")
    text = str(told.value)
    for part in (
        "libnvrtc.so.13 of nvidia-cuda-nvrtc",
        "libcublasLt.so.13, libcublas.so.13 (",
        "libcublas.so.12 is of another version) of nvidia-cublas",
        "`se600m runtime install cuda`",
        "nvidia-cudnn-cu13==9.19.0.56",
        "SE600M_CUDA_PATH",
    ):
        assert part in text
    assert "curand" not in text
    assert "TensorRT" not in text
    with pytest.raises(errors.DeviceError, match=r"libnvonnxparser\.so\.10 of TensorRT.*developer\.nvidia\.com"):
        _cuda_libraries.paths("tensorrt")


def test_tensorrt_beside_cuda(bare):
    site = cuda_files.libraries(bare / "site" / "nvidia" / "cu13" / "lib")
    folder = cuda_files.libraries(bare / "site" / "tensorrt_libs", ["libnvinfer.so.10", "libnvonnxparser.so.10"])
    assert where("tensorrt") == {("a Python package", site), ("a Python package", folder)}


# -- versions ----------------------------------------------------------------------------------


def cudnn_in(bare, *packages):
    cuda_files.libraries(bare / "site" / "nvidia" / "cu13" / "lib")
    (bare / "site" / "nvidia" / "cu13" / "lib" / "libcudnn.so.9").unlink()
    folder = cuda_files.libraries(bare / "site" / "nvidia" / "cudnn" / "lib", ["libcudnn.so.9"])
    for package in packages:
        (bare / "site" / f"{package}.dist-info").mkdir()
    return folder


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("9.1.0.70", "no fused attention for Hopper"),
        ("9.3.0.75", None),
        ("9.10.0.56", "refused by ONNX Runtime"),
        ("9.10.1.4", "refused by ONNX Runtime"),
        ("9.10.2.21", None),
        ("9.19.0.56", None),
    ],
)
def test_versions_that_are_slow(bare, version, fault):
    cudnn_in(bare, f"nvidia_cudnn_cu13-{version}", "nvidia_cudnn_frontend-1.18.0")
    found = _cuda_libraries.find()[0][-1]
    assert (found.library, found.version) == (CUDNN, version)
    assert (found.caution is None) == (fault is None)
    if fault is not None:
        assert f"cuDNN {version}" in found.caution
        assert fault in found.caution
        assert _cuda_libraries.paths("cuda")[1] == [found.caution]


def test_version_by_name_and_in_the_cache(bare, monkeypatch):
    folder = cuda_files.libraries(bare / "named", ["libcudnn.so.9.12.0"])
    (folder / "libcudnn.so.9").symlink_to("libcudnn.so.9.12.0")
    cuda_files.libraries(bare / "site" / "nvidia" / "cu13" / "lib")
    monkeypatch.setenv("SE600M_CUDA_PATH", str(folder))
    versions = {one.library.soname: one.version for one in _cuda_libraries.find()[0]}
    assert versions["libcudnn.so.9"] == "9.12.0"
    assert versions["libcublas.so.13"] is None, "nothing tells"
    cuda_files.libraries(_wheels.folder() / "nvidia-cublas-13.1.0.3", ["libcublas.so.13"])
    found = {one.library.soname: one for one in _cuda_libraries.find()[0]}["libcublas.so.13"]
    assert (found.version, found.origin) == ("13.1.0.3", "`se600m runtime install`")


def test_cudnn_for_another_cuda_is_refused(bare, monkeypatch):
    folder = cudnn_in(bare, "nvidia_cudnn_cu12-9.10.2.21")
    with pytest.raises(errors.DeviceError, match=r"libcudnn\.so\.9 \(.*is for CUDA 12, not 13\) of nvidia-cudnn-cu13"):
        _cuda_libraries.paths("cuda")
    monkeypatch.setattr(_cuda_libraries, "_loaded", lambda: [folder / "libcudnn.so.9"])
    with pytest.raises(errors.DeviceError, match=r"this process has loaded .*use a process without it"):
        _cuda_libraries.paths("cuda")
    monkeypatch.setattr(_cuda_libraries, "_loaded", lambda: [])
    (folder / "libcublas.so.12").write_bytes(b"")
    (bare / "site" / "nvidia_cudnn_cu12-9.10.2.21.dist-info").rmdir()
    assert _cuda_libraries.find()[1], "as in the folder of a torch for CUDA 12"
    (bare / "site" / "nvidia_cudnn_cu13-9.19.0.56.dist-info").mkdir()
    (folder / "libcublas.so.12").unlink()
    assert not _cuda_libraries.find()[1]


# -- loading -----------------------------------------------------------------------------------

_CHILD = """
import json
from se600m import _cuda_libraries, _library, _native
try:
    _library.open_runtime("DEVICE")
    error = None
except Exception as e:
    error = [type(e).__name__, str(e)]
print(json.dumps([error, _native.runtime_library(), sorted(map(str, _cuda_libraries._loaded()))]))
"""


@pytest.fixture
def gpu_build(tmp_path):
    """A folder with ONNX Runtime and what looks like its provider for GPUs."""
    folder = tmp_path / "capi"
    folder.mkdir()
    library = Path(_library.find("cpu"))
    shutil.copy(library, folder / library.name)
    for provider in ("cuda", "tensorrt"):
        (folder / f"libonnxruntime_providers_{provider}.so").write_bytes(b"")
    return folder / library.name


def opened(gpu_build, standins, device="cuda", **environment):
    cleared = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "CUDA_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD.replace("DEVICE", device)], capture_output=True, text=True, timeout=120,
        check=False,
        env=cleared | environment | {
            "SE600M_ORT_LIBRARY": str(gpu_build), "SE600M_CUDA_PATH": str(standins),
            "SE600M_CACHE": str(gpu_build.parents[1] / "cache"),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    error, library, loaded = json.loads(done.stdout)
    assert (library == str(gpu_build)) == (error is None)
    return error, {Path(path).name for path in loaded if Path(path).parent == standins}, done.stderr


@pytest.mark.parametrize("device", ["cuda:1", "tensorrt"])
def test_the_libraries_are_loaded(gpu_build, tmp_path, device):
    standins = cuda_files.compiled(tmp_path / "standins", "tensorrt")
    error, loaded, _ = opened(gpu_build, standins, device)
    assert error is None
    needed = _cuda_libraries.needed(device.partition(":")[0])
    assert loaded == {library.soname for library in needed} | {"libcuda.so.1"}


def test_libraries_that_nothing_needs_are_not_loaded(gpu_build, tmp_path):
    standins = cuda_files.compiled(tmp_path / "standins")
    assert opened(gpu_build, standins, "cpu")[:2] == (None, set())
    error, loaded, _ = opened(gpu_build, standins, "cuda", STANDIN_DEVICES="0")
    assert (error, loaded) == (None, {"libcuda.so.1"}), "the check of the device says that there is none"


def test_a_missing_library_is_named_before_onnxruntime_looks(gpu_build, tmp_path):
    standins = cuda_files.compiled(tmp_path / "standins")
    (standins / "libcurand.so.10").unlink()
    (standins / "libcudnn.so.9").rename(standins / "libcudnn.so.9.1.0")
    (standins / "libcudnn.so.9").symlink_to("libcudnn.so.9.1.0")
    (kind, message), loaded, _ = opened(gpu_build, standins)
    if "libcurand" not in message:
        pytest.skip(f"this machine has a libcurand: {message}")
    assert kind == "DeviceError"
    assert message.startswith("device='cuda': libraries that it needs were not found: libcurand.so.10 of nvidia-curand")
    assert loaded == {"libcuda.so.1"}
    shutil.copy(standins / "libcublas.so.13", standins / "libcurand.so.10")
    error, _, stderr = opened(gpu_build, standins)
    assert error is None
    assert stderr.count("LibraryWarning: cuDNN 9.1.0 ") == 1


def test_a_library_that_can_not_be_loaded_is_named(gpu_build, tmp_path):
    standins = cuda_files.compiled(tmp_path / "standins")
    (standins / "libcublas.so.13").write_bytes(b"cut off")
    (kind, message), _, _ = opened(gpu_build, standins)
    assert kind == "RuntimeLibraryError"
    assert f'library "{standins / "libcublas.so.13"}" can\'t be loaded' in message


def test_doctor(bare, monkeypatch):
    monkeypatch.setattr(_doctor._native, "describe_driver", lambda _library: {
        "version": 13010, "problem": "",
        "devices": [{"number": 0, "name": "H100", "memory": 80 << 30, "major": 9, "minor": 0}],
    })  # fmt: skip
    assert _doctor._driver() == "supports CUDA up to 13.1; cuda:0 is a H100, 85.9 GB, compute capability 9.0"
    cudnn_in(bare, "nvidia_cudnn_cu13-9.1.0.70")
    (bare / "site" / "nvidia" / "cu13" / "lib" / "libcurand.so.10").unlink()
    lines = list(_doctor._cuda())
    assert [line.name for line in lines] == [library.stem for library in _cuda_libraries.needed("tensorrt")]
    said = {line.name: line.found for line in lines}
    assert all(line.ok for line in lines)
    assert said["libcublas"] == f"libcublas.so.13, {bare}/site/nvidia/cu13/lib (a Python package)"
    assert said["libcurand"] == "libcurand.so.10 was not found: `se600m runtime install cuda` brings nvidia-curand"
    assert "9.1.0.70" in said["libcudnn"]
    assert "no fused attention" in said["libcudnn"]
    assert said["libnvinfer"].startswith("libnvinfer.so.10 was not found: it comes with TensorRT")
