"""Makes se-mini-untrained, the small placeholder model in the package. Its weights are random.

    python tools/make_untrained.py immune559.h5ad

The vocabulary is the gene symbols of that file (the sample in the PyPI package celltypist 1.7.1, MIT)
and of scanpy's pbmc68k_reduced that look like protein-coding genes. The same input gives the same bytes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc

from statefiles import Dims, Row, config_text, random_state, save_folder

NAME = "se-mini-untrained"
TARGET = Path(__file__).resolve().parents[1] / "python" / "se600m" / "models" / NAME
NONCODING = re.compile(
    r"^(LINC\d|MIR\d|MIRLET|SNOR|SNHG|RNU\d|RN7|RNA5|SCARNA|Y_RNA|C\d+orf\d+-|FAM\d+[A-Z]*\d*P$)|"
    r"-(AS|IT|OT|DT)\d*$|^[A-Z]{1,3}[A-Z]*\d{5,}\.\d+$|^(RP|CT[A-D]|AC|AL|AP|XX|KB|GS|LA|LL)\d*[A-Z]*-\S+\.\d+$|\.\d+$|"
    r"^(RPL|RPS)\w*P\d+$|_"
)


def main() -> None:
    """Write the model."""
    symbols = set(anndata.read_h5ad(sys.argv[1]).var_names)
    panel = set(sc.datasets.pbmc68k_reduced().raw.var_names)
    genes = sorted({s for s in symbols if not NONCODING.search(s)} | {s for s in panel if not NONCODING.search(s)})
    dims = Dims(len(genes), token_dim=32, emsize=64, d_hid=128, nhead=4, nlayers=2, output_dim=64, pad_length=2048)
    state = random_state(dims, seed=600)
    random = np.random.default_rng(2048)
    table = random.standard_normal((len(genes), dims.token_dim), np.float32).astype(np.float16)
    config = config_text(dims).replace("name: random\n  batch_size", f"name: {NAME}\n  batch_size", 1)
    save_folder(TARGET, state, config, {gene: Row(table, i) for i, gene in enumerate(genes)})
    (TARGET / "README.md").write_text(CARD.format(**vars(dims)))
    size = sum(f.stat().st_size for f in TARGET.iterdir())
    print(f"{len(genes):,} genes, {size / 1e6:.1f} MB")


CARD = """\
# {name}

**The weights of this model are random. It was never trained, and its embeddings carry no learned biology.**

It is a small State embedding model in the format of the reference implementation, for trying the
installation and the way from AnnData to `obsm["X_state"]`. For real embeddings convert the SE-600M weights
(`arcinstitute/SE-600M`, under a licence of their own) with `se600m convert`.

| | |
|---|---|
| vocabulary | {n_genes:,} human gene symbols |
| gene embeddings | {token_dim} wide, random |
| width, feed-forward, heads, layers | {emsize}, {d_hid}, {nhead}, {nlayers} |
| embedding | {output_dim} wide; dataset embedding 10 |
| sentence | [CLS] and up to 2047 genes; expression as soft bins |
| made by | `tools/make_untrained.py`, seeded |
| gene symbols from | the sample in the PyPI package celltypist 1.7.1 (MIT), `scanpy.datasets.pbmc68k_reduced` |
| licence | Apache-2.0 |
""".replace("{name}", NAME)


if __name__ == "__main__":
    main()
