"""Builds of ONNX Runtime side by side: libraries from pinned wheels, in the cache.

The wheels ``onnxruntime``, ``onnxruntime-gpu`` and ``onnxruntime-openvino`` all write into
``site-packages/onnxruntime``, where the last one wins. Only their shared libraries are needed here, so these
are unpacked into a folder for each build and version, and a process loads one of them (:mod:`se600m._library`).
A library does not care which Python a wheel is for, so one wheel a build serves every Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from se600m import _cache, _files, _progress, errors

_MANIFEST = "manifest.json"
_LICENCES = ("LICENSE", "ThirdPartyNotices.txt", "Privacy.md", "METADATA")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Pinned:
    """The wheel that a runtime is made from. The SHA-256 is the package index's."""

    distribution: str
    version: str
    sha256: str
    python: str = "3.13"
    platform: str = "manylinux_2_28_x86_64"

    @property
    def file(self) -> str:
        """Name of the wheel."""
        tag = "cp" + self.python.replace(".", "")
        return f"{self.distribution.replace('-', '_')}-{self.version}-{tag}-{tag}-{self.platform}.whl"


PINNED = {
    "cpu": Pinned("onnxruntime", "1.32.0", "02ea12a28c069ea8510093d95a7f6ff8126bfd9fc5c0d3381c03b80fb2b424ba"),
    "cuda": Pinned("onnxruntime-gpu", "1.31.1", "f659529e07c21ec6b6179fd1bfaf82ffb7c3dc9c0916e18f6f313f9a690891be"),
    # 1.24.1 is the newest there is; gocore/ort loads from 1.24.1 on.
    "openvino": Pinned(
        "onnxruntime-openvino", "1.24.1", "2c3bb73e68ac27f4891af8a595c1faf574ec68b772e6583c90a0b997a1822782"
    ),
}
"""The runtimes by name."""


@dataclass(frozen=True)
class Runtime:
    """A build of ONNX Runtime in the cache."""

    flavour: str
    version: str
    folder: Path
    library: Path
    files: dict[str, dict[str, object]]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum({(s := p.stat()).st_ino: s.st_size for p in self.folder.iterdir()}.values())

    def damage(self) -> str | None:
        """Compare every file with its checksum; tell the first that differs."""
        for name, want in self.files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != want["size"] or _sha256(path) != want["sha256"]:
                return name
        return None


def folder() -> Path:
    """Folder of all runtimes."""
    return _cache.cache_dir() / "runtimes"


def _place(flavour: str) -> Path:
    return folder() / f"{flavour}-{PINNED[flavour].version}"


def installed() -> list[Runtime]:
    """List the runtimes in the cache that this version of se600m uses."""
    return [runtime for runtime in map(_read, sorted(PINNED)) if runtime is not None]


def find(flavour: str) -> Runtime | None:
    """Find the installed build of one flavour."""
    return next((runtime for runtime in installed() if runtime.flavour == flavour), None)


def _read(flavour: str) -> Runtime | None:
    place = _place(flavour)
    try:
        manifest = json.loads((place / _MANIFEST).read_text())
        return Runtime(flavour, manifest["version"], place, place / manifest["library"], manifest["files"])
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # a cache that can't be entered has none for us
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.RuntimeLibraryError(
            f"the runtime in {str(place)!r} is damaged ({error}): "
            f"run `se600m runtime remove {flavour}`, then `se600m runtime install {flavour}`"
        ) from error


