"""Find and load ONNX Runtime. A process loads one library, which can't be changed afterwards."""

from __future__ import annotations

import glob
import importlib.util
import os
from pathlib import Path

from se600m import _native, _runtimes, errors


def open_runtime(device: str = "auto", precision: str = "auto") -> str:
    """Load the ONNX Runtime that a device and a precision need, if none is loaded, and return its version.

    Raises
    ------
    RuntimeLibraryError
        No library was found; or the process has loaded one already, and another one is needed.
    """
    loaded = _native.runtime_library()
    flavour = needed(device, precision)
    if not loaded:
        return _native.open_runtime(find(flavour))
    other = None if flavour == "cpu" or os.environ.get("SE600M_ORT_LIBRARY") else _special(flavour)
    if other is not None and not os.path.samefile(other, loaded):
        raise errors.RuntimeLibraryError(
            f"device={device!r}, precision={precision!r} needs the ONNX Runtime {str(other)!r}, but this process has "
            f"loaded {loaded!r} and can't change it: start a new process and load this model first, "
            "or set SE600M_ORT_LIBRARY to the former, which also runs on the CPU, before the first model is loaded"
        )
    return _native.open_runtime(loaded)


def needed(device: str, precision: str = "auto") -> str:
    """Name the runtime (see :mod:`se600m._runtimes`) that a device and a precision need."""
    kind = device.partition(":")[0]
    if kind in ("cuda", "tensorrt"):
        return "cuda"
    return "openvino" if kind == "openvino" or precision == "bf16" else "cpu"


def find(flavour: str = "cpu") -> str:
    """Path of the library to load.

    It is ``SE600M_ORT_LIBRARY``; else that of the runtime, if ``se600m runtime install`` has put it into the
    cache; else the one in the Python package ``onnxruntime``, whatever that can do. The Python module is
    located, not imported.
    """
    override = os.environ.get("SE600M_ORT_LIBRARY")
    if override:
        return override
    found = _special(flavour) or _in_package()
    if found is None:
        raise errors.RuntimeLibraryError(
            "the library of ONNX Runtime was not found: run `pip install onnxruntime` or `se600m runtime install cpu`, "
            "or set SE600M_ORT_LIBRARY to the path of a libonnxruntime.so"
        )
    return str(found)


def origin(library: str) -> str:
    """Say where a library is from."""
    if os.environ.get("SE600M_ORT_LIBRARY"):
        return "from SE600M_ORT_LIBRARY"
    if _runtimes.folder() in Path(library).parents:
        return "from `se600m runtime install`"
    return "from the Python package"


def _special(flavour: str) -> Path | None:
    """Find the library of an installed runtime."""
    runtime = _runtimes.find(flavour)
    return None if runtime is None else runtime.library


def _in_package() -> Path | None:
    spec = importlib.util.find_spec("onnxruntime")
    for folder in list(spec.submodule_search_locations or []) if spec else []:
        found = sorted(glob.glob(os.path.join(glob.escape(folder), "capi", "libonnxruntime.so*")))
        if found:
            return Path(found[-1])
    return None
