"""What is shipped: the sdist builds a wheel, and the wheel has what it should and no more."""

import ast
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import index_readme
import release
import se600m
from se600m import _library
from wheels import contents

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command, cwd, **environment):
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, unpacked far from the repository."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "setup.py", "-q", "sdist", "-d", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (unpacked,) = (p for p in folder.iterdir() if p.is_dir())
    return unpacked


def test_the_sdist_has_no_binary_and_no_data(sdist):
    names = [str(p.relative_to(sdist)) for p in sdist.rglob("*") if p.is_file()]
    assert not [name for name in names if name.endswith((".so", ".h5ad", ".pyc"))]
    for needed in (
        "go.mod",
        "go.sum",
        "LICENSE",
        "THIRD_PARTY_NOTICES.md",
        "CITATION.cff",
        "setup.py",
        "tools/prerequisites.py",
        "pybind/doc.go",
        "gocore/onnx/onnxpb/onnx.pb.go",
    ):
        assert needed in names


def test_the_wheel(sdist, tmp_path):
    run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ".", cwd=sdist
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        modes = {i.filename: i.external_attr >> 16 & 0o777 for i in archive.infolist()}
    top = {name.split("/")[0] for name in names}
    assert top == {"se600m", f"{wheel.name.split('-cp')[0]}.dist-info"}
    inside = sorted(name.removeprefix("se600m/") for name in names if name.startswith("se600m/"))
    (native,) = [name for name in inside if name.endswith(".so")]
    models = [name for name in inside if name.startswith("models/")]
    assert {Path(name).name for name in models} == {
        "README.md",
        "config.yaml",
        "model.safetensors",
        "protein_embeddings.pt",
    }
    modules = {str(p.relative_to(ROOT / "python" / "se600m")) for p in (ROOT / "python" / "se600m").glob("*.py")}
    assert set(inside) == {*modules, *models, native, "py.typed", "_se600m.pyi"}
    assert all(mode & 0o444 == 0o444 for mode in modes.values()), "everybody may read what is installed"
    assert list(contents.faults(wheel)) == []
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        module = archive.extract(f"se600m/{native}", tmp_path)
    description = metadata.partition("\n\n")[2]
    assert description == index_readme.readme(PROJECT["version"])
    assert linked(module) == noticed()


def linked(module):
    """The modules of Go that a native module says it is made of, with their versions."""
    told = run("go", "version", "-m", module, cwd=ROOT).stdout
    return set(re.findall(r"(?m)^\tdep\t(\S+)\t(\S+)", told))


def noticed():
    """Those whose licences are passed on."""
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text()
    return set(re.findall(r"(?m)^\| (\S+) \| (v\d\S+) \|", notices))


def test_every_licence_that_is_noticed_is_in_the_metadata():
    rows = re.findall(r"(?m)^\| [^|]+ \| [^|]* \| ([^|]+) \| [^|]+ \|$", (ROOT / "THIRD_PARTY_NOTICES.md").read_text())
    noticed = {licence for row in rows[2:] for licence in row.split(" AND ")}
    assert len(rows) > 10
    assert noticed <= set(PROJECT["license"].split(" AND "))


def test_links_of_the_readme():
    """They lead somewhere in the repository, and by full addresses on an index."""
    links = {link["target"] for link in index_readme.LINK.finditer((ROOT / "README.md").read_text())}
    inside = {link for link in links if not re.match("https?:", link)}
    assert len(inside) > 5
    for link in inside:
        path, _, part = link.partition("#")
        assert (ROOT / path).exists(), link
        titles = re.findall(r"(?m)^#+ (.+)$", (ROOT / (path or "README.md")).read_text()) if part else []
        assert not part or part in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, link
    on_index = index_readme.LINK.finditer(index_readme.readme("1.2"))
    relative = [link["target"] for link in on_index if not re.match("https?:|#", link["target"])]
    assert not relative
    assert "](https://github.com/se600m/se600m-go/blob/v1.2/docs/errors.md)" in index_readme.readme("1.2")
    assert "](https://raw.githubusercontent.com/se600m/se600m-go/v1.2/docs/flow.svg)" in index_readme.readme("1.2")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (lambda: Path(np._core._multiarray_umath.__file__), {"it needs", "it exports"}),
        (lambda: Path(_library.find()), {"it needs", "it exports", "it has a RUNPATH"}),
    ],
    ids=["numpy's", "ONNX Runtime's"],
)
def test_what_is_wrong_with_a_native_module_is_told(module, says):
    told = list(contents.module_faults(module().read_bytes()))
    assert says <= {fault for fault in says for line in told if line.startswith(fault)}


