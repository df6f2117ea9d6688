"""Shared libraries out of pinned wheels, unpacked into the cache: a folder for each wheel.

A library does not care which Python its wheel is for, so one wheel serves every Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from se600m import _cache, _files, _progress, errors

_MANIFEST = "manifest.json"
_LICENCES = ("LICENSE", "License.txt", "ThirdPartyNotices.txt", "Privacy.md", "METADATA")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Pinned:
    """A wheel. Its SHA-256 and ``size`` (bytes) are the package index's; ``unpacked`` bytes of it are kept."""

    distribution: str
    version: str
    sha256: str
    size: int = 0
    unpacked: int = 0
    tag: str = "cp313-cp313-manylinux_2_28_x86_64"

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def file(self) -> str:
        """Name of the wheel."""
        return f"{self.distribution.replace('-', '_')}-{self.version}-{self.tag}.whl"


@dataclass(frozen=True)
class Unpacked:
    """A wheel's libraries in the cache, with the size and SHA-256 of every file."""

    version: str
    folder: Path
    files: dict[str, dict[str, object]]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return size(self.folder)

    def damage(self) -> str | None:
        """Compare every file with its checksum; tell the first that differs."""
        for name, want in self.files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != want["size"] or sha256(path) != want["sha256"]:
                return name
        return None


def folder() -> Path:
    """Folder of all that is unpacked."""
    return _cache.cache_dir() / "runtimes"


def folders() -> list[Path]:
    """List the folders of all wheels that were unpacked, by any version of se600m."""
    return sorted(place for place in folder().glob("*-*") if (place / _MANIFEST).is_file())


def size(place: Path) -> int:
    """Size of a folder's files in bytes; a file of several names counts once."""
    return sum({(s := p.stat()).st_ino: s.st_size for p in place.iterdir()}.values())


def manifest(place: Path, flavour: str) -> dict[str, Any] | None:
    """Read what was unpacked into a folder; None if nothing was. The flavour is the one that would repair it."""
    try:
        read = json.loads((place / _MANIFEST).read_text())
        return {key: read[key] for key in ("version", "library", "files")}
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # a cache that can't be entered has none for us
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.RuntimeLibraryError(
            f"the runtime in {str(place)!r} is damaged ({error}): "
            f"run `se600m runtime remove {flavour}`, then `se600m runtime install {flavour}`"
        ) from error


def download(pinned: Pinned, into: Path, progress: bool | None, by_hand: str) -> Path:
    """Have pip fetch a wheel: its index, proxies and certificates are those that the user has set up.

    ``by_hand`` says how to do without pip or a network.
    """
    if importlib.util.find_spec("pip") is None:
        raise errors.MissingPackageError(
            f"pip is needed to download {pinned.file}, but is not installed: install pip, or {by_hand}"
        )
    shown = _progress.wanted(progress)
    python, _, systems = pinned.tag.split("-")
    version = "3.13" if python == "py3" else f"{python[2]}.{python[3:]}"
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary=:all:", f"--python-version={version}", f"--platform={systems.partition('.')[0]}",
        f"--dest={into}", *([] if shown else ["--quiet"]), f"{pinned.distribution}=={pinned.version}",
    ]  # fmt: skip
    # What pip shows goes to standard error. It is in the foreground, so Ctrl-C reaches it, too. Its drafts are beside
    # the wheel: /tmp may be small.
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=2 if shown else subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False, env=os.environ | {"TMPDIR": str(into)},
    )  # fmt: skip
    wheels = sorted(into.glob(f"{pinned.distribution.replace('-', '_')}-*.whl"))
    if done.returncode or not wheels:
        said = [line for line in (done.stderr or "").splitlines() if line.startswith("ERROR:")] or [done.stderr.strip()]
        raise errors.RuntimeLibraryError(f"pip could not download {pinned.file}: {' '.join(said)}: {by_hand}")
    return wheels[0]


def check(wheel: Path, pinned: Pinned) -> None:
    """Make sure that a file is the pinned wheel."""
    if not wheel.is_file():
        raise errors.RuntimeLibraryError(f"wheel {str(wheel)!r} does not exist")
    found = sha256(wheel)
    if found != pinned.sha256:
        raise errors.RuntimeLibraryError(
            f"{wheel.name} has the SHA-256 {found}, but the wheel of {pinned}, {pinned.file}, "
            f"has {pinned.sha256}: nothing was unpacked"
        )


def unpack(wheel: Path, pinned: Pinned, place: Path, wanted: Callable[[PurePosixPath], bool], library: str) -> None:
    """Write the wanted libraries and the licences of a wheel, and the manifest, in one step.

    ``library`` is how the name of the main one begins, of which there must be one.
    """
    files: dict[str, dict[str, object]] = {}
    main: list[str] = []
    with zipfile.ZipFile(wheel) as archive, _files.appearing(place, folder=True) as draft:
        known: dict[str, Path] = {}
        for member in archive.infolist():
            path = PurePosixPath(member.filename)
            name = path.name
            if not (".so" in name and wanted(path)) and name not in _LICENCES:
                continue
            with archive.open(member) as source, (draft / name).open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
            digest = sha256(draft / name)
            files[name] = {"size": member.file_size, "sha256": digest}
            if digest in known:  # wheels hold no links: a library under three names is there three times
                (draft / name).unlink()
                os.link(known[digest], draft / name)
            known.setdefault(digest, draft / name)
            if name.startswith(library):
                main.append(name)
        if len(main) != 1:
            raise errors.RuntimeLibraryError(f"{wheel.name} has no {library}: {sorted(files)}")
        written = {
            "distribution": pinned.distribution,
            "version": pinned.version,
            "wheel": {"file": pinned.file, "sha256": pinned.sha256},
            "library": main[0],
            "files": files,
        }
        (draft / _MANIFEST).write_text(json.dumps(written, indent=2) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
