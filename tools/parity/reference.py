"""The reference implementation, arc-state, asked one question at a time.

Everything here runs in the environment that ``make parity`` makes. A checkpoint is opened through
``Inference.load_model`` alone, which sets dropout to 0: the reference's attention applies dropout even in
evaluation. Inner functions are called where outer ones fail: ``encode`` needs a dataset token, and
``decode_from_adata`` hands the decoder a vector that is too wide for it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
import torch
from omegaconf import OmegaConf
from state.emb import Inference
from state.emb.data.loader import FilteredGenesCounts, VCIDatasetSentenceCollator
from state.emb.nn.model import StateEmbeddingModel


@dataclass(frozen=True)
class Sentences:
    """What the reference's collator drew: rows of the gene table and 100 × shares, ``[n, pad_length]``.

    Slot 0 of ``tokens`` is the gene whose value the ``[CLS]`` slot carries; the model replaces it.
    """

    tokens: np.ndarray
    values: np.ndarray


class Reference:
    """A checkpoint, opened by the reference."""

    def __init__(
        self, checkpoint: Path, genes: Mapping[str, torch.Tensor] | None = None, config: str | None = None
    ) -> None:
        self.inference = Inference(cfg=OmegaConf.create(config) if config else None, protein_embeds=genes)
        self.inference.load_model(str(checkpoint))
        self.model: StateEmbeddingModel = self.inference.model
        self.genes: list[str] = list(self.inference.protein_embeds)

    @property
    def config(self) -> Any:
        """The configuration that the reference found."""
        return self.inference._vci_conf

    def collator(self, adata: anndata.AnnData) -> Collator:
        """Prepare the reference's collator for cells: slow, as it looks up gene by gene."""
        return Collator(self, adata)

    @torch.no_grad()
    def embed(
        self, tokens: np.ndarray, values: np.ndarray, batch_size: int = 8
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Embed sentences: ``[n, output_dim]`` of unit length, and ``[n, 10]`` or None."""
        embeddings, datasets = [], []
        for first in range(0, len(tokens), batch_size):
            rows = slice(first, first + batch_size)
            some = torch.from_numpy(np.ascontiguousarray(tokens[rows], np.int32))
            n, length = some.shape
            batch = (
                some, torch.zeros((n, 1), dtype=torch.int32), torch.zeros((n, 1)), torch.arange(n), torch.zeros((n, 1)),
                torch.zeros((n, length), dtype=torch.bool), None, torch.from_numpy(values[rows]), None,
            )  # fmt: skip
            _, _, _, embedding, dataset = self.model._compute_embedding_for_batch(batch)
            embeddings.append(embedding.numpy())
            if dataset is not None:
                datasets.append(self.model.dataset_embedder(dataset).numpy())
        return np.concatenate(embeddings), np.concatenate(datasets) if datasets else None

    @torch.no_grad()
    def gene_embeddings(self, genes: list[str]) -> np.ndarray:
        """Project genes for the decoder, ``[k, emsize]``."""
        return self.inference.get_gene_embedding(genes).numpy()

    @torch.no_grad()
    def decode(
        self, embedding: np.ndarray, genes: list[str], read_depth: float, dataset_embedding: np.ndarray | None
    ) -> np.ndarray:
        """Predict log1p expression of genes in cells, ``[n, k]``."""
        merged = StateEmbeddingModel.resize_batch(
            torch.from_numpy(embedding),
            self.inference.get_gene_embedding(genes),
            task_counts=torch.full((len(embedding),), float(read_depth)),
            ds_emb=None if dataset_embedding is None else torch.from_numpy(dataset_embedding),
        )
        return self.model.binary_decoder(merged).squeeze(-1).numpy()


class Collator:
    """The reference's data set and collator for some cells, put together as its ``create_dataloader`` does."""

    def __init__(self, reference: Reference, adata: anndata.AnnData) -> None:
        if sp.issparse(adata.X) and not isinstance(adata.X, sp.csr_matrix):
            adata = adata.copy()
            adata.X = sp.csr_matrix(adata.X)
        config, genes = reference.config, reference.inference.protein_embeds
        with contextlib.redirect_stdout(io.StringIO()):
            self._cells = FilteredGenesCounts(
                config, adata=adata, adata_name="cells", protein_embeds=genes, gene_column=None
            )
        self._collate = VCIDatasetSentenceCollator(
            config,
            valid_gene_mask=self._cells.valid_gene_index,
            ds_emb_mapping_inference=self._cells.ds_emb_map,
            is_train=False,
            precision=torch.float32,
        )

    @property
    def n_valid(self) -> int:
        """Number of the data set's genes that are taken."""
        return int(self._cells.valid_gene_index["cells"].sum())

    def draw(self, seed: int) -> Sentences:
        """Draw every cell's sentence, after seeding the generator that the reference leaves unseeded."""
        torch.manual_seed(seed)
        batch = self._collate([self._cells[i] for i in range(len(self._cells))])
        return Sentences(batch[0].numpy().copy(), batch[7].numpy().copy())

    def is_raw(self) -> np.ndarray:
        """Tell which cells are taken for raw counts."""
        return np.array([self._collate.is_raw_integer_counts(self._cells[i][0]) for i in range(len(self._cells))])
