"""What var says: kinds of features, decorated names, renamed genes, and what is asked for by name."""

import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from se600m import _gene_report, _genes, _var, errors

OPTIONS = {"fill": "none", "expression": "counts"}


@pytest.fixture(scope="module")
def model():
    return se600m.load_model("se-mini")


@pytest.fixture
def panel(model):
    """Counts of 300 genes of the model, among them those whose symbols have hyphens, small letters or new names."""
    special = [gene for gene in model.genes if re.search(r"^HLA-|^MT-|^C\d+orf|^MARCH|^SEPT", gene)][:100]
    plain = [gene for gene in model.genes if gene not in special][: 300 - len(special)]
    genes = [*plain[:50], *special, *plain[50:]]
    x = np.random.default_rng(0).poisson(2, (3, len(genes))).astype(np.float32)
    return anndata.AnnData(x, var=pd.DataFrame(index=genes))


def sentences(adata, **options):
    """Cells as their genes and values, which depend on the names alone."""
    made = se600m.tokenize(adata, model=se600m.load_model("se-mini"), **OPTIONS, **options)
    return np.concatenate([made.gene_indices, made.expression_values], axis=1)


def renamed(adata, change):
    other = adata.copy()
    other.var_names = [change(i, name) for i, name in enumerate(adata.var_names)]
    return other


def line_of(message):
    """The line of Python that a message proposes."""
    return re.search(r"rename them: (.*?)(?:; [\d,]+ names have |\. The model's genes are named|$)", message)[1]


def an_id(i):
    return f"ENSG{90_000_000_000 + i}"


DECORATIONS = {
    "prefix": lambda i, g: f"GRCh38_{g}",
    "prefix with hyphen": lambda i, g: f"hg19-{g}",
    "prefix of underscores": lambda i, g: f"GRCh38______{g}",
    "prefix of an assay": lambda i, g: f"rna_{g}",
    "prefix of a GTF": lambda i, g: f"gene:{g}",
    "prefix without joint": lambda i, g: f"hg19{g}",
    "suffix": lambda i, g: f"{g}_hg19",
    "suffix of UniProt": lambda i, g: f"{g}_HUMAN",
    "same number": lambda i, g: f"{g}.1",
    "numbers": lambda i, g: f"{g}-{i}",
    "symbol_id": lambda i, g: f"{g}_{an_id(i)}",
    "symbol (id)": lambda i, g: f"{g} ({an_id(i)}.4)",
    "id_symbol": lambda i, g: f"{an_id(i)}_{g}",
    "id.version|symbol": lambda i, g: f"{an_id(i)}.7|{g}",
    "id-symbol": lambda i, g: f"{an_id(i)}-{g}",
    "symbol|number": lambda i, g: f"{g}|{7157 + i}",
    "number; symbol": lambda i, g: f"{7157 + i}; {g}",
    "blanks": lambda i, g: f" {g}\t ",
    "blanks that don't break": lambda i, g: f"{g}\u00a0",
    "quotes": lambda i, g: f'"{g}"',
    "quotes and blanks": lambda i, g: f"'{g}' ",
    "bytes": lambda i, g: str(g.encode()),
    "without width": lambda i, g: f"{g}\u200b",
    "without width, within": lambda i, g: f"{g[0]}\ufeff{g[1:]}",
    "two at once": lambda i, g: f'"hg38_{g}"',
}


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_a_decoration_is_refused_with_the_line_that_repairs_it(panel, model, decoration):
    adata = renamed(panel, DECORATIONS[decoration])
    before = list(adata.var_names)
    with pytest.raises(errors.GeneCoverageError, match="min_coverage") as raised:
        sentences(adata)
    assert list(adata.var_names) == before
    scope = {"adata": adata, "model": model}
    exec(line_of(str(raised.value)), scope)
    assert np.array_equal(sentences(scope["adata"]), sentences(panel))


