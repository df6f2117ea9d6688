"""How good the default model is: cell types and marker genes of scanpy's pbmc68k_reduced, beside genes and PCA.

The table goes to the terminal and, with --write, into README.md. The model has seen neither these cells nor their
labels. Principal components and scVI are fitted to them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import numpy.typing as npt
import scanpy as sc
import scipy.sparse as sp
from sklearn.metrics import silhouette_score

import scores
import se600m

README = Path(__file__).parents[1] / "README.md"
LABELS = "bulk_labels"
FILLS = ("shared", "independent", "expected", "none")
PRECISIONS = ("fp32", "int8", "bf16")
PCA = "PCA-50"

MARKERS = (
    "CD3D", "CD3E", "IL7R", "CD8A", "CD8B", "NKG7", "GNLY", "GZMB", "PRF1", "MS4A1", "CD79A", "CD79B", "LYZ", "CD14",
    "FCGR3A", "S100A8", "S100A9", "FCER1A", "CST3", "PPBP", "HLA-DRA", "FCN1", "CCR7", "CD4", "KLRB1", "CD2", "CCL5",
)  # fmt: skip
"""Canonical markers of blood cells. The first 20 that were measured and that the model knows are used."""
N_MARKERS = 20

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Representation:
    """Vectors of cells, ``[n_cells, width]``, and the distance that is usual between them."""

    name: str
    values: Values
    metric: str


@dataclass(frozen=True)
class Scores:
    """What one row of the table says."""

    name: str
    accuracy: float
    macro_f1: float
    ari: float
    nmi: float
    silhouette: float
    n_clusters: list[int]


def main() -> None:
    """Evaluate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    parser.add_argument("--scvi", action="store_true", help="train scVI, too (needs scvi-tools)")
    options = parser.parse_args()

    adata = cells()
    labels = adata.obs[LABELS].to_numpy().astype(str)
    model = se600m.load_model(precision="fp32")
    embed(adata, model, "auto")
    states, missing = state_representations(adata, model)
    default = states[0]
    others = [genes(adata), principal_components(adata)]
    rows = [score(representation, labels) for representation in [*states, *others]]
    if options.scvi:
        latent = scvi_latent(adata)
        rows.append("scVI (trained on these cells): not installed" if latent is None else score(latent, labels))
    decoded = decoded_markers(adata, model)
    text = "\n\n".join(
        [
            caption(adata, model),
            table(rows, len(np.unique(labels))),
            *([f"Not on this machine: {', '.join(missing)}."] if missing else []),
            decoded_table(decoded),
        ]
    )
    print(f"\n{text}\n")
    for reason in missing.values():
        print(reason)
    by_name = {row.name: row for row in rows if isinstance(row, Scores)}
    for bar, passed in bars(by_name[default.name], by_name[PCA], decoded):
        print(f"{'pass' if passed else 'FAIL'}  {bar}")
    if options.write:
        README.write_text(put_between(README.read_text(), "evaluate", text))
        print(f"written: {README.name}")


# -- representations ---------------------------------------------------------------------------


def cells() -> anndata.AnnData:
    """700 blood cells × 765 genes; log1p values in X. Those that scanpy scaled are left out."""
    bundled = sc.datasets.pbmc68k_reduced()
    return anndata.AnnData(bundled.raw.X, obs=bundled.obs[[LABELS, "n_counts"]], var=bundled.raw.var[[]])


def embed(adata: anndata.AnnData, model: se600m.Model, fill: str) -> None:
    """Embed with a model, and say so: it takes a while."""
    print(f"embedding: {model.name}, {model.precision}, fill={fill}", file=sys.stderr)
    se600m.embed(adata, model=model, fill=fill)


