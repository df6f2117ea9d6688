"""Faults made by hand, in tokenisation, the graph, resumed runs and downloads, each of which a test must catch.

    make faults [ARGS="NAME ..."]

Each fault of faults.toml is put into a copy of the project, where the tests beside the code that it is in must fail.
One that no test catches makes the command fail; so does one whose lines are no longer in the file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTED = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Fault:
    """A place in a file, what is wrong there, and the tests that are to see it."""

    name: str
    path: str
    right: str
    wrong: str
    go: Sequence[str]
    pytest: Sequence[str]


def listed() -> list[Fault]:
    """Read the faults."""
    groups = tomllib.loads(LISTED.read_text()).values()
    return [
        Fault(**fault, go=group.get("go", ()), pytest=group.get("pytest", ()))
        for group in groups
        for fault in group["faults"]
    ]


def copy(folder: Path) -> None:
    """Copy the files that git knows, and the native module."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    native = [str(path.relative_to(ROOT)) for path in native_modules()]
    for name in [*filter(None, listed.split("\0")), *native]:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def caught(folder: Path, fault: Fault) -> bool:
    """Tell whether a test fails with the fault: those of Go first, then those of Python, with the module built anew."""
    path = folder / fault.path
    right = path.read_text()
    if (n := right.count(fault.right)) != 1:
        raise SystemExit(f"{LISTED.name}: {fault.name!r}: {fault.path} has this {n} times, not once: {fault.right!r}")
    environment = os.environ | {"PYTHONPATH": str(folder / "python")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    def built(*command: str) -> None:
        if (done := run(*command)).returncode:
            raise SystemExit(f"{LISTED.name}: {fault.name!r} can't be compiled:\n{done.stdout}{done.stderr}")

    path.write_text(right.replace(fault.right, fault.wrong))
    try:
        if fault.go:
            built("go", "build", *fault.go)
            if any(run("go", "test", "-failfast", package).returncode == 1 for package in fault.go):
                return True
        if not fault.pytest:
            return False
        if fault.go:
            built(sys.executable, "setup.py", "build_ext", "--inplace")
        options = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider")
        return run(sys.executable, "-m", "pytest", *options, *fault.pytest).returncode == 1
    finally:
        path.write_text(right)
        for native in native_modules():
            shutil.copy2(native, folder / native.relative_to(ROOT))


def native_modules() -> list[Path]:
    """Find the built module."""
    return list((ROOT / "python" / "se600m").glob("_se600m.*.so"))


def main() -> int:
    """Make every fault, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="faults; all by default")
    names = parser.parse_args().names
    faults = listed()
    if unknown := set(names) - {fault.name for fault in faults}:
        parser.error(f"no such faults: {', '.join(sorted(unknown))}")
    missed = []
    with tempfile.TemporaryDirectory(prefix="se600m-faults-") as folder:
        copy(Path(folder))
        for fault in faults:
            if names and fault.name not in names:
                continue
            began = time.monotonic()
            found = caught(Path(folder), fault)
            print(f"{'caught' if found else 'MISSED'}  {fault.name}, {time.monotonic() - began:.0f} s", flush=True)
            missed += [] if found else [fault.name]
    print(f"{len(missed)} of {len(names or faults)} missed" if missed else "All caught.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
