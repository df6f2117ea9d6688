"""Runtimes side by side: installing from an index and from a file, damage, and which library is found."""

import functools
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from se600m import _cache, _choices, _doctor, _library, _runtimes, _wheels, errors


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SE600M_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SE600M_ORT_LIBRARY", raising=False)
    return tmp_path / "cache"


FILES = {
    "onnxruntime/capi/libonnxruntime.so.9.9.9": b"the library",
    "onnxruntime/capi/libonnxruntime_providers_openvino.so": b"the provider",
    "onnxruntime/capi/libopenvino.so": b"another",
    "onnxruntime/capi/libopenvino.so.2541": b"another",
    "onnxruntime/capi/onnxruntime_pybind11_state.cpython-313-x86_64-linux-gnu.so": b"a Python module",
    "onnxruntime/capi/_pybind_state.py": b"raise SystemExit",
    "onnxruntime/LICENSE": b"terms",
    "onnxruntime/ThirdPartyNotices.txt": b"their terms",
    "onnxruntime_openvino-9.9.9.dist-info/METADATA": b"Metadata-Version: 2.1\nName: onnxruntime-openvino\n"
    b"Version: 9.9.9\n",
    "onnxruntime_openvino-9.9.9.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: cp313-cp313-manylinux_2_28_x86_64\n",
    "onnxruntime_openvino-9.9.9.dist-info/RECORD": b"",
}


