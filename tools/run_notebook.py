"""Run a notebook and keep its outputs in it, and nothing of the machine that it ran on."""

from __future__ import annotations

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


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(Path(argument), Path(folder)), argument)
        print(f"run: {argument}")
