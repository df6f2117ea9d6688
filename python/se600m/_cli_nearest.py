"""The commands ``se600m nearest`` and ``se600m transfer-labels``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se600m import _cli_run
from se600m._cli_options import (
    EmbeddingKey,
    JsonProgress,
    Modality,
    Neighbours,
    Overwrite,
    OverwriteLabels,
    Threads,
    Weights,
    listed,
)
from se600m._cli_run import say
from se600m._options import KEY
from se600m._words import many

_CELLS = "Embedded cells: a file that embed writes (h5ad, zarr, parquet), or another one with an embedding in obsm."
_In = Annotated[str, typer.Argument(metavar="IN", help=_CELLS)]


def nearest(
    source: _In,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE",
            help="Cells to search, embedded by the same model. With IN itself, the other cells of IN are searched.",
        ),
    ],
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.csv|OUT.parquet|OUT.npz",
            help="File to write: a table with a row per nearest cell, or arrays with their rows and distances.",
        ),
    ],
    *,
    k: Neighbours = 15,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Columns of REFERENCE's obs to write for every nearest cell; obs_ is put before names that the table "
            "has already.",
        ),
    ] = None,
    key: EmbeddingKey = KEY,
    modality: Modality = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    json_progress: JsonProgress = False,
) -> None:
    """Find the nearest cells of every cell in another file, by the cosine distance of their embeddings."""
    from se600m import _nearest_files

    with _cli_run.progress_as(json_progress):
        n = _nearest_files.write_nearest(
            source,
            reference,
            destination,
            overwrite=overwrite,
            columns=[] if columns is None else listed(columns),
            k=k,
            use_rep=key,
            modality=modality,
            threads=threads,
        )
    say.print(f"nearest {k} of {many(n, 'cell')} in {destination}")


def transfer_labels(
    source: _In,
    reference: Annotated[
        str,
        typer.Argument(metavar="REFERENCE", help="Labelled cells, embedded by the same model. It may be IN itself."),
    ],
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.h5ad|OUT.csv|OUT.parquet",
            help="File to write: a copy of IN with the labels in obs, or a table with the label of each cell.",
        ),
    ],
    *,
    label: Annotated[str, typer.Option(help="Column of REFERENCE's obs with the labels.")],
    key_added: Annotated[
        str | None, typer.Option(help="Column in which the labels are stored; the name of --label by default.")
    ] = None,
    k: Neighbours = 15,
    weights: Weights = "uniform",
    key: EmbeddingKey = KEY,
    modality: Modality = None,
    threads: Threads = None,
    overwrite: OverwriteLabels = False,
    json_progress: JsonProgress = False,
) -> None:
    """Label cells by a majority vote of their nearest cells in a labelled file."""
    from se600m import _nearest_files

    with _cli_run.progress_as(json_progress):
        n = _nearest_files.write_labels(
            source,
            reference,
            destination,
            overwrite=overwrite,
            label=label,
            key_added=key_added,
            k=k,
            weights=weights,
            use_rep=key,
            modality=modality,
            threads=threads,
        )
    say.print(f"{label if key_added is None else key_added} of {many(n, 'cell')} in {destination}")


def add_to(app: typer.Typer) -> None:
    """Give a command these as subcommands."""
    app.command()(nearest)
    app.command()(transfer_labels)
