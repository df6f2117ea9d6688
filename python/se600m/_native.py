"""The only importer of the native module: calls, jobs, memory, and errors that become exceptions."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _se600m, errors

_LOADED_IN = os.getpid()
_POLL_MILLISECONDS = 50

Progress = Callable[[int, int], None]
"""Called with (done, total) while a job runs."""


def call(function: str, *args: Any) -> Any:
    """Call an exported Go function; its errors become the exceptions of :mod:`se600m.errors`."""
    if os.getpid() != _LOADED_IN:
        raise errors.ForkError(
            "se600m was loaded before this process was forked and can't run in the child: "
            "start workers with multiprocessing.get_context('spawn')"
        )
    try:
        return getattr(_se600m, f"pybind_{function}")(*args)
    except RuntimeError as error:
        raise _exception(str(error)) from None


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


def run(kind: str, request: dict[str, Any], progress: Progress | None = None) -> Any:
    """Run a job to its end and return its report.

    Every array whose address is in the request must stay alive until this returns. An exception on
    the way (Ctrl-C, or one from ``progress``) cancels the job and is raised once Go has let go of
    the memory.
    """
    job = call("Start", kind, json.dumps(request))
    try:
        if progress is not None:
            progress(0, 0)  # a job begins
        ended = False
        while not ended:
            state = json.loads(call("Wait", job, _POLL_MILLISECONDS))
            ended = state["ended"]
            if progress is not None:
                progress(state["done"], state["total"])
    except BaseException:
        call("Cancel", job)
        with contextlib.suppress(errors.SE600MError):  # that it was cancelled, or why it failed at that moment
            call("Finish", job)
        raise
    return json.loads(call("Finish", job))


def match_genes(
    model: int, columns: list[tuple[str, list[str]]], minimum: float
) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
    """Find genes in a model's vocabulary by the best of some columns of names.

    Returns
    -------
    tokens
        int32, one a gene; -1 for unknown ones.
    report
        The column that was taken, and what became of the names.
    """
    tokens = np.full(len(columns[0][1]), -1, dtype=np.int32)
    names = _lines([gene for _, genes in columns for gene in genes])
    request = {
        "columns": [name for name, _ in columns],
        "names": array(names),
        "minimum": minimum,
        "tokens": array(tokens),
    }
    return tokens, json.loads(call("MatchGenes", model, json.dumps(request)))


def _lines(names: list[str]) -> npt.NDArray[np.uint8]:
    """Write a name a line, in UTF-8; a name of several lines, which is no gene's, becomes one line."""
    text = "\n".join(names)
    if text.count("\n") != len(names) - 1:
        text = "\n".join(name.replace("\n", " ") for name in names)
    return np.frombuffer(text.encode(errors="replace"), np.uint8)


def version() -> str:
    """Version of the native core."""
    return str(call("Version"))


def format_version() -> int:
    """Format of the model directories that the native core writes and reads."""
    return int(call("FormatVersion"))
