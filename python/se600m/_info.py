"""What a model is, in words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from se600m import _models
from se600m._flow import DimensionFlow
from se600m._model import Model, load_model


@dataclass(frozen=True, repr=False)
class ModelInfo:
    """What a model is and where it came from. Shows itself as text.

    Attributes
    ----------
    name, directory, size
        Its name, its converted directory, and that directory's size in bytes.
    source, checksum, licences
        The checkpoint it was converted from, the SHA-256 over its files, and the licence files kept with it.
    dimension_flow
        Stages and shapes from a cell to its embedding.
    notes
        What conversion had to say.
    card
        The model card that lay beside the checkpoint, or "".
    """

    name: str
    directory: Path
    size: int
    source: str
    checksum: str
    licences: tuple[str, ...]
    dimension_flow: DimensionFlow
    notes: tuple[str, ...]
    card: str

    def __repr__(self) -> str:
        lines = [
            f"{self.name} ({self.size / 1e6:,.1f} MB)",
            repr(self.dimension_flow),
            "",
            f"source     {self.source}",
            f"checksum   {self.checksum}",
            f"directory  {self.directory}",
            f"licence    {', '.join(self.licences) or 'no licence file lay beside the checkpoint'}",
        ]
        lines += [f"note       {note}" for note in self.notes]
        lines.append(f"in the package: {', '.join(_models.bundled())}")
        return "\n".join(lines)


def info(model: Model | str | os.PathLike[str] | None = None) -> ModelInfo:
    """Tell what a model is.

    Parameters
    ----------
    model
        What :func:`se600m.load_model` takes or returns; None for the package's default model.
    """
    opened = model if isinstance(model, Model) else load_model(_models.DEFAULT if model is None else model)
    folder, source = opened.directory, opened.config["source"]
    cards = [p for p in sorted((folder / "licence").glob("*")) if p.name.upper() in ("README.MD", "MODEL_CARD.MD")]
    return ModelInfo(
        name=opened.name,
        directory=folder,
        size=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
        source=source["name"] if source["name"] == source["checkpoint"] else f"{source['name']}/{source['checkpoint']}",
        checksum=opened.checksum,
        licences=tuple(opened.config["source"].get("licences", ())),
        dimension_flow=opened.dimension_flow(),
        notes=tuple(opened.config.get("notes", ())),
        card=cards[0].read_text() if cards else "",
    )
