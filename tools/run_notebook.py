"""Run a notebook and keep its outputs in it, and nothing of the machine that it ran on."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

TIMEOUT = 600
"""Seconds for the start, and for one cell."""


def executed(path: Path, folder: Path) -> NotebookNode:
    """Run every cell of a notebook with ``folder`` as the working directory; the file stays as it is.

    Of the outputs, results and pictures are kept. What goes to stderr is not: progress bars, and warnings of
    libraries with their paths.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=TIMEOUT,
        startup_timeout=TIMEOUT,
        resources=resources,
        record_timing=False,
    )
    client.execute(env=os.environ | {"IPYTHONDIR": str(folder)})
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def changes(path: Path, folder: Path) -> list[str]:
    """Run a notebook and name the cells whose outputs are of other kinds than those that are kept in it.

    Numbers may differ in the last digit from machine to machine; kinds may not.
    """
    kept, ran = nbformat.read(path, as_version=4), executed(path, folder)
    return [cell.id for cell, stored in zip(ran.cells, kept.cells, strict=True) if kinds(cell) != kinds(stored)]


def kinds(cell: NotebookNode) -> list[tuple[str, list[str]]]:
    """Tell what a cell gave: kinds of outputs and their MIME types."""
    return [(output.output_type, sorted(output.get("data", {}))) for output in cell.get("outputs", [])]


def main() -> None:
    """Run notebooks, and keep the outputs in them or compare them with those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="compare; the files stay as they are")
    options = parser.parse_args()
    for path in options.notebooks:
        with tempfile.TemporaryDirectory() as folder:
            if not options.check:
                nbformat.write(executed(path, Path(folder)), path)
            elif different := changes(path, Path(folder)):
                sys.exit(f"{path} is not up to date, cells {', '.join(different)}: make notebook")
        print(f"run: {path}")


if __name__ == "__main__":
    main()
