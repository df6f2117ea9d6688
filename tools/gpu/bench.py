"""Speed, memory and accuracy on a GPU, beside torch and the rate of plain matrix products, in one run.

    make gpu-bench [ARGS="--seconds 5"]

Every side is a process that works when it is told to; sides take turns, in an order that alternates from round to
round. The model has SE-600M's width and depth and random weights, which are made on the spot; sentences are whole
transcriptomes, filled up by the policy "shared". Writes results.json and table.md into the folder --out. Exit code 1 if
a bar does not hold or a side that a bar needs failed. With --dry everything runs on the processor with a small model,
which only shows that the benchmark works, and any failure counts.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "bench"), str(ROOT / "tools")]

import machine  # noqa: E402
from checkpoints import FULL, TINY, needed_flop  # noqa: E402
from nvml import Watch  # noqa: E402
from worker import Side, SideError  # noqa: E402

from se600m import _cuda_libraries, _library, _native  # noqa: E402

HERE = Path(__file__).parent
PRECISIONS = ("fp16", "bf16", "fp32")
SENTENCES = 256
"""Different ones; a run repeats them."""
TORCH = "torch bf16, "
COMPILED = TORCH + "compiled"


class Bench:
    """One run: its sides, and what was found."""

    def __init__(self, args: argparse.Namespace, scratch: Path) -> None:
        self.args, self.scratch = args, scratch
        self.device = "cpu" if args.dry else "cuda"
        self.dims = replace(TINY, nlayers=2, pad_length=256) if args.dry else replace(FULL, nlayers=args.layers)
        self.batch = 4 if args.dry else args.batch
        self.sides: dict[str, Side] = {}
        self.runs: dict[str, Callable[..., dict[str, Any]]] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.cells: dict[str, int] = {}
        self.result: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "dry": args.dry, "machine": machine.describe(), "commit": _commit(),
            "gpu": _native.describe_driver(_cuda_libraries.driver()), "dims": vars(self.dims), "batch": self.batch,
            "versions": {}, "rows": self.rows, "failures": {},
        }  # fmt: skip

    # -- sides ---------------------------------------------------------------------------------

    def start(self, name: str, script: str) -> Side:
        """Start a side."""
        own = [str(ROOT / "tools" / "bench"), str(ROOT / "tools"), str(HERE)]
        path = os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])
        python = Path(sys.executable) if script == "gpu_ours.py" else self.args.torch_python
        side = Side(python, str(HERE / script), self.args.out / "log.txt", {"PYTHONPATH": path})
        self.sides[name] = side
        return side

    def end(self) -> None:
        """Let all sides end."""
        for side in self.sides.values():
            with contextlib.suppress(OSError):
                side.end()

    def attempt(self, what: str, do: Callable[[], Any]) -> Any:
        """Do something that may not work here: what went wrong is noted, and the rest goes on."""
        try:
            return do()
        except SideError as error:
            print(f"{what}: {error}", file=sys.stderr)
            self.result["failures"][what] = str(error)
            return None

    def add(self, name: str, run: Callable[..., dict[str, Any]], before: int | None) -> None:
        """Warm up a way to embed, note its memory, its cosine to the processor's fp32, and cells for its rounds.

        ``before`` is the device's memory in use before the side opened its model.
        """
        out = self.scratch / "embedding.npy"
        few = 2 * self.batch

        def first() -> None:
            with Watch() as watch:
                run(few, out=str(out))
                took = run(few)["seconds"]
                again = run(min(self._cells(few / took), 16 * self.batch))
            rate = again["cells"] / again["seconds"]
            self.cells[name] = self._cells(rate)
            self.runs[name] = run
            self.rows[name] = {
                "cosine": self._cosine(np.load(out)),
                "memory": None if watch.peak is None or before is None else watch.peak - before,
                "rates": [], "utilisation": [],
            }  # fmt: skip

        self.attempt(name, first)

    def _cells(self, rate: float) -> int:
        """Tell for how many cells a round takes as long as it should."""
        return max(2, round(rate * self.args.seconds / self.batch)) * self.batch

    def _cosine(self, got: np.ndarray) -> float:
        want = self.exact.astype(np.float64)
        got = got[: len(want)].astype(np.float64)
        return float(((got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)).min())

    # -- steps ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write the checkpoint, convert it, and embed a few sentences on the processor in fp32."""
        source, self.model = self.scratch / "random.ckpt", str(self.scratch / "converted")
        code = "import checkpoints, json, sys; from pathlib import Path; d = json.loads(sys.argv[2])\n"
        code += "checkpoints.DIMS['x'] = checkpoints.Dims(**d); checkpoints.write(Path(sys.argv[1]), 'x', d['nlayers'])"
        path = os.pathsep.join([str(ROOT / "tools" / "bench"), str(ROOT / "tools"), *sys.path])
        command = [sys.executable, "-W", "ignore", "-c", code, str(source), json.dumps(vars(self.dims))]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
        self.source, self.tokens, out = str(source), str(self.scratch / "tokens.npz"), str(self.scratch / "exact.npy")
        import anndata

        cells = anndata.read_h5ad(ROOT / "tests" / "data" / "immune559.h5ad")
        self.cells_file = str(self.scratch / "cells.h5ad")
        cells[np.linspace(0, cells.n_obs - 1, SENTENCES).astype(int)].copy().write_h5ad(self.cells_file)
        side = self.start("cpu", "gpu_ours.py")
        side.ask("convert", source=self.source, target=self.model)
        side.ask("tokens", model=self.model, cells=self.cells_file, out=self.tokens)
        side.ask("load", **self.ours("cpu", "fp32"))
        side.ask("embed", cells=self.args.few, out=out)
        self.exact = np.load(out)
        side.end()

    def ours(self, device: str, precision: str) -> dict[str, str]:
        """Give what a side of this package opens."""
        return {
            "model": self.model, "device": device, "precision": precision, "tokens": self.tokens,
            "cells": self.cells_file,
        }  # fmt: skip

    def open_ours(self) -> None:
        """Open this package's sides."""
        for precision in ("fp32",) if self.args.dry else PRECISIONS:
            side, before = self.start(precision, "gpu_ours.py"), _used()
            said = self.attempt(precision, lambda s=side, p=precision: s.ask("load", **self.ours(self.device, p)))
            if said is None:
                continue
            self.result["versions"] |= {name: said[name] for name in ("se600m", "onnxruntime")}

            def run(cells: int, out: str | None = None, side: Side = side) -> dict[str, Any]:
                return side.ask("embed", cells=cells, out=out)

            def whole(cells: int, out: str | None = None, side: Side = side) -> dict[str, Any]:
                side.ask("embed", cells=cells, out=out) if out else None
                return side.ask("whole", cells=cells)

            self.add(f"se600m {precision}", run, before)
            if precision in ("fp16", "fp32"):
                self.add(f"se600m {precision}, from an AnnData", whole, before)

    def open_torch(self) -> None:
        """Open torch in the ways that it can run the model, each in a process of its own.

        Which kernel of attention is used is settled when a model is compiled, whatever is chosen later.
        """
        kernels = ("", "flash") if self.args.dry else ("", "flash", "cudnn")
        for how, kernel in (("eager", ""), *(("compiled", kernel) for kernel in kernels)):
            name = f"{TORCH}{how}{f', {kernel} attention' if kernel else ''}"
            side, before = self.start(name, "gpu_torch.py"), _used()

            def load(side: Side = side, how: str = how) -> dict[str, Any]:
                said = side.ask(
                    "load", checkpoint=self.source, device=self.device, precision="bf16", tokens=self.tokens
                )
                if how == "compiled":
                    side.ask("compile")
                return said

            def run(
                cells: int, out: str | None = None, side: Side = side, how: str = how, kernel: str = kernel
            ) -> dict[str, Any]:
                return side.ask(
                    "embed", how=how, kernel=kernel, device=self.device, cells=cells, batch=self.batch, out=out
                )

            said = self.attempt(name, load)
            if said is not None:
                named = {"torch": "torch", "its CUDA": "cuda", "its cuDNN": "cudnn"}
                self.result["versions"] |= {name: said[key] for name, key in named.items()}
                self.add(name, run, before)

    def measure(self) -> None:
        """Run rounds of all sides, products among them."""
        precisions = ("bf16",) if self.args.dry else PRECISIONS
        limits = self.start("products", "gpu_torch.py")
        rates: dict[str, list[float]] = {precision: [] for precision in precisions}
        tokens = self.batch * (self.dims.pad_length + 1)

        def products() -> None:
            for precision in precisions:
                said = self.attempt(f"products, {precision}", lambda p=precision: limits.ask(
                    "products", device=self.device, precision=p, tokens=tokens, d=self.dims.emsize,
                    d_hid=self.dims.d_hid, seconds=0.2 if self.args.dry else 1.0,
                ))  # fmt: skip
                if said:
                    rates[precision].append(said["flops"])

        order = list(self.runs)
        for _ in range(self.args.rounds):
            products()
            for name in order:
                with Watch() as watch:
                    said = self.attempt(name, lambda n=name: self.runs[n](self.cells[n]))
                if said:
                    self.rows[name]["rates"].append(said["cells"] / said["seconds"])
                    self.rows[name]["utilisation"].append(watch.busy)
            order.reverse()
        self.result["products"] = rates
        flop = self.result["flop_per_cell"] = needed_flop(self.dims, self.dims.pad_length + 1)
        for name, row in self.rows.items():
            precision = next(p for p in PRECISIONS if p in name)
            row["cells_per_second"] = float(np.median(row["rates"])) if row["rates"] else None
            most = float(np.median(rates[precision])) if rates.get(precision) else None
            row["share"] = row["cells_per_second"] * flop / most if most and row["rates"] else None
            seen = [share for share in row.pop("utilisation") if share is not None]
            row["utilisation"] = float(np.median(seen)) if seen else None

    def trace(self) -> None:
        """See how busy the GPU is, in a process that torch's tracer watches."""
        if self.args.dry:
            return
        side = self.start("traced", "gpu_ours.py")
        cells = 10 * self.batch

        def traced() -> dict[str, Any]:
            side.ask("import_torch")
            side.ask("load", **self.ours(self.device, "fp16"))
            side.ask("embed", cells=cells)
            return side.ask("busy", cells=cells)

        said = self.attempt("traced", traced)
        if said:
            self.result["traced"] = {name: said[name] for name in ("kernels", "busy")}

    def judge(self) -> list[str]:
        """Compare with what is asked for; gives the bars that do not hold."""

        def rate(name: str) -> float | None:
            return self.rows.get(name, {}).get("cells_per_second")

        compiled = [r for name in self.rows if name.startswith(COMPILED) and (r := rate(name))]
        fastest = max(compiled, default=None)
        best, eager = rate("se600m fp16"), rate(TORCH + "eager")
        least = [self.rows.get(f"se600m {p}", {}).get("cosine") for p in ("fp16", "bf16")]
        busy = (self.result.get("traced") or {}).get("busy") or self.rows.get("se600m fp16", {}).get("utilisation")
        bars: list[tuple[str, float | None, float]] = [
            ("fp16: share of the rate of products", self.rows.get("se600m fp16", {}).get("share"), 0.65),
            ("fp16: times torch in bf16, eager, as the reference runs", best / eager if best and eager else None, 1.6),
            ("fp16: times torch, compiled, with its fastest attention", best and fastest and best / fastest, 0.95),
            ("fp16 and bf16: least cosine to the processor's fp32", min(least) if None not in least else None, 0.9995),
            ("fp16: share of the time that the GPU is busy", busy, 0.95),
        ]  # fmt: skip
        self.result["bars"] = [{"what": w, "found": found, "at_least": bar} for w, found, bar in bars]
        return [w for w, found, bar in bars if found is None or found < bar]


