"""A software bill of materials (CycloneDX) of each wheel: the Go modules that its native module says it is made of.

Licences are in THIRD_PARTY_NOTICES.md: what cyclonedx-gomod guesses of them is wrong for three of the modules.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import zipfile
from pathlib import Path

GOMOD = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0"
LINKED = "github.com/yalue/onnxruntime_go"
"""A module that each bill must have, or it was not read from the native module."""


def write(wheel: Path, folder: Path) -> Path:
    """Write the bill of a wheel beside those of others.

    Raises
    ------
    RuntimeError
        The bill lacks what is known to be linked.
    """
    target = folder / f"{wheel.name}.cdx.json"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        module = archive.extract(name, temporary)
        options = ["-json", "-std", "-noserial", "-version", f"v{wheel.name.split('-')[1]}"]
        subprocess.run(
            ["go", "run", GOMOD, "bin", *options, "-output", target, module], check=True, stderr=subprocess.DEVNULL
        )
    names = {component["name"] for component in json.loads(target.read_text())["components"]}
    if LINKED not in names:
        raise RuntimeError(f"{target.name} lists {', '.join(sorted(names))}, but not {LINKED}")
    return target