@pytest.mark.parametrize("place", ["column", "categorical", "raw", "raw column", "layer"])
def test_the_line_names_the_column(panel, model, place):
    adata, options = renamed(panel, lambda i, g: f"GRCh38_{g}"), {}
    if "col" in place or place == "categorical":
        adata.var["symbol"] = adata.var_names
        adata.var_names = [f"gene {i}" for i in range(adata.n_vars)]
    if place == "categorical":
        adata.var["symbol"] = adata.var["symbol"].astype("category")
    if place == "layer":
        adata.layers["counts"] = adata.X
        options["layer"] = "counts"
    if "raw" in place:
        adata.raw = adata
        adata.X = -adata.X
        options["use_raw"] = True
    with pytest.raises(errors.GeneCoverageError) as raised:
        sentences(adata, **options)
    scope = {"adata": adata, "model": model}
    exec(line_of(str(raised.value)), scope)
    assert np.array_equal(sentences(scope["adata"], **options), sentences(panel))


def test_names_that_the_model_has_are_left_alone_by_the_repair(panel, model):
    """A line that would harm others takes care of them, in an index and in a categorical."""
    points = renamed(panel, lambda i, g: g.replace("-", "."))
    points.var_names = [*points.var_names[:-1], "ENSG00000090382.7"]
    points.var["symbol"] = pd.Categorical(points.var_names)
    for column, index in (("symbol", 'adata.var["symbol"]'), (None, "adata.var_names")):
        columns = _var.gene_columns(points.var, column)[:1]
        match = _genes.match(model._opened.handle, columns, 0.1)[1]
        line = match["repairs"][0]["line"]
        assert line.startswith(f"{index} = {index}")
        assert ".isin(model.genes)" in line
        scope = {"adata": points.copy(), "model": model}
        exec(line, scope)
        names = scope["adata"].var["symbol"] if column else scope["adata"].var_names
        assert list(names)[:-1] == list(panel.var_names)[:-1]


def test_cells_of_two_species(panel, model):
    mouse = renamed(panel, lambda i, g: f"mm10___{g.capitalize()}")
    both = anndata.AnnData(
        np.hstack([panel.X, mouse.X]),
        var=pd.DataFrame(index=[*("GRCh38_" + panel.var_names), *mouse.var_names]),
    )
    with pytest.raises(errors.GeneCoverageError, match=r"the prefix .*mm10___.* of another genome") as raised:
        sentences(both)
    scope = {"adata": both, "model": model}
    exec(line_of(str(raised.value)), scope)
    assert np.array_equal(sentences(scope["adata"]), sentences(panel))


def match_of(adata, model, **more):
    match = _genes.match(model._opened.handle, _var.gene_columns(adata.var, None), 0.0)[1]
    return match | {"features": None} | more


def test_what_is_lost_is_weighed_by_what_it_carries(panel, model):
    """A few names that carry much are warned of, many that carry nothing as well, few that carry little are not."""
    few = renamed(panel, lambda i, g: g.replace("-", ".") if g in ("HLA-A", "HLA-B") else g)
    match = match_of(few, model)
    lost = ~few.var_names.isin(model.genes)
    assert lost.sum() == 2
    totals = np.where(lost, 500.0, 10.0)
    (said,) = _gene_report.cautions(match, "adata.X", 0.9, totals)
    assert re.search(
        r"2 have periods instead of hyphens.*'HLA.A' for 'HLA-A', 'HLA.B' for 'HLA-B'.*"
        r"account for 25\.1 % of the values",
        said,
    )
    scope = {"adata": few, "model": model}
    exec(line_of(said), scope)
    assert list(scope["adata"].var_names) == list(panel.var_names)
    assert _gene_report.cautions(match, "adata.X", 0.9, np.where(lost, 1.0, 10.0)) == []
    assert _gene_report.cautions(match, "adata.X", 0.9, np.zeros(len(totals))) == []
    assert _gene_report.cautions(match, "adata.X", 0.9) == []
    few.var_names = np.where(lost, few.var_names.str.replace("-", "."), few.var_names)
    few.X[:, lost] = 500
    with pytest.warns(
        errors.DataWarning, match=r"2 have periods instead of hyphens.*'HLA.B' for 'HLA-B' and account for \d+\.\d %"
    ):
        sentences(few)
    with pytest.raises(errors.SuspiciousDataError, match="periods instead of hyphens"):
        sentences(few, strict=True)
    many = renamed(panel, lambda i, g: g.replace("-", ".").replace("orf", "ORF"))
    (said,) = _gene_report.cautions(match_of(many, model), "adata.X", 0.9)
    assert "periods instead of hyphens" in said
    with pytest.warns(errors.DataWarning, match=r"periods instead of hyphens.*str\.replace"):
        sentences(many)


