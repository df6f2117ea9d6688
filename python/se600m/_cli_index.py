"""The commands ``se600m index`` and ``se600m query``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from se600m import _cli_run
from se600m._cli_options import (
    Checkpoint,
    Device,
    EmbeddingKey,
    JsonProgress,
    Memory,
    Modality,
    Model,
    Neighbours,
    OverwriteLabels,
    Precision,
    ProteinEmbeddings,
    Resume,
    Threads,
    Weights,
    cell_options,
    listed,
)
from se600m._cli_run import say
from se600m._options import KEY, MEMORY, RunKeywords
from se600m._words import many

_Table = Annotated[str, typer.Argument(metavar="TABLE.lance", help="Path or address of the table.")]
_CELLS = "Cells: a file that embed reads or writes (h5ad, zarr, parquet, …)."


@cell_options(RunKeywords)
def index(
    source: Annotated[str, typer.Argument(metavar="IN", help=_CELLS)],
    uri: _Table,
    *,
    key: EmbeddingKey = KEY,
    obs: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Columns of obs to store; all by default."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name for these cells, where cells of other files have the same names.")
    ] = None,
    batch_key: Annotated[
        str | None, typer.Option(help="Column of obs that tells batches apart whose cells have the same names.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace cells of the table that have the same data set and name. Without --resume, throw away what "
            "an earlier run has left.",
        ),
    ] = False,
    ann: Annotated[
        bool, typer.Option("--ann", help="Build an approximate index over all cells of the table, for large tables.")
    ] = False,
    model: Model = None,
    checkpoint: Checkpoint = None,
    protein_embeddings: ProteinEmbeddings = None,
    device: Device = "auto",
    precision: Precision = "auto",
    modality: Modality = None,
    resume: Resume = False,
    memory: Memory = MEMORY,
    json_progress: JsonProgress = False,
    **options: Any,
) -> None:
    """Add embedded cells to a table of LanceDB, for vector search.

    With --model, cells that have no embedding are embedded first. Options for embedding that differ from those that an
    embedding was made with are errors.
    """
    import se600m

    choices: dict[str, Any] = {"device": device, "precision": precision}
    with _cli_run.resumable("--resume"), _cli_run.progress_as(json_progress):
        done = se600m.index(
            source,
            uri,
            use_rep=key,
            obs=None if obs is None else listed(obs),
            dataset=dataset,
            batch_key=batch_key,
            overwrite=overwrite,
            ann=ann,
            model=model,
            checkpoint=checkpoint,
            protein_embeddings=protein_embeddings,
            modality=modality,
            resume=resume,
            memory=memory,
            **choices,
            **options,
        )
    replaced = f", {done.n_replaced:,} replaced" if done.n_replaced else ""
    say.print(f"{many(done.n_added, 'cell')} added{replaced}: {done.n_cells:,} in {uri}, version {done.version}")


def query(
    source: Annotated[str, typer.Argument(metavar="IN", help=_CELLS)],
    uri: _Table,
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.csv|OUT.parquet|OUT.h5ad",
            help="File to write: the nearest cells or, with --label, the label of each cell; as h5ad, a copy of the "
            "cells with the label in obs.",
        ),
    ],
    *,
    k: Neighbours = 15,
    label: Annotated[str | None, typer.Option(help="Column of the table on which the nearest cells vote.")] = None,
    key_added: Annotated[
        str | None, typer.Option(help="Column in which the labels are stored; the name of --label by default.")
    ] = None,
    weights: Weights = "uniform",
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Columns of TABLE to write for every nearest cell; obs_ is put before names that OUT has already.",
        ),
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Search only cells for which this is true: \"tissue = 'lung'\".")
    ] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Use the approximate index, which is faster and may miss some cells.")
    ] = False,
    nprobes: Annotated[
        int | None, typer.Option(help="Number of partitions of the approximate index that are searched.")
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            help="How many times k cells the approximate index selects, to be compared exactly; 10 by default."
        ),
    ] = None,
    key: EmbeddingKey = KEY,
    modality: Modality = None,
    threads: Threads = None,
    overwrite: OverwriteLabels = False,
) -> None:
    """Find the nearest cells in a table, and have them vote on a label."""
    from se600m import _query_files

    n = _query_files.write(
        source,
        uri,
        destination,
        overwrite=overwrite,
        k=k,
        use_rep=key,
        label=label,
        key_added=key_added,
        weights=weights,
        columns=[] if columns is None else listed(columns),
        where=where,
        approximate=approximate,
        nprobes=nprobes,
        refine=refine,
        modality=modality,
        threads=threads,
    )
    what = f"nearest {k}" if label is None else label if key_added is None else key_added
    say.print(f"{what} of {many(n, 'cell')} in {destination}")


def add_to(app: typer.Typer) -> None:
    """Give a command these as subcommands."""
    app.command()(index)
    app.command()(query)