def write_wheel(folder, files=FILES):
    """Write a wheel of the right name, and tell its path and how it would be pinned."""
    pinned = _wheels.Pinned("onnxruntime-openvino", "9.9.9", "")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / pinned.file
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path, _wheels.Pinned("onnxruntime-openvino", "9.9.9", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    path, pinned = write_wheel(tmp_path / "wheels" / "onnxruntime-openvino")
    monkeypatch.setitem(_runtimes.PINNED, "openvino", pinned)
    return path


@pytest.fixture
def index(tmp_path, wheel, monkeypatch):
    """Serve the folder of wheels as a package index, the only one that pip knows."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(wheel.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server
        server.shutdown()


def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}


WANTED = {
    "libonnxruntime.so.9.9.9": b"the library",
    "libonnxruntime_providers_openvino.so": b"the provider",
    "libopenvino.so": b"another",
    "libopenvino.so.2541": b"another",
    "LICENSE": b"terms",
    "ThirdPartyNotices.txt": b"their terms",
    "METADATA": FILES["onnxruntime_openvino-9.9.9.dist-info/METADATA"],
}


def test_from_an_index(cache, index):
    """Libraries and licences arrive, Python modules don't, and nothing else is left."""
    runtime = _runtimes.install("openvino")
    assert content(runtime.folder) == WANTED
    assert runtime.library.read_bytes() == b"the library"
    assert [p.name for p in (cache / "runtimes").iterdir()] == ["openvino-9.9.9"]
    manifest = json.loads((runtime.folder / "manifest.json").read_text())
    assert {n: f["sha256"] for n, f in manifest["files"].items()} == {
        n: hashlib.sha256(c).hexdigest() for n, c in WANTED.items()
    }
    assert manifest["wheel"]["sha256"] == _runtimes.PINNED["openvino"].sha256
    same = runtime.folder / "libopenvino.so", runtime.folder / "libopenvino.so.2541"
    assert os.path.samefile(*same), "equal files are one on the disk"
    assert runtime.damage() is None
    assert _runtimes.installed() == [runtime]


def test_from_a_file_without_a_network(cache, wheel, monkeypatch):
    monkeypatch.setattr(_wheels.subprocess, "run", lambda *_args, **_options: pytest.fail("pip was asked"))
    before = _runtimes.install("openvino", wheel)
    os.utime(before.folder / "LICENSE", (1, 1))
    again = _runtimes.install("openvino", wheel)
    assert (again.folder / "LICENSE").stat().st_mtime == 1, "what is there is not written again"


def test_damage_is_found_and_mended(cache, wheel):
    runtime = _runtimes.install("openvino", wheel)
    runtime.library.write_bytes(b"THE LIBRARY")
    assert runtime.damage() == runtime.library.name
    line = _doctor._checked("installed runtimes", _doctor._installed_runtimes)
    assert not line.ok
    assert "repair it with `se600m runtime install openvino`" in line.found
    assert content(_runtimes.install("openvino", wheel).folder) == WANTED
    (runtime.folder / "manifest.json").write_text("{")
    with pytest.raises(errors.RuntimeLibraryError, match="`se600m runtime remove openvino`"):
        _runtimes.installed()


def test_another_wheel_is_refused_by_name(cache, wheel, tmp_path):
    other, _ = write_wheel(tmp_path / "other", FILES | {"onnxruntime/LICENSE": b"other terms"})
    with pytest.raises(errors.RuntimeLibraryError, match=r"onnxruntime_openvino-9\.9\.9-.*nothing was unpacked"):
        _runtimes.install("openvino", other)
    with pytest.raises(errors.RuntimeLibraryError, match=r"nowhere\.whl.*does not exist"):
        _runtimes.install("openvino", tmp_path / "nowhere.whl")
    with pytest.raises(errors.OptionError, match="'rocm' is not one of 'cpu', 'cuda', 'openvino'"):
        _runtimes.install("rocm")
    assert not list((cache / "runtimes").iterdir())


def test_a_wheel_without_a_library(cache, tmp_path, monkeypatch):
    path, pinned = write_wheel(tmp_path / "w", {"onnxruntime/LICENSE": b"terms"})
    monkeypatch.setitem(_runtimes.PINNED, "openvino", pinned)
    with pytest.raises(errors.RuntimeLibraryError, match=r"no libonnxruntime\.so"):
        _runtimes.install("openvino", path)
    assert not list((cache / "runtimes").iterdir())


def test_another_wheel_from_the_index_is_refused(cache, index, wheel):
    write_wheel(wheel.parent, FILES | {"onnxruntime/capi/libopenvino.so": b"something else"})
    with pytest.raises(errors.RuntimeLibraryError, match="nothing was unpacked"):
        _runtimes.install("openvino")
    assert not list((cache / "runtimes").iterdir())


def test_an_index_without_it_or_none(cache, index, wheel, monkeypatch):
    wheel.unlink()
    with pytest.raises(errors.RuntimeLibraryError, match=r"could not download .*9\.9\.9.*--from"):
        _runtimes.install("openvino")
    monkeypatch.setattr(_wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.MissingPackageError, match=r"pip is needed .*--from"):
        _runtimes.install("openvino")
    assert not list((cache / "runtimes").iterdir())


def test_other_machines(cache, wheel, monkeypatch):
    monkeypatch.setattr(_runtimes.platform, "machine", lambda: "aarch64")
    with pytest.raises(errors.RuntimeLibraryError, match=r"aarch64.*pip install onnxruntime"):
        _runtimes.install("openvino", wheel)


def test_ctrl_c_leaves_nothing(cache, tmp_path):
    """While pip waits for an index that does not answer."""
    asked = threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.set()
            time.sleep(60)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}",
            "NO_PROXY": "*",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "se600m.cli", "runtime", "install", "openvino"], env=environment,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert asked.wait(100)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        server.shutdown()
    assert process.returncode == 130, stderr
    assert "nothing was written" in stderr
    assert not list((cache / "runtimes").iterdir())


def test_the_command(cache, wheel, capsys, monkeypatch):
    from se600m import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["se600m", "runtime", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code or 0), capsys.readouterr()

    assert run("install", "openvino", "--from", wheel)[0] == 0
    shown = run("list")[1].out.splitlines()
    assert [line.split()[0] for line in shown if line[0] != " "] == ["cpu", "cuda", "openvino"]
    assert "not installed" in shown[0]
    assert str(cache / "runtimes" / "openvino-9.9.9") in shown[-1]
    (cache / "runtimes" / "openvino-1.0").mkdir()
    assert run("remove", "openvino")[0] == 0
    assert not list((cache / "runtimes").iterdir())
    code, shown = run("remove", "openvino")
    assert code == 1
    assert "not installed" in shown.err


