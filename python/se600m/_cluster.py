"""The rows of a run computed by the workers of a Dask cluster, which read the file themselves."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from se600m import (
    _extras,
    _files,
    _inputs,
    _journal,
    _library,
    _log,
    _native,
    _opened,
    _progress,
    _resumable,
    _workers,
    errors,
)
from se600m._cells import Cells
from se600m._chunks import Arrays, ArraySink
from se600m._inputs import Input
from se600m._options import CellOptions
from se600m._resumable import Task

_CONNECT_SECONDS = 5.0
_AHEAD = 2
"""Chunks that are under way for each worker: one is computed, and one waits for it."""
_MOST_WAITING = 1024
"""Chunks that are under way at once, however many workers there are."""


@dataclass(frozen=True)
class Part:
    """What a worker needs to know to compute rows of a file."""

    place: str
    modality: str | None
    model: _workers.WorkerModel
    options: CellOptions
    budget: int
    task: Task
    identity: Mapping[str, Any]
    """What the rows depend on, as the run has it: a worker that sees something else must not compute them."""
    rows: tuple[int, int] | None


class Cluster:
    """A connection to a Dask scheduler.

    Raises
    ------
    MissingPackageError
        Dask is not installed.
    ClusterError
        Nothing answers at the address.
    """

    def __init__(self, scheduler: str) -> None:
        if not isinstance(scheduler, str) or "://" not in scheduler:
            raise errors.OptionError(
                f"scheduler={scheduler!r} is not the address of a Dask scheduler such as 'tcp://10.0.0.1:8786'"
            )
        self.address = scheduler
        self._dask: Any = _extras.module("distributed", "dask", "a Dask scheduler requires")
        try:
            self._client = self._dask.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except Exception as error:
            raise errors.ClusterError(
                f"scheduler={scheduler!r} does not answer ({_files.reason(error)}): "
                "start it with `dask scheduler`, and give the address that it prints"
            ) from error

    def close(self) -> None:
        """Let go of the connection, and of what is under way."""
        self._client.close(timeout=_CONNECT_SECONDS)

    def chosen(self, opened: _opened.Opened, device: str, precision: str) -> _opened.Opened:
        """Describe a model as the workers run it, who may have other devices than this machine.

        A worker is asked which device ``"auto"`` is there, and whether the model is there at all.
        """
        if not self._client.scheduler_info()["workers"]:
            _log.notice(f"the scheduler {self.address} has no workers yet, and is waited for")
        model = _workers.WorkerModel(opened.directory, device, precision, opened.checksum)
        with self._told():
            found = self._client.submit(_describe, model, _native.version(), pure=False).result()
        return opened.as_on(found["device"], found["precision"], found["runtime"])

    def run(
        self,
        part: Part,
        cells: Cells,
        first: int,
        pace: _resumable.Pace,
        store: Callable[[Arrays, float], None],
    ) -> None:
        """Compute all rows from one on; ``store`` takes them in order, with the seconds that they took.

        Workers that are lost are Dask's business: others compute their rows, which are the same bits.
        """
        title, n = part.task.title, cells.n_cells
        waiting: collections.deque[tuple[int, Any]] = collections.deque()
        with _progress.bar(part.options.progress, title, n, done=first) as update, self._told():
            shared = self._client.scatter(part, broadcast=True, hash=False) if self._n_workers() else part
            try:
                begun = done = first
                while done < n:
                    while begun < n and len(waiting) < self._most_waiting():
                        step = min(n - begun, self._step(part, pace))
                        future = self._client.submit(_compute, shared, begun, begun + step, pure=False)
                        waiting.append((begun + step, future))
                        begun += step
                    done, future = waiting.popleft()
                    arrays, seconds = future.result()
                    del future  # the scheduler forgets the rows
                    store(arrays, seconds)
                    update(done - first, n - first)
            finally:
                self._client.cancel([future for _, future in waiting])

    def _n_workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def _most_waiting(self) -> int:
        return min(_MOST_WAITING, _AHEAD * max(1, self._n_workers()))

    def _step(self, part: Part, pace: _resumable.Pace) -> int:
        """Rows of a chunk: results of all that are under way must fit into the memory for results."""
        most = part.budget // 3 // max(1, part.task.bytes_per_row * self._most_waiting())
        return max(1, min(pace(), most))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what Dask raises into an error of se600m's; those of workers come as they are."""
        try:
            yield
        except errors.SE600MError:
            raise
        except (self._dask.KilledWorker, self._dask.comm.CommClosedError, OSError) as error:
            raise errors.ClusterError(
                f"the cluster of {self.address} failed: {_files.reason(error)}. See the logs of its workers"
            ) from error
        except (ImportError, AttributeError) as error:
            raise errors.ClusterError(
                f"a worker of {self.address} can't import se600m ({error}): install the same version of se600m-go there"
            ) from error
        except Exception as error:
            if type(error).__module__.startswith(("distributed.", "dask.", "asyncio", "concurrent.")):
                raise errors.ClusterError(f"the cluster of {self.address} failed: {_files.reason(error)}") from error
            raise


