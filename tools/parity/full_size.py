"""A random model of SE-600M's full size: conversion and two cells, with the memory that they take.

Steps run in processes of their own, one after the other, and each tells its peak resident memory: pages of
mapped files count in it, although the system could take them back at any time.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from report import Report

import se600m
from statefiles import Dims, Row, config_text, save_torch

DIMS = Dims(
    n_genes=19_790, token_dim=5120, emsize=2048, d_hid=2048, nhead=16, nlayers=16, output_dim=2048, pad_length=2048,
    num_datasets=14_420,
)  # fmt: skip
N_PARAMETERS = 715_062_442
N_TENSORS = 238
EMBED_PARAMETERS = 464.5e6
"""Of the embed graph: folded table, 16 layers, head."""


def peak_memory() -> dict[str, int]:
    """Tell this process's peak resident memory in bytes, and what is resident now, private and mapped.

    From /proc and not from getrusage, whose figure a process inherits from the one that started it.
    """
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[key].split()[0]) * 1024 for name, key in
            (("peak", "VmHWM"), ("private", "RssAnon"), ("mapped", "RssFile"))}  # fmt: skip


def shapes() -> dict[str, tuple[int, ...]]:
    """List names and shapes of the reference's own model, which allocates nothing."""
    import torch
    from checkpoints import hyper_parameters
    from omegaconf import OmegaConf
    from state.emb.nn.model import StateEmbeddingModel

    with torch.device("meta"):
        module = StateEmbeddingModel(**hyper_parameters(DIMS, cfg=OmegaConf.create(config_text(DIMS))))
    found = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    return {**found, "pe_embedding.weight": (DIMS.n_genes, DIMS.token_dim)}


