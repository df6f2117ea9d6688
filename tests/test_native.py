"""The border to Go: panics, error codes, handles, and the shared library itself."""

import ast
import re
import typing
from pathlib import Path

import numpy as np
import pytest

import se600m
from se600m import _library, _native, _se600m, errors
from wheels import contents

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = Path(_se600m.__file__)


def test_a_panic_becomes_an_exception():
    with pytest.raises(errors.InternalError, match="a deliberate panic"):
        _native.fail()
    assert _native.version()


@pytest.mark.parametrize(("goroutine", "where"), [(False, "in a job"), (True, "in a goroutine")])
def test_the_process_survives_a_panic_in_the_background(immune, goroutine, where):
    for _ in range(3):
        with pytest.raises(errors.InternalError, match=f"a deliberate panic {where}"):
            _native.run("fail", {"goroutine": goroutine})
    adata = immune[:5].copy()
    se600m.embed(adata)
    assert se600m.nearest(adata, k=2).indices.shape == (5, 2)


def test_every_code_of_go_has_its_class():
    codes = set(re.findall(r'\{[\w.]+, "([a-z-]+)"\}', (ROOT / "pybind" / "errors.go").read_text()))
    assert len(codes) > 10
    assert codes - {"canceled"} <= set(errors.BY_CODE), "cancelling is Python's own doing, and never raised"
    assert set(errors.BY_CODE) - codes == {"other"}


def test_every_exception_is_a_se600m_error():
    classes = {value for value in vars(errors).values() if isinstance(value, type)}
    assert len(classes) > 12
    assert all(issubclass(c, errors.SE600MError) and c.__doc__ for c in classes if not issubclass(c, Warning))


@pytest.mark.parametrize("text", ["no json", "[1]", '{"code": "x"}'])
def test_an_error_of_unknown_shape_is_not_lost(text):
    error = _native._exception(text)
    assert isinstance(error, errors.InternalError)
    assert text in str(error)


def test_unknown_handles_and_requests():
    with pytest.raises(errors.ModelClosedError, match="model 12345"):
        _native.describe_model(12345)
    with pytest.raises(errors.ModelClosedError, match="job 12345"):
        _native._finish(12345)
    with pytest.raises(errors.InternalError, match="kind"):
        _native.run("dance", {})
    model = se600m.load_model()  # kept: a model closes itself when nobody holds it
    tokens = {"address": 0, "length": 2, "dtype": "int32"}
    with pytest.raises(errors.InternalError, match="null address"):
        _native.run("plan", {"model": model._opened.handle, "tokens": tokens, "fill": "auto"})


def test_keys_of_requests():
    model = se600m.load_model()
    request = {"model": model._opened.handle, "tokens": _native.array(np.arange(20, dtype=np.int32)), "fill": "auto"}
    assert _native.run("plan", request)["n_valid"] == 20
    with pytest.raises(errors.InternalError, match='plan: request: "sede" is unknown'):
        _native.run("plan", request | {"sede": 1})
    with pytest.raises(errors.InternalError, match='"fill" is missing, "Fill" is unknown'):
        _native.run("plan", {"model": model._opened.handle, "tokens": request["tokens"], "Fill": "auto"})
    with pytest.raises(errors.InternalError, match=r'"tokens\.length" is missing'):
        _native.run("plan", request | {"tokens": {"address": 0, "dtype": "int32"}})


def test_every_kind_of_job_is_known_to_mypy():
    table = (ROOT / "pybind" / "start.go").read_text().partition("var kinds = ")[2].partition("\n}")[0]
    assert set(re.findall(r'"(\w+)":', table)) == set(typing.get_args(_native.Kind))


def test_another_onnxruntime_in_one_process_is_refused(tmp_path):
    _library.open_runtime()
    with pytest.raises(errors.RuntimeLibraryError, match=r"other\.so"):
        _native.open_runtime(str(tmp_path / "other.so"))
    copy = tmp_path / "copy.so"
    copy.write_bytes(b"not a library")
    with pytest.raises(errors.RuntimeLibraryError, match=r"already loaded .*"):
        _native.open_runtime(str(copy))


def test_stub_and_module_agree():
    # That the stub agrees with Go's sources is a test of pybind; gopy tells in the docstrings what it has built.
    stub = ast.parse((ROOT / "python" / "se600m" / "_se600m.pyi").read_text())
    declared = {
        f.name: [(a.arg, ast.unparse(a.annotation)) for a in f.args.args]
        for f in stub.body
        if isinstance(f, ast.FunctionDef)
    }
    types = {"int64_t": "int", "char *": "str", "double": "float", "bool": "bool"}
    built = {
        name: [(a, types[c]) for a, c in re.findall(r"(?m)^type: (\w+): (.+)$", function.__doc__)]
        for name, function in vars(_se600m).items()
        if name.startswith("pybind_")
    }
    assert declared == built


def test_every_function_of_the_module_is_called_by_name():
    source = (ROOT / "python" / "se600m" / "_native.py").read_text()
    assert set(re.findall(r"_se600m\.(pybind_\w+)", source)) == {n for n in vars(_se600m) if n.startswith("pybind_")}


def test_the_library_exports_one_symbol_needs_glibc_alone_and_names_no_path():
    content = LIBRARY.read_bytes()
    assert list(contents.module_faults(content)) == []
    assert str(ROOT).encode() not in content
