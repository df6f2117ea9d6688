"""Memory and utilisation of GPU 0 during a piece of work, as the driver's own library (NVML) tells them."""

from __future__ import annotations

import ctypes
import threading
import time
from types import TracebackType


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class _Utilisation(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in ("gpu", "memory")]


def _open() -> tuple[ctypes.CDLL, ctypes.c_void_p] | None:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    device = ctypes.c_void_p()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
        return None
    return library, device


class Watch:
    """Look at the device, used by whomever, every 20 ms; ``peak`` in bytes and ``busy`` are None without NVML.

    ``busy`` is the mean of the shares of time that the driver tells, each over its last sampling period (up to a
    second): good to a few per cent in runs of 10 s.
    """

    def __init__(self) -> None:
        self._nvml, self._end = _open(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._used: list[int] = []
        self._shares: list[float] = []

    @property
    def peak(self) -> int | None:
        """Most memory in use that was seen."""
        return max(self._used, default=None)

    @property
    def busy(self) -> float | None:
        """Mean utilisation."""
        return sum(self._shares) / len(self._shares) if self._shares else None

    def _look(self) -> None:
        library, device = self._nvml
        memory, shares = _Memory(), _Utilisation()
        while True:
            if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0:
                self._used.append(memory.used)
            if library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(shares)) == 0:
                self._shares.append(shares.gpu / 100)
            if self._end.is_set():
                return
            time.sleep(0.02)

    def __enter__(self) -> Watch:
        if self._nvml is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._nvml is not None:
            self._thread.join()
