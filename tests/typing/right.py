"""A user's script: mypy --strict has nothing to say about it."""

import anndata
import numpy as np
import numpy.typing as npt

import se600m

adata: anndata.AnnData = anndata.read_h5ad("cells.h5ad")
se600m.embed(adata)
copy: anndata.AnnData | None = se600m.embed(adata, fill="shared", seed=3, batch_size=None, copy=True)
model: se600m.Model = se600m.load_model("path/to/checkpoint", device="cuda:0", precision="fp32")
se600m.embed(adata, model=model, layer="counts", expression="counts", with_dataset_embedding=True)
se600m.load_model(device=["cuda:0", "cuda:1"], precision="fp16")
for kind in ("cpu", "openvino", "auto"):
    se600m.load_model(device=kind)

sentences: se600m.CellSentences = se600m.tokenize(adata, fill="none", threads=2)
tokens: npt.NDArray[np.int32] = sentences.gene_indices
embedding, dataset = model.embed_sentences(sentences.gene_indices, sentences.expression_values)
rows: npt.NDArray[np.float32] = embedding
decoded: npt.NDArray[np.float32] = model.decode(embedding, ["CD3D", "LYZ"])
genes: npt.NDArray[np.float32] = model.gene_embeddings(["CD3D"])
width: int = model.output_dim
se600m.embed(adata, genes=adata.var_names)
se600m.tokenize(adata, genes=["CD3D", "LYZ"])
model.attention(adata, ["CD3D"], attention_layer="mean", layer="counts")
human: anndata.AnnData = se600m.map_orthologues(adata, "mouse_to_human.csv")

embedded: se600m.EmbeddedFile = se600m.embed_file("a.h5ad", "b.h5ad", model=model, resume=True, memory="2GB", seed=3)
se600m.embed_file("a.h5ad", in_place=True, shard=None, layer="counts")
se600m.merge_shards("b.h5ad", ["1.npz", "2.npz"], src="a.h5ad")
shape: tuple[int, int, int] = se600m.contextual_file("a.zarr", "b.npy", ["CD3D"], resume=True, batch_size=4).shape
n_slots: int = se600m.tokenize_file("a.zarr", "b.npz", fill="none").n_slots

cells: se600m.NearestCells = se600m.nearest(adata, adata)
se600m.transfer_labels(adata, adata, "cell_type")
n_added: int = se600m.index(
    "a.h5ad", "atlas.lance", dataset="a", obs=["cell_type"], model=model, layer="counts"
).n_added
found: se600m.FoundCells = se600m.query(adata, "atlas.lance", k=5, label="cell_type", where="tissue = 'lung'")
distances: npt.NDArray[np.float64] = found.distances

try:
    se600m.embed(adata, use_raw=True)
except se600m.errors.SE600MError as error:
    print(error)
