"""A user's script with mistakes: mypy --strict names each at its line, with the code and the words after "E:"."""

import anndata

import se600m

adata: anndata.AnnData = anndata.read_h5ad("cells.h5ad")
model = se600m.load_model()

se600m.embed(adata, fill="fulll")  # E: arg-type "fill" to "embed"
se600m.embed(adata, device="gpu")  # E: arg-type "device" to "embed"
se600m.embed(adata, precision="fp8")  # E: arg-type "precision" to "embed"
se600m.embed(adata, expression="log")  # E: arg-type "expression" to "embed"
se600m.embed(adata, model=3)  # E: arg-type "model" to "embed"
se600m.embed(adata, batch_size="64")  # E: arg-type "batch_size" to "embed"
se600m.embed(adata, layers="counts")  # E: call-arg "layers"
se600m.embed(adata, None)  # E: call-arg Too many positional arguments
se600m.tokenize(adata, fill="fulll")  # E: arg-type "fill" to "tokenize"
se600m.tokenize(adata, key_added="X_state")  # E: call-arg "key_added"
se600m.load_model(device="gpu")  # E: arg-type "device" to "load_model"
se600m.load_model(precision="float32")  # E: arg-type "precision" to "load_model"

model.embed(adata, fill="fulll")  # E: arg-type "fill" to "embed"
model.embed(adata, batchsize=3)  # E: call-arg "batchsize"
model.tokenize(adata, expression="raw")  # E: arg-type "expression" to "tokenize"
model.decode(adata.obsm["X_state"], ["CD3D"], read_dept=4)  # E: call-arg "read_dept"
model.contextual_gene_embeddings(adata, fill="fulll")  # E: arg-type "fill"
model.checksum_  # E: attr-defined "checksum_"
se600m.contextual_file("a.h5ad", "b.zarr", fill="fulll")  # E: arg-type "fill" to "contextual_file"
text: str = se600m.tokenize(adata).lengths  # E: assignment "str"
