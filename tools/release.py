"""What a release says of itself: prints the part of CHANGELOG.md that belongs to a tag, if everything agrees with it.

python tools/release.py v0.2.0
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def notes(tag: str, version: str, changelog: str) -> str:
    """Give the notes of a release.

    Raises
    ------
    ValueError
        The tag is not the version's, or the changelog has nothing about it.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, but pyproject.toml has version {version}: it must be v{version}")
    found = re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no part `## {version} - YYYY-MM-DD` with something in it")
    return found[1].strip()


def main() -> None:
    """Print the notes."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    try:
        print(notes(sys.argv[1], version, (ROOT / "CHANGELOG.md").read_text()))
    except ValueError as error:
        raise SystemExit(f"Not released: {error}") from error


if __name__ == "__main__":
    main()
