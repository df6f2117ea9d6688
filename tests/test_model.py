"""The Model object: shared memory, copies, pickles, other processes, and what contradicts it."""

import copy
import inspect
import multiprocessing
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
import weakref
from typing import get_args

import numpy as np
import pytest

import se600m
from se600m import _native, _opened, _options, errors


@pytest.fixture
def model(random_model):
    return se600m.load_model(random_model(nlayers=1).folder)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_model_of_its_own_that_shares_memory(model, immune, again):
    other = again(model)
    assert other is not model
    assert other._opened is model._opened
    other.close()
    with pytest.raises(errors.ModelClosedError, match="was closed: load it again"):
        other.embed(immune)
    model.embed(immune)


def test_a_with_block_closes(model, immune):
    with model as inside:
        assert inside is model
        inside.embed(immune)
    with pytest.raises(errors.ModelClosedError):
        model.embed(immune)
    with pytest.raises(errors.ModelClosedError):
        pickle.dumps(model)
    model.close()  # again is no error


def test_a_model_that_nobody_else_holds_opens_itself_from_a_pickle(random_model, immune):
    # A model that no other test of this process has opened.
    made = se600m.load_model(random_model(nlayers=1, seed=72).folder, precision="int8")
    want = made.compute(immune).embedding
    text, key = pickle.dumps(made), (str(made.directory), made.device, made.precision)
    del made
    assert key not in _opened._opened
    again = pickle.loads(text)
    assert again.precision == "int8"
    assert np.array_equal(again.compute(immune).embedding, want)


def test_a_pickle_of_a_model_that_is_gone_or_changed_says_so(tmp_path, model, monkeypatch):
    moved = tmp_path / "converted"
    shutil.copytree(model.directory, moved)
    text = pickle.dumps(se600m.load_model(moved))
    with pytest.raises(errors.ModelError, match=r"has changed \(its checksum is .*load it again"):
        _, args = se600m.load_model(moved).__reduce__()
        se600m._model._reopen(*args[:-1], "0" * 64)
    shutil.rmtree(moved)
    monkeypatch.setattr(_opened, "_opened", weakref.WeakValueDictionary())
    with pytest.raises(errors.ModelNotFoundError, match="does not exist: load the model again"):
        pickle.loads(text)


def _embedded(job):
    model, adata = job
    return model.compute(adata).embedding


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_model_is_sent_to_other_processes(model, immune, method):
    halves = [immune[:12].copy(), immune[12:].copy()]
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # the default since Python 3.14, whose server may have imported the main module
        context.set_forkserver_preload(["se600m"])
    with context.Pool(1) as pool:
        got = np.vstack(pool.map(_embedded, [(model, half) for half in halves]))
    assert np.array_equal(got, model.compute(immune).embedding)


FORKED = """
    import multiprocessing, se600m
    model = se600m.load_model()

    def genes(given):
        return given.gene_embeddings(["CD3D"])

    def look(given):
        assert "could not be opened" in repr(given)
        return given.genes

    def inherited(_):
        return model.gene_embeddings(["CD3D"])

    def told(call):
        try:
            call()
        except se600m.errors.ForkError as error:
            assert "spawn" in str(error) and "'loky'" in str(error)
        else:
            raise AssertionError("no error")

    {lines}
"""
POOL = """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for function in (genes, look, inherited):
            told(lambda: pool.apply(function, (model,)))
"""
EXECUTOR = """
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as executor:
        for function in (genes, look, inherited):
            told(lambda: executor.submit(function, model).result())
"""
JOBLIB = """
    import joblib
    for function in (genes, look, inherited):
        call = [joblib.delayed(function)(model)] * 2
        told(lambda: joblib.Parallel(2, backend="multiprocessing")(call))
    assert len(joblib.Parallel(2, backend="loky")(call)) == 2, "the way out"
"""


