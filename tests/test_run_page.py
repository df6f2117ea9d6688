"""The page about a run: what it says, that it needs nothing else, and its picture."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import se600m
from se600m import _picture, _run_page, errors
from test_neighbors import gaussian

VOID = {"meta", "br", "rect", "circle"}
NASTY = "<script>alert(\"x\")</script> & 'co'"


class Reader(HTMLParser):
    """Reads a page: its tags are closed in order, and its texts are kept."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def text(self):
        return " ".join(data.strip() for tag, data in self.texts if tag not in ("style", "pre") and data.strip())


def check_alone(text):
    """The page refers to nothing outside itself, and has what screen readers need."""
    page = Reader(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "base"})
    assert not re.search(
        r"\b(?:src|href|xlink:href)=|url\(|@import|https?://", re.sub(r"<pre>.*?</pre>", "", text, flags=re.S)
    )
    assert page.all("html")[0]["lang"] == "en"
    for drawn in page.all("svg"):
        assert drawn["role"] == "img"
        ids = {attrs.get("id") for tag, attrs in page.tags if tag in ("title", "desc")}
        assert set(drawn["aria-labelledby"].split()) <= ids
    return page


@pytest.fixture(scope="module")
def ran(tmp_path_factory, _immune):
    """A run over cells with types, whose page is written."""
    folder = tmp_path_factory.mktemp("page")
    adata = _immune[:40].copy()
    kinds = np.array(["B cell", NASTY])[np.arange(40) % 2]
    adata.obs = pd.DataFrame(
        {"phase": pd.Categorical(["a", "b"] * 20), "Cell type": pd.Categorical(kinds)}, adata.obs_names
    )
    adata.write_h5ad(folder / "in <b>.h5ad")
    done = se600m.embed_file(folder / "in <b>.h5ad", folder / "out.npy", model="se-mini", report=folder / "run.html")
    return folder, done, (folder / "run.html").read_text(encoding="utf-8")


def test_the_page_says_how_the_run_went(ran):
    _, done, text = ran
    page = check_alone(text)
    said = page.text()
    for part in (
        "in <b>.h5ad",
        "Cells per second",
        "Known to the model",
        "Cells read as counts",
        "se-mini",
        "Computing",
    ):
        assert part in said
    assert NASTY in said
    assert json.loads(next(data for tag, data in page.texts if tag == "pre")) == done.report
    assert done.report["finished"][:2] == "20"
    shares = [float(s) for s in re.findall(r'style="width:([\d.]+)%"', text)]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_the_picture_shows_the_cells_by_type(ran):
    _, _, text = ran
    page = check_alone(text)
    assert len(page.all("circle")) == 40
    assert "coloured by obs['Cell type']" in page.text().replace("  ", " ")
    legend = re.findall(r"<li><i style=\"background:(#\w+)\"></i>(.*?) <span", text)
    assert sorted(name for _, name in legend) == sorted(["B cell", _run_page.escape(NASTY)])


def test_tokenize_and_merge_have_pages(ran, tmp_path):
    folder, _, _ = ran
    source = folder / "in <b>.h5ad"
    se600m.tokenize_file(source, tmp_path / "s.npz", model="se-mini", report=tmp_path / "s.html")
    assert check_alone((tmp_path / "s.html").read_text()).all("svg") == []
    shards = [tmp_path / f"{i}.npz" for i in (1, 2)]
    for i, shard in enumerate(shards):
        page = tmp_path / f"{i}.html"
        se600m.embed_file(source, shard, model="se-mini", shard=(i + 1, 2), report=page)
        assert len(check_alone(page.read_text()).all("circle")) == 20
    joined = se600m.merge_shards(tmp_path / "out.h5ad", shards, report=tmp_path / "merge.html")
    page = check_alone((tmp_path / "merge.html").read_text())
    assert len(page.all("circle")) == 40
    assert "2.npz" in page.text()
    assert joined.n_cells == 40
    se600m.merge_shards(tmp_path / "out.npy", shards, report=tmp_path / "merge.json")
    assert json.loads((tmp_path / "merge.json").read_text())["n_cells"] == 40


def test_the_kind_of_report_is_checked_first(tmp_path):
    with pytest.raises(errors.OptionError, match=r"report is .*: give a path that ends in \.json or \.html"):
        se600m.embed_file("missing.h5ad", tmp_path / "out.npy", report=tmp_path / "run.pdf")


# -- pictures ----------------------------------------------------------------------------------


def no_column(_cells):
    return None


def test_points_are_principal_components():
    rows = gaussian(300, 12) * np.linspace(3, 0.1, 12, dtype=np.float32) + 5
    drawn = _picture.draw(rows, no_column)
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    want = centred @ axes[:2].T
    for i in range(2):
        assert np.allclose(np.abs(drawn.points[:, i]), np.abs(want[:, i]), atol=1e-8)
    assert drawn.explained == pytest.approx(tuple(values[:2] ** 2 / (values**2).sum()))
    assert np.array_equal(_picture.draw(rows, no_column).points, drawn.points)


def test_of_many_cells_the_same_are_shown():
    rows = gaussian(5000, 4)
    seen = []
    drawn = _picture.draw(rows, lambda cells: (seen.append(cells), ("kind", cells % 3))[1])
    assert len(drawn.points) == _picture.MOST_CELLS
    assert (seen[0][0], seen[0][-1]) == (0, 4999)
    assert len(np.unique(seen[0])) == _picture.MOST_CELLS
    text, legend = _picture.svg(drawn)
    assert text.count("<circle") == _picture.MOST_CELLS
    assert [name for _, name, _ in legend] != []


@pytest.mark.parametrize("rows", [gaussian(3, 9), gaussian(9, 3), np.ones((9, 9), np.float32), gaussian(9, 9) * np.nan])
def test_what_has_no_picture(rows):
    assert _picture.draw(rows, no_column) is None


def test_rare_groups_share_a_colour():
    kinds = np.repeat(np.arange(20), np.arange(1, 21))
    values = pd.Categorical([None if kind == 19 else f"k{kind}" for kind in kinds])
    drawn = _picture.draw(gaussian(len(kinds), 6), lambda cells: ("kind", values[cells]))
    _, legend = _picture.svg(drawn)
    assert [name for _, name, _ in legend] == [f"k{k}" for k in range(18, 7, -1)] + ["8 other groups"]
    assert sum(n for *_, n in legend) == len(kinds)
    assert len({colour for colour, *_ in legend}) == len(legend)


@pytest.mark.parametrize(
    "categories, best",
    [
        ({"batch": 3, "cell_type": 9, "leiden": 5}, "cell_type"),
        ({"Cell.Type": 2, "phase": 3}, "Cell.Type"),
        ({"predicted_celltype_l2": 30, "phase": 3}, "predicted_celltype_l2"),
        ({"cell_type": 1, "phase": 3}, "phase"),
        ({"barcode": 5000, "donor": 40}, None),
        ({}, None),
    ],
)
def test_the_column_that_colours(categories, best):
    assert _picture.best_column(categories) == best


def test_long_runs_are_written_for_people():
    report = {
        "input": "s3://bucket/cells.zarr",
        "output": "/out.h5ad",
        "n_cells": 1_234_567,
        "cells_per_second": 98.76,
        "peak_memory_bytes": 2_500_000_000,
        "warnings": [NASTY],
        "seconds": {"computing": 12_000.0, "total": 12_500.0, "reading": 75.4},
    }
    said = check_alone(_run_page.page(report, None)).text()
    for part in ("1,234,567", "3 h 28 min", "98.8", "2.5 GB", "96.0 %", "1 min 15 s", NASTY):
        assert part in said
