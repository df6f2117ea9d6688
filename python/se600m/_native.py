"""The only importer of the native module: calls, jobs, memory, and errors that become exceptions.

Every exported Go function has a function here, of the same types: mypy sees a wrong argument. The requests of
jobs are dictionaries whose keys the native core checks before anything runs (the request types in pybind/ name
them): a missing or unknown one is an :class:`se600m.errors.InternalError`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from se600m import _log, _se600m, errors

_LOADED_IN = os.getpid()
_POLL_MILLISECONDS = 50

Progress = Callable[[int, int], None]
"""Called with (done, total) while a job runs."""


Kind = Literal[
    "attention",
    "contextual",
    "convert",
    "decode",
    "embed",
    "embed_sentences",
    "fail",
    "gene_embeddings",
    "nearest",
    "plan",
    "survey",
    "tokenize",
    "trace",
    "vote",
]
"""The kinds of jobs (pybind/start.go)."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def forked() -> bool:
    """Whether this process was forked after the core had been loaded: Go's threads did not come along."""
    return os.getpid() != _LOADED_IN


def _exported(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Wrap an exported Go function: its errors become the exceptions of :mod:`se600m.errors`."""

    @functools.wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if forked():
            raise errors.ForkError(
                "se600m was loaded before this process was forked and can't run in the child: start workers with "
                "multiprocessing.get_context('spawn'), or with joblib's backend 'loky'"
            )
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            raise _exception(str(error)) from None

    return checked


version = _exported(_se600m.pybind_Version)
"""Version of the native core."""
format_version = _exported(_se600m.pybind_FormatVersion)
"""Format of the model directories that the native core writes and reads."""
fail = _exported(_se600m.pybind_Fail)
"""Panic in Go, for tests; a job of kind "fail" does so in the background."""
runtime_library = _exported(_se600m.pybind_RuntimeLibrary)
"""Path of the library that was loaded, or ""."""
open_model = _exported(_se600m.pybind_OpenModel)
"""Open a converted model directory on a device, in a precision; returns the model's handle."""
close_model = _exported(_se600m.pybind_CloseModel)
"""Free a model by its handle, once nothing uses it any more."""

_checkpoint_files = _exported(_se600m.pybind_CheckpointFiles)
_check_device = _exported(_se600m.pybind_CheckDevice)
_describe_driver = _exported(_se600m.pybind_DescribeDriver)
_describe_model = _exported(_se600m.pybind_DescribeModel)
_model_genes = _exported(_se600m.pybind_ModelGenes)
_match_genes = _exported(_se600m.pybind_MatchGenes)
_find_genes = _exported(_se600m.pybind_FindGenes)
_open_runtime = _exported(_se600m.pybind_OpenRuntime)
_start = _exported(_se600m.pybind_Start)
_wait = _exported(_se600m.pybind_Wait)
_cancel = _exported(_se600m.pybind_Cancel)
_finish = _exported(_se600m.pybind_Finish)


def open_runtime(path: str, libraries: Sequence[str] = ()) -> str:
    """Load ONNX Runtime's library from a path, after the libraries that its provider needs; returns its version."""
    return _open_runtime(json.dumps({"path": path, "libraries": list(libraries)}))


def describe_driver(library: str = "") -> dict[str, Any]:
    """Ask NVIDIA's driver what it is and which devices there are.

    Parameters
    ----------
    library
        Path of a libcuda to load first; by default, the system's is asked.

    Returns
    -------
    dict
        ``version``, the newest CUDA that it supports (13000 for 13.0; 0 without a driver); ``devices``, each with
        ``number``, ``name``, ``memory`` (bytes), ``major`` and ``minor`` (compute capability); ``problem``, why they
        can't be used, or "".
    """
    return dict(json.loads(_describe_driver(library)))


def check_device(device: str, precision: str) -> dict[str, str]:
    """Resolve a device and a precision: ``{"device": ..., "precision": ...}``, or what this machine lacks."""
    return dict(json.loads(_check_device(device, precision)))


def checkpoint_files(path: str, name: str, protein_embeddings: str) -> list[str]:
    """List the files that a checkpoint consists of: the weights, then what is read beside them."""
    return list(json.loads(_checkpoint_files(path, name, protein_embeddings)))


def describe_model(model: int) -> dict[str, Any]:
    """Describe a model: its config, device, precision, checksum and stages."""
    return dict(json.loads(_describe_model(model)))


def model_genes(model: int) -> list[str]:
    """Gene symbols of a model in token order."""
    return _model_genes(model).split("\n")


def _exception(text: str) -> errors.SE600MError:
    try:
        fields = json.loads(text)
        kind, message = errors.BY_CODE.get(fields["code"], errors.InternalError), fields["message"]
    except (ValueError, KeyError, TypeError):
        return errors.InternalError(text)
    exception = kind(message)
    if isinstance(exception, errors.NotFiniteError):
        exception.cell, exception.gene = fields.get("cell"), fields.get("gene")  # type: ignore[attr-defined]
        exception.in_reference = fields.get("in_reference", False)  # type: ignore[attr-defined]
    return exception


def array(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Describe an array's memory. The caller keeps the array until the job has finished."""
    if not values.flags.c_contiguous:
        raise errors.InternalError("an array that is not contiguous can't cross to Go")
    return {"address": values.ctypes.data if values.size else 0, "length": values.size, "dtype": values.dtype.name}


def run(kind: Kind, request: dict[str, Any], progress: Progress | None = None) -> Any:
    """Run a job to its end and return its report.

    Every array whose address is in the request must stay alive until this returns. An exception on
    the way (Ctrl-C, or one from ``progress``) cancels the job and is raised once Go has let go of
    the memory.
    """
    job = _start(kind, json.dumps(request))
    try:
        if progress is not None:
            progress(0, 0)  # a job begins
        ended = False
        while not ended:
            state = json.loads(_wait(job, _POLL_MILLISECONDS))
            ended = state["ended"]
            for text in state["notices"]:
                _log.notice(text)
            if progress is not None:
                progress(state["done"], state["total"])
    except BaseException:
        _cancel(job)
        with contextlib.suppress(errors.SE600MError):  # that it was cancelled, or why it failed at that moment
            _finish(job)
        raise
    return json.loads(_finish(job))


def plan(model: int, tokens: npt.NDArray[np.int32], fill: str) -> dict[str, Any]:
    """Resolve the fill policy for a data set whose columns have these gene tokens.

    Returns
    -------
    dict
        ``fill``, the policy in force; ``n_valid``, the number of columns with a token; ``max_length``, the
        number of slots of the longest sentence that a cell can have.
    """
    return dict(run("plan", {"model": model, "tokens": array(tokens), "fill": fill}))


def match_genes(model: int, request: dict[str, Any]) -> dict[str, Any]:
    """Find a data set's genes in a model's vocabulary (see :func:`se600m._genes.match`)."""
    return dict(json.loads(_match_genes(model, json.dumps(request))))


def find_genes(model: int, request: dict[str, Any]) -> dict[str, Any]:
    """Find genes in a model's vocabulary, each on its own (see :func:`se600m._genes.tokens_of`)."""
    return dict(json.loads(_find_genes(model, json.dumps(request))))


def lines(names: list[str]) -> npt.NDArray[np.uint8]:
    """Write a name a line, in UTF-8; a name of several lines, which is no gene's, becomes one line."""
    text = "\n".join(names)
    if text.count("\n") != len(names) - 1:
        text = "\n".join(name.replace("\n", " ") for name in names)
    return np.frombuffer(text.encode(errors="replace"), np.uint8)
