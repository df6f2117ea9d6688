"""The command ``se600m contextual``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from se600m import _cli_run
from se600m._cli_options import (
    CELLS,
    Checkpoint,
    Device,
    JsonProgress,
    Memory,
    Modality,
    Model,
    Overwrite,
    Precision,
    ProteinEmbeddings,
    ReportFile,
    Resume,
    cell_options,
)
from se600m._cli_run import say
from se600m._options import MEMORY, GeneKeywords
from se600m._words import many


@cell_options(GeneKeywords, genes="Genes whose vectors are written; every slot of the sentences by default.")
def contextual(
    source: Annotated[str, typer.Argument(metavar="IN", help=f"{CELLS} A zarr store may have an address.")],
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.zarr|OUT.npy",
            help="What to write: a zarr group with the vectors and the genes that they are of, or the vectors of "
            "--genes alone.",
        ),
    ],
    *,
    model: Model = None,
    checkpoint: Checkpoint = None,
    protein_embeddings: ProteinEmbeddings = None,
    device: Device = "auto",
    precision: Precision = "auto",
    modality: Modality = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    memory: Memory = MEMORY,
    report: ReportFile = None,
    json_progress: JsonProgress = False,
    **options: Any,
) -> None:
    """Write contextual gene embeddings: the output of the model's last layer for genes in each cell.

    The cells need not fit into memory, and a run that was interrupted goes on with --resume, as with embed.
    """
    import se600m
    from se600m import _models

    choices: dict[str, Any] = {"device": device, "precision": precision}
    with _cli_run.resumable("--resume"), _cli_run.progress_as(json_progress):
        done = se600m.contextual_file(
            source,
            destination,
            model=model,
            checkpoint=checkpoint,
            protein_embeddings=protein_embeddings,
            modality=modality,
            resume=resume,
            overwrite=overwrite,
            memory=memory,
            report=report,
            **choices,
            **options,
        )
    n_cells, n_places, width = done.shape
    say.print(
        f"{many(n_cells, 'cell')} × {many(n_places, 'slot' if done.genes is None else 'gene')} × {width:,} in "
        f"{destination}{_models.with_default_model(model)}"
    )


def add_to(app: typer.Typer) -> None:
    """Give a command this as a subcommand."""
    app.command()(contextual)
