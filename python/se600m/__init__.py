"""State embeddings (SE-600M) of single cells, on AnnData.

>>> import se600m
>>> se600m.embed(adata)
>>> adata.obsm["X_state"].shape  # n_cells × output_dim
(100, 96)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from se600m import errors

if TYPE_CHECKING:
    from se600m._attention import CLSAttention
    from se600m._cells import CellEmbeddings, CellSentences
    from se600m._contextual import ContextualGeneEmbeddings
    from se600m._contextual_file import ContextualFile, contextual_file
    from se600m._doctor import Check, Diagnosis, doctor
    from se600m._embed import embed, tokenize
    from se600m._embed_file import TokenizedFile, embed_file, merge_shards, tokenize_file
    from se600m._embedding import EmbeddedFile
    from se600m._flow import DimensionFlow, Stage
    from se600m._index import IndexedCells, index
    from se600m._info import ModelInfo, info
    from se600m._model import Model, load_model
    from se600m._models import convert, download
    from se600m._nearest import NearestCells
    from se600m._neighbors import nearest, transfer_labels
    from se600m._orthologues import map_orthologues
    from se600m._query import FoundCells, query

    __version__: str

# Modules are imported when one of their names is first used: anndata takes seconds, which a command that only shows
# its help, or that is given a wrong option, does not need.
_MODULES = {
    "_attention": ("CLSAttention",),
    "_cells": ("CellEmbeddings", "CellSentences"),
    "_contextual": ("ContextualGeneEmbeddings",),
    "_contextual_file": ("ContextualFile", "contextual_file"),
    "_doctor": ("Check", "Diagnosis", "doctor"),
    "_embed": ("embed", "tokenize"),
    "_embed_file": ("TokenizedFile", "embed_file", "merge_shards", "tokenize_file"),
    "_embedding": ("EmbeddedFile",),
    "_flow": ("DimensionFlow", "Stage"),
    "_index": ("IndexedCells", "index"),
    "_info": ("ModelInfo", "info"),
    "_model": ("Model", "load_model"),
    "_models": ("convert", "download"),
    "_nearest": ("NearestCells",),
    "_neighbors": ("nearest", "transfer_labels"),
    "_orthologues": ("map_orthologues",),
    "_query": ("FoundCells", "query"),
}
_HOMES = {name: f"se600m.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from se600m import _native

        value: Any = _native.version()
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


__all__ = [
    "CLSAttention",
    "CellEmbeddings",
    "CellSentences",
    "Check",
    "ContextualFile",
    "ContextualGeneEmbeddings",
    "Diagnosis",
    "DimensionFlow",
    "EmbeddedFile",
    "FoundCells",
    "IndexedCells",
    "Model",
    "ModelInfo",
    "NearestCells",
    "Stage",
    "TokenizedFile",
    "contextual_file",
    "convert",
    "doctor",
    "download",
    "embed",
    "embed_file",
    "errors",
    "index",
    "info",
    "load_model",
    "map_orthologues",
    "merge_shards",
    "nearest",
    "query",
    "tokenize",
    "tokenize_file",
    "transfer_labels",
]
