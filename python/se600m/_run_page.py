"""The report of a run as a web page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from se600m import _files, _picture
from se600m._words import many

_STEPS = {
    "opening": "Opening the input and the model",
    "checking": "Checking the cells",
    "waiting": "Waiting for cells to be read",
    "computing": "Computing",
    "writing": "Keeping results",
    "assembling": "Writing the output",
}
"""Steps that follow each other, by their keys in the report. Cells are read beside the computation."""
_RUN = {
    "input": "Input",
    "output": "Output",
    "shard": "Part of the cells",
    "shards": "Shards",
    "n_cells": "Cells",
    "resumed_from": "Cells done by an earlier run",
    "chunks": "Chunks",
    "memory": "Memory for cells and results",
    "finished": "Finished",
    "python": "Python",
}
_MODEL = {
    "model": "Model",
    "model_checksum": "Checksum",
    "provider": "Device",
    "precision": "Precision",
    "package": "Package",
    "runtime": "Runtime",
}
_OPTIONS = {
    "matrix": "Matrix",
    "layer": "Layer",
    "use_raw": "From .raw",
    "expression": "Expression, as chosen",
    "genes": "Genes",
    "fill": "Fill policy",
    "seed": "Seed",
    "batch_size": "Batch size",
    "threads": "Threads",
    "min_coverage": "Least coverage",
    "strict": "Strict",
    "with_dataset_embedding": "With the dataset embedding",
}
_GENES = {
    "gene_column": "Names of genes",
    "n_genes": "Genes in the data set",
    "n_matched": "Known to the model",
    "n_chosen": "Chosen of these",
    "n_vocabulary": "Genes in the model",
    "n_by_id": "Found by Ensembl id",
    "n_renamed": "Found under an earlier or later symbol",
    "n_close": "Similar to a known name",
    "n_left_out": "Left out",
    "n_repeated": "Repeated",
    "n_unnamed": "Without a name",
    "share_median": "Share of a cell's expression in known genes, median",
    "share_min": "The same, least",
    "other_features": "Features that are not genes",
}
_VALUES = {
    "n_counts": "Cells read as counts",
    "n_log1p": "Cells read as log1p values",
    "n_whole_log1p": "Read as log1p, but with whole numbers",
    "n_fractional_counts": "Read as counts, but with fractions",
    "n_large_log1p": "Read as log1p, but with large values",
    "n_log1p_like_counts": "Read as log1p, but like counts",
    "n_empty": "Cells that express no gene of those that enter the sentences",
    "n_negative": "Negative values",
    "n_negative_cells": "Cells with negative values",
}
_SHARES = ("share_median", "share_min", "min_coverage")
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --text: #1c2430; --faint: #5b6675; --line: #d5dbe3; --back: #ffffff; --card: #f4f6f9;
  --bar: #0072b2; --warn-back: #fff4e0; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --text: #e6eaf0; --faint: #a3adba; --line: #3a4452; --back: #14181e;
  --card: #1d232b; --bar: #56b4e9; --warn-back: #3a2a10; --warn: #ffcf8a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.15rem; }
p { margin: .25rem 0; }
.faint { color: var(--faint); }
.path { overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0;
  padding: 0; }
.cards div { padding: .75rem 1rem; border-radius: .5rem; background: var(--card); }
.cards dt { color: var(--faint); font-size: .875rem; }
.cards dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.warnings { margin: 0; padding: .75rem 1rem .75rem 2.25rem; border-radius: .5rem; background: var(--warn-back);
  color: var(--warn); }
.warnings li + li { margin-top: .5rem; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  font-weight: normal; overflow-wrap: anywhere; }
thead th { color: var(--faint); font-size: .875rem; }
tbody th { width: 22rem; max-width: 50%; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.share { width: 35%; }
.bar { display: block; height: .75rem; min-width: 1px; margin-top: .4rem; border-radius: .2rem;
  background: var(--bar); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 2.5rem; }
.columns tbody th { width: 55%; }
figure { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin: 0; }
figure svg { flex: 1 1 26rem; min-width: 0; max-width: 44rem; height: auto; }
figure figcaption { flex: 1 0 100%; order: 3; }
svg text { fill: currentColor; font-size: 13px; }
svg .frame { fill: none; stroke: var(--line); }
.legend { flex: 0 1 13rem; margin: 0; padding: 0; list-style: none; }
.legend li { position: relative; padding-left: 1.25rem; overflow-wrap: anywhere; }
.legend i { position: absolute; left: 0; top: .4rem; width: .75rem; height: .75rem; border-radius: 50%; }
pre { overflow-x: auto; padding: 1rem; border-radius: .5rem; background: var(--card); font-size: .8125rem; }
summary { cursor: pointer; }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="faint path">$subtitle</p>
$body
<h2>All of it</h2>
<details><summary>The report as JSON</summary><pre>$json</pre></details>
</main>
</body>
</html>
""")


