"""The dimension flow of a model as a table."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from se600m._words import many


@dataclass(frozen=True)
class Stage:
    """One stage of the dimension flow: its name, the shape it gives, and what happens."""

    name: str
    shape: str
    note: str


class DimensionFlow(tuple[Stage, ...]):
    """The stages from a cell to its embedding, in order. Shows itself as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        names = max(len(s.name) for s in self)
        shapes = max(len(s.shape) for s in self)
        return "\n".join(f"{s.name:<{names}}  {s.shape:<{shapes}}  {s.note}" for s in self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(s.name)}</td><td><code>{html.escape(s.shape)}</code></td>"
            f"<td style='text-align:left'>{html.escape(s.note)}</td></tr>"
            for s in self
        )
        return f"<table><thead><tr><th>stage</th><th>shape</th><th></th></tr></thead><tbody>{rows}</tbody></table>"


def flow_of(config: dict[str, Any]) -> DimensionFlow:
    """Describe the stages of a model by its config; B is the batch size."""
    d = config["dimensions"]
    s, t = d["pad_length"], d["pad_length"] + bool(d["dataset_dim"])
    scaled = config["expression_encoding"] == "scale"
    expression = {
        "soft-bins": "expression added as a learned embedding (soft bins)",
        "scale": "(expression came in with the lookup)",
        "none": "no expression enters",
    }[config["expression_encoding"]]
    return DimensionFlow(
        [
            Stage("cell", "[n_genes]", "counts or log1p values"),
            Stage(
                "cell sentence",
                f"[B, {s}] × 2",
                f"gene_indices, expression_values: [CLS] and up to {s - 1:,} top genes",
            ),
            Stage(
                "gene embedding lookup",
                f"[B, {s}, {d['token_dim']}]",
                many(d["n_genes"], "gene") + (", scaled by expression" if scaled else ""),
            ),
            Stage("projection", f"[B, {t}, {d['emsize']}]", expression),
            Stage(
                f"transformer, {many(d['nlayers'], 'layer')}",
                f"[B, {t}, {d['emsize']}]",
                f"{many(d['nhead'], 'head')}, feed-forward {d['d_hid']}",
            ),
            Stage("CLS extraction", f"[B, {d['output_dim']}]", "decoder head at [CLS], unit length"),
            Stage("adata.obsm", f"[n_cells, {d['output_dim']}]", "float32"),
        ]
    )
