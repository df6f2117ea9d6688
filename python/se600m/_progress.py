"""Progress bars: in a notebook and in a terminal, and none elsewhere. For programs, lines of JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from tqdm.auto import tqdm

from se600m import _log
from se600m._estimate import Estimate, Run
from se600m._native import Progress

_BETWEEN_LINES = 1.0
"""Seconds between two lines of JSON about the same work."""


class Lines:
    """Progress as one JSON object per line, for schedulers and other programs.

    Every object has ``event``, the time of day ``time`` (seconds since 1970), and whatever was noted with
    :meth:`note`, such as the file. ``"progress"`` has ``task``, ``done``, ``total``, ``unit``, ``rate`` (per second)
    and ``eta_s`` (seconds left; null at first).
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._noted: dict[str, Any] = {}

    def note(self, **what: Any) -> None:
        """Have something in every line from now on."""
        self._noted |= what

    def write(self, event: str, **what: Any) -> None:
        """Write a line."""
        line = json.dumps({"event": event, "time": round(time.time(), 3)} | self._noted | what)
        self._stream.write(line + "\n")
        self._stream.flush()


_lines: ContextVar[Lines | None] = ContextVar("_lines", default=None)


@contextmanager
def as_lines(stream: TextIO) -> Iterator[None]:
    """Have all progress in the block written as lines of JSON instead of bars."""
    token = _lines.set(Lines(stream))
    try:
        yield
    finally:
        _lines.reset(token)


def lines() -> Lines | None:
    """Give the lines that progress is written as, if it is."""
    return _lines.get()


@contextmanager
def _reported(to: Lines, task: str, total: int, unit: str, done: int) -> Iterator[Progress]:
    """Write lines about work of which some was done before."""
    began, at, last = time.monotonic(), done, -_BETWEEN_LINES

    def write() -> None:
        elapsed = time.monotonic() - began
        rate = (at - done) / elapsed if elapsed > 0 else 0.0
        eta = round((total - at) / rate, 1) if rate > 0 else None
        to.write("progress", task=task, done=at, total=total, unit=unit, rate=round(rate, 3), eta_s=eta)

    def update(now: int, _total: int) -> None:
        nonlocal at, last
        at = now
        if time.monotonic() - last >= _BETWEEN_LINES:
            last = time.monotonic()
            write()

    yield update
    write()


def wanted(progress: bool | None) -> bool:
    """Whether to show progress: as asked, else where somebody is likely to watch."""
    if progress is not None:
        return bool(progress)
    return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


@contextmanager
def bar(
    progress: bool | None, description: str, total: int, unit: str = "cell", run: Run | None = None, done: int = 0
) -> Iterator[Progress]:
    """Show a bar over all jobs in the block; gives what :func:`se600m._native.run` calls.

    Several jobs may follow each other: what is done before a job counts on. With ``run``, a run that will take long is
    said to in its first seconds: beside the bar, or to the log where there is none. What was ``done`` earlier counts as
    done, but not for the estimate.
    """
    written = lines() if total else None
    show = wanted(progress) and written is None
    with contextlib.ExitStack() as stack:
        options: Any = {"unit": unit, "unit_scale": unit == "B", "disable": not show, "initial": done}
        shown = stack.enter_context(tqdm(total=total, desc=description, **options))
        line = None if written is None else stack.enter_context(_reported(written, description, total, unit, done))

        def tell(sentence: str) -> None:
            if show:
                shown.write(f"{description}: {_log.worded(sentence)}", file=sys.stderr)
            else:
                _log.log.info("%s: %s", description, sentence)

        estimate = None if run is None else Estimate(total - done, unit, run, tell)
        before = 0
        last = 0

        def update(now: int, job_total: int) -> None:
            nonlocal before, last
            if now < last:  # the next job has begun
                before, last = before + last, 0
            if unit == "B" and job_total != shown.total:
                shown.total = job_total
            shown.update(done + before + now - shown.n)
            if line is not None:
                line(done + before + now, job_total)
            last = now
            if estimate is not None:
                estimate.update(before + now)

        with _log.notices_to(tell) if show else contextlib.nullcontext():
            yield update