@pytest.mark.parametrize("lines", [POOL, EXECUTOR, JOBLIB], ids=["Pool", "ProcessPoolExecutor", "joblib"])
def test_a_model_in_a_forked_process_is_an_error_and_no_hang(tmp_path, lines):
    script = tmp_path / "fork.py"
    script.write_text(textwrap.dedent(FORKED.replace("    {lines}\n", lines)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_model_that_a_worker_cannot_open_is_an_error_and_no_hang(tmp_path, model, immune):
    """Pools of multiprocessing wait for ever for a worker that fails while it reads its task."""
    moved = tmp_path / "converted"
    shutil.copytree(model.directory, moved)
    gone = se600m.load_model(moved)
    shutil.rmtree(moved)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.map_async(_embedded, [(gone, immune)])
        with pytest.raises(errors.ModelNotFoundError, match="does not exist: load the model again"):
            result.get(timeout=100)


# -- what was asked for is what happens --------------------------------------------------------


def test_device_and_precision_of_a_model_are_its_own(model, immune):
    se600m.embed(immune, model=model, device="cpu", precision="fp32")
    for options in ({"device": "cuda"}, {"precision": "int8"}, {"device": "cuda:1", "precision": "int8"}):
        with pytest.raises(errors.OptionError, match=r"but the given model uses .*load_model\(\.\.\., "):
            se600m.embed(immune, model=model, **options)


@pytest.mark.parametrize(
    "options, nearest",
    [
        ({"precision": "float32"}, "fp32"),
        ({"precision": "FP32"}, "fp32"),
        ({"precision": "float16"}, "fp16"),
        ({"precision": "half"}, "fp16"),
        ({"precision": "bfloat16"}, "bf16"),
        ({"precision": "int4"}, "int8"),
        ({"fill": "shard"}, "shared"),
        ({"fill": "Expected"}, "expected"),
        ({"fill": "zeros"}, "none"),
        ({"expression": "raw"}, "counts"),
        ({"expression": "log1"}, "log1p"),
        ({"device": "gpu"}, "cuda"),
        ({"device": "CPU"}, "cpu"),
        ({"device": "Cuda:1"}, "cuda:1"),
        ({"device": "tensor-rt"}, "tensorrt"),
    ],
)
def test_the_nearest_choice_is_named(immune, options, nearest):
    with pytest.raises(errors.SE600MError, match=f'did you mean "{nearest}"'):
        se600m.embed(immune, **options)


def test_an_unknown_option_is_named_with_the_nearest(immune, model):
    for function in (se600m.embed, model.embed, model.compute, model.contextual_gene_embeddings):
        with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'sede': did you mean \"seed\""):
            function(immune, sede=3)
    with pytest.raises(TypeError, match="batch_size"):
        se600m.tokenize(immune, batch_size=3)


@pytest.mark.parametrize("name, value", [("seed", 1.0), ("batch_size", 8.0), ("threads", np.float64(1))])
def test_whole_floats_are_numbers(immune, model, name, value):
    want = model.compute(immune, **{name: int(value)}).embedding
    assert np.array_equal(model.compute(immune, **{name: value}).embedding, want)
    for wrong in (value + 0.5, float("nan"), float("inf"), True, str(value)):
        with pytest.raises(errors.OptionError, match=f"{name}=.* is not a whole number from"):
            model.compute(immune, **{name: wrong})


@pytest.mark.parametrize(
    "options", [{"use_raw": "yes"}, {"use_raw": 1}, {"strict": None}, {"layer": 3}, {"gene_column": ["a"]}]
)
def test_options_of_another_type_are_named(immune, options):
    (name,) = options
    with pytest.raises(errors.OptionError, match=f"{name}="):
        se600m.embed(immune, **options)


def test_signatures_show_every_option():
    shown = inspect.signature(se600m.embed).parameters
    assert "options" not in shown
    assert list(shown)[:3] == ["adata", "model", "key_added"]
    for name, default in (("fill", "auto"), ("batch_size", None), ("strict", False), ("min_coverage", 0.1)):
        assert shown[name].default == default
        assert name in se600m.embed.__doc__
    assert "batch_size" not in inspect.signature(se600m.tokenize).parameters
    assert "fill" in inspect.signature(se600m.Model.trace).parameters
    assert "self" not in inspect.signature(se600m.load_model().embed).parameters


def listed(choices):
    return ", ".join(f'"{c}"' for c in choices)


@pytest.mark.parametrize("name, choices", [("fill", _options.Fill), ("expression", _options.Expression)])
def test_python_and_go_have_the_same_choices_for_cells(immune, model, name, choices):
    """Python names the nearest choice, and Go has the last word."""
    cells = se600m._cells.Cells(model._opened, immune, _options.CellOptions())
    _, chunk = next(cells.chunks(1))
    more = {"embedding": _native.array(np.empty(0, np.float32)), "batch_size": 0, name: "other"}
    with pytest.raises(errors.OptionError, match=f'{name}="other" is not one of {listed(get_args(choices))}'):
        _native.run("embed", cells.request | chunk.request | more)


def test_python_and_go_have_the_same_precisions_and_devices():
    with pytest.raises(errors.OptionError) as raised:
        _native.check_device("cpu", "other")
    assert set(re.findall(r'"(\w+)"', str(raised.value))) - {"other"} == set(get_args(_options.Precision))
    with pytest.raises(errors.DeviceError) as raised:
        _native.check_device("other", "auto")
    kinds = {device.split(":")[0] for device in get_args(_options.Device)}
    assert {kind.split(":")[0] for kind in re.findall(r'"([\w:]+)"', str(raised.value))} - {"other"} == kinds
