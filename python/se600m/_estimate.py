"""An estimate of how long a run takes, reported in its first seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SETTLED = 2.0
"""Seconds after which an estimate is made: what runs first is slower than the rest."""

_LONG = 60.0
"""Seconds that a run must take for the estimate to be reported."""


@dataclass(frozen=True)
class Run:
    """What is reported about a run beside its duration: where it runs, and which options are faster."""

    on: str = ""
    faster: Callable[[], Sequence[str]] = tuple
    """Looked up if the run is long."""


class Estimate:
    """Measures the progress of a run and reports once how long the whole run takes, if that is long.

    Parameters
    ----------
    total
        Number of cells, or of whatever ``unit`` is.
    tell
        Called with the sentence to report.
    clock
        Returns the time in seconds.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        run: Run,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._unit, self._run, self._tell, self._clock = total, unit, run, tell, clock
        self._began = clock()
        self._told = False

    def update(self, done: int) -> None:
        """Record how much is done."""
        if self._told or not 0 < done < self._total:
            return
        elapsed = self._clock() - self._began
        each = elapsed / done
        if elapsed < _SETTLED or each * self._total < _LONG:
            return
        self._told = True
        on = f" on {self._run.on}" if self._run.on else ""
        faster = self._run.faster()
        self._tell(
            f"about {duration(each * self._total)} for {self._total:,} {self._unit}s "
            f"({_short(each)} per {self._unit}{on})"
            + (f"; faster on this machine: {', '.join(faster)}" if faster else "")
        )


def duration(seconds: float) -> str:
    """Write a duration for people: ``"45 s"``, ``"12 min"``, ``"3 h 20 min"``, ``"2 days 4 h"``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} days" + (f" {hours} h" if hours else "")


def _short(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 0.1:
            return f"{seconds * factor:.2g} {unit}" if seconds * factor < 10 else f"{seconds * factor:.0f} {unit}"
    return f"{seconds * 1e6:.2g} µs"
