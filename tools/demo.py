"""The demo: real cells through the package's default model, to a file and a picture.

scanpy's pbmc68k_reduced has 700 blood cells × 765 genes; its log1p values are in .raw.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import anndata
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import scanpy as sc
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from scipy.sparse import coo_array

import scores
import se600m

OUT = Path("out")
DOCS = Path(__file__).parents[1] / "docs"
LABELS = "bulk_labels"

PALETTE = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#9c755f", "#ff9da7", "#79706e")
"""Ten colours that stay apart (Tableau 10)."""
OUTLINE = withStroke(linewidth=3, foreground="white")


def main() -> None:
    """Embed, cluster, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="write the picture to docs/, too")
    options = parser.parse_args()

    begin = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    adata = sc.datasets.pbmc68k_reduced()
    model = se600m.load_model()
    print(model, end="\n\n")
    opened = time.perf_counter()
    se600m.embed(adata, model=model, use_raw=True)
    seconds = time.perf_counter() - opened
    print(f'{adata.n_obs} cells embedded in {seconds:.1f} s: obsm["X_state"] is {adata.obsm["X_state"].shape}')

    sc.pp.neighbors(adata, use_rep="X_state", metric="cosine")
    sc.tl.umap(adata, random_state=0)
    adata.obs["leiden"] = pd.Categorical(scores.matched_leiden(adata, adata.obs[LABELS].nunique()))
    adata.write_h5ad(OUT / "pbmc68k.h5ad")
    figure = draw(adata, model.name)
    pictures = [OUT / "pbmc68k.png", *([DOCS / "pbmc68k.png"] if options.docs else [])]
    for picture in pictures:
        figure.savefig(picture, dpi=150)
    print(f"written: {', '.join(map(str, [OUT / 'pbmc68k.h5ad', *pictures]))}")
    print(f"{time.perf_counter() - begin:.0f} s in all, imports aside")


def draw(adata: anndata.AnnData, model_name: str) -> Figure:
    """Draw cell types and clusters side by side."""
    types, clusters = adata.obs[LABELS].cat, adata.obs["leiden"].cat
    type_colors = np.array([to_rgb(color) for color in PALETTE[: len(types.categories)]])
    colors = cluster_colors(clusters.codes.to_numpy(), types.codes.to_numpy(), type_colors)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 6), layout="constrained")
    scatter(left, adata.obsm["X_umap"], type_colors[types.codes], "Cell types")
    scatter(
        right, adata.obsm["X_umap"], colors[clusters.codes], "Leiden clusters, in the colour of their commonest type"
    )
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=7, color=color, label=name)
        for name, color in zip(types.categories, type_colors, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9, handletextpad=0.1)
    for number in clusters.categories:
        x, y = np.median(adata.obsm["X_umap"][adata.obs["leiden"] == number], axis=0)
        right.text(x, y, number, ha="center", va="center", weight="bold", path_effects=[OUTLINE])
    figure.suptitle(f"{adata.n_obs} blood cells (pbmc68k), State embeddings by {model_name}", fontsize=13)
    return figure


def scatter(axes: plt.Axes, umap: npt.NDArray[np.float32], colors: npt.NDArray[np.float64], title: str) -> None:
    """Draw cells in random order, so that no group lies on top of another."""
    order = np.random.default_rng(0).permutation(len(umap))
    axes.scatter(*umap[order].T, c=colors[order], s=16, linewidths=0)
    axes.set_title(title, fontsize=11)
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    axes.spines[:].set_color("0.8")


def cluster_colors(
    clusters: npt.NDArray[np.integer], types: npt.NDArray[np.integer], type_colors: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give a cluster the colour of its commonest type; of several with the same type, the smaller are paler."""
    together = coo_array((np.ones(len(types)), (clusters, types))).toarray()
    commonest = together.argmax(axis=1)
    colors = type_colors[commonest]
    for kind in np.unique(commonest):
        alike = np.flatnonzero(commonest == kind)
        alike = alike[np.argsort(-together[alike].sum(axis=1), kind="stable")]
        paler = np.linspace(0, 0.6, len(alike), endpoint=False)[:, None]
        colors[alike] += paler * (1 - colors[alike])
    return colors


if __name__ == "__main__":
    main()
