"""A user's script under mypy --strict: what is right passes, and what is wrong is named at its line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "typing"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What mypy says of the scripts: name of the script → (line, code, message) each."""
    folder = tmp_path_factory.mktemp("mypy")
    # Types of other packages are their own business; so are errors inside the package, which `make check` finds.
    (folder / "mypy.ini").write_text("[mypy]\nstrict = True\nignore_missing_imports = True\nfollow_imports = silent\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--config-file", folder / "mypy.ini",
            "--cache-dir", ROOT / ".mypy_cache" / "scripts",
            "--no-error-summary", "--no-pretty", "--hide-error-context", "--no-color-output",
            *sorted(SCRIPTS.glob("*.py")),
        ],
        capture_output=True, text=True, timeout=280, check=False, cwd=SCRIPTS,
        env=os.environ | {"MYPYPATH": str(ROOT / "python")},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {path.name: set() for path in SCRIPTS.glob("*.py")}
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"(\w+\.py):(\d+): error: (.*)  \[([a-z-]+)\]", line):
            found[match[1]].add((int(match[2]), match[4], match[3]))
        else:
            assert ": note: " in line, line
    return found


def marked(path):
    """What a script says that it has: line → (code, part of the message)."""
    marks = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if "# E:" in line:
            code, _, part = line.partition("# E:")[2].strip().partition(" ")
            marks[number] = (code, part)
    return marks


def test_what_is_right_passes(said):
    assert said["right.py"] == set()
    assert not marked(SCRIPTS / "right.py")


WRONG = marked(SCRIPTS / "wrong.py")
LINES = (SCRIPTS / "wrong.py").read_text().splitlines()


@pytest.mark.parametrize("line", [pytest.param(n, id=LINES[n - 1].partition("  #")[0]) for n in WRONG])
def test_what_is_wrong_is_named(said, line):
    code, part = WRONG[line]
    here = [(c, message) for n, c, message in said["wrong.py"] if n == line]
    codes = (code, "misc") if code == "call-arg" else (code,)  # older mypy calls some of them so
    assert any(c in codes and part in message for c, message in here), here


def test_nothing_else_is_named(said):
    assert {n for n, _, _ in said["wrong.py"]} == set(WRONG)
