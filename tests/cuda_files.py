"""Stand-ins for NVIDIA's libraries and wheels: files of the right names, and libraries that load and do nothing."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from se600m import _cuda_libraries, _wheels

DRIVER_SOURCE = Path(__file__).resolve().parents[1] / "gocore" / "nvidia" / "testdata" / "libcuda.c"
"""What it tells is set by STANDIN_DEVICES, STANDIN_VERSION and STANDIN_INIT in the environment."""


def libraries(folder, sonames=None):
    """Write empty files that are named as the libraries of CUDA."""
    folder.mkdir(parents=True, exist_ok=True)
    for soname in sonames or [library.soname for library in _cuda_libraries.CUDA]:
        (folder / soname).write_bytes(b"")
    return folder


def compiled(folder, device="cuda"):
    """Compile libraries that load, and a driver with devices."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc: it makes stand-ins for NVIDIA's libraries")
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty.c"
    empty.write_text("")
    sources = {library.soname: empty for library in _cuda_libraries.needed(device)} | {"libcuda.so.1": DRIVER_SOURCE}
    for soname, source in sources.items():
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", folder / soname, source]
        subprocess.run(command, check=True)
    return folder


def wheel(folder, distribution, version, files, tag="cp313-cp313-manylinux_2_28_x86_64"):
    """Write a wheel, and tell its path and how it would be pinned."""
    pinned = _wheels.Pinned(distribution, version, "", tag=tag)
    underscored = distribution.replace("-", "_")
    about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    files = files | {
        f"{underscored}-{version}.dist-info/METADATA": about,
        f"{underscored}-{version}.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
        f"{underscored}-{version}.dist-info/RECORD": "",
    }
    (folder / distribution).mkdir(parents=True, exist_ok=True)
    path = folder / distribution / pinned.file
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    unpacked = sum(len(content) for content in files.values())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return path, _wheels.Pinned(distribution, version, sha256, path.stat().st_size, unpacked, tag)
