"""The State model in torch as the reference runs it on a GPU: bfloat16, every token through every layer.

Written from docs/model.md. Shapes: B cells, S slots ([CLS] first), T tokens (the dataset token last), d = emsize.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Layer(nn.Module):
    """A post-norm transformer layer."""

    def __init__(self, d: int, d_hid: int, nhead: int) -> None:
        super().__init__()
        self.nhead = nhead
        self.qkv_proj = nn.Linear(d, 3 * d)
        self.out_proj = nn.Linear(d, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.linear1 = nn.Linear(d, d_hid)
        self.linear2 = nn.Linear(d_hid, d)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, d]`` to the same shape."""
        q, k, v = (t.unflatten(-1, (self.nhead, -1)).transpose(1, 2) for t in self.qkv_proj(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = self.norm1(x + self.out_proj(mixed))
        return self.norm2(h + self.linear2(F.gelu(self.linear1(h))))


class Head(nn.Module):
    """Two dense layers beside a shortcut, a norm, and the way to the embedding's width."""

    def __init__(self, d: int, output_dim: int) -> None:
        super().__init__()
        inner = nn.ModuleDict(
            {
                "intermediate_dense": nn.Linear(d, 2 * d),
                "dense": nn.Linear(2 * d, d),
                "layer_norm": nn.LayerNorm(d),
            }
        )
        self.parts = nn.ModuleList([inner, nn.Linear(d, output_dim)])

    def forward(self, x: Tensor) -> Tensor:
        """``[..., d]`` to ``[..., output_dim]``."""
        inner, last = self.parts
        h = inner["dense"](F.relu(inner["intermediate_dense"](x)))
        return last(inner["layer_norm"](x + h))


class StateModel(nn.Module):
    """From sentences to embeddings, for models with soft bins and a dataset token."""

    def __init__(self, state: Mapping[str, Tensor], table: Tensor, nhead: int) -> None:
        super().__init__()
        layers = sum(name.endswith("qkv_proj.weight") for name in state)
        d, token_dim = state["encoder.0.weight"].shape
        d_hid = len(state["transformer_encoder.layers.0.linear1.weight"])
        # Memory is given by the tensors that are loaded.
        with torch.device("meta"):
            self.encoder = nn.Sequential(nn.Linear(token_dim, d), nn.LayerNorm(d), nn.SiLU())
            self.bin_encoder = nn.Embedding(*state["bin_encoder.weight"].shape)
            hidden = len(state["count_encoder.0.weight"])
            self.count_encoder = nn.Sequential(
                nn.Linear(1, hidden), nn.LeakyReLU(), nn.Linear(hidden, len(state["bin_encoder.weight"]))
            )
            self.layers = nn.ModuleList(Layer(d, d_hid, nhead) for _ in range(layers))
            self.head = Head(d, len(state["decoder.1.weight"]))
            self.cls_token = nn.Parameter(torch.empty(1, token_dim))
            self.dataset_token = nn.Parameter(torch.empty(1, token_dim))
        own = {
            name.replace("transformer_encoder.layers", "layers").replace("decoder.", "head.parts.", 1): values
            for name, values in state.items()
            if name.startswith(("encoder.", "bin_", "count_", "transformer_", "decoder.", "cls_token", "dataset_token"))
        }
        self.load_state_dict(own, assign=True)
        self.register_buffer("table", F.normalize(table, dim=-1))
        self.requires_grad_(False)

    def forward(self, genes: Tensor, values: Tensor) -> Tensor:
        """Embed sentences: int32 and float32 ``[B, S]`` to ``[B, output_dim]`` of unit length."""
        rows = F.embedding(genes[:, 1:], self.table)
        cls, dataset = (t.to(rows.dtype).expand(len(genes), 1, -1) for t in (self.cls_token, self.dataset_token))
        x = self.encoder(torch.cat([cls, rows, dataset], 1)) * math.sqrt(self.bin_encoder.weight.shape[1])
        bins = self.count_encoder(values[..., None].to(x.dtype)).softmax(-1).to(x.dtype) @ self.bin_encoder.weight
        x = x + F.pad(bins, (0, 0, 0, 1))
        for layer in self.layers:
            x = layer(x)
        return F.normalize(self.head(x)[:, 0].float(), dim=-1)


def read(checkpoint: str, dtype: torch.dtype, device: str) -> StateModel:
    """Read a Lightning checkpoint with its gene table inside."""
    saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    table = torch.stack(list(saved["protein_embeds_dict"].values()))
    model = StateModel(saved["state_dict"], table, saved["hyper_parameters"]["nhead"])
    return model.to(dtype=dtype, device=device).eval()
