"""The options that several commands of ``se600m`` share, written once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import typer

from se600m import _options
from se600m._options import CellOptions


def _one_of(*names: str) -> Callable[[str], list[str]]:
    """Have the shell complete the value of an option with these names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def _models(incomplete: str) -> list[str]:
    from se600m import _models, _published

    return _one_of(*_models.bundled(), *(model.name for model in _published.MODELS))(incomplete)


CELLS = "Cells to read: an h5ad, zarr, h5mu or 10x .h5 file, or a folder with matrix.mtx."

Model = Annotated[
    str | None,
    typer.Option(help="Name, converted directory or checkpoint of the model.", autocompletion=_models),
]
Checkpoint = Annotated[str | None, typer.Option(help="File name of the checkpoint, if the folder has several.")]
ProteinEmbeddings = Annotated[
    Path | None, typer.Option(help="Gene table (.pt) to use instead of the checkpoint's own.")
]
Device = Annotated[
    str,
    typer.Option(
        help="Device: auto, cpu, openvino, cuda, cuda:N or tensorrt.",
        autocompletion=_one_of("auto", "cpu", "openvino", "cuda", "tensorrt"),
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="Precision: auto, fp32, int8, bf16 (OpenVINO, GPU) or fp16 (GPU).",
        autocompletion=_one_of(*get_args(_options.Precision)),
    ),
]
EmbeddingKey = Annotated[str, typer.Option("--key", help="Key of obsm under which the embedding is stored.")]
Neighbours = Annotated[int, typer.Option("--k", "-k", help="Number of nearest cells to find.")]
Weights = Annotated[
    str,
    typer.Option(help="Weights of the votes: uniform or similarity.", autocompletion=_one_of("uniform", "similarity")),
]
Threads = Annotated[int | None, typer.Option(help="Number of threads; all cores by default.")]
Modality = Annotated[
    str | None,
    typer.Option(help="Modality of a MuData file to read; by default the one named rna or gex."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]
OverwriteLabels = Annotated[
    bool, typer.Option("--overwrite", help="Replace OUT if it exists, and columns of IN that se600m did not write.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with what an interrupted run has left, if it has left anything.")
]
Memory = Annotated[str, typer.Option(help="Memory for cells and their results, beside that of the model.")]
ReportFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json|FILE.html", help="Write how the run went to this file, as JSON or as a web page."),
]
JsonProgress = Annotated[
    bool, typer.Option("--json-progress", help="Write the progress as lines of JSON to standard error.")
]

_GenesFile = Annotated[Path | None, typer.Option("--genes-file", help="Text file with one such gene per line.")]

_HELP = {
    "layer": "Layer that contains the expression, if it is not in X.",
    "use_raw": "Read the expression from .raw.X.",
    "gene_column": "Column of var with the gene symbols or Ensembl ids; by default the column with most known genes.",
    "expression": "Type of the values: auto, counts or log1p.",
    "fill": "How empty slots are filled: auto, shared, independent, expected or none.",
    "seed": "Random seed.",
    "batch_size": "Number of cells per batch. It affects the speed, not the result.",
    "threads": "Number of threads; all cores by default.",
    "min_coverage": "Minimum share of the genes that the model must know, from 0 to 1.",
    "strict": "Stop with an error instead of a warning if the data looks wrong.",
}


def listed(names: str) -> list[str]:
    """Split names with commas between them."""
    return [name.strip() for name in names.split(",") if name.strip()]


def gene_list(genes: str | None, genes_file: Path | None) -> list[str] | None:
    """Read names of genes: those with commas between them, or the lines of a file; None if neither is given."""
    from se600m import _files
    from se600m.errors import DataError, OptionError

    if genes is not None and genes_file is not None:
        raise OptionError("give the genes with either --genes A,B,C or --genes-file FILE, not both")
    if genes is not None:
        option, names = "--genes", listed(genes)
    elif genes_file is not None:
        option = f"--genes-file {str(genes_file)!r}"
        try:
            lines = genes_file.expanduser().read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{option} can't be read: {_files.reason(error)}") from error
        names = [line.strip() for line in lines if line.strip()]
    else:
        return None
    if not names:
        raise OptionError(f"{option} is empty: give at least one gene symbol")
    return names


_F = TypeVar("_F", bound=Callable[..., Any])


def cell_options(
    keywords: type, genes: str = "Genes that may enter the sentences; all by default."
) -> Callable[[_F], _F]:
    """Give a command, which takes them as ``**options``, the options for cells that are among some keywords.

    Names, types and defaults are those of :class:`se600m._options.CellOptions`. The command gets those that were typed,
    as a function gets those that its caller names. ``genes`` says what genes are chosen for.
    """
    chosen = Annotated[str | None, typer.Option("--genes", metavar="A,B,…", help=genes)]

    def decorate(command: _F) -> _F:
        signature = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def with_typed(context: typer.Context, **given: Any) -> Any:
            genes = gene_list(given.pop("genes"), given.pop("genes_file"))
            for parameter in shown:
                source = context.get_parameter_source(parameter.name)
                if parameter.name in given and source is not None and source.name == "DEFAULT":
                    del given[parameter.name]
            return command(**given, **({} if genes is None else {"genes": genes}))

        kinds, wanted = get_type_hints(CellOptions), get_type_hints(keywords)
        shown = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=_option(f, kinds))
            for f in dataclasses.fields(CellOptions)
            if f.name in wanted and f.name in _HELP
        ]
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        shown += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in (("genes", chosen), ("genes_file", _GenesFile))
        ]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        every = [*own, *shown, context]
        with_typed.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
        with_typed.__annotations__ = {p.name: p.annotation for p in every}
        return cast("_F", with_typed)

    return decorate


def _option(field: dataclasses.Field[Any], kinds: dict[str, Any]) -> Any:
    kind, complete = kinds[field.name], None
    if get_origin(kind) is Literal:
        complete = _one_of(*get_args(kind))
        kind = str  # a wrong choice is named by the option's own check, with the nearest one
    elif isinstance(kind, types.UnionType):
        kind = get_args(kind)[0] | None
    names = [f"--{field.name.replace('_', '-')}"] if kind is bool else []  # no --no-use-raw
    return Annotated[kind, typer.Option(*names, help=_HELP[field.name], autocompletion=complete)]
