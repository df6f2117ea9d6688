"""The demo: real cells through the package's default model, to a file and a picture.

scanpy's pbmc68k_reduced has 700 blood cells × 765 genes; its log1p values are in .raw.
"""

import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import scanpy as sc

import se600m

OUT = Path("out")


def main() -> None:
    """Embed, write, draw."""
    OUT.mkdir(exist_ok=True)
    adata = sc.datasets.pbmc68k_reduced()
    model = se600m.load_model()
    print(model, end="\n\n")
    begin = time.perf_counter()
    se600m.embed(adata, model=model, use_raw=True)
    seconds = time.perf_counter() - begin
    print(f'{adata.n_obs} cells embedded in {seconds:.1f} s: obsm["X_state"] is {adata.obsm["X_state"].shape}')

    sc.pp.neighbors(adata, use_rep="X_state", metric="cosine")
    sc.tl.umap(adata, random_state=0)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    title = f"pbmc68k_reduced, X_state of {model.name}\n(random weights: this shows that it runs, nothing of biology)"
    sc.pl.umap(adata, color="bulk_labels", ax=axes, show=False, title=title, frameon=False)
    figure.savefig(OUT / "pbmc68k.png", dpi=150)
    adata.write_h5ad(OUT / "pbmc68k.h5ad")
    print(f"written: {OUT / 'pbmc68k.h5ad'} and {OUT / 'pbmc68k.png'}")


if __name__ == "__main__":
    main()
