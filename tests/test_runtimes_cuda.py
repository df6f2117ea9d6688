"""Installing for GPUs: ONNX Runtime's build, and those libraries of CUDA that are not there already."""

import dataclasses
import functools
import http.server
import os
import shutil
import sys
import threading

import pytest

import cuda_files
from se600m import _cuda_libraries, _runtimes, _wheels, errors

GPU = {
    "onnxruntime/capi/libonnxruntime.so.9.9.9": b"the library",
    "onnxruntime/capi/libonnxruntime_providers_cuda.so": b"the provider",
    "onnxruntime/LICENSE": b"terms",
}
NVIDIA = {
    "nvidia-cuda-runtime": {"nvidia/cu13/lib/libcudart.so.13": b"cudart", "nvidia/cu13/include/cuda.h": b"a header"},
    "nvidia-cuda-nvrtc": {
        "nvidia/cu13/lib/libnvrtc.so.13": b"nvrtc",
        "nvidia/cu13/lib/libnvrtc.alt.so.13": b"another compiler",
        "nvidia/cu13/lib/libnvrtc-builtins.so.13.0": b"its functions",
    },
    "nvidia-cublas": {
        "nvidia/cu13/lib/libcublas.so.13": b"cublas",
        "nvidia/cu13/lib/libcublasLt.so.13": b"cublasLt",
        "nvidia/cu13/lib/libnvblas.so.13": b"BLAS",
        "nvidia_cublas-9.9.9.dist-info/licenses/License.txt": b"NVIDIA's terms",
    },
    "nvidia-curand": {"nvidia/cu13/lib/libcurand.so.10": b"curand"},
    "nvidia-cudnn-cu13": {
        "nvidia/cudnn/lib/libcudnn.so.9": b"cudnn",
        "nvidia/cudnn/lib/libcudnn_graph.so.9": b"a part of it",
    },
}


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder for each wheel, as an index has it, and a machine without any library of CUDA."""
    monkeypatch.setenv("SE600M_CACHE", str(tmp_path / "cache"))
    for name in ("SE600M_CUDA_PATH", "CUDA_HOME", "CUDA_PATH", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_cuda_libraries, "_system_folders", lambda: [])
    monkeypatch.setattr(_cuda_libraries, "_loaded", lambda: [])
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not list(cuda_files.Path(p).glob("nvidia/*/lib"))])
    folder = tmp_path / "wheels"
    _, pinned = cuda_files.wheel(folder, "onnxruntime-gpu", "9.9.9", GPU)
    monkeypatch.setitem(_runtimes.PINNED, "cuda", pinned)
    for distribution, files in NVIDIA.items():
        tag = _cuda_libraries.PACKAGES[distribution].tag
        _, pinned = cuda_files.wheel(folder, distribution, "9.9.9", files, tag)
        monkeypatch.setitem(_cuda_libraries.PACKAGES, distribution, pinned)
    return folder


@pytest.fixture
def index(wheels, monkeypatch):
    """Serve the folder of wheels as a package index, the only one that pip knows."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(wheels))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server
        server.shutdown()


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(_wheels.subprocess, "run", lambda *_args, **_options: pytest.fail("pip was asked"))


def in_cache():
    """Tell what is installed: the folders, and the libraries in them."""
    return {
        place.name.removesuffix("-9.9.9"): {p.name for p in place.iterdir() if ".so" in p.name}
        for place in _wheels.folder().iterdir()
    }


EVERYTHING = {
    "cuda": {"libonnxruntime.so.9.9.9", "libonnxruntime_providers_cuda.so"},
    "nvidia-cuda-runtime": {"libcudart.so.13"},
    "nvidia-cuda-nvrtc": {"libnvrtc.so.13", "libnvrtc-builtins.so.13.0"},
    "nvidia-cublas": {"libcublas.so.13", "libcublasLt.so.13"},
    "nvidia-curand": {"libcurand.so.10"},
    "nvidia-cudnn-cu13": {"libcudnn.so.9", "libcudnn_graph.so.9"},
}


def every_wheel(wheels):
    return [path for folder in wheels.iterdir() for path in folder.iterdir()]


