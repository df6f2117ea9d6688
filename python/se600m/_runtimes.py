"""Builds of ONNX Runtime side by side: libraries from pinned wheels, in the cache.

The wheels ``onnxruntime``, ``onnxruntime-gpu`` and ``onnxruntime-openvino`` all write into
``site-packages/onnxruntime``, where the last one wins. Only their shared libraries are needed here, so these
are unpacked into a folder for each build and version, and a process loads one of them (:mod:`se600m._library`).
With the build for GPUs come those libraries of CUDA that this machine lacks (:mod:`se600m._cuda_libraries`).
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from se600m import _cache, _cuda_libraries, _files, _wheels, errors
from se600m._log import log

PINNED = {
    "cpu": _wheels.Pinned(
        "onnxruntime",
        "1.32.0",
        "02ea12a28c069ea8510093d95a7f6ff8126bfd9fc5c0d3381c03b80fb2b424ba",
        27_780_404,
        34_839_312,
    ),
    "cuda": _wheels.Pinned(
        "onnxruntime-gpu",
        "1.31.1",
        "f659529e07c21ec6b6179fd1bfaf82ffb7c3dc9c0916e18f6f313f9a690891be",
        255_567_609,
        314_446_184,
    ),
    # 1.24.1 is the newest there is; gocore/ort loads from 1.24.1 on.
    "openvino": _wheels.Pinned(
        "onnxruntime-openvino",
        "1.24.1",
        "2c3bb73e68ac27f4891af8a595c1faf574ec68b772e6583c90a0b997a1822782",
        84_433_183,
        224_752_905,
    ),
}
"""The runtimes by name."""

folder = _wheels.folder


@dataclass(frozen=True)
class Runtime(_wheels.Unpacked):
    """A build of ONNX Runtime in the cache."""

    flavour: str
    library: Path


@dataclass(frozen=True)
class Part:
    """One wheel of a runtime: of ONNX Runtime itself, or of libraries of CUDA."""

    pinned: _wheels.Pinned
    flavour: str

    @property
    def place(self) -> Path:
        """Where it is unpacked."""
        return folder() / f"{self._name}-{self.pinned.version}"

    @property
    def _name(self) -> str:
        return self.flavour if self.pinned is PINNED[self.flavour] else self.pinned.distribution

    @property
    def folders(self) -> list[Path]:
        """Where this version of se600m and others have unpacked it."""
        return sorted(p for p in folder().glob(f"{self._name}-*") if p.is_dir())

    def unpacked(self) -> _wheels.Unpacked | None:
        """Read what is in the cache."""
        manifest = _wheels.manifest(self.place, self.flavour)
        return None if manifest is None else _wheels.Unpacked(manifest["version"], self.place, manifest["files"])

    def elsewhere(self) -> Path | None:
        """Folder outside of the cache that has what this part would bring, in good versions."""
        wanted = {one for one in _cuda_libraries.CUDA if one.package == self.pinned.distribution}
        if not wanted:
            return None
        there = [found for found in _cuda_libraries.find()[0] if found.library in wanted and not found.caution]
        if len(there) < len(wanted) or self.place in there[0].path.parents:
            return None
        return there[0].path.parent

    def unpack(self, wheel: Path) -> None:
        """Unpack the wheel into the cache."""
        _wheels.check(wheel, self.pinned)
        if self.pinned is PINNED[self.flavour]:
            _wheels.unpack(wheel, self.pinned, self.place, _of_onnxruntime, "libonnxruntime.so")
        else:
            first = next(one for one in _cuda_libraries.CUDA if one.package == self.pinned.distribution)
            _wheels.unpack(wheel, self.pinned, self.place, _of_cuda, first.soname)


def _of_onnxruntime(member: PurePosixPath) -> bool:
    return member.is_relative_to("onnxruntime/capi") and "pybind11" not in member.name


def _of_cuda(member: PurePosixPath) -> bool:
    """Whether a library is needed: not the one that stands in for BLAS, and no alternative compiler."""
    return member.match("nvidia/*/lib/*") and ".alt." not in member.name and not member.name.startswith("libnvblas")


def parts(flavour: str) -> list[Part]:
    """List the wheels of a runtime: ONNX Runtime's, then those of CUDA."""
    cuda = _cuda_libraries.PACKAGES.values() if flavour == "cuda" else ()
    return [Part(pinned, flavour) for pinned in (PINNED[flavour], *cuda)]


def installed() -> list[Runtime]:
    """List the runtimes in the cache that this version of se600m uses."""
    return [runtime for runtime in map(_read, sorted(PINNED)) if runtime is not None]


def find(flavour: str) -> Runtime | None:
    """Find the installed build of one flavour."""
    return next((runtime for runtime in installed() if runtime.flavour == flavour), None)


def _read(flavour: str) -> Runtime | None:
    place = parts(flavour)[0].place
    manifest = _wheels.manifest(place, flavour)
    if manifest is None:
        return None
    return Runtime(manifest["version"], place, manifest["files"], flavour, place / manifest["library"])


