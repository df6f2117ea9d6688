"""The ``se600m`` command."""

from __future__ import annotations

import datetime
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from se600m import _cli_contextual, _cli_index, _cli_models, _cli_nearest, _cli_run
from se600m._cli_options import (
    CELLS,
    Checkpoint,
    Device,
    EmbeddingKey,
    JsonProgress,
    Memory,
    Modality,
    Model,
    Overwrite,
    Precision,
    ProteinEmbeddings,
    ReportFile,
    Resume,
    Threads,
    cell_options,
    gene_list,
)
from se600m._cli_run import say, worded
from se600m._options import KEY, MEMORY, CellKeywords, RunKeywords
from se600m._words import many

if TYPE_CHECKING:
    from se600m import _conversions

app = typer.Typer(
    no_args_is_help=True,
    help="State embeddings (SE-600M) of single cells.",
    context_settings={"help_option_names": ["-h", "--help"]},  # subcommands inherit it
)

_EMBEDDINGS = (".h5ad", ".npy")


def _print_version(wanted: bool) -> None:
    if wanted:
        import se600m

        print(f"se600m-go {se600m.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None: ...


@app.command()
@cell_options(RunKeywords)
def embed(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IN…", help=f"{CELLS} A zarr store may have an address. Several files are one collection."
        ),
    ] = None,
    destination: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT.h5ad|OUT.zarr|OUT.npy|OUT.parquet]",
            help="File to write: a copy of the cells with the embedding in obsm, or only the embedding. Several files "
            "give their obs with the embedding, without a matrix.",
        ),
    ] = None,
    *,
    model: Model = None,
    checkpoint: Checkpoint = None,
    protein_embeddings: ProteinEmbeddings = None,
    device: Device = "auto",
    precision: Precision = "auto",
    modality: Modality = None,
    key: EmbeddingKey = KEY,
    with_dataset_embedding: Annotated[
        bool,
        typer.Option(
            "--with-dataset-embedding", help="Append the dataset embedding to the embedding, as arc-state does."
        ),
    ] = False,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Write the embedding into IN, which is replaced at the very end.")
    ] = False,
    resume: Resume = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace OUT if it exists, and entries of IN under the same key that se600m did not write. Without "
            "--resume, throw away what an earlier run has left.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Embed part I of N of the cells into OUT.npz, for `se600m merge`."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Compute on the workers of a Dask scheduler, such as tcp://host:8786."),
    ] = None,
    memory: Memory = MEMORY,
    report: ReportFile = None,
    json_progress: JsonProgress = False,
    **options: Any,
) -> None:
    """Embed the cells of a file or of several, which need not fit into memory.

    Results are kept in OUT.partial about once a minute, until all are done. After an interruption, the same command
    with --resume goes on from there.
    """
    import se600m
    from se600m import _models

    choices: dict[str, Any] = {"device": device, "precision": precision}
    sources, destination = _in_and_out(source or [], destination, in_place=in_place)
    with _cli_run.resumable("--resume"), _cli_run.progress_as(json_progress):
        done = se600m.embed_file(
            sources[0] if len(sources) == 1 else sources,
            destination,
            in_place=in_place,
            model=model,
            checkpoint=checkpoint,
            protein_embeddings=protein_embeddings,
            key_added=key,
            with_dataset_embedding=with_dataset_embedding,
            modality=modality,
            resume=resume,
            overwrite=overwrite,
            shard=shard,
            scheduler=scheduler,
            memory=memory,
            report=report,
            **choices,
            **options,
        )
    suffix = done.path.suffix
    where = f"obsm[{key!r}] of " if suffix in (".h5ad", ".zarr") else ""
    out = sources[0] if destination is None else destination
    say.print(f"{many(done.n_cells, 'cell')} × {done.n_columns:,} in {where}{out}{_models.with_default_model(model)}")


def _in_and_out(sources: list[str], destination: Path | None, *, in_place: bool) -> tuple[list[str], Path | None]:
    """Tell inputs from the output, which is the last of several paths unless the input is completed in place."""
    if destination is None:
        raise typer.BadParameter("there is no file to embed", param_hint="IN")
    if in_place or not sources:
        return [*sources, str(destination)], None
    return sources, destination


@app.command()
def merge(
    destination: Annotated[
        Path, typer.Argument(metavar="OUT.h5ad|OUT.zarr|OUT.npy|OUT.parquet", help="File to write.")
    ],
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD.npz…", help="All shards of a run, in any order.")],
    source: Annotated[
        str | None,
        typer.Option(metavar="IN", help="The file that the cells are from, if it is no longer where it was."),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace OUT if it exists, and entries of IN under the same key of another origin."
        ),
    ] = False,
    report: ReportFile = None,
) -> None:
    """Join the shards of a run into the file that one run over all cells writes."""
    import se600m

    done = se600m.merge_shards(destination, shards, src=source, overwrite=overwrite, report=report)
    say.print(f"{many(done.n_cells, 'cell')} × {done.n_columns:,} of {many(len(shards), 'shard')} in {destination}")


