"""The ``se600m`` command."""

from __future__ import annotations

import datetime
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from se600m import _conversions

_Model = Annotated[str | None, typer.Option(help="Name, converted directory or checkpoint.")]
_Checkpoint = Annotated[str | None, typer.Option(help="Which of several checkpoints in a folder, by its file name.")]
_ProteinEmbeddings = Annotated[
    Path | None, typer.Option(help="Gene table (.pt) to use instead of the checkpoint's own.")
]
_Device = Annotated[str, typer.Option(help="auto, cpu, openvino, cuda, cuda:N or tensorrt.")]
_Precision = Annotated[str, typer.Option(help="auto, fp32, int8 or bf16 (on OpenVINO).")]
_Modality = Annotated[
    str | None, typer.Option(help="Which modality of an h5mu or other MuData; by default the one called rna or gex.")
]
_Threads = Annotated[int | None, typer.Option(help="Threads; all cores by default.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="State embeddings (SE-600M) of single cells.")
_CELLS = "Cells: h5ad, zarr, h5mu, a 10x .h5, or a folder with matrix.mtx."
_say = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def embed(
    source: Annotated[Path, typer.Argument(metavar="IN", help=_CELLS)],
    destination: Annotated[
        Path,
        typer.Argument(metavar="OUT.h5ad|OUT.npy", help="The same with the embedding in obsm, or the embedding alone."),
    ],
    model: _Model = None,
    checkpoint: _Checkpoint = None,
    protein_embeddings: _ProteinEmbeddings = None,
    key: Annotated[str, typer.Option(help="Key of obsm.")] = "X_state",
    layer: Annotated[str | None, typer.Option(help="Layer with the expression.")] = None,
    use_raw: Annotated[bool, typer.Option("--use-raw", help="Embed .raw.X.")] = False,
    modality: _Modality = None,
    gene_column: Annotated[str | None, typer.Option(help="Column of var with gene symbols.")] = None,
    expression: Annotated[str, typer.Option(help="auto, counts or log1p.")] = "auto",
    fill: Annotated[str, typer.Option(help="auto, shared, independent, expected or none.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    device: _Device = "auto",
    precision: _Precision = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Cells a batch.")] = None,
    threads: _Threads = None,
    min_coverage: Annotated[float | None, typer.Option(help="Least share of genes that the model must know.")] = None,
    with_dataset_embedding: Annotated[
        bool, typer.Option("--with-dataset-embedding", help="Append the dataset embedding, as arc-state stores it.")
    ] = False,
) -> None:
    """Embed the cells of a file."""
    import numpy as np

    import se600m
    from se600m import _files, _formats, _models
    from se600m._options import MIN_COVERAGE

    _check_suffix("OUT", destination)
    adata = _formats.read(source, modality=modality)
    se600m.embed(
        adata,
        model=se600m.load_model(
            model, device=device, precision=precision, checkpoint=checkpoint, protein_embeddings=protein_embeddings
        ),
        key_added=key,
        layer=layer,
        use_raw=use_raw,
        gene_column=gene_column,
        expression=expression,
        fill=fill,
        seed=seed,
        batch_size=batch_size,
        threads=threads,
        min_coverage=MIN_COVERAGE if min_coverage is None else min_coverage,
        with_dataset_embedding=with_dataset_embedding,
    )
    with _files.appearing(destination) as draft:
        if destination.suffix == ".npy":
            with draft.open("wb") as file:
                np.save(file, adata.obsm[key])
        else:
            adata.write_h5ad(draft)
    n, width = adata.obsm[key].shape
    _say.print(
        (
            f"{n:,} cells × {width:,} in {destination}"
            if destination.suffix == ".npy"
            else f"{n:,} cells × {width:,} in obsm[{key!r}] of {destination}"
        )
        + _models.with_default_model(model)
    )


@app.command()
def tokenize(
    source: Annotated[Path, typer.Argument(metavar="IN", help=_CELLS)],
    destination: Annotated[Path, typer.Argument(metavar="OUT.npz", help="Their sentences, as arrays.")],
    model: _Model = None,
    layer: Annotated[str | None, typer.Option(help="Layer with the expression.")] = None,
    use_raw: Annotated[bool, typer.Option("--use-raw", help="Take .raw.X.")] = False,
    modality: _Modality = None,
    gene_column: Annotated[str | None, typer.Option(help="Column of var with gene names.")] = None,
    expression: Annotated[str, typer.Option(help="auto, counts or log1p.")] = "auto",
    fill: Annotated[str, typer.Option(help="auto, shared, independent, expected or none.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    threads: _Threads = None,
    min_coverage: Annotated[float | None, typer.Option(help="Least share of genes that the model must know.")] = None,
) -> None:
    """Write the sentences that embed gives to the model: gene_indices, expression_values, multiplicity, lengths."""
    import numpy as np

    import se600m
    from se600m import _files, _formats, _models
    from se600m._options import MIN_COVERAGE

    if destination.suffix != ".npz":
        raise se600m.errors.OptionError(f"OUT is {str(destination)!r}: give a path that ends in .npz")
    sentences = se600m.tokenize(
        _formats.read(source, modality=modality),
        model=model,
        layer=layer,
        use_raw=use_raw,
        gene_column=gene_column,
        expression=expression,
        fill=fill,
        seed=seed,
        threads=threads,
        min_coverage=MIN_COVERAGE if min_coverage is None else min_coverage,
    )
    with _files.appearing(destination) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            gene_indices=sentences.gene_indices,
            expression_values=sentences.expression_values,
            multiplicity=sentences.multiplicity,
            lengths=sentences.lengths,
        )
    n, width = sentences.gene_indices.shape
    _say.print(
        f"{n:,} sentences of up to {width:,} slots, fill {sentences.fill!r}, in {destination}"
        + _models.with_default_model(model)
    )


def _check_suffix(what: str, path: Path) -> None:
    from se600m.errors import OptionError

    if path.suffix not in (".h5ad", ".npy"):
        raise OptionError(f"{what} is {str(path)!r}: give a path that ends in .h5ad or .npy")


@app.command()
def decode(
    source: Annotated[
        Path, typer.Argument(metavar="EMBEDDED.h5ad|EMB.npy", help="Embedded cells: what embed wrote, or zarr, h5mu.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="OUT.h5ad|OUT.npy", help="Cells × genes to write.")],
    genes: Annotated[str | None, typer.Option(help="Gene symbols, with commas between.")] = None,
    genes_file: Annotated[Path | None, typer.Option(help="Text file with a gene symbol a line.")] = None,
    key: Annotated[str, typer.Option(help="Key of obsm with the embedding.")] = "X_state",
    modality: _Modality = None,
    model: _Model = None,
    checkpoint: _Checkpoint = None,
    protein_embeddings: _ProteinEmbeddings = None,
    read_depth: Annotated[float | None, typer.Option(help="log1p depth to predict for; 4 by default.")] = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    threads: _Threads = None,
) -> None:
    """Predict the log1p expression of genes from embeddings."""
    import se600m
    from se600m import _decode_files, _formats, _models

    _check_suffix("OUT", destination)
    symbols = _gene_list(genes, genes_file)
    embedded = (
        _decode_files.read_npy(source)
        if source.suffix == ".npy"
        else _decode_files.read_obsm(_formats.read(source, modality=modality, backed=True), key)
    )
    opened = se600m.load_model(
        model, device=device, precision=precision, checkpoint=checkpoint, protein_embeddings=protein_embeddings
    )
    options: dict[str, Any] = {} if read_depth is None else {"read_depth": read_depth}
    _decode_files.write(opened, embedded, symbols, destination, threads=threads, **options)
    _say.print(
        f"{len(embedded.embedding):,} cells × {len(symbols):,} genes in {destination}"
        + _models.with_default_model(model)
    )


def _gene_list(genes: str | None, genes_file: Path | None) -> list[str]:
    from se600m.errors import DataError, OptionError

    if (genes is None) == (genes_file is None):
        raise OptionError("name the genes to decode: either --genes A,B,C or --genes-file FILE")
    if genes_file is None:
        assert genes is not None
        lines = genes.split(",")
    else:
        try:
            lines = genes_file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--genes-file {str(genes_file)!r} can't be read: {error}") from error
    return [line.strip() for line in lines if line.strip()]


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Checkpoint: folder, .safetensors or .ckpt.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Directory to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    checkpoint: _Checkpoint = None,
    config: Annotated[Path | None, typer.Option(help="config.yaml to use instead.")] = None,
    protein_embeddings: _ProteinEmbeddings = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a converted model.")] = False,
) -> None:
    """Convert a checkpoint into a model directory."""
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
    _say.print(f"converted to {destination}")


@app.command()
def info(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Name, directory or checkpoint.")] = None,
) -> None:
    """Tell what a model is, with its dimension flow."""
    import se600m

    print(se600m.info(model))


@app.command()
def doctor() -> None:
    """Check what this machine has and lacks; exit status 1 if embedding does not work here."""
    import se600m

    diagnosis = se600m.doctor()
    print(diagnosis)
    raise typer.Exit(0 if diagnosis.ok else 1)


_Flavour = Annotated[str, typer.Argument(metavar="openvino|cuda|cpu", help="Which build of ONNX Runtime.")]
runtimes = typer.Typer(no_args_is_help=True, help="Builds of ONNX Runtime beside the Python package's.")
app.add_typer(runtimes, name="runtime")


@runtimes.command("install")
def install_runtime(
    flavour: _Flavour,
    wheel: Annotated[
        Path | None, typer.Option("--from", metavar="WHEEL", help="The wheel, on a machine without a network.")
    ] = None,
) -> None:
    """Download a pinned build and put its libraries into the cache; Python's own packages stay as they are."""
    from se600m import _runtimes

    runtime = _runtimes.install(flavour, wheel)
    _say.print(f"{flavour}: ONNX Runtime {runtime.version}, {runtime.size / 1e6:,.1f} MB, in {runtime.folder}")


@runtimes.command("list")
def list_runtimes() -> None:
    """List the builds that are in the cache."""
    from se600m import _runtimes

    there = {runtime.flavour: runtime for runtime in _runtimes.installed()}
    for flavour, pinned in _runtimes.PINNED.items():
        found = f"{there[flavour].size / 1e6:,.1f} MB, {there[flavour].folder}" if flavour in there else "not installed"
        print(f"{flavour:<8}  {pinned.distribution} {pinned.version}  {found}")


@runtimes.command("remove")
def remove_runtime(flavour: _Flavour) -> None:
    """Remove a build from the cache."""
    from se600m import _runtimes

    for folder in _runtimes.remove(flavour):
        _say.print(f"removed {folder}")


cache = typer.Typer(no_args_is_help=True, help="Converted models that are kept, and what else the cache holds.")
app.add_typer(cache, name="cache")


@cache.command("list")
def list_cache() -> None:
    """List what is in the cache: name, what it is, size, last use, path."""
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
    from se600m import _runtimes

    for folder in sorted(p for p in _runtimes.folder().glob("*-*") if (p / "manifest.json").is_file()):
        size = sum({(s := p.stat()).st_ino: s.st_size for p in folder.iterdir()}.values())
        print(
            f"{folder.name}  a build of ONNX Runtime  {size / 1e6:,.1f} MB  {folder}  "
            f"(`se600m runtime remove {folder.name.partition('-')[0]}` removes it)"
        )


@cache.command("clear")
def clear_cache(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME…", help="Names from `se600m cache list`; none: what is not used any more."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every converted model.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove converted models from the cache; they are made again when they are needed."""
    from se600m import _cache, _conversions
    from se600m.errors import OptionError

    if names and everything:
        raise OptionError("--all and a NAME: choose one of the two")
    entries = _conversions.chosen(names or [], everything)
    if not entries:
        what = "no converted model" if everything else "nothing that is not used any more (--all removes the rest, too)"
        _say.print(f"{_cache.cache_dir()} has {what}")
        return
    for entry in entries:
        _print_entry(entry)
    size = sum(entry.size for entry in entries)
    if not yes:
        if not sys.stdin.isatty():
            raise OptionError(f"{len(entries)} would be removed: add --yes where nobody can be asked")
        typer.confirm(f"Remove {len(entries)}, {size / 1e6:,.1f} MB?", abort=True, err=True)
    for entry in entries:
        _conversions.remove(entry)
    _say.print(f"removed {len(entries)}, {size / 1e6:,.1f} MB")


def main() -> None:
    """Run the command; errors end it with one clear line and exit status 1."""
    from se600m.errors import SE600MError

    warnings.showwarning = lambda message, *_args, **_more: _say.print(f"warning: {message}", markup=False)
    interrupted = 130  # what a shell calls the end by Ctrl-C
    try:
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):  # versions of typer differ in what they make of Ctrl-C
        status = interrupted
    except SE600MError as error:
        _say.print(f"error: {error}", markup=False)
        sys.exit(1)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # a wrong option
        if usage is None:
            raise
        _say.print(f"error: {usage()}", markup=False)
        sys.exit(getattr(error, "exit_code", 2))
    if status == interrupted:
        _say.print("stopped; nothing was written")
    sys.exit(status)


if __name__ == "__main__":
    main()
