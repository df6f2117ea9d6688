"""Tokenise and embed a file of many cells with a tiny model: peak memory, and where the time goes.

    python tools/scale/measure.py cells.h5ad

The model is random and made on the spot, over the genes of make_cells.py. Each task runs in a process of its own, which
first does the same with a few cells: what the run with all cells needs beyond that is what it needs for the cells.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import statefiles
from scale import make_cells

TASK = """
import json, sys
import se600m
task, model, cells, few, out, memory = sys.argv[1:]
model = se600m.load_model(model)
def run(source, name):
    if task == "tokenize":
        return se600m.tokenize_file(source, f"{out}/{name}.npz", model=model, memory=memory)
    return se600m.embed_file(source, f"{out}/{name}{task}", model=model, memory=memory)
before = run(few, "first").report["peak_memory_bytes"]
report = run(cells, "all").report
print(json.dumps({"over": report["peak_memory_bytes"] - before, "before": before, **report}))
"""


def tiny_model(folder: Path, width: int, layers: int, slots: int) -> Path:
    """Write a checkpoint of a model with the genes of make_cells.py."""
    genes = make_cells.genes()
    sizes = {"token_dim": 16, "emsize": width, "d_hid": width, "nhead": 4, "nlayers": layers, "output_dim": width}
    dims = statefiles.Dims(n_genes=len(genes), pad_length=slots, **sizes)
    options = {"dataset_correction": True, "encoding": "soft-bins", "read_depth": True}
    state = statefiles.random_state(dims, 0, decoder=True, **options)
    table = np.random.default_rng(1).standard_normal((len(genes), dims.token_dim), np.float32)
    rows = {gene: statefiles.Row(table, i) for i, gene in enumerate(genes)}
    statefiles.save_folder(folder, state, statefiles.config_text(dims, **options), rows)
    return folder


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument(
        "--out", type=Path, help="Folder for results, which are thrown away; by default, beside the cells."
    )
    parser.add_argument("--memory", default="512MB")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=128)
    parser.add_argument("--tasks", nargs="+", default=["tokenize", ".npy", ".h5ad"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.out or given.cells.parent) as name:
        folder = Path(name)
        model = tiny_model(folder / "model", given.width, given.layers, given.slots)
        make_cells.write(folder / "few.h5ad", 2_000, 2_000, 1, None)
        columns = ("opening", "checking", "reading", "waiting", "computing", "writing", "assembling", "total")
        print(
            f"| task | cells | MB over the model's | cells/s | {' | '.join(f'{c} (s)' for c in columns)} | in and out |"
        )
        print("|---|" + "---:|" * (len(columns) + 4))
        for task in given.tasks:
            arguments = [task, model, given.cells, folder / "few.h5ad", folder, given.memory]
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", TASK, *map(str, arguments)], check=True, stdout=subprocess.PIPE
            )
            said = json.loads(done.stdout)
            seconds = said["seconds"]
            # What is read while other cells are computed costs nothing.
            share = (seconds["waiting"] + seconds["writing"] + seconds["assembling"]) / seconds["total"]
            times = " | ".join(f"{seconds[c]:.1f}" for c in columns)
            rate = said["n_cells"] / seconds["total"]
            print(
                f"| {task} | {said['n_cells']:,} | {said['over'] / 1e6:.0f} | {rate:,.0f} | {times} | {share:.1%} |",
                flush=True,
            )
            for path in folder.glob("all*"):
                path.unlink()


if __name__ == "__main__":
    main()
