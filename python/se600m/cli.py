"""The ``se600m`` command."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from anndata import AnnData

_Model = Annotated[str | None, typer.Option(help="Name, converted directory or checkpoint.")]
_Checkpoint = Annotated[str | None, typer.Option(help="Which of several checkpoints in a folder, by its file name.")]
_ProteinEmbeddings = Annotated[
    Path | None, typer.Option(help="Gene table (.pt) to use instead of the checkpoint's own.")
]
_Device = Annotated[str, typer.Option(help="auto, cpu, openvino, cuda, cuda:N or tensorrt.")]
_Precision = Annotated[str, typer.Option(help="auto, fp32, int8 or bf16 (on OpenVINO).")]
_Threads = Annotated[int | None, typer.Option(help="Threads; all cores by default.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="State embeddings (SE-600M) of single cells.")
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]
_INTERRUPTED = 128 + signal.SIGINT
"""What a shell calls the end by Ctrl-C."""
_say = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


@app.command()
def embed(
    source: Annotated[Path, typer.Argument(metavar="IN.h5ad", help="Cells to embed.")],
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists, and what others wrote under the key in it.")
    ] = False,
) -> None:
    """Embed the cells of an h5ad file."""
    import numpy as np

    import se600m
    from se600m import _destination, _files, _h5ad, _keep
    from se600m._options import MIN_COVERAGE

    alone = destination.suffix == ".npy"
    place = _files.check(destination, "OUT", overwrite=overwrite, suffixes=(".h5ad", ".npy"))
    as_it_is = not alone and _h5ad.is_h5ad(source)
    n_bytes = 0 if alone or not source.is_file() else source.stat().st_size
    _files.check_space(place, n_bytes, "OUT")
    adata = _read_h5ad(source)
    if not alone:
        names = ("--key", "--overwrite")
        _destination.check_embedding(adata, key, dataset=False, overwrite=overwrite, copy=False, options=names)
        if not as_it_is:
            _h5ad.check_writable(adata)
    opened = se600m.load_model(
        model, device=device, precision=precision, checkpoint=checkpoint, protein_embeddings=protein_embeddings
    )
    _files.check_space(place, n_bytes + 4 * adata.n_obs * (opened.output_dim + opened.dataset_dim), "OUT")
    before = set(adata.obsm)
    se600m.embed(
        adata,
        model=opened,
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
        overwrite=overwrite or alone,
    )
    apart = [f"{key}_dataset"] if opened.dataset_dim and not with_dataset_embedding else []
    arrays = {name: adata.obsm[name] for name in (key, *apart)}
    dataset = arrays[apart[0]] if apart else None
    kept = _keep.kept_on_failure(arrays[key], dataset, key, str(destination), place.parent)
    with kept, _files.appearing(place) as draft:
        if alone:
            with draft.open("wb") as file:
                np.save(file, arrays[key])
        elif as_it_is:
            added = {"obsm": arrays, "uns": {key: adata.uns[key]}}
            _h5ad.copy_with(source, draft, added, drop={"obsm": before - set(adata.obsm)})
        else:
            adata.write_h5ad(draft)
    n, width = arrays[key].shape
    _say.print(f"{n:,} cells × {width:,} in {'' if alone else f'obsm[{key!r}] of '}{destination}")


@app.command()
def tokenize(
    source: Annotated[Path, typer.Argument(metavar="IN.h5ad", help="Cells.")],
    destination: Annotated[Path, typer.Argument(metavar="OUT.npz", help="Their sentences, as arrays.")],
    model: _Model = None,
    layer: Annotated[str | None, typer.Option(help="Layer with the expression.")] = None,
    use_raw: Annotated[bool, typer.Option("--use-raw", help="Take .raw.X.")] = False,
    gene_column: Annotated[str | None, typer.Option(help="Column of var with gene names.")] = None,
    expression: Annotated[str, typer.Option(help="auto, counts or log1p.")] = "auto",
    fill: Annotated[str, typer.Option(help="auto, shared, independent, expected or none.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    threads: _Threads = None,
    min_coverage: Annotated[float | None, typer.Option(help="Least share of genes that the model must know.")] = None,
    overwrite: _Overwrite = False,
) -> None:
    """Write the sentences that embed gives to the model: gene_indices, expression_values, multiplicity, lengths."""
    import numpy as np

    import se600m
    from se600m import _files
    from se600m._options import MIN_COVERAGE

    place = _files.check(destination, "OUT", overwrite=overwrite, suffixes=(".npz",))
    sentences = se600m.tokenize(
        _read_h5ad(source),
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
    with _files.told("OUT", destination), _files.appearing(place) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            gene_indices=sentences.gene_indices,
            expression_values=sentences.expression_values,
            multiplicity=sentences.multiplicity,
            lengths=sentences.lengths,
        )
    n, width = sentences.gene_indices.shape
    _say.print(f"{n:,} sentences of up to {width:,} slots, fill {sentences.fill!r}, in {destination}")


def _read_h5ad(path: Path, backed: bool = False) -> AnnData:
    import anndata

    from se600m.errors import DataError

    if not path.is_file():
        raise DataError(f"IN is {str(path)!r}: there is no such file")
    try:
        return anndata.read_h5ad(path, backed="r" if backed else None)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{str(path)!r} can't be read as h5ad: {error}") from error


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(metavar="EMBEDDED.h5ad|EMB.npy", help="Embedded cells.")],
    destination: Annotated[Path, typer.Argument(metavar="OUT.h5ad|OUT.npy", help="Cells × genes to write.")],
    genes: Annotated[str | None, typer.Option(help="Gene symbols, with commas between.")] = None,
    genes_file: Annotated[Path | None, typer.Option(help="Text file with a gene symbol a line.")] = None,
    key: Annotated[str, typer.Option(help="Key of obsm with the embedding.")] = "X_state",
    model: _Model = None,
    checkpoint: _Checkpoint = None,
    protein_embeddings: _ProteinEmbeddings = None,
    read_depth: Annotated[float | None, typer.Option(help="log1p depth to predict for; 4 by default.")] = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    threads: _Threads = None,
    overwrite: _Overwrite = False,
) -> None:
    """Predict the log1p expression of genes from embeddings."""
    import se600m
    from se600m import _decode_files, _files
    from se600m.errors import DestinationError, OptionError

    if source.suffix not in (".h5ad", ".npy"):
        raise OptionError(f"IN is {str(source)!r}: give a path that ends in .h5ad or .npy")
    place = _files.check(destination, "OUT", overwrite=overwrite, suffixes=(".h5ad", ".npy"))
    if source.exists() and place.exists() and source.samefile(place):
        raise DestinationError(f"OUT is {str(destination)!r}, which is IN: its embeddings would be lost")
    symbols = _gene_list(genes, genes_file)
    embedded = (
        _decode_files.read_npy(source)
        if source.suffix == ".npy"
        else _decode_files.read_obsm(_read_h5ad(source, backed=True), key)
    )
    _decode_files.check(embedded, symbols, place)
    opened = se600m.load_model(
        model, device=device, precision=precision, checkpoint=checkpoint, protein_embeddings=protein_embeddings
    )
    options: dict[str, Any] = {} if read_depth is None else {"read_depth": read_depth}
    _decode_files.write(opened, embedded, symbols, place, threads=threads, **options)
    _say.print(f"{len(embedded.embedding):,} cells × {len(symbols):,} genes in {destination}")


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


class _Stopped(BaseException):
    """A signal asks the process to end; what is under way is cleaned up first."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number  # as a shell calls it