def test_what_is_wrong_with_a_wheel_is_told(tmp_path):
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("se600m/large", b"\0" * 9_000_000)
    told = list(contents.faults(path))
    assert [re.sub(r",.*", "", fault) for fault in told] == [
        "9.0 MB are over the budget of 8 MB",
        "one native module is expected",
        "the licence and the notices of third parties are expected",
    ]


def test_a_wheel_for_another_processor_than_it_says_is_told(tmp_path):
    native = Path(np._core._multiarray_umath.__file__)
    here, other = platform.machine(), {"x86_64": "aarch64"}.get(platform.machine(), "x86_64")

    def faults(wheel, module):
        path = tmp_path / f"x-1-cp312-cp312-linux_{wheel}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(native, f"se600m/_se600m.cpython-312-{module}-linux-gnu.so")
        return [fault for fault in contents.faults(path) if "unlike its name" in fault]

    assert faults(here, here) == []
    for wheel, module in ((other, other), (here, other), (other, here)):
        (fault,) = faults(wheel, module)
        assert f"is for {here}, unlike its name or the wheel's" in fault


def test_the_version_is_written_once():
    """Everything else reads it."""
    version = PROJECT["version"]
    assert se600m.__version__ == version
    for name in ("setup.py", "CITATION.cff", "recipe/recipe.yaml", "Dockerfile"):
        lines = (ROOT / name).read_text().splitlines()
        assert not [line for line in lines if version in line and not line.startswith("cff-version")], name


def test_notes_of_a_release():
    changelog = "## Unreleased\n\n## 1.2.0 - 2026-01-02\n\n### Added\n\n- This.\n\n## 1.1.0 - 2025-01-02\n\n- Old.\n"
    assert release.notes("v1.2.0", "1.2.0", changelog) == "### Added\n\n- This."
    assert release.notes("v1.1.0", "1.1.0", changelog) == "- Old."
    with pytest.raises(ValueError, match=r"the tag is v1\.2\.0, but pyproject\.toml has version 1\.3\.0"):
        release.notes("v1.2.0", "1.3.0", changelog)
    with pytest.raises(ValueError, match=r"no part `## 1\.3\.0 - YYYY-MM-DD`"):
        release.notes("v1.3.0", "1.3.0", changelog)


def test_workflows_call_what_make_has():
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    called = {
        target
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for target in re.findall(r"run: make ([a-z-]+)", path.read_text())
    }
    assert {"check", "test", "test-lowest", "wheels", "docs"} <= called <= targets


def test_every_python_that_is_promised_gets_a_wheel():
    promised = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    built = re.search(r"(?m)^PYTHONS = \((.*)\)$", (ROOT / "tools" / "wheels" / "build.py").read_text())[1]
    assert promised == set(re.findall(r"3\.\d+", built))
    for name in ("test", "wheels"):
        workflow = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()
        assert promised <= set(re.findall(r"3\.\d+", workflow)), name


MAKE = shutil.which("make")
PREREQUISITES = ROOT / "tools" / "prerequisites.py"
DOORS = {
    "setup.py build_ext": [sys.executable, "setup.py", "build_ext"],
    "setup.py build": [sys.executable, "setup.py", "build"],
    "prerequisites.py": [sys.executable, str(PREREQUISITES)],
    "make preflight": [MAKE, "-f", str(ROOT / "Makefile"), "-C", str(ROOT), "preflight", f"PYTHON={sys.executable}"],
}
doors = pytest.mark.parametrize("command", DOORS.values(), ids=DOORS)


