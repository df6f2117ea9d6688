"""The ``se600m`` command."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    import anndata

app = typer.Typer(no_args_is_help=True, add_completion=False, help="State embeddings (SE-600M) of single cells.")
_say = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def embed(
    source: Annotated[Path, typer.Argument(metavar="IN.h5ad", help="Cells to embed.")],
    destination: Annotated[Path, typer.Argument(metavar="OUT.h5ad", help="The same with the embedding in obsm.")],
    model: Annotated[str | None, typer.Option(help="Name, converted directory or checkpoint.")] = None,
    key: Annotated[str, typer.Option(help="Key of obsm.")] = "X_state",
    layer: Annotated[str | None, typer.Option(help="Layer with the expression.")] = None,
    use_raw: Annotated[bool, typer.Option("--use-raw", help="Embed .raw.X.")] = False,
    gene_column: Annotated[str | None, typer.Option(help="Column of var with gene symbols.")] = None,
    expression: Annotated[str, typer.Option(help="auto, counts or log1p.")] = "auto",
    fill: Annotated[str, typer.Option(help="auto, shared, independent, expected or none.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or tensorrt.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto or fp32.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Cells a batch.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; all cores by default.")] = None,
    min_coverage: Annotated[float | None, typer.Option(help="Least share of genes that the model must know.")] = None,
) -> None:
    """Embed the cells of an h5ad file."""
    import se600m
    from se600m._model import MIN_COVERAGE

    if destination.suffix != ".h5ad":
        raise se600m.errors.OptionError(f"OUT is {str(destination)!r}: give a path that ends in .h5ad")
    adata = _read(source)
    se600m.embed(
        adata,
        model=model,
        key_added=key,
        layer=layer,
        use_raw=use_raw,
        gene_column=gene_column,
        expression=expression,
        fill=fill,
        seed=seed,
        device=device,
        precision=precision,
        batch_size=batch_size,
        threads=threads,
        min_coverage=MIN_COVERAGE if min_coverage is None else min_coverage,
    )
    with _whole_file(destination) as draft:
        adata.write_h5ad(draft)
    n, width = adata.obsm[key].shape
    _say.print(f"{n:,} cells × {width:,} in obsm[{key!r}] of {destination}")


@app.command()
def tokenize(
    source: Annotated[Path, typer.Argument(metavar="IN.h5ad", help="Cells.")],
    destination: Annotated[Path, typer.Argument(metavar="OUT.npz", help="Their sentences, as arrays.")],
    model: Annotated[str | None, typer.Option(help="Name, converted directory or checkpoint.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer with the expression.")] = None,
    use_raw: Annotated[bool, typer.Option("--use-raw", help="Take .raw.X.")] = False,
    gene_column: Annotated[str | None, typer.Option(help="Column of var with gene names.")] = None,
    expression: Annotated[str, typer.Option(help="auto, counts or log1p.")] = "auto",
    fill: Annotated[str, typer.Option(help="auto, shared, independent, expected or none.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all cores by default.")] = None,
    min_coverage: Annotated[float | None, typer.Option(help="Least share of genes that the model must know.")] = None,
) -> None:
    """Write the sentences that embed gives to the model: gene_indices, expression_values, multiplicity, lengths."""
    import numpy as np

    import se600m
    from se600m._model import MIN_COVERAGE

    if destination.suffix != ".npz":
        raise se600m.errors.OptionError(f"OUT is {str(destination)!r}: give a path that ends in .npz")
    sentences = se600m.tokenize(
        _read(source),
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
    with _whole_file(destination) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            gene_indices=sentences.gene_indices,
            expression_values=sentences.expression_values,
            multiplicity=sentences.multiplicity,
            lengths=sentences.lengths,
        )
    n, width = sentences.gene_indices.shape
    _say.print(f"{n:,} sentences of up to {width:,} slots, fill {sentences.fill!r}, in {destination}")


def _read(source: Path) -> anndata.AnnData:
    import anndata

    from se600m import errors

    if not source.is_file():
        raise errors.DataError(f"IN is {str(source)!r}: there is no such file")
    try:
        return anndata.read_h5ad(source)
    except (OSError, KeyError, ValueError) as error:
        raise errors.DataError(f"{str(source)!r} can't be read as h5ad: {error}") from error


@contextmanager
def _whole_file(destination: Path) -> Iterator[Path]:
    """Give a path to write to; the file then appears at its destination, whole or not at all."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.", suffix=".unfinished")
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())
        draft.replace(destination)
    finally:
        draft.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Checkpoint: folder, .safetensors or .ckpt.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Directory to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    config: Annotated[Path | None, typer.Option(help="config.yaml to use instead.")] = None,
    protein_embeddings: Annotated[Path | None, typer.Option(help="Gene table (.pt) to use instead.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a converted model.")] = False,
) -> None:
    """Convert a checkpoint into a model directory."""
    import se600m

    se600m.convert(
        source, destination, name=name, config=config, protein_embeddings=protein_embeddings, overwrite=overwrite
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
