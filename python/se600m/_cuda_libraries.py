"""The libraries of CUDA that ONNX Runtime's GPU build needs: which, what brings them, and where they are.

ONNX Runtime looks for them by name alone, so those found here are loaded by path before it looks
(:mod:`se600m._library`). What is there already is used, torch's above all: a copy of everything is 1.2 GB.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from se600m import _wheels, errors

PATH_VARIABLE = "SE600M_CUDA_PATH"
DRIVER = "libcuda.so.1"

PACKAGES = {
    pinned.distribution: pinned
    for pinned in (
        _wheels.Pinned(
            "nvidia-cuda-runtime",
            "13.0.96",
            "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
            2_243_632,
            704_288,
            "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64",
        ),
        _wheels.Pinned(
            "nvidia-cuda-nvrtc",
            "13.0.88",
            "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
            90_215_200,
            113_718_680,
            "py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64",
        ),
        _wheels.Pinned(
            "nvidia-cublas",
            "13.1.0.3",
            "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
            423_133_236,
            595_773_576,
            "py3-none-manylinux_2_27_x86_64",
        ),
        _wheels.Pinned(
            "nvidia-curand",
            "10.4.5.25",
            "22bb226a857e5888fe6b54ae465fc4371296bcff13a35f79e19691bcf454f529",
            77_113_015,
            104_860_296,
            "py3-none-manylinux_2_27_x86_64",
        ),
        # cuDNN 9.26 beside cuBLAS 13.8 failed with ONNX Runtime 1.30, on Windows only: on Linux nothing is known of it.
        _wheels.Pinned(
            "nvidia-cudnn-cu13",
            "9.19.0.56",
            "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf",
            366_066_321,
            493_410_696,
            "py3-none-manylinux_2_27_x86_64",
        ),
    )
}
"""The wheels that bring the libraries, by their names for pip."""


@dataclass(frozen=True)
class Library:
    """A shared library by its soname, and the package that brings it; none if pip can't."""

    soname: str
    package: str | None

    @property
    def stem(self) -> str:
        """The name without the version of the interface."""
        return self.soname.partition(".so")[0]


# In the order in which they are loaded: each after those that it needs. cuDNN opens its parts itself, from its folder.
CUDA = (
    Library("libcudart.so.13", "nvidia-cuda-runtime"),
    Library("libnvrtc.so.13", "nvidia-cuda-nvrtc"),
    Library("libcublasLt.so.13", "nvidia-cublas"),
    Library("libcublas.so.13", "nvidia-cublas"),
    Library("libcurand.so.10", "nvidia-curand"),
    Library("libcudnn.so.9", "nvidia-cudnn-cu13"),
)
TENSORRT = (Library("libnvinfer.so.10", None), Library("libnvonnxparser.so.10", None))
_ABOUT_TENSORRT = (
    "TensorRT is not on the Python package index: get TensorRT 10 for CUDA 13 (10.14 or later) from "
    "https://developer.nvidia.com/tensorrt or with `pip install --extra-index-url https://pypi.nvidia.com "
    f'"tensorrt-cu13-libs>=10.14,<11"`, and name the folder of its libraries in {PATH_VARIABLE} unless it is in '
    "this Python's site-packages or known to the system"
)


@dataclass(frozen=True)
class Found:
    """A library, where it is, who has put it there, and its version, if that can be told."""

    library: Library
    path: Path
    origin: str
    version: str | None

    @property
    def caution(self) -> str | None:
        """What is known to be slow or broken in this version, and the way out."""
        numbers = tuple(map(int, re.findall(r"\d+", self.version or "")))[:3]
        if self.library.stem != "libcudnn" or not numbers:
            return None
        if numbers < (9, 3):
            fault = "has no fused attention for Hopper (H100, H200): attention takes much more time and memory"
        elif numbers in ((9, 10, 0), (9, 10, 1)):
            fault = "is refused by ONNX Runtime for attention, which then takes much more time and memory"
        else:
            return None
        return f"cuDNN {self.version} ({self.path}) {fault}: `se600m runtime install cuda` brings a better one"


@dataclass(frozen=True)
class Missing:
    """A library that was not found, or what was found instead and can't be used."""

    library: Library
    instead: str | None


