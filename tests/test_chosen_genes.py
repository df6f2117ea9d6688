"""Embedding by chosen genes: genes=..."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from se600m import errors
from se600m._options import CellOptions

FEW = ["LYZ", "CD3D", "MS4A1", "CD3E", "NKG7", "CST3"]


@pytest.fixture
def genes(immune):
    """Every third gene of the data set, some of them unknown to the model."""
    return immune.var_names[::3]


@pytest.fixture(scope="module")
def model():
    return se600m.load_model()


def embedding(model, adata, **options):
    return model.compute(adata, **options).embedding


@pytest.mark.parametrize("fill, every", [("shared", 3), ("independent", 3), ("expected", 12), ("none", 3)])
def test_the_result_is_that_of_the_columns_alone(model, immune, fill, every):
    genes = immune.var_names[::every]
    options = {"fill": fill, "seed": 3, "expression": "counts"}
    want = model.compute(immune[:4, genes], **options)
    found = model.compute(immune[:4], genes=genes, **options)
    assert found.embedding.tobytes() == want.embedding.tobytes()
    if fill != "expected":  # which has no room for all
        assert found.embedding.tobytes() != embedding(model, immune[:4], **options).tobytes()
    sentences = [model.tokenize(immune[:4, genes], **options), model.tokenize(immune[:4], genes=genes, **options)]
    for name in ("gene_indices", "expression_values", "multiplicity", "lengths"):
        assert np.array_equal(*(getattr(s, name) for s in sentences)), name


def test_a_cell_is_judged_by_all_of_its_genes(model, immune):
    """Counts up to 35 alone look like log1p values: the rest of the cell tells that they are counts."""
    vocabulary = set(model.genes)
    low = immune.var_names[(immune.X.max(0).toarray().ravel() <= 5)]
    known = [gene for gene in low if gene in vocabulary]
    cells = immune[(immune.X.max(1).toarray().ravel() > 35)][:4].copy()
    found = embedding(model, cells, genes=known)
    assert found.tobytes() == embedding(model, cells[:, known].copy(), expression="counts").tobytes()
    assert found.tobytes() != embedding(model, cells[:, known].copy()).tobytes()


def test_every_way_in_gives_the_same(model, immune, genes, tmp_path):
    dask = pytest.importorskip("dask.array")
    cells = immune[:3].copy()
    want = embedding(model, cells, genes=genes)
    cells.write_h5ad(tmp_path / "in.h5ad")
    csc = cells.copy()
    csc.X = sp.csc_matrix(cells.X)
    csc.write_h5ad(tmp_path / "csc.h5ad")
    for source in ("in.h5ad", "csc.h5ad"):
        out = tmp_path / f"{source}.npy"
        done = se600m.embed_file(tmp_path / source, out, model=model, genes=iter(genes), memory=300_000)
        assert np.load(out).tobytes() == want.tobytes()
    assert done.report["provenance"]["genes"] == CellOptions(genes=genes).named_genes()
    backed = anndata.read_h5ad(tmp_path / "in.h5ad", backed="r")
    assert embedding(model, backed, genes=genes).tobytes() == want.tobytes()
    lazy = anndata.AnnData(dask.from_array(cells.X.toarray(), (2, 9000)), obs=cells.obs, var=cells.var)
    se600m.embed(lazy, model=model, genes=iter(genes))
    assert np.asarray(lazy.obsm["X_state"]).tobytes() == want.tobytes()
    shuffled = list(genes)[::-1] + list(genes)[:5]
    assert embedding(model, cells, genes=pd.Series(shuffled)).tobytes() == want.tobytes()


def test_uns_tells_which_genes(immune, genes):
    immune = immune[:3].copy()
    se600m.embed(immune, genes=iter(genes))
    noted = dict(immune.uns["X_state"])
    assert noted["genes"].startswith(f"{len(genes)} chosen (")
    known = set(se600m.load_model().genes)
    assert abs(noted["n_chosen"] - sum(gene in known for gene in genes)) <= 20  # some by an earlier symbol
    assert noted["n_genes"] == immune.n_vars
    other = se600m.embed(immune, copy=True)
    assert other.uns["X_state"]["genes"] == "all"
    assert other.uns["X_state"]["n_chosen"] == other.uns["X_state"]["n_matched"]
    with pytest.warns(errors.DataWarning, match=r"different options \(genes=all and .* chosen"):
        se600m.nearest(other, immune, k=1)


def test_names_may_be_those_of_another_column_or_of_the_model(model, immune):
    want = embedding(model, immune[:2], genes=FEW)
    ids = ["ENSG00000090382", "ENSG00000167286", "ENSG00000156738", *FEW[3:]]
    assert np.array_equal(embedding(model, immune[:2], genes=ids), want)
    named = immune[:2].copy()
    named.var["alias"] = [f"my {name}" for name in named.var_names]
    assert np.array_equal(embedding(model, named, genes=["my LYZ", "CD3D", "ENSG00000156738", *FEW[3:]]), want)


def test_what_is_unknown_is_named(model, immune, caplog):
    with pytest.raises(errors.UnknownGeneError, match=r"gene 'LYZZ' is not among the model's .*'LYZ'"):
        model.compute(immune, genes=[*FEW, "LYZZ"])
    unknown = next(name for name in immune.var_names if name.startswith("RP11-"))
    with caplog.at_level(logging.INFO, "se600m"):
        found = embedding(model, immune[:2], genes=[*FEW, unknown])
    assert f"{len(FEW)} were chosen" in caplog.text
    assert np.array_equal(found, embedding(model, immune[:2], genes=FEW))
    with pytest.raises(errors.UnknownGeneError, match=f"gene '{unknown}' is not both known to the model and in"):
        model.compute(immune, genes=unknown)
    cells = immune[:2, ~immune.var_names.isin(FEW)].copy()
    says = "(none of the . chosen genes, such as .*, is|gene 'LYZ' is not) both known to the model and in the data set"
    for none in ([unknown, *FEW], FEW, FEW[:1]):  # in the data set or known to the model, and none is both
        with pytest.raises(errors.UnknownGeneError, match=says):
            model.compute(cells, genes=none)
    without = immune[:2, immune.var_names != "LYZ"].copy()
    with pytest.warns(errors.DataWarning, match="1 of 6 chosen genes is not in the data set, such as 'LYZ'"):
        model.compute(without, genes=FEW)
    with pytest.raises(errors.SuspiciousDataError, match="not in the data set"):
        model.compute(without, genes=FEW, strict=True)


def test_cells_that_express_none_of_the_chosen_genes_are_told_of(model, immune, tmp_path, told):
    few = immune[:3].copy()
    some = few.X.toarray()
    some[1, few.var_names.isin(FEW)] = 0
    few.X = sp.csr_matrix(some)
    says = "1 of 3 cells of adata.X expresses none of the chosen genes: its embedding has no meaning, so drop it"
    with pytest.warns(errors.DataWarning, match=says):
        found = model.compute(few, genes=FEW)
    assert found.provenance["n_empty"] == 1
    assert np.isfinite(found.embedding).all()
    with pytest.raises(errors.SuspiciousDataError, match=says):
        model.tokenize(few, genes=FEW, strict=True)
    few.write_h5ad(tmp_path / "in.h5ad")
    status, err = told(
        "embed", str(tmp_path / "in.h5ad"), str(tmp_path / "o.npy"), "--strict", "--genes", ",".join(FEW)
    )
    assert status == 1
    assert "expresses none of the chosen genes" in err


@pytest.mark.parametrize(
    "genes, message", [([], "genes is empty"), ([True, False], "genes contains True"), (3, "genes=3")]
)
def test_what_is_no_list_of_names(model, immune, genes, message):
    for function in (model.compute, model.tokenize, lambda *a, **k: se600m.embed(*a, model=model, **k)):
        with pytest.raises(errors.OptionError, match=message):
            function(immune, genes=genes)


def test_the_command(told, immune, genes, tmp_path):
    immune[:2].write_h5ad(tmp_path / "in.h5ad")
    (tmp_path / "genes.txt").write_text("\n".join(genes) + "\n\n", encoding="utf-8-sig")  # as Excel marks it
    (tmp_path / "nothing.txt").write_text("\n")
    source, out = str(tmp_path / "in.h5ad"), str(tmp_path / "out.npy")
    assert told("embed", source, out, "--genes-file", str(tmp_path / "genes.txt"))[0] == 0
    want = se600m.embed(immune[:2].copy(), genes=genes, copy=True).obsm["X_state"]
    assert np.array_equal(np.load(out), want)
    assert told("tokenize", source, str(tmp_path / "out.npz"), "--genes", ", ".join(FEW), "--fill", "none")[0] == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["lengths"].max() <= 7
    for words, message in (
        (["--genes", "LYZ", "--genes-file", "x"], "either --genes A,B,C or --genes-file FILE, not both"),
        (["--genes-file", "no.txt"], "--genes-file 'no.txt' can't be read"),
        (["--genes", ","], "--genes is empty: give"),
        (["--genes-file", str(tmp_path / "nothing.txt")], "nothing.txt' is empty: give"),
        (["--genes-file", str(tmp_path)], "can't be read: Is a directory"),
        (["--genes", "LYZZ"], "gene 'LYZZ' is not among"),
    ):
        status, err = told("embed", source, str(tmp_path / "o.npy"), *words)
        assert status == 1
        assert message in err
    assert not (tmp_path / "o.npy").exists()


def test_the_same_genes_are_known_again():
    assert CellOptions(genes=["B", "A"]).named_genes() == CellOptions(genes=["A", "B", "A"]).named_genes()
    assert CellOptions(genes=["A"]).named_genes() != CellOptions(genes=["A", "B"]).named_genes()