def page(report: Mapping[str, Any], picture: _picture.Picture | None) -> str:
    """Write a report (see :class:`se600m.EmbeddedFile`) as a page of HTML.

    It refers to nothing outside itself, and every text of the report is escaped.
    """
    made = report.get("provenance", {})
    parts = [
        _cards(report),
        _warnings(report.get("warnings")),
        _figure(picture),
        '<div class="columns">',
        _section("Genes", made, _GENES, counts=True),
        _section("Expression", made, _VALUES, counts=True),
        _section("Model", made, _MODEL),
        _section("Options", made, _OPTIONS),
        "</div>",
        _times(report.get("seconds", {})),
        _section("Run", report, _RUN),
    ]
    return _PAGE.substitute(
        title=f"{_name(report['input'])} · se600m",
        subtitle=f"{escape(str(report['input']))} → {escape(str(report['output']))}",
        body="\n".join(part for part in parts if part),
        json=escape(json.dumps(dict(report), indent=2)),
    )


def _name(path: Any) -> str:
    return escape(Path(str(path).rstrip("/")).name or str(path))


def _cards(report: Mapping[str, Any]) -> str:
    rate, peak = report.get("cells_per_second"), report.get("peak_memory_bytes")
    cards = {
        "Cells": f"{report['n_cells']:,}",
        "Total time": _duration(report["seconds"]["total"]),
        "Cells per second": None if rate is None else f"{rate:,.1f}",
        "Peak memory": None if peak is None else _files.size(peak),
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cards.items() if value)
    return f'<dl class="cards">{shown}</dl>'


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _duration(seconds: float) -> str:
    if seconds < 0.95:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _warnings(warnings: Any) -> str:
    if warnings is None:
        return ""
    if not warnings:
        return "<h2>Warnings</h2><p>There were none.</p>"
    return f'<h2>Warnings</h2><ul class="warnings">{"".join(f"<li>{escape(str(w))}</li>" for w in warnings)}</ul>'


def _figure(picture: _picture.Picture | None) -> str:
    if picture is None:
        return ""
    drawn, legend = _picture.svg(picture)
    n = len(picture.points)
    which = (
        many(n, "cell") if n == picture.n_cells else f"{n:,} of {picture.n_cells:,} cells, evenly spaced in the file"
    )
    by = "" if picture.column is None else f", coloured by <code>obs[{escape(repr(picture.column))}]</code>"
    entries = "".join(
        f'<li><i style="background:{colour}"></i>{escape(name)} <span class="faint">{count:,}</span></li>'
        for colour, name, count in legend
    )
    listed = "" if picture.column is None else f'<ul class="legend">{entries}</ul>'
    caption = f'<figcaption class="faint">The first two principal components of {which}{by}.</figcaption>'
    return f"<h2>The embedding</h2><figure>{drawn}{listed}{caption}</figure>"


def _section(title: str, values: Mapping[str, Any], names: Mapping[str, str], *, counts: bool = False) -> str:
    """Write a table of what there is. Of ``counts``, which stand below each other, those of 0 are left out."""
    rows = []
    for key, name in names.items():
        value = values.get(key)
        if value is None or value == "" or (counts and not value):
            continue
        kind = ' class="number"' if counts and not isinstance(value, str) else ""
        rows.append(f'<tr><th scope="row">{name}</th><td{kind}>{_written(key, value)}</td></tr>')
    return f"<section><h2>{title}</h2><table><tbody>{''.join(rows)}</tbody></table></section>" if rows else ""


def _written(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in _SHARES:
        return _percent(value)
    if key == "memory":
        return _files.size(value)
    if key in ("batch_size", "threads") and value == 0:
        return "automatic"
    if key == "seed":
        return str(value)
    if isinstance(value, list | tuple):
        return "<br>".join(escape(str(part)) for part in value)
    return f"{value:,}" if isinstance(value, int | float) else escape(str(value))


def _times(seconds: Mapping[str, float]) -> str:
    total = seconds.get("total")
    if not total:
        return ""
    steps = [(name, seconds[key]) for key, name in _STEPS.items() if key in seconds]
    if rest := max(0.0, total - sum(spent for _, spent in steps)) if steps else 0.0:
        steps.append(("Other", rest))
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td class="number">{_duration(spent)}</td>'
        f'<td class="number">{_percent(spent / total)}</td>'
        f'<td class="share"><span class="bar" style="width:{100 * spent / total:.1f}%"></span></td></tr>'
        for name, spent in steps
    )
    beside = ""
    if "reading" in seconds:
        beside = f'<p class="faint">Cells were read beside the computation, for {_duration(seconds["reading"])}.</p>'
    return (
        '<h2>Time</h2><table><thead><tr><th>Step</th><th class="number">Time</th><th class="number">Share</th>'
        f'<th aria-hidden="true"></th></tr></thead><tbody>{rows}<tr><th scope="row">Total</th>'
        f'<td class="number">{_duration(total)}</td><td class="number"></td><td></td></tr></tbody></table>{beside}'
    )
