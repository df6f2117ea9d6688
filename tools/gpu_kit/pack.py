"""Packs all that the tests and the benchmark on a GPU need, for a machine without a network (see README.md).

    python tools/gpu_kit/pack.py OUT --python /path/to/python3.12

OUT gets parts of at most 60 MB, their checksums and run.sh. The Python is of the version that the other machine has; it
builds the package and fetches its dependencies here. ONNX Runtime's GPU build is taken from the cache
(`se600m runtime install cuda`), from --runtime, or downloaded (255 MB).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import parts

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
NAME = "kit.tar.xz"
LIMIT = 60_000_000

# What tests and benchmark import beside the package; torch is the other machine's.
TOOLS = ("pytest", "pytest-timeout", "pyyaml", "safetensors")
NOT_NEEDED = ("onnxruntime",)  # the GPU build takes its place

SOURCES = (
    "LICENSE", "pyproject.toml", "tests/conftest.py", "tests/jobs.py", "tests/test_gpu.py", "tests/data/immune559.h5ad",
    "tools/statefiles.py", "tools/bench/checkpoints.py", "tools/bench/machine.py", "tools/bench/worker.py",
    "tools/gpu/bench.py", "tools/gpu/gpu_ours.py", "tools/gpu/gpu_torch.py", "tools/gpu/network.py",
    "tools/gpu/nvml.py", "tools/gpu/trace_file.py", "tools/gpu_kit/run.py",
)  # fmt: skip
LIBRARIES = (
    "libonnxruntime.so.*", "libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so",
    "libonnxruntime_providers_tensorrt.so", "LICENSE", "ThirdPartyNotices.txt",
)  # fmt: skip


def run(*command: str | Path) -> None:
    """Run a command; its output is shown if it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def packages(python: Path, wheel: Path | None, scratch: Path) -> Path:
    """Install the package and its dependencies into a folder."""
    site = scratch / "site"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-q"]
    if wheel is None:
        run(*pip, "wheel", "--no-deps", "-w", scratch, ROOT)
        (wheel,) = scratch.glob("se600m_go-*.whl")
    wanted = [*tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"], *TOOLS]
    needed = [one for one in wanted if not one.startswith(NOT_NEEDED)]
    run(*pip, "install", "--no-compile", "--only-binary=:all:", "--target", site, *needed)
    run(*pip, "install", "--no-compile", "--no-deps", "--target", site, wheel)
    for binaries in (site / "bin", *site.rglob("__pycache__")):
        shutil.rmtree(binaries, ignore_errors=True)
    return site


def runtime(given: Path | None, scratch: Path) -> Path:
    """Find the folder with ONNX Runtime's libraries for GPUs: given (a wheel or a folder), in the cache, downloaded."""
    from se600m import _runtimes

    if given is not None and given.is_dir():
        return given
    found = _runtimes.find("cuda")
    if given is None and found is not None:
        return found.folder
    if given is None:
        sys.path.insert(0, str(ROOT / "tests" / "standin_gpu"))
        from prepare import download

        given = download(str(scratch))
    with zipfile.ZipFile(given) as archive:
        for member in archive.namelist():
            if member.startswith(("onnxruntime/capi/libonnx", "onnxruntime/LICENSE", "onnxruntime/ThirdParty")):
                (scratch / "runtime").mkdir(exist_ok=True)
                with archive.open(member) as source, (scratch / "runtime" / Path(member).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    return scratch / "runtime"


def files(libraries: Path, site: Path, model: Path | None, commit: Path) -> Iterator[tuple[str, Path]]:
    """List what is packed: what seldom changes comes first."""
    for pattern in LIBRARIES:
        for path in sorted(libraries.glob(pattern)):
            yield f"runtime/{path.name}", path
    if model is not None:
        for path in sorted(p for p in model.rglob("*") if p.is_file()):
            yield f"model/{path.relative_to(model)}", path
    inside = sorted(p for p in site.rglob("*") if p.is_file())
    # The package itself last: it changes most.
    for path in sorted(inside, key=lambda p: p.relative_to(site).parts[0].startswith("se600m")):
        yield f"site/{path.relative_to(site)}", path
    for name in SOURCES:
        yield name, ROOT / name
    yield "COMMIT", commit


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the parts, which is made or is empty")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the other machine's version")
    parser.add_argument("--wheel", type=Path, help="of this package, if it is built already")
    parser.add_argument("--runtime", type=Path, help="wheel of onnxruntime-gpu, or a folder with its libraries")
    parser.add_argument("--model", type=Path, help="a converted model of full width to test, too")
    parser.add_argument("--preset", type=int, default=6, help="how hard xz tries, 0 to 9")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if any(args.out.iterdir()):
        sys.exit(f"{args.out} is not empty: name another folder")
    with tempfile.TemporaryDirectory(prefix="se600m-kit-", dir=os.environ.get("TMPDIR")) as folder:
        scratch = Path(folder)
        libraries = runtime(args.runtime, scratch)
        if not list(libraries.glob("libonnxruntime_providers_cuda.so")):
            sys.exit(f"{libraries} has no libonnxruntime_providers_cuda.so: name the wheel of onnxruntime-gpu")
        site = packages(args.python, args.wheel, scratch)
        commit = scratch / "COMMIT"
        described = ["git", "-C", ROOT, "describe", "--always", "--dirty=+"]
        commit.write_text(subprocess.run(described, capture_output=True, text=True, check=False).stdout or "unknown\n")
        made = parts.write(args.out, NAME, files(libraries, site, args.model, commit), LIMIT, args.preset)
    shutil.copy2(HERE / "run.sh", args.out / "run.sh")
    print(f"{len(made)} parts, {sum(p.stat().st_size for p in made) / 1e6:,.1f} MB in {args.out}")


if __name__ == "__main__":
    main()