def _load(
    model: str | None, device: str, precision: str, checkpoint: str | None, protein_embeddings: Path | None
) -> Any:
    """Open a model; ``load_model`` checks the options."""
    import se600m

    choices: dict[str, Any] = {"device": device, "precision": precision}
    return se600m.load_model(model, **choices, checkpoint=checkpoint, protein_embeddings=protein_embeddings)


@app.command()
@cell_options(CellKeywords)
def tokenize(
    source: Annotated[str, typer.Argument(metavar="IN", help=f"{CELLS} A zarr store may have an address.")],
    destination: Annotated[
        Path, typer.Argument(metavar="OUT.npz", help="File to write: the cell sentences as arrays.")
    ],
    *,
    model: Model = None,
    checkpoint: Checkpoint = None,
    protein_embeddings: ProteinEmbeddings = None,
    modality: Modality = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    memory: Memory = MEMORY,
    report: ReportFile = None,
    json_progress: JsonProgress = False,
    **options: Any,
) -> None:
    """Write the cell sentences that the model reads: gene_indices, expression_values, multiplicity and lengths.

    The cells need not fit into memory, and a run that was interrupted goes on with --resume, as with embed.
    """
    import se600m
    from se600m import _models

    with _cli_run.resumable("--resume"), _cli_run.progress_as(json_progress):
        done = se600m.tokenize_file(
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
            **options,
        )
    say.print(
        f"{many(done.n_cells, 'sentence')} of up to {done.n_slots:,} slots, fill {done.fill!r}, in {destination}"
        f"{_models.with_default_model(model)}"
    )


@app.command()
def decode(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="EMBEDDED.h5ad|EMB.npy", help="Embedded cells: a file written by embed, or zarr or h5mu."
        ),
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="OUT.h5ad|OUT.npy", help="File to write: predicted expression, cells × genes.")
    ],
    genes: Annotated[str | None, typer.Option(help="Gene symbols, separated by commas.")] = None,
    genes_file: Annotated[Path | None, typer.Option(help="Text file with one gene symbol per line.")] = None,
    key: EmbeddingKey = KEY,
    modality: Modality = None,
    model: Model = None,
    checkpoint: Checkpoint = None,
    protein_embeddings: ProteinEmbeddings = None,
    read_depth: Annotated[
        float | None, typer.Option(help="Read depth (log1p), from 0, for which expression is predicted; 4 by default.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json_progress: JsonProgress = False,
) -> None:
    """Predict the log1p expression of genes from embeddings, which are read and written some cells at a time.

    A run that was interrupted goes on with --resume, as with embed.
    """
    from se600m import _decode, _decode_files, _files, _journal, _models, _opened, _options, _resumable
    from se600m.errors import OptionError

    symbols = gene_list(genes, genes_file)
    if symbols is None:
        raise OptionError("give the genes to decode with either --genes A,B,C or --genes-file FILE")
    _options.checked_threads(threads)
    depth: dict[str, Any] = {} if read_depth is None else {"read_depth": read_depth}
    _decode.check_depth(**depth)
    _decode_files.check_kind(source, key, modality)
    _opened.check(model, device, precision, checkpoint, protein_embeddings)
    put = resume and _journal.was_put(destination.resolve())
    place = _files.check(destination, "OUT", overwrite=overwrite or put, suffixes=_EMBEDDINGS)
    _files.check_other_than(source, destination, "IN", "the embeddings")
    _resumable.check_found(place, resume=resume, overwrite=overwrite)
    embedded = (
        _decode_files.read_npy(source)
        if source.suffix == ".npy"
        else _decode_files.read(source, key, modality, with_obs=destination.suffix == ".h5ad")
    )
    with closing(embedded), _cli_run.resumable("--resume"), _cli_run.progress_as(json_progress):
        _decode_files.check(embedded, symbols, place, resume=resume)
        opened = _load(model, device, precision, checkpoint, protein_embeddings)
        _decode_files.write(opened, embedded, symbols, place, resume=resume, threads=threads, **depth)
        n_cells = embedded.embedding.shape[0]
    say.print(
        f"{many(n_cells, 'cell')} × {many(len(symbols), 'gene')} in {destination}{_models.with_default_model(model)}"
    )


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Checkpoint to convert: a folder, a .safetensors or a .ckpt file.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Model directory to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the converted model.")] = None,
    checkpoint: Checkpoint = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration (YAML) to use instead of the checkpoint's own.")
    ] = None,
    protein_embeddings: ProteinEmbeddings = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace DST if it is a converted model.")] = False,
) -> None:
    """Convert a checkpoint into a model directory that opens quickly."""
    import se600m

    se600m.convert(
        source,
        destination,
        name=name,
        checkpoint=checkpoint,
        config=config,
        protein_embeddings=protein_embeddings,
        overwrite=overwrite,
    )
    say.print(f"converted to {destination}")


app.command()(_cli_models.models)
app.command()(_cli_models.download)