def test_spreadsheet_dates(model):
    genes = [*model.genes[:20], "MARCH7", "MARCH5", "SEPT2", "SEPT7"]
    assert set(genes[-4:]) <= set(model.genes)
    dates = anndata.AnnData(
        np.ones((2, 24), np.float32), var=pd.DataFrame(index=[*genes[:20], "7-Mar", "Mar-05", "02. SEP", "sep-07"])
    )
    with pytest.warns(errors.DataWarning, match="dates, as a spreadsheet writes them.*may be MTARC1") as seen:
        sentences(dates)
    scope = {"adata": dates}
    exec(line_of(str(seen[0].message)), scope)
    assert list(scope["adata"].var_names) == genes


def test_the_kind_of_most_unknown_names_is_told(model, caplog):
    """In the log, and with a warning where they carry much."""
    clones = [f"RP11-{900000 + i}P13.2" for i in range(60)]
    x = np.ones((2, 100), np.float32)
    adata = anndata.AnnData(x, var=pd.DataFrame(index=[*model.genes[:40], *clones]))
    said = (
        '60 of the 60 unknown names, such as "RP11-900000P13.2", are names of clones, which Ensembl gives genes without'
    )
    caplog.set_level("INFO", "se600m")
    with pytest.warns(errors.DataWarning, match=re.escape(said)):
        sentences(adata)
    assert any(said in message for message in caplog.messages)
    with pytest.raises(
        errors.GeneCoverageError, match=re.escape(said) + ".*: choose the column of var with Ensembl ids"
    ):
        sentences(adata, min_coverage=0.5)


@pytest.mark.parametrize("form", ["{}_{}", "{1}_{0}", "{}|{}", "{1}.3|{0}"])
def test_a_few_joined_names_are_repaired(panel, model, form):
    joined = renamed(panel, lambda i, g: form.format(g, an_id(i)) if i % 9 == 0 else g)
    with pytest.warns(errors.DataWarning, match=r"34 have an Ensembl id .* the symbol") as seen:
        sentences(joined)
    scope = {"adata": joined, "model": model}
    exec(line_of(str(seen[0].message)), scope)
    assert list(scope["adata"].var_names) == list(panel.var_names)


# -- kinds of features ---------------------------------------------------------------------------


def cite_seq(panel, column="feature_types", rna="Gene Expression", protein="Antibody Capture", first=False):
    """The panel with antibodies named after genes that it has or lacks, before or behind it."""
    names = ["CD4", "CD14", "CD19", panel.var_names[0]]
    counts = np.random.default_rng(1).poisson(5000, (3, 4)).astype(np.float32)
    antibodies = anndata.AnnData(counts, var=pd.DataFrame({column: protein}, index=names))
    genes = panel.copy()
    genes.var[column] = rna
    both = [antibodies, genes] if first else [genes, antibodies]
    return anndata.AnnData(
        np.hstack([part.X for part in both]), var=pd.concat([part.var for part in both]), obs=panel.obs
    )


@pytest.mark.parametrize(
    "column, rna, protein",
    [
        ("feature_types", "Gene Expression", "Antibody Capture"),
        ("feature_type", "gene expression", "ADT"),
        ("Feature Types", "Gene expression", "Peaks"),
        ("feature.types", "RNA", "Multiplexing Capture"),
        ("modality", "rna", "prot"),
        ("feature_types", "Gene Expression", "CRISPR Guide Capture"),
        ("feature_types", "Gene Expression", "Custom"),
        ("feature_types", "Gene Expression", "a kind of the future"),
        ("feature_types", None, "Antibody Capture"),
        ("feature_types", "protein_coding", "Antibody Capture"),
    ],
)
def test_only_gene_expression_counts(panel, column, rna, protein, caplog):
    adata = cite_seq(panel, column, rna, protein)
    caplog.set_level("INFO", "se600m")
    assert np.array_equal(sentences(adata), sentences(panel))
    assert any(f"4 of '{protein}'" in message for message in caplog.messages)


LAYOUTS = {
    "dense": np.asarray,
    "fortran": np.asfortranarray,
    "csr": sp.csr_matrix,
    "csc": sp.csc_matrix,
    "csr array": sp.csr_array,
    "frame layer": None,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["genes first", "genes last", "mixed", "view", "view of cells"])
