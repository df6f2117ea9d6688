"""Speed and memory of this package, of the reference (arc-state) and of the machine, in one run.

    make bench [ARGS="--quick"]

Every side is a process that does one round at a time when it is told to; sides take turns, in an order that
alternates from round to round. Results go to docs/benchmarks: results.json, table.md, chart.png, where cases
that were not run stay as they were. Exit code 1 if a bar does not hold.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import machine
import numpy as np
from checkpoints import DIMS, needed_flop, panel
from report import Bar, Case, Results, Row, Spread
from worker import Side, SideError

from se600m import _library

ROOT = Path(__file__).resolve().parents[2]
OURS, REFERENCE, LIMITS, SCIKIT = "ours.py", "reference.py", "limits.py", "scikit.py"


class Bench:
    """Cases, and what they share."""

    def __init__(self, args: argparse.Namespace, results: Results, scratch: Path) -> None:
        self.args, self.results, self.scratch = args, results, scratch
        self.case: Case  # under way
        self.quick: bool = args.quick
        self.rounds: int = args.rounds or (3 if args.quick else 7)
        self.log = scratch / "log.txt"
        self.cells = anndata.read_h5ad(ROOT / "tests" / "data" / "immune559.h5ad")
        self.panel = panel()

    # -- sides ---------------------------------------------------------------------------------

    def side(self, script: str, **environment: str) -> Side:
        """Start a side."""
        python = Path(sys.executable) if script != REFERENCE else self.args.reference_python
        path = os.pathsep.join([str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
        return Side(python, script, self.log, {"PYTHONPATH": path, **environment})

    def file_of(self, name: str, adata: anndata.AnnData, n_cells: int) -> str:
        """Write cells spread over a data set, and tell the file."""
        path = self.scratch / f"{name}-{n_cells}.h5ad"
        if not path.exists():
            rows = np.unique(np.linspace(0, adata.n_obs - 1, n_cells).astype(int))
            adata[rows].copy().write_h5ad(path)
        return str(path)

    def checkpoint(self, name: str) -> tuple[str, str]:
        """Write a random checkpoint and convert it; tell both."""
        source, target = self.scratch / name / "random.ckpt", self.scratch / name / "converted"
        if not source.exists():
            nlayers = self.args.layers if name == "full" else DIMS[name].nlayers
            command = [sys.executable, Path(__file__).parent / "checkpoints.py", source, name, str(nlayers)]
            subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "tools")})
            with self.side(OURS) as ours:
                ours.ask("convert", source=str(source), target=str(target))
        return str(source), str(target)

    def alternate(self, rounds: dict[str, Callable[[], float]], n: int | None = None) -> dict[str, Spread]:
        """Run one round of each side after another, and turn the order around every time."""
        found: dict[str, list[float]] = {side: [] for side in rounds}
        order = list(rounds)
        for _ in range(n or self.rounds):
            for side in order:
                found[side].append(rounds[side]())
            order.reverse()
        return {side: Spread(values) for side, values in found.items()}

    def tell(self, case: str, unit: str, spreads: dict[str, Spread], notes: dict[str, str] | None = None) -> None:
        """Put all sides of a case into the results."""
        for side, spread in spreads.items():
            self.case.add(Row(case, side, unit, spread, (notes or {}).get(side, "")))

    # -- cases ---------------------------------------------------------------------------------

    def tokenisation(self) -> None:
        """Time sentences, written to memory, against the reference's loader alone and the memory's speed."""
        source, target = self.checkpoint("tiny")
        cells = self.file_of("immune", self.cells, self.cells.n_obs)
        fewer = self.file_of("immune", self.cells, 100 if self.quick else 559)
        with self.side(OURS) as ours, self.side(REFERENCE) as theirs, self.side(LIMITS) as limits:
            self.load_both(ours, theirs, source, target)
            theirs.ask("prepare", cells=fewer)
            many = ours.ask("tile", cells=cells, times=10)
            ours.ask("tile", cells=cells, times=1)

            def rate(threads: int | None, times: int = 10) -> Callable[[], float]:
                def once() -> float:
                    done = [ours.ask("tokenize", cells=cells, times=times, threads=threads) for _ in range(3)]
                    return max(answer["cells"] / answer["seconds"] for answer in done)

                return once

            def loader() -> float:
                answer = theirs.ask("tokenize", cells=fewer)
                return answer["cells"] / answer["seconds"]

            written = ours.ask("tokenize", cells=cells, times=10)
            moved = (many["input_bytes"] + written["output_bytes"]) / many["cells"]
            loader()  # its process starts at the first round
            found = self.alternate(
                {
                    "ours": rate(None),
                    "ours, one thread": rate(1),
                    "ours, 559 cells a call": rate(None, 1),
                    "arc-state": loader,
                    "limit": lambda: limits.ask("bandwidth")["bytes_per_second"] / moved,
                }
            )
        cores = self.results.machine["cores"]
        self.tell("tokenisation", "cells/s", found, {
            "ours": f"{many['cells']} cells of {many['values']:.0f} values, the best of 3 calls, everything in each",
            "arc-state": f"the loader alone, {fewer.rsplit('-')[-1].split('.')[0]} cells, set-up not counted",
            "limit": f"memory copied by one thread, {moved / 1e3:.0f} KB per cell",
        })  # fmt: skip
        ours_rate = found["ours"].median
        self.case.judge(Bar("tokenisation, cells/s", ours_rate, at_least=50_000))
        self.case.judge(
            Bar("tokenisation, times the reference's loader", ours_rate / found["arc-state"].median, at_least=150)
        )
        efficiency = ours_rate / found["ours, one thread"].median / cores
        self.case.judge(Bar(f"tokenisation, parallel efficiency on {cores} cores", efficiency, at_least=0.7))

    def small_model(self) -> None:
        """Time the whole way from a file to embeddings where the model is tiny."""
        source, target = self.checkpoint("tiny")
        n = (100, 100) if self.quick else (self.cells.n_obs, 240)
        for what, cells, bar in (
            ("tiny model, whole transcriptomes", self.file_of("immune", self.cells, n[0]), 2.5),
            ("tiny model, 765-gene panel", self.file_of("panel", self.panel, n[1]), 8),
        ):
            with self.side(OURS) as ours, self.side(REFERENCE) as theirs:
                self.load_both(ours, theirs, source, target)
                theirs.ask("prepare", cells=cells)
                found = self.alternate(
                    {
                        "ours": self.cost(ours, "embed", cells),
                        "arc-state": self.cost(theirs, "embed", cells),
                        "arc-state, model and loader alone": self.cost(theirs, "encode", cells),
                    },
                    self.args.rounds or 3,
                )
            self.tell(what, "ms/cell", found, dict.fromkeys(["ours", "arc-state"], "from the file to embeddings"))
            ratio = found["arc-state"].median / found["ours"].median
            self.case.judge(Bar(f"{what}, times arc-state", ratio, at_least=bar))

    def load_both(self, ours: Side, theirs: Side, source: str, target: str) -> None:
        """Open a model on both sides."""
        answers = ours.ask("load", model=target) | theirs.ask("load", model=source)
        self.results.versions |= {name: answers[name] for name in ("se600m", "onnxruntime", "arc-state", "torch")}

    def cost(self, side: Side, do: str, cells: str) -> Callable[[], float]:
        """Make a round that does something with a file of cells: milliseconds a cell."""

        def once() -> float:
            answer = side.ask(do, cells=cells)
            return 1e3 * answer["seconds"] / answer["cells"]

        once()  # not counted: it makes what later rounds find
        return once

    def full_width(self) -> None:
        """Time SE-600M's width, against the reference and the rate of matrix products, in every precision there is."""
        source, target = self.checkpoint("full")
        layers = self.args.layers
        rounds = self.args.rounds or 3
        whole, panel_cells = (
            self.file_of("immune", self.cells, 2),
            self.file_of("panel", self.panel, 2 if self.quick else 4),
        )
        for what, cells, bar in (
            (f"full width, {layers} layers", whole, 1.15),
            (f"full width, {layers} layers, 765-gene panel", panel_cells, 3.2),
        ):
            with self.side(OURS) as ours, self.side(REFERENCE) as theirs, self.side(LIMITS) as limits:
                faster = self._other_precisions(what, target)
                try:
                    self.load_both(ours, theirs, source, target)
                    theirs.ask("prepare", cells=cells)
                    rates: list[float] = []
                    sides = {
                        "ours": _between(
                            self.cost(ours, "embed", cells), lambda: limits.ask("products")["flops"], rates
                        ),
                        "arc-state": self.cost(theirs, "encode", cells),
                    }
                    sides |= {
                        f"ours, {precision}": self.cost(side, "embed", cells) for precision, side in faster.items()
                    }
                    found = self.alternate(sides, rounds)
                    dims = replace(DIMS["full"], nlayers=layers)
                    flop = needed_flop(dims, ours.ask("lengths", cells=cells)["tokens"])
                    self._judge_full(what, bar, found, rates, flop)
                    self._judge_precisions(what, found, ours, faster, cells)
                finally:
                    for side in faster.values():
                        side.end()
            if cells == whole:
                self._outside(what, cells, found["ours"].median)

    def _other_precisions(self, what: str, target: str) -> dict[str, Side]:
        """Open the model in the faster precisions that this machine has."""
        sides = {}
        for precision in ("int8", "bf16"):
            side = self.side(OURS, SE600M_ORT_LIBRARY=_library.find("openvino" if precision == "bf16" else "cpu"))
            try:
                side.ask("load", model=target, precision=precision)
            except SideError as error:
                side.end()
                print(error, file=sys.stderr)
                self.case.note(f"{what}: no {precision} here (se600m doctor tells why)")
            else:
                sides[precision] = side
        return sides

    def _judge_full(self, what: str, bar: float, found: dict[str, Spread], rates: list[float], flop: float) -> None:
        self.tell(what, "ms/cell", found, {
            "ours": "from the file to embeddings", "arc-state": "model and loader alone: its set-up takes seconds",
        })  # fmt: skip
        limit = Spread([1e3 * flop / rate for rate in rates])
        gflops = float(np.median(rates)) / 1e9
        note = f"{flop / 1e12:.3g} TFLOP needed at {gflops:.0f} GFLOP/s of matrix products"
        self.tell(what, "ms/cell", {"limit": limit}, {"limit": note})
        ratio = found["arc-state"].median / found["ours"].median
        self.case.judge(Bar(f"{what}, times arc-state", ratio, at_least=bar))
        shares = [most / own for most, own in zip(limit.values, found["ours"].values, strict=True)]
        if "panel" in what:
            self.case.note(f"{what}: {np.median(shares):.0%} of the rate of matrix products, needed operations only")
        else:
            self.case.judge(
                Bar(f"{what}, share of the rate of matrix products", float(np.median(shares)), at_least=0.9)
            )

    def _judge_precisions(
        self, what: str, found: dict[str, Spread], ours: Side, faster: dict[str, Side], cells: str
    ) -> None:
        exact = self._vectors(ours, cells)
        for precision, speed, cosine in (("int8", 2.0, 0.998), ("bf16", 1.7, 0.9999)):
            if precision not in faster:
                reason = f"no {precision} here"
                self.case.judge(Bar(f"{what}, {precision}, times fp32", None, at_least=speed, reason=reason))
                continue
            ratio = found["ours"].median / found[f"ours, {precision}"].median
            self.case.judge(Bar(f"{what}, {precision}, times fp32", ratio, at_least=speed))
            other = self._vectors(faster[precision], cells)
            least = float((exact * other).sum(1).min())
            if self.args.layers < DIMS["full"].nlayers:
                # The first layer's attention of random weights is nearly all or nothing, and may tip over.
                self.case.note(f"{what}, {precision}: least cosine to fp32 {least:.4f}")
                continue
            self.case.judge(Bar(f"{what}, {precision}, least cosine to fp32", least, at_least=cosine))

    def _vectors(self, side: Side, cells: str) -> np.ndarray:
        out = self.scratch / "embedding.npy"
        side.ask("embed", cells=cells, out=str(out))
        return np.load(out).astype(np.float64)

    def _outside(self, what: str, cells: str, milliseconds: float) -> None:
        """Judge what is outside ONNX Runtime: all that the same cells take where the model is next to nothing."""
        _, target = self.checkpoint("least")
        with self.side(OURS) as ours:
            ours.ask("load", model=target)
            ours.ask("embed", cells=cells)
            took = [ours.ask("embed", cells=cells) for _ in range(self.rounds)]
        spread = Spread([1e3 * answer["seconds"] / answer["cells"] for answer in took])
        self.tell(
            what, "ms/cell", {"outside ONNX Runtime": spread}, {"outside ONNX Runtime": "reading the file included"}
        )
        self.case.judge(Bar(f"{what}, share outside ONNX Runtime", spread.median / milliseconds, at_most=0.02))

    def start(self) -> None:
        """Time from the start of a process to a session, and its peak memory after two cells."""
        source, target = self.checkpoint("full")
        cells = self.file_of("immune", self.cells, 2)
        peaks: dict[str, list[float]] = {"ours": [], "arc-state": []}

        def once(name: str, script: str, model: str) -> Callable[[], float]:
            def run() -> float:
                with self.side(script) as side:
                    side.ask("load", model=model)
                    seconds = time.perf_counter() - side.started
                    peaks[name].append(side.ask("embed", cells=cells)["peak"] / 1e6)
                return seconds

            return run

        found = self.alternate(
            {"ours": once("ours", OURS, target), "arc-state": once("arc-state", REFERENCE, source)},
            self.args.rounds or 3,
        )
        self.tell("start to session", "s", found, {"ours": "the model was converted before; one gene is run"})
        memory = {side: Spread(values) for side, values in peaks.items()}
        self.tell("peak memory, two cells", "MB", memory, {"ours": "mapped files count"})
        ratio = found["ours"].median / found["arc-state"].median
        self.case.judge(Bar("start to session, of arc-state's", ratio, at_most=0.5))
        ratio = memory["ours"].median / memory["arc-state"].median
        self.case.judge(Bar("peak memory of two cells, of arc-state's", ratio, at_most=0.5))

    def scaling(self) -> None:
        """Time cells by the thousand through a narrow model; cost and memory must stay flat."""
        _, target = self.checkpoint("narrow")
        sizes = [1000, 5000, 20_000] if self.quick else [1000, 10_000, 100_000]
        cells = self.file_of("panel", self.panel, self.panel.n_obs)
        cost: dict[int, list[float]] = {n: [] for n in sizes}
        beyond: dict[int, list[float]] = {n: [] for n in sizes}
        with self.side(OURS) as ours:
            ours.ask("load", model=target)
            ours.ask("tile", cells=cells, times=-(-sizes[-1] // self.panel.n_obs))
            ours.ask("scale", cells=cells, n_cells=sizes[0])
            for number in range(min(self.rounds, 3)):
                for n in sizes if number % 2 == 0 else reversed(sizes):
                    # Fewer cells are run several times, so that every figure is of seconds.
                    took = ours.ask("scale", cells=cells, n_cells=n, times=max(1, 20_000 // n))
                    cost[n].append(1e6 * took["seconds"] / n)
                    beyond[n].append(took["beyond"] / 1e6)
        for n in sizes:
            self.tell("cost by number of cells, 765-gene panel", "µs/cell", {f"{n:,} cells": Spread(cost[n])})
            self.tell("memory beyond cells and output, 765-gene panel", "MB", {f"{n:,} cells": Spread(beyond[n])})
        medians = [Spread(cost[n]).median for n in sizes]
        worst = max(abs(m / medians[-1] - 1) for m in medians)
        span = f"{sizes[0]:,} to {sizes[-1]:,} cells"
        self.case.judge(Bar(f"cost per cell, {span}: largest deviation", worst, at_most=0.05))
        grown = Spread(beyond[sizes[-1]]).median - Spread(beyond[sizes[0]]).median
        self.case.judge(Bar(f"memory beyond cells and output, {span}: growth in MB", grown, at_most=32))

    def border(self) -> None:
        """Time the crossing from Python to Go."""
        _, target = self.checkpoint("least")
        with self.side(OURS) as ours:
            ours.ask("load", model=target)
            took = [ours.ask("border") for _ in range(self.rounds)]
        for what, key in (("a call", "call"), ("a job", "job"), ("4 MB in, 12 MB out", "megabytes")):
            self.tell("border to Go", "µs", {what: Spread([1e6 * answer[key] for answer in took])})

    def neighbours(self) -> None:
        """Time exact nearest neighbours of SE-600M's width beside scikit-learn's."""
        k, width = 15, DIMS["full"].output_dim
        random = np.random.default_rng(0)
        centre = random.standard_normal(width)  # so that cosines are about a half, as those of cells' embeddings
        files = {}
        for name, n in (("queries", 2000), ("reference", 10_000)):
            files[name] = str(self.scratch / f"{name}.npy")
            np.save(files[name], (random.standard_normal((n, width)) + centre).astype(np.float32))
        what = f"15 nearest of 2,000 × 10,000 cells, {width:,} wide"
        with self.side(OURS) as ours, self.side(SCIKIT) as theirs, self.side(LIMITS) as limits:
            rounds: dict[str, Callable[[], float]] = {
                "ours": lambda: ours.ask("nearest", **files, k=k)["seconds"],
                "limit": lambda: 2.0 * 2000 * 10_000 * width / limits.ask("products")["flops"],
            }
            for metric in ("cosine", "euclidean"):
                rounds[f"scikit-learn, {metric}"] = lambda metric=metric: theirs.ask(
                    "brute", **files, k=k, metric=metric
                )["seconds"]
            for once in rounds.values():
                once()  # not counted
            found = self.alternate(rounds)
        self.tell(what, "s", found, {
            "ours": "cosine, ranked in float64", "limit": "products of the matrices alone, float32",
        })  # fmt: skip
        for metric in ("cosine", "euclidean"):
            theirs_by_round = found[f"scikit-learn, {metric}"].values
            ratios = [most / own for most, own in zip(theirs_by_round, found["ours"].values, strict=True)]
            ratio = float(np.median(ratios))
            self.case.judge(Bar(f"nearest cells, times scikit-learn's ({metric})", ratio, at_least=1.5))


def _between(run: Callable[[], float], measure: Callable[[], float], into: list[float]) -> Callable[[], float]:
    """Run between two measurements, of which the mean is kept."""

    def once() -> float:
        before = measure()
        result = run()
        into.append((before + measure()) / 2)
        return result

    return once


CASES: dict[str, Callable[[Bench], None]] = {
    "tokenisation": Bench.tokenisation,
    "border": Bench.border,
    "tiny": Bench.small_model,
    "scaling": Bench.scaling,
    "full": Bench.full_width,
    "start": Bench.start,
    "neighbours": Bench.neighbours,
}


def main() -> int:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 layers, fewer rounds and cells")
    parser.add_argument("--layers", type=int, help="layers of the full-width model (16; 2 with --quick)")
    parser.add_argument("--rounds", type=int, help="rounds of every case")
    parser.add_argument("--only", choices=CASES, action="append", help="a case to run; may be repeated")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks", help="folder for the results")
    parser.add_argument(
        "--reference-python", type=Path, default=ROOT / ".venv-parity" / "bin" / "python",
        help="the Python that has arc-state, as make parity sets it up",
    )  # fmt: skip
    args = parser.parse_args()
    given = [f"--{name} {value}" for name, value in vars(args).items() if name in ("layers", "rounds") and value]
    given = [*(["--quick"] if args.quick else []), *given, *(f"--only {case}" for case in args.only or [])]
    command = f'make bench ARGS="{" ".join(given)}"' if given else "make bench"
    args.layers = args.layers or (2 if args.quick else 16)
    if not args.reference_python.exists():
        parser.error(f"{args.reference_python} does not exist: use make bench, which makes it, or name another")

    results = Results(machine.describe())
    with tempfile.TemporaryDirectory(prefix="se600m-bench-") as scratch:
        bench = Bench(args, results, Path(scratch))
        for name in args.only or CASES:
            print(f"— {name}", flush=True)
            date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
            results.cases[name] = bench.case = Case(command, date, machine.commit(ROOT), machine.load())
            try:
                CASES[name](bench)
            except SideError:
                print(bench.log.read_text()[-4000:], file=sys.stderr)
                raise
    bars = [bar for case in results.cases.values() for bar in case.bars]
    args.out.mkdir(parents=True, exist_ok=True)
    results.keep(args.out / "results.json", CASES)
    (args.out / "results.json").write_text(results.json())
    (args.out / "table.md").write_text(results.markdown())
    results.chart(args.out / "chart.png")
    print("", *(bar.line() for bar in bars), f"written to {args.out}", sep="\n")
    return 1 if any(bar.passed is False for bar in bars) else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