def draw(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Draw one tensor so that signals keep their size from layer to layer."""
    values = random.standard_normal(shape, np.float32)
    if len(shape) == 1:
        norm = "norm" in name or name.startswith(("encoder.1", "dataset_encoder.2"))
        return 1 + values * np.float32(0.2) if norm and name.endswith("weight") else values * np.float32(0.1)
    if name.endswith("token") or "embedding.weight" in name or name == "bin_encoder.weight":
        return values
    return values * np.float32((4 if name == "encoder.0.weight" else 1) / math.sqrt(shape[1]))


def generate(folder: Path) -> dict[str, Any]:
    """Write model.safetensors, config.yaml and protein_embeddings.pt, one tensor at a time."""
    found = shapes()
    n_parameters = sum(math.prod(shape) for shape in found.values())
    header, offset = {}, 0
    for name, shape in found.items():
        end = offset + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    table = None
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in found.items():
            # gene_embedding_layer is the encoder once more.
            drawn = name.replace("gene_embedding_layer.", "encoder.")
            values = draw(drawn, shape, np.random.default_rng([600, list(found).index(drawn)]))
            values.tofile(file)
            if name == "pe_embedding.weight":
                table = values
            del values
    (folder / "config.yaml").write_text(config_text(DIMS))
    known = [*se600m.load_model().genes, *(f"ABSENT{i}" for i in range(DIMS.n_genes))][: DIMS.n_genes]
    save_torch(folder / "protein_embeddings.pt", {gene: Row(table, i) for i, gene in enumerate(known)})
    return {"n_parameters": n_parameters, "n_tensors": len(found)}


def baseline() -> dict[str, Any]:
    """Import what every step imports."""
    return {}


def convert(source: Path, target: Path) -> dict[str, Any]:
    """Convert, as a user does."""
    se600m.convert(source, target, progress=False)
    return {}


def embed(model: Path, cells: Path, out: Path) -> dict[str, Any]:
    """Embed cells, as a user does, and keep their sentences for torch."""
    adata = anndata.read_h5ad(cells)
    opened = se600m.load_model(model)
    start = time.perf_counter()
    made = opened.compute(adata, progress=False)
    seconds = time.perf_counter() - start
    memory = peak_memory()
    sentences = opened.tokenize(adata)
    np.savez(
        out,
        embedding=made.embedding,
        dataset=made.dataset_embedding,
        indices=sentences.gene_indices,
        values=sentences.expression_values,
    )
    return {"seconds": seconds, **memory}


def torch_forward(source: Path, sentences: Path, out: Path) -> dict[str, Any]:
    """Run the reference's model on the same sentences, with its weights mapped from the checkpoint."""
    import torch
    from checkpoints import hyper_parameters
    from omegaconf import OmegaConf
    from safetensors.torch import load_file
    from state.emb.nn.model import StateEmbeddingModel

    with torch.device("meta"):
        # dropout=0 is what Inference.load_model sets, too.
        arguments = hyper_parameters(DIMS, cfg=OmegaConf.create(config_text(DIMS))) | {"dropout": 0.0}
        module = StateEmbeddingModel(**arguments)
    state = load_file(source / "model.safetensors")
    module.pe_embedding = torch.nn.Embedding.from_pretrained(state.pop("pe_embedding.weight"))
    missing = module.load_state_dict(state, strict=False, assign=True)
    assert missing.missing_keys == ["pe_embedding.weight"] and not missing.unexpected_keys, missing
    module.eval().to("cpu")  # nothing moves, but Lightning learns where it runs
    with np.load(sentences) as arrays:
        indices, values = arrays["indices"].copy(), arrays["values"]
    indices[:, 0] = 0  # replaced by [CLS]
    embeddings, datasets = [], []
    start = time.perf_counter()
    with torch.no_grad():
        for tokens, counts in zip(torch.from_numpy(indices), torch.from_numpy(values), strict=True):
            batch = (
                tokens[None], torch.zeros((1, 1), dtype=torch.int32), None, None, None,
                torch.zeros((1, len(tokens)), dtype=torch.bool), None, counts[None], None,
            )  # fmt: skip
            _, _, _, embedding, dataset = module._compute_embedding_for_batch(batch)
            embeddings.append(embedding.numpy())
            datasets.append(module.dataset_embedder(dataset).numpy())
    seconds = time.perf_counter() - start
    np.savez(out, embedding=np.concatenate(embeddings), dataset=np.concatenate(datasets))
    return {"seconds": seconds}


STEPS = {step.__name__: step for step in (generate, baseline, convert, embed, torch_forward)}


def _step(name: str, *paths: Path) -> dict[str, Any]:
    """Run a step in a process of its own."""
    command = [sys.executable, __file__, name, *map(str, paths)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def full_size(report: Report, cells: anndata.AnnData) -> None:
    """Judge conversion and embedding at full size; about 8 GB on the disk while it runs."""
    report.section("random, two cells")
    with tempfile.TemporaryDirectory(prefix="se600m-full-size-") as scratch:
        folder = Path(scratch)
        source, target = folder / "checkpoint", folder / "converted"
        source.mkdir()
        cells[:2].copy().write_h5ad(folder / "cells.h5ad")
        made = _step("generate", source)
        report.all_of("parameters of SE-600M", made["n_parameters"], N_PARAMETERS)
        report.all_of("tensors of SE-600M", made["n_tensors"], N_TENSORS)
        report.tell("a process that has imported the package: memory", _step("baseline")["peak"] / 1e6, "MB")
        size = (source / "model.safetensors").stat().st_size
        converted = _step("convert", source, target)
        report.at_most("conversion: peak memory, of the checkpoint's size", converted["peak"] / size, 0.5)
        report.tell("conversion: peak memory", converted["peak"] / 1e6, "MB")
        embedded = _step("embed", target, folder / "cells.h5ad", folder / "ours.npz")
        graph = EMBED_PARAMETERS * 4
        report.at_most("embedding: peak memory, of the embed graph's float32 weights", embedded["peak"] / graph, 1.6)
        report.tell(
            "embedding: private and mapped memory afterwards",
            f"{embedded['private'] / 1e6:.0f} + {embedded['mapped'] / 1e6:.0f} MB",
        )
        forward = _step("torch_forward", source, folder / "ours.npz", folder / "torch.npz")
        with np.load(folder / "ours.npz") as ours, np.load(folder / "torch.npz") as want:
            error = np.abs(ours["embedding"] - want["embedding"]).max()
            cosine = (ours["embedding"].astype(np.float64) * want["embedding"]).sum(1).min()
            dataset = np.abs(ours["dataset"] - want["dataset"]).max() / np.abs(want["dataset"]).max()
        report.at_most("same tokens: largest error of the embedding", float(error), 2e-5)
        report.at_least("same tokens: least cosine", float(cosine), 0.999999)
        report.at_most("same tokens: dataset embedding, relative", float(dataset), 1e-4)
        report.tell(
            "seconds for two cells, ours (opening included) and torch",
            f"{embedded['seconds']:.1f}, {forward['seconds']:.1f}",
        )


if __name__ == "__main__":
    result = STEPS[sys.argv[1]](*map(Path, sys.argv[2:]))
    print(json.dumps({**peak_memory(), **result}))
