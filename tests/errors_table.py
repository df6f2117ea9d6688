"""Every way to be wrong that se600m has a word for: what a user does, the class of the error, what it names.

tests/test_errors.py runs the table, and docs/errors.md is written from it (`make docs`).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

import hub_server
import se600m
import statefiles
from se600m import (
    _cli_words,
    _cluster,
    _conversions,
    _files,
    _formats,
    _h5ad,
    _journal,
    _keep,
    _licences,
    _models,
    cli,
    errors,
)
from se600m._published import SE600M


@dataclass
class Given:
    """What a case may use and spoil: two data sets, a small checkpoint, a folder."""

    adata: anndata.AnnData
    """24 cells × 32,786 genes, raw counts."""
    panel: anndata.AnnData
    """24 cells; log1p values of 765 genes in .raw, scaled values in .X."""
    checkpoint: Any
    """A small random checkpoint (conftest.RandomModel) with a folder."""
    folder: Path


@dataclass(frozen=True)
class Case:
    """One way to be wrong."""

    what: str
    do: Callable[[Given], Any]
    error: type[Exception]
    says: str
    """A regular expression: the message names the value, and the way out."""


# -- the data ----------------------------------------------------------------------------------


def embed(spoil: Callable[[anndata.AnnData], Any] | None = None, **options: Any) -> Callable[[Given], Any]:
    def do(given: Given) -> Any:
        other = spoil(given.adata) if spoil is not None else None
        return se600m.embed(given.adata if other is None else other, **options)

    return do


# -- downloads ---------------------------------------------------------------------------------


def from_hub(spoil: Callable[[hub_server.Hub], Any], **patched: Any) -> Callable[[Given], Any]:
    """Download from a server of the test, with the licence accepted; the cache is the folder."""

    def do(given: Given) -> Any:
        from huggingface_hub import constants

        server = hub_server.Hub(given.checkpoint.folder, SE600M.repository, SE600M.revision)
        environment = {"SE600M_CACHE": str(given.folder / "cache"), "SE600M_CONFIG": str(given.folder / "config")}
        with hub_server.running(server) as hub, contextlib.ExitStack() as stack:
            spoil(hub)
            template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
            settings = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_OFFLINE": False} | patched
            for name, value in settings.items():
                stack.enter_context(mock.patch.object(constants, name, value))
            stack.enter_context(mock.patch.dict(os.environ, environment))
            stack.enter_context(mock.patch.object(_licences, "_accepted_here", set()))
            stack.enter_context(mock.patch("time.sleep"))
            return se600m.download("SE-600M", accept_licence=True)

    return do


def _spoil_weights(hub: hub_server.Hub) -> None:
    hub.sent["model.safetensors"] = hub.sent["model.safetensors"][:-1] + b"?"


def _close_the_door(hub: hub_server.Hub) -> None:
    hub.faults[""].append(hub_server.status(403, X_Error_Code="GatedRepo"))


offline = from_hub(lambda hub: None, HF_HUB_OFFLINE=True)
unreachable = from_hub(lambda hub: None, ENDPOINT="http://127.0.0.1:9")
gated = from_hub(_close_the_door)
wrong_bytes = from_hub(_spoil_weights)


def no_room(given: Given) -> Any:
    with mock.patch("shutil.disk_usage", lambda _: mock.Mock(total=10**9, free=50_000)):
        return from_hub(lambda hub: None)(given)


def put(value: float, *places: tuple[int, int]) -> Callable[[anndata.AnnData], None]:
    def spoil(adata: anndata.AnnData) -> None:
        x = adata.X.tolil()
        for place in places:
            x[place] = value
        adata.X = x.tocsr()

    return spoil


def names(make: Callable[[int], str]) -> Callable[[anndata.AnnData], None]:
    def spoil(adata: anndata.AnnData) -> None:
        adata.var_names = [make(i) for i in range(adata.n_vars)]

    return spoil


def lower_case(adata: anndata.AnnData) -> None:
    adata.var_names = adata.var_names.str.capitalize()


def column(name: str, values: Callable[[anndata.AnnData], Any]) -> Callable[[anndata.AnnData], None]:
    def spoil(adata: anndata.AnnData) -> None:
        adata.var[name] = values(adata)

    return spoil


def decorated(form: str) -> Callable[[anndata.AnnData], None]:
    def spoil(adata: anndata.AnnData) -> None:
        adata.var_names = [form.format(name) for name in adata.var_names]

    return spoil


def peaks(adata: anndata.AnnData) -> None:
    adata.var_names = [name if i < 900 else f"chr1:{i}000-{i}500" for i, name in enumerate(adata.var_names)]


def two_species(adata: anndata.AnnData) -> None:
    human = adata.var_names.isin(se600m.load_model().genes)
    both = zip(adata.var_names, human, strict=True)
    adata.var_names = [f"GRCh38_{name}" if is_human else f"mm10___{name.capitalize()}" for name, is_human in both]


def column_twice(adata: anndata.AnnData) -> None:
    both = pd.DataFrame({"a": adata.var_names, "b": adata.var_names}, index=adata.var_names)
    both.columns = ["symbol", "symbol"]
    adata.var = both


def known_genes(n: int) -> Callable[[anndata.AnnData], anndata.AnnData]:
    def spoil(adata: anndata.AnnData) -> anndata.AnnData:
        known = adata.var_names[adata.var_names.isin(se600m.load_model().genes)]
        return adata[:, known[:n]].copy()

    return spoil


def decode_zeros(model: se600m.Model, out: np.ndarray) -> np.ndarray:
    return model.decode(np.zeros((3, model.output_dim + model.dataset_dim)), "CD3D", out=out)


def one_empty_cell(adata: anndata.AnnData) -> None:
    x = adata.X.tolil()
    x[5] = 0
    adata.X = x.tocsr()


def large_value(adata: anndata.AnnData) -> None:
    x = adata.X.astype(np.float64).tolil()
    x[3, 2] = 1e300
    adata.X = x.tocsr()


def gene_past_the_end(adata: anndata.AnnData) -> None:
    adata.X.indices[-1] = 32_800


def outer_join(adata: anndata.AnnData) -> anndata.AnnData:
    adata.X = adata.X.toarray()
    return anndata.concat([adata[:12, :27_786], adata[12:, 5000:]], join="outer")


def divided_by_sum(adata: anndata.AnnData) -> None:
    x = adata.X.toarray()
    x[5] = 0
    with np.errstate(invalid="ignore"):
        adata.X = x / x.sum(1, keepdims=True)


def divided_by_deviation(adata: anndata.AnnData) -> None:
    x = adata.X.toarray()
    x[:, ::10] = 0
    with np.errstate(invalid="ignore"):
        x /= x.std(0)
    x[:, ~np.isnan(x[0])] = 1
    x[:, ::10] = np.nan
    adata.X = x


def text_layer(adata: anndata.AnnData) -> None:
    adata.layers["text"] = np.full(adata.shape, "1")


def raw_alone(adata: anndata.AnnData) -> Any:
    adata.raw = adata.copy()
    return adata.raw


DATA = [
    Case(
        "a path instead of an AnnData",
        lambda g: se600m.embed("cells.h5ad"),
        errors.DataError,
        r"not a str: .*read_h5ad",
    ),
    Case("a data frame", lambda g: se600m.embed(g.adata.obs), errors.DataError, "not a DataFrame: .*AnnData"),
    Case("a matrix", lambda g: se600m.embed(g.adata.X), errors.DataError, "not a csr_matrix: .*AnnData"),
    Case(
        "a MuData",
        lambda g: se600m.embed(type("MuData", (), {"mod": {}})()),
        errors.DataError,
        r'not a MuData: .*mdata\.mod\["rna"\]',
    ),
    Case("raw instead of the AnnData", embed(raw_alone), errors.DataError, "not a Raw: .*use_raw=True"),
    Case("a list of AnnDatas", lambda g: se600m.embed([g.adata]), errors.DataError, r"not a list: .*anndata\.concat"),
    Case("what a function of scanpy returned", lambda g: se600m.embed(None), errors.DataError, "not None: .*in place"),
    Case("a file of R's", lambda g: se600m.embed("cells.rds"), errors.DataError, r"a file from R: in R, .*as_AnnData"),
    Case("no cells", embed(lambda a: a[:0]), errors.DataError, r"no cells \(n_obs = 0\)"),
    Case("no genes", embed(lambda a: a[:, :0]), errors.DataError, r"no genes \(n_vars = 0\)"),
    Case(
        "a NaN or two",
        embed(put(np.nan, (4, 7), (9, 1))),
        errors.NotFiniteError,
        r"adata\.X\[4, 7\] \(cell 'Cell_5', gene '.*'\) is NaN\. In total, 2 NaN values are in 2 of 32,786 genes and 2 of "
        "24 cells: replace them, or drop",
    ),
    Case(
        "an infinite value",
        embed(put(np.inf, (20, 3))),
        errors.NotFiniteError,
        r"adata\.X\[20, 3\] .* is infinite: replace it",
    ),
    Case(
        "the logarithm of zero",
        embed(put(-np.inf, (20, 3), (21, 3))),
        errors.NotFiniteError,
        r"adata\.X\[20, 3\] .* is -infinite, .*np\.log1p for logarithms of counts\. In total, 2 infinite values are in 1 of",
    ),
    Case(
        "what would be a warning, with strict=True",
        embed(one_empty_cell, strict=True),
        errors.SuspiciousDataError,
        r"^1 of 24 cells of adata\.X expresses no gene",
    ),
    Case(
        "a value that no count reaches",
        embed(large_value),
        errors.NotFiniteError,
        r"adata\.X\[3, 2\] .* is 1e\+300, which is too large for a 32-bit float and larger than any count: replace it",
    ),
    Case(
        "a gene that is not there",
        embed(gene_past_the_end),
        errors.DataError,
        r"adata\.X is damaged: it refers to gene 32800 of 32786",
    ),
    Case(
        "an outer join",
        embed(outer_join),
        errors.NotFiniteError,
        r"adata\.X\[0, 1\] .* is NaN\. In total, 120,000 NaN values are in 10,000 of 32,786 genes and 24 of 24 cells: .*"
        r'outer join.*anndata\.concat\(\.\.\., join="outer", fill_value=0\)',
    ),
    Case(
        "an empty cell, divided by its sum",
        embed(divided_by_sum),
        errors.NotFiniteError,
        r"1 of 24 cells: this cell has no other value, as after dividing an empty cell by its sum\. Drop it",
    ),
    Case(
        "genes divided by a deviation of zero",
        embed(divided_by_deviation),
        errors.NotFiniteError,
        r"24 of 24 cells: these genes have no other value in any cell, as after dividing by a standard deviation of 0\. Drop",
    ),
    Case(
        "text as values", embed(text_layer, layer="text"), errors.DataError, r"layers\['text'\] has values of type <U1"
    ),
    Case(
        "no X",
        lambda g: se600m.embed(anndata.AnnData(obs=g.adata.obs, var=g.adata.var)),
        errors.DataError,
        r"adata\.X is None: pass layer=\.\.\. or use_raw=True",
    ),
    Case(
        "a layer that is not there",
        embed(lambda a: a.layers.update(counts=a.X), layer="count"),
        errors.DataError,
        "layer='count' is not in adata.layers, which has 'counts': did you mean 'counts'",
    ),
    Case(
        "a layer, but there are none", embed(layer="counts"), errors.DataError, "layer='counts' .*which has no layers"
    ),
    Case("use_raw without raw", embed(use_raw=True), errors.DataError, r"adata\.raw is None: leave it out"),
    Case("a layer and raw", embed(layer="counts", use_raw=True), errors.OptionError, "two matrices: choose one"),
    Case(
        "a gene column that is not there",
        embed(column("gene_symbols", lambda a: a.var_names), gene_column="gene_symbol"),
        errors.DataError,
        "gene_column='gene_symbol' is not in var, which has 'gene_symbols': did you mean 'gene_symbols'",
    ),
    Case(
        "a gene column that stands twice",
        embed(column_twice, gene_column="symbol"),
        errors.DataError,
        "gene_column='symbol' occurs 2 times in var: give these columns different names",
    ),
    Case(
        "genes without names",
        embed(column("symbol", lambda a: [None] * a.n_vars), gene_column="symbol"),
        errors.GeneCoverageError,
        r"var\['symbol'\] \(0\).*32,786 of 32,786 genes have no name there: choose the column",
    ),
    Case(
        "genes with numbers for names",
        embed(names(str)),
        errors.GeneCoverageError,
        r'32,786 of the 32,786 unknown names, such as "0", are numbers, .*gene_column',
    ),
    Case(
        "mouse symbols",
        embed(lower_case),
        errors.GeneCoverageError,
        r"unknown names, such as \"\w+[-\w]*\", look like mouse or rat symbols: the model knows human genes",
    ),
    Case(
        "Ensembl ids of another species",
        embed(names(lambda i: f"ENSMUSG{i:011d}")),
        errors.GeneCoverageError,
        '"ENSMUSG00000000000".*are Ensembl ids of mouse genes: .*orthologues',
    ),
    Case(
        "names that mean nothing to the model",
        embed(names(lambda i: f"gene_{i}_x")),
        errors.GeneCoverageError,
        r"0 of 32,786 genes \(0\.0 %\).*Searched in var_names \(0\); unknown names are, for example, \"gene_0_x\".*The model's",
    ),
    Case(
        "a chance match or two",
        embed(names(lambda i: "CD3D" if i == 5 else f"peak{i}")),
        errors.GeneCoverageError,
        r"1 of 32,786 genes \(0\.0 %\) is known to the model; .*at least 10\.0 %",
    ),
    Case(
        "more coverage asked for than there is",
        embed(lambda a: a[:, 1::2].copy(), min_coverage=0.99),
        errors.GeneCoverageError,
        r"\(2\d\.\d %\) are known .* 49\.\d % of the model's 9,429 genes.*at least 99\.0 % \(min_coverage=0\.99\)",
    ),
    Case(
        "peaks with a few genes",
        embed(peaks),
        errors.GeneCoverageError,
        r"such as \"chr1:[0-9-]+\", are peaks: embed only the gene expression",
    ),
    Case(
        "a prefix before every name",
        embed(decorated("GRCh38_{}")),
        errors.GeneCoverageError,
        r"9,429 names have the prefix \"GRCh38_\".*: adata\.var_names = adata\.var_names\.str\.removeprefix\(\"GRCh38_\"\)",
    ),
    Case(
        "two identifiers in one name",
        embed(decorated("{}_ENSG00000167286")),
        errors.GeneCoverageError,
        r"names have an Ensembl id after the symbol.*: adata\.var_names = adata\.var_names\.str\.replace",
    ),
    Case(
        "blanks behind the names",
        embed(decorated("{} ")),
        errors.GeneCoverageError,
        r"names have spaces around them.*: adata\.var_names = adata\.var_names\.str\.strip\(\)",
    ),
    Case(
        "cells of two species",
        embed(two_species),
        errors.GeneCoverageError,
        r"the prefix \"mm10___\" of another genome.*adata\[:, adata\.var_names\.str\.startswith\(\"GRCh38_\"\)\]",
    ),
    Case(
        "antibodies alone",
        embed(column("feature_types", lambda a: "Antibody Capture")),
        errors.DataError,
        r"var\['feature_types'\] says .* 32,786 of 'Antibody Capture', and none of 'Gene Expression'",
    ),
    Case(
        "fewer valid genes than the [CLS] slot needs",
        embed(known_genes(3)),
        errors.TooFewGenesError,
        "3 valid genes.* valid gene 4",
    ),
]

# -- files of cells ----------------------------------------------------------------------------


def file(name: str, write: Callable[[Path, anndata.AnnData], Any], **options: Any) -> Callable[[Given], Any]:
    """Read a file, as `se600m embed` does."""

    def do(given: Given) -> Any:
        write(given.folder / name, given.adata[:, :50].copy())
        return _formats.read(given.folder / name, **options)

    return do


def content(first: bytes) -> Callable[[Path, anndata.AnnData], Any]:
    return lambda path, _: path.write_bytes(first)


def half(path: Path, adata: anndata.AnnData) -> None:
    adata.write_h5ad(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_the_future(path: Path, adata: anndata.AnnData) -> None:
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["obs"].attrs["encoding-version"] = "9.0.0"


def mudata(*names: str) -> Callable[[Path, anndata.AnnData], Any]:
    def write(path: Path, _: anndata.AnnData) -> None:
        with h5py.File(path, "w") as file:
            for name in names:
                file.create_group(f"mod/{name}")

    return write


def groups(*names: str) -> Callable[[Path, anndata.AnnData], Any]:
    def write(path: Path, _: anndata.AnnData) -> None:
        with h5py.File(path, "w") as file:
            for name in names:
                file.create_group(name)

    return write


def loom(path: Path, _: anndata.AnnData) -> None:
    with h5py.File(path, "w") as file:
        file["matrix"] = np.ones((2, 2))
        file.create_group("row_attrs")
        file.create_group("col_attrs")


FILES = [
    Case("a file that is not there", file("a.h5ad", lambda *_: None), errors.DataError, r"a\.h5ad' does not exist$"),
    Case("an empty file", file("a.h5ad", content(b"")), errors.DataError, r"empty \(0 bytes\): .*get it again"),
    Case("a file that is cut off", file("a.h5ad", half), errors.DataError, r"cut off \([\d,]+ of [\d,]+ bytes\)"),
    Case(
        "a Git LFS pointer",
        file("a.h5ad", content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n")),
        errors.DataError,
        "a Git LFS pointer, .*`git lfs pull`",
    ),
    Case("a web page", file("a.h5ad", content(b"<!DOCTYPE html>")), errors.DataError, r"a web page \(HTML\)"),
    Case(
        "an h5ad of a newer anndata",
        file("a.h5ad", of_the_future),
        errors.DataError,
        r"/obs: is stored as 'dataframe', version 9\.0\.0, which requires a newer anndata .*pip install --upgrade",
    ),
    Case("a loom file", file("a.loom", loom), errors.DataError, "a loom file: .*read_loom"),
    Case(
        "a Seurat file", file("a.h5seurat", groups("cell.names", "meta.data")), errors.DataError, "SeuratDisk::Convert"
    ),
    Case("an R object", file("a.rds", content(b"X\n\0\0\0\3")), errors.DataError, r"R object \(RDS\).*as_AnnData"),
    Case(
        "an HDF5 file of something else", file("a.h5", groups("x")), errors.DataError, r"HDF5 file without cells \('x'"
    ),
    Case(
        "a compressed file",
        file("a.h5ad.gz", content(gzip.compress(b"\x89HDF\r\n\x1a\n"))),
        errors.DataError,
        "compressed with gzip: unpack it first, `gunzip -k",
    ),
    Case("a text table", file("a.csv", content(b"gene,c1\nA,1\n")), errors.DataError, r"cells or genes: .*\.T if"),
    Case(
        "an array of numpy",
        file("a.npy", content(b"\x93NUMPY")),
        errors.DataError,
        "numpy array, which has no gene names",
    ),
    Case("a Parquet table", file("a.parquet", content(b"PAR1")), errors.DataError, r"pandas\.read_parquet"),
    Case("a zip archive", file("a.zip", content(b"PK\3\4")), errors.DataError, "zip archive that is damaged"),
    Case("a pickle", file("a.pkl", content(pickle.dumps(1))), errors.DataError, "a Python pickle, .*not opened"),
    Case("a folder without cells", file("a", lambda path, _: path.mkdir()), errors.DataError, "an empty folder"),
    Case(
        "a MuData without a modality that is called rna",
        file("a.h5mu", mudata("b", "t")),
        errors.DataError,
        "modalities 'b', 't', none of which .*--modality NAME",
    ),
    Case(
        "a modality that is not there",
        file("a.h5mu", mudata("rna"), modality="gex"),
        errors.OptionError,
        "modality='gex' is not in .*which has 'rna'",
    ),
    Case(
        "a modality of a file that has none",
        file("a.h5ad", lambda path, a: a.write_h5ad(path), modality="rna"),
        errors.OptionError,
        "has no modalities: leave the option out",
    ),
]

# -- options -----------------------------------------------------------------------------------


def backed(given: Given) -> anndata.AnnData:
    path = given.folder / "backed.h5ad"
    given.adata.write_h5ad(path)
    return anndata.read_h5ad(path, backed="r")


def embed_view_of_backed(given: Given) -> Any:
    view = backed(given)[:5]
    return se600m.embed(view)


def embed_over(part: str, key: str, key_added: str) -> Callable[[Given], Any]:
    def do(given: Given) -> Any:
        getattr(given.adata, part)[key] = np.ones((24, 2)) if part == "obsm" else {"params": {}}
        return se600m.embed(given.adata, key_added=key_added)

    return do


def labels_into(key_added: str) -> Callable[[Given], Any]:
    def do(given: Given) -> Any:
        adata = given.adata
        adata.obs["kind"], adata.obsm["X_pca"], adata.obs_names.name = "B cell", np.ones((24, 2)), "barcode"
        return se600m.transfer_labels(adata, adata, "kind", use_rep="X_pca", key_added=key_added)

    return do


def orthologues_twice(given: Given) -> Any:
    table = pd.DataFrame({"mouse": given.adata.var_names, "human": given.adata.var_names})
    once = se600m.map_orthologues(given.adata, table)
    return se600m.map_orthologues(once, table)


def without(given: Given, *genes: str) -> anndata.AnnData:
    return given.adata[:, ~given.adata.var_names.isin(genes)].copy()


def written(given: Given) -> Path:
    path = given.folder / "in.h5ad"
    given.adata.write_h5ad(path)
    return path


def transfer_over(given: Given) -> Any:
    given.adata.obs["cell_type"] = "B cell"
    given.adata.obsm["X_pca"] = np.ones((24, 2))
    return se600m.transfer_labels(given.adata, given.adata, "cell_type", use_rep="X_pca")


def command(*arguments: str, before: Callable[[Given], Any] | None = None) -> Callable[[Given], Any]:
    """What a command of the shell says, as the function that it calls."""

    def do(given: Given) -> Any:
        if before is not None:
            before(given)
        import typer.main

        called, typed = typer.main.get_command(cli.app), ["embed", "in.h5ad", *arguments]
        try:
            return called(typed, standalone_mode=False)
        except errors.SE600MError as error:
            raise type(error)(_cli_words.in_flags(str(error), _cli_words.flags_of(called, typed))) from error

    return do


def full_disk(given: Given) -> Any:
    return _files.check_space(given.folder / "out.h5ad", 10**18, "OUT")


def cannot_be_written(given: Given) -> Any:
    with _keep.kept_on_failure(np.zeros((24, 96), np.float32), None, "X_state", "out.h5ad", given.folder):
        raise OSError(28, "No space left on device")


def mixed_column(given: Given) -> Any:
    given.adata.obs["batch"] = pd.Series([1, "two"] * 12, index=given.adata.obs_names, dtype=object)
    return _h5ad.check_writable(given.adata)


def exists(name: str) -> Callable[[Given], Any]:
    return lambda given: (given.folder / name).write_text("years of work")


def embed_collection_over(given: Given) -> Any:
    from anndata.experimental import AnnCollection

    parts = [given.adata[:4].copy(), given.adata[4:8].copy()]
    collection = AnnCollection(parts, join_obsm="inner")
    collection.obsm["X_state"] = np.ones((8, 3), np.float32)
    return se600m.embed(collection)


DESTINATIONS = [
    Case(
        "an AnnData without a name",
        lambda g: se600m.load_model().embed(g.adata[:5]),
        errors.DataError,
        r"would be lost.*subset = adata\[:, genes\]\.copy\(\).*copy=True",
    ),
    Case(
        "a view of a backed file",
        embed_view_of_backed,
        errors.DataError,
        r"view .*backed by a file.*copy=True.*to_memory\(\)",
    ),
    Case(
        "somebody else's embedding under the key",
        embed_over("obsm", "X_pca", "X_pca"),
        errors.DestinationExistsError,
        r"adata\.obsm\['X_pca'\] exists.*key_added.*overwrite=True",
    ),
    Case(
        "somebody else's notes under the key",
        embed_over("uns", "neighbors", "neighbors"),
        errors.DestinationExistsError,
        r"adata\.uns\['neighbors'\] exists.*overwrite=True",
    ),
    Case(
        "somebody else's rows in a collection under the key",
        embed_collection_over,
        errors.DestinationExistsError,
        r"collection\.obsm\['X_state'\] exists.*overwrite=True",
    ),
    Case(
        "somebody else's labels under the key",
        transfer_over,
        errors.DestinationExistsError,
        r"adata\.obs\['cell_type'\] exists.*key_added.*overwrite=True",
    ),
    Case(
        "an output that exists", command("out.npy", before=exists("out.npy")), errors.DestinationExistsError, "--over"
    ),
    Case("an output that is a folder", command("."), errors.DestinationError, "is a folder: .*cells.h5ad"),
    Case(
        "an output under a file",
        command("file/out.npy", before=exists("file")),
        errors.DestinationError,
        "is a file, not a folder",
    ),
    Case("an output where nothing can be written", command("/proc/out.npy"), errors.DestinationError, "nothing can be"),
    Case(
        "an output that is a device",
        command("null.npy", before=lambda g: (g.folder / "null.npy").symlink_to("/dev/null")),
        errors.DestinationError,
        "device or a pipe",
    ),
    Case("an output of another kind", command("out.csv"), errors.OptionError, "ends in .h5ad, .zarr, .npy or .par"),
    Case("a disk without room", full_disk, errors.DestinationError, "GB, but only .* are free .*another disk"),
    Case(
        "cells that anndata can't write",
        mixed_column,
        errors.DestinationError,
        r"anndata can't write these cells as h5ad: .*batch.*\.npy",
    ),
    Case(
        "an output that can't be written in the end",
        cannot_be_written,
        errors.DestinationError,
        r"could not be written \(No space left on device\).*saved in .*numpy\.load",
    ),
    Case(
        "a path for contextual embeddings that exists",
        lambda g: se600m.load_model().contextual_gene_embeddings(g.adata, out=g.folder),
        errors.DestinationExistsError,
        "already exists: choose another path, or replace it with overwrite=True",
    ),
    Case(
        "a path for contextual embeddings that has something else",
        lambda g: se600m.load_model().contextual_gene_embeddings(g.adata, out=g.folder, overwrite=True),
        errors.DestinationExistsError,
        "not a zarr group",
    ),
]


def large(spoil: Callable[[Given], Any] | None = None, out: str = "out.npy", **options: Any) -> Callable[[Given], Any]:
    """Embed a file that stays on the disk."""

    def do(given: Given) -> Any:
        given.adata.write_h5ad("in.h5ad")
        if spoil is not None:
            spoil(given)
        return se600m.embed_file("in.h5ad", out, progress=False, **options)

    return do


def interrupted(given: Given) -> None:
    append = _journal.Journal.append

    def stopped(self: _journal.Journal, values: Any) -> None:
        append(self, values)
        raise KeyboardInterrupt

    with mock.patch.object(_journal.Journal, "append", stopped), contextlib.suppress(KeyboardInterrupt):
        se600m.embed_file("in.h5ad", "out.npy", progress=False)


def contextual_in_place(_: Given) -> Any:
    Path("cells.zarr").mkdir()
    Path("cells.zarr/zarr.json").write_text("{}")  # it is not even opened
    return se600m.contextual_file("cells.zarr", "cells.zarr", overwrite=True, progress=False)


def of_later_versions(given: Given) -> None:
    with h5py.File("in.h5ad", "r+") as file:
        file["uns"]["reference"] = h5py.Empty("f4")


def falling(given: Given) -> None:
    with h5py.File("in.h5ad", "r+") as file:
        file["X/indptr"][3] = file["X/indptr"][5]


def no_scheduler(given: Given) -> Any:
    with mock.patch.object(_cluster, "_CONNECT_SECONDS", 0.5):
        return large(scheduler="tcp://127.0.0.1:9")(given)


def merged(given: Given) -> Any:
    given.adata.write_h5ad("in.h5ad")
    se600m.embed_file("in.h5ad", "2.npz", shard="2/8", progress=False)
    return se600m.merge_shards("out.npy", ["2.npz"])


def several(*obs: Any) -> Callable[[Given], Any]:
    """Embed several files, whose obs have a column with these values."""

    def do(given: Given) -> Any:
        for number, values in enumerate(obs):
            cells = given.adata[:2].copy()
            cells.obs = pd.DataFrame({"donor": values}, index=cells.obs_names)
            cells.write_h5ad(f"{number}.h5ad")
        return se600m.embed_file([f"{number}.h5ad" for number in range(len(obs))], "out.h5ad", progress=False)

    return do


def of_another_run(given: Given) -> Any:
    given.adata.write_h5ad("in.h5ad")
    for number in (1, 2):
        se600m.embed_file("in.h5ad", f"{number}.npz", shard=(number, 2), seed=number, progress=False)
    return se600m.merge_shards("out.npy", ["1.npz", "2.npz"])


LARGE = [
    Case(
        "contextual embeddings of every slot as an array alone",
        lambda _: se600m.contextual_file("in.h5ad", "out.npy", progress=False),
        errors.OptionError,
        r"OUT ends in \.npy, which has no room for the genes .*genes=\.\.\..*\.zarr",
    ),
    Case(
        "contextual embeddings that would take the place of their cells",
        contextual_in_place,
        errors.DestinationError,
        r"which is also IN: choose another path, or the cells would be lost",
    ),
    Case(
        "what an earlier run has left",
        large(interrupted),
        errors.DestinationExistsError,
        r"out\.npy\.partial' has the rows .*resume=True.*overwrite=True",
    ),
    Case(
        "a run that is resumed with another option",
        large(interrupted, resume=True, seed=3),
        errors.ResumeError,
        "can't be resumed, .*: seed was 0 and is 3. .*overwrite=True",
    ),
    Case(
        "elements that another kind of file can't have",
        large(of_later_versions, out="out.zarr"),
        errors.DestinationError,
        "/uns/reference can't be written in zarr: .*IN's own kind",
    ),
    Case(
        "a matrix that is damaged", large(falling), errors.DataError, r"adata\.X is damaged: its indptr does not rise"
    ),
    Case("a file without an output", large(out=None), errors.OptionError, "no output: give OUT.h5ad, .* in_place=True"),
    Case("two outputs", large(in_place=True), errors.OptionError, "in_place=True and a second path .*choose one"),
    Case("memory as a word", large(memory="much"), errors.OptionError, "memory='much' is not an amount .*'512MB'"),
    Case("a shard that is none", large(shard="0/3"), errors.OptionError, "shard='0/3' is not a part such as '3/16'"),
    Case(
        "a scheduler that does not answer",
        no_scheduler,
        errors.ClusterError,
        "scheduler='tcp://127.0.0.1:9' does not answer .*dask scheduler",
    ),
    Case(
        "a scheduler that is no address",
        large(scheduler="localhost"),
        errors.OptionError,
        "scheduler='localhost' is not the address of a Dask scheduler such as",
    ),
    Case("shards that are missing", merged, errors.DataError, "7 shards of 8 are missing: 1/8, 3/8"),
    Case(
        "shards of two runs", of_another_run, errors.DataError, "not of the same run: seed is 1 and 2. Embed one again"
    ),
    Case(
        "a set of files",
        lambda _: se600m.embed_file({"a.h5ad", "b.h5ad"}, "out.h5ad"),
        errors.OptionError,
        r"src is a set, which has no fixed order: give a list, such as sorted\(src\)",
    ),
    Case(
        "columns of several files that no type can have",
        several([2**60, 2**60 + 1], [0.5, 1.5]),
        errors.DataError,
        r"obs\['donor'\] has whole numbers .*int64, float64.*obs\['donor'\]\.astype\(str\)",
    ),
]

OPTIONS = [
    Case("a negative seed", embed(seed=-1), errors.OptionError, "seed=-1 is not a whole number from 0"),
    Case("a seed that is not whole", embed(seed=1.5), errors.OptionError, r"seed=1\.5"),
    Case("no batch size", embed(batch_size=0), errors.OptionError, "batch_size=0 is not a whole number from 1"),
    Case("threads as text", embed(threads="all"), errors.OptionError, "threads='all'"),
    Case("an empty key", embed(key_added=""), errors.OptionError, "key_added=''"),
    Case(
        "a key for a file that has none",
        lambda _: se600m.embed_file("cells.h5ad", "embedding.npy", key_added="X_se"),
        errors.OptionError,
        "key_added='X_se' is the name of an element of obsm, but an .npy file has the embedding alone",
    ),
    Case("a key with a slash", embed(key_added="a/b"), errors.OptionError, "key_added='a/b'"),
    Case(
        "labels under the name that anndata has for the names of the cells",
        labels_into("_index"),
        errors.OptionError,
        "key_added='_index' is not a valid key for adata.obs: files need this name",
    ),
    Case(
        "labels under the name of the index",
        labels_into("barcode"),
        errors.OptionError,
        "'barcode', under which obs has the names of the cells: choose another key_added",
    ),
    Case(
        "an address to write to",
        lambda g: se600m.embed_file(written(g), "s3://bucket/out.zarr", model="se-mini"),
        errors.DestinationError,
        "'s3:/bucket/out.zarr', which is an address: give a path on this machine",
    ),
    Case(
        "a key that is the name of another column of a Parquet file",
        lambda g: se600m.embed_file(written(g), g.folder / "out.parquet", key_added="obs_names", model="se-mini"),
        errors.OptionError,
        "key_added='obs_names' can't be a column of the Parquet file",
    ),
    Case(
        "coverage as a percentage",
        embed(min_coverage=30),
        errors.OptionError,
        "min_coverage=30 is not a share from 0 to 1",
    ),
    Case("an unknown fill policy", embed(fill="zeros"), errors.OptionError, 'fill="zeros" is not one of .*"shared"'),
    Case(
        "a fill policy that does not suit",
        embed(fill="expected"),
        errors.OptionError,
        'fill="expected" .*room for 2,047, but there are [0-9,]+ valid genes: use fill="shared"',
    ),
    Case("an unknown scale", embed(expression="cpm"), errors.OptionError, 'expression="cpm" is not one of .*"log1p"'),
    Case(
        "an unknown model",
        embed(model="my-model"),
        errors.ModelNotFoundError,
        "model='my-model' is neither the name of a model",
    ),
    Case(
        "SE-600M by its name",
        embed(model="SE-600M"),
        errors.LicenceError,
        "SE-600M can be downloaded once you accept its licence .*`se600m download SE-600M`.*accept_licence",
    ),
    Case("a slip in a model's name", embed(model="se_mini"), errors.ModelNotFoundError, "did you mean 'se-mini'"),
    Case(
        "another repository on Hugging Face",
        embed(model="someone/model"),
        errors.ModelNotFoundError,
        "Only SE-600M is downloaded by its name.*`hf download someone/model",
    ),
    Case(
        "a name that is not downloaded",
        lambda _: se600m.download("se-mini"),
        errors.ModelNotFoundError,
        "name='se-mini' can't be downloaded: give 'SE-600M'",
    ),
    Case(
        "a download without its only result",
        lambda _: se600m.download("SE-600M", convert=False, delete_source=True),
        errors.OptionError,
        "delete_source=True, but convert=False",
    ),
    Case("a download offline", offline, errors.DownloadError, "is not on this machine, and HF_HUB_OFFLINE forbids"),
    Case(
        "a hub that can't be reached",
        unreachable,
        errors.DownloadError,
        "SE-600M could not be downloaded: the connection failed .*try again",
    ),
    Case(
        "a repository that an account may not read",
        gated,
        errors.DownloadError,
        "is open to some accounts only .*`hf auth login`.*HF_TOKEN",
    ),
    Case("wrong bytes in a download", wrong_bytes, errors.DownloadError, "has arrived with a wrong checksum"),
    Case("a disk too small for a download", no_room, errors.DestinationError, "SE-600M needs .* are free in"),
    Case("a model that is a number", embed(model=600), errors.OptionError, "model=600: give a name, a path"),
    Case(
        "a device that is not here",
        embed(device="cuda"),
        errors.DeviceError,
        "libonnxruntime_providers_cuda.so is missing .*run `se600m runtime install cuda`",
    ),
    Case(
        "another device that is not here",
        embed(device="tensorrt"),
        errors.DeviceError,
        "providers_tensorrt.so is missing",
    ),
    Case(
        "OpenVINO without its library",
        embed(device="openvino"),
        errors.DeviceError,
        "providers_openvino.so is missing .*`se600m runtime install openvino`",
    ),
    Case(
        "a precision that a device lacks",
        embed(device="cuda", precision="int8"),
        errors.DeviceError,
        'device="cuda" does not support precision="int8": leave one',
    ),
    Case("an unknown device", embed(device="gpu"), errors.DeviceError, 'device="gpu" is not one of .*"cuda:N"'),
    Case(
        "fp16 without a GPU",
        embed(precision="fp16"),
        errors.DeviceError,
        'precision="fp16" needs a GPU: device="cuda": ',
    ),
    Case(
        "devices of two kinds",
        embed(device=["cpu", "cuda:0"]),
        errors.DeviceError,
        'several devices must all be "cuda:N"|providers_cuda.so is missing',
    ),
    Case("a device number that is none", embed(device="cuda:x"), errors.DeviceError, '"x" is not a device number'),
    Case("a device as a number", embed(device=0), errors.OptionError, "device=0"),
    Case(
        "an unknown precision", embed(precision="int3"), errors.OptionError, 'precision="int3" is not one of .*"fp32"'
    ),
    Case("a precision as a number", embed(precision=16), errors.OptionError, "precision=16"),
]

# -- sentences ---------------------------------------------------------------------------------


def sentences(*arrays: Any) -> Callable[[Given], Any]:
    """Embed sentences; -1 in the indices stands for [CLS]."""

    def do(given: Given) -> Any:
        model = se600m.load_model()
        indices = [[model.cls_index if i == -1 else i for i in row] for row in arrays[0]]
        return model.embed_sentences(indices, *arrays[1:])

    return do


def closed(given: Given) -> Any:
    model = se600m.load_model(given.checkpoint.folder)
    model.close()
    return model.embed(given.adata, min_coverage=0)


SENTENCES = [
    Case(
        "a sentence without [CLS]",
        sentences([[0, 1]], [[1, 1]]),
        errors.OptionError,
        r"sentence 0 .* slot 0 must be \[CLS\]",
    ),
    Case("text as gene indices", sentences([["a"]], [[1]]), errors.OptionError, "gene_indices must be whole numbers"),
    Case(
        "a gene index past the vocabulary",
        sentences([[-1, 10**6]], [[1, 1]]),
        errors.OptionError,
        "1000000 is not in the vocabulary",
    ),
    Case(
        "a gene index past everything",
        sentences([[-1, 2**40]], [[1, 1]]),
        errors.OptionError,
        "1099511627776, which is not in the vocabulary",
    ),
    Case(
        "a NaN in a sentence",
        sentences([[-1, 1]], [[1, np.nan]]),
        errors.OptionError,
        "slot 1: the expression value is NaN",
    ),
    Case(
        "a read depth below 0",
        lambda _: se600m.load_model().decode(np.zeros((3, 106), np.float32), "LYZ", read_depth=-1),
        errors.OptionError,
        r"read_depth=-1\.0 is not a read depth, which is log1p of a number of counts: give a finite number from 0",
    ),
    Case(
        "shapes that differ",
        sentences([[-1, 1]], [[1, 1, 1]]),
        errors.OptionError,
        r"expression_values has shape \[1, 3\], but gene_indices has shape \[1, 2\]",
    ),
    Case(
        "a negative multiplicity",
        sentences([[-1, 1]], [[1, 1]], [[1, -1]]),
        errors.OptionError,
        "slot 1: the multiplicity is -1",
    ),
    Case("a model that was closed", closed, errors.ModelClosedError, "model"),
]

# -- embeddings --------------------------------------------------------------------------------


def nearest_of(make: Callable[[Given], Any], **options: Any) -> Callable[[Given], Any]:
    """Look for neighbours by an embedding that is not as it should be."""

    def do(given: Given) -> Any:
        given.adata.obsm["X_state"] = make(given)
        return se600m.nearest(given.adata, **options)

    return do


def damaged_dataset(given: Given) -> Any:
    file = h5py.File(given.folder / "embedding.h5", "w")
    dataset = file.create_dataset("x", (24, 2), np.float32, chunks=(24, 2), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), b"not zipped")
    return dataset


def one_nan(given: Given) -> Any:
    values = np.ones((24, 2), np.float32)
    values[7, 1] = np.nan
    return values


EMBEDDINGS = [
    Case(
        "cells that were not embedded",
        lambda given: se600m.nearest(given.adata),
        errors.DataError,
        r"'X_state' is not in adata\.obsm.*se600m\.embed\(adata\)",
    ),
    Case(
        "an embedding in a damaged file",
        nearest_of(damaged_dataset),
        errors.DataError,
        r"adata\.obsm\['X_state'\]: cells 0 to 23 can't be read: it is damaged .*get it again",
    ),
    Case(
        "a sparse embedding",
        nearest_of(lambda _: sp.csr_matrix((24, 2))),
        errors.DataError,
        r"adata\.obsm\['X_state'\] is sparse: convert it with .*toarray\(\)",
    ),
    Case(
        "a NaN in an embedding",
        nearest_of(one_nan),
        errors.NotFiniteError,
        r"adata\.obsm\['X_state'\]\[7\] \(cell .*drop the cell, or embed it again",
    ),
    Case(
        "more neighbours than there are",
        nearest_of(lambda _: np.ones((24, 2)), k=24),
        errors.OptionError,
        "k=24 is too large: adata has 24 cells",
    ),
]


# -- vector search -----------------------------------------------------------------------------


def indexed(
    then: Callable[..., Any], spoil: Callable[[anndata.AnnData], Any] = lambda _: None
) -> Callable[[Given], Any]:
    """Make a table of some cells, spoil the cells, and go on."""

    def do(given: Given) -> Any:
        adata, table = given.adata, given.folder / "atlas.lance"
        adata.obsm["X_state"] = np.random.default_rng(0).standard_normal((24, 8)).astype(np.float32)
        adata.uns["X_state"] = {"model": "se-mini", "model_checksum": "a" * 64, "precision": "fp32", "fill": "shared"}
        se600m.index(adata.copy(), table)
        spoil(adata)
        return then(adata, table)

    return do


def noted(**what: str) -> Callable[[anndata.AnnData], None]:
    def spoil(adata: anndata.AnnData) -> None:
        adata.uns["X_state"] |= what

    return spoil


def repeated_cells(adata: anndata.AnnData) -> None:
    adata.obs.index = pd.Index([f"cell {i % 20}" for i in range(24)])


def similar_columns(adata: anndata.AnnData) -> None:
    adata.obs["percent.mt"] = adata.obs["percent mt"] = 1.0


SEARCH = [
    Case(
        "cells that are in the table already",
        indexed(se600m.index),
        errors.DestinationExistsError,
        "24 of 24 cells are in .*already.*overwrite=True.*dataset=",
    ),
    Case(
        "a table of another model",
        indexed(se600m.query, noted(model="SE-600M", model_checksum="b" * 64)),
        errors.DataError,
        r"vectors of another model \(model 'se-mini'\) than these cells \(model 'SE-600M'\)",
    ),
    Case(
        "a table of another precision",
        indexed(se600m.query, noted(precision="int8")),
        errors.DataError,
        r"made with other options than these cells \(precision fp32 and int8\)",
    ),
    Case(
        "cells of another fill policy for the same table",
        indexed(lambda adata, table: se600m.index(adata, table, dataset="panel"), noted(fill="expected")),
        errors.DataError,
        r"fill shared and expected",
    ),
    Case(
        "cells that can't be told apart",
        indexed(se600m.index, repeated_cells),
        errors.DataError,
        r"4 names in obs_names are repeated, such as 'cell 0'.*batch_key=",
    ),
    Case(
        "columns of obs that get the same name",
        indexed(lambda adata, table: se600m.index(adata, table, dataset="more"), similar_columns),
        errors.DataError,
        r"'percent\.mt' and 'percent mt' of obs would both be named 'percent_mt'.*rename",
    ),
    Case(
        "cells to index that were not embedded",
        lambda given: se600m.index(given.adata, given.folder / "atlas.lance"),
        errors.DataError,
        r"no obsm\['X_state'\]: name the model .*model=",
    ),
    Case(
        "cells to index whose embedding was made with other options",
        indexed(lambda adata, table: se600m.index(adata, table, dataset="b", fill="none", genes=["LYZ"])),
        errors.OptionError,
        r"fill='none' and genes=\.\.\. would have no effect: .* made with fill='shared'\. Leave them out",
    ),
    Case(
        "a checkpoint of no model",
        lambda given: se600m.index(given.adata, given.folder / "atlas.lance", checkpoint="epoch=4.ckpt"),
        errors.OptionError,
        r"checkpoint='epoch=4\.ckpt' is of a model, but none is named",
    ),
    Case(
        "no table",
        lambda given: se600m.query(given.adata, given.folder / "atlas.lance"),
        errors.DataError,
        r"there is no table .*se600m\.index",
    ),
    Case(
        "a path that is no table's",
        lambda given: se600m.index(given.adata, given.folder / "atlas"),
        errors.OptionError,
        r"uri=.*give one that ends in NAME\.lance",
    ),
    Case(
        "a label that the table does not have",
        indexed(lambda adata, table: se600m.query(adata, table, label="cell_type")),
        errors.OptionError,
        r"has no column 'cell_type', only \[",
    ),
    Case(
        "more nearest cells than the table has",
        indexed(lambda adata, table: se600m.query(adata, table, k=25)),
        errors.OptionError,
        r"k=25 is too large: there are 24 cells",
    ),
    Case(
        "partitions for an exact search",
        indexed(lambda adata, table: se600m.query(adata, table, nprobes=8)),
        errors.OptionError,
        "nprobes=8 is for approximate=True",
    ),
    Case(
        "weights of votes without a vote",
        indexed(lambda adata, table: se600m.query(adata, table, weights="similarity")),
        errors.OptionError,
        r"weights='similarity' is for a vote on labels: give label=\.\.\., or leave it out",
    ),
    Case(
        "a modality of cells that are in memory",
        indexed(lambda adata, table: se600m.query(adata, table, modality="rna")),
        errors.OptionError,
        "modality='rna', but cells in memory have no modalities",
    ),
    Case(
        "an approximate search without an index",
        indexed(lambda adata, table: se600m.query(adata, table, approximate=True)),
        errors.OptionError,
        r"approximate=True, but .* has no approximate index.*ann=True",
    ),
]

# -- checkpoints -------------------------------------------------------------------------------


def convert(spoil: Callable[[Any], Any]) -> Callable[[Given], Any]:
    def do(given: Given) -> Any:
        spoil(given.checkpoint)
        return se600m.convert(given.checkpoint.folder, given.folder / "converted")

    return do


def onto_a_file(given: Given) -> Any:
    exists("years.txt")(given)
    return se600m.convert(given.checkpoint.folder, given.folder / "years.txt", overwrite=True)


def cut_off(name: str) -> Callable[[Given], Any]:
    def spoil(made: Any) -> None:
        path = made.folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return convert(spoil)


def weights(change: Callable[[dict], Any]) -> Callable[[Given], Any]:
    def spoil(made: Any) -> None:
        state = dict(made.state)
        change(state)
        statefiles.save_folder(made.folder, state, made.config, made.rows)

    return convert(spoil)


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Given], Any]:
    """The entries of model.safetensors's header, changed; the tensors' bytes stay."""

    def spoil(made: Any) -> None:
        path = made.folder / "model.safetensors"
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:end])
        change(entries)
        text = json.dumps(entries).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])

    return convert(spoil)


def config(old: str, new: str) -> Callable[[Given], Any]:
    def spoil(made: Any) -> None:
        assert old in made.config
        (made.folder / "config.yaml").write_text(made.config.replace(old, new))

    return convert(spoil)


def gene_table(rows: dict[str, Any]) -> Callable[[Given], Any]:
    return convert(lambda made: statefiles.save_torch(made.folder / "protein_embeddings.pt", rows))


def nan_weight(state: dict) -> None:
    weight = state["decoder.1.weight"] = state["decoder.1.weight"].copy()
    weight[3, 1] = np.nan  # element 3 × 32 + 1


def evil(given: Given) -> Any:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("touch executed",)

    path = given.folder / "evil.ckpt"
    statefiles.save_archive(path, pickle.dumps({"state_dict": Evil()}))
    return se600m.load_model(path)


def old_torch(given: Given) -> Any:
    path = given.folder / "old.ckpt"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"rest")
    return se600m.load_model(path)


def file_of_another_kind(given: Given) -> Any:
    path = given.folder / "notes.txt"
    path.write_text("hello")
    return se600m.load_model(path)


def empty_folder(given: Given) -> Any:
    path = given.folder / "empty"
    path.mkdir()
    return se600m.load_model(path)


def several(given: Given) -> Path:
    made = given.checkpoint
    for name in ("a.ckpt", "b.ckpt"):
        statefiles.save_ckpt(given.folder / "several" / name, made.state, made.dims, made.config, made.rows)
    return given.folder / "several"


def no_room(given: Given) -> Any:
    def full(place: Path) -> None:
        raise errors.DestinationError(f"{place.parent.name}/weights.bin: no space left on device")

    source = _conversions.Source("model", "model", (("model.safetensors", "0" * 64),))
    return _conversions.find_or_make(source, full)


def decoder_of_another_width(state: dict[str, Any]) -> None:
    state["binary_decoder.0.intermediate_dense.weight"] = np.zeros((128, 64), np.float32)


def taken(given: Given) -> Any:
    (given.folder / "thesis").mkdir()
    (given.folder / "thesis" / "chapter1.txt").write_text("years of work")
    return se600m.convert(given.checkpoint.folder, given.folder / "thesis", overwrite=True)


CHECKPOINTS = [
    Case("weights cut off", cut_off("model.safetensors"), errors.CheckpointError, "safetensors: .*bytes"),
    Case(
        "weights that are text",
        convert(lambda m: (m.folder / "model.safetensors").write_text("hello, world")),
        errors.CheckpointError,
        "header",
    ),
    Case(
        "empty weights",
        convert(lambda m: (m.folder / "model.safetensors").write_bytes(b"")),
        errors.CheckpointError,
        "0 bytes",
    ),
    Case(
        "tensors that overlap",
        header(lambda e: e["encoder.1.weight"].update(data_offsets=e["encoder.1.bias"]["data_offsets"])),
        errors.CheckpointError,
        r'tensors "encoder\.1\.bias" .* and "encoder\.1\.weight" .* overlap.*save it again with the safetensors library',
    ),
    Case(
        "bytes between the tensors",
        header(lambda e: e.pop("encoder.1.bias")),
        errors.CheckpointError,
        r"bytes \d+ to \d+ of \d+ belong to no tensor.*save it again with the safetensors library",
    ),
    Case(
        "a tensor is missing",
        weights(lambda s: s.pop("decoder.1.bias")),
        errors.CheckpointError,
        '"decoder.1.bias" is missing',
    ),
    Case(
        "a tensor of another shape",
        weights(lambda s: s.update({"encoder.1.bias": np.zeros(7, np.float32)})),
        errors.CheckpointError,
        r'"encoder.1.bias" has shape \[7\], but \[32\] is needed',
    ),
    Case(
        "a weight that is NaN",
        weights(nan_weight),
        errors.CheckpointError,
        '"decoder.1.weight" has the value NaN in element 97',
    ),
    Case(
        "a config of another checkpoint",
        config("emsize: 32", "emsize: 64"),
        errors.CheckpointError,
        "model.emsize is 64.*32",
    ),
    Case(
        "heads that don't divide the width",
        config("nhead: 4", "nhead: 5"),
        errors.CheckpointError,
        "emsize 32 .*nhead 5",
    ),
    Case("a config without heads", config("nhead: 4", "other: 4"), errors.CheckpointError, "model.nhead is missing"),
    Case("a config that is no YAML", config("model:", "model: ]"), errors.CheckpointError, "config: yaml"),
    Case(
        "an unknown encoding",
        config("counts: true", "counts: true\n  expression_encoding: fourier"),
        errors.CheckpointError,
        "fourier",
    ),
    Case(
        "no config",
        convert(lambda m: (m.folder / "config.yaml").unlink()),
        errors.CheckpointError,
        "no config.yaml in the same folder",
    ),
    Case(
        "no gene table",
        convert(lambda m: (m.folder / "protein_embeddings.pt").unlink()),
        errors.CheckpointError,
        "gene table is missing",
    ),
    Case(
        "a gene table cut off",
        cut_off("protein_embeddings.pt"),
        errors.CheckpointError,
        "protein_embeddings.pt.*truncated",
    ),
    Case("a file where the model should go", onto_a_file, errors.DestinationExistsError, "years.txt', which is a file"),
    Case("an empty gene table", gene_table({}), errors.CheckpointError, "gene table"),
    Case(
        "a gene table of another width",
        gene_table({"A": np.ones(3, np.float32), "B": np.ones(3, np.float32)}),
        errors.CheckpointError,
        "gene table width is 3.*24",
    ),
    Case(
        "a folder without weights",
        convert(lambda m: (m.folder / "model.safetensors").unlink()),
        errors.ModelNotFoundError,
        r"no \.safetensors or \.ckpt",
    ),
    Case("an empty folder", empty_folder, errors.ModelNotFoundError, r"empty.*no \.safetensors or \.ckpt"),
    Case(
        "a folder of several checkpoints",
        lambda given: se600m.load_model(several(given)),
        errors.ModelNotFoundError,
        r"checkpoint=.*a\.ckpt, b\.ckpt",
    ),
    Case(
        "a checkpoint that is not in the folder",
        lambda given: se600m.load_model(several(given), checkpoint="c.ckpt"),
        errors.ModelNotFoundError,
        r"c\.ckpt.*a\.ckpt, b\.ckpt",
    ),
    Case(
        "one of several checkpoints, in a file",
        lambda given: se600m.load_model(several(given) / "a.ckpt", checkpoint="a.ckpt"),
        errors.ModelNotFoundError,
        'this is a file, but checkpoint="a.ckpt" .*: leave it out',
    ),
    Case(
        "a gene table that is not there",
        lambda given: se600m.load_model(given.checkpoint.folder, protein_embeddings="esm2.pt"),
        errors.ModelNotFoundError,
        r"esm2\.pt",
    ),
    Case(
        "an expression decoder of another width",
        weights(decoder_of_another_width),
        errors.CheckpointError,
        r"decoder is 64 wide .*emsize 32, output_dim 20, read depth \(model.rda: true\).* 10 give 53 or 63",
    ),
    Case(
        "an expression decoder with a read depth that the config denies",
        config("rda: true", "rda: false"),
        errors.CheckpointError,
        r"decoder is 63 wide .*read depth \(model.rda: false\).* give 52 or 62",
    ),
    Case(
        "a tensor of the decoder is missing",
        weights(lambda s: s.pop("binary_decoder.2.bias")),
        errors.CheckpointError,
        '"binary_decoder.2.bias" is missing',
    ),
    Case(
        "a file of another kind",
        file_of_another_kind,
        errors.CheckpointError,
        r"notes\.txt.*neither a folder nor a \.safetensors or \.ckpt",
    ),
    Case("a checkpoint of torch before 1.6", old_torch, errors.CheckpointError, r"torch before 1\.6.*save it again"),
    Case(
        "weights that are a Git LFS pointer",
        convert(lambda m: (m.folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")),
        errors.CheckpointError,
        r"model\.safetensors' is a Git LFS pointer.*`git lfs pull`",
    ),
    Case(
        "a folder above the checkpoint",
        lambda given: se600m.load_model(given.folder),
        errors.ModelNotFoundError,
        "no .safetensors or .ckpt file in the folder; there is one in ",
    ),
    Case("no room for a conversion", no_room, errors.DestinationError, "neither into the cache .*set SE600M_CACHE"),
    Case("a pickle that wants to call something", evil, errors.UnsafePickleError, "system.*not executed"),
    Case("a destination that is taken", taken, errors.DestinationExistsError, "thesis"),
]

# -- converted models --------------------------------------------------------------------------


def converted(change: Callable[[Path], Any], **options: Any) -> Callable[[Given], Any]:
    def do(given: Given) -> Any:
        target = given.folder / "converted"
        se600m.convert(given.checkpoint.folder, target)
        change(target)
        return se600m.load_model(target, **options)

    return do


def change_config(**changes: Any) -> Callable[[Path], Any]:
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def replaced_by_a_link(directory: Path) -> None:
    (directory / "weights.bin").rename(directory.parent / "elsewhere.bin")
    (directory / "weights.bin").symlink_to("../elsewhere.bin")


def int8_in_the_way(given: Given) -> Any:
    """Use weights in 8 bits where a folder of their name keeps them from being written."""
    model = converted(lambda directory: (directory / "int8.bin" / "taken").mkdir(parents=True), precision="int8")(given)
    return model.embed_sentences(np.array([[model.cls_index, 1]], np.int32), np.ones((1, 2), np.float32))


def without_decoder(given: Given) -> se600m.Model:
    """Open a model without the dataset token and the expression decoder."""
    made = given.checkpoint
    state = statefiles.random_state(made.dims, 0, dataset_correction=False, decoder=False)
    text = statefiles.config_text(made.dims, dataset_correction=False)
    statefiles.save_folder(given.folder / "plain", state, text, made.rows)
    return se600m.load_model(given.folder / "plain")


MODELS = [
    Case(
        "a model of a newer format",
        converted(change_config(format_version=99)),
        errors.ModelError,
        "format 99 is newer.*upgrade",
    ),
    Case(
        "a model of an older format",
        converted(change_config(format_version=1)),
        errors.ModelError,
        "format 1 is older.*convert the checkpoint again",
    ),
    Case(
        "a checkpoint's gene table for a model that is converted",
        converted(lambda _: None, protein_embeddings="esm2.pt"),
        errors.OptionError,
        r"esm2\.pt.*already a converted model",
    ),
    Case(
        "decoding without a decoder",
        lambda given: without_decoder(given).decode(np.zeros((1, 20)), "G1"),
        errors.NotInModelError,
        "no expression decoder",
    ),
    Case(
        "a dataset embedding that the model does not have",
        lambda given: without_decoder(given).embed(given.adata, with_dataset_embedding=True),
        errors.NotInModelError,
        "no dataset embedding",
    ),
    Case(
        "a gene that is no text",
        lambda _: se600m.load_model().gene_embeddings(["CD3D", None]),
        errors.OptionError,
        "genes contains None: give gene symbols or Ensembl ids",
    ),
    Case(
        "a gene that the model does not know",
        lambda _: se600m.load_model().gene_embeddings(["CD3D", "MS4A1B"]),
        errors.UnknownGeneError,
        "'MS4A1B' .*nearest symbol is 'MS4A1'",
    ),
    Case(
        "a table of orthologues with more than the two columns",
        lambda g: se600m.map_orthologues(g.adata, pd.DataFrame({"Gene name": ["Lyz2"], "Human": ["LYZ"], "kind": [1]})),
        errors.DataError,
        "has 3 columns .*give the two",
    ),
    Case(
        "a table of orthologues of other genes",
        lambda g: se600m.map_orthologues(g.adata, pd.DataFrame({"Gene name": ["Lyz2"], "Human": ["LYZ"]})),
        errors.DataError,
        "none of the genes in the first column of the table, such as 'Lyz2', is in var_names",
    ),
    Case(
        "orthologues that are mapped a second time",
        orthologues_twice,
        errors.DestinationExistsError,
        r"adata\.var\['orthologue_of'\] exists, .*: rename it, or remove it",
    ),
    Case(
        "chosen genes of which one is written in another way",
        embed(genes=["LYZ", "CD3D", "Ms4a1"]),
        errors.UnknownGeneError,
        "'Ms4a1' .*nearest symbol is 'MS4A1'",
    ),
    Case(
        "chosen genes of which the model knows none",
        embed(genes=["MIR1302-10"]),
        errors.UnknownGeneError,
        "gene 'MIR1302-10' is not both known to the model and in the data set: .*leave genes=... out",
    ),
    Case(
        "chosen genes that the model knows and the data set does not have",
        lambda g: se600m.load_model().compute(without(g, "LYZ", "CD3D"), genes=["LYZ", "CD3D"]),
        errors.UnknownGeneError,
        "none of the 2 chosen genes, such as 'LYZ', is both known to the model and in the data set",
    ),
    Case(
        "chosen genes that are too few",
        embed(genes=["LYZ", "CD3D"]),
        errors.TooFewGenesError,
        "genes=... leaves 2 valid genes, but the .CLS. slot uses the value of valid gene 4: choose more",
    ),
    Case(
        "a mask instead of the names of chosen genes",
        embed(genes=[True, False]),
        errors.OptionError,
        "genes contains True: give gene symbols",
    ),
    Case(
        "a gene that is written in another way",
        lambda _: se600m.load_model().gene_embeddings("Cd3d"),
        errors.UnknownGeneError,
        "'Cd3d' .*nearest symbol is 'CD3D'",
    ),
    Case(
        "embeddings of another model to decode",
        lambda _: se600m.load_model().decode(np.zeros((3, 2048)), "CD3D"),
        errors.OptionError,
        r"\[3, 2048\].* \d+ wide, or \d+",
    ),
    Case(
        "no dataset embedding for a decoder that takes one",
        lambda _: se600m.load_model().decode(np.zeros((3, se600m.load_model().output_dim)), "CD3D"),
        errors.OptionError,
        r"needs the dataset embedding.*\d+ columns",
    ),
    Case(
        "an array of another shape for predictions",
        lambda _: decode_zeros(se600m.load_model(), out=np.zeros((3, 2))),
        errors.OptionError,
        r"out has shape \[3, 2\], but the result has shape \[3, 1\]",
    ),
    Case(
        "a config cut off",
        converted(lambda d: (d / "config.json").write_text("{")),
        errors.ModelError,
        "config.json: unexpected end",
    ),
    Case(
        "a config of something else",
        converted(lambda d: (d / "config.json").write_text("{}")),
        errors.ModelError,
        "no format_version",
    ),
    Case(
        "weights of another length",
        converted(lambda d: (d / "weights.bin").write_bytes(b"x")),
        errors.ModelError,
        "weights.bin has 1 byte instead of .*convert the checkpoint again",
    ),
    Case(
        "the list of weights is missing",
        converted(lambda d: (d / "weights.json").unlink()),
        errors.ModelError,
        r"weights\.json",
    ),
    Case(
        "8-bit weights that can't be written",
        int8_in_the_way,
        errors.ModelError,
        "weights in int8 are made when they are first used.*as a user who may write there",
    ),
    Case(
        "genes of another model",
        converted(lambda d: (d / "genes.txt").write_text((d / "genes.txt").read_text().swapcase())),
        errors.ModelError,
        r"genes\.txt was changed after the conversion: convert the checkpoint again",
    ),
    Case("the genes are missing", converted(lambda d: (d / "genes.txt").unlink()), errors.ModelError, r"genes\.txt"),
    Case(
        "a config that names a file elsewhere",
        converted(change_config(files={"../../etc/passwd": {"size": 1, "sha256": ""}})),
        errors.ModelError,
        "outside the directory",
    ),
    Case(
        "a file of a model that is a link elsewhere",
        converted(replaced_by_a_link),
        errors.ModelError,
        r"weights\.bin is a link that leads out of the directory.*cp -rL",
    ),
    Case(
        "a config of a model that can't be",
        converted(change_config(dimensions={"n_genes": 1, "token_dim": -1})),
        errors.ModelError,
        "token_dim is -1, but must be from 1 to",
    ),
]

# -- data that is embedded all the same, with a warning -----------------------------------------


def raw_of_one_cell(adata: anndata.AnnData) -> None:
    x = adata.X.tolil()
    x[3] = np.log1p(adata.X[3].toarray())
    adata.X = x.tocsr()


def normalised(adata: anndata.AnnData) -> None:
    adata.layers["counts"] = adata.X.copy()
    adata.X = sp.csr_matrix(adata.X / adata.X.sum(1) * 1e6)


def corrected(adata: anndata.AnnData) -> None:
    ambient = adata.X.sum(0) / adata.X.sum()
    adata.X = sp.csr_matrix(np.maximum(adata.X - 0.1 * np.multiply(adata.X.sum(1), ambient), 0))


def transformed(transform: Callable[[np.ndarray], np.ndarray]) -> Callable[[anndata.AnnData], None]:
    def spoil(adata: anndata.AnnData) -> None:
        adata.X = sp.csr_matrix(transform(adata.X.toarray().astype(np.float64)).astype(np.float32))

    return spoil


def per_million(x: np.ndarray) -> np.ndarray:
    return x / x.sum(1, keepdims=True) * 1e6


def by_volume(x: np.ndarray) -> np.ndarray:
    return x / np.random.default_rng(0).uniform(200, 2000, (len(x), 1))


def unit_variance(x: np.ndarray) -> np.ndarray:
    logs = np.log1p(per_million(x))
    return logs / np.where(logs.max(0) > 0, logs.std(0, ddof=1), 1)


def of_neighbours(x: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(0).random((len(x), len(x)))
    return weights / weights.sum(1, keepdims=True) @ np.log1p(per_million(x))


def in_order(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, 1 + np.argsort(np.argsort(x, axis=1, kind="stable"), axis=1) - (x == 0).sum(1)[:, None], 0)


def shallow(adata: anndata.AnnData) -> None:
    adata.X = adata.X.minimum(4)


def half_in_lower_case(adata: anndata.AnnData) -> None:
    adata.var_names = [name.lower() if i % 2 else name for i, name in enumerate(adata.var_names)]


def points(adata: anndata.AnnData) -> anndata.AnnData:
    panel = adata[:, adata.var_names.isin(se600m.load_model().genes)]
    hyphens = panel.var_names.str.contains("-")
    few = panel[:, hyphens | (np.arange(panel.n_vars) < 300)].copy()
    few.var_names = few.var_names.str.replace("-", ".")
    return few


def repeated(adata: anndata.AnnData) -> anndata.AnnData:
    return anndata.AnnData(
        sp.hstack([adata.X, adata.X[:, :9000]]).tocsr(),
        var=pd.DataFrame(index=[*adata.var_names, *adata.var_names[:9000]]),
    )


def antibodies(adata: anndata.AnnData) -> anndata.AnnData:
    both = anndata.AnnData(
        sp.hstack([adata.X, sp.csr_matrix(np.full((adata.n_obs, 1), 900.0))]).tocsr(),
        var=pd.DataFrame(index=[*adata.var_names, "CD3E"]),
    )
    both.var_names_make_unique()
    return both


def few_known(adata: anndata.AnnData) -> None:
    adata.var_names = [name if i % 3 else f"x{i}" for i, name in enumerate(adata.var_names)]
    known = adata.var_names.isin(se600m.load_model().genes)
    adata.X = sp.csr_matrix(adata.X.multiply(np.where(known, 0.0, 1.0) + np.where(known, 1.0, 0.0) / 64))


def no_model_named(_: Given) -> None:
    _models._notice.cache_clear()
    se600m.load_model()


WARNINGS = [
    Case("no model is named", no_model_named, errors.DefaultModelWarning, "no model was named: using se-mini"),
    Case(
        "scaled values",
        lambda g: se600m.embed(g.panel),
        errors.DataWarning,
        r"[\d,]+ negative values in 24 of 24 cells of adata\.X were set to zero.*try use_raw=True$",
    ),
    Case(
        "cells that are judged differently",
        embed(raw_of_one_cell),
        errors.DataWarning,
        "23 of 24 cells of adata.X were treated as raw counts and 1 as log1p.*expression='counts' or 'log1p'",
    ),
    Case(
        "shallow counts",
        embed(shallow),
        errors.DataWarning,
        "24 of 24 cells of adata.X have only small whole numbers.*expression='counts' if they are counts",
    ),
    Case(
        "counts per million, without logarithm",
        embed(normalised),
        errors.DataWarning,
        "24 of 24 cells of adata.X have fractional values that add up to 1,000,000 in every cell.*try layer='counts'",
    ),
    Case(
        "counts per million, alone",
        embed(transformed(per_million)),
        errors.DataWarning,
        r"add up to 1,000,000 in every cell.* Embed counts or log1p values: adata\.X = np\.log1p\(adata\.X\)$",
    ),
    Case(
        "a value that no count reaches in the data's own type",
        embed(put(4e9, (3, 2))),
        errors.DataWarning,
        "the largest value of adata.X is 4,000,000,000, but no gene is counted more than 1,000,000,000 times in a cell",
    ),
    Case(
        "counts that were corrected",
        embed(corrected),
        errors.DataWarning,
        "24 of 24 cells of adata.X have fractional values too large for logarithms.*ambient RNA",
    ),
    Case(
        "logarithms to base 2",
        embed(transformed(lambda x: np.log2(1 + per_million(x)))),
        errors.DataWarning,
        r"24 of 24 cells of adata\.X were treated as raw counts, but the values are most likely logarithms, log2\(1 \+ x\): "
        r"2\*\*x - 1 adds up to 1,000,000 .*expression='log1p'.* adata\.X = adata\.X \* np\.log\(2\)$",
    ),
    Case(
        "a logarithm that was taken twice",
        embed(transformed(lambda x: np.log1p(np.log1p(per_million(x))))),
        errors.DataWarning,
        r"logarithm of adata\.X was most likely taken twice: .* adata\.X = np\.expm1\(adata\.X\)$",
    ),
    Case(
        "square roots",
        embed(transformed(np.sqrt)),
        errors.DataWarning,
        r"adata\.X are most likely square roots: .* adata\.X = np\.rint\(adata\.X\.power\(2\)\)$",
    ),
    Case(
        "inverse hyperbolic sines",
        embed(transformed(lambda x: np.arcsinh(x / 5))),
        errors.DataWarning,
        r"most likely inverse hyperbolic sines: .* adata\.X = np\.rint\(np\.sinh\(adata\.X\) / 0\.2\)$",
    ),
    Case(
        "logarithms of proportions",
        embed(transformed(lambda x: np.log1p(per_million(x) / 1e6))),
        errors.DataWarning,
        r"of values that add up to 1 per cell.* adata\.X = np\.log1p\(np\.expm1\(adata\.X\) \* 10000\)$",
    ),
    Case(
        "proportions",
        embed(transformed(lambda x: per_million(x) / 1e6)),
        errors.DataWarning,
        r"adata\.X add up to 1 in 24 of 24 sampled cells.* adata\.X = np\.log1p\(adata\.X \* 10000\)$",
    ),
    Case(
        "counts divided by the volume of a cell",
        embed(transformed(by_volume)),
        errors.DataWarning,
        "counts that were divided by a different number for each cell, such as its total, its volume .*multiply each cell",
    ),
    Case(
        "counts times a constant",
        embed(transformed(lambda x: x * 0.001)),
        errors.DataWarning,
        r"most likely counts times 0\.001: .* adata\.X = np\.rint\(adata\.X / 0\.001\)$",
    ),
    Case(
        "counts times a whole number",
        embed(transformed(lambda x: x * 7)),
        errors.DataWarning,
        r"most likely counts times 7: .* adata\.X = np\.rint\(adata\.X / 7\)$",
    ),
    Case(
        "zeros and ones",
        embed(transformed(lambda x: x > 0)),
        errors.DataWarning,
        "all values of the 24 cells of adata.X are 0 or 1, .*Embed counts",
    ),
    Case(
        "ranks",
        embed(transformed(in_order)),
        errors.DataWarning,
        "adata.X are most likely ranks: .*Embed counts",
    ),
    Case(
        "genes scaled to unit variance",
        embed(transformed(unit_variance)),
        errors.DataWarning,
        "the genes of adata.X were most likely scaled separately: .* a standard deviation of 1 over the 24 cells",
    ),
    Case(
        "imputed values",
        embed(transformed(of_neighbours)),
        errors.DataWarning,
        r"cells of adata\.X express 100 % of all expressed genes .*imputed",
    ),
    Case(
        "counts that are called log1p",
        embed(expression="log1p"),
        errors.DataWarning,
        "expression='log1p', but 24 of 24 cells .*expression='counts'",
    ),
    Case(
        "log1p values that are called counts",
        lambda g: se600m.embed(g.panel, use_raw=True, expression="counts"),
        errors.DataWarning,
        "expression='counts', but 24 of 24 cells of adata.raw.X .*expression='log1p'",
    ),
    Case(
        "cells without expression",
        embed(one_empty_cell),
        errors.DataWarning,
        "1 of 24 cells of adata.X expresses no gene that the model knows: its embedding has no meaning, so drop it",
    ),
    Case(
        "cells without expression in chosen genes",
        embed(one_empty_cell, genes=["LYZ", "CST3", "FTL", "CD3D", "CD74"]),
        errors.DataWarning,
        "of 24 cells of adata.X express(es)? none of the chosen genes: ",
    ),
    Case(
        "names in the wrong case",
        embed(half_in_lower_case),
        errors.DataWarning,
        r"names in var_names are similar .*have lowercase letters.* rename them: adata\.var_names = adata\.var_names\.where",
    ),
    Case(
        "names that stand twice",
        embed(repeated),
        errors.DataWarning,
        "names in var_names refer to the same gene as an earlier name",
    ),
    Case(
        "hyphens that R has replaced",
        embed(points),
        errors.DataWarning,
        r"[\d,]+ have periods instead of hyphens, as R's make\.names.*'[\w.]+' for '[\w-]+'.*\.str\.replace",
    ),
    Case(
        "columns without a feature type",
        embed(column("feature_types", lambda a: ["Gene Expression"] * (a.n_vars - 9) + [None] * 9)),
        errors.DataWarning,
        r"9 columns have no type in var\['feature_types'\].*fill in the type if they are genes",
    ),
    Case(
        "antibodies without a feature type, whose names were made unique",
        embed(antibodies),
        errors.DataWarning,
        r"1 name in var_names occurs in columns with very different totals, such as 'CD3E' \([\d,]+\) and 'CD3E-1' "
        r"\([\d,]+\): .*var\['feature_types'\]",
    ),
    Case("few known genes", embed(few_known), errors.DataWarning, r"account for \d+ % of a cell's expression"),
]

GROUPS = {
    "Data": DATA,
    "Files of cells": FILES,
    "Options": OPTIONS,
    "Where results go": DESTINATIONS,
    "Large files": LARGE,
    "Sentences and models in use": SENTENCES,
    "Embeddings": EMBEDDINGS,
    "Vector search": SEARCH,
    "Checkpoints": CHECKPOINTS,
    "Converted models": MODELS,
    "Warnings": WARNINGS,
}
