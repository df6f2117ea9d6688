"""The border to Go: panics, error codes, handles, and the shared library itself."""

import json
import re
import subprocess
from pathlib import Path

import pytest

import se600m
from se600m import _library, _native, _se600m, errors

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = Path(_se600m.__file__)


def test_a_panic_becomes_an_exception():
    with pytest.raises(errors.InternalError, match="a deliberate panic"):
        _native.call("Fail")
    assert _native.call("Version") == _native.version()


def test_every_code_of_go_has_its_class():
    codes = set(re.findall(r'\{[\w.]+, "([a-z-]+)"\}', (ROOT / "pybind" / "errors.go").read_text()))
    assert len(codes) > 10
    assert codes - {"canceled"} <= set(errors.BY_CODE), "cancelling is Python's own doing, and never raised"
    assert set(errors.BY_CODE) - codes == {"other"}


def test_every_exception_is_a_se600m_error():
    classes = {value for value in vars(errors).values() if isinstance(value, type)}
    assert len(classes) > 12
    assert all(issubclass(c, errors.SE600MError) and c.__doc__ for c in classes - {errors.DataWarning})


@pytest.mark.parametrize("text", ["no json", "[1]", '{"code": "x"}'])
def test_an_error_of_unknown_shape_is_not_lost(text):
    error = _native._exception(text)
    assert isinstance(error, errors.InternalError)
    assert text in str(error)


def test_unknown_handles_and_requests():
    with pytest.raises(errors.ModelClosedError, match="model 12345"):
        _native.call("DescribeModel", 12345)
    with pytest.raises(errors.ModelClosedError, match="job 12345"):
        _native.call("Finish", 12345)
    with pytest.raises(errors.InternalError, match="kind"):
        _native.run("dance", {})
    model = se600m.load_model()  # kept: a model closes itself when nobody holds it
    with pytest.raises(errors.InternalError, match="null address"):
        request = {
            "columns": ["var_names"],
            "names": {"address": 0, "length": 0, "dtype": "uint8"},
            "tokens": {"address": 0, "length": 2, "dtype": "int32"},
        }
        _native.call("MatchGenes", model._opened.handle, json.dumps(request))


def test_another_onnxruntime_in_one_process_is_refused(tmp_path):
    _library.open_runtime()
    with pytest.raises(errors.RuntimeLibraryError, match=r"other\.so"):
        _native.call("OpenRuntime", str(tmp_path / "other.so"))
    copy = tmp_path / "copy.so"
    copy.write_bytes(b"not a library")
    with pytest.raises(errors.RuntimeLibraryError, match=r"loaded .* already"):
        _native.call("OpenRuntime", str(copy))


def test_stub_and_module_agree():
    stub = set(re.findall(r"def (pybind_\w+)\(", (ROOT / "python" / "se600m" / "_se600m.pyi").read_text()))
    assert stub == {name for name in vars(_se600m) if name.startswith("pybind_")}


def test_the_library_exports_one_symbol():
    listed = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True, check=True).stdout
    assert [line.split()[-1] for line in listed.splitlines()] == ["PyInit__se600m"]


def test_the_library_needs_libc_alone_and_names_no_path():
    dynamic = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"NEEDED.*\[(.+?)\]", dynamic)
    assert needed == ["libc.so.6"]
    assert "RUNPATH" not in dynamic
    assert "RPATH" not in dynamic
    assert str(ROOT).encode() not in LIBRARY.read_bytes()
