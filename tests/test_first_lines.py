"""The first lines that a newcomer gets wrong. Each ends in an answer that they can act on."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

import se600m
from se600m import errors

LINES = [
    ('se600m.embed("cells.h5ad")', r"anndata\.read_h5ad\('cells\.h5ad'\)"),
    ("se600m.embed(adata.X)", r"anndata\.AnnData\(X, obs, var\)"),
    ("se600m.embed(adata.to_df())", r"anndata\.AnnData\(X, obs, var\)"),
    ("turned = adata.T.copy(); se600m.embed(turned)", r"Searched in var_names .*\"Cell_1\".*named like"),
    ('se600m.embed(adata, layer="count")', r"which has 'counts': did you mean 'counts'\?"),
    ('se600m.embed(adata, layers="counts")', r"unexpected keyword argument 'layers'"),
    ("se600m.embed(adata, use_raw=True)", r"adata\.raw is None: leave it out"),
    ('se600m.embed(adata, model="SE-600M")', r"can be downloaded once you accept.*`se600m download SE-600M`"),
    ('se600m.embed(adata, model="se_mini")', r"did you mean 'se-mini'\?"),
    ('se600m.embed(adata, model="~/no/such/folder")', r"nor the path of a converted model or a checkpoint"),
    ('se600m.embed(adata, device="gpu")', r'"cuda:N"'),
    ('se600m.embed(adata, device="cuda")', r'use device="cpu"'),
    ('se600m.embed(adata, precision="float16")', r'"fp32", "fp16", "int8", "bf16": did you mean "fp16"'),
    ('se600m.embed(adata, batch_size="64")', r"batch_size='64' is not a whole number"),
    ("se600m.embed(adata, key_added=None)", r"key_added=None is not a valid key"),
    ('se600m.embed(mouse)', r"the model knows human genes"),
    ('se600m.embed(adata, gene_column="gene_symbols")', r"which has 'symbol': did you mean 'symbol'\?"),
    ("se600m.embed(adata[adata.obs.cluster == 'T cells'])", r"no cells"),
    ("se600m.embed(adata[:, :20_000])", r"would be lost.*temporary object.*copy=True"),
    ("se600m.embed(scaled)", r"try use_raw=True$"),
    ("se600m.embed(cpm)", r"add up to 10,000 in every cell.*try layer='counts'$"),
    ("se600m.embed(with_nan)", r"\(cell 'Cell_3', gene '.+'\) is NaN"),
    ("se600m.load_model('cells.h5ad')", r"neither the name of a model|neither a folder nor"),
]  # fmt: skip


@pytest.fixture
def names(immune):
    """What the lines speak of."""
    adata = immune[:6].copy()
    adata.layers["counts"] = adata.X.copy()
    adata.var["symbol"] = adata.var_names
    adata.obs["cluster"] = "B cells"
    mouse = adata.copy()
    mouse.var = pd.DataFrame(index=adata.var_names.str.capitalize())
    cpm = adata.copy()
    sc.pp.normalize_total(cpm, target_sum=1e4)
    with_nan = adata.copy()
    with_nan.X = with_nan.X.tolil()[:].tocsr()
    with_nan.X.data[with_nan.X.indptr[2]] = np.nan
    return {
        "se600m": se600m, "adata": adata, "mouse": mouse, "cpm": cpm, "with_nan": with_nan,
        "scaled": sc.datasets.pbmc68k_reduced()[:6].copy(),
    }  # fmt: skip


@pytest.mark.parametrize("line, answer", LINES, ids=[line for line, _ in LINES])
def test_a_line_ends_in_an_answer(names, line, answer):
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.DataWarning)
        with pytest.raises((errors.SE600MError, errors.DataWarning, TypeError), match=answer):
            exec(line, names)


def test_there_are_twenty():
    assert len({line for line, _ in LINES}) >= 20


# -- what needs no care at all ---------------------------------------------------------------------


@pytest.fixture
def want(immune):
    se600m.embed(immune)
    return immune.obsm.pop("X_state")


def test_symbols_in_a_column_are_found(immune, want):
    adata = anndata.AnnData(immune.X, var=pd.DataFrame({"symbol": immune.var_names}))
    adata.var["type"] = "Gene Expression"
    adata.var["symbol"] = adata.var["symbol"].astype("category")
    adata.var.loc[adata.var.index[3], "type"] = "CD3D"  # one chance match more
    se600m.embed(adata)
    assert np.array_equal(adata.obsm["X_state"], want)
    assert adata.uns["X_state"]["gene_column"] == "var['symbol']"


@pytest.mark.parametrize("version", ["", ".12"])
def test_ensembl_ids_are_found(immune, version):
    """The same cells by symbol and by id, where id and symbol are one to one."""
    import gzip
    from pathlib import Path

    table = Path(__file__).resolve().parents[1] / "gocore" / "vocabulary" / "ensembl.tsv.gz"
    lines = [line.split("\t") for line in gzip.decompress(table.read_bytes()).decode().splitlines()]
    ids = {symbol: f"ENSG{int(number):011d}{version}" for number, symbol in lines}
    common = immune[:, immune.var_names.isin(ids)].copy()
    assert common.n_vars > 15_000
    se600m.embed(common, min_coverage=0)
    by_id = common.copy()
    by_id.var_names = [ids[name] for name in common.var_names]
    se600m.embed(by_id, min_coverage=0)
    assert np.array_equal(by_id.obsm["X_state"], common.obsm["X_state"])
    n_known = np.isin(common.var_names, se600m.load_model().genes).sum()
    of_symbols, of_ids = common.uns["X_state"], by_id.uns["X_state"]
    assert of_ids["n_by_id"] == of_ids["n_matched"] == of_symbols["n_matched"]
    assert of_symbols["n_matched"] == n_known + of_symbols["n_renamed"] > 8_000
    assert of_ids["n_renamed"] == of_symbols["n_renamed"] < 30


def test_an_explicit_column_wins(immune):
    adata = immune.copy()
    adata.var["other"] = adata.var_names[::-1]
    se600m.embed(adata, gene_column="other")
    assert adata.uns["X_state"]["gene_column"] == "var['other']"


def test_a_backed_file_and_a_view_can_be_embedded(immune, want, tmp_path):
    immune.write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    se600m.embed(backed)
    assert np.array_equal(backed.obsm["X_state"], want)
    assert backed.isbacked
    backed.file.close()
    view = immune[4:9]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata says that the view becomes a copy, as it does for scanpy's functions
        se600m.embed(view)
    assert np.array_equal(view.obsm["X_state"], want[4:9])
    assert "X_state" not in immune.obsm


def test_the_share_of_a_cells_counts_is_reported(immune):
    sentences = se600m.tokenize(immune)
    known = immune.var_names.isin(se600m.load_model().genes)
    x = sp.csr_matrix(immune.X, dtype=np.float64)
    share = np.asarray(x[:, known].sum(1)).ravel() / np.asarray(x.sum(1)).ravel()
    np.testing.assert_allclose(sentences.share, share, rtol=1e-6)
    se600m.embed(immune)
    made_with = immune.uns["X_state"]
    assert made_with["share_median"] == pytest.approx(np.median(share), rel=1e-6)
    assert made_with["share_min"] == pytest.approx(share.min(), rel=1e-6)


def test_what_is_found_is_logged(immune, caplog):
    with caplog.at_level("INFO", logger="se600m"):
        se600m.embed(immune)
    said = [record.getMessage() for record in caplog.records]
    assert any("of 32,786 genes of adata.X are known to the model, by var_names" in line for line in said)