def test_antibodies_do_not_exist(model, immune, layout, order):
    """Embeddings are those of the genes alone, bit for bit: neither tokens, judgement nor shares see the rest."""
    rng = np.random.default_rng(2)
    genes = immune[:6, :3000].copy()
    genes.X = genes.X.log1p()
    counts = rng.poisson(5000, (6, 40)).astype(np.float32)
    counts[0, :3] = [-3, np.nan, np.inf]
    names = [f"{gene}" for gene in genes.var_names[:40]]
    x = np.hstack([genes.X.toarray(), counts])
    kinds = ["Gene Expression"] * 3000 + ["Antibody Capture"] * 40
    places = np.arange(3040)
    if order == "genes last":
        places = np.roll(places, 40)
    elif order != "genes first":
        places = rng.permutation(3040)
    var = pd.DataFrame({"feature_types": kinds}, index=[*genes.var_names, *names]).iloc[places]
    adata = anndata.AnnData(np.zeros(x.shape, np.float32), var=var, obs=genes.obs)
    x = x[:, places]
    if LAYOUTS[layout] is None:
        adata.layers["x"] = pd.DataFrame(x, index=adata.obs_names, columns=adata.var_names)
    else:
        adata.layers["x"] = LAYOUTS[layout](x)
    if order == "view":
        adata = adata[::-1, ::-1]
    elif order == "view of cells":
        adata = adata[1:4]
    alone = adata[:, (adata.var["feature_types"] == "Gene Expression").to_numpy()].copy()
    for options in ({}, {"fill": "expected"}):
        got = model.compute(adata, layer="x", **options)
        want = model.compute(alone, layer="x", **options)
        assert np.array_equal(got.embedding, want.embedding)
        assert got.provenance["n_counts"] == 0
        assert got.provenance["other_features"] == "40 of 'Antibody Capture'"
        left_out = {"other_features"}
        assert {k: v for k, v in got.provenance.items() if k not in left_out} == {
            k: v for k, v in want.provenance.items() if k not in left_out
        }


def test_raw_and_backed_files_have_feature_types_too(panel, model, tmp_path):
    adata = cite_seq(panel)
    adata.raw = adata
    adata = adata[:, :100].copy()
    assert np.array_equal(sentences(adata, use_raw=True), sentences(panel))
    for layout in (np.asarray, sp.csr_matrix, sp.csc_matrix):
        other = cite_seq(panel, first=True)
        other.X = layout(other.X)
        other.write_h5ad(tmp_path / "cells.h5ad")
        backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
        assert np.array_equal(sentences(backed), sentences(panel))
        assert np.array_equal(sentences(backed[[2, 0], ::-1]), sentences(panel[[2, 0], ::-1].copy()))
        backed.file.close()


def test_a_value_that_is_not_finite_is_named_by_its_column_among_all(panel):
    adata = cite_seq(panel, first=True)
    adata.X[1, 6] = np.nan
    with pytest.raises(errors.NotFiniteError, match=rf"adata\.X\[1, 6\] \(cell '1', gene '{panel.var_names[2]}'\)"):
        sentences(adata)


def test_antibodies_alone_are_refused(panel):
    adata = cite_seq(panel)[:, -4:].copy()
    with pytest.raises(
        errors.DataError, match=r"var\['feature_types'\] says .* 4 of 'Antibody Capture', and none of 'Gene Exp"
    ):
        sentences(adata)


@pytest.mark.parametrize(
    "values",
    [
        [None] * 300,
        [np.nan] * 300,
        ["Gene Expression"] * 300,
        ["protein_coding"] * 150 + ["lncRNA"] * 150,
        list(range(300)),
        [""] * 300,
    ],
    ids=["None", "NaN", "all genes", "biotypes", "numbers", "empty"],
)
def test_a_column_that_tells_nothing_is_ignored(panel, values):
    want = sentences(panel)
    panel.var["feature_types"] = values
    assert np.array_equal(sentences(panel), want)
    panel.var["feature_types"] = panel.var["feature_types"].astype("category")
    assert np.array_equal(sentences(panel), want)


def test_columns_without_a_type_are_left_out_with_a_warning(panel, model):
    panel.var["feature_types"] = ["Gene Expression"] * 290 + [None] * 10
    with pytest.warns(errors.DataWarning, match=r"10 columns have no type in var\['feature_types'\]"):
        got = sentences(panel)
    assert np.array_equal(got, sentences(panel[:, :290].copy()))


