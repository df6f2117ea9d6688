"""The dimension flow of a model as a table."""

from __future__ import annotations

import html
from dataclasses import dataclass


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
