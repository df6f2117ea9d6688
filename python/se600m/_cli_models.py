"""The commands that list and download models."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from se600m import _cli_run
from se600m._cli_options import JsonProgress
from se600m._cli_run import say


def models() -> None:
    """List the models that have names: size, licence, and what of them is on this machine."""
    from se600m import _download, _files, _licences, _models, _published

    for name in _models.bundled():
        folder = _models.BUNDLED / name
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{name}  {_files.size(size)}, in the package, a small model for trying things out")
    for model in _published.MODELS:
        accepted = "accepted" if _licences.accepted(model) else "not accepted yet"
        print(
            f"{model.name}  about {_files.size(model.size)} to download from {model.repository}, revision "
            f"{model.revision[:12]}; {model.licence} ({model.terms}), {accepted}"
        )
        files, converted, size = _download.files(model), _download.converted(model), _download.size_here(model)
        if files is not None:
            print(f"  downloaded  {files}")
        elif size:
            print(f"  partly downloaded ({_files.size(size)})  {_download.folder(model)}")
        if converted is not None:
            print(f"  converted   {converted}")
        if files is None and converted is None:
            print(f"  not on this machine: `se600m download {model.name}` gets it")


def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model: SE-600M.")],
    *,
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence", help="Accept the model's licence and acceptable-use policy without a question."
        ),
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag of the repository; by default the one this version pins.")
    ] = None,
    convert: Annotated[
        bool, typer.Option("--convert/--no-convert", help="Convert the checkpoint into the cache.")
    ] = True,
    delete_source: Annotated[
        bool, typer.Option("--delete-source", help="Delete the downloaded files after the conversion.")
    ] = False,
    json_progress: JsonProgress = False,
) -> None:
    """Download a model and convert it. An interrupted download goes on where it stopped."""
    import se600m
    from se600m import _licences, _models

    model = _models.named(name)
    _models.check_kept(convert, delete_source)
    if not _licences.accepted(model):
        say.print(_licences.described(model))
        if not accept_licence and sys.stdin.isatty():
            accept_licence = typer.confirm("Do you accept both?", err=True)
    with _cli_run.resumable(), _cli_run.progress_as(json_progress):
        place = se600m.download(
            name,
            accept_licence=accept_licence,
            revision=revision,
            convert=convert,
            delete_source=delete_source,
            tell=say.print,
        )
    other = revision not in (None, model.revision)
    say.print(f"{model.name} is in {place}: use it with --model {place if other else model.name}")