def test_names_that_stand_for_different_measurements(model):
    def different(names, totals):
        first_of = _genes.match(model._opened.handle, [_var.GeneNames("var_names", names)], 0.0)[1]["first_of"]
        return _gene_report.repeated_but_different(names, first_of, totals)

    names = ["A", "CD4", "CD14", "B", "CD4", "CD14", "TBCE", "TBCE", "", "", "rare", "rare"]
    totals = np.array([100, 12, 300, 80, 90_000, 310, 60, 45, 5, 5, 0, 40], float)
    assert different(names, totals) == ["'CD4' (12 and 90,000)"]
    assert different(names, np.ones(12)) == []
    assert different(names, np.zeros(12)) == []
    assert _gene_report.repeated_but_different([], np.zeros(0, np.int32), np.zeros(0)) == []
    unique = ["A", "CD4", "CD14-1", "B", "CD4-1", "CD14", "TBCE", "TBCE.1", "", "-1", "HLA-1", "rare"]
    assert different(unique, totals) == ["'CD4' (12) and 'CD4-1' (90,000)"]
    unique[1], unique[4] = "CD4.1", "CD4"
    assert different(unique, totals) == ["'CD4.1' (12) and 'CD4' (90,000)"]
    totals[3] = 1e6  # next to which 90,000 is nothing
    assert different(names, totals) == []


def test_antibodies_without_feature_types_get_a_word(panel, model):
    adata = cite_seq(panel)
    del adata.var["feature_types"]
    totals = adata.X.sum(0, dtype=np.float64)
    said = " ".join(_gene_report.cautions(match_of(adata, model), "adata.X", 0.9, totals))
    assert re.search(
        rf"1 name in var_names occurs in columns with very different totals, such as '{panel.var_names[0]}' \(", said
    )
    assert "'feature_types'" in said
    with pytest.warns(errors.DataWarning, match="occurs in columns with very different totals"):
        sentences(adata)
    first = cite_seq(panel, first=True)
    del first.var["feature_types"]
    for data in (adata, first):
        data.var_names_make_unique()
        gene = panel.var_names[0]
        with pytest.warns(
            errors.DataWarning, match=rf"1 name .*such as '{gene}' \([\d,]+\) and '{gene}-1' \([\d,]+\): these"
        ):
            sentences(data)


@pytest.mark.parametrize("column", [None, "symbol"])
@pytest.mark.parametrize("first", [True, False])
def test_names_that_were_made_unique_behind_antibodies_are_genes(panel, caplog, first, column):
    adata = cite_seq(panel, first=first)
    adata.var_names_make_unique()
    numbered = f"{panel.var_names[0]}-1"
    assert adata.var["feature_types"][numbered] == ("Gene Expression" if first else "Antibody Capture")
    if column:
        adata.var[column] = adata.var_names
        adata.var_names = [f"gene {i}" for i in range(adata.n_vars)]
    caplog.set_level("INFO", "se600m")
    assert np.array_equal(sentences(adata), sentences(panel))
    said = "1 gene was found without the number that var_names_make_unique has added"
    assert any(said in message for message in caplog.messages) is first
    adata.raw = adata
    assert np.array_equal(sentences(adata, use_raw=True), sentences(panel))


def test_the_unknown_names_that_carry_most_are_named(panel, model):
    adata = renamed(panel, lambda i, g: "CD4_TotalSeqB" if i == 7 else g)
    totals = np.where(np.arange(300) == 7, 1e6, 1.0)
    (said,) = _gene_report.cautions(match_of(adata, model), "adata.X", 0.1, totals)
    assert "account for 10 % of a cell's expression" in said
    assert said.endswith("Most of the other expression is in 'CD4_TotalSeqB'")


# -- coverage ------------------------------------------------------------------------------------


def multiome(model, n_genes, n_peaks):
    x = np.random.default_rng(3).poisson(1, (2, n_genes)).astype(np.float32)
    peaks = [f"chr1:{1000 * i}-{1000 * i + 300}" for i in range(n_peaks)]
    return anndata.AnnData(
        sp.hstack([sp.csr_matrix(x), sp.csr_matrix((2, n_peaks), dtype=np.float32)]).tocsr(),
        var=pd.DataFrame(index=[*model.genes[:n_genes], *peaks]),
    )