def needed(device: str) -> tuple[Library, ...]:
    """List the libraries that a kind of device, ``"cuda"`` or ``"tensorrt"``, needs, in the order to load them."""
    return CUDA + (TENSORRT if device == "tensorrt" else ())


def find(device: str = "cuda") -> tuple[list[Found], list[Missing]]:
    """Look for the libraries of a kind of device.

    The first place that has a library counts: this process, if it has loaded it; ``SE600M_CUDA_PATH``; the cache;
    the packages of this Python, torch's own folder among them; conda; the system.
    """
    found: list[Found] = []
    missing: list[Missing] = []
    places = list(_places())
    loaded = _loaded()
    for library in needed(device):
        result = _look_for(library, loaded, places)
        if isinstance(result, Found):
            found.append(result)
        else:
            missing.append(result)
    return found, missing


def driver() -> str:
    """Path of a driver's library that ``SE600M_CUDA_PATH`` names, such as that of cuda-compat; "" for the system's."""
    return next((str(folder / DRIVER) for folder in _named() if os.path.isfile(folder / DRIVER)), "")


def absent(missing: list[Missing]) -> str:
    """Name the libraries that are missing, each with what brings it, and say how to get them."""
    by_package: dict[str | None, list[str]] = {}
    for one in missing:
        said = one.library.soname + (f" ({one.instead})" if one.instead else "")
        by_package.setdefault(one.library.package, []).append(said)
    packages = [package for package in by_package if package is not None]
    listed = "; ".join(f"{', '.join(said)} of {package or 'TensorRT'}" for package, said in by_package.items())
    ways = []
    if packages:
        pinned = " ".join(f"{package}=={PACKAGES[package].version}" for package in packages)
        ways.append(
            f"run `se600m runtime install cuda`, or `pip install {pinned}`, or name the folder that has them in "
            f"{PATH_VARIABLE}"
        )
    if None in by_package:
        ways.append(_ABOUT_TENSORRT)
    return f"{listed}: {'. '.join(ways)}"


def remedy(one: Missing) -> str:
    """Say of one library that it is missing, and what brings it."""
    instead = f" ({one.instead})" if one.instead else ""
    if one.library.package is None:
        return (
            f"{one.library.soname} was not found{instead}: it comes with TensorRT 10 for CUDA 13 (10.14 or later), "
            "which is not on the Python package index: https://developer.nvidia.com/tensorrt"
        )
    return f"{one.library.soname} was not found{instead}: `se600m runtime install cuda` brings {one.library.package}"


def paths(device: str) -> tuple[list[str], list[str]]:
    """Paths of the libraries of a kind of device in the order to load them, and what is known to be wrong with them.

    Raises
    ------
    DeviceError
        One or more were not found; all of them are named, with what brings them.
    """
    found, missing = find(device)
    if missing:
        raise errors.DeviceError(f"device={device!r}: libraries that it needs were not found: {absent(missing)}")
    return [str(one.path) for one in found], [one.caution for one in found if one.caution]


# -- places ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """A folder of libraries, and how it is called."""

    origin: str
    folder: Path


def _places() -> Iterator[_Place]:
    yield from (_Place(PATH_VARIABLE, folder) for folder in _named())
    for pinned in PACKAGES.values():
        yield _Place("`se600m runtime install`", _wheels.folder() / f"{pinned.distribution}-{pinned.version}")
    for entry in dict.fromkeys(map(Path, filter(None, sys.path))):
        # Unlike pathlib's, this glob passes over folders that may not be read.
        for folder in sorted(glob.glob(os.path.join(glob.escape(str(entry)), "nvidia", "*", "lib"))):
            yield _Place("a Python package", Path(folder))
        yield _Place("a Python package", entry / "tensorrt_libs")
        yield _Place("torch", entry / "torch" / "lib")
    if (Path(sys.prefix) / "conda-meta").is_dir():
        yield _Place("conda", Path(sys.prefix) / "lib")
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    for root in dict.fromkeys(map(Path, filter(None, roots))):
        yield _Place("the system", root / "lib64")
        yield _Place("the system", root / "targets" / "x86_64-linux" / "lib")
    for searched in filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        yield _Place("the system", Path(searched))
    yield from (_Place("the system", folder) for folder in _system_folders())