def test_what_is_there_is_used_and_the_rest_is_downloaded(index, wheels, tmp_path, monkeypatch):
    """As on a machine with a torch that has cuBLAS and cuDNN, of which cuDNN is too old."""
    torch = cuda_files.libraries(
        tmp_path / "site" / "nvidia" / "cu13" / "lib", ["libcublas.so.13", "libcublasLt.so.13"]
    )
    cuda_files.libraries(tmp_path / "site" / "nvidia" / "cudnn" / "lib", ["libcudnn.so.9"])
    (tmp_path / "site" / "nvidia_cudnn_cu13-9.1.0.70.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    _runtimes.install("cuda", [path for path in every_wheel(wheels) if "runtime" in path.name or "nvrtc" in path.name])
    assert set(in_cache()) == {"cuda", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc"}
    told = []
    runtime = _runtimes.install("cuda", tell=told.append)
    assert runtime.library.read_bytes() == b"the library"
    assert in_cache() == {name: files for name, files in EVERYTHING.items() if name != "nvidia-cublas"}
    assert [line.partition(":")[0] for line in told] == [
        "onnxruntime-gpu 9.9.9", "nvidia-cuda-runtime 9.9.9", "nvidia-cuda-nvrtc 9.9.9", "nvidia-cublas",
        "nvidia-curand 9.9.9", "nvidia-cudnn-cu13 9.9.9", told[-1],
    ]  # fmt: skip
    assert told[3] == f"nvidia-cublas: its libraries are in {torch}, and are used"
    assert all(line.endswith(" kB to download") for line in told[4:6])
    assert told[-1].startswith("downloading ")
    assert str(_wheels.folder()) in told[-1]
    found, missing = _cuda_libraries.find()
    assert not missing
    assert {one.library.soname: one.path.parent.name for one in found}["libcudnn.so.9"] == "nvidia-cudnn-cu13-9.9.9"
    assert not any(one.caution for one in found)


def test_all_from_a_folder(wheels, no_network, tmp_path):
    folder = tmp_path / "carried"
    folder.mkdir()
    for path in every_wheel(wheels):
        shutil.copy(path, folder)
    (folder / "numpy-2.0-py3-none-any.whl").write_bytes(b"")
    _runtimes.install("cuda", folder)
    assert in_cache() == EVERYTHING
    licence = _wheels.folder() / "nvidia-cublas-9.9.9" / "License.txt"
    assert licence.read_bytes() == b"NVIDIA's terms"
    before = {place: place.stat().st_mtime_ns for place in _wheels.folder().iterdir()}
    told = []
    _runtimes.install("cuda", tell=told.append)
    assert before == {place: place.stat().st_mtime_ns for place in _wheels.folder().iterdir()}
    assert [line.partition(" in ")[0] for line in told] == [
        f"{part.pinned}: installed" for part in _runtimes.parts("cuda")
    ]


def test_some_files_first_and_the_others_later(wheels, no_network):
    paths = every_wheel(wheels)
    gpu = next(path for path in paths if path.name.startswith("onnxruntime"))
    others = [path for path in paths if path != gpu]
    with pytest.raises(errors.RuntimeLibraryError, match=r"has no onnxruntime_gpu-9\.9\.9.*nothing was unpacked"):
        _runtimes.install("cuda", others)
    assert in_cache() == {}
    told = []
    _runtimes.install("cuda", gpu, tell=told.append)
    assert in_cache() == {"cuda": EVERYTHING["cuda"]}
    assert told[-1].startswith("device='cuda' still needs libcudart.so.13 of nvidia-cuda-runtime; ")
    told.clear()
    _runtimes.install("cuda", others, tell=told.append)
    assert in_cache() == EVERYTHING
    assert not any("still" in line for line in told)


def test_one_wrong_file_and_nothing_is_unpacked(wheels, no_network):
    (cublas,) = (wheels / "nvidia-cublas").iterdir()
    cublas.write_bytes(cublas.read_bytes() + b"more")
    with pytest.raises(errors.RuntimeLibraryError, match=r"nvidia-cublas 9\.9\.9.*nothing was unpacked"):
        _runtimes.install("cuda", every_wheel(wheels))
    assert in_cache() == {}


def test_damage_is_mended(wheels, no_network):
    _runtimes.install("cuda", every_wheel(wheels))
    library = _wheels.folder() / "nvidia-cudnn-cu13-9.9.9" / "libcudnn_graph.so.9"
    library.write_bytes(b"damage")
    _runtimes.install("cuda", every_wheel(wheels))
    assert library.read_bytes() == b"a part of it"


def test_a_download_that_fails_leaves_what_came_before(index, wheels):
    (cudnn,) = (wheels / "nvidia-cudnn-cu13").iterdir()
    cudnn.unlink()
    _runtimes.install("cuda", [path for path in every_wheel(wheels) if "curand" not in path.name])
    assert len(in_cache()) == 4
    with pytest.raises(errors.RuntimeLibraryError, match=r"could not download nvidia_cudnn_cu13-9\.9\.9.*--from"):
        _runtimes.install("cuda")
    assert in_cache() == {name: files for name, files in EVERYTHING.items() if name != "nvidia-cudnn-cu13"}


def test_a_disk_without_room(wheels, no_network, monkeypatch):
    pinned = dataclasses.replace(_cuda_libraries.PACKAGES["nvidia-cublas"], unpacked=1 << 60)
    monkeypatch.setitem(_cuda_libraries.PACKAGES, "nvidia-cublas", pinned)
    for given in (None, every_wheel(wheels)):
        with pytest.raises(errors.RuntimeLibraryError, match=r"needs 1,152,921,504.* GB, but only .*SE600M_CACHE"):
            _runtimes.install("cuda", given)
    assert in_cache() == {}


def test_the_commands(wheels, no_network, capsys, monkeypatch, tmp_path):
    from se600m import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["se600m", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr()

    paths = [path for path in every_wheel(wheels) if "curand" not in path.name]
    said = run("runtime", "install", "cuda", *(argument for path in paths for argument in ("--from", path))).err
    assert "still needs libcurand.so.10 of nvidia-curand" in said
    assert "cuda: ONNX Runtime 9.9.9" in said
    elsewhere = cuda_files.libraries(tmp_path / "named", ["libcurand.so.10"])
    monkeypatch.setenv("SE600M_CUDA_PATH", str(elsewhere))
    listed = run("runtime", "list").out.splitlines()
    assert [line.split()[0] for line in listed] == ["cpu", "cuda", *NVIDIA, "openvino"]
    assert next(line for line in listed if "curand" in line).endswith(f"its libraries are in {elsewhere}")
    assert next(line for line in listed if "cublas" in line).endswith(str(_wheels.folder() / "nvidia-cublas-9.9.9"))
    cached = run("cache", "list").out
    assert cached.count("(`se600m runtime remove cuda` removes it)") == 5
    assert "nvidia-cublas-9.9.9  libraries of CUDA" in cached
    (_wheels.folder() / "nvidia-cublas-1.0").mkdir()
    assert run("runtime", "remove", "cuda").err.count("removed ") == 6
    assert in_cache() == {}