def test_a_transcriptome_among_peaks_is_embedded(model):
    adata = multiome(model, 9000, 130_000)
    assert np.array_equal(sentences(adata), sentences(adata[:, :9000].copy()))


def test_peaks_with_a_gene_or_two_are_refused_and_named(model):
    with pytest.raises(errors.GeneCoverageError) as raised:
        sentences(multiome(model, 400, 20_000))
    said = str(raised.value)
    for part in (
        "400 of 20,400 genes (2.0 %)",
        "4.2 % of the model's 9,429 genes, and account for 100.0 % of the values",
        "min_coverage=0.1",
        "20,000 of the 20,000 unknown names",
        '"chr1:0-300", are peaks',
    ):
        assert part in said
    examples = re.search(r"unknown names are, for example, (.*?);", said)[1]
    assert not set(re.findall(r'"(.*?)"', examples)) & set(model.genes)


def test_min_coverage_is_of_either_side(immune, model):
    half = immune[:2, immune.var_names.isin(model.genes[::2]) | ~immune.var_names.isin(model.genes)].copy()
    se600m.tokenize(half, min_coverage=0.4)
    with pytest.raises(errors.GeneCoverageError, match=r"at least 60\.0 % \(min_coverage=0\.6\)"):
        se600m.tokenize(half, min_coverage=0.6)


@pytest.mark.parametrize(
    "totals, share", [(None, ""), (np.array([3.0, 1.0, 0.0]), ", and accounts for 75.0 % of the values")]
)
def test_the_share_of_the_counts_is_told_if_it_is_known(model, totals, share):
    columns = [_var.GeneNames("var_names", [model.genes[0], "x", "y"])]
    with pytest.raises(errors.GeneCoverageError, match=rf"model's 9,429 genes{share}\. One of"):
        _genes.match(model._opened.handle, columns, 0.5, totals)


# -- renamed genes -------------------------------------------------------------------------------

RENAMED = {"GNB2L1": "RACK1", "ATP5E": "ATP5F1E", "SEPT7": "SEPTIN7", "MARCH5": "MARCHF5"}


@pytest.mark.parametrize("name", ["newer symbol", "id"])
def test_genes_are_found_under_their_newer_names(model, caplog, name):
    assert set(RENAMED) <= set(model.genes)
    genes = [*RENAMED, *model.genes[:20]]
    x = np.random.default_rng(4).poisson(9, (2, len(genes))).astype(np.float32)
    adata = anndata.AnnData(x, var=pd.DataFrame(index=genes))
    ids = ["ENSG00000204628", "ENSG00000124172", "ENSG00000122545", "ENSG00000198060"]
    names = ids if name == "id" else list(RENAMED.values())
    other = anndata.AnnData(x, var=pd.DataFrame(index=[*names, *model.genes[:20]]))
    caplog.set_level("INFO", "se600m")
    assert np.array_equal(sentences(other), sentences(adata))
    assert any("4 by a newer or older symbol, such as" in message for message in caplog.messages)
    seen = model.compute(other).provenance
    assert (seen["n_renamed"], seen["n_by_id"], seen["n_left_out"]) == (4, 4 if name == "id" else 0, 0)
    found = model.gene_embeddings(names)
    assert np.array_equal(found, model.gene_embeddings(list(RENAMED)))


def test_genes_are_found_under_their_older_names(random_model, tmp_path):
    """A model with today's symbols, a data set with those of ten years ago."""
    from conftest import RandomModel

    new = [*RENAMED.values(), *(f"G{i}" for i in range(60))]
    made = RandomModel(tmp_path / "new", new, pad_length=64)
    x = np.random.default_rng(5).poisson(9, (2, 64)).astype(np.float32)
    want = made.model.compute(anndata.AnnData(x, var=pd.DataFrame(index=new)))
    got = made.model.compute(anndata.AnnData(x, var=pd.DataFrame(index=[*RENAMED, *new[4:]])))
    assert np.array_equal(got.embedding, want.embedding)
    assert got.provenance["n_renamed"] == 4


