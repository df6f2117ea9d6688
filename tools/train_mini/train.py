"""Trains se-mini, the small State model in the package.

    make train-mini                                       # its own environment, then the model in the package
    python tools/train_mini/train.py --held-out 0.3       # measure settings on cells that training doesn't see
    python tools/train_mini/train.py my.h5ad --name mine --target mine

Any h5ad file serves that has raw counts in ``X`` and gene symbols as ``var_names``.

**The objective** is State's own: from a cell's [CLS] embedding, a gene's token, the read depth and the
dataset embedding, ``binary_decoder`` predicts the gene's log1p expression, of genes in the sentence and of
held-out ones. The counts of a cell are split at random: one part makes the sentence, the other the targets,
so no counting noise is common to both. The read depth is log10 of the total count that the targets are scaled
to: at the default of 4.0 the model predicts ``log1p`` of counts per 10,000. The dataset embedding that the
decoder sees is another cell's of the same simulated data set, so it can tell nothing of the cell.

**Two smaller terms** are added. Each cell is in two simulated data sets at once (see views.py), made of
separate counts: their embeddings must find each other among the batch (InfoNCE). And ``dataset_encoder``
tells from the dataset token what kind of data set the sentence came from.

**Start**: gene embeddings are loadings of principal components, expression bins are ranges of values, and [CLS]
holds the cell's projection onto the gene embeddings (see ``StateModel.start``). From there all but the decoder learns
at a tenth of the decoder's rate. From a random start, 559 cells don't get as far.

**Time**: six minutes of one core (Zen 5), and about 3 GB of memory. The same data, seed, threads and kind of processor
give the same weights. Linear layers run in bfloat16, which pays where the processor has it (AVX512-BF16); ``--float32``
is for others.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from cells import Cells, GeneFacts, initial_embeddings, read_cells
from checkpoint import save
from held_out import evaluate
from network import Sizes, StateModel
from torch import Tensor
from views import DATASETS, Designs, sentences

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """What was chosen on held-out training cells (see the model card)."""

    steps: int = 600
    batch_cells: int = 32
    n_targets: int = 160
    learning_rate: float = 2e-3
    """Of the decoder, which starts at nothing."""
    encoder_rate: float = 0.1
    """That of all else, as a share of it: the rest starts at something good."""
    warm_up: int = 50
    weight_decay: float = 0.02
    contrast: float = 0.3
    temperature: float = 0.1
    evenness: float = 0.25
    dataset: float = 0.02
    panel_sizes: tuple[int, int] = (200, 1500)
    whole: float = 0.15
    tokens: tuple[int, int, int] = (96, 64, 48)
    """Most expressed genes, a sample of the other expressed ones, a sample of the unexpressed ones."""
    first_part: tuple[float, float] = (0.08, 0.8)
    """Share of a cell's counts in its first view; the second has a share of what is left."""
    second_part: tuple[float, float] = (0.15, 1.0)
    read_depth: tuple[float, float] = (3.0, 4.5)


def log_uniform(low_high: tuple[float, float], size: int, random: np.random.Generator) -> np.ndarray:
    """Draw from a range, every factor as likely as another."""
    return np.exp(random.uniform(*np.log(low_high), size))


