"""Configuration of Sphinx: `make docs` builds the site."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes

import se600m

HERE = Path(__file__).parent

project = "se600m-go"
author = "the se600m-go authors"
copyright = f"2026, {author}"
version = release = se600m.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_generated/times.md"]  # that one is part of another page
templates_path = ["_templates"]
nitpicky = True

# -- pages ------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False  # options begin with two hyphens, and messages have code with quotes
# The notebooks are committed with their outputs, which `make docs` compares with a new run (tools/run_notebook.py).
nb_execution_mode = "off"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# -- API, from docstrings ---------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list: properties among them are members, too
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True

# What a reader does not have to see resolved: types of other packages, where their documentation can't be asked
# (intersphinx is on where there is a network, below), and words of docstrings that stand for a type.
nitpick_ignore_regex = [
    ("py:.*", r"(anndata|numpy|np|npt|pandas|pd|dask|pyarrow|lancedb|h5py|zarr|os|pathlib|collections|typing)\..*"),
    ("py:class", r"Any|Unpack|Path|optional|array|ndarray|dict|AnnData|(se600m\._ann_collection\.)?AnnCollection|None"),
]

ONLINE = os.environ.get("READTHEDOCS") == "True" or os.environ.get("SE600M_DOCS_ONLINE") == "1"
intersphinx_mapping = (
    {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/pandas-docs/stable/", None),
        "python": ("https://docs.python.org/3", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
    }
    if ONLINE
    else {}
)

# -- examples, which `make docs` runs ------------------------------------------------------------

doctest_global_setup = (HERE / "doctest_setup.py").read_text()
doctest_global_cleanup = "_leave()"

# -- look ----------------------------------------------------------------------------------------

html_theme = "sphinx_book_theme"
html_title = "se600m-go"
html_static_path = ["_static"]
html_css_files = ["se600m.css"]
html_theme_options: dict[str, Any] = {
    "repository_url": "https://github.com/se600m/se600m-go",
    "repository_branch": "main",
    "path_to_docs": "docs",
    "use_repository_button": True,
    "use_issues_button": True,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search is at the side
}
linkcheck_anchors = False

# -- the command line, from the commands themselves ----------------------------------------------


def write_commands(_: Any) -> None:
    """Write the page of all commands and options, as they are in the package that is installed."""
    command = [sys.executable, "-m", "typer", "se600m.cli", "utils", "docs", "--name", "se600m"]
    said = subprocess.run([*command, "--title", "Command line"], capture_output=True, text=True, check=True)
    page = HERE / "_generated" / "cli.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(said.stdout)


# -- how long it takes, from the benchmark ----------------------------------------------------------

CASES = {"whole transcriptomes": "full width, 16 layers", "765-gene panel": "full width, 16 layers, 765-gene panel"}
SIDES = {"fp32": "ours", "int8": "ours, int8", "bf16": "ours, bf16"}
MEASURED_CORES = 2


def duration(seconds: float) -> str:
    """Say a time with two digits at most."""
    for unit, size, least in (("days", 86_400, 2), ("hours", 3_600, 2), ("minutes", 60, 1)):
        if (amount := seconds / size) >= least:
            return f"{amount:,.0f} {unit}" if amount >= 9.5 else f"{amount:.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} seconds"


def write_times(_: Any) -> None:
    """Write the tables of cells × cores × precision, from docs/benchmarks/results.json."""
    results = json.loads((HERE / "benchmarks" / "results.json").read_text())
    measured = {(row["case"], row["side"]): row["spread"]["median"] / 1e3 for row in results["cases"]["full"]["rows"]}
    lines = []
    for title, case in CASES.items():
        seconds = {precision: measured[case, side] for precision, side in SIDES.items()}
        per_cell = ", ".join(f"{precision} {value:.1f} s" for precision, value in seconds.items())
        lines += ["", f"**SE-600M, {title}.** Seconds per cell on {MEASURED_CORES} cores: {per_cell}.", ""]
        cells = (1_000, 10_000, 100_000, 1_000_000)
        lines += ["| cores, precision | " + " | ".join(f"{n:,} cells" for n in cells) + " |", "|---|" + "---:|" * 4]
        for cores in (MEASURED_CORES, 16, 64):
            for precision, value in seconds.items():
                times = [duration(n * value * MEASURED_CORES / cores) for n in cells]
                lines.append(f"| {cores}, {precision} | " + " | ".join(times) + " |")
    (HERE / "_generated" / "times.md").write_text("\n".join(lines) + "\n")


# -- references ------------------------------------------------------------------------------------

# Classes are documented under the name that users import them by, and annotations have the module that they live in.
PUBLIC = {home + "." + name: f"se600m.{name}" for name, home in se600m._HOMES.items()}


def find_public(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Resolve a reference to a public class by the module that it lives in."""
    target = PUBLIC.get(node.get("reftarget"))
    if target is None or node.get("refdomain") != "py":
        return None
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, text)


DEVICE = re.compile(r"Literal\['auto', 'cpu', [^]]*\]")


def shown_signature(
    _app: Any, what: str, _name: str, _obj: Any, _options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Leave out how objects are made, as functions return them, and the list of all devices."""
    if what == "class":
        return "", None
    return None if signature is None else (DEVICE.sub("str", signature), returns)


def with_dashes(_app: Any, doctree: Any) -> None:
    """Put a dash between a name and its description, which smart quotes would do."""
    for text in list(doctree.findall(nodes.Text)):
        if text.startswith(" -- ") and not isinstance(text.parent, nodes.literal_block):
            text.parent.replace(text, nodes.Text(text.replace(" -- ", " – ", 1)))


def setup(app: Any) -> None:
    """Connect what is above."""
    app.connect("doctree-read", with_dashes)
    app.connect("autodoc-process-signature", shown_signature)
    shutil.rmtree(HERE / "_generated", ignore_errors=True)
    app.connect("builder-inited", write_commands, priority=100)
    app.connect("builder-inited", write_times, priority=101)
    app.connect("missing-reference", find_public)
