"""The notebooks run as they stand, and what is committed was made by running them."""

import re
from pathlib import Path

import nbformat
import pytest

import run_notebook

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def committed(request):
    return nbformat.read(request.param, as_version=4)


@pytest.mark.timeout(900)
def test_the_quickstart_runs_and_gives_what_is_committed(tmp_path):
    """An error in a cell fails here. The others are run by `make docs`."""
    assert run_notebook.changes(DOCS / "quickstart.ipynb", tmp_path) == [], "make notebook"


def test_the_committed_notebook_is_valid_and_was_run_in_order(committed):
    nbformat.validate(committed)
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(cell.outputs for cell in code)
    assert committed.metadata == run_notebook.METADATA
    assert all(not cell.metadata for cell in committed.cells)


def test_it_has_nothing_of_the_machine_that_ran_it(committed):
    """Neither a path nor an address of an object in memory nor a line of stderr."""
    for cell in committed.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr"
            texts = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text/"))]
            for text in texts:
                assert not re.search(r"(/(home|root|tmp|work|usr|opt|Users)/|site-packages|0x[0-9a-f]{6})", text), text


def test_another_kind_of_output_is_a_change(tmp_path):
    path = tmp_path / "changed.ipynb"
    cell = nbformat.v4.new_code_cell("print(1)", id="first", outputs=[nbformat.v4.new_output("display_data")])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    assert run_notebook.changes(path, tmp_path) == ["first"]


def test_an_error_in_a_cell_is_an_error(tmp_path):
    path = tmp_path / "wrong.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        run_notebook.executed(path, tmp_path)
