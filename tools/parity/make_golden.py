"""Writes tests/golden: small checkpoints and what arc-state 0.11.1 makes of them.

    make golden

The numbers come from the reference, in the environment that ``make parity`` makes; tests/golden/README.md
says what each file holds.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import anndata
import numpy as np
import torch
from checkpoints import Random, save_legacy
from reference import Reference

from statefiles import Dims

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
IMMUNE = ROOT / "tests" / "data" / "immune559.h5ad"
CELLS = [0, 186, 372, 558]
NOT_IN_THE_DATA = 5


@dataclass(frozen=True)
class Fixture:
    """A checkpoint to make: its dimensions, and the container that it is written in."""

    name: str
    dims: Dims
    container: str
    dataset_correction: bool = True

    def save(self, model: Random, folder: Path) -> None:
        """Write the model in the fixture's container."""
        match self.container:
            case "folder":
                model.save_folder(folder)
            case "ckpt":
                model.save_ckpt(folder / "epoch=0.ckpt")
            case "old lightning":
                model.save_old_lightning(folder / "epoch=0.ckpt", folder / "protein_embeddings.pt")
            case "float16" | "bfloat16":
                model.save_half(folder / "half.ckpt", getattr(torch, self.container))
            case _:
                raise ValueError(self.container)

    def open(self, model: Random, folder: Path, scratch: Path) -> Reference:
        """Open what was written with the reference, or a .ckpt of the same weights where it reads no other."""
        match self.container:
            case "folder":
                model.save_ckpt(scratch / "x.ckpt")
                table = torch.load(folder / "protein_embeddings.pt")
                return Reference(scratch / "x.ckpt", table, (folder / "config.yaml").read_text())
            case "old lightning":
                return Reference(folder / "epoch=0.ckpt", torch.load(folder / "protein_embeddings.pt"))
        return Reference(next(folder.glob("*.ckpt")))


def dims(n_genes: int, token: int, emsize: int, d_hid: int, nhead: int, nlayers: int, output: int, pad: int) -> Dims:
    """Name dimensions, in the order of the table in tests/golden/README.md."""
    return Dims(n_genes, token, emsize, d_hid, nhead, nlayers, output, pad)


FIXTURES = [
    Fixture("heads1", dims(300, 12, 16, 40, 1, 2, 24, 64), "folder"),
    Fixture("heads4", dims(520, 16, 32, 24, 4, 3, 20, 300), "ckpt"),
    Fixture("heads7", dims(2150, 10, 28, 36, 7, 2, 18, 2048), "folder", dataset_correction=False),
    Fixture("heads16", dims(400, 9, 48, 32, 16, 2, 12, 300), "old lightning"),
    Fixture("float16", dims(300, 14, 24, 32, 4, 2, 16, 64), "float16"),
    Fixture("bfloat16", dims(300, 14, 24, 32, 4, 2, 16, 64), "bfloat16", dataset_correction=False),
]


def vocabulary(adata: anndata.AnnData, n_genes: int, random: np.random.Generator) -> list[str]:
    """Pick the genes of the data that are expressed most, and a few that it lacks, in random order."""
    totals = np.asarray(adata.X.sum(0)).ravel()
    most = np.argsort(-totals, kind="stable")[: n_genes - NOT_IN_THE_DATA]
    genes = [*adata.var_names[most], *(f"ABSENT{i}" for i in range(NOT_IN_THE_DATA))]
    return [genes[i] for i in random.permutation(n_genes)]


