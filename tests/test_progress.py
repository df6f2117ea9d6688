"""Progress is shown where somebody watches: in a terminal and in a notebook, and nowhere else."""

import sys
import types

import pytest

import se600m
from se600m import _progress


class Shell:
    def __init__(self, notebook):
        self.config = {"IPKernelApp": {}} if notebook else {}


@pytest.mark.parametrize(
    "terminal, shell, asked, shown",
    [
        pytest.param(True, None, None, True, id="terminal"),
        pytest.param(False, None, None, False, id="script, pipe or log file"),
        pytest.param(False, Shell(notebook=True), None, True, id="notebook"),
        pytest.param(False, Shell(notebook=False), None, False, id="IPython without a terminal"),
        pytest.param(True, None, False, False, id="terminal, not wanted"),
        pytest.param(False, None, True, True, id="script, wanted"),
    ],
)
def test_where_progress_is_shown(monkeypatch, terminal, shell, asked, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert _progress.wanted(asked) == shown


def test_a_bar_counts_over_several_chunks(immune, random_model, capsys, monkeypatch):
    monkeypatch.setattr(se600m._anndata, "_CHUNK_VALUES", 5 * immune.n_vars)
    immune.X = immune.X.tocsc()
    se600m.embed(immune, model=random_model().model, progress=True)
    shown = capsys.readouterr().err
    assert "24/24" in shown
    assert "Embedding with" in shown
