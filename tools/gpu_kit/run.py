"""Runs doctor, tests and benchmark from an unpacked kit, and writes what they say as JSON (see README.md).

    python run.py OUT [--dry] [--only doctor tests bench]

Each step runs to its end or its limit, whatever became of the others. OUT gets doctor.json, tests.json, results.json
and table.md of the benchmark, a log of each step, and summary.json, which is written anew after every step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

KIT = Path(__file__).resolve().parents[2]
LIMITS = {"doctor": 120, "tests": 480, "bench": 540}
"""Seconds of each step."""

DOCTOR = """
import json, sys, dataclasses, se600m
found = se600m.doctor()
open(sys.argv[1], "w").write(json.dumps({"ok": found.ok, "checks": [dataclasses.asdict(c) for c in found]}, indent=1))
print(found)
"""


def environment(out: Path) -> dict[str, str]:
    """Give the environment of all steps: the kit's packages before the machine's, and its ONNX Runtime."""
    (library,) = (KIT / "runtime").glob("libonnxruntime.so.*")
    full = {"SE600M_FULL_MODEL": str(KIT / "model")} if (KIT / "model").is_dir() else {}
    return os.environ | full | {
        "PYTHONPATH": os.pathsep.join([str(KIT / "site"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SE600M_ORT_LIBRARY": str(library),
        "SE600M_CACHE": str(out / "cache"),
    }  # fmt: skip


def tests_of(report: Path) -> list[dict[str, Any]]:
    """Read pytest's report: every test with its outcome, its message and what it has measured."""
    found = []
    for case in ET.parse(report).getroot().iter("testcase"):
        ended = next((c for c in case if c.tag in ("failure", "error", "skipped")), None)
        found.append({
            "name": case.get("name"), "seconds": float(case.get("time", 0)),
            "outcome": "passed" if ended is None else ended.tag,
            "message": None if ended is None else ended.get("message"),
            "measured": {p.get("name"): p.get("value") for p in case.iter("property")},
        })  # fmt: skip
    return found


def main(out: Path, dry: bool, only: list[str]) -> int:
    """Run steps."""
    out.mkdir(parents=True, exist_ok=True)
    report = out / "tests.xml"
    python = [sys.executable, "-W", "ignore"]
    steps = {
        "doctor": [*python, "-c", DOCTOR, out / "doctor.json"],
        "tests": [*python, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", "tests/test_gpu.py",
                  *(["-k", "cpu"] if dry else ["-m", "gpu"])],
        "bench": [*python, "tools/gpu/bench.py", "--out", out,
                  *(["--dry", "--seconds=0.3", "--rounds=1"] if dry else [])],
    }  # fmt: skip
    summary: dict[str, Any] = {"dry": dry, "python": sys.version, "steps": {}}
    for name in only:
        command = steps[name]
        print(f"{name} …", flush=True)
        start = time.monotonic()
        with (out / f"{name}.log").open("wb") as log:
            try:
                code = subprocess.run(
                    list(map(str, command)), cwd=KIT, env=environment(out), stdout=log, stderr=subprocess.STDOUT,
                    timeout=LIMITS[name], check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                code = 124
        summary["steps"][name] = {"exit_code": code, "seconds": round(time.monotonic() - start, 1)}
        if name == "tests" and report.exists():
            tests = tests_of(report)
            (out / "tests.json").write_text(json.dumps(tests, indent=1))
            outcomes = [t["outcome"] for t in tests]
            summary["tests"] = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        print(f"{name}: exit code {code}", flush=True)
    return int(any(step["exit_code"] for step in summary["steps"].values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dry", action="store_true", help="on the processor, to see that the kit is whole")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    args = parser.parse_args()
    sys.exit(main(args.out.resolve(), args.dry, args.only))
