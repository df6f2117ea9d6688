"""The documentation has every public name and every page, and the commands and calls that it prints exist.

That it can be built, and that its examples give what they show, is for `make docs`.
"""

import ast
import inspect
import operator
import re
import shlex
import typing
from pathlib import Path

import pytest
import typer
import typer.main

import se600m
from se600m import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if not {"_generated", "_build"} & set(p.relative_to(DOCS).parts))
TEXTS = [ROOT / "README.md", *PAGES]
FENCE = re.compile(r"^[`:]{3,}\{?(\w+)\}?[^\n]*\n(.*?)^[`:]{3,}$", re.M | re.S)


def blocks(path, *languages):
    return [code for language, code in FENCE.findall(path.read_text()) if language in languages]


def test_every_public_name_has_a_place_in_the_api():
    listed = re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(), re.M)
    assert sorted([*listed, "errors"]) == sorted(se600m.__all__)


@pytest.mark.parametrize(
    "name", ["embed", "embed_file", "tokenize", "Model.embed", "Model.attention", "map_orthologues"]
)
def test_types_can_be_looked_up(name):
    """By the site, and by editors and notebooks: a type that is imported for checkers alone can't be."""
    function = operator.attrgetter(name)(se600m)
    assert typing.get_type_hints(function)["adata" if "src" not in inspect.signature(function).parameters else "src"]


def test_every_page_is_in_a_table_of_contents():
    written = {p.relative_to(DOCS).with_suffix("").as_posix() for p in [*PAGES, *DOCS.glob("*.ipynb")]}
    listed = [line for code in blocks(DOCS / "index.md", "toctree") for line in code.splitlines()]
    pages = [line for line in listed if line and not line.startswith(":")]
    assert sorted(pages) == sorted((written | {"_generated/cli"}) - {"index"})


def commands(path):
    """Every `se600m ...` of a page's shell code, lines that are continued joined."""
    for code in blocks(path, "sh", "bash", "console"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ ").removeprefix("exec "), comments=True)
            if words and words[0] == "se600m":
                yield words[1:]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_command_that_is_printed_can_be_given(path):
    """An option that is gone, or an argument too many, is an error."""
    app = typer.main.get_command(cli.app)
    for words in commands(path):
        command, rest, context = app, words, None
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            context = command.make_context(command.name, [rest[0]], parent=context, resilient_parsing=True)
            command, rest = command.commands[rest[0]], rest[1:]
        try:
            command.make_context(command.name, list(rest), parent=context)
        except typer.Exit as done:  # --help
            assert done.exit_code == 0


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_call_that_is_printed_has_arguments_that_exist(path):
    """Functions of the package, and methods of a model, are called with arguments that they have."""
    owners = {"se600m": se600m, "model": se600m.Model}
    for code in blocks(path, "python", "testcode"):
        for call in ast.walk(ast.parse(code)):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            owner = owners.get(getattr(call.func.value, "id", None))
            if owner is not None:
                names = [keyword.arg for keyword in call.keywords]
                parameters = inspect.signature(getattr(owner, call.func.attr)).parameters
                assert set(names) <= set(parameters), ast.unparse(call)


def test_a_command_that_does_not_exist_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    for wrong in ("se600m embed in.h5ad out.h5ad --no-such-option", "se600m merge", "se600m embbed in.h5ad"):
        page.write_text(f"```sh\n{wrong}\n```\n")
        with pytest.raises((Exception, SystemExit)):
            test_every_command_that_is_printed_can_be_given(page)
    page.write_text("```python\nse600m.embed(adata, laier=1)\n```\n")
    with pytest.raises(AssertionError, match="laier"):
        test_every_call_that_is_printed_has_arguments_that_exist(page)
