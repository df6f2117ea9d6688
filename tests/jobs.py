"""Native jobs, watched and interrupted: what Go said of every job, without a look at the clock."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from se600m import _native


@dataclass
class Ended:
    """How a job ended: what was done of the total before it was let go of, and "done" or the code of its error."""

    done: int
    total: int
    outcome: str


@dataclass
class Jobs:
    """The jobs that have ended, and what to do in the middle of one."""

    ended: list[Ended] = field(default_factory=list)
    interruptions: int = 0
    _in_the_middle: Callable[[], None] | None = None
    _within_a_batch: bool = False
    _states: dict[int, tuple[int, int]] = field(default_factory=dict)
    _surveys: set[int] = field(default_factory=set)
    """Jobs that only look over the cells: too short to be interrupted for sure."""

    def interrupt(self, act: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGINT)) -> None:
        """In the middle of the next job that is no survey, press Ctrl-C (or do something else), once."""
        self._in_the_middle, self._within_a_batch = act, False

    def interrupt_a_batch(self) -> None:
        """Press Ctrl-C, once, in the next job that is no survey: before its first batch has ended."""
        self.interrupt()
        self._within_a_batch = True

    def _waited(self, job: int, said: str) -> None:
        state = json.loads(said)
        done, total = self._states[job] = state["done"], state["total"]
        in_the_middle = done == 0 < total if self._within_a_batch else 0 < done < total
        in_the_middle = in_the_middle and not state["ended"] and job not in self._surveys
        if self._in_the_middle is not None and in_the_middle:
            act, self._in_the_middle = self._in_the_middle, None
            self.interruptions += 1
            act()

    def _finished(self, job: int, outcome: str) -> None:
        self.ended.append(Ended(*self._states.pop(job, (0, 0)), outcome))


@contextlib.contextmanager
def watched() -> Iterator[Jobs]:
    """Watch the jobs that run in the block."""
    jobs = Jobs()
    native = _native._se600m
    start, wait, finish = native.pybind_Start, native.pybind_Wait, native.pybind_Finish

    def watched_start(kind: str, request: str) -> int:
        job = start(kind, request)
        if kind == "survey":
            jobs._surveys.add(job)
        return job

    def watched_wait(job: int, milliseconds: int) -> str:
        said = wait(job, min(milliseconds, 5))
        jobs._waited(job, said)
        return said

    def watched_finish(job: int) -> str:
        try:
            report = finish(job)
        except RuntimeError as error:
            jobs._finished(job, json.loads(str(error))["code"])
            raise
        jobs._finished(job, "done")
        return report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "_start", _native._exported(watched_start))
        patch.setattr(_native, "_wait", _native._exported(watched_wait))
        patch.setattr(_native, "_finish", _native._exported(watched_finish))
        yield jobs


def was_cancelled_in_the_middle(jobs: Jobs) -> bool:
    """Whether the last job was interrupted after some of its work and before the rest, and Go says so."""
    last = jobs.ended[-1]
    return jobs.interruptions == 1 and last.outcome == "canceled" and 0 < last.done < last.total
