"""Progress bars: in a notebook and in a terminal, and none elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from se600m import _log
from se600m._estimate import Estimate, Run
from se600m._native import Progress

worded: Callable[[str], str] = str
"""Puts what is said beside a bar into the words of whoever runs se600m: the command names flags."""


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
    progress: bool | None, description: str, total: int, unit: str = "cell", run: Run | None = None
) -> Iterator[Progress]:
    """Show a bar over all jobs in the block; gives what :func:`se600m._native.run` calls.

    Several jobs may follow each other: what is done before a job counts on. With ``run``, a run that will take long is
    said to in its first seconds: beside the bar, or to the log where there is none.
    """
    show = wanted(progress)
    with tqdm(total=total, desc=description, unit=unit, unit_scale=unit == "B", disable=not show) as shown:

        def tell(sentence: str) -> None:
            if show:
                shown.write(f"{description}: {worded(sentence)}", file=sys.stderr)
            else:
                _log.log.info("%s: %s", description, sentence)

        estimate = None if run is None else Estimate(total, unit, run, tell)
        before = 0
        last = 0

        def update(done: int, job_total: int) -> None:
            nonlocal before, last
            if done < last:  # the next job has begun
                before, last = before + last, 0
            if unit == "B" and job_total != shown.total:
                shown.total = job_total
            shown.update(before + done - shown.n)
            last = done
            if estimate is not None:
                estimate.update(before + done)

        with _log.notices_to(tell) if show else contextlib.nullcontext():
            yield update