def state_representations(adata: anndata.AnnData, model: se600m.Model) -> tuple[list[Representation], dict[str, str]]:
    """Give the default embedding, that of ``adata``, then those of other fill policies and of other precisions.

    The second result tells of each precision that is missing why it is.
    """

    def representation(embedded: anndata.AnnData, fill: str, note: str = "") -> Representation:
        return Representation(f"{model.name}, fill `{fill}`{note}", embedded.obsm["X_state"], "cosine")

    default_fill = adata.uns["X_state"]["fill"]
    states = [representation(adata, default_fill, " (default)")]
    for fill in FILLS:
        if fill != default_fill:
            other = cells()
            embed(other, model, fill)
            states.append(representation(other, fill))
    missing = {}
    for precision in PRECISIONS[1:]:
        try:
            other = in_own_process(embedded, precision)
        except se600m.errors.SE600MError as error:
            missing[precision] = f"{precision}: {error}"
        else:
            states.append(representation(other, default_fill, f", {precision}"))
    return states, missing


def embedded(precision: str) -> anndata.AnnData:
    """Embed in a precision; to be called in a process of its own."""
    adata = cells()
    embed(adata, se600m.load_model(precision=precision), "auto")
    return adata


def in_own_process(function: Callable[[str], anndata.AnnData], argument: str) -> anndata.AnnData:
    """Call a function in a new process: a process can load one ONNX Runtime, and precisions may need different ones."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, argument).result()


def genes(adata: anndata.AnnData) -> Representation:
    """Give the log1p values themselves."""
    return Representation("genes (log1p)", adata.X.toarray(), "euclidean")


def principal_components(adata: anndata.AnnData) -> Representation:
    """Give 50 principal components of the log1p values."""
    return Representation(PCA, sc.pp.pca(adata.X.toarray(), n_comps=50, random_state=0), "euclidean")


def scvi_latent(adata: anndata.AnnData) -> Representation | None:
    """Train scVI with its defaults on the cells' counts; None if it isn't installed."""
    try:
        import scvi
    except ImportError:
        return None
    scvi.settings.seed = 0
    scvi.settings.verbosity = 30
    cells_of_counts = anndata.AnnData(sp.csr_matrix(counts(adata)))
    scvi.model.SCVI.setup_anndata(cells_of_counts)
    model = scvi.model.SCVI(cells_of_counts)
    with warnings.catch_warnings(action="ignore"):
        model.train(accelerator="cpu", enable_progress_bar=False)
    return Representation("scVI (trained on these cells)", model.get_latent_representation(), "euclidean")


def counts(adata: anndata.AnnData) -> Values:
    """Undo log1p and the scaling to 10,000 counts per cell: the genes' counts, float32 ``[n_cells, n_genes]``."""
    depth = adata.obs["n_counts"].to_numpy()[:, None]
    return np.rint(np.expm1(adata.X.toarray()) * depth / 1e4).astype(np.float32)


# -- scores ------------------------------------------------------------------------------------


def score(representation: Representation, labels: npt.NDArray[np.str_]) -> Scores:
    """Compare what is near in a representation with what has the same label."""
    print(f"scoring: {representation.name}", file=sys.stderr)
    values, metric = representation.values, representation.metric
    accuracy, macro_f1 = scores.classification(values, labels, metric)
    ari, nmi, n_clusters = scores.clustering(values, labels, metric)
    silhouette = float(silhouette_score(values, labels, metric=metric))
    return Scores(representation.name, accuracy, macro_f1, ari, nmi, silhouette, n_clusters)


def markers(measured: list[str], known: list[str]) -> list[str]:
    """Choose the first 20 markers that are among both."""
    both = set(measured) & set(known)
    return [gene for gene in MARKERS if gene in both][:N_MARKERS]


def decoded_markers(adata: anndata.AnnData, model: se600m.Model) -> dict[str, float] | None:
    """Correlate markers' decoded expression with the measured; None if the model has no decoder."""
    chosen = markers(list(adata.var_names), model.genes)
    embedding = adata.obsm["X_state"]
    if model.dataset_dim:
        embedding = np.hstack([embedding, adata.obsm["X_state_dataset"]])
    try:
        decoded = model.decode(embedding, chosen)
    except se600m.errors.NotInModelError:
        return None
    measured = adata[:, chosen].X.toarray()
    return {gene: float(rho) for gene, rho in zip(chosen, scores.correlations(decoded, measured), strict=True)}