def install(flavour: str, wheel: str | os.PathLike[str] | None = None, progress: bool | None = None) -> Runtime:
    """Unpack a build's libraries into the cache, from its pinned wheel.

    Parameters
    ----------
    flavour
        ``"openvino"``, ``"cuda"`` or ``"cpu"``.
    wheel
        Path of the wheel, for machines without a network. By default, pip downloads it from the user's own index.
    progress
        Show pip's progress; by default in notebooks and terminals.

    Raises
    ------
    OptionError, RuntimeLibraryError, MissingPackageError
        Nothing is left behind.
    """
    pinned = _pinned(flavour)
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise errors.RuntimeLibraryError(
            f"runtimes are for Linux on x86_64, not {sys.platform} on {platform.machine()}: `pip install onnxruntime`"
        )
    there = _read(flavour)
    if there is not None and there.damage() is None:
        return there
    reason = _cache.why_not_writable(folder())
    if reason is not None:
        raise errors.RuntimeLibraryError(
            f"{str(folder())!r} is not writable ({reason}): set SE600M_CACHE to a writable folder"
        )
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder()) as downloads:
        path = _download(flavour, pinned, Path(downloads), progress) if wheel is None else Path(wheel).expanduser()
        if not path.is_file():
            raise errors.RuntimeLibraryError(f"wheel {str(path)!r} does not exist")
        found = _sha256(path)
        if found != pinned.sha256:
            raise errors.RuntimeLibraryError(
                f"{path.name} has the SHA-256 {found}, but the wheel of {flavour!r}, {pinned.file}, "
                f"has {pinned.sha256}: nothing was unpacked"
            )
        _unpack(path, flavour, pinned)
    done = _read(flavour)
    assert done is not None  # it was renamed into place
    return done


def remove(flavour: str) -> list[Path]:
    """Remove a runtime from the cache, those of other versions of se600m included."""
    _pinned(flavour)
    folders = sorted(p for p in folder().glob(f"{flavour}-*") if p.is_dir())
    if not folders:
        raise errors.RuntimeLibraryError(f"runtime {flavour!r} is not installed in {str(folder())!r}")
    for place in folders:
        with tempfile.TemporaryDirectory(prefix=".removed-", dir=folder()) as aside:
            os.replace(place, Path(aside) / place.name)  # gone at once, even if deleting takes time
    return folders


def _pinned(flavour: str) -> Pinned:
    if flavour not in PINNED:
        raise errors.OptionError(f"runtime {flavour!r} is not one of {', '.join(map(repr, PINNED))}")
    return PINNED[flavour]


def _download(flavour: str, pinned: Pinned, into: Path, progress: bool | None) -> Path:
    """Have pip fetch a wheel: its index, proxies and certificates are those that the user has set up."""
    by_hand = f"get {pinned.file} elsewhere and run `se600m runtime install {flavour} --from {pinned.file}`"
    if importlib.util.find_spec("pip") is None:
        raise errors.MissingPackageError(
            f"pip is needed to download {pinned.file}, but is not installed: install pip, or {by_hand}"
        )
    shown = _progress.wanted(progress)
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary=:all:", f"--python-version={pinned.python}", f"--platform={pinned.platform}",
        f"--dest={into}", *([] if shown else ["--quiet"]), f"{pinned.distribution}=={pinned.version}",
    ]  # fmt: skip
    # What pip shows goes to standard error. It is in the foreground, so Ctrl-C reaches it, too.
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=2 if shown else subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    wheels = sorted(into.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in (done.stderr or "").splitlines() if line.startswith("ERROR:")] or [done.stderr.strip()]
        raise errors.RuntimeLibraryError(f"pip could not download {pinned.file}: {' '.join(said)}: {by_hand}")
    return wheels[0]


def _unpack(wheel: Path, flavour: str, pinned: Pinned) -> None:
    """Write the libraries and licences of a wheel, and the manifest, in one step."""
    place = _place(flavour)
    files: dict[str, dict[str, object]] = {}
    libraries: list[str] = []
    with zipfile.ZipFile(wheel) as archive, _files.appearing(place, folder=True) as draft:
        known: dict[str, Path] = {}
        for member in archive.infolist():
            name = PurePosixPath(member.filename).name
            library = ".so" in name and "pybind11" not in name and member.filename.startswith("onnxruntime/capi/")
            if not library and name not in _LICENCES:
                continue
            with archive.open(member) as source, (draft / name).open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
            digest = _sha256(draft / name)
            files[name] = {"size": member.file_size, "sha256": digest}
            if digest in known:  # wheels hold no links: a library under three names is there three times
                (draft / name).unlink()
                os.link(known[digest], draft / name)
            known.setdefault(digest, draft / name)
            if name.startswith("libonnxruntime.so"):
                libraries.append(name)
        if len(libraries) != 1:
            raise errors.RuntimeLibraryError(f"{wheel.name} has no libonnxruntime.so: {sorted(files)}")
        manifest = {
            "distribution": pinned.distribution,
            "version": pinned.version,
            "wheel": {"file": pinned.file, "sha256": pinned.sha256},
            "library": libraries[0],
            "files": files,
        }
        (draft / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
