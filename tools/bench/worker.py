"""A side of the benchmark: a process that does one thing at a time when it is told to.

Requests and answers are lines of JSON over pipes, so that imports and loading are not counted where they
are not meant, and a side that is not asked does nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Action = Callable[..., dict[str, Any]]


def peak_memory() -> int:
    """Tell this process's peak resident memory in bytes (mapped files count), from /proc: getrusage's is inherited."""
    return _status("VmHWM")


def resident_memory() -> int:
    """Tell this process's resident memory in bytes."""
    return _status("VmRSS")


def _status(key: str) -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[key].split()[0]) * 1024


def forget_peak() -> None:
    """Let the peak of resident memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def serve(**actions: Action) -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    for line in sys.stdin:
        request = json.loads(line)
        name = request.pop("do")
        try:
            answer = _timed(actions[name], request)
        except Exception as error:  # told to whoever asked
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer | {"peak": peak_memory()}) + "\n")
        answers.flush()


def _timed(action: Action, request: dict[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    answer = action(**request)
    return {"seconds": time.perf_counter() - start} | answer


class Side:
    """A worker process, seen from the benchmark."""

    def __init__(self, python: Path, script: str, log: Path, environment: dict[str, str] | None = None) -> None:
        self.started = time.perf_counter()
        here = Path(__file__).parent
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [python, here / script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._path = log

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Have something done, and wait for it.

        Raises
        ------
        SideError
            It failed; the message is the side's own.
        """
        process = self._process
        try:
            process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SideError(f"{do}: the process ended with {process.wait()}: see {self._path}")
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(answer["error"])
        return answer

    def end(self) -> None:
        """Let the process end."""
        self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class SideError(Exception):
    """A side could not do what it was asked for."""