@pytest.fixture
def tools(tmp_path):
    """A folder to be PATH, with a shell and nothing else."""
    (tmp_path / "sh").symlink_to(shutil.which("sh"))
    return tmp_path


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def refused(command, tools, cwd=ROOT, **environment):
    """What is missing, of a command that ends for want of something."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": str(tools), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    start = done.stderr.index("se600m-go can't be built here. Missing:\n")
    return [line for line in done.stderr[start:].splitlines() if line.startswith("  - ")]


@doors
def test_everything_that_is_missing_is_named_at_once(sdist, tools, command):
    go, compiler = refused(command, tools, sdist)
    assert re.search(r"Go \d+\.\d+ or later: install it from https://go\.dev/dl/", go)
    assert "a C compiler (gcc or clang): on Debian or Ubuntu `apt-get install build-essential`" in compiler


@doors
@pytest.mark.parametrize("compiler", ["gcc", "cc", "clang"])
def test_what_is_there_is_not_named(sdist, tools, command, compiler):
    script(tools / compiler, "")
    (go,) = refused(command, tools, sdist)
    assert "https://go.dev/dl/" in go


def test_an_older_go_is_named_by_its_version(tools):
    script(tools / "gcc", "")
    script(tools / "go", "echo go version go1.20.3 linux/amd64")
    (line,) = refused([sys.executable, PREREQUISITES], tools)
    assert re.search(r"Go \d+\.\d+ or later \(found 1\.20\): https://go\.dev/dl/", line)
    script(tools / "go", 'test "$GOTOOLCHAIN" = local && echo go version go1.21.0 linux/amd64')
    (line,) = refused([sys.executable, PREREQUISITES], tools)
    assert "found 1.21" in line, "also where it can't fetch the one that go.mod asks for"


def test_a_compiler_that_cc_names_is_looked_for(tools):
    script(tools / "gcc", "")
    _, compiler = refused([sys.executable, PREREQUISITES], tools, CC="icx -fast")
    assert "CC names 'icx -fast', which is not found" in compiler
    script(tools / "icx", "")
    (go,) = refused([sys.executable, PREREQUISITES], tools, CC="icx -fast")
    assert "Go " in go


@pytest.mark.parametrize(
    "spoil, says",
    [
        (
            lambda patch, folder: patch.setattr(sys, "version_info", (3, 9, 1)),
            r"Python 3\.11 or later \(found 3\.9, .*make PYTHON=/path/to/python3 \.\.\.`",
        ),
        (
            lambda patch, folder: patch.setattr(sysconfig, "get_paths", lambda: {"include": str(folder)}),
            r"Python\.h of Python 3\.\d+: on Debian or Ubuntu `apt-get install python3\.\d+-dev`",
        ),
        (
            lambda patch, folder: patch.setitem(sys.modules, "ensurepip", None),
            r"Python's venv module: on Debian or Ubuntu `apt-get install python3\.\d+-venv`",
        ),
    ],
    ids=["too old", "no headers", "no venv"],
)
def test_what_python_lacks_is_named(monkeypatch, tmp_path, spoil, says):
    check = runpy.run_path(str(PREREQUISITES))["check"]
    check(venv=True)  # tests have been built: nothing is missing
    spoil(monkeypatch, tmp_path)
    with pytest.raises(SystemExit, match=rf"Missing:\n  - {says}\Z"):
        check(venv=True)


def test_a_build_needs_no_venv(monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    runpy.run_path(str(PREREQUISITES))["check"]()


@pytest.mark.parametrize("python", ["missing", "too old to ask"])
def test_a_python_that_can_not_be_asked(tools, python):
    """What make says itself, and the version that it names."""
    path = tools / "python9"
    if python == "too old to ask":
        script(path, "exit 1")
    (line,) = refused([MAKE, "preflight", f"PYTHON={path}"], tools)
    wanted = re.search(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text())[1]
    assert f"Python {wanted} or later (`{path}` can't be used): https://www.python.org/downloads/" in line
    assert "make PYTHON=/path/to/python3 ..." in line


def test_older_pythons_can_be_told():
    """They must understand the file to say what is wrong with them."""
    ast.parse(PREREQUISITES.read_text(), feature_version=(3, 6))


def test_the_reference_runs_beside_this_package():
    """In one environment, whose packages are pinned: none that this one depends on may be missing."""
    wanted = PROJECT["dependencies"]
    pinned = (ROOT / "tools" / "parity" / "requirements.txt").read_text()
    missing = {re.split("[<>=]", name)[0] for name in wanted} - set(re.findall(r"^([\w.-]+)==", pinned, re.M))
    assert not missing
