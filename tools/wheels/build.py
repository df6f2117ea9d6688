"""Builds the source distribution and, from it, a wheel for each Python; checks, installs and tries each of them.

The C compiler is zig, which links against glibc 2.28 whatever this machine has, and for either architecture. Everything
is built twice, the second time in other folders and with an empty cache of Go's, and must be the same bytes.

Wheels of the other architecture are tried by emulation in a file system of that architecture, which has Pythons in
usr/bin (`--root`; `RELEASE.md` tells how to make one); without it, they are built and checked alone.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import platform
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
GOARCH = {"x86_64": "amd64", "aarch64": "arm64"}
"""The architectures, and what Go calls them."""

HERE = platform.machine()

AUDITWHEEL = """
import platform, sys
platform.machine = lambda: {arch!r}
from auditwheel.main import main
sys.exit(main())
"""
"""auditwheel, which names no wheel of another architecture than this machine's."""
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


def in_root(root: Path, pythons: dict[str, str]) -> dict[str, Path]:
    """Find the same Pythons in the file system of another architecture."""
    found = {}
    for name, python in pythons.items():
        version = run(python, "-c", "import sys; print(*sys.version_info[:2], sep='.')")
        found[name] = root.resolve() / "usr" / "bin" / f"python{version}"
        if not found[name].exists():
            raise SystemExit(f"{found[name]} is missing: the wheel for Python {version} can't be tried in {root}")
    return found


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


def tag(arch: str) -> str:
    """Name the systems that a wheel of an architecture runs on."""
    return f"manylinux_2_28_{arch}"


def environment_for(arch: str, python: str) -> dict[str, str]:
    """Make setup.py build for an architecture, which need not be this one.

    The headers are those of this machine's Python: what differs on 64-bit Linux is not for extensions.
    """
    suffix = run(python, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))")
    return {
        "CC": shlex.join([sys.executable, "-m", "ziglang", "cc", "-target", f"{arch}-linux-gnu.2.28"]),
        "GOARCH": GOARCH[arch],
        "SETUPTOOLS_EXT_SUFFIX": suffix.replace(HERE, arch),
    }


def wheel(sdist: Path, python: str, arch: str, folder: Path, time: int, **environment: str) -> Path:
    """Build a wheel from the source distribution; auditwheel names it, if its symbols are old enough."""
    with tempfile.TemporaryDirectory() as raw:
        run(
            *(TOOLS / "uv", "build", "-q", "--wheel", "--python", python),
            f"--config-setting=--build-option=--plat-name=linux_{arch}",
            *("--build-constraints", PINNED, "-o", raw, sdist),
            SOURCE_DATE_EPOCH=str(time),
            **environment_for(arch, python),
            **environment,
        )
        (built,) = Path(raw).glob("*.whl")
        before = set(folder.glob("*.whl"))
        run(
            *(sys.executable, "-c", AUDITWHEEL.format(arch=arch)),
            *("repair", "--plat", tag(arch), "--only-plat", "--patcher", "none"),
            *("-w", folder, built),
            SOURCE_DATE_EPOCH=str(time),
        )
        (repaired,) = set(folder.glob("*.whl")) - before
    return repaired


def build(pythons: dict[str, str], arch: str, folder: Path, **environment: str) -> tuple[Path, dict[str, Path]]:
    """Build everything into a folder."""
    time = int(epoch())
    folder.mkdir(parents=True, exist_ok=True)
    sdist = source_distribution(folder, time)
    say(f"{sdist.name}, {sdist.stat().st_size / 1e6:.1f} MB")
    wheels = {}
    for version, python in pythons.items():
        wheels[version] = wheel(sdist, python, arch, folder, time, **environment)
        say(f"{wheels[version].name}, {wheels[version].stat().st_size / 1e6:.1f} MB")
    return sdist, wheels


def check(sdist: Path, wheels: dict[str, Path], arch: str) -> None:
    """End the program if anything is wrong with what was built."""
    named = tag(arch)
    found = [f"{path.name}: {fault}" for path in wheels.values() for fault in contents.faults(path)]
    found += [f"{path.name} is not tagged {named}" for path in wheels.values() if named not in path.name]
    if found:
        raise SystemExit("\n".join(found))
    run(TOOLS / "twine", "check", "--strict", sdist, *wheels.values())
    say(f"Checked: {named} (auditwheel), one exported symbol, glibc alone, at most {contents.MEGABYTES} MB, README")


def build_again(pythons: dict[str, str], arch: str, first: Path) -> None:
    """Build everything once more, elsewhere, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        second = Path(folder, "dist")
        caches = {"GOCACHE": str(Path(folder, "cache")), "UV_CACHE_DIR": str(Path(folder, "uv"))}
        try:
            build(pythons, arch, second, TMPDIR=folder, **caches)
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
    parser.add_argument("--arch", choices=GOARCH, default=HERE, help="the architecture; this machine's by default")
    parser.add_argument("--root", type=Path, help="a file system of another architecture, to try the wheels there")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "dist", help="the folder, which is emptied first")
    parser.add_argument("--once", action="store_true", help="don't build a second time to compare")
    parser.add_argument("--write", action="store_true", help=f"keep what was measured in {TABLE.relative_to(ROOT)}")
    options = parser.parse_args()
    arch, foreign = options.arch, options.arch != HERE
    if (foreign and options.write) or (options.root and not foreign):
        parser.error("--write is for the architecture of this machine, and --root for the other one")
    pythons = chosen(options.pythons)
    there = in_root(options.root, pythons) if options.root else {}
    shutil.rmtree(options.out, ignore_errors=True)
    sdist, wheels = build(pythons, arch, options.out)
    check(sdist, wheels, arch)
    if not options.once:
        build_again(pythons, arch, options.out)
    shutil.rmtree(SBOM, ignore_errors=True)
    bills = [sbom.write(path, SBOM) for path in wheels.values()]
    say(f"{len(bills)} bills of materials in {SBOM.relative_to(ROOT)}")
    if foreign:
        for version, python in there.items():
            install.tried_by_emulation(python, options.root, wheels[version])
            say(f"{wheels[version].name}: installed, and cells embedded, in {options.root}")
        if not there:
            say(f"!! The wheels have not been tried: this machine is {HERE}, and no --root is given.")
        return
    results = {version: install.tried(pythons[version], path) for version, path in wheels.items()}
    shown = install.table(results)
    say(shown)
    if options.write:
        TABLE.write_text(install.page(shown))
    if missed := [f"Python {version}: {fault}" for version, result in results.items() for fault in result.faults()]:
        raise SystemExit("\n".join(missed))


if __name__ == "__main__":
    main()