def install(
    flavour: str,
    wheels: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    progress: bool | None = None,
    tell: Callable[[str], None] = log.info,
) -> Runtime:
    """Unpack a build's libraries into the cache, from its pinned wheels.

    For ``"cuda"``, these are ONNX Runtime's and those of the libraries of CUDA that this machine lacks.

    Parameters
    ----------
    flavour
        ``"openvino"``, ``"cuda"`` or ``"cpu"``.
    wheels
        Paths of wheels, or of folders that have them, for machines without a network: what they bring is unpacked. By
        default, pip downloads what is needed from the user's own index.
    progress
        Show pip's progress; by default in notebooks and terminals.
    tell
        Called with lines for the user: before anything is downloaded, what will be, its size and where it goes, and
        what is there already; afterwards, what is still missing.

    Raises
    ------
    OptionError, RuntimeLibraryError, MissingPackageError
        Of the wheel that the error is about, nothing is left behind; those before it are complete, and stay.
    """
    _known(flavour)
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise errors.RuntimeLibraryError(
            f"runtimes are for Linux on x86_64, not {sys.platform} on {platform.machine()}: `pip install onnxruntime`"
        )
    to_get, there = [], []
    for part in parts(flavour):
        unpacked = part.unpacked()
        if unpacked is not None and unpacked.damage() is None:
            there.append(f"{part.pinned}: installed in {unpacked.folder}")
        elif (elsewhere := part.elsewhere()) is not None:
            there.append(f"{part.pinned.distribution}: its libraries are in {elsewhere}, and are used")
        else:
            to_get.append(part)
    if flavour == "cuda" or wheels is not None:
        for line in there:
            tell(line)
    if to_get:
        reason = _cache.why_not_writable(folder())
        if reason is not None:
            raise errors.RuntimeLibraryError(
                f"{str(folder())!r} is not writable ({reason}): set SE600M_CACHE to a writable folder"
            )
        if wheels is None:
            _download(flavour, to_get, progress, tell)
        else:
            given = [wheels] if isinstance(wheels, str | os.PathLike) else list(wheels)
            _from_files(flavour, to_get, [Path(path).expanduser() for path in given])
    done = _read(flavour)
    assert done is not None  # it was renamed into place, or to_get had named it
    if flavour == "cuda" and (missing := _cuda_libraries.find()[1]):
        tell(f"device='cuda' still needs {_cuda_libraries.absent(missing)}")
    return done


def _download(flavour: str, to_get: list[Part], progress: bool | None, tell: Callable[[str], None]) -> None:
    sizes = [part.pinned.size for part in to_get]
    for part in to_get:
        tell(f"{part.pinned}: {_files.size(part.pinned.size)} to download")
    kept = sum(part.pinned.unpacked for part in to_get)
    tell(f"downloading {_files.size(sum(sizes))}, which will take {_files.size(kept)} in {folder()}")
    _need_room(kept + 2 * max(sizes))  # of a wheel there is pip's draft, too
    names = " ".join(part.pinned.file for part in to_get)
    options = " ".join(f"--from {part.pinned.file}" for part in to_get)
    by_hand = f"get {names} elsewhere and run `se600m runtime install {flavour} {options}`"
    for part in to_get:
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder()) as downloads:
            part.unpack(_wheels.download(part.pinned, Path(downloads), progress, by_hand))


def _from_files(flavour: str, to_get: list[Part], given: list[Path]) -> None:
    """Unpack those of the wheels that are needed and given."""
    for path in given:
        if not path.exists():
            raise errors.RuntimeLibraryError(f"wheel {str(path)!r} does not exist")
    files = [file for path in given for file in (sorted(path.glob("*.whl")) if path.is_dir() else [path])]
    wheels = {part: file for part in to_get if (file := _wheel_of(part, files)) is not None}
    if len(files) == 1 and not wheels and not given[0].is_dir():
        wheels = {to_get[0]: files[0]}  # another name, or another wheel, which its checksum tells
    for part, file in wheels.items():
        _wheels.check(file, part.pinned)
    if not wheels or (parts(flavour)[0] in to_get and parts(flavour)[0] not in wheels):
        wanted = to_get[0].pinned.file
        raise errors.RuntimeLibraryError(
            f"{', '.join(map(repr, map(str, given)))} has no {wanted}, which {flavour!r} needs: nothing was unpacked"
        )
    _need_room(sum(part.pinned.unpacked for part in wheels))
    for part, file in wheels.items():
        part.unpack(file)


def _wheel_of(part: Part, files: list[Path]) -> Path | None:
    start = f"{part.pinned.distribution.replace('-', '_')}-{part.pinned.version}-"
    named = [file for file in files if file.name.startswith(start)]
    return next((file for file in named if file.name == part.pinned.file), named[0] if named else None)


def _need_room(n_bytes: int) -> None:
    if (short := _files.too_little_room(folder(), n_bytes)) is not None:
        raise errors.RuntimeLibraryError(
            f"this needs {short}: free some space, or set SE600M_CACHE to a folder on another disk"
        )


def remove(flavour: str) -> list[Path]:
    """Remove a runtime from the cache, its libraries of CUDA and other versions included."""
    _known(flavour)
    folders = [place for part in parts(flavour) for place in part.folders]
    if not folders:
        raise errors.RuntimeLibraryError(f"runtime {flavour!r} is not installed in {str(folder())!r}")
    for place in folders:
        with tempfile.TemporaryDirectory(prefix=".removed-", dir=folder()) as aside:
            os.replace(place, Path(aside) / place.name)  # gone at once, even if deleting takes time
    return folders


def flavour_of(place: Path) -> str:
    """Name the runtime that a folder in the cache belongs to."""
    name = place.name.rpartition("-")[0]
    return name if name in PINNED else "cuda"


def _known(flavour: str) -> None:
    if flavour not in PINNED:
        raise errors.OptionError(f"runtime {flavour!r} is not one of {', '.join(map(repr, PINNED))}")