def _commit() -> str:
    """Tell the commit: the repository's, or what a kit was packed from."""
    packed = ROOT / "COMMIT"
    return packed.read_text().strip() if packed.exists() else machine.commit(ROOT)


def _used() -> int | None:
    """Tell the device's memory in use."""
    with Watch() as watch:
        pass
    return watch.peak


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def table(result: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    gpus = ", ".join(d["name"] for d in result["gpu"]["devices"]) or "no GPU"
    lines = [
        f"{'DRY RUN on the processor: the figures mean nothing. ' if result['dry'] else ''}{gpus}, {result['date']}, "
        f"commit {result['commit']}, " + ", ".join(f"{k} {v}" for k, v in result["versions"].items() if v),
        "",
        "| | cells/s | share of products | least cosine to fp32 | GPU utilisation | memory, GB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["rows"].items():
        memory = None if row["memory"] is None else row["memory"] / 1e9
        cells = (_number(row["cells_per_second"], ".1f"), _number(row["share"], ".0%"), _number(row["cosine"], ".6f"),
                 _number(row["utilisation"], ".0%"), _number(memory, ".1f"))  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "Rates of products: " + ", ".join(
        f"{p} {np.median(r) / 1e12:.3g} TFLOP/s" for p, r in result["products"].items() if r
    ) + f"; a cell needs {result['flop_per_cell'] / 1e12:.3g} TFLOP, counted alike for all rows."]  # fmt: skip
    if not result["dry"]:
        lines += ["", "| bar | found | at least |", "|---|---:|---:|"]
        lines += [f"| {b['what']} | {_number(b['found'], '.4g') or 'not measured'} | {b['at_least']} |"
                  for b in result["bars"]]  # fmt: skip
    lines += ["", *(f"Failed: {what}: {text.splitlines()[0]}" for what, text in result["failures"].items())]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "gpu", help="folder for the results")
    parser.add_argument("--torch-python", type=Path, default=Path(sys.executable), help="a Python that has torch")
    parser.add_argument("--layers", type=int, default=FULL.nlayers)
    parser.add_argument("--batch", type=int, default=32, help="cells in torch's batches; a divisor of 256")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one round of one side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=4, help="cells that are compared with the processor's fp32")
    parser.add_argument("--dry", action="store_true", help="a small model on the processor")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "log.txt").unlink(missing_ok=True)
    if not args.dry and (missing := _library.lacks_for_gpu()):
        sys.exit(f"no GPU can be used: {missing}")
    with tempfile.TemporaryDirectory(prefix="se600m-gpu-") as scratch:
        bench = Bench(args, Path(scratch))
        try:
            for step in (bench.prepare, bench.open_ours, bench.open_torch, bench.measure, bench.trace):
                print(f"{step.__name__} …", file=sys.stderr)
                step()
        finally:
            bench.end()
        failed = bench.judge()
    (args.out / "results.json").write_text(json.dumps(bench.result, indent=1) + "\n")
    text = table(bench.result)
    (args.out / "table.md").write_text(text)
    print(text)
    return int(bool(bench.result["failures"] if args.dry else failed))


if __name__ == "__main__":
    sys.exit(main())
