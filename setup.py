"""Builds the native module se600m._se600m: gopy wraps the Go package pybind, Go links it.

`gopy build` itself would link libpython, leave a path of the build machine in the library and
export hundreds of symbols. So gopy only generates here, and the library is linked with one
exported symbol and no dependency but libc (see CONTRIBUTING.md).
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build"
prerequisites = runpy.run_path(str(ROOT / "tools" / "prerequisites.py"))


def sort(file: Path, blocks: str) -> None:
    """Sort blocks of a file among themselves: gopy writes functions in an order that is another one each time."""
    text = file.read_text()
    found = sorted(re.findall(blocks, text))
    if not found:
        raise SystemExit(f"se600m-go: gopy writes {file.name} differently now")
    following = iter(found)
    file.write_text(re.sub(blocks, lambda _: next(following), text))


class BuildGo(build_ext):
    """Generates the binding with gopy and links it with Go."""

    def run(self) -> None:
        prerequisites["check"]()
        super().run()

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        include = Path(sysconfig.get_paths()["include"])
        # Debian's pyconfig.h includes another one by its path in /usr/include, where a compiler for another libc
        # doesn't look. Last, so that nothing but that is taken from there.
        headers = [f"-I{include}", "-idirafter", str(include.parent)]
        tools, binding = BUILD / "tools", BUILD / f"binding-{sys.implementation.cache_tag}"
        exports = binding / "exports.map"
        environment = dict(
            os.environ,
            CC=prerequisites["compiler"](),
            CGO_ENABLED="1",
            CGO_CFLAGS=shlex.join(["-O2", "-g0", "-w", *headers]),
            PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
        )

        def run(*command: str, cwd: Path = ROOT, **different: str) -> None:
            done = subprocess.run(command, cwd=cwd, env=environment | different, text=True, capture_output=True)
            if done.returncode:
                raise SystemExit(f"se600m-go: {shlex.join(command)} failed:\n{done.stdout}\n{done.stderr}")

        tools.mkdir(parents=True, exist_ok=True)
        # They run here, whatever GOARCH and CC the library is for.
        programs = ("github.com/go-python/gopy", "golang.org/x/tools/cmd/goimports")
        run("go", "build", "-o", f"{tools}{os.sep}", *programs, GOOS="", GOARCH="", CGO_ENABLED="0")
        shutil.rmtree(binding, ignore_errors=True)
        run(
            "gopy",
            "gen",
            f"-vm={sys.executable}",
            f"-output={binding.relative_to(ROOT)}",
            "-name=se600m",
            "-no-make",
            "./pybind",
        )
        source = binding / "se600m.go"
        # The command that gopy notes names this Python's path, and cgo makes names of the whole text.
        source.write_text(re.sub(r"(?m)^(#cgo |(// )?gopy gen ).*\n", "", source.read_text()))
        sort(source, r"(?ms)^//export pybind_\w+\n.*?^}\n")
        sort(binding / "build.py", r"(?m)^add_checked\w*\(mod, 'pybind_.*\n")
        run("goimports", "-w", source.name, cwd=binding)  # gopy leaves its imports to it
        objects = BUILD / "cgo"
        run(
            "go",
            "tool",
            "cgo",
            f"-objdir={objects}",
            "-exportheader=se600m_go.h",
            "--",
            *headers,
            "se600m.go",
            cwd=binding,
        )
        run(sys.executable, "build.py", cwd=binding)  # pybindgen writes se600m.c
        exports.write_text("{ global: PyInit_*; local: *; };\n")
        version = self.distribution.get_version()
        run(
            "go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false",
            f"-ldflags=-s -w -buildid= -X github.com/se600m/se600m-go/pybind.version={version} "
            f"""'-extldflags="-Wl,--strip-all" "-Wl,--version-script={exports}"'""",
            "-o", str(target), f"./{binding.relative_to(ROOT)}",
        )  # fmt: skip
        target.with_suffix(".h").unlink(missing_ok=True)


# Not by tomllib: a Python that is too old for it is to be told so by the prerequisites.
version = re.search(r'(?m)^version = "(.+)"', (ROOT / "pyproject.toml").read_text())[1]
setup(
    ext_modules=[Extension("se600m._se600m", sources=[])],
    cmdclass={"build_ext": BuildGo},
    long_description=runpy.run_path(str(ROOT / "tools" / "index_readme.py"))["readme"](version),
    long_description_content_type="text/markdown",
)
