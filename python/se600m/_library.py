"""Find and load ONNX Runtime. A process loads one library, which can't be changed afterwards."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path

from se600m import _cuda_libraries, _native, _runtimes, errors
from se600m._log import log, warn


def open_runtime(device: str = "auto", precision: str = "auto") -> str:
    """Load the ONNX Runtime that a device and a precision need, if none is loaded, and return its version.

    For NVIDIA's GPUs, the libraries of CUDA are loaded, too.

    Raises
    ------
    RuntimeLibraryError
        No library was found; or the process has loaded one already, and another one is needed.
    DeviceError
        Libraries of CUDA are missing. That there is no driver or no device is for Go to say, when it resolves the
        device.
    """
    loaded = _native.runtime_library()
    flavour = needed(device, precision)
    if not loaded:
        library = find(flavour)
        return _native.open_runtime(library, _libraries(device, library))
    other = None if flavour == "cpu" or os.environ.get("SE600M_ORT_LIBRARY") else _special(flavour)
    if other is not None and not os.path.samefile(other, loaded):
        raise errors.RuntimeLibraryError(
            f"device={device!r}, precision={precision!r} needs the ONNX Runtime {str(other)!r}, but this process has "
            f"loaded {loaded!r} and can't change it: start a new process and load this model first, "
            "or set SE600M_ORT_LIBRARY to the former, which also runs on the CPU, before the first model is loaded"
        )
    return _native.open_runtime(loaded, _libraries(device, loaded))


def open_for_products() -> None:
    """Load an ONNX Runtime for products of matrices on the CPU, if none is loaded; go without if there is none.

    Every build can do that. The one that is loaded must not stand in the way of a model that is loaded later: it is the
    build for a GPU or for OpenVINO where there is one, and none where it would have to be one of several.
    """
    special = [flavour for flavour in ("cuda", "openvino") if _special(flavour) is not None]
    if _native.runtime_library() or (len(special) > 1 and not os.environ.get("SE600M_ORT_LIBRARY")):
        return
    try:
        _native.open_runtime(find(special[0] if special else "cpu"))
    except errors.RuntimeLibraryError as error:
        log.info("products are computed without ONNX Runtime: %s", error)


def chosen(device: str, precision: str) -> str:
    """Choose the device that "auto" stands for: the first GPU if it can be used, else the CPU."""
    if device != "auto" or precision == "int8":
        return device
    if _gpu_is_usable():
        return "cuda"
    return "auto" if precision == "fp16" else "cpu"  # fp16 needs a GPU, and Go says what it lacks


@functools.cache
def _gpu_is_usable() -> bool:
    """Whether a GPU is there with all that it needs, so that "auto" is the GPU; a library loaded before decides."""
    if _native.describe_driver(_cuda_libraries.driver())["problem"]:
        return False
    lacking = lacks_for_gpu()
    if not lacking:
        log.info('device="auto" is the GPU')
    elif _has_cuda():
        log.warning("there is a GPU, which is not used: %s", lacking)
    else:
        log.info("there is a GPU, which is not used: %s", lacking)
    return not lacking


def lacks_for_gpu(device: str = "cuda") -> str:
    """Say what this process lacks to use a GPU through ``"cuda"`` or ``"tensorrt"``; "" if nothing."""
    problem = _native.describe_driver(_cuda_libraries.driver())["problem"]
    if problem:
        return str(problem)
    if not _has_cuda():
        return "run `se600m runtime install cuda` to use it"
    missing = _cuda_libraries.find(device)[1]
    return _cuda_libraries.absent(missing) if missing else ""


def _has_cuda() -> bool:
    """Whether the ONNX Runtime that this process has loaded, or would load for a GPU, can use one."""
    library = os.environ.get("SE600M_ORT_LIBRARY") or _native.runtime_library() or _special("cuda")
    return library is not None and (Path(library).resolve().parent / "libonnxruntime_providers_cuda.so").is_file()


def _libraries(device: str, library: str) -> list[str]:
    """List the libraries of CUDA to load for a device, which this build of ONNX Runtime would look for in vain."""
    kind = device.partition(":")[0]
    provider = Path(library).resolve().parent / f"libonnxruntime_providers_{kind}.so"
    if kind not in ("cuda", "tensorrt") or not provider.is_file():
        return []
    driver = _cuda_libraries.driver()
    if _native.describe_driver(driver)["problem"]:
        return []  # nobody should download libraries for a device that is not there
    paths, cautions = _cuda_libraries.paths(kind)
    for caution in cautions:
        _caution(caution)
    return paths


@functools.cache
def _caution(text: str) -> None:
    """Warn once in a process, not whenever a model is opened."""
    warn(text, errors.LibraryWarning)


def needed(device: str, precision: str = "auto") -> str:
    """Name the runtime (see :mod:`se600m._runtimes`) that a device and a precision need."""
    kind = device.partition(":")[0]
    if kind in ("cuda", "tensorrt"):
        return "cuda"
    return "openvino" if kind == "openvino" or precision == "bf16" else "cpu"


def find(flavour: str = "cpu") -> str:
    """Path of the library to load.

    It is ``SE600M_ORT_LIBRARY``; else that of the runtime, if ``se600m runtime install`` has put it into the
    cache; else the one in the Python package ``onnxruntime``, whatever that can do; else the one in the ``lib``
    of this environment, where conda has it. The Python module is located, not imported.
    """
    override = os.environ.get("SE600M_ORT_LIBRARY")
    if override:
        return override
    found = _special(flavour) or _in_package() or _in_environment()
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
    return "from this environment" if Path(library).parent == _environment() else "from the Python package"


def _special(flavour: str) -> Path | None:
    """Find the library of an installed runtime."""
    runtime = _runtimes.find(flavour)
    return None if runtime is None else runtime.library


def _in_package() -> Path | None:
    spec = importlib.util.find_spec("onnxruntime")
    for folder in list(spec.submodule_search_locations or []) if spec else []:
        if found := _in_folder(Path(folder, "capi")):
            return found
    return None


def _environment() -> Path:
    return Path(sys.prefix, "lib")


def _in_environment() -> Path | None:
    return _in_folder(_environment())


def _in_folder(folder: Path) -> Path | None:
    return max(folder.glob("libonnxruntime.so*"), default=None)