def _named() -> list[Path]:
    """List the folders that ``SE600M_CUDA_PATH`` names, with those for libraries within them."""
    named = [Path(name).expanduser() for name in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if name]
    for folder in named:
        if not os.path.isdir(folder):
            raise errors.DeviceError(
                f"{PATH_VARIABLE} names {str(folder)!r}, which is not a folder: name the folders that have the "
                f"libraries of CUDA, with {os.pathsep!r} between them, or unset it"
            )
    return [place.absolute() for folder in named for place in (folder, folder / "lib64", folder / "lib")]


@functools.cache
def _system_folders() -> list[Path]:
    """List the folders in which the system's loader knows libraries of CUDA."""
    program = shutil.which("ldconfig", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None:
        return []
    listed = subprocess.run(
        [program, "-p"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    stems = {library.stem for library in needed("tensorrt")}
    known = re.findall(r"^\s*(\S+?)\.so\S* \(.*x86-64.*\) => (.+)$", listed.stdout, re.MULTILINE)
    return list(dict.fromkeys(Path(path).parent for stem, path in known if stem in stems))


def _loaded() -> list[Path]:
    """List the libraries that this process has loaded."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    mapped = dict.fromkeys(fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6)
    return [Path(path) for path in mapped if ".so" in path]


# -- a library ---------------------------------------------------------------------------------


def _look_for(library: Library, loaded: list[Path], places: list[_Place]) -> Found | Missing:
    instead = None
    for path in loaded:
        if path.name == library.soname or path.name.startswith(f"{library.soname}."):
            # Whoever asks for this soname gets this one: looking for another is of no use.
            fault = _unfit(library, path)
            if fault is not None:
                return Missing(library, f"this process has loaded {path}, {fault}: use a process without it")
            return Found(library, path, "loaded by this process", _version(library, path))
    for place in places:
        path = place.folder / library.soname
        if os.path.isfile(path):  # False, not an error, where that may not be known
            fault = _unfit(library, path)
            if fault is None:
                return Found(library, path, place.origin, _version(library, path))
            instead = instead or f"{path} is {fault}"
        elif instead is None:
            others = sorted(glob.glob(os.path.join(glob.escape(str(place.folder)), f"{library.stem}.so.[0-9]*")))
            instead = f"{others[0]} is of another version" if others else None
    return Missing(library, instead)


def _unfit(library: Library, path: Path) -> str | None:
    """Say why a library can't be used although its name is right: cuDNN 9 for CUDA 12 has the name of that for 13."""
    if library.stem != "libcudnn":
        return None
    in_packages = {name.partition("-")[0] for name in _metadata_beside(path, "nvidia_cudnn_cu")}
    beside = {p.name for p in path.parent.glob("libcublas.so.*")}
    other = any(re.match(r"libcublas\.so\.1[12]\b", name) for name in beside) and "libcublas.so.13" not in beside
    if (in_packages and "nvidia_cudnn_cu13" not in in_packages) or "12" in path.resolve().parent.parts or other:
        return "for CUDA 12, not 13"
    return None


def _version(library: Library, path: Path) -> str | None:
    """Tell a library's version by its full name, by its folder in the cache, or by the package beside it."""
    full = re.fullmatch(r".+?\.so\.(\d+\.\d+[\d.]*)", path.resolve().name)
    if full is not None:
        return full[1]
    if library.package is None:
        return None
    if path.parent.parent == _wheels.folder():
        return path.parent.name.removeprefix(f"{library.package}-")
    name = library.package.replace("-", "_")
    return next((found.removeprefix(f"{name}-") for found in _metadata_beside(path, f"{name}-")), None)


def _metadata_beside(path: Path, name: str) -> list[str]:
    """List the installed packages whose names begin so, with versions, in the site-packages of a library."""
    if len(path.parents) < 4 or path.parents[2].name != "nvidia":
        return []
    return [found.name.removesuffix(".dist-info") for found in sorted(path.parents[3].glob(f"{name}*.dist-info"))]