# -- which library -----------------------------------------------------------------------------


def test_the_library_that_is_needed(cache, wheel, monkeypatch):
    package = _library.find("cpu")
    assert Path(package).parent.name == "capi"
    assert _library.find("openvino") == package, "without the runtime, what there is: the device says what it lacks"
    runtime = _runtimes.install("openvino", wheel)
    for device, precision, flavour in (
        ("auto", "auto", "cpu"), ("cpu", "fp32", "cpu"), ("cpu", "bf16", "openvino"), ("openvino", "fp32", "openvino"),
        ("cuda:1", "auto", "cuda"), ("tensorrt", "auto", "cuda"),
    ):  # fmt: skip
        assert _library.needed(device, precision) == flavour
        assert _library.find(flavour) == (str(runtime.library) if flavour == "openvino" else package)
    assert _library.origin(str(runtime.library)) == "from `se600m runtime install`"
    assert _library.origin(package) == "from the Python package"
    monkeypatch.setenv("SE600M_ORT_LIBRARY", "/elsewhere.so")
    assert _library.find("openvino") == "/elsewhere.so"
    assert _library.origin("/elsewhere.so") == "from SE600M_ORT_LIBRARY"


def test_the_library_of_a_conda_environment(cache, tmp_path, monkeypatch):
    """conda's Python package has none: another package puts it into the environment's lib."""
    monkeypatch.setattr(_library.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(_library.sys, "prefix", str(tmp_path / "conda"))
    (tmp_path / "conda" / "lib").mkdir(parents=True)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1.30.0", "libonnxruntime_providers_shared.so"):
        (tmp_path / "conda" / "lib" / name).touch()
    found = _library.find("cpu")
    assert found == str(tmp_path / "conda" / "lib" / "libonnxruntime.so.1.30.0")
    assert _library.origin(found) == "from this environment"


def test_no_library_at_all(cache, monkeypatch):
    monkeypatch.setattr(_library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.RuntimeLibraryError, match="se600m runtime install cpu"):
        _library.find()


def test_another_library_later_is_a_named_error(cache, wheel):
    loaded = _library.open_runtime()
    runtime = _runtimes.install("openvino", wheel)
    with pytest.raises(errors.RuntimeLibraryError) as told:
        _library.open_runtime("auto", "bf16")
    for part in (str(runtime.library), "has loaded", "start a new process", "SE600M_ORT_LIBRARY"):
        assert part in str(told.value)
    assert _library.open_runtime("cpu", "fp32") == loaded


# -- doctor ------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", None])
def test_doctor_tells_what_is_faster(cache, wheel, monkeypatch, flag):
    monkeypatch.setattr(_choices, "processor", lambda: ("processor", {"avx2", flag}))
    before = _doctor._faster()
    _runtimes.install("openvino", wheel)
    after = _doctor._faster()
    if flag is None:
        assert before == after == "none: the processor has no instructions for 8-bit products or bfloat16"
    else:
        assert before == 'precision="bf16" after `se600m runtime install openvino`'
        assert after == 'precision="bf16"'
    monkeypatch.setattr(_choices, "processor", lambda: ("processor", {"avx512_vnni"}))
    assert _doctor._faster() == 'precision="int8"'
    assert "openvino 9.9.9" in _doctor._installed_runtimes()
    assert _doctor._device("openvino").startswith("openvino 9.9.9 is installed; ")
    cuda = _doctor._checked("device cuda", lambda: _doctor._device("cuda"), optional=True)
    assert cuda.found.startswith("not available: ")
    assert (cuda.ok, cuda.available) == (True, False)
    assert _cache.cache_dir() == cache
