"""Runs models on stand-in GPUs, which need a process of their own, and writes what came out as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anndata
import numpy as np

import se600m
from conftest import IMMUNE
from se600m import _cells, errors
from se600m._options import CellOptions


def embed(path: str, device: str) -> dict:
    """Embed cells on a device."""
    cells = anndata.read_h5ad(IMMUNE)[:6].copy()
    model = se600m.load_model(path, device=device.split(",") if "," in device else device)
    model.embed(cells)
    x = cells.obsm["X_state"]
    return {
        "device": model.device,
        "precision": model.precision,
        "provider": str(cells.uns["X_state"]["provider"]),
        "shape": list(x.shape),
        "largest": float(np.abs(x).max()),
    }


def on_the_cpu(path: str) -> list:
    """Embed cells on the processor, by the GPU build's own kernels for it."""
    cells = anndata.read_h5ad(IMMUNE)[:6].copy()
    return se600m.load_model(path, device="cpu").embed(cells, copy=True).obsm["X_state"].tolist()


def fail(path: str, device: str) -> dict:
    """Tell the error of embedding on a device, and whether the data is as it was."""
    cells = anndata.read_h5ad(IMMUNE)[:6].copy()
    try:
        se600m.load_model(path, device=device).embed(cells)
    except errors.SE600MError as error:
        return {"error": type(error).__name__, "text": str(error), "obsm": list(cells.obsm), "uns": list(cells.uns)}
    raise AssertionError("there was no error")


def told(path: str, device: str) -> dict:
    """Tell what doctor and the estimate of the time say of devices."""
    run = _cells.Cells(
        se600m.load_model(path, device=device)._opened, anndata.read_h5ad(IMMUNE)[:6], CellOptions()
    )._run()
    return {"on": run.on, "faster": list(run.faster()), "doctor": {c.name: c.found for c in se600m.doctor()}}


if __name__ == "__main__":
    task = {"embed": embed, "cpu": on_the_cpu, "fail": fail, "told": told}[sys.argv[1]]
    Path(sys.argv[2]).write_text(json.dumps(task(*sys.argv[3:])))
