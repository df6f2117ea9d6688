"""Builds stand-ins for NVIDIA's libraries, for tests of ONNX Runtime's GPU build on machines without a GPU.

    python build.py FOLDER_OF_ONNX_RUNTIME OUT

The folder has ``libonnxruntime_providers_cuda.so``. Which functions each library must have is read from the
providers: what they need and do not define (``nm``), and the names of what they look up while they run. Those that
must do something are in the C files here; all others are written here and return 0, which is success.
"""

from __future__ import annotations

import mmap
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Library:
    """A library to build: its file name, its C file, and the names that belong to it where no version tells."""

    file: str
    source: str | None
    names: str
    versioned: bool = True


LIBRARIES = (
    Library("libcuda.so.1", "driver.c", r"cu[A-Z]\w*", versioned=False),
    Library("libcudart.so.13", "cudart.c", ""),
    Library("libcublas.so.13", "cublas.c", ""),
    Library("libcublasLt.so.13", "cublasLt.c", ""),
    Library("libcurand.so.10", None, ""),
    Library("libcudnn.so.9", "cudnn.c", ""),
    Library("libnvrtc.so.13", None, ""),
    Library("libnvinfer.so.10", "nvinfer.c", r"createInfer\w*|getInferLibVersion|getPluginRegistry", versioned=False),
    Library("libnvonnxparser.so.10", "nvonnxparser.c", r"createNvOnnx\w*", versioned=False),
)

LOOKED_UP = {
    "libcudnn.so.9": re.compile(rb"\0(cudnn[A-Z]\w+)(?=\0)"),
    "libnvrtc.so.13": re.compile(rb"\0(nvrtc[A-Z]\w+)(?=\0)"),
}
"""Names of functions that the CUDA provider looks up in libraries that it opens while it runs."""


def needed(folder: Path) -> dict[str, set[str]]:
    """Name the functions that the providers need, by library."""
    functions: dict[str, set[str]] = {library.file: set() for library in LIBRARIES}
    for provider in sorted(folder.glob("libonnxruntime_providers_*.so")):
        for symbol in run("nm", "-D", "--undefined-only", provider).split():
            name, _, version = symbol.partition("@")
            if version in functions:
                functions[version].add(name)
            elif not version:
                for library in LIBRARIES:
                    if library.names and re.fullmatch(library.names, name):
                        functions[library.file].add(name)
    provider = folder / "libonnxruntime_providers_cuda.so"
    with provider.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for library_file, names in LOOKED_UP.items():
            functions[library_file].update(match.decode() for match in names.findall(content))
    return functions


def written(names: set[str]) -> str:
    """Write the functions that do nothing. Those that create something give out an address."""
    lines = ["static char something[256];"]
    for name in sorted(names):
        if re.search(r"Create($|_v2$|[A-Z]\w*Descriptor$)", name):
            lines.append(f"int {name}(void **made) {{ *made = something; return 0; }}")
        else:
            lines.append(f"int {name}(void) {{ return 0; }}")
    return "\n".join(lines) + "\n"


def build(library: Library, functions: set[str], out: Path, work: Path) -> None:
    """Compile a library's own C file and the functions that it lacks, and link them."""
    objects: list[Path] = []
    if library.source:
        objects.append(compiled(HERE / library.source, work, "-Wall", "-Wextra", "-Werror"))
    there = (
        {line.split()[-1] for line in run("nm", "--defined-only", *objects).splitlines() if line} if objects else set()
    )
    rest = work / f"{library.file}.c"
    rest.write_text(written(functions - there))
    objects.append(compiled(rest, work, "-fno-builtin"))
    options = ["-shared", f"-Wl,-soname,{library.file}", "-Wl,-rpath,$ORIGIN"]
    if library.versioned:
        version = work / f"{library.file}.version"
        version.write_text(f"{library.file} {{ global: *; }};\n")
        options.append(f"-Wl,--version-script={version}")
    run("gcc", *options, *objects, "-o", out / library.file, "-ldl", "-lpthread")


def compiled(source: Path, work: Path, *options: str) -> Path:
    """Compile a C file."""
    target = work / f"{source.name}.o"
    run("gcc", "-std=gnu11", "-O1", "-fPIC", *options, "-c", source, "-o", target)
    return target


def run(*command: str | Path) -> str:
    """Run a command of the compiler's."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not installed: install gcc and binutils, which Go with cgo also needs")
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stderr}")
    return done.stdout


def main(folder: Path, out: Path) -> None:
    """Build all libraries."""
    if not (folder / "libonnxruntime_providers_cuda.so").is_file():
        sys.exit(f"{folder} has no libonnxruntime_providers_cuda.so: run `se600m runtime install cuda`")
    out.mkdir(parents=True, exist_ok=True)
    functions = needed(folder)
    with tempfile.TemporaryDirectory() as work:
        for library in LIBRARIES:
            build(library, functions[library.file], out, Path(work))
            print(f"{out / library.file}  {len(functions[library.file])} functions")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
