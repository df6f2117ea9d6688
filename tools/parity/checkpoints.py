"""Random State checkpoints in every container that users have, written by torch, Lightning and the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from state.emb.data.loader import VCIDatasetSentenceCollator
from state.emb.nn.model import StateEmbeddingModel
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR

import statefiles


def hyper_parameters(dims: statefiles.Dims, **others: Any) -> dict[str, Any]:
    """List the constructor arguments of the reference's model."""
    return {
        "token_dim": dims.token_dim, "d_model": dims.emsize, "nhead": dims.nhead, "d_hid": dims.d_hid,
        "nlayers": dims.nlayers, "output_dim": dims.output_dim, "dropout": 0.1, **others,
    }  # fmt: skip


class Random:
    """A random model in the reference's own class; LayerNorm scales and all biases are random, too."""

    def __init__(self, dims: statefiles.Dims, genes: list[str], *, seed: int, dataset_correction: bool) -> None:
        self.dims = dims
        self.config = statefiles.config_text(dims, dataset_correction=dataset_correction)
        state = statefiles.random_state(dims, seed, dataset_correction=dataset_correction)
        self.state = {name: torch.from_numpy(np.array(values)) for name, values in state.items()}
        table = np.random.default_rng(seed + 1).standard_normal((len(genes), dims.token_dim), np.float32)
        self.table = {gene: torch.from_numpy(row.copy()) for gene, row in zip(genes, table, strict=True)}

    def module(self, **arguments: Any) -> StateEmbeddingModel:
        """Make the reference's model with these weights, whose names and shapes must be its own."""
        arguments = {"cfg": OmegaConf.create(self.config), **arguments}
        module = StateEmbeddingModel(**hyper_parameters(self.dims, **arguments))
        module.load_state_dict(self.state, strict=True)
        return module

    def save_folder(self, folder: Path) -> None:
        """Write a folder as SE-600M's: weights with the gene table among them, config.yaml, protein_embeddings.pt."""
        folder.mkdir(parents=True, exist_ok=True)
        whole = {**self.state, "pe_embedding.weight": torch.stack(list(self.table.values()))}
        save_file({name: t.clone() for name, t in whole.items()}, folder / "model.safetensors")
        (folder / "config.yaml").write_text(self.config)
        torch.save(self.table, folder / "protein_embeddings.pt")

    def save_ckpt(self, path: Path) -> None:
        """Let Lightning and the reference's own hook write a checkpoint: cfg_yaml and protein_embeds_dict inside."""
        module = self.module()
        module.protein_embeds = self.table
        _trainer(module).save_checkpoint(path)

    def save_half(self, path: Path, dtype: torch.dtype) -> None:
        """Write a checkpoint whose tensors are of half precision."""
        torch.save(
            {
                "state_dict": {name: t.to(dtype) for name, t in self.state.items()},
                "hyper_parameters": hyper_parameters(self.dims),
                "pytorch-lightning_version": lightning.__version__,
                "cfg_yaml": self.config,
                "protein_embeds_dict": {gene: row.to(dtype) for gene, row in self.table.items()},
            },
            path,
        )

    def save_old_lightning(self, path: Path, gene_table: Path) -> None:
        """Write a checkpoint as before cfg_yaml came: the configuration lives in pickled omegaconf nodes.

        It holds an optimizer's and a schedule's state, a pickled collator and an outdated copy of the gene
        table; the table itself lies beside it.
        """
        cfg = OmegaConf.create(self.config)
        cfg.experiment.gpus = [0, 1]  # nodes of other kinds: a list, an interpolation
        cfg.experiment.run = "${experiment.name}-0"
        whole = np.arange(len(self.table))
        collator = VCIDatasetSentenceCollator(
            cfg,
            valid_gene_mask={"cells": whole >= 0},
            ds_emb_mapping_inference={"cells": whole},
            precision=torch.float32,
        )
        module = self.module(cfg=cfg, collater=collator)
        outdated = torch.stack([row + 1 for row in self.table.values()])
        module.pe_embedding = torch.nn.Embedding.from_pretrained(outdated)
        optimizer = torch.optim.AdamW([module.cls_token, module.decoder[1].bias], lr=1e-3)
        (module.cls_token.sum() + module.decoder[1].bias.sum()).backward()
        trainer = _trainer(module)
        trainer.strategy.optimizers = [optimizer]
        saved = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        optimizer.step()  # gives the optimizer a state, and changes two tensors in place
        saved["optimizer_states"] = [optimizer.state_dict()]
        schedule = ChainedScheduler([LinearLR(optimizer), CosineAnnealingLR(optimizer, T_max=10)], optimizer)
        saved["lr_schedulers"] = [schedule.state_dict()]
        saved["state_dict"] = {**saved["state_dict"], **self.state}
        for key in ("cfg_yaml", "protein_embeds_dict"):
            saved.pop(key, None)
        torch.save(saved, path)
        torch.save(self.table, gene_table)


def as_ckpt(source: Path, path: Path) -> Path:
    """Give a checkpoint as the reference reads one: a .ckpt stays, a folder as SE-600M's is written as one."""
    if source.is_file():
        return source
    config = (source / "config.yaml").read_text()
    stated = OmegaConf.create(config)
    state = load_file(source / "model.safetensors")
    # The number of layers is the tensors': some copies of SE-600M's configuration state another one.
    nlayers = sum(name.endswith("qkv_proj.weight") for name in state)
    arguments = {name: stated.model[name] for name in ("nhead", "d_hid", "output_dim", "dropout")}
    arguments |= {"token_dim": stated.tokenizer.token_dim, "d_model": stated.model.emsize, "nlayers": nlayers}
    torch.save(
        {
            "state_dict": state,
            "hyper_parameters": arguments,
            "pytorch-lightning_version": lightning.__version__,
            "cfg_yaml": config,
            "protein_embeds_dict": torch.load(source / "protein_embeddings.pt", weights_only=True),
        },
        path,
    )
    return path


def _trainer(module: StateEmbeddingModel) -> lightning.Trainer:
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy.connect(module)
    return trainer


def save_legacy(path: Path, value: Mapping[str, Any]) -> None:
    """Write what torch before 1.6 wrote."""
    torch.save(dict(value), path, _use_new_zipfile_serialization=False)
