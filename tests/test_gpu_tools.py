"""The kit for a GPU on another machine, and what the benchmark on a GPU makes of a trace."""

import hashlib
import importlib.util
import json
import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
KIT = ROOT / "tools" / "gpu_kit"


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


parts = module(KIT / "parts.py")
run = module(KIT / "run.py")
trace_file = module(ROOT / "tools" / "gpu" / "trace_file.py")


@pytest.fixture
def content(tmp_path):
    """Files to pack: incompressible, empty, executable."""
    folder = tmp_path / "content"
    folder.mkdir()
    (folder / "large").write_bytes(np.random.default_rng(1).bytes(100_000))
    (folder / "empty").write_bytes(b"")
    # What the kit runs, instead of what takes minutes.
    program = "import pathlib, sys\npathlib.Path(sys.argv[1], 'ran').write_text(sys.argv[2])\n"
    (folder / "run.py").write_text(program)
    (folder / "run.py").chmod(0o755)
    names = {"runtime/large": "large", "a/empty": "empty", "tools/gpu_kit/run.py": "run.py"}
    return [(target, folder / name) for target, name in names.items()]


@pytest.fixture
def packed(content, tmp_path):
    folder = tmp_path / "packed"
    folder.mkdir()
    parts.write(folder, "kit.tar.xz", content, limit=30_000, preset=0)
    (folder / "run.sh").write_bytes((KIT / "run.sh").read_bytes())
    return folder


def sh(folder, tmp_path, *arguments):
    return subprocess.run(
        ["sh", folder / "run.sh", *arguments], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60,
        env=os.environ | {"PYTHON": sys.executable, "OUT": "out", "WORK": str(tmp_path / "work")},
    )  # fmt: skip


def test_parts_join_to_what_was_packed(packed, content):
    made = sorted(packed.glob("kit.tar.xz.*"))
    assert len(made) == 4
    assert [p.stat().st_size for p in made[:-1]] == [30_000] * 3
    assert 0 < made[-1].stat().st_size <= 30_000
    sums = dict(reversed(line.split()) for line in (packed / "SHA256SUMS").read_text().splitlines())
    assert sums == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in made}
    joined = packed / "joined"
    joined.write_bytes(b"".join(p.read_bytes() for p in made))
    with lzma.open(joined) as stream, tarfile.open(fileobj=stream) as archive:
        assert {name: archive.extractfile(name).read() for name in archive.getnames()} == {
            target: source.read_bytes() for target, source in content
        }


def test_the_same_files_make_the_same_parts(packed, content, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    for _, source in content:
        os.utime(source, (1, 1))
    parts.write(again, "kit.tar.xz", content, limit=30_000, preset=0)
    assert (again / "SHA256SUMS").read_text() == (packed / "SHA256SUMS").read_text()


def test_the_script_unpacks_and_runs(packed, tmp_path):
    done = sh(packed, tmp_path, "--dry")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "ran").read_text() == "--dry"
    assert (tmp_path / "work" / "a" / "empty").exists()
    assert os.access(tmp_path / "work" / "tools" / "gpu_kit" / "run.py", os.X_OK)


@pytest.mark.parametrize("harm", ["lost", "changed"])
def test_a_part_that_is_not_whole_stops_the_script(packed, tmp_path, harm):
    part = packed / "kit.tar.xz.001"
    if harm == "lost":
        part.unlink()
    else:
        part.write_bytes(b"x" + part.read_bytes()[1:])
    done = sh(packed, tmp_path)
    assert done.returncode == 1
    assert "a part is missing or damaged" in done.stderr
    assert not list((tmp_path / "work").iterdir())


def test_all_that_is_packed_is_there():
    pack = ast_constant(KIT / "pack.py", "SOURCES")
    assert [name for name in pack if not (ROOT / name).is_file()] == []


def ast_constant(path, name):
    import ast

    tree = ast.parse(path.read_text())
    (value,) = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == name]
    return ast.literal_eval(value)


def test_reports_of_tests_are_read(tmp_path):
    report = tmp_path / "tests.xml"
    report.write_text(
        '<testsuites><testsuite><testcase name="a" time="1.5"><properties><property name="cosine" value="0.9"/>'
        '</properties></testcase><testcase name="b" time="0"><skipped message="no GPU"/></testcase>'
        '<testcase name="c" time="0"><failure message="assert 1">long</failure></testcase></testsuite></testsuites>'
    )
    found = run.tests_of(report)
    assert [(t["name"], t["outcome"], t["message"]) for t in found] == [
        ("a", "passed", None),
        ("b", "skipped", "no GPU"),
        ("c", "failure", "assert 1"),
    ]
    assert found[0]["measured"] == {"cosine": "0.9"}
    json.dumps(found)


@pytest.mark.parametrize(
    ("kernels", "busy"),
    [
        pytest.param([(0, 10), (10, 10)], 1.0, id="one after the other"),
        pytest.param([(0, 10), (30, 10)], 0.5, id="a gap"),
        pytest.param([(0, 20), (5, 5), (15, 15), (40, 10)], 0.8, id="overlaps count once"),
        pytest.param([], None, id="none"),
    ],
)
def test_how_busy_a_trace_is(kernels, busy):
    events = [{"ph": "X", "cat": "kernel", "ts": ts, "dur": dur} for ts, dur in kernels]
    events += [{"ph": "X", "cat": "gpu_memcpy", "ts": 0, "dur": 1000}, {"ph": "M", "name": "process_name"}]
    assert trace_file.busy_share({"traceEvents": events}) == {"kernels": len(kernels), "busy": busy}
