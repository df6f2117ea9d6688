"""Models in the worker processes of Dask: opened when first needed, on a device of their own, kept between tasks."""

from __future__ import annotations

import fcntl
import functools
import itertools
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from se600m import _cuda_libraries, _native, _opened, errors
from se600m._log import log

_IDLE_SECONDS = 60.0
"""What no task has used for as long is let go of."""


@dataclass(frozen=True)
class WorkerModel:
    """A model as a process describes it to others."""

    directory: Path
    device: str
    precision: str
    checksum: str
    any_gpu: bool = False
    """Whether any GPU of a host will do, because the device was chosen by se600m."""
    made_in: int = field(default_factory=os.getpid)

    def opened(self) -> _opened.Opened:
        """Open the model in this process, or share the one that is open."""
        if not self.directory.is_dir():
            raise errors.ModelNotFoundError(
                f"the model's directory {str(self.directory)!r} does not exist where a Dask worker runs: workers need "
                "it under the same path, for example on a file system that they share"
            )
        device = placed(self.device, self.any_gpu) if _is_worker(self.made_in) else self.device
        opened = _opened.open_directory(self.directory, device, self.precision)
        if opened.checksum != self.checksum:
            raise errors.ModelError(
                f"the model in {str(self.directory)!r} is another one where a Dask worker runs (its checksum is "
                f"{opened.checksum[:12]}, not {self.checksum[:12]})"
            )
        return opened


def _is_worker(made_in: int) -> bool:
    return os.getpid() != made_in or multiprocessing.parent_process() is not None


def placed(device: str, any_gpu: bool = False) -> str:
    """Choose one of several devices for this process, so that the workers of a host take different ones.

    Parameters
    ----------
    device
        A device, or several GPUs with commas between them.
    any_gpu
        Whether all GPUs that this process sees may be taken instead.
    """
    names = device.split(",")
    kind = names[0].partition(":")[0]
    if kind not in ("cuda", "tensorrt"):
        return device
    if any_gpu:
        seen = _native.describe_driver(_cuda_libraries.driver())["devices"]
        names = [f"{kind}:{gpu['number']}" for gpu in seen] or names
    if len(names) == 1:
        return names[0]
    # dask-cuda shows all GPUs to every worker, each time in another order: what counts is which GPU it is.
    names.sort(key=_identity)
    return names[slot() % len(names)]


def _identity(name: str) -> tuple[int, str]:
    number = int(name.partition(":")[2] or 0)
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    which = shown[number].strip() if number < len(shown) and shown[number].strip() else str(number)
    return (int(which), "") if which.isdigit() else (sys.maxsize, which)


@functools.cache
def slot() -> int:
    """Give this process the lowest number from 0 that no other process of the host has, until it ends.

    The number is a locked file, so that it is free again however the process ends, and whoever started it.
    """
    folder = Path(tempfile.gettempdir()) / f"se600m-workers-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in itertools.count():
            file = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
            else:
                return number  # the file stays open
    except OSError as error:
        log.warning("workers of this host can't be told apart, so that all use the first GPU: %s", error)
    return 0


def threads() -> int | None:
    """Give the number of threads of the Dask worker that runs this; None elsewhere, where all cores are used."""
    if "distributed" not in sys.modules:
        return None
    import distributed

    try:
        return int(distributed.get_worker().state.nthreads)
    except ValueError:
        return None


@dataclass
class _Entry:
    value: Any = None
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    timer: threading.Timer | None = None


class Kept:
    """What tasks of this process share, one task at a time. It is let go of when no task has come for a while."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, key: Hashable, make: Callable[[], Any]) -> Iterator[Any]:
        """Use what is kept under a key alone; if there is nothing, it is made, in the place of what nobody uses."""
        with self._lock:
            for other in [k for k, entry in self._entries.items() if k != key and not entry.users]:
                self._drop(other)
            entry = self._entries.setdefault(key, _Entry())
            entry.users += 1
            if entry.timer is not None:
                entry.timer.cancel()
                entry.timer = None
        try:
            with entry.lock:
                if entry.value is None:
                    entry.value = make()
                yield entry.value
        finally:
            with self._lock:
                entry.users -= 1
                if not entry.users:
                    entry.timer = threading.Timer(_IDLE_SECONDS, self._idle, (key, entry))
                    entry.timer.daemon = True
                    entry.timer.start()

    def _idle(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            if self._entries.get(key) is entry and not entry.users:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        if entry.timer is not None:
            entry.timer.cancel()
        close = getattr(entry.value, "close", None)
        if close is not None:
            close()


kept = Kept()
"""What this process keeps."""
