"""The State embedding model in torch, for training: parameters carry the reference's names.

Shapes: B cells, S tokens ([CLS] first, the dataset token last), d = emsize. A sentence is its distinct
tokens with multiplicities: their logarithms are added to the attention scores of the keys, which is the
same as repeating the tokens, and -inf is padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_BINS = 10
BIN_HIDDEN = 512
DATASET_WIDTH = 10
LEVEL = 6.0
"""Length, at the start, of what tells tokens apart whose values differ by a factor of e."""


@dataclass(frozen=True)
class Sizes:
    """Widths of a model."""

    n_genes: int
    n_datasets: int
    token_dim: int = 64
    emsize: int = 128
    d_hid: int = 256
    nhead: int = 4
    nlayers: int = 2
    output_dim: int = 96


class Skip(nn.Module):
    """``LN(x + dense(ReLU(intermediate_dense(x))))``, twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(width, 2 * width)
        self.dense = nn.Linear(2 * width, width)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to the same shape."""
        return self.layer_norm(x + self.dense(F.relu(self.intermediate_dense(x))))


class Layer(nn.Module):
    """A post-norm transformer layer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        d = sizes.emsize
        self.nhead = sizes.nhead
        self.qkv_proj = nn.Linear(d, 3 * d)
        self.out_proj = nn.Linear(d, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.linear1 = nn.Linear(d, sizes.d_hid)
        self.linear2 = nn.Linear(sizes.d_hid, d)

    def forward(self, x: Tensor, scores: Tensor, read: Tensor | None = None) -> Tensor:
        """Transform tokens ``[B, S, d]``, or ``read`` alone, with additions to scores ``[B, 1, 1, S]``."""
        kept = x if read is None else x[:, read]
        h = self.norm1(kept + self.out_proj(self.attend(x, scores, read)))
        return self.norm2(h + self.linear2(F.gelu(self.linear1(h))))

    def attend(self, x: Tensor, scores: Tensor, read: Tensor | None = None) -> Tensor:
        """Give what attention brings to each token, or to the tokens ``read`` alone."""
        d = x.shape[-1]
        weight, offset = self.qkv_proj.weight, self.qkv_proj.bias
        kept = x if read is None else x[:, read]
        q = F.linear(kept, weight[:d], offset[:d])
        k, v = F.linear(x, weight[d:], offset[d:]).chunk(2, -1)
        q, k, v = (
            t.float().unflatten(-1, (self.nhead, -1)).transpose(1, 2) for t in (q, k, v)
        )  # float32 is faster here
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=scores)
        return mixed.transpose(1, 2).flatten(2)