@app.command()
def info(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Name, converted directory or checkpoint of a model.")
    ] = None,
    *,
    checkpoint: Checkpoint = None,
    protein_embeddings: ProteinEmbeddings = None,
) -> None:
    """Show information about a model, and its dimension flow."""
    import se600m

    print(se600m.info(model, checkpoint=checkpoint, protein_embeddings=protein_embeddings))


@app.command()
def doctor(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON, for programs.")] = False
) -> None:
    """Check whether embedding works on this machine; the exit status is 1 if it does not."""
    import se600m

    diagnosis = se600m.doctor()
    print(diagnosis.to_json() if as_json else worded(str(diagnosis)))
    raise typer.Exit(0 if diagnosis.ok else 1)


_Flavour = Annotated[str, typer.Argument(metavar="openvino|cuda|cpu", help="Build of ONNX Runtime.")]
runtimes = typer.Typer(no_args_is_help=True, help="Manage additional builds of ONNX Runtime.")
app.add_typer(runtimes, name="runtime")


@runtimes.command("install")
def install_runtime(
    flavour: _Flavour,
    wheels: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="WHEEL|FOLDER",
            help="Use this wheel, or the wheels in this folder, instead of downloading; may be given several times.",
        ),
    ] = None,
) -> None:
    """Download a build of ONNX Runtime into the cache. Installed Python packages do not change.

    For cuda, the libraries of CUDA that this machine lacks are downloaded, too.
    """
    from se600m import _runtimes

    runtime = _runtimes.install(flavour, wheels or None, tell=say.print)
    say.print(f"{flavour}: ONNX Runtime {runtime.version}, {runtime.size / 1e6:,.1f} MB, in {runtime.folder}")


@runtimes.command("list")
def list_runtimes() -> None:
    """List the available builds and show which are installed."""
    from se600m import _runtimes

    for flavour in _runtimes.PINNED:
        for number, part in enumerate(_runtimes.parts(flavour)):
            there, name = part.unpacked(), "" if number else flavour
            if there is not None:
                found = f"{there.size / 1e6:,.1f} MB, {there.folder}"
            else:
                elsewhere = part.elsewhere()
                found = "not installed" if elsewhere is None else f"its libraries are in {elsewhere}"
            print(f"{name:<8}  {part.pinned}  {found}")


@runtimes.command("remove")
def remove_runtime(flavour: _Flavour) -> None:
    """Remove a build from the cache."""
    from se600m import _runtimes

    for folder in _runtimes.remove(flavour):
        say.print(f"removed {folder}")


cache = typer.Typer(no_args_is_help=True, help="Manage the cache of converted models.")
app.add_typer(cache, name="cache")


@cache.command("list")
def list_cache() -> None:
    """List the content of the cache: name, description, size, last use and path."""
    from se600m import _cache, _conversions

    entries = _conversions.entries()
    folder, total = _cache.cache_dir(), sum(entry.size for entry in entries)
    print(f"{folder}: {len(entries)} converted, {total / 1e6:,.1f} MB")
    for entry in entries:
        _print_entry(entry)
    _print_runtimes()


def _print_entry(entry: _conversions.Entry) -> None:
    day = datetime.date.fromtimestamp(entry.last_use).isoformat()
    unused = "" if entry.busy or not entry.fault else "unused: "
    state = f"  ({unused}{entry.fault})" if entry.fault else ""
    print(f"{entry.name}  {entry.what}  {entry.size / 1e6:,.1f} MB  last used {day}  {entry.path}{state}")


def _print_runtimes() -> None:
    from se600m import _runtimes, _wheels

    for folder in _wheels.folders():
        what = "libraries of CUDA" if folder.name.startswith("nvidia-") else "a build of ONNX Runtime"
        print(
            f"{folder.name}  {what}  {_wheels.size(folder) / 1e6:,.1f} MB  {folder}  "
            f"(`se600m runtime remove {_runtimes.flavour_of(folder)}` removes it)"
        )


@cache.command("clear")
def clear_cache(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME…", help="Names from `se600m cache list`. Without a name, all models that are no longer used."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all converted models.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove converted models from the cache. They are converted again when they are next used."""
    from se600m import _cache, _conversions
    from se600m.errors import OptionError

    if names and everything:
        raise OptionError("give either names or --all, not both")
    entries = _conversions.chosen(names or [], everything)
    if not entries:
        what = "no converted models" if everything else "no unused models (--all removes the others)"
        say.print(f"{_cache.cache_dir()} has {what}")
        return
    for entry in entries:
        _print_entry(entry)
    size = sum(entry.size for entry in entries)
    if not yes:
        if not sys.stdin.isatty():
            raise OptionError(f"{len(entries)} would be removed: confirm with --yes")
        typer.confirm(f"Remove {len(entries)}, {size / 1e6:,.1f} MB?", abort=True, err=True)
    for entry in entries:
        _conversions.remove(entry)
    say.print(f"removed {len(entries)}, {size / 1e6:,.1f} MB")


_cli_contextual.add_to(app)
_cli_index.add_to(app)
_cli_nearest.add_to(app)


def main() -> None:
    """Run the command."""
    _cli_run.run(app)


if __name__ == "__main__":
    main()
