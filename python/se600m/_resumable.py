"""Runs over the cells of a file whose rows are kept on the way, so that they can go on after whatever ended them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from se600m import _journal, _log, _native, _opened, _progress, errors
from se600m._cells import Cells
from se600m._chunks import Arrays, Rest, Timings
from se600m._inputs import Input

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

_MOST_MEMORY = 1 << 60
"""More bytes than any machine has."""

_SECONDS = 60.0
"""Results are kept about as often."""
_FIRST, _GROWTH = 16, 8
"""Cells that are worked on first, when nothing is known of the speed, and how fast their number may grow."""


def memory_of(memory: Any) -> int:
    """Read an amount of memory: a number of bytes, or text such as ``"512MB"`` or ``"2 GiB"``."""
    n_bytes: int | float = 0
    if isinstance(memory, int | np.integer) and not isinstance(memory, bool):
        n_bytes = int(memory)
    elif isinstance(memory, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", memory.strip(), re.IGNORECASE)
        n_bytes = 0 if found is None else float(found[1]) * _unit(found[2].upper(), bool(found[3]))
    if 1 <= n_bytes <= _MOST_MEMORY:
        return int(n_bytes)
    raise errors.OptionError(f"memory={memory!r} is not an amount of memory such as '512MB' or '2GB'")


def _unit(letter: str, binary: bool) -> int:
    return 1024 ** " KMGT".index(letter) if binary and letter else _UNITS[letter]


class Pace:
    """How many rows are worked on at once, so that results are kept about once a minute, whatever the speed."""

    def __init__(self) -> None:
        self._rows = _FIRST

    def __call__(self) -> int:
        """Give the number of rows."""
        return self._rows

    def took(self, n_rows: int, seconds: float) -> None:
        """Take note of how long some rows took."""
        wanted = int(n_rows * _SECONDS / max(seconds, 1e-3))
        self._rows = max(1, min(wanted, self._rows * _GROWTH))


class JournalSink:
    """Results into a journal. ``before`` and ``after`` are called whenever rows are kept."""

    step: int | None = None

    def __init__(
        self, journal: _journal.Journal, pace: Pace, before: Callable[[], None], after: Callable[[], None]
    ) -> None:
        self._journal, self._pace, self._before, self._after = journal, pace, before, after
        self._began = 0.0

    def memory(self, rows: slice) -> Arrays:
        n = rows.stop - rows.start
        self._began = time.monotonic()
        return {name: np.empty((n, *array.row), array.dtype) for name, array in self._journal.arrays.items()}

    def store(self, rows: slice, arrays: Arrays) -> None:
        self.keep(arrays, None)

    def keep(self, arrays: Arrays, seconds: float | None) -> None:
        """Keep the next rows, which took some seconds; None: as many as since memory for them was given."""
        self._before()
        before = self._journal.done
        self._journal.append(arrays)
        self._pace.took(self._journal.done - before, time.monotonic() - self._began if seconds is None else seconds)
        if (lines := _progress.lines()) is not None:
            lines.note(chunk=self._journal.n_chunks)
            lines.write("saved", done=self._journal.done, total=self._journal.n_rows)
        self._after()


@dataclass(frozen=True)
class Task:
    """What is made of cells."""

    kind: _native.Kind
    title: str
    arrays: Mapping[str, _journal.Array]
    """The arrays that Go writes."""
    more: Mapping[str, Any]
    """The part of the job's request that is about it alone."""
    depends_on: Mapping[str, Any] = field(default_factory=dict)
    """What the rows depend on beside the cells, the model and the options, by the names under which a difference is
    reported: text and numbers."""

    @property
    def bytes_per_row(self) -> int:
        """Bytes of the results of a cell."""
        return sum(array.bytes_per_row for array in self.arrays.values())


def device_kind(opened: _opened.Opened) -> str:
    """Say what kind of device a model runs on, such as "cuda"."""
    return kind_of(opened.device)


