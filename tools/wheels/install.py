"""A wheel in a new environment: how much is downloaded, and how long it takes to install it and embed cells."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FIRST = Path(__file__).with_name("first_embedding.py")

BASE = ("numpy", "scipy", "pandas", "anndata")
"""What a user of AnnData has anyway; these and all that they need are not counted."""

BAR_MEGABYTES, BAR_SECONDS = 90, 60


@dataclass(frozen=True)
class Seconds:
    """How long something took: by the clock, and of processors."""

    clock: float
    processors: float

    @property
    def least(self) -> float:
        """What it takes on a machine that does nothing else, at most, if it is work for one core."""
        return min(self.clock, self.processors)

    def __str__(self) -> str:
        return f"{self.clock:.0f} s ({self.processors:.0f} s)"


@dataclass(frozen=True)
class Installed:
    """What one wheel took.

    Attributes
    ----------
    packages
        Size in bytes of each wheel beyond ``BASE``, this package's included.
    install, embed
        `pip install` with all wheels in pip's cache; from the start of Python to the first embedding.
    """

    packages: dict[str, int]
    install: Seconds
    embed: Seconds

    @property
    def megabytes(self) -> float:
        """All that is downloaded beyond ``BASE``."""
        return sum(self.packages.values()) / 1e6

    def faults(self) -> list[str]:
        """Tell which bar is missed."""
        missed = []
        if self.megabytes > BAR_MEGABYTES:
            missed.append(f"{self.megabytes:.0f} MB beyond {', '.join(BASE)}: {BAR_MEGABYTES} MB are allowed")
        if (seconds := self.install.least + self.embed.least) > BAR_SECONDS:
            missed.append(f"{seconds:.0f} s to install and to embed: {BAR_SECONDS} s are allowed")
        return missed


def _timed(command: list[str | Path], folder: Path, environment: dict[str, str]) -> Seconds:
    """Run a command to its end."""
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=folder, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Seconds(time.monotonic() - begin, used)


def _sizes(pip: list[str | Path], folder: Path, *requirements: str | Path) -> dict[str, int]:
    """Download wheels, which fills pip's cache as well, and weigh them."""
    subprocess.run([*pip, "download", "-q", "--prefer-binary", "-d", folder, *requirements], check=True)
    return {path.name: path.stat().st_size for path in folder.iterdir()}


@contextmanager
def _new() -> Iterator[tuple[Path, Path, dict[str, str]]]:
    """Give an empty folder, the Python of the environment to be made there, and variables for what runs in it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # Neither this repository nor the user's settings: only what the wheel brings.
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SE600M_"))}
        environment = outer | {"SE600M_CACHE": str(folder / "cache"), "SE600M_CONFIG": str(folder / "config")}
        yield folder, folder / "venv" / "bin" / "python", environment


def _check(there: Path, wheel: Path, folder: Path, environment: dict[str, str]) -> None:
    """Embed in memory and by the command line, and ask the doctor."""
    subprocess.run([there, FIRST, "check", wheel.name.split("-")[1]], check=True, cwd=folder, env=environment)


def tried(python: str, wheel: Path) -> Installed:
    """Install a wheel into a new environment, and embed there."""
    with _new() as (folder, there, environment):
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
        pip: list[str | Path] = [there, "-m", "pip", "--disable-pip-version-check"]
        base = _sizes(pip, folder / "base", *BASE)
        packages = _sizes(pip, folder / "all", wheel)
        install = _timed([*pip, "install", "-q", wheel], folder, environment)
        embed = _timed([there, FIRST, "embed"], folder, environment)
        _check(there, wheel, folder, environment)
    return Installed({name: size for name, size in packages.items() if name not in base}, install, embed)


def tried_by_emulation(python: Path, root: Path, wheel: Path) -> None:
    """Do the same in a file system of another architecture, whose programs qemu runs; times there mean nothing.

    uv, a program of this machine, installs: pip would be emulated, and take many minutes.
    """
    uv = Path(sys.executable).parent / "uv"
    with _new() as (folder, there, environment):
        environment["QEMU_LD_PREFIX"] = str(root.resolve())  # where the other architecture's libraries are looked for
        subprocess.run([uv, "venv", "-q", "--python", python, folder / "venv"], check=True, env=environment)
        install = [uv, "pip", "install", "-q", "--only-binary", ":all:", "--python", there, wheel]
        subprocess.run(install, check=True, env=environment)
        _check(there, wheel, folder, environment)


def table(results: dict[str, Installed]) -> str:
    """Show what was measured, as Markdown."""
    lines = [
        "| Python | wheel | downloaded beyond the base | `pip install` | first embedding |",
        "|---|---:|---:|---:|---:|",
    ]
    for version, result in results.items():
        (own,) = (size for name, size in result.packages.items() if name.startswith("se600m_go-"))
        lines.append(
            f"| {version} | {own / 1e6:.1f} MB | {result.megabytes:.0f} MB | {result.install} | {result.embed} |"
        )
    first = next(iter(results.values()))
    largest = sorted(first.packages.items(), key=lambda item: -item[1])[:6]
    names = ", ".join(f"{name.split('-')[0]} {size / 1e6:.1f} MB" for name, size in largest)
    return "\n".join([*lines, "", f"The largest of them: {names}."])


def page(shown: str) -> str:
    """Write the page of the documentation that has the table."""
    return f"""\
# Time and size of an installation

Measured by `make wheels ARGS=--write`: each wheel is installed by `pip install` into an empty environment, with the
wheels of everything that it needs in pip's cache, and 50 cells are embedded with the default model. That is to take
{BAR_SECONDS} s at most, and beyond {", ".join(BASE)} (and what these need) {BAR_MEGABYTES} MB at most are to be
downloaded; `make wheels` fails otherwise.

{shown}

Times are by the clock, and in brackets those of all processors together, which other programs change less: the shorter
of the two counts.
{machine()}
"""


def machine() -> str:
    """Tell what it was measured on."""
    with open("/proc/cpuinfo") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    date = datetime.datetime.now(datetime.UTC).date()
    return f"On {len(os.sched_getaffinity(0))} cores of {model}, with Python's standard pip, {date}."
