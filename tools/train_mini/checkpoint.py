"""Writes a trained model as the reference writes its checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from network import StateModel
from views import PAD_LENGTH

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from statefiles import Dims, Row, config_text, save_folder


def save(folder: Path, model: StateModel, genes: list[str], name: str) -> None:
    """Write ``model.safetensors``, ``config.yaml`` and ``protein_embeddings.pt``, numbers as float16."""
    state = {key: value.detach().numpy().astype(np.float16) for key, value in model.state_dict().items()}
    table = state.pop("gene_embeddings")
    state |= {
        f"gene_embedding_{'layer.' + key.removeprefix('encoder.')}": value
        for key, value in state.items()
        if key.startswith("encoder.")
    }
    sizes = model.sizes
    dims = Dims(
        sizes.n_genes, sizes.token_dim, sizes.emsize, sizes.d_hid, sizes.nhead, sizes.nlayers, sizes.output_dim,
        pad_length=PAD_LENGTH, num_datasets=sizes.n_datasets,
    )  # fmt: skip
    config = config_text(dims).replace("name: random\n  batch_size", f"name: {name}\n  batch_size", 1)
    save_folder(folder, state, config, {gene: Row(table, i) for i, gene in enumerate(genes)})