def test_two_columns_never_become_one_gene_unsaid(model, caplog):
    """The model's own symbol goes first; the newer one is left out, and does not change the sentence."""
    genes = ["GNB2L1", "RACK1", *model.genes[:20]]
    x = np.random.default_rng(6).poisson(9, (2, 22)).astype(np.float32)
    adata = anndata.AnnData(x, var=pd.DataFrame(index=genes))
    caplog.set_level("INFO", "se600m")
    seen = model.compute(adata, fill="none").provenance
    assert (seen["n_left_out"], seen["n_renamed"], seen["n_matched"]) == (1, 0, 21)
    assert any(
        "1 name in var_names is another symbol of a gene in another column and was ignored" in message
        for message in caplog.messages
    )
    match = match_of(adata, model)
    assert _gene_report.cautions(match, "adata.X", 0.9) == []
    assert _gene_report.cautions(match, "adata.X", 0.9, np.where(match["is_left_out"], 0.1, 1)) == []
    (said,) = _gene_report.cautions(match, "adata.X", 0.9, np.where(match["is_left_out"], 7, 1))
    assert said == (
        "1 name in var_names is another symbol of a gene in another column, such as 'RACK1' for 'GNB2L1', and was "
        "ignored and accounts for 25.0 % of the values: add up the columns of a gene if they are parts of it"
    )
    (said,) = _gene_report.cautions(match | {"n_left_out": 5}, "adata.X", 0.9)
    assert said.startswith(
        "5 names in var_names are other symbols of genes in another column, such as 'RACK1' for 'GNB2L1'"
    )


def test_ids_without_a_gene_are_counted(panel, model, caplog):
    panel.var_names = [*panel.var_names[:-3], "ENSG00000000001", "ENSG00000141736.1", "ENST00000300692"]
    caplog.set_level("INFO", "se600m")
    assert model.compute(panel).provenance["n_ids_unknown"] == 2
    assert any(
        "2 human Ensembl ids belong to genes that the model does not have" in message for message in caplog.messages
    )


# -- genes by name -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, says",
    [
        ("CD8", "nearest symbols are 'CD8A', 'CD8B'$"),
        ("PDL1", "nearest symbol is 'CD274'$"),
        ("CD20", "nearest symbol is 'MS4A1'$"),
        ("P53", "nearest symbol is 'TP53'$"),
        ("CD45", "nearest symbol is 'PTPRC'$"),
        ("hla.dra", "nearest symbol is 'HLA-DRA'$"),
        ("rack1", "nearest symbol is 'GNB2L1'$"),
        ("MS4A1X", "nearest symbol is 'MS4A1'$"),
        ("HER2", "'HER2' is another name of ERBB2, which is not among the model's 9,429 genes$"),
        ("ERBB2", "'ERBB2' is a human gene that is not among the model's 9,429 genes$"),
        ("ENSG00000141736", "'ENSG00000141736' is ERBB2, which is not among the model's 9,429 genes$"),
        ("ENSG99999999999", "is a human Ensembl id that is not known: use the symbol of the gene$"),
        ("ENSMUSG00000032094", "is an Ensembl id of mouse: use symbols or Ensembl ids of human genes"),
        (
            "ENST00000300692.7",
            "is the Ensembl id of a transcript or protein: use symbols or Ensembl ids of human genes",
        ),
        ("7157", "is a number: use symbols or Ensembl ids of human genes"),
        ("BRCA1 BRCA2", "is not among .* genes"),
        ("", "gene '' is not among .* genes: give gene symbols or human Ensembl ids$"),
        ("!?", "is not among .* genes: give gene symbols or human Ensembl ids$"),
    ],
)
def test_unknown_genes_are_explained(model, name, says):
    for genes in (name, [model.genes[0], name, name]):
        with pytest.raises(errors.UnknownGeneError, match=says):
            model.gene_embeddings(genes)


@pytest.mark.parametrize(
    "genes, says",
    [
        ([None], r"genes contains None: give gene symbols or Ensembl ids$"),
        ([np.nan], "genes contains nan: "),
        (["LYZ", 3], "genes contains 3: "),
        ([b"LYZ"], "genes contains b'LYZ': "),
        (b"LYZ", "genes=b'LYZ': give gene symbols or Ensembl ids$"),
        (3, "genes=3: "),
        ([], "genes is empty"),
        (pd.Series(["LYZ", None]), "genes contains (None|nan)"),  # pandas 3 makes nan of it
    ],
)
def test_what_is_no_name_is_an_error_of_ours(model, genes, says):
    with pytest.raises(errors.OptionError, match=says):
        model.gene_embeddings(genes)
    with pytest.raises(errors.SE600MError):
        model.decode(np.zeros((1, model.output_dim + model.dataset_dim), np.float32), genes, read_depth=4.0)


