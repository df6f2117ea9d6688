"""Information about a model, as text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from se600m import _models
from se600m._embed import ModelLike, open_model
from se600m._flow import DimensionFlow


@dataclass(frozen=True, repr=False)
class ModelInfo:
    """Information about a model and its origin. It is displayed as text.

    Attributes
    ----------
    name, directory, size
        Name of the model, its converted directory, and the size of that directory in bytes.
    source, checksum, licences
        The checkpoint that it was converted from, its checksum, and the licence files that are kept with it.
    dimension_flow
        Stages and shapes from a cell to its embedding.
    notes
        Notes of the conversion.
    card
        The model card of the checkpoint, or "" if it has none.
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
            f"licence    {', '.join(self.licences) or 'the checkpoint has no licence file'}",
        ]
        lines += [f"note       {note}" for note in self.notes]
        lines.append(f"models in the package: {', '.join(_models.bundled())}")
        return "\n".join(lines)


def info(
    model: ModelLike = None,
    *,
    checkpoint: str | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
) -> ModelInfo:
    """Return information about a model.

    Parameters
    ----------
    model
        Anything that :func:`se600m.load_model` accepts, or a loaded model. By default, the package's default model.
    checkpoint, protein_embeddings
        See :func:`se600m.load_model`.

    Returns
    -------
    ModelInfo
        Origin, size, licence files and stages of the model.

    Examples
    --------
    >>> print(se600m.info("se-mini").name)
    se-mini
    """
    opened = open_model(
        _models.DEFAULT if model is None else model,
        "auto",
        "auto",
        None,
        checkpoint=checkpoint,
        protein_embeddings=protein_embeddings,
    )
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
