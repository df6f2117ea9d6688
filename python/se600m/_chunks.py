"""The one loop over rows: read some, have Go work on them, keep what it wrote, and read ahead meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from se600m import _native

Arrays = dict[str, npt.NDArray[Any]]
"""Memory that Go reads or writes, by the names that a job gives it."""


class Chunk(Protocol):
    """Some rows in memory. It keeps the memory that its request names."""

    @property
    def n_cells(self) -> int:
        """Number of rows."""

    @property
    def request(self) -> dict[str, Any]:
        """The part of a job's request that describes the rows."""


class Source(Protocol):
    """Rows to work on."""

    def chunks(self, most: int | None = None) -> Iterator[tuple[int, Chunk]]:
        """Give (first row, rows), at most some rows at a time; None leaves the number to the source."""


class Countable(Protocol):
    """Rows of which those from any one on can be read."""

    @property
    def n_cells(self) -> int:
        """Number of rows."""

    def some(self, first: int, most: int) -> Chunk:
        """Read rows from a given one on, at most some."""


@dataclass
class Rest:
    """The rows of a run that are left to do. How many are read at once may change on the way."""

    rows: Countable
    first: int
    """The first of them."""
    at_once: Callable[[], int]
    """At most as many are read at once."""

    def chunks(self, most: int | None = None) -> Iterator[tuple[int, Chunk]]:
        """Give (first row, rows)."""
        first = self.first
        while first < self.rows.n_cells:
            step = self.at_once() if most is None else min(most, self.at_once())
            chunk = self.rows.some(first, step)
            yield first, chunk
            first += chunk.n_cells


class Sink(Protocol):
    """Where results go."""

    step: int | None
    """At most as many rows at a time; None for any number."""

    def memory(self, rows: slice) -> Arrays:
        """Give memory for the results of some rows."""

    def store(self, rows: slice, arrays: Arrays) -> None:
        """Take the results of some rows, which are now in the memory that was given."""


@dataclass
class ArraySink:
    """Results of all rows in arrays, ``[n_cells, ...]`` each, which Go writes in place."""

    arrays: Arrays
    step: int | None = None

    def memory(self, rows: slice) -> Arrays:
        """Give the rows themselves."""
        return {name: values[rows] for name, values in self.arrays.items()}

    def store(self, rows: slice, arrays: Arrays) -> None:
        """Do nothing: the results are where they belong."""


@dataclass(frozen=True)
class Job:
    """What Go is to do with every chunk: the kind of the job, and the part of its request that is always the same."""

    kind: _native.Kind
    request: dict[str, Any]


@dataclass
class Timings:
    """Where the time of a run goes, in seconds."""

    reading: float = 0.0
    """Reading, most of it while other rows are worked on."""
    waiting: float = 0.0
    """Waiting for rows that are being read."""
    computing: float = 0.0
    writing: float = 0.0


def run_chunks(
    source: Source,
    sink: Sink,
    job: Job,
    *,
    progress: _native.Progress | None = None,
    report: Callable[[int, Any, Any], None] | None = None,
    timings: Timings | None = None,
) -> None:
    """Run a job over all rows; ``report`` takes the first row of a chunk, the chunk, and what Go reports of it."""
    spent = timings or Timings()
    with closing(read_ahead(source.chunks(sink.step), spent)) as chunks:
        for first, chunk in chunks:
            rows = slice(first, first + chunk.n_cells)
            arrays = sink.memory(rows)
            request = job.request | chunk.request | {name: _native.array(values) for name, values in arrays.items()}
            began = time.monotonic()
            said = _native.run(job.kind, request, progress)
            computed = time.monotonic()
            sink.store(rows, arrays)
            spent.computing += computed - began
            spent.writing += time.monotonic() - computed
            if report is not None:
                report(first, chunk, said)


_C = TypeVar("_C")


def read_ahead(
    chunks: Iterator[tuple[int, _C]], timings: Timings | None = None
) -> Generator[tuple[int, _C], None, None]:
    """Read one chunk ahead, in a thread of its own, while the chunk before it is worked on."""
    spent = timings or Timings()

    def read() -> tuple[int, _C] | None:
        began = time.monotonic()
        chunk = next(chunks, None)
        spent.reading += time.monotonic() - began
        return chunk

    with ThreadPoolExecutor(1, "se600m-reader") as reader:
        ahead = reader.submit(read)
        while True:
            began = time.monotonic()
            chunk = ahead.result()
            spent.waiting += time.monotonic() - began
            if chunk is None:
                return
            ahead = reader.submit(read)
            yield chunk