def test_other_unknown_genes_are_counted(model):
    for more, says in (
        ([], r"is not among the model's 9,429 genes:"),
        (["!!"], r"genes \(and 1 other unknown gene\):"),
    ):
        with pytest.raises(errors.UnknownGeneError, match=says):
            model.gene_embeddings(["!?", "!?", *more])
    with pytest.raises(errors.UnknownGeneError, match=r"\(and 2 other unknown genes\)"):
        model.gene_embeddings(["!?", "!!", "??"])


def test_a_symbol_that_looks_like_an_id_is_not_suggested(tmp_path):
    from conftest import RandomModel

    made = RandomModel(
        tmp_path / "ids", ["ENSG00000000419", "ENSG00000000457", *(f"G{i}" for i in range(50))], pad_length=64
    )
    for name in ("ENSG00000000418", "ENSG0000000041", "ENSG00000000460"):
        with pytest.raises(errors.UnknownGeneError) as raised:
            made.model.gene_embeddings([name])
        assert "ENSG00000000419" not in str(raised.value)
        assert "ENSG00000000457" not in str(raised.value)


# -- columns of var ------------------------------------------------------------------------------


def text_of_pandas_3(names):
    pytest.importorskip("pandas", minversion="2.3")
    return pd.Series(names, dtype=pd.StringDtype("python", na_value=np.nan))


TEXT = {
    "object": lambda names: pd.Series(names, dtype=object),
    "string": lambda names: pd.Series(names, dtype="string"),
    "pandas 3": text_of_pandas_3,
    "categorical": lambda names: pd.Series(names, dtype="category"),
    "categorical of string": lambda names: pd.Series(names, dtype="string").astype("category"),
    "bytes": lambda names: pd.Series([name.encode() for name in names], dtype=object),
}
ARROW = {
    "arrow string": "string",
    "arrow large string": "large_string",
    "arrow dictionary": "dictionary",
}


def in_a_column(panel, column):
    adata = panel.copy()
    column.index = adata.var_names = [f"gene {i}" for i in range(panel.n_vars)]
    adata.var["symbol"] = column
    return adata


@pytest.mark.parametrize("kind", TEXT)
def test_text_of_every_type_is_looked_at(panel, kind):
    adata = in_a_column(panel, TEXT[kind](list(panel.var_names)))
    assert np.array_equal(sentences(adata), sentences(panel))
    assert np.array_equal(sentences(adata, gene_column="symbol"), sentences(panel))


@pytest.mark.parametrize("kind", ARROW)
def test_text_of_arrow_is_looked_at(panel, kind):
    pa = pytest.importorskip("pyarrow")
    names = list(panel.var_names)
    if kind == "arrow dictionary":
        column = pd.Series(names, dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))
    else:
        column = pd.Series(names, dtype=pd.ArrowDtype(getattr(pa, ARROW[kind])()))
    for made in (column, column.astype("category")):
        adata = in_a_column(panel, made.copy())
        assert np.array_equal(sentences(adata), sentences(panel))
    numbers = pd.Series(range(300), dtype=pd.ArrowDtype(pa.int64()))
    assert [c.column for c in _var.gene_columns(in_a_column(panel, numbers).var, None)] == ["var_names"]


@pytest.mark.parametrize("dtype", ["int64", "float64", "Int64", "category", "bool"])
def test_numbers_are_no_names(panel, dtype):
    panel.var["entrez"] = pd.Series(range(1, 301), index=panel.var_names).astype(dtype)
    assert [c.column for c in _var.gene_columns(panel.var, None)] == ["var_names"]


def test_missing_names_are_empty():
    column = pd.Series(["CD3D", None, np.nan, pd.NA, b"LYZ", 7], dtype=object)
    var = pd.DataFrame({"symbol": column})
    var.index = [str(i) for i in range(6)]
    assert _var.gene_columns(var, "symbol") == [
        ("var['symbol']", ["CD3D", "", "", "", "LYZ", "7"], 'adata.var["symbol"]', ())
    ]


def test_the_tables_say_where_they_are_from():
    text = (Path(__file__).parents[1] / "tools" / "make_hgnc_table.py").read_text()
    assert "CC0" in text
    assert "BSD 2-Clause" in text