class StateModel(nn.Module):
    """Gene embeddings, encoder, and expression decoder."""

    def __init__(self, sizes: Sizes, gene_embeddings: Tensor) -> None:
        super().__init__()
        d = sizes.emsize
        self.sizes = sizes
        self.gene_embeddings = nn.Parameter(gene_embeddings.clone())
        self.cls_token = nn.Parameter(torch.randn(1, sizes.token_dim))
        self.dataset_token = nn.Parameter(torch.randn(1, sizes.token_dim))
        self.encoder = nn.Sequential(nn.Linear(sizes.token_dim, d), nn.LayerNorm(d), nn.SiLU())
        self.bin_encoder = nn.Embedding(N_BINS, d)
        self.count_encoder = nn.Sequential(nn.Linear(1, BIN_HIDDEN), nn.LeakyReLU(), nn.Linear(BIN_HIDDEN, N_BINS))
        self.transformer_encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer(sizes) for _ in range(sizes.nlayers))})
        self.decoder = nn.Sequential(Skip(d), nn.Linear(d, sizes.output_dim))
        self.dataset_embedder = nn.Linear(sizes.output_dim, DATASET_WIDTH)
        self.dataset_encoder = nn.Sequential(
            nn.Linear(sizes.output_dim, d), nn.SiLU(), nn.LayerNorm(d), nn.Dropout(0.1), nn.Linear(d, sizes.n_datasets)
        )
        wide = d + sizes.output_dim + 1 + DATASET_WIDTH
        self.binary_decoder = nn.Sequential(Skip(wide), Skip(wide), nn.Linear(wide, 1))

    @torch.no_grad()
    def start(self, genes: Tensor, values: Tensor, multiplicity: Tensor, evenness: float) -> None:
        """Start where [CLS] already is a projection of the cell onto the gene embeddings.

        Bins of expression are ranges of values, the first layer's attention is in proportion to the value,
        and what it brings are the gene embeddings: ``SiLU(z) - SiLU(-z) = z`` undoes the activation. So [CLS]
        holds the cell's mean gene embedding, weighted by expression: its principal components, if the gene
        embeddings are loadings. The rest of the model starts close to passing that on. The scale is that of
        some sentences; ``evenness`` 0 leaves the components their variances, 1 makes them equal.
        """
        d, width, nhead = self.sizes.emsize, self.sizes.token_dim, self.sizes.nhead
        if d != 2 * width:
            raise ValueError(f"the start is made for emsize = 2 token_dim, not {d} and {width}")
        rotation = torch.linalg.qr(torch.randn(width, width)).Q
        self.encoder[0].weight.copy_(torch.cat([rotation, -rotation]))
        self.encoder[0].bias.zero_()
        undo = torch.cat([rotation.T, -rotation.T], 1) / (math.sqrt(d) * math.sqrt(width))
        # The direction that tells the bin: that of all tokens which ``undo`` does not see.
        half = torch.randn(width)
        signal = F.normalize(torch.cat([half, half]), dim=0)
        centres = self._range_bins()
        levels = torch.cat([torch.tensor([-8.0]), centres[1:].log()])
        self.bin_encoder.weight.normal_(std=0.5)
        self.bin_encoder.weight += LEVEL * levels[:, None] * signal

        first, *later = self.transformer_encoder["layers"]
        weight, bias = first.qkv_proj.weight, first.qkv_proj.bias
        weight[:d].zero_()
        bias.zero_()
        sharpness = torch.linspace(1.25, 0.5, nhead)
        for head, part in enumerate(torch.arange(d).chunk(nhead)):
            asked = F.normalize(torch.randn(len(part)), dim=0)
            bias[part] = asked * sharpness[head] * math.sqrt(len(part))
            key = weight[d + part]
            weight[d + part] = key - asked[:, None] * (asked @ key) + asked[:, None] * signal / LEVEL
        weight[2 * d :].copy_(torch.cat([undo, undo]))
        first.out_proj.weight.copy_(torch.eye(d))
        for layer in self.transformer_encoder["layers"]:
            layer.linear2.weight.mul_(0.1)
        for layer in later:
            layer.out_proj.weight.mul_(0.1)
        self.decoder[0].dense.weight.mul_(0.1)
        nn.init.orthogonal_(self.decoder[1].weight)
        self.decoder[1].bias.zero_()

        x, scores = self.tokens(genes, values, multiplicity)
        first.out_proj.bias.zero_()
        mixed = first.attend(x, scores, torch.tensor([0]))[:, 0]
        scale = 25 * mixed.std(0) ** -evenness
        scale *= 25 / (scale * mixed.std(0)).square().mean().sqrt()
        first.out_proj.weight.copy_(scale.diag())
        first.out_proj.bias.copy_(-(scale * mixed.mean(0)) - x[:, 0].mean(0))

    def _range_bins(self) -> Tensor:
        """Make the count encoder tell ranges of values; gives their centres ``[N_BINS]``."""
        inner, _, outer = self.count_encoder
        values = torch.cat([torch.zeros(40), torch.logspace(-2.5, 1.5, 400)])[:, None]
        centres = torch.cat([torch.zeros(1), torch.logspace(math.log10(0.03), math.log10(6), N_BINS - 1)])
        distance = torch.log(values + 0.02) - torch.log(centres + 0.02)
        logits = (-(distance**2) / (2 * 0.45**2)).clamp(min=-12)
        hidden = torch.cat([F.leaky_relu(inner(values)), torch.ones(len(values), 1)], 1).double()
        ridge = 1e-3 * torch.eye(hidden.shape[1], dtype=torch.double)
        fitted = torch.linalg.solve(hidden.T @ hidden + ridge, hidden.T @ logits.double())
        outer.weight.copy_(fitted[:-1].T)
        outer.bias.copy_(fitted[-1])
        return centres

    def forward(self, genes: Tensor, values: Tensor, multiplicity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embed sentences.

        ``genes`` int64 ``[B, S]`` (slot 0 is [CLS], whatever it holds), ``values`` and ``multiplicity``
        ``[B, S]`` give the embedding ``[B, output_dim]`` of unit length, the dataset embedding ``[B, 10]``
        and the logits of the data sets ``[B, n_datasets]``.
        """
        x, scores = self.tokens(genes, values, multiplicity)
        *first, last = self.transformer_encoder["layers"]
        for layer in first:
            x = layer(x, scores)
        head = self.decoder(last(x, scores, torch.tensor([0, -1])))
        return (
            F.normalize(head[:, 0].float(), dim=-1),
            self.dataset_embedder(head[:, 1]),
            self.dataset_encoder(head[:, 1]),
        )

    def tokens(self, genes: Tensor, values: Tensor, multiplicity: Tensor) -> tuple[Tensor, Tensor]:
        """Give tokens of sentences, the dataset token last, and what to add to the scores of each as a key."""
        rows = F.normalize(F.embedding(genes[:, 1:], self.gene_embeddings), dim=-1)
        cls, dataset = (t.expand(len(genes), 1, -1) for t in (self.cls_token, self.dataset_token))
        x = self.encoder(torch.cat([cls, rows, dataset], 1)) * math.sqrt(self.sizes.emsize)
        distinct, which = values.unique(return_inverse=True)  # few: most genes have a count of 0, 1 or 2
        bins = self.count_encoder(distinct[:, None]).softmax(-1) @ self.bin_encoder.weight
        x = x + F.pad(F.embedding(which, bins), (0, 0, 0, 1))
        return x, F.pad(multiplicity, (0, 1), value=1.0).log()[:, None, None]

    def decode(self, embedding: Tensor, genes: Tensor, read_depth: Tensor, dataset_embedding: Tensor) -> Tensor:
        """Predict log1p expression ``[B, k]`` of genes ``[k]`` from ``[B, output_dim]``, ``[B]`` and ``[B, 10]``."""
        tokens = self.encoder(F.embedding(genes, self.gene_embeddings))
        cell = torch.cat([embedding, read_depth[:, None], dataset_embedding], 1)
        first, second, last = self.binary_decoder
        # The first linear layer of all pairs is a sum of one of genes and one of cells.
        weight = first.intermediate_dense.weight.split([tokens.shape[-1], cell.shape[-1]], 1)
        inner = F.linear(tokens, weight[0], first.intermediate_dense.bias) + F.linear(cell, weight[1])[:, None]
        pairs = torch.cat([tokens.expand(len(cell), -1, -1), cell[:, None].expand(-1, len(genes), -1)], -1)
        return last(second(first.layer_norm(pairs + first.dense(F.relu(inner))))).squeeze(-1)