def main() -> None:
    """Run the command; errors end it with one clear line and exit status 1, wrong options with 2."""
    _listen()
    try:
        status = _run()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has gone, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1  # as typer ends it where the output is not buffered
    sys.exit(status)


def _listen() -> None:
    """Have warnings and signals in the command's own way. A signal that is ignored, as by nohup, stays so."""
    warnings.showwarning = lambda message, *_args, **_more: _say.print(f"warning: {_one_line(message)}")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 can't show "×"

    def stop(number: int, _frame: object) -> None:
        for name in ours:  # once is enough: cleaning up is not interrupted
            signal.signal(name, signal.SIG_IGN)
        raise _Stopped(number)

    ours = [name for name in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(name) == signal.SIG_DFL]
    for name in ours:
        signal.signal(name, stop)


def _run() -> int:
    """Run the command and say in one line what ended it; gives the exit status."""
    try:
        status = app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):  # versions of typer differ in what they make of Ctrl-C
        status = _INTERRUPTED
    except _Stopped as stopped:
        status = stopped.status
    except BrokenPipeError:
        raise
    except Exception as error:
        return _told(error)
    if status in (_INTERRUPTED, 128 + signal.SIGTERM, 128 + signal.SIGHUP):
        _say.print("stopped; nothing was written")
    return int(status)


def _told(error: Exception) -> int:
    from se600m.errors import SE600MError

    if os.environ.get("SE600M_DEBUG"):
        traceback.print_exception(error)
    usage = getattr(error, "format_message", None)  # a wrong option
    if usage is not None:
        return _failed(usage(), getattr(error, "exit_code", 2))
    if isinstance(error, SE600MError):
        return _failed(str(error))
    if isinstance(error, MemoryError):
        return _failed(f"not enough memory ({error}): use a machine with more, or fewer cells")
    if isinstance(error, OSError):
        of_file = "" if error.filename is None else f"{str(error.filename)!r}: "
        return _failed(f"{of_file}{error.strerror or error}")
    return _failed(
        f"{type(error).__name__}: {error}: this is a defect of se600m, please report it with what SE600M_DEBUG=1 in "
        "the environment shows"
    )


def _failed(message: object, status: int = 1) -> int:
    _say.print(f"error: {_one_line(message)}")
    return status


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


if __name__ == "__main__":
    main()