def bars(default: Scores, pca: Scores, decoded: dict[str, float] | None) -> list[tuple[str, bool]]:
    """Compare with what a default model should reach."""
    median = float(np.median(list(decoded.values()))) if decoded else float("nan")
    share, least_ari = default.accuracy / pca.accuracy, pca.ari - 0.05
    return [
        (f"accuracy {default.accuracy:.3f} >= 0.75", default.accuracy >= 0.75),
        (f"accuracy {share:.3f} >= 0.94 times that of {PCA}, {pca.accuracy:.3f}", share >= 0.94),
        (f"ARI {default.ari:.3f} >= {least_ari:.3f}, that of {PCA} less 0.05", default.ari >= least_ari),
        (f"median Spearman correlation of decoded markers {median:.3f} >= 0.5", median >= 0.5),
    ]


# -- text --------------------------------------------------------------------------------------


def caption(adata: anndata.AnnData, model: se600m.Model) -> str:
    """Say what was compared, and how."""
    known = adata.uns["X_state"]["n_matched"]
    return (
        f"`{model.name}` ({model.dimensions['nlayers']} layers, {model.dimensions['emsize']} wide) on scanpy's "
        f"`pbmc68k_reduced`: {adata.n_obs} blood cells × {adata.n_vars} genes, {known} of them known to the model, "
        f"{adata.obs[LABELS].nunique()} cell types. The model has seen neither the cells nor their types; principal "
        "components are fitted to them.\n"
        "Accuracy and macro-F1: 15 nearest neighbours over five stratified folds. ARI and NMI: Leiden clusters, as "
        "many as there are types. All four are means over five seeds. Distances are cosine for State, Euclidean for "
        "the rest."
    )


def table(rows: list[Scores | str], n_labels: int) -> str:
    """Write the rows as Markdown, the best figure of each column in bold; a string is a row without figures."""
    lines = [
        "| | accuracy | macro-F1 | ARI | NMI | silhouette |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    figures = {
        row.name: [f"{value:.3f}" for value in (row.accuracy, row.macro_f1, row.ari, row.nmi, row.silhouette)]
        for row in rows
        if not isinstance(row, str)
    }
    best = [max(column, key=float) for column in zip(*figures.values(), strict=True)]
    for row in rows:
        if isinstance(row, str):
            lines.append(f"| {row} | | | | | |")
            continue
        shown = [f"**{f}**" if f == b else f for f, b in zip(figures[row.name], best, strict=True)]
        if row.n_clusters != [n_labels]:
            shown[2] += f" ({', '.join(map(str, row.n_clusters))} clusters)"
        lines.append(f"| {row.name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def decoded_table(decoded: dict[str, float] | None, columns: int = 4) -> str:
    """Write the correlations as Markdown, some genes beside each other."""
    if decoded is None:
        return "The model has no expression decoder."
    ranked = sorted(decoded.items(), key=lambda item: -item[1])
    n_lines = -(-len(ranked) // columns)
    lines = ["|" + " gene | ρ |" * columns, "|" + "---|---:|" * columns]
    for line in range(n_lines):
        beside = ranked[line::n_lines]
        cells_of_line = [f" {gene} | {round(rho, 2) + 0.0:.2f} |" for gene, rho in beside] + [" | |"] * (
            columns - len(beside)
        )
        lines.append("|" + "".join(cells_of_line))
    median = np.median(list(decoded.values()))
    return (
        f"Decoded expression of {len(decoded)} marker genes: Spearman correlation ρ with the measured log1p values "
        f"over the cells; the median is **{median:.2f}**.\n\n" + "\n".join(lines)
    )


def put_between(text: str, name: str, content: str) -> str:
    """Replace what stands between the comments ``<!-- name -->`` and ``<!-- /name -->``."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"there must be one {begin} followed by {end}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


if __name__ == "__main__":
    main()