def kind_of(device: str) -> str:
    """Say of what kind a device is, or several: how many there are, and which, is left out."""
    return " and ".join(sorted({name.partition(":")[0] for name in device.split(",")}))


def of_model(opened: _opened.Opened) -> dict[str, str]:
    """Name what results depend on of the model and of what it runs on."""
    noted = opened.provenance()
    return {("device" if key == "provider" else key): value for key, value in noted.items()} | {
        "device": device_kind(opened)
    }


def identity(cells: Cells, given: Input, task: Task) -> dict[str, Any]:
    """Name everything that results depend on. What can't change them, such as the batch size, is not among it.

    It is the same for this process and for the workers of a cluster, so that either goes on with the rows of the other.
    """
    options, n = cells.options, cells.n_cells
    return {
        "the command": task.kind,
        **given.identity(cells.source, options),
        "the rows": f"{cells.source.offset}-{cells.source.offset + n}",
        **of_model(cells.opened),
        "layer": options.layer,
        "use_raw": options.use_raw,
        "gene_column": options.gene_column,
        "expression": options.expression,
        "fill": options.fill,
        "seed": options.seed,
        "genes": options.named_genes(),
        **task.depends_on,
    }


def check_found(destination: Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure that it is clear what becomes of the rows of an earlier run, if there are any.

    Raises
    ------
    DestinationExistsError
        There are, and nothing is said about them.
    """
    folder = _journal.folder_of(destination)
    if folder.exists() and not resume and not overwrite:
        raise errors.DestinationExistsError(
            f"{str(folder)!r} has the rows of an earlier run that did not end: go on with resume=True, or start again "
            "with overwrite=True, which throws them away"
        )


@dataclass
class Done:
    """A run whose rows are all there."""

    journal: _journal.Journal
    seen: dict[str, Any]
    """What was seen of the cells when they were checked."""
    warnings: list[str]
    resumed: int
    """Number of rows that an earlier run had made."""
    timings: Timings
    checking: float
    """Seconds that the checks took."""


def run(
    cells: Cells,
    given: Input,
    task: Task,
    journal: _journal.Journal,
    check: Callable[[], None],
    *,
    keep_share: bool = False,
    elsewhere: Callable[[int, Pace, Callable[[Arrays, float], None]], None] | None = None,
) -> Done:
    """Check all cells, unless an earlier run did, and make the rows that are missing.

    Parameters
    ----------
    journal
        Where the rows are kept.
    check
        Is called whenever rows have been kept.
    keep_share
        Keep each cell's share of expression in known genes, too.
    elsewhere
        Computes the rows from one on, instead of this process, and gives them in order, with the seconds they took.
    """
    began, timings = time.monotonic(), Timings()
    seen, warnings = journal.notes.get("seen"), journal.notes.get("warnings", [])
    if seen is None:
        with _log.collecting() as warnings:
            cells.survey(timings)
        seen = {key: plain(value) for key, value in cells.report.provenance().items()}
        if keep_share:
            np.save(journal.folder / SHARE, cells.report.share)
        journal.note(seen=seen, warnings=warnings)
    else:
        _log.log.info("the cells were checked when the run began: their checks are not repeated")
    checking, resumed, pace = time.monotonic() - began, journal.done, Pace()
    if resumed < cells.n_cells:
        # Rows of a file that was cut off meanwhile are not kept.
        sink = JournalSink(journal, pace, given.check_unchanged, check)
        if elsewhere is None:
            rest = Rest(cells, resumed, pace)
            cells.run(task.kind, sink, dict(task.more), task.title, rest=rest, timings=timings)
        else:
            began = time.monotonic()
            elsewhere(resumed, pace, sink.keep)
            timings.computing += time.monotonic() - began
    given.check_unchanged()
    return Done(journal, seen, warnings, resumed, timings, checking)


SHARE = "share.npy"


def plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