def batches(n_cells: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Cells in random order, again and again."""
    left = np.empty(0, np.int64)
    while True:
        if len(left) < size:
            left = np.concatenate([left, random.permutation(n_cells)])
        yield left[:size]
        left = left[size:]


def groups(model: StateModel, s: Settings) -> list[dict]:
    """Parameters by their learning rates and weight decay: only weights of linear layers decay."""
    linear = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Linear)}
    new = ("binary_decoder.", "dataset_e")
    return [
        {
            "params": [
                p for n, p in model.named_parameters() if n.startswith(new) == is_new and (id(p) in linear) == decays
            ],
            "rate": s.learning_rate * (1 if is_new else s.encoder_rate),
            "weight_decay": s.weight_decay if decays else 0.0,
        }
        for is_new in (False, True)
        for decays in (False, True)
    ]


def contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE between two views ``[B, d]`` of the same cells, about their common mean."""
    mean = torch.cat([first, second]).mean(0)
    similarity = F.normalize(first - mean, dim=1) @ F.normalize(second - mean, dim=1).T / temperature
    same = torch.arange(len(first))
    return (F.cross_entropy(similarity, same) + F.cross_entropy(similarity.T, same)) / 2


def start(model: StateModel, cells: Cells, designs: Designs, s: Settings, random: np.random.Generator) -> None:
    """Start a model at principal components, on the scale of some cells in a panel of genes."""
    rows = random.permutation(len(cells))[:256]
    sentence = sentences(cells.counts[rows], cells.totals[rows], designs.panel(800, random), random, *s.tokens)
    model.start(*map(torch.from_numpy, (sentence.genes, sentence.values, sentence.multiplicity)), s.evenness)


def train(cells: Cells, sizes: Sizes, s: Settings, seed: int, bfloat16: bool) -> tuple[StateModel, Designs]:
    """Train a model on cells."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    facts = GeneFacts.of(cells, random)
    designs = Designs(np.maximum(facts.shared, 0) + 0.02 * facts.variance + 1e-3, s.panel_sizes, s.whole)
    model = StateModel(sizes, torch.from_numpy(initial_embeddings(cells, facts, sizes.token_dim, random)))
    start(model, cells, designs, s, random)
    precision = torch.from_numpy(1 / (facts.variance + 0.1))  # genes count alike, those of little variance less
    optimizer = torch.optim.AdamW(groups(model, s), betas=(0.9, 0.98))
    begin, sums = time.perf_counter(), np.zeros(3)

    for step, rows in zip(range(s.steps), batches(len(cells), s.batch_cells, random), strict=False):
        for group in optimizer.param_groups:
            decline = 0.01 + 0.99 * (1 + math.cos(math.pi * step / s.steps)) / 2
            group["lr"] = group["rate"] * min(1, (step + 1) / s.warm_up) * decline
        counts, totals = cells.counts[rows], cells.totals[rows]
        part = log_uniform(s.first_part, len(rows), random)
        first = random.binomial(counts, part[:, None])
        part_of_rest = log_uniform(s.second_part, len(rows), random)
        second = random.binomial(counts - first, part_of_rest[:, None])
        views = [(first, totals * part), (second, totals * (1 - part) * part_of_rest)]
        drawn = [designs.draw(random) for _ in views]
        targets = np.unique(
            np.concatenate(
                [designs.some(s.n_targets // 2, 1.0, random)]
                + [random.choice(design.genes, s.n_targets // 4) for design in drawn]
            )
        )
        weight = precision[targets] / precision[targets].mean()
        depth = random.uniform(*s.read_depth, len(rows)).astype(np.float32)
        embeddings, losses = [], torch.zeros(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            for (seen, seen_total), design in zip(views, drawn, strict=True):
                sentence = sentences(seen, seen_total, design, random, *s.tokens)
                embedding, dataset, logits = model(
                    *map(torch.from_numpy, (sentence.genes, sentence.values, sentence.multiplicity))
                )
                embeddings.append(embedding)
                others = dataset[torch.from_numpy(random.permutation(len(rows)))]
                predicted = model.decode(embedding, torch.from_numpy(targets), torch.from_numpy(depth), others).float()
                scale = 10**depth / np.maximum(totals - seen_total, 1)
                wanted = np.log1p((counts - seen)[:, targets] * scale[:, None]).astype(np.float32)
                losses[0] += (weight * (predicted - torch.from_numpy(wanted)) ** 2).mean()
                losses[2] += F.cross_entropy(logits.float(), torch.full((len(rows),), design.dataset)) / len(views)
        losses[1] = contrast(*embeddings, s.temperature)
        optimizer.zero_grad()
        (losses * torch.tensor([1, s.contrast, s.dataset])).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        sums += losses.detach().numpy()
        if (step + 1) % 50 == 0:
            error, found, kind = sums / 50
            print(
                f"step {step + 1} of {s.steps}, {time.perf_counter() - begin:.0f} s: expression {error / 2:.4f}, "
                f"contrast {found:.3f}, data set {kind:.3f}",
                flush=True,
            )
            sums[:] = 0
    return model.eval().requires_grad_(False), designs


def main() -> None:
    """Train, then measure on held-out cells, or write the checkpoint."""
    s = Settings()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cells", nargs="?", type=Path, default=ROOT / "tests" / "data" / "immune559.h5ad")
    parser.add_argument("--name", default="se-mini", help="name of the model (default: %(default)s)")
    parser.add_argument("--target", type=Path, help="folder to write (default: the package's models)")
    parser.add_argument(
        "--held-out", type=float, default=0.0, metavar="SHARE", help="measure on this share of cells; write nothing"
    )
    parser.add_argument("--steps", type=int, default=s.steps, help="(default: %(default)s)")
    parser.add_argument(
        "--contrast", type=float, default=s.contrast, help="weight of the contrast (default: %(default)s)"
    )
    parser.add_argument("--encoder-rate", type=float, default=s.encoder_rate, help="(default: %(default)s)")
    parser.add_argument("--evenness", type=float, default=s.evenness, help="of the start (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=Sizes.nlayers, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=600, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--float32", action="store_true", help="no bfloat16")
    chosen = parser.parse_args()

    torch.set_num_threads(chosen.threads)
    torch.use_deterministic_algorithms(True)
    cells = read_cells(chosen.cells)
    order = np.random.default_rng(559).permutation(len(cells))
    n_held_out = int(chosen.held_out * len(cells))
    learnt, held_out = cells[order[n_held_out:]], cells[order[:n_held_out]]
    print(f"{len(learnt)} cells to learn from, {n_held_out} held out, {len(cells.genes):,} genes")
    settings = Settings(
        steps=chosen.steps, contrast=chosen.contrast, evenness=chosen.evenness, encoder_rate=chosen.encoder_rate
    )
    sizes = Sizes(len(cells.genes), len(DATASETS), nlayers=chosen.layers)
    model, designs = train(learnt, sizes, settings, chosen.seed, not chosen.float32)
    if n_held_out:
        for name, value in evaluate(model, held_out, designs, np.random.default_rng(77)).items():
            print(f"{name:60}{value:.3f}")
        return
    target = chosen.target or ROOT / "python" / "se600m" / "models" / chosen.name
    save(target, model, cells.genes, chosen.name)
    print(f"written: {target}")


if __name__ == "__main__":
    main()
