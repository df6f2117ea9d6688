"""Builds the source distribution and, from it, a wheel for each Python; checks, installs and tries each of them.

The C compiler is zig, which links against glibc 2.28 whatever this machine has. Everything is built twice, the second
time in other folders and with an empty cache of Go's, and must be the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import contents
import install
import sbom

ROOT = Path(__file__).resolve().parents[2]
PINNED = Path(__file__).with_name("requirements.txt")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORM = "manylinux_2_28_x86_64"
CC = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu.2.28"]
TOOLS = Path(sys.executable).parent
SBOM = ROOT / "out" / "sbom"
TABLE = ROOT / "docs" / "benchmarks" / "install.md"


def run(*command: str | Path, **environment: str) -> str:
    """Run a command to its end and give what it printed; end the program, with all of it, if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()


def say(text: str) -> None:
    """Tell what goes on."""
    print(text, flush=True)


def find(wanted: str) -> str | None:
    """Find a Python by its version, on PATH or among pyenv's, or by its path."""
    shelf = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [*map(str, shelf.glob("*/bin")), os.environ["PATH"]]
    command = [TOOLS / "uv", "python", "find", "--system", "--no-python-downloads", wanted]
    environment = os.environ | {"PATH": os.pathsep.join(folders)}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    return done.stdout.strip() or None


def chosen(wanted: list[str]) -> dict[str, str]:
    """Find Pythons by the names that were asked for; of the usual ones, those that this machine has."""
    found = {name: find(name) for name in wanted or PYTHONS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        names = " and ".join(missing)
        way = f"`pyenv install {missing[0]}` gets it; a path will do, too: make wheels PYTHONS=/path/to/python"
        if wanted or len(missing) == len(found):
            raise SystemExit(f"Python {names} isn't on this machine: {way}")
        say(f"!! No wheel for Python {names}, which isn't on this machine: {way}")
    return {name: path for name, path in found.items() if path}


def epoch() -> str:
    """Tell the time that files in archives are given: that of the last commit."""
    return os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct")


def source_distribution(folder: Path, time: int) -> Path:
    """Build the source distribution, with nothing in it of when and by whom it was built."""
    run(TOOLS / "uv", "build", "-q", "--sdist", "--build-constraints", PINNED, "-o", folder)
    (archive,) = folder.glob("*.tar.gz")
    plain = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            content = old.extractfile(member) if member.isfile() else None
            member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, content)
    archive.write_bytes(gzip.compress(plain.getvalue(), 9, mtime=0))
    return archive


def wheel(sdist: Path, python: str, folder: Path, time: int, **environment: str) -> Path:
    """Build a wheel from the source distribution; auditwheel names it, if its symbols are old enough."""
    with tempfile.TemporaryDirectory() as raw:
        run(
            *(TOOLS / "uv", "build", "-q", "--wheel", "--python", python),
            *("--build-constraints", PINNED, "-o", raw, sdist),
            CC=shlex.join(CC),
            SOURCE_DATE_EPOCH=str(time),
            **environment,
        )
        (built,) = Path(raw).glob("*.whl")
        before = set(folder.glob("*.whl"))
        run(
            *(TOOLS / "auditwheel", "repair", "--plat", PLATFORM, "--only-plat", "--patcher", "none"),
            *("-w", folder, built),
            SOURCE_DATE_EPOCH=str(time),
        )
        (repaired,) = set(folder.glob("*.whl")) - before
    return repaired


def build(pythons: dict[str, str], folder: Path, **environment: str) -> tuple[Path, dict[str, Path]]:
    """Build everything into a folder."""
    time = int(epoch())
    folder.mkdir(parents=True, exist_ok=True)
    sdist = source_distribution(folder, time)
    say(f"{sdist.name}, {sdist.stat().st_size / 1e6:.1f} MB")
    wheels = {}
    for version, python in pythons.items():
        wheels[version] = wheel(sdist, python, folder, time, **environment)
        say(f"{wheels[version].name}, {wheels[version].stat().st_size / 1e6:.1f} MB")
    return sdist, wheels


def check(sdist: Path, wheels: dict[str, Path]) -> None:
    """End the program if anything is wrong with what was built."""
    found = [f"{path.name}: {fault}" for path in wheels.values() for fault in contents.faults(path)]
    found += [f"{path.name} is not tagged {PLATFORM}" for path in wheels.values() if PLATFORM not in path.name]
    if found:
        raise SystemExit("\n".join(found))
    run(TOOLS / "twine", "check", "--strict", sdist, *wheels.values())
    say(f"Checked: {PLATFORM} (auditwheel), one exported symbol, glibc alone, at most {contents.MEGABYTES} MB, README")


def build_again(pythons: dict[str, str], first: Path) -> None:
    """Build everything once more, elsewhere, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        second = Path(folder, "dist")
        try:
            build(
                pythons, second, GOCACHE=str(Path(folder, "cache")), TMPDIR=folder, UV_CACHE_DIR=str(Path(folder, "uv"))
            )
        finally:
            shutil.rmtree(Path(folder, "cache"))
        differ = [path.name for path in second.iterdir() if path.read_bytes() != (first / path.name).read_bytes()]
    if differ:
        raise SystemExit(f"A second build gives other bytes: {', '.join(sorted(differ))}")
    say("A second build gives the same bytes.")


def main() -> None:
    """Build, check, compare, install."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", help=f"versions, or paths of Pythons; {', '.join(PYTHONS)} by default")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "dist", help="the folder, which is emptied first")
    parser.add_argument("--once", action="store_true", help="don't build a second time to compare")
    parser.add_argument("--write", action="store_true", help=f"keep what was measured in {TABLE.relative_to(ROOT)}")
    options = parser.parse_args()
    pythons = chosen(options.pythons)
    shutil.rmtree(options.out, ignore_errors=True)
    sdist, wheels = build(pythons, options.out)
    check(sdist, wheels)
    if not options.once:
        build_again(pythons, options.out)
    shutil.rmtree(SBOM, ignore_errors=True)
    bills = [sbom.write(path, SBOM) for path in wheels.values()]
    say(f"{len(bills)} bills of materials in {SBOM.relative_to(ROOT)}")
    results = {version: install.tried(pythons[version], path) for version, path in wheels.items()}
    shown = install.table(results)
    say(shown)
    if options.write:
        TABLE.write_text(install.page(shown))
    if missed := [f"Python {version}: {fault}" for version, result in results.items() for fault in result.faults()]:
        raise SystemExit("\n".join(missed))


if __name__ == "__main__":
    main()
