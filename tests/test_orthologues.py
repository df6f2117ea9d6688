"""Mouse genes as human genes, by a table of orthologues."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import se600m
from se600m import errors

GENES = ["Cd3e", "Ms4a1", "Lyz1", "Lyz2", "Gm1", "Nkg7", "Cst3", "Cd79a", "H19"]
PAIRS = [
    ("Cd3e", "CD3E"), ("Ms4a1", "MS4A1"), ("Lyz1", "LYZ"), ("Lyz2", "LYZ"), ("Nkg7", "NKG7"), ("Nkg7", "NKG7"),
    ("Cst3", "CST3"), ("Cd79a", "CD79A"), ("Cd79a", "CD79B"), ("Xkr4", "XKR4"), ("Sox17", ""), ("H19", None),
]  # fmt: skip


@pytest.fixture
def table():
    return pd.DataFrame(PAIRS, columns=["Gene name", "Human gene name"])


@pytest.fixture
def mouse():
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(3, (5, len(GENES))).astype(np.float32))
    adata = anndata.AnnData(counts, var=pd.DataFrame(index=GENES))
    adata.layers["counts"], adata.raw = adata.X.copy(), adata
    return adata


def test_one_to_one_pairs_are_used(mouse, table):
    before = mouse.copy()
    says = r"3 genes .* ambiguous, such as 'Lyz1', which shares 'LYZ' with 'Lyz2': only one-to-one"
    with pytest.warns(errors.DataWarning, match=says):
        human = se600m.map_orthologues(mouse, table)
    assert list(human.var_names) == ["CD3E", "MS4A1", "NKG7", "CST3"]
    kept = ["Cd3e", "Ms4a1", "Nkg7", "Cst3"]
    assert list(human.var["orthologue_of"]) == kept
    assert np.array_equal(human.X.toarray(), mouse[:, kept].X.toarray())
    assert np.array_equal(human.layers["counts"].toarray(), human.X.toarray())
    assert human.raw is None
    assert human.uns["orthologues"] == {"n_mapped": 4, "n_ambiguous": 3, "n_not_found": 2}
    assert list(mouse.var_names) == list(before.var_names)
    assert mouse.raw is not None
    assert "orthologues" not in mouse.uns
    known = se600m.load_model().genes
    assert all(name in known for name in human.var_names)


def test_a_gene_with_several_is_named(mouse, table):
    with pytest.warns(errors.DataWarning, match="1 gene .* 'Cd79a', which has 'CD79A' and 'CD79B'"):
        se600m.map_orthologues(mouse[:, ["Cd3e", "Cd79a"]], table)


@pytest.mark.filterwarnings("error::se600m.errors.DataWarning")
def test_nothing_is_said_where_nothing_is_ambiguous(mouse, table, tmp_path):
    some = mouse[:, ["Cst3", "Gm1", "Cd3e"]].copy()
    want = se600m.map_orthologues(some, table)
    assert list(want.var_names) == ["CST3", "CD3E"]
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.tsv.gz", index=False, sep="\t")
    some.write_h5ad(tmp_path / "in.h5ad")
    backed = anndata.read_h5ad(tmp_path / "in.h5ad", backed="r")
    for cells, path in ((some, tmp_path / "t.csv"), (backed, str(tmp_path / "t.tsv.gz"))):
        found = se600m.map_orthologues(cells, path)
        assert list(found.var_names) == list(want.var_names)
        assert np.array_equal(found.X.toarray(), want.X.toarray())


def test_the_column_with_the_names_is_found(mouse, table):
    some = mouse[:, ["Cst3", "Gm1", "Cd3e"]].copy()
    some.var["symbol"], some.var["other"] = some.var_names, "x"
    some.var_names = ["ENSMUSG1", "ENSMUSG2", "ENSMUSG3"]
    assert list(se600m.map_orthologues(some, table).var_names) == ["CST3", "CD3E"]
    with pytest.raises(errors.DataError, match=r"none of the .* is in var\['other'\], .* named like 'x'"):
        se600m.map_orthologues(some, table, gene_column="other")


@pytest.mark.filterwarnings("ignore::se600m.errors.DataWarning")
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".txt.gz"])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("header", [True, False])
def test_tables_as_programs_write_them(mouse, table, tmp_path, suffix, separator, header):
    """BioMart calls both of its kinds of table .txt; Excel writes a mark first, and semicolons in some countries."""
    path = tmp_path / f"mart_export{suffix}"
    path.unlink(missing_ok=True)
    table.to_csv(path, index=False, header=header, sep=separator, encoding="utf-8-sig", lineterminator="\r\n")
    found = se600m.map_orthologues(mouse, path)
    assert list(found.var_names) == ["CD3E", "MS4A1", "NKG7", "CST3"]
    assert found.uns["orthologues"] == {"n_mapped": 4, "n_ambiguous": 3, "n_not_found": 2}


def test_a_backed_file_stays_open_and_earlier_columns_stay(mouse, table, tmp_path):
    mouse.write_h5ad(tmp_path / "in.h5ad")
    backed = anndata.read_h5ad(tmp_path / "in.h5ad", backed="r")
    with pytest.warns(errors.DataWarning, match="ambiguous"):
        human = se600m.map_orthologues(backed, table)
    assert backed.file.is_open
    assert backed.X[:1].shape == (1, len(GENES))
    with pytest.raises(errors.DestinationExistsError, match=r"adata.var\['orthologue_of'\] exists.*: rename it"):
        se600m.map_orthologues(human, table)


def test_what_is_wrong_is_named(mouse, table, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    wide = table.assign(kind="ortholog_one2one")
    for given, error, says in (
        (wide, errors.DataError, r"3 columns \('Gene name', 'Human gene name', 'kind'\): give the two"),
        (table[:0], errors.DataError, "has no pair of genes"),
        (dict(PAIRS), errors.OptionError, "is a dict: give a DataFrame"),
        (tmp_path / "no.csv", errors.DataError, "no.csv' can't be read"),
        (tmp_path / "empty.csv", errors.DataError, "empty.csv' has no pair of genes"),
        (tmp_path / "t.xlsx", errors.OptionError, r"ends in '.xlsx': give a file"),
        (
            table.assign(**{"Gene name": "cd3e"}),
            errors.DataError,
            "none of the genes in the first column .* such as 'cd3e'",
        ),
        (table[2:4], errors.DataError, "none of the 2 genes .* has a one-to-one orthologue: each has several"),
        (table[7:9], errors.DataError, "the only gene .* is in the table has no one-to-one orthologue: it has several"),
    ):
        with pytest.raises(error, match=says):
            se600m.map_orthologues(mouse, given)
    with pytest.warns(UserWarning, match="Variable names are not unique"):
        twice = anndata.concat([mouse, mouse[:, ["Cd3e"]]], axis=1)
    with pytest.raises(errors.DataError, match="1 gene with an orthologue is in several columns, such as 'Cd3e' in 2"):
        se600m.map_orthologues(twice, table)
    with pytest.raises(errors.DataError, match="expected an AnnData"):
        se600m.map_orthologues(mouse.X, table)
