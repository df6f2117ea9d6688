"""torch on the GPU, as a side of the benchmark: the reference's way of running the model, and plain products."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from network import StateModel, read
from torch.nn.attention import SDPBackend, sdpa_kernel
from worker import serve

ATTENTION = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

models: dict[str, StateModel] = {}
run: dict[str, Callable[..., torch.Tensor]] = {}
sentences: dict[str, torch.Tensor] = {}


def wait(device: str) -> None:
    """Wait for what was launched."""
    if device == "cuda":
        torch.cuda.synchronize()


def products(device: str, precision: str, tokens: int, d: int, d_hid: int, seconds: float) -> dict[str, Any]:
    """Multiply matrices of a layer's shapes, and tell the rate over all of them in FLOP/s."""
    torch.backends.cuda.matmul.allow_tf32 = False
    kind = {"dtype": TYPES[precision], "device": device}
    rates, flop, took = {}, 0.0, 0.0
    for name, inner, columns in (("qkv", d, 3 * d), ("out", d, d), ("linear1", d, d_hid), ("linear2", d_hid, d)):
        x, w = torch.randn(tokens, inner, **kind), torch.randn(columns, inner, **kind)
        out = torch.empty(tokens, columns, **kind)
        n, each = 1, 0.0
        while each * n < seconds / 4:
            n = n if not each else max(n + 1, int(seconds / 4 / each) + 1)
            torch.mm(x, w.t(), out=out)
            wait(device)
            start = time.perf_counter()
            for _ in range(n):
                torch.mm(x, w.t(), out=out)
            wait(device)
            each = (time.perf_counter() - start) / n
        one = 2.0 * tokens * inner * columns
        rates[name] = one / each
        flop, took = flop + one, took + each
    return {"flops": flop / took, "by_product": rates}


def load(checkpoint: str, device: str, precision: str, tokens: str) -> dict[str, Any]:
    """Read a checkpoint and the sentences."""
    models["it"] = read(checkpoint, TYPES[precision], device)
    run["eager"] = models["it"]
    with np.load(tokens) as arrays:
        sentences["genes"] = torch.from_numpy(arrays["gene_indices"].copy())
        sentences["genes"][:, 0] = 0  # [CLS] has no row in the table, and is put there by the model
        sentences["values"] = torch.from_numpy(arrays["expression_values"].copy())
    if device == "cuda":
        sentences.update({name: t.pin_memory() for name, t in sentences.items()})
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "on": name}


def compile(fullgraph: bool = True) -> dict[str, Any]:
    """Have torch compile the model, when it runs first."""
    run["compiled"] = torch.compile(models["it"], fullgraph=fullgraph, dynamic=False)
    return {}


@contextlib.contextmanager
def attention(name: str) -> Iterator[None]:
    """Let one kernel of attention be used, or torch choose."""
    with sdpa_kernel(ATTENTION[name]) if name else contextlib.nullcontext():
        yield


def embed(how: str, kernel: str, device: str, cells: int, batch: int, out: str | None = None) -> dict[str, Any]:
    """Embed sentences from the host's memory, in batches of the same shape, into the host's memory."""
    n = len(sentences["genes"])
    made = []
    start = time.perf_counter()
    with torch.inference_mode(), attention(kernel):
        for first in range(0, cells, batch):
            rows = slice(first % n, first % n + batch)
            genes, values = (sentences[name][rows].to(device, non_blocking=True) for name in ("genes", "values"))
            made.append(run[how](genes, values))
        result = torch.cat(made)[:cells].cpu()
    seconds = time.perf_counter() - start
    if out:
        np.save(out, result.numpy())
    return {"cells": cells, "seconds": seconds}


if __name__ == "__main__":
    serve(products=products, load=load, compile=compile, embed=embed)
