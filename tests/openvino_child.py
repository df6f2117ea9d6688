"""Runs models on OpenVINO's ONNX Runtime, which needs a process of its own, and prints what came out as JSON."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

import anndata
import numpy as np

import jobs
import se600m
from conftest import IMMUNE


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Least cosine of rows, in float64."""
    a, b = a.reshape(-1, a.shape[-1]).astype(float), b.reshape(-1, b.shape[-1]).astype(float)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def numbers(small: str, parted: str) -> dict:
    """Compare OpenVINO in fp32 and bf16 with ONNX Runtime's own kernels, and bf16 with itself."""
    cells = anndata.read_h5ad(IMMUNE)[:6].copy()
    out: dict = {}
    for name, path in (("small", small), ("parted", parted)):
        fp32 = se600m.load_model(path)  # on ONNX Runtime's own kernels, of the same library
        openvino = se600m.load_model(path, device="openvino")
        bf16 = se600m.load_model(path, precision="bf16")
        rng = np.random.default_rng(0)
        indices = rng.integers(0, len(fp32.genes), (6, 90)).astype(np.int32)
        indices[:, 0] = fp32.cls_index
        given = indices, rng.random((6, 90), np.float32), rng.integers(1, 4, (6, 90)).astype(np.float32)
        want, _ = fp32.embed_sentences(*given)
        got, _ = bf16.embed_sentences(*given)
        out[name] = {
            "fp32": float(np.abs(openvino.embed_sentences(*given)[0] - want).max()),
            "bf16": cosine(got, want),
            "differs": not np.array_equal(got, want),
            "same": [
                np.array_equal(got, bf16.embed_sentences(*given, **options)[0])
                for options in ({"batch_size": 1}, {"batch_size": 4}, {"threads": 1})
            ],
        }
        if name == "parted":
            continue  # sentences of whole cells would be very long
        both = [m.embed(cells, copy=True, with_dataset_embedding=True).obsm["X_state"] for m in (fp32, bf16)]
        genes = fp32.genes[:3]
        out["names"] = [bf16.device, bf16.precision, openvino.device, openvino.precision, fp32.device, fp32.precision]
        out["provenance"] = {k: str(v) for k, v in bf16.embed(cells, copy=True).uns["X_state"].items()}
        out["cells"] = cosine(both[1], both[0])
        out["trace"] = cosine(bf16.trace(cells[:2])["embedding"], both[0][:2, : fp32.output_dim])
        out["decode"] = float(np.abs(bf16.decode(both[0], genes) - fp32.decode(both[0], genes)).max())
        out["contextual"] = cosine(*(m.contextual_gene_embeddings(cells).embeddings for m in (bf16, fp32)))
        again = se600m.load_model(path, device="openvino", precision="bf16")
        out["one model"] = again._opened is bf16._opened
    return out


def cancel(path: str) -> dict:
    """Press Ctrl-C in the middle of work of minutes."""
    model = se600m.load_model(path, precision="bf16")
    rng = np.random.default_rng(0)
    indices = rng.integers(0, len(model.genes), (20_000, 1500)).astype(np.int32)
    indices[:, 0] = model.cls_index
    values = np.ones(indices.shape, np.float32)
    with jobs.watched() as seen:
        seen.interrupt()
        try:
            model.embed_sentences(indices, values)
        except KeyboardInterrupt:
            interrupted = jobs.was_cancelled_in_the_middle(seen)
        else:
            interrupted = False
        model.embed_sentences(indices[:1], values[:1])
        return {"interrupted": interrupted, "after it": seen.ended[-1].outcome}


def signals(path: str) -> dict:
    """Have OpenVINO made and unmade on one thread and another, and interrupt all of them, as Go's runtime does."""
    model = se600m.load_model(path, precision="bf16")
    indices = np.full((4, 20), model.cls_index, np.int32)
    given = indices, np.ones(indices.shape, np.float32)
    for round_ in range(6):
        model.embed_sentences(*given, threads=1 + round_ % 2)
        for thread in os.listdir("/proc/self/task"):
            ctypes.CDLL(None).tgkill(os.getpid(), int(thread), signal.SIGURG)
    return {"rounds": round_ + 1}


if __name__ == "__main__":
    task = {"numbers": numbers, "cancel": cancel, "signals": signals}[sys.argv[1]]
    Path(sys.argv[2]).write_text(json.dumps(task(*sys.argv[3:])))
