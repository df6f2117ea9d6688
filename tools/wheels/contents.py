"""What must be true of a wheel: its tag, its size, and what its native module needs and shows.

The versions of glibc's symbols are checked by auditwheel, which gives the wheel its tag.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

MEGABYTES = 8
"""The budget of a wheel. Half of it is the native module, the rest the default model and the tables of gene names."""

LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
"""Parts of glibc: nothing else may be needed, since nothing else is brought along."""

MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}

PATHS = re.compile(rb"/(?:root|home|tmp|Users)/[\w.-]+/")
"""What paths of the machine that built the wheel would look like."""


def faults(wheel: Path) -> Iterator[str]:
    """Tell what is wrong with a wheel."""
    size = wheel.stat().st_size
    if size > MEGABYTES * 1e6:
        yield f"{size / 1e6:.1f} MB are over the budget of {MEGABYTES} MB"
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if re.search(r"\.so\b", name)]
        if len(modules) != 1:
            yield f"one native module is expected, not {modules}"
        for name in modules:
            yield from module_faults(content := archive.read(name))
            machine = MACHINES.get(ELFFile(io.BytesIO(content))["e_machine"])
            if not machine or not wheel.stem.endswith(machine) or f"-{machine}-" not in name:
                yield f"{name} is for {machine or 'another processor'}, unlike its name or the wheel's"
        licences = [name for name in archive.namelist() if ".dist-info/licenses/" in name]
        if len(licences) < 2:
            yield f"the licence and the notices of third parties are expected, not {licences}"


def module_faults(content: bytes) -> Iterator[str]:
    """Tell what is wrong with a native module."""
    elf = ELFFile(io.BytesIO(content))
    dynamic = elf.get_section_by_name(".dynamic")
    assert isinstance(dynamic, DynamicSection)
    needed = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}
    if strangers := sorted(needed - LIBRARIES):
        yield f"it needs {', '.join(strangers)}"
    for kind in ("DT_RPATH", "DT_RUNPATH"):
        if any(dynamic.iter_tags(kind)):
            yield f"it has a {kind.removeprefix('DT_')}"
    exported = [
        symbol.name
        for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] in ("STB_GLOBAL", "STB_WEAK")
    ]
    if exported != ["PyInit__se600m"]:
        yield f"it exports {', '.join(exported[:5])} ({len(exported)} symbols)"
    if any(section.name.startswith(".debug") or section.name == ".symtab" for section in elf.iter_sections()):
        yield "it is not stripped"
    if found := PATHS.search(content):
        yield f"it has a path of the machine that built it: {found[0].decode()}"