def continuous(genes: list[str], pad_length: int, random: np.random.Generator) -> anndata.AnnData:
    """Cells whose values are all different, so that the rules leave nothing to chance.

    Cell 0 holds log1p values, cell 1 raw values, each with more expressed genes than slots, cell 2 as many as
    slots. A tenth of the genes is unknown to the model.
    """
    names = [*genes, *(f"UNKNOWN{i}" for i in range(len(genes) // 10))]
    x = random.uniform(0.01, 4, (3, len(names))).astype(np.float32)
    x[1] = np.expm1(x[1] * 1.5)  # up to 400
    known = np.flatnonzero(random.permutation(len(names)) < len(names))
    known = known[known < len(genes)]
    x[2, known[pad_length - 1 :]] = 0
    order = random.permutation(len(names))
    adata = anndata.AnnData(x[:, order])
    adata.var_names = np.array(names)[order]
    return adata


def make(fixture: Fixture, immune: anndata.AnnData, seed: int) -> None:
    """Write one checkpoint and the reference's numbers."""
    random = np.random.default_rng(seed)
    genes = vocabulary(immune, fixture.dims.n_genes, random)
    model = Random(fixture.dims, genes, seed=seed, dataset_correction=fixture.dataset_correction)
    folder = GOLDEN / fixture.name
    folder.mkdir()
    fixture.save(model, folder)
    with tempfile.TemporaryDirectory() as scratch:
        reference = fixture.open(model, folder, Path(scratch))
    assert reference.genes == genes
    drawn = reference.collator(immune[CELLS].copy()).draw(seed)
    embedding, dataset_embedding = reference.embed(drawn.tokens, drawn.values)
    some = random.choice(fixture.dims.n_genes, 16, replace=False)
    names = [genes[i] for i in some]
    synthetic = continuous(genes, fixture.dims.pad_length, random)
    ranked = reference.collator(synthetic).draw(seed)
    expected = {
        "cells": np.array(CELLS, np.int32),
        "tokens": drawn.tokens.astype(np.int32),
        "values": drawn.values,
        "embedding": embedding,
        "genes": some.astype(np.int32),
        "gene_embeddings": reference.gene_embeddings(names),
        "decoded_4": reference.decode(embedding, names, 4.0, dataset_embedding),
        "decoded_7": reference.decode(embedding, names, 7.5, dataset_embedding),
        "synthetic_x": synthetic.X,
        "synthetic_genes": np.array(synthetic.var_names, dtype=str),
        "synthetic_tokens": ranked.tokens.astype(np.int32),
        "synthetic_values": ranked.values,
    }
    if dataset_embedding is not None:
        expected["dataset_embedding"] = dataset_embedding
    np.savez_compressed(folder / "expected.npz", **expected)


def judged_cells() -> dict[str, np.ndarray]:
    """Make cells on both sides of both thresholds of the decision raw or log1p, in several types.

    The second threshold, 5,000,000 molecules, is kept away from by 1.5e-4 of it: nearer, the reference's
    answer hangs on the rounding of a float32 sum.
    """
    random = np.random.default_rng(35)
    n_genes = 200
    beside = np.array([-0.5, -1e-1, -1e-2, -1e-3, -1.5e-4, 1.5e-4, 1e-3, 1e-2, 1e-1, 0.5, 3.0])
    shares = random.dirichlet(np.full(n_genes, 0.2), len(beside))
    near_total = np.log1p(shares * (5_000_000 * (1 + beside[:, None])))
    near_maximum = np.zeros((6, n_genes))
    near_maximum[:, :50] = random.uniform(0, 2, (6, 50))
    near_maximum[:, 60] = [15.42, 15.43, 34.9, 35, 36, 1000]  # expm1(15.424948…) is 5,000,000
    counts = random.poisson(1.0, (8, n_genes))
    tops = ([15, 15], [15, 14, 13], [15, 14, 13, 12], [16], [34], [35], [36], [])
    for row, largest in zip(counts, tops, strict=True):
        row[:50] = np.minimum(row[:50], 9)
        row[: len(largest)] = largest
    values = np.concatenate([near_total, near_maximum])
    return {
        "float64": values,
        "float32": values.astype(np.float32),
        "int64": counts,
        "int32": counts.astype(np.int32),
    }


def make_judged() -> None:
    """Write cells, and what the reference takes them for."""
    genes = [f"G{i}" for i in range(200)]
    model = Random(dims(200, 6, 8, 12, 2, 1, 5, 64), genes, seed=35, dataset_correction=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_ckpt(Path(scratch) / "x.ckpt")
        reference = Reference(Path(scratch) / "x.ckpt")
    arrays = {}
    for dtype, x in judged_cells().items():
        adata = anndata.AnnData(x)
        adata.var_names = genes
        arrays |= {dtype: x, f"{dtype}_raw": reference.collator(adata).is_raw()}
    np.savez_compressed(GOLDEN / "judged.npz", **arrays)


def main() -> None:
    """Write everything anew."""
    torch.set_num_threads(1)
    immune = anndata.read_h5ad(IMMUNE)
    for path in GOLDEN.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    for seed, fixture in enumerate(FIXTURES, start=600):
        make(fixture, immune, seed)
    save_legacy(GOLDEN / "legacy.ckpt", {"state_dict": {}, "cfg_yaml": "model: {}"})
    make_judged()
    packages = ("arc-state", "torch", "lightning", "omegaconf", "numpy", "anndata")
    made_with = {"python": sys.version.split()[0], **{name: version(name) for name in packages}}
    (GOLDEN / "made_with.json").write_text(json.dumps(made_with, indent=2) + "\n")
    size = sum(p.stat().st_size for p in GOLDEN.rglob("*") if p.is_file())
    print(f"{GOLDEN.relative_to(ROOT)}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