def _describe(model: _workers.WorkerModel, version: str) -> dict[str, str]:
    """Say what a model runs on here; called in a worker."""
    if _native.version() != version:
        raise errors.ClusterError(
            f"a Dask worker has se600m-go {_native.version()}, but this is {version}: install the same version there"
        )
    device = _library.chosen(model.device, model.precision)
    with _workers.kept.use(("model", model), dataclasses.replace(model, device=device).opened) as opened:
        device = _resumable.device_kind(opened)
        return {"device": device, "precision": opened.precision, "runtime": opened.runtime_version}


class _Open:
    """The file and the model of a run, open in a worker."""

    def __init__(self, part: Part) -> None:
        self._part = part
        try:
            self.given: Input = _inputs.read(part.place, part.modality)
        except errors.DataError as error:
            raise errors.DataError(
                f"{error} (where a Dask worker runs: workers need the file under the same path, for example on a file "
                "system that they share)"
            ) from error
        per_row = part.task.bytes_per_row
        expression = self.given.expression(part.options, part.budget // 3, per_row, part.rows)
        self.cells = Cells(part.model.opened(), expression, part.options)
        self._check()

    def _check(self) -> None:
        seen, wanted = _resumable.identity(self.cells, self.given, self._part.task), self._part.identity
        wrong = [
            f"{name} is {seen.get(name)!r}, not {wanted.get(name)!r}"
            for name in {**wanted, **seen}
            if seen.get(name) != wanted.get(name)
        ]
        if wrong:
            raise errors.DataError(
                f"a Dask worker would compute {self._part.place!r} differently: {'; '.join(wrong)}. All workers must "
                "have the same file, model, devices and packages"
            )

    def close(self) -> None:
        """Close the file."""
        self.given.close()


def _compute(part: Part, first: int, last: int) -> tuple[Arrays, float]:
    """Compute rows of a file; called in a worker."""
    began = time.monotonic()
    key = (part.place, part.modality, part.model, tuple(part.identity.items()))
    with _workers.kept.use(key, lambda: _Open(part)) as there:
        whole: Cells = there.cells
        options = dataclasses.replace(whole.options, threads=whole.options.threads or _workers.threads())
        genes = (whole.tokens, whole.report.match)
        cells = Cells(whole.opened, whole.source.part(first, last), options, genes)
        sink = ArraySink({name: np.empty((last - first, *array.row), array.dtype) for name, array in _arrays(part)})
        cells.run(part.task.kind, sink, dict(part.task.more), part.task.title)
        there.given.check_unchanged()
    return sink.arrays, time.monotonic() - began


def _arrays(part: Part) -> list[tuple[str, _journal.Array]]:
    return list(part.task.arrays.items())
