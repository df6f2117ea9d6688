"""Names everything that the build needs and this machine lacks, with the way to get it.

setup.py asks before it builds, and `make` before it makes a virtual environment, so this file also runs on a Python
that is too old for the package (3.6 and later), and imports the standard library alone.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def stated(file, pattern):
    """Read a version, major and minor, from a file of the project."""
    found = re.search("(?m)^" + pattern + r"(\d+)\.(\d+)", (ROOT / file).read_text(encoding="utf-8"))
    return int(found.group(1)), int(found.group(2))


def dotted(version):
    """Write a version with a dot."""
    return f"{version[0]}.{version[1]}"


def go_version(**environment):
    """Ask `go` for its version, major and minor; None if it tells none."""
    told = subprocess.run(
        ["go", "version"],
        cwd=str(ROOT),  # where go.mod may make it fetch a later version of itself
        env=dict(os.environ, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,  # noqa: UP021 (`text` came with Python 3.7)
        check=False,
    ).stdout
    found = re.search(r"go(\d+)\.(\d+)", told)
    return (int(found.group(1)), int(found.group(2))) if found else None


def go():
    """Find fault with Go."""
    wanted = stated("go.mod", "go ")
    found = None
    if shutil.which("go"):
        found = go_version() or go_version(GOTOOLCHAIN="local")
    if found is None:
        yield f"Go {dotted(wanted)} or later: install it from https://go.dev/dl/ and put `go` on PATH"
    elif found < wanted:
        yield f"Go {dotted(wanted)} or later (found {dotted(found)}): https://go.dev/dl/"


def compiler():
    """Find the C compiler that Go is to use: what CC names, or the first of the usual ones; None if there is none."""
    named = os.environ.get("CC", "").strip()
    if named:
        return named if shutil.which(shlex.split(named)[0]) else None
    return next((name for name in ("gcc", "cc", "clang") if shutil.which(name)), None)


def c_compiler():
    """Find fault with the C compiler."""
    if compiler() is None:
        named = os.environ.get("CC", "").strip()
        which = f"a C compiler (CC names {named!r}, which is not found)" if named else "a C compiler (gcc or clang)"
        yield f"{which}: on Debian or Ubuntu `apt-get install build-essential`"


def python(venv):
    """Find fault with this Python."""
    wanted = stated("pyproject.toml", 'requires-python = ">=')
    version = dotted(sys.version_info)
    if sys.version_info[:2] < wanted:
        yield (
            f"Python {dotted(wanted)} or later (found {version}, {sys.executable}): https://www.python.org/downloads/, "
            "or name one with `make PYTHON=/path/to/python3 ...`"
        )
        return
    if venv:
        try:
            import ensurepip  # noqa: F401
            import venv as _  # noqa: F401
        except ImportError:
            yield f"Python's venv module: on Debian or Ubuntu `apt-get install python{version}-venv`"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        yield f"Python.h of Python {version}: on Debian or Ubuntu `apt-get install python{version}-dev`"


def check(venv=False):
    """End the program if anything is missing, and name all of it."""
    missing = [*go(), *c_compiler(), *python(venv)]
    if missing:
        raise SystemExit("se600m-go can't be built here. Missing:\n" + "\n".join("  - " + line for line in missing))


if __name__ == "__main__":
    check(venv=True)
